//! Whose turn it is among tenants: start-time fair queueing over prompt tokens.
//!
//! Each tenant that waits has a start: the tokens that it was served, on a scale that all share. The lowest start is next,
//! and moves on by what is taken. Two tenants that both wait are so never further apart than the longest prompt of each,
//! however many requests one of them has. Who comes anew begins where the others are, not where they began: having asked
//! for nothing earns nothing.
//!
//! One that leaves the line ahead of the others is remembered until they have caught up, so that asking for one prompt at
//! a time buys nothing either.

use std::collections::{BTreeMap, BTreeSet};

use super::{Place, Tenant};

/// Tenants that are remembered though they don't wait. Of more, those that are the least ahead are forgiven what they are
/// ahead, each at most a prompt or two. Some 100 bytes each.
const MOST_REMEMBERED: usize = 1_024;

#[derive(Debug, Clone, Default)]
pub(super) struct Shares {
    accounts: BTreeMap<Tenant, Account>,
    /// By whose turn it is: start, first place, tenant.
    turns: BTreeSet<(u64, Place, Tenant)>,
    /// Those that don't wait and are ahead of the others, by how far.
    ahead: BTreeMap<Tenant, u64>,
    by_start: BTreeSet<(u64, Tenant)>,
    /// The start of the request that was taken last.
    now: u64,
}

/// A tenant that waits, with at least one place.
#[derive(Debug, Clone)]
struct Account {
    start: u64,
    places: BTreeSet<Place>,
}

impl Shares {
    pub(super) fn next(&self) -> Option<Place> {
        self.turns.first().map(|(_, place, _)| *place)
    }

    pub(super) fn joined(&mut self, tenant: Tenant, place: Place) {
        let mut account = self.withdraw(tenant).unwrap_or_else(|| Account {
            start: self.recall(tenant).max(self.now),
            places: BTreeSet::new(),
        });
        account.places.insert(place);
        self.deposit(tenant, account);
    }

    /// It leaves without having been served.
    pub(super) fn left(&mut self, tenant: Tenant, place: Place) {
        self.leaves(tenant, place, 0);
    }

    /// It is served.
    pub(super) fn taken(&mut self, tenant: Tenant, place: Place, tokens: u32) {
        // A prompt of which nothing is known is a turn all the same.
        self.leaves(tenant, place, u64::from(tokens.max(1)));
    }

    fn leaves(&mut self, tenant: Tenant, place: Place, served: u64) {
        let Some(mut account) = self.withdraw(tenant) else {
            return;
        };
        account.places.remove(&place);
        if served > 0 {
            self.now = self.now.max(account.start);
            account.start += served;
        }
        if account.places.is_empty() {
            self.remember(tenant, account.start);
        } else {
            self.deposit(tenant, account);
        }
        self.forget();
    }

    fn withdraw(&mut self, tenant: Tenant) -> Option<Account> {
        let account = self.accounts.remove(&tenant)?;
        if let Some(first) = account.places.first() {
            self.turns.remove(&(account.start, *first, tenant));
        }
        Some(account)
    }

    fn deposit(&mut self, tenant: Tenant, account: Account) {
        if let Some(first) = account.places.first() {
            self.turns.insert((account.start, *first, tenant));
        }
        self.accounts.insert(tenant, account);
    }

    fn remember(&mut self, tenant: Tenant, start: u64) {
        self.ahead.insert(tenant, start);
        self.by_start.insert((start, tenant));
    }

    fn recall(&mut self, tenant: Tenant) -> u64 {
        let start = self.ahead.remove(&tenant).unwrap_or(0);
        self.by_start.remove(&(start, tenant));
        start
    }

    /// Those that the others have caught up with, those that are too many, and all once nobody waits.
    fn forget(&mut self) {
        if self.accounts.is_empty() {
            *self = Self::default();
            return;
        }
        while let Some((start, tenant)) = self.by_start.first().copied()
            && (start <= self.now || self.by_start.len() > MOST_REMEMBERED)
        {
            self.by_start.remove(&(start, tenant));
            self.ahead.remove(&tenant);
        }
    }

    #[cfg(test)]
    pub(super) fn remembered(&self) -> usize {
        self.ahead.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Priority;
    use crate::time::Timestamp;

    fn place(number: u64) -> Place {
        Place {
            arrived: Timestamp::ZERO,
            number,
            level: Priority::default(),
        }
    }

    #[test]
    fn those_that_left_ahead_are_remembered_and_no_more_than_may_be() {
        let mut shares = Shares::default();
        shares.joined(Tenant(0), place(0));
        for number in 1..=2 * MOST_REMEMBERED as u64 {
            shares.joined(Tenant(number), place(number));
            shares.taken(Tenant(number), place(number), 100);
        }
        assert_eq!(shares.remembered(), MOST_REMEMBERED);
        shares.taken(Tenant(0), place(0), 1);
        assert_eq!(shares.remembered(), 0, "nobody waits, nobody is ahead");
    }

    #[test]
    fn one_at_a_time_buys_nothing() {
        let mut shares = Shares::default();
        for number in 0..3 {
            shares.joined(Tenant(1), place(number));
        }
        shares.joined(Tenant(2), place(10));
        shares.taken(Tenant(1), place(0), 100);
        shares.taken(Tenant(2), place(10), 100);
        // It comes back at once, and stands behind what the other has not been served yet.
        shares.joined(Tenant(2), place(11));
        assert_eq!(shares.next(), Some(place(1)));
    }
}
