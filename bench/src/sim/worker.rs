//! A worker: its place in the fleet, and what it has in hand in either role.

use std::time::Duration;

use policies::lifecycle::{self, WorkerEvent, WorkerState};
use policies::queue::Pace;
use policies::time::Timestamp;
use policies::worker::Role;

use super::decode::DecodeSide;
use super::outcome::WorkerUse;
use super::prefill::PrefillSide;

pub(super) struct Worker {
    pub(super) role: Role,
    pub(super) state: WorkerState,
    /// How long it is away once it is empty.
    pub(super) dark: Duration,
    pub(super) away_since: Timestamp,
    /// Which of the run's absences is its last.
    pub(super) absence: usize,
    pub(super) epoch: u32,
    pub(super) in_flight: u32,
    /// Of those, the ones that were late when they came.
    pub(super) late: u32,
    /// What it may have as decode worker.
    pub(super) pace: Pace,
    pub(super) prefill: PrefillSide,
    pub(super) decode: DecodeSide,
    /// Steps that it makes before the next chunk, where it does both.
    pub(super) steps_to_chunk: u32,
    /// How long the decode step takes that runs.
    pub(super) step: Duration,
    pub(super) used: WorkerUse,
}

impl Worker {
    pub(super) fn new(role: Role, warm: bool, itl: Duration) -> Self {
        Self {
            role,
            state: WorkerState::Serving,
            dark: Duration::ZERO,
            away_since: Timestamp::ZERO,
            absence: 0,
            epoch: 0,
            in_flight: 0,
            late: 0,
            pace: Pace::new(itl),
            prefill: PrefillSide::new(warm),
            decode: DecodeSide::default(),
            steps_to_chunk: 0,
            step: Duration::ZERO,
            used: WorkerUse {
                role,
                prefill_busy: Duration::ZERO,
                decode_busy: Duration::ZERO,
                away: Duration::ZERO,
                role_changes: 0,
                retractions: 0,
            },
        }
    }

    pub(super) fn serves(&self, role: Role) -> bool {
        self.role == role && self.state.admits_requests()
    }

    pub(super) fn apply(&mut self, event: WorkerEvent) {
        self.state = lifecycle::next(self.state, event)
            .expect("the simulator tells a worker only what can happen to it");
    }

    /// Tokens that a drain has to wait for.
    pub(super) fn to_finish(&self) -> u64 {
        match self.role {
            Role::Prefill | Role::Regular => self.prefill.pending_tokens,
            Role::Decode => self.decode.remaining(),
        }
    }

    pub(super) fn used(&self) -> WorkerUse {
        WorkerUse {
            role: self.role,
            retractions: self.decode.retractions(),
            ..self.used
        }
    }
}
