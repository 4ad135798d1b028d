//! The ratio by thresholds: a baseline to hold the controller against.
//!
//! It looks at what the workers have in hand and moves one when every worker of a role is over its target and the other
//! role would stay well below its own with one worker fewer. That is the rule of load-driven planners that scale
//! prefill and decode by their queues, at a budget that is spent: one role can only grow by the other.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::WorkerModel;
use crate::time::Timestamp;
use crate::worker::Role;

use super::{Action, Observation, Plan, Planner, Reason, WorkerLoad, present};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ThresholdSettings {
    /// Targets for the time to first token and between tokens, seconds.
    pub ttft_seconds: f64,
    pub itl_seconds: f64,
    /// A role can give a worker where the others would stay below this share of its target.
    pub give_up: f64,
    /// Between two looks that may move.
    pub interval: Duration,
}

impl Default for ThresholdSettings {
    fn default() -> Self {
        Self {
            ttft_seconds: 2.0,
            itl_seconds: 0.025,
            give_up: 0.8,
            interval: Duration::from_secs(5),
        }
    }
}

#[derive(Debug, Clone)]
pub struct Threshold {
    model: WorkerModel,
    settings: ThresholdSettings,
    last: Option<Timestamp>,
}

impl Threshold {
    pub fn new(model: WorkerModel, settings: ThresholdSettings) -> Self {
        Self {
            model,
            settings,
            last: None,
        }
    }

    /// How long a prompt waits at the worker and is computed and sent, where `share` of its work were there: what is at
    /// the worker, and the worker's part of `queued` in the router.
    fn ttft(&self, worker: &WorkerLoad, queued: f64, share: f64) -> f64 {
        let pending = (worker.pending_prompt_tokens as f64 + queued) * share;
        self.model.prefill.batch_seconds(pending as u64) + self.model.prefill.transfer_base
    }

    /// The worker's step, where `share` of its sequences were there; without end where some wait for a place.
    fn itl(&self, worker: &WorkerLoad, share: f64) -> f64 {
        let running = f64::from(worker.running + worker.waiting) * share;
        let kv_tokens = worker.kv_tokens as f64 * share;
        let fits = running <= f64::from(self.model.decode.max_running)
            && kv_tokens <= self.model.decode.kv_pool_tokens as f64;
        if fits {
            self.model
                .decode
                .step_seconds(running as u32, kv_tokens as u64)
        } else {
            f64::INFINITY
        }
    }

    /// Shares of the target that a role's workers are at: the least and the most, where each has `share` of its load.
    fn range(&self, role: Role, seen: &Observation, share: f64) -> (f64, f64) {
        let workers = seen.loads.iter().filter(|load| load.role == role);
        let queued = if seen.decode_full {
            0
        } else {
            seen.queued_prompt_tokens
        };
        let queued = queued as f64 / f64::from(seen.split.prefill.max(1));
        let shares = workers.map(|load| match role {
            Role::Decode => self.itl(load, share) / self.settings.itl_seconds,
            Role::Prefill | Role::Regular => {
                self.ttft(load, queued, share) / self.settings.ttft_seconds
            }
        });
        shares.fold((f64::INFINITY, 0.0), |(least, most), share| {
            (share.min(least), share.max(most))
        })
    }

    fn is_short(&self, role: Role, seen: &Observation) -> bool {
        if role == Role::Decode && seen.decode_full {
            return true;
        }
        let (least, _) = self.range(role, seen, 1.0);
        least > 1.0 && least.is_finite() || least.is_infinite() && seen.split.of(role) > 0
    }

    fn can_give(&self, role: Role, seen: &Observation) -> bool {
        let workers = f64::from(seen.split.of(role));
        workers >= 2.0
            && self.range(role, seen, workers / (workers - 1.0)).1 < self.settings.give_up
    }
}

impl Planner for Threshold {
    fn plan(&mut self, now: Timestamp, seen: &Observation) -> Plan {
        let hold = Plan {
            action: Action::Hold,
            reason: Reason::Sufficient,
            target: seen.split,
            donor: None,
            predicted: None,
            measured: present::measured(&self.model, self.settings.itl_seconds, seen),
            predicted_itl: present::predicted_itl(&self.model, seen),
        };
        if self
            .last
            .is_some_and(|last| now.since(last) < self.settings.interval)
        {
            return hold;
        }
        self.last = Some(now);
        let moves = [
            (Role::Prefill, Role::Decode, Reason::PrefillShort),
            (Role::Decode, Role::Prefill, Reason::DecodeShort),
        ];
        for (short, donor, reason) in moves {
            if self.is_short(short, seen) && self.can_give(donor, seen) {
                return Plan {
                    action: Action::Move,
                    reason,
                    target: seen.split.moved(donor).unwrap_or(seen.split),
                    donor: Some(donor),
                    ..hold
                };
            }
        }
        hold
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::Split;

    fn load(role: Role, pending_prompt_tokens: u64, running: u32) -> WorkerLoad {
        WorkerLoad {
            role,
            pending_prompt_tokens,
            running,
            waiting: 0,
            kv_tokens: u64::from(running) * 1_000,
        }
    }

    fn seen(pending: [u64; 2], running: [u32; 2]) -> Observation {
        let prefill = pending.map(|pending| load(Role::Prefill, pending, 0));
        let decode = running.map(|running| load(Role::Decode, 0, running));
        Observation {
            split: Split {
                prefill: 2,
                decode: 2,
            },
            loads: prefill.into_iter().chain(decode).collect(),
            ..Observation::default()
        }
    }

    #[test]
    fn a_worker_moves_where_every_worker_is_short_and_the_other_role_can_give_one() {
        let cases = [
            (seen([1_000, 1_000], [10, 10]), None),
            (seen([200_000, 200_000], [10, 10]), Some(Role::Decode)),
            // One of two is short: the policy should have balanced that.
            (seen([200_000, 1_000], [10, 10]), None),
            // Decode has nothing to give.
            (seen([200_000, 200_000], [200, 200]), None),
            (seen([1_000, 1_000], [256, 256]), Some(Role::Prefill)),
        ];
        for (seen, donor) in cases {
            // A full batch of the default model is just beyond it.
            let settings = ThresholdSettings {
                itl_seconds: 0.02,
                ..ThresholdSettings::default()
            };
            let mut threshold = Threshold::new(WorkerModel::default(), settings);
            assert_eq!(
                threshold.plan(Timestamp::ZERO, &seen).donor,
                donor,
                "{seen:?}"
            );
        }
    }
}
