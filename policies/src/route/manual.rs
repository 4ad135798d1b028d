//! `manual`: the client says what belongs together, with a routing key.
//!
//! A key sticks to the worker it was first given, so a session finds its KV. When that worker is unavailable the key is
//! given a second one and keeps both, the newer preferred: a worker that was away for a moment costs no session both of
//! its caches. A third pushes out the oldest. Requests without a key are spread like new keys and leave no trace.
//!
//! Keys are kept as 64-bit hashes, ordered by their last use in a tree beside the map: the oldest is always at hand,
//! each pick removes at most two that are idle for too long, and neither structure ever rehashes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use parking_lot::Mutex;
use xxhash_rust::xxh3::xxh3_64;

use super::dice::Dice;
use super::select::{Choice, available, cheapest, least_loaded, uniform};
use super::settings::{AssignmentMode, RouteSettings};
use super::{Candidate, Candidates, Draw, RoutePolicy, RouteRequest};
use crate::time::Timestamp;
use crate::worker::WorkerId;

/// The most keys remembered: 18 new sessions a second for the default four hours, in about 30 MB. One more pushes out
/// the one unused for longest.
const MAX_KEYS: usize = 1 << 18;

/// Removals of idle keys in one pick. A pick adds one key at most, so two catch up with any backlog.
const MAX_EVICTIONS: usize = 2;

/// Sticky routing keys.
#[derive(Debug)]
pub(super) struct Manual {
    mode: AssignmentMode,
    max_idle: Duration,
    sessions: Mutex<Sessions>,
}

impl Manual {
    pub(super) fn new(settings: &RouteSettings) -> Self {
        Self {
            mode: settings.assignment_mode,
            max_idle: settings.max_idle,
            sessions: Mutex::default(),
        }
    }

    fn assign(
        &self,
        groups: &Groups,
        candidates: &dyn Candidates,
        dice: &mut Dice,
    ) -> Option<Choice> {
        match self.mode {
            AssignmentMode::Random => uniform(candidates, dice, None),
            AssignmentMode::MinLoad => least_loaded(candidates, dice),
            AssignmentMode::MinGroup => {
                let keys = |worker: &Candidate| groups.keys_of(worker.id);
                cheapest(available(candidates), keys, dice)
            }
        }
    }
}

impl RoutePolicy for Manual {
    fn pick(
        &self,
        request: &RouteRequest<'_>,
        candidates: &dyn Candidates,
        draw: Draw,
    ) -> Option<usize> {
        let mut dice = Dice::new(draw.entropy);
        // One lock from the look-up to the assignment, so that two first requests of a session can't part.
        let mut sessions = self.sessions.lock();
        let Some(key) = request.routing_key else {
            let (index, _) = self.assign(&sessions.groups, candidates, &mut dice)?;
            return Some(index);
        };
        let key = xxh3_64(key.as_bytes());
        sessions.evict(draw.now, self.max_idle);
        if let Some(index) = sessions.find(key, candidates) {
            sessions.touch(key, draw.now);
            return Some(index);
        }
        let (index, worker) = self.assign(&sessions.groups, candidates, &mut dice)?;
        sessions.stick(key, worker.id);
        sessions.touch(key, draw.now);
        Some(index)
    }

    fn forget(&self, worker: WorkerId) {
        self.sessions.lock().groups.forget(worker);
    }
}

#[derive(Debug, Default)]
struct Sessions {
    by_key: BTreeMap<u64, Session>,
    by_age: BTreeSet<(Timestamp, u64)>,
    groups: Groups,
}

/// What is known of one key.
#[derive(Debug, Clone, Copy, Default)]
struct Session {
    last_used: Timestamp,
    newest: Option<Membership>,
    oldest: Option<Membership>,
}

impl Sessions {
    /// The index of an available worker that has the key.
    fn find(&self, key: u64, candidates: &dyn Candidates) -> Option<usize> {
        let session = self.by_key.get(&key)?;
        [session.newest, session.oldest]
            .into_iter()
            .flatten()
            .filter(|membership| self.groups.is_current(*membership))
            .find_map(|membership| {
                available(candidates)
                    .find(|(_, worker)| worker.id == membership.worker)
                    .map(|(index, _)| index)
            })
    }

    fn stick(&mut self, key: u64, worker: WorkerId) {
        let membership = self.groups.join(worker);
        let session = self.by_key.entry(key).or_default();
        let dropped = session.oldest;
        session.oldest = session.newest.replace(membership);
        if let Some(dropped) = dropped {
            self.groups.leave(dropped);
        }
    }

    fn touch(&mut self, key: u64, now: Timestamp) {
        let Some(session) = self.by_key.get_mut(&key) else {
            return;
        };
        self.by_age.remove(&(session.last_used, key));
        session.last_used = now;
        self.by_age.insert((now, key));
    }

    /// Removes a few keys that are idle for too long, and makes room for one more.
    fn evict(&mut self, now: Timestamp, max_idle: Duration) {
        for _ in 0..MAX_EVICTIONS {
            let Some(&(last_used, key)) = self.by_age.first() else {
                return;
            };
            if now.since(last_used) <= max_idle && self.by_key.len() < MAX_KEYS {
                return;
            }
            self.remove(last_used, key);
        }
    }

    fn remove(&mut self, last_used: Timestamp, key: u64) {
        self.by_age.remove(&(last_used, key));
        if let Some(session) = self.by_key.remove(&key) {
            for membership in [session.newest, session.oldest].into_iter().flatten() {
                self.groups.leave(membership);
            }
        }
    }
}

/// A key's place at a worker. It ends with the key, or all at once when the worker is forgotten.
#[derive(Debug, Clone, Copy)]
struct Membership {
    worker: WorkerId,
    generation: u64,
}

/// How many keys each worker has.
///
/// A group is made when the worker gets its first key and gone when the worker is forgotten. A later group of the same
/// worker has another generation, so that memberships of the old one are void without being looked for.
#[derive(Debug, Default)]
struct Groups {
    by_worker: BTreeMap<WorkerId, Group>,
    generations: u64,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    generation: u64,
    keys: usize,
}

impl Groups {
    fn keys_of(&self, worker: WorkerId) -> usize {
        self.by_worker.get(&worker).map_or(0, |group| group.keys)
    }

    fn is_current(&self, membership: Membership) -> bool {
        self.by_worker
            .get(&membership.worker)
            .is_some_and(|group| group.generation == membership.generation)
    }

    fn join(&mut self, worker: WorkerId) -> Membership {
        self.generations += 1;
        let new = Group {
            generation: self.generations,
            keys: 0,
        };
        let group = self.by_worker.entry(worker).or_insert(new);
        group.keys += 1;
        Membership {
            worker,
            generation: group.generation,
        }
    }

    fn leave(&mut self, membership: Membership) {
        if let Some(group) = self.by_worker.get_mut(&membership.worker)
            && group.generation == membership.generation
        {
            group.keys -= 1;
        }
    }

    fn forget(&mut self, worker: WorkerId) {
        self.by_worker.remove(&worker);
    }
}

#[cfg(test)]
mod tests;
