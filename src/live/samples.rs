//! Counters a second apart, and the rates between them.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use policies::lifecycle::WorkerState;
use policies::time::Timestamp;
use policies::worker::WorkerId;

use crate::telemetry::{Telemetry, Verdict};
use crate::workers::WorkerSet;

/// Rates are of the last ten seconds: long enough to be read, short enough to be live.
const RATE_SAMPLES: usize = 10;

/// Attainment is of the last minute, as the latencies are.
const ATTAINMENT_SAMPLES: usize = 60;

/// The counters of the last minute, oldest first.
#[derive(Default)]
pub(super) struct Samples {
    ring: VecDeque<Sample>,
    /// Since when each worker is in its state.
    states: HashMap<WorkerId, (WorkerState, Timestamp)>,
}

/// Counters at one moment.
#[derive(Clone)]
struct Sample {
    at: Timestamp,
    finished: u64,
    good: u64,
    judged: u64,
    output_tokens: HashMap<WorkerId, u64>,
}

impl Samples {
    pub(super) fn take(&mut self, now: Timestamp, set: &WorkerSet, telemetry: &Telemetry) {
        self.note_states(now, set);
        let requests = &telemetry.metrics.requests;
        let sample = Sample {
            at: now,
            finished: requests.totals().0,
            good: requests.judged(Verdict::Good),
            judged: Verdict::ALL
                .map(|verdict| requests.judged(verdict))
                .iter()
                .sum(),
            output_tokens: set
                .members()
                .iter()
                .map(|member| &member.worker)
                .map(|worker| (worker.id, telemetry.metrics.workers.output_tokens(worker)))
                .collect(),
        };
        if self.ring.len() > ATTAINMENT_SAMPLES {
            self.ring.pop_front();
        }
        self.ring.push_back(sample);
    }

    fn note_states(&mut self, now: Timestamp, set: &WorkerSet) {
        self.states.retain(|id, _| set.by_id(*id).is_some());
        for member in set.members() {
            let since = self
                .states
                .entry(member.worker.id)
                .or_insert((member.state, now));
            if since.0 != member.state {
                *since = (member.state, now);
            }
        }
    }

    /// How long the worker has been in its state.
    pub(super) fn state_age(&self, id: WorkerId, now: Timestamp) -> Duration {
        self.states
            .get(&id)
            .map_or(Duration::ZERO, |(_, since)| now.since(*since))
    }

    pub(super) fn requests_per_second(&self) -> f64 {
        self.rate(|sample| sample.finished)
    }

    pub(super) fn good_per_second(&self) -> f64 {
        self.rate(|sample| sample.good)
    }

    pub(super) fn output_tokens_per_second(&self, id: WorkerId) -> f64 {
        self.rate(|sample| sample.output_tokens.get(&id).copied().unwrap_or(0))
    }

    /// Share of good requests among those that were judged in the last minute.
    pub(super) fn attainment(&self) -> Option<f64> {
        let (first, last) = (self.ring.front()?, self.ring.back()?);
        let judged = last.judged.saturating_sub(first.judged);
        let good = last.good.saturating_sub(first.good);
        (judged > 0).then(|| good as f64 / judged as f64)
    }

    fn rate(&self, counter: impl Fn(&Sample) -> u64) -> f64 {
        let Some(last) = self.ring.back() else {
            return 0.0;
        };
        let first = &self.ring[self.ring.len().saturating_sub(RATE_SAMPLES + 1)];
        let seconds = last.at.since(first.at).as_secs_f64();
        if seconds > 0.0 {
            counter(last).saturating_sub(counter(first)) as f64 / seconds
        } else {
            0.0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(finished: &[u64]) -> Samples {
        let sample = |(second, finished): (u64, &u64)| Sample {
            at: Timestamp::from_micros(second * 1_000_000),
            finished: *finished,
            good: finished / 2,
            judged: *finished,
            output_tokens: HashMap::from([(WorkerId(1), finished * 10)]),
        };
        Samples {
            ring: (0..).zip(finished).map(sample).collect(),
            states: HashMap::new(),
        }
    }

    #[test]
    fn rates_are_of_the_last_ten_seconds_and_attainment_is_of_the_last_minute() {
        let steady: Vec<u64> = (0..20).map(|second| second * 4).collect();
        let steady = samples(&steady);
        assert!((steady.requests_per_second() - 4.0).abs() < 1e-9);
        assert!((steady.output_tokens_per_second(WorkerId(1)) - 40.0).abs() < 1e-9);
        assert_eq!(steady.attainment(), Some(0.5));
        let over: Vec<u64> = (0..20).map(|second: u64| second.min(5) * 4).collect();
        let over = samples(&over);
        assert!(over.requests_per_second().abs() < 1e-9);
        assert_eq!(over.attainment(), Some(0.5));
    }

    #[test]
    fn nothing_is_known_of_nothing() {
        for few in [samples(&[]), samples(&[7])] {
            assert!(few.requests_per_second().abs() < 1e-9);
            assert_eq!(few.attainment(), None);
        }
    }
}
