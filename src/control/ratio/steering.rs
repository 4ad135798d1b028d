//! What an operator and the controller know of each other: the split that is asked for, what is under way, what was
//! decided and why.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use policies::ratio::journal::{Decision, Head};
use policies::ratio::{Split, Utilisation, predict};
use policies::time::Timestamp;
use policies::worker::Role;

use crate::launch::Means;

/// Decisions kept: those of an hour.
const KEPT: usize = 3_600;

/// A role change under way.
#[derive(Debug, Clone)]
pub struct Moving {
    /// The worker's URL.
    pub worker: Arc<str>,
    pub from: Role,
    pub to: Role,
    pub means: Means,
    pub since: Timestamp,
}

/// A split that an operator asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pin {
    pub split: Split,
    pub since: Timestamp,
}

/// Who moves workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SteeringMode {
    /// The controller does.
    Automatic,
    /// It does what an operator asked for.
    Pinned,
    /// Nobody: the controller says what it would do.
    DryRun,
}

impl SteeringMode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Pinned => "pinned",
            Self::DryRun => "dry_run",
        }
    }
}

/// How the last role change that failed did.
#[derive(Debug, Clone)]
pub struct FailedMove {
    pub worker: Arc<str>,
    pub at: Timestamp,
    /// In words.
    pub reason: String,
}

/// What is under way and asked for now.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    pub pinned: Option<Pin>,
    pub moving: Vec<Moving>,
    pub failed: Option<FailedMove>,
    /// When the last role change ended, and when those of the last hour began.
    pub ended: Option<Timestamp>,
    pub begun: VecDeque<Timestamp>,
    /// How long a worker was away at its last role changes, without their drains.
    pub away: Option<Duration>,
}

/// Shared between the controller, who writes, and the admin API, which reads and pins.
#[derive(Debug)]
pub struct Steering {
    head: Head,
    standing: Mutex<Standing>,
    decisions: Mutex<VecDeque<Arc<Decision>>>,
}

impl Steering {
    pub fn new(head: Head) -> Self {
        Self {
            head,
            standing: Mutex::default(),
            decisions: Mutex::default(),
        }
    }

    /// Who decides, and within which bounds.
    pub const fn head(&self) -> &Head {
        &self.head
    }

    pub fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }

    pub const fn mode(&self, standing: &Standing) -> SteeringMode {
        if standing.pinned.is_some() {
            SteeringMode::Pinned
        } else if self.head.guardrails.advise_only {
            SteeringMode::DryRun
        } else {
            SteeringMode::Automatic
        }
    }

    /// Asks for a split; `None` leaves it to the planner. One that is asked for again is pinned since the first time.
    pub fn pin(&self, now: Timestamp, split: Option<Split>) {
        let mut standing = self.standing.lock();
        let before = standing.pinned;
        standing.pinned = split.map(|split| match before {
            Some(pin) if pin.split == split => pin,
            Some(_) | None => Pin { split, since: now },
        });
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Standing)) {
        change(&mut self.standing.lock());
    }

    pub(super) fn decided(&self, decision: Arc<Decision>) {
        let mut decisions = self.decisions.lock();
        if decisions.len() == KEPT {
            decisions.pop_front();
        }
        decisions.push_back(decision);
    }

    pub fn latest(&self) -> Option<Arc<Decision>> {
        self.decisions.lock().back().cloned()
    }

    /// The decisions after `after`, oldest first, at most the `limit` newest.
    pub fn decisions(&self, after: Timestamp, limit: usize) -> Vec<Arc<Decision>> {
        let decisions = self.decisions.lock();
        let newer = decisions
            .iter()
            .rev()
            .take_while(|decision| decision.now > after);
        let mut newer: Vec<_> = newer.take(limit).cloned().collect();
        newer.reverse();
        newer
    }

    /// What the model predicts for each split of `workers` under the demand of `decision`.
    pub fn predictions(&self, decision: &Decision, workers: u32) -> Vec<(Split, Utilisation)> {
        let Head {
            model, itl_seconds, ..
        } = &self.head;
        let predicted = |split| predict(model, *itl_seconds, split, &decision.seen.demand);
        Split::all(workers)
            .into_iter()
            .filter_map(|split| Some((split, predicted(split)?)))
            .collect()
    }
}
