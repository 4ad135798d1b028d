//! Requests that nothing but their arrival tells apart, and their tenants where those have shares.

use std::collections::BTreeMap;

use super::shares::Shares;
use super::{Place, Tenant};

#[derive(Debug, Clone)]
pub(super) struct Waiting<T> {
    pub(super) tokens: u32,
    pub(super) tenant: Tenant,
    pub(super) request: T,
}

#[derive(Debug, Clone)]
pub(super) struct Class<T> {
    waiting: BTreeMap<Place, Waiting<T>>,
    /// `None` where all are served as they came.
    shares: Option<Shares>,
}

impl<T> Class<T> {
    pub(super) fn new(fair: bool) -> Self {
        Self {
            waiting: BTreeMap::new(),
            shares: fair.then(Shares::default),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn push(&mut self, place: Place, waiting: Waiting<T>) {
        if let Some(shares) = &mut self.shares {
            shares.joined(waiting.tenant, place);
        }
        self.waiting.insert(place, waiting);
    }

    /// It leaves without having been served.
    pub(super) fn remove(&mut self, place: Place) -> Option<Waiting<T>> {
        let waiting = self.waiting.remove(&place)?;
        if let Some(shares) = &mut self.shares {
            shares.left(waiting.tenant, place);
        }
        Some(waiting)
    }

    /// It is served.
    pub(super) fn take(&mut self, place: Place) -> Option<Waiting<T>> {
        let waiting = self.waiting.remove(&place)?;
        if let Some(shares) = &mut self.shares {
            shares.taken(waiting.tenant, place, waiting.tokens);
        }
        Some(waiting)
    }

    /// Who has waited longest.
    pub(super) fn oldest(&self) -> Option<Place> {
        self.waiting.first_key_value().map(|(place, _)| *place)
    }

    /// Who has waited longest but for so many.
    pub(super) fn by_arrival(&self, before: usize) -> Option<Place> {
        self.waiting.keys().nth(before).copied()
    }

    /// Whose turn it is.
    pub(super) fn next(&self) -> Option<(Place, &Waiting<T>)> {
        let Some(shares) = &self.shares else {
            let (place, waiting) = self.waiting.first_key_value()?;
            return Some((*place, waiting));
        };
        let place = shares.next()?;
        self.waiting.get(&place).map(|waiting| (place, waiting))
    }
}
