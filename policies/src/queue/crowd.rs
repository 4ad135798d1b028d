//! Who has how many places, so that a full queue can make one for a tenant that has few.
//!
//! A fair order alone is not enough: who fills the queue keeps the others out of it. So in a full queue the tenant with
//! the most places gives its last one to a tenant that has fewer.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Priority, Tenant};

/// The least urgent comes last, and of those the one that came last.
type Seat = (Reverse<Priority>, Place);

#[derive(Debug, Clone, Default)]
pub(super) struct Crowd {
    seats: BTreeMap<Tenant, BTreeSet<Seat>>,
    by_number: BTreeSet<(usize, Tenant)>,
}

impl Crowd {
    pub(super) fn joined(&mut self, tenant: Tenant, place: Place) {
        self.changes(tenant, |seats| {
            seats.insert((Reverse(place.level), place));
        });
    }

    pub(super) fn left(&mut self, tenant: Tenant, place: Place) {
        self.changes(tenant, |seats| {
            seats.remove(&(Reverse(place.level), place));
        });
    }

    /// The place that one of `tenant` may have in its stead.
    pub(super) fn yields_to(&self, tenant: Tenant) -> Option<Place> {
        let own = self.seats.get(&tenant).map_or(0, BTreeSet::len);
        let (most, crowding) = self.by_number.last()?;
        // With one more it still has no more than the other is left with.
        if *most <= own + 1 {
            return None;
        }
        let seats = self.seats.get(crowding)?;
        seats.last().map(|(_, place)| *place)
    }

    fn changes(&mut self, tenant: Tenant, change: impl FnOnce(&mut BTreeSet<Seat>)) {
        let seats = self.seats.entry(tenant).or_default();
        self.by_number.remove(&(seats.len(), tenant));
        change(seats);
        if seats.is_empty() {
            self.seats.remove(&tenant);
        } else {
            self.by_number.insert((seats.len(), tenant));
        }
    }
}
