//! A request's place on a worker, and what it has to say as it leaves.

use std::fmt;
use std::sync::Arc;

use super::worker::Worker;

/// Who wants to know when places become free.
pub trait Watching: fmt::Debug + Send + Sync {
    /// A place has become free.
    fn left(&self);
}

/// A place on a worker. Dropping it gives the place back.
#[derive(Debug)]
pub struct Ticket {
    worker: Arc<Worker>,
    prompt_tokens: u32,
    late: bool,
    watching: Option<Arc<dyn Watching>>,
}

impl Ticket {
    pub(super) const fn new(worker: Arc<Worker>) -> Self {
        Self {
            worker,
            prompt_tokens: 0,
            late: false,
            watching: None,
        }
    }

    /// Says how long the prompt of the request is, in tokens. They count as pending while the ticket is held.
    #[must_use]
    pub fn carrying(mut self, prompt_tokens: u32) -> Self {
        self.worker.stats.remove_prompt(self.prompt_tokens);
        self.worker.stats.add_prompt(prompt_tokens);
        self.prompt_tokens = prompt_tokens;
        self
    }

    /// Counts the request among those that were late when they got their place.
    #[must_use]
    pub fn late(mut self) -> Self {
        if !self.late {
            self.worker.stats.late_came();
        }
        self.late = true;
        self
    }

    /// Tells `watching` once the place is free.
    #[must_use]
    pub fn telling(mut self, watching: Arc<dyn Watching>) -> Self {
        self.watching = Some(watching);
        self
    }

    pub fn worker(&self) -> &Arc<Worker> {
        &self.worker
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.worker.stats.remove_prompt(self.prompt_tokens);
        if self.late {
            self.worker.stats.late_left();
        }
        self.worker.leave();
        if let Some(watching) = &self.watching {
            watching.left();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use policies::lifecycle::WorkerEvent;
    use policies::queue::Claim;
    use policies::time::Timestamp;
    use policies::worker::Role;

    use super::*;
    use crate::config::Config;
    use crate::workers::{LoadReport, WorkerRegistry, WorkerSpec, WorkerUrl};

    #[derive(Debug, Default)]
    struct Told(AtomicU32);

    impl Watching for Told {
        fn left(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn decode() -> Arc<Worker> {
        let registry = WorkerRegistry::new(Config::default().breaker, |_| {});
        let url = WorkerUrl::parse("http://d:1").unwrap();
        let added = registry.add(&WorkerSpec::new(url, Role::Decode)).unwrap();
        registry.apply(added.id, WorkerEvent::Passed).unwrap();
        let set = registry.snapshot();
        Arc::clone(&set.serving(Role::Decode).get(0).unwrap().worker)
    }

    #[test]
    fn a_place_is_told_of_once_it_is_free() {
        let (worker, told) = (decode(), Arc::new(Told::default()));
        let ticket = worker.enter().unwrap();
        let ticket = ticket.telling(Arc::clone(&told) as Arc<dyn Watching>);
        assert_eq!(told.0.load(Ordering::Relaxed), 0);
        drop(ticket);
        assert_eq!((told.0.load(Ordering::Relaxed), worker.in_flight()), (1, 0));
    }

    #[test]
    fn a_worker_has_places_for_as_many_as_it_says_that_it_runs() {
        let worker = decode();
        let first = worker.enter().unwrap();
        assert!(worker.has_place(Claim::Fresh), "it hasn't said");
        worker.record_report(Some(LoadReport {
            most_running: NonZeroU64::new(2),
            ..LoadReport::default()
        }));
        assert!(worker.has_place(Claim::Fresh));
        let second = worker.enter().unwrap();
        assert!(!worker.has_place(Claim::Fresh));
        drop(first);
        assert!(worker.has_place(Claim::Fresh));
        drop(second);
    }

    #[test]
    fn a_worker_has_fewer_places_where_its_tokens_come_too_slowly() {
        let registry = WorkerRegistry::new(Config::default().breaker, |_| {})
            .keeping(Some(Duration::from_millis(25)));
        let url = WorkerUrl::parse("http://d:1").unwrap();
        let worker = registry.add(&WorkerSpec::new(url, Role::Decode)).unwrap();
        registry.apply(worker.id, WorkerEvent::Passed).unwrap();
        worker.record_report(Some(LoadReport {
            most_running: NonZeroU64::new(4_096),
            ..LoadReport::default()
        }));
        let tickets: Vec<_> = (0..40).filter_map(|_| worker.enter()).collect();
        let give = |millis: u64, gap: u64| {
            let now = Timestamp::from_micros(millis * 1_000);
            worker.gave(now, 100, Duration::from_millis(gap));
        };
        give(0, 30);
        assert_eq!(worker.places(), Some(4_096), "one look says nothing");
        give(1_500, 30);
        // 40 · 0.97 · 25 / 30.
        assert_eq!(worker.places(), Some(32));
        assert!(!worker.has_place(Claim::Fresh));
        // Its own word counts more than what streams seem to say: 100 tokens in steps of 10 ms, twice.
        for second in [2.0, 3.0, 4.0] {
            let (tokens, micros) = (100.0 * second, 1e6 * second);
            worker.record_report(Some(LoadReport {
                at: Timestamp::from_micros((second * 1e6) as u64),
                most_running: NonZeroU64::new(4_096),
                decode_moments: vec![2.5 * second, tokens, 0.0, 0.0, micros, tokens],
                ..LoadReport::default()
            }));
            give(5_000, 300);
        }
        let places = worker.places().unwrap();
        assert!((33..64).contains(&places), "it rises again: {places}");
        // Where it no longer reports its streams tell again.
        worker.record_report(None);
        for second in 5..9 {
            give(second * 1_000, 300);
        }
        assert_eq!(worker.places(), Some(20), "half of what it has");
        for nonsense in [f64::MAX, -1.0, f64::NAN] {
            worker.record_report(Some(LoadReport {
                most_running: NonZeroU64::new(4_096),
                decode_moments: vec![nonsense; 6],
                ..LoadReport::default()
            }));
        }
        drop(tickets);
        assert!(worker.has_place(Claim::Fresh));
        registry
            .apply(worker.id, WorkerEvent::DrainRequested)
            .unwrap();
        registry.apply(worker.id, WorkerEvent::Emptied).unwrap();
        assert!(registry.set_role(worker.id, Role::Prefill));
        assert_eq!(worker.places(), Some(4_096), "in a new role it is another");
    }

    #[test]
    fn who_was_late_counts_among_the_late_until_it_leaves() {
        let worker = decode();
        worker.record_report(Some(LoadReport {
            most_running: NonZeroU64::new(3),
            ..LoadReport::default()
        }));
        let places =
            || [Claim::Fresh, Claim::Owed, Claim::Late].map(|claim| worker.has_place(claim));
        let late = worker.enter().unwrap().late().late();
        assert_eq!((worker.stats.late(), places()), (1, [true, false, true]));
        let fresh = worker.enter().unwrap();
        assert_eq!(places(), [true, false, false]);
        drop(late);
        assert_eq!((worker.stats.late(), places()), (0, [true, true, true]));
        drop(fresh);
    }
}
