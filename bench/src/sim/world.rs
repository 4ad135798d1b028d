//! The fleet, its requests, and the loop that moves them through time.

use std::time::Duration;

use hdrhistogram::Histogram;
use policies::queue::{QueueOrder, WaitQueue, gives_way};
use policies::route::{self, Candidate, RoutePolicy, RouteSettings};
use policies::time::Timestamp;
use policies::worker::Role;

use super::arrivals::{Prompts, Source};
use super::control::Watch;
use super::events::{Agenda, Event};
use super::outcome::{Absence, Outcome};
use super::request::Request;
use super::worker::Worker;
use super::{Dispatch, Setup};
use crate::workload::Workload;

pub(super) struct World<'a> {
    pub(super) setup: &'a Setup,
    pub(super) source: Source<'a>,
    pub(super) now: Timestamp,
    pub(super) agenda: Agenda,
    pub(super) workers: Vec<Worker>,
    pub(super) requests: Vec<Request>,
    /// Requests that wait in the router.
    pub(super) queue: WaitQueue<usize>,
    pub(super) prompts: Prompts,
    pub(super) policies: [Box<dyn RoutePolicy>; 2],
    pub(super) entropy: fastrand::Rng,
    pub(super) candidates: Vec<Candidate>,
    /// Workers at which something changed at this moment.
    pub(super) touched: Vec<usize>,
    pub(super) watch: Option<Watch>,
    pub(super) itl: Histogram<u64>,
    pub(super) absences: Vec<Absence>,
    pub(super) retries: u64,
    pub(super) migrations: u64,
}

impl<'a> World<'a> {
    pub(super) fn new(setup: &'a Setup, workload: &'a Workload) -> Self {
        let mut agenda = Agenda::default();
        for (change, due) in setup.changes.iter().enumerate() {
            agenda.add(due.at, Event::ChangeDue { change });
        }
        for (failure, due) in setup.failures.iter().enumerate() {
            agenda.add(due.at, Event::FailureDue { failure });
        }
        if setup.control.is_some() {
            agenda.add(Timestamp::ZERO, Event::Tick);
        }
        let order = match setup.dispatch {
            Dispatch::AtOnce => QueueOrder::Fifo,
            Dispatch::WhenThereIsRoom { order, .. } => order,
        };
        let settings = RouteSettings::default();
        let roles = std::iter::repeat_n(Role::Prefill, setup.prefill as usize)
            .chain(std::iter::repeat_n(Role::Decode, setup.decode as usize))
            .chain(std::iter::repeat_n(Role::Regular, setup.regular as usize));
        Self {
            setup,
            source: Source::new(workload),
            now: Timestamp::ZERO,
            agenda,
            workers: roles
                .map(|role| Worker::new(role, setup.warm, setup.slo.itl))
                .collect(),
            requests: Vec::new(),
            queue: WaitQueue::new(
                order,
                setup.slo.ttft,
                setup.queue_timeout.map_or(Duration::MAX, gives_way),
            ),
            prompts: Prompts::default(),
            policies: [setup.prefill_policy, setup.decode_policy]
                .map(|kind| route::build(kind, &settings)),
            entropy: fastrand::Rng::with_seed(setup.seed),
            candidates: Vec::new(),
            touched: Vec::new(),
            watch: setup
                .control
                .as_ref()
                .map(|control| Watch::new(setup, control)),
            itl: Histogram::new(3).expect("three significant digits are allowed"),
            absences: Vec::new(),
            retries: 0,
            migrations: 0,
        }
    }

    pub(super) fn run(mut self) -> Outcome {
        while let Some(now) = self.next_moment() {
            self.now = now;
            // Whatever comes at one moment is there before a batch is formed of it.
            while let Some(event) = self.agenda.pop_at(now) {
                self.happens(event);
            }
            self.take_arrivals();
            self.dispatch_waiting();
            self.start_work();
        }
        self.conclude()
    }

    fn next_moment(&mut self) -> Option<Timestamp> {
        let arrival = self.source.next_at(self.now);
        match (arrival, self.agenda.next_at()) {
            (Some(arrival), Some(event)) => Some(arrival.min(event)),
            (one, other) => one.or(other),
        }
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Computed { worker, epoch } if self.is_current(worker, epoch) => {
                self.computed(worker);
            }
            Event::Sent { worker, epoch } if self.is_current(worker, epoch) => self.sent(worker),
            Event::Stepped { worker, epoch } if self.is_current(worker, epoch) => {
                self.stepped(worker);
            }
            Event::Back { worker, epoch } if self.is_current(worker, epoch) => self.back(worker),
            Event::Mixed { worker, epoch } if self.is_current(worker, epoch) => self.mixed(worker),
            Event::Computed { .. }
            | Event::Mixed { .. }
            | Event::Sent { .. }
            | Event::Stepped { .. }
            | Event::Back { .. } => {}
            Event::Landed { request, attempt } => self.landed(request, attempt),
            Event::ChangeDue { change } => self.begin_change(change),
            Event::FailureDue { failure } => self.fail(failure),
            Event::TimedOut { request, place } => self.time_out(request, place),
            Event::Tick => self.tick(),
        }
    }

    fn is_current(&self, worker: usize, epoch: u32) -> bool {
        self.workers[worker].epoch == epoch
    }

    fn conclude(self) -> Outcome {
        let served: Vec<_> = self
            .requests
            .iter()
            .map(|request| request.served(self.now))
            .collect();
        let first = served
            .first()
            .map_or(Timestamp::ZERO, |first| first.arrived);
        let last = served.iter().map(|request| request.ended).max();
        Outcome {
            makespan: last.map_or(Duration::ZERO, |last| last.since(first)),
            requests: served,
            itl: self.itl,
            workers: self.workers.iter().map(Worker::used).collect(),
            absences: self.absences,
            retries: self.retries,
            migrations: self.migrations,
            events: self.agenda.decided(),
        }
    }
}

/// The model's seconds as a span of virtual time.
pub(super) fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
