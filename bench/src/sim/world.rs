//! The fleet, its requests, and the loop that moves them through time.

use std::time::Duration;

use hdrhistogram::Histogram;
use policies::lifecycle::{self, WorkerEvent, WorkerState};
use policies::queue::WaitQueue;
use policies::route::{self, Candidate, Draw, RoutePolicy, RouteRequest, RouteSettings};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};

use super::decode::{DecodeSide, Sequence};
use super::events::{Agenda, Event};
use super::outcome::{End, Outcome, Served, WorkerUse};
use super::prefill::{PrefillSide, Prompt};
use super::{Dispatch, Setup};
use crate::workload::{Job, Workload};

pub(super) struct World<'a> {
    setup: &'a Setup,
    source: Source<'a>,
    now: Timestamp,
    agenda: Agenda,
    workers: Vec<Worker>,
    requests: Vec<Request>,
    /// Requests that wait in the router.
    queue: WaitQueue<usize>,
    policies: [Box<dyn RoutePolicy>; 2],
    entropy: fastrand::Rng,
    candidates: Vec<Candidate>,
    /// Workers at which something changed at this moment.
    touched: Vec<usize>,
    itl: Histogram<u64>,
    retries: u64,
}

/// Where the next request comes from.
enum Source<'a> {
    Closed {
        jobs: std::slice::Iter<'a, Job>,
        /// Clients that have no request.
        idle: usize,
    },
    Open {
        arrivals: std::iter::Peekable<std::slice::Iter<'a, (Timestamp, Job)>>,
    },
}

struct Worker {
    role: Role,
    state: WorkerState,
    /// How long it is away once it is empty.
    dark: Duration,
    away_since: Timestamp,
    epoch: u32,
    in_flight: u32,
    prefill: PrefillSide,
    decode: DecodeSide,
    used: WorkerUse,
}

struct Request {
    job: Job,
    arrived: Timestamp,
    attempt: u32,
    prefill: usize,
    decode: usize,
    /// Whether its place on the prefill worker is held.
    prefilling: bool,
    first_token: Option<Timestamp>,
    ended: Option<(Timestamp, End)>,
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
        let order = match setup.dispatch {
            Dispatch::AtOnce => policies::queue::QueueOrder::Fifo,
            Dispatch::WhenThereIsRoom { order, .. } => order,
        };
        let settings = RouteSettings::default();
        let roles = std::iter::repeat_n(Role::Prefill, setup.prefill as usize)
            .chain(std::iter::repeat_n(Role::Decode, setup.decode as usize));
        Self {
            setup,
            source: match workload {
                Workload::Closed { jobs, concurrency } => Source::Closed {
                    jobs: jobs.iter(),
                    idle: *concurrency,
                },
                Workload::Open { arrivals } => Source::Open {
                    arrivals: arrivals.iter().peekable(),
                },
            },
            now: Timestamp::ZERO,
            agenda,
            workers: roles.map(|role| Worker::new(role, setup.warm)).collect(),
            requests: Vec::new(),
            queue: WaitQueue::new(order, setup.slo.ttft),
            policies: [setup.prefill_policy, setup.decode_policy]
                .map(|kind| route::build(kind, &settings)),
            entropy: fastrand::Rng::with_seed(setup.seed),
            candidates: Vec::new(),
            touched: Vec::new(),
            itl: Histogram::new(3).expect("three significant digits are allowed"),
            retries: 0,
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
        let arrival = match &mut self.source {
            Source::Closed { jobs, idle } => {
                (*idle > 0 && !jobs.as_slice().is_empty()).then_some(self.now)
            }
            Source::Open { arrivals } => arrivals.peek().map(|(at, _)| (*at).max(self.now)),
        };
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
            Event::Computed { .. }
            | Event::Sent { .. }
            | Event::Stepped { .. }
            | Event::Back { .. } => {}
            Event::Landed { request, attempt } => self.landed(request, attempt),
            Event::ChangeDue { change } => self.begin_change(change),
            Event::FailureDue { failure } => self.fail(failure),
        }
    }

    fn is_current(&self, worker: usize, epoch: u32) -> bool {
        self.workers[worker].epoch == epoch
    }

    // Requests come and are dispatched.

    fn take_arrivals(&mut self) {
        while let Some((arrived, job)) = self.source.next_arrival(self.now) {
            self.requests.push(Request {
                job,
                arrived,
                attempt: 0,
                prefill: 0,
                decode: 0,
                prefilling: false,
                first_token: None,
                ended: None,
            });
            self.queue.push(arrived, self.requests.len() - 1);
        }
    }

    fn dispatch_waiting(&mut self) {
        while !self.queue.is_empty() {
            let lead = match self.setup.dispatch {
                Dispatch::AtOnce => Duration::ZERO,
                Dispatch::WhenThereIsRoom { .. } => self.lead(),
            };
            let Some(&request) = self.queue.peek(self.now, lead) else {
                return;
            };
            if !self.dispatch(request) {
                return;
            }
            self.queue.pop(self.now, lead);
        }
    }

    /// How long the first token takes once a request of two thousand tokens is dispatched to an idle worker: the least
    /// that can be promised.
    fn lead(&self) -> Duration {
        let model = &self.setup.model.prefill;
        seconds(model.batch_seconds(2_048) + model.transfer_seconds(2_048))
    }

    /// Pairs a request with workers and sends it; false where there is none for it now.
    fn dispatch(&mut self, request: usize) -> bool {
        let Some(prefill) = self.pick(Role::Prefill, 1) else {
            return false;
        };
        let partners = self.serving(Role::Prefill).count();
        let Some(decode) = self.pick(Role::Decode, partners) else {
            return false;
        };
        let sent = &mut self.requests[request];
        (sent.prefill, sent.decode, sent.prefilling) = (prefill, decode, true);
        let job = sent.job;
        self.workers[prefill].in_flight += 1;
        self.workers[decode].in_flight += 1;
        self.workers[prefill].prefill.push(Prompt { request, job });
        self.touched.push(prefill);
        true
    }

    fn pick(&mut self, role: Role, partners: usize) -> Option<usize> {
        self.candidates.clear();
        for (position, worker) in self.workers.iter().enumerate() {
            if worker.serves(role) && self.has_room(worker, role) {
                self.candidates.push(Candidate {
                    id: WorkerId(position as u64),
                    key: position as u64,
                    in_flight: worker.in_flight,
                    reported_tokens: None,
                });
            }
        }
        let draw = Draw {
            now: self.now,
            entropy: self.entropy.u64(..),
        };
        let request = RouteRequest {
            prompt: "",
            routing_key: None,
            client_key: None,
            target_index: None,
            partners,
        };
        let policy = &self.policies[usize::from(role == Role::Decode)];
        let picked = policy.pick(&request, &self.candidates[..], draw)?;
        Some(self.candidates[picked].id.0 as usize)
    }

    fn has_room(&self, worker: &Worker, role: Role) -> bool {
        match self.setup.dispatch {
            Dispatch::WhenThereIsRoom { pending_tokens, .. } if role == Role::Prefill => {
                worker.prefill.pending_tokens < pending_tokens
            }
            Dispatch::AtOnce | Dispatch::WhenThereIsRoom { .. } => true,
        }
    }

    fn serving(&self, role: Role) -> impl Iterator<Item = &Worker> {
        self.workers.iter().filter(move |worker| worker.serves(role))
    }

    // Workers work.

    /// Begins what can begin at the workers that were touched.
    fn start_work(&mut self) {
        self.touched.sort_unstable();
        self.touched.dedup();
        for position in std::mem::take(&mut self.touched) {
            let (now, model) = (self.now, &self.setup.model);
            let worker = &mut self.workers[position];
            let epoch = worker.epoch;
            if let Some(took) = worker.prefill.form_batch(&model.prefill) {
                let took = seconds(took);
                worker.used.prefill_busy += took;
                let computed = Event::Computed {
                    worker: position,
                    epoch,
                };
                self.agenda.add(now.after(took), computed);
            }
            if let Some(step) = worker.decode.begin_step(&model.decode, now) {
                let took = seconds(step.seconds);
                worker.used.decode_busy += took;
                let stepped = Event::Stepped {
                    worker: position,
                    epoch,
                };
                self.agenda.add(now.after(took), stepped);
            }
        }
    }

    fn computed(&mut self, position: usize) {
        let prefill = &mut self.workers[position].prefill;
        let computed = prefill.computed();
        if prefill.sending() == computed {
            self.send_next(position);
        }
        self.touched.push(position);
    }

    fn send_next(&mut self, position: usize) {
        let worker = &self.workers[position];
        if let Some(next) = worker.prefill.next_to_send() {
            let tokens = u64::from(next.job.prompt_tokens);
            let took = seconds(self.setup.model.prefill.sending_seconds(tokens));
            let sent = Event::Sent {
                worker: position,
                epoch: worker.epoch,
            };
            self.agenda.add(self.now.after(took), sent);
        }
    }

    fn sent(&mut self, position: usize) {
        if let Some(prompt) = self.workers[position].prefill.sent() {
            let latency = seconds(self.setup.model.prefill.transfer_base);
            let landed = Event::Landed {
                request: prompt.request,
                attempt: self.requests[prompt.request].attempt,
            };
            self.agenda.add(self.now.after(latency), landed);
        }
        self.send_next(position);
    }

    /// The KV is there and with it the first token; the prefill leg has ended.
    fn landed(&mut self, request: usize, attempt: u32) {
        let landed = &mut self.requests[request];
        if landed.attempt != attempt || landed.ended.is_some() {
            return;
        }
        landed.first_token = Some(self.now);
        let (job, decode) = (landed.job, landed.decode);
        self.leave_prefill(request);
        if job.output_tokens <= 1 {
            self.end(request, End::Completed);
            return;
        }
        self.workers[decode].decode.land(Sequence {
            request,
            kv_tokens: u64::from(job.prompt_tokens) + 1,
            remaining: u64::from(job.output_tokens) - 1,
            last_token: self.now,
        });
        self.touched.push(decode);
    }

    fn stepped(&mut self, position: usize) {
        let step = self.workers[position].decode.end_step();
        let now = self.now;
        for last_token in &step.newcomers {
            let gap = now.since(*last_token);
            self.record_itl(gap, 1);
        }
        if step.others > 0 {
            let took = self.workers[position].step_took(now);
            self.record_itl(took, step.others as u64);
        }
        self.workers[position].last_step = now;
        for request in step.ended {
            self.end(request, End::Completed);
        }
        self.touched.push(position);
    }

    fn record_itl(&mut self, gap: Duration, tokens: u64) {
        let micros = u64::try_from(gap.as_micros()).unwrap_or(u64::MAX);
        self.itl
            .record_n(micros, tokens)
            .expect("a histogram that resizes takes every value");
    }

    fn end(&mut self, request: usize, end: End) {
        self.leave_prefill(request);
        let ended = &mut self.requests[request];
        ended.ended = Some((self.now, end));
        let decode = ended.decode;
        self.leave(decode);
        self.source.one_ended();
    }

    fn leave_prefill(&mut self, request: usize) {
        let leaving = &mut self.requests[request];
        if std::mem::take(&mut leaving.prefilling) {
            let prefill = leaving.prefill;
            self.leave(prefill);
        }
    }

    fn leave(&mut self, position: usize) {
        self.workers[position].in_flight -= 1;
        self.switch_if_empty(position);
    }

    // Roles change and workers die.

    fn begin_change(&mut self, change: usize) {
        let change = self.setup.changes[change];
        if self.serving(change.from).count() < 2 {
            return;
        }
        let least = self
            .workers
            .iter()
            .enumerate()
            .filter(|(_, worker)| worker.serves(change.from))
            .min_by_key(|(position, worker)| (worker.to_finish(), *position));
        let Some((position, _)) = least else { return };
        let worker = &mut self.workers[position];
        worker.dark = change.dark;
        worker.apply(WorkerEvent::DrainRequested);
        self.switch_if_empty(position);
    }

    fn switch_if_empty(&mut self, position: usize) {
        let worker = &mut self.workers[position];
        if worker.state != WorkerState::Draining || worker.in_flight > 0 {
            return;
        }
        worker.apply(WorkerEvent::Emptied);
        worker.away_since = self.now;
        worker.epoch += 1;
        worker.role = match worker.role {
            Role::Prefill => Role::Decode,
            Role::Decode | Role::Regular => Role::Prefill,
        };
        worker.used.role_changes += 1;
        // A worker in a new role begins cold, as one that was started anew.
        worker.prefill.warm = false;
        let back = Event::Back {
            worker: position,
            epoch: worker.epoch,
        };
        self.agenda.add(self.now.after(worker.dark), back);
        let id = WorkerId(position as u64);
        self.policies.iter().for_each(|policy| policy.forget(id));
    }

    /// It runs in its role and is found good.
    fn back(&mut self, position: usize) {
        let worker = &mut self.workers[position];
        worker.used.away += self.now.since(worker.away_since);
        if worker.state == WorkerState::Switching {
            worker.apply(WorkerEvent::Switched);
        } else {
            worker.apply(WorkerEvent::Relaunched);
        }
        worker.apply(WorkerEvent::Passed);
    }

    fn fail(&mut self, failure: usize) {
        let failure = self.setup.failures[failure];
        let Some(worker) = self.workers.get_mut(failure.worker) else {
            return;
        };
        if !matches!(worker.state, WorkerState::Serving) {
            return;
        }
        worker.apply(WorkerEvent::GaveUp);
        worker.away_since = self.now;
        worker.epoch += 1;
        let back = Event::Back {
            worker: failure.worker,
            epoch: worker.epoch,
        };
        let _ = worker.prefill.die();
        let _ = worker.decode.die();
        self.agenda.add(self.now.after(failure.down), back);
        self.policies
            .iter()
            .for_each(|policy| policy.forget(WorkerId(failure.worker as u64)));
        for request in 0..self.requests.len() {
            self.lose(request, failure.worker);
        }
    }

    /// What becomes of a request when `worker` dies: one that has its first token from it fails, one that has none runs
    /// again, and one that is on no part of it goes on.
    fn lose(&mut self, request: usize, worker: usize) {
        let lost = &mut self.requests[request];
        let dispatched = lost.prefilling || lost.first_token.is_some();
        if lost.ended.is_some() || !dispatched {
            return;
        }
        if lost.first_token.is_some() {
            if lost.decode == worker {
                self.end(request, End::Failed);
            }
        } else if lost.prefill == worker || lost.decode == worker {
            lost.attempt += 1;
            let (arrived, decode) = (lost.arrived, lost.decode);
            self.leave_prefill(request);
            self.leave(decode);
            self.retries += 1;
            self.requeue(arrived, request);
        }
    }

    fn requeue(&mut self, arrived: Timestamp, request: usize) {
        // It goes to the end of the line, with the age that it has.
        self.queue.push(arrived, request);
    }

    fn conclude(self) -> Outcome {
        let served: Vec<_> = self
            .requests
            .iter()
            .map(|request| request.served(self.now))
            .collect();
        let first = served.first().map_or(Timestamp::ZERO, |first| first.arrived);
        let last = served.iter().map(|request| request.ended).max();
        Outcome {
            makespan: last.map_or(Duration::ZERO, |last| last.since(first)),
            requests: served,
            itl: self.itl,
            workers: self.workers.iter().map(Worker::used).collect(),
            retries: self.retries,
            events: self.agenda.decided(),
        }
    }
}

impl Source<'_> {
    /// A request that arrives at `now`, if there is one.
    fn next_arrival(&mut self, now: Timestamp) -> Option<(Timestamp, Job)> {
        match self {
            Self::Closed { jobs, idle } => {
                if *idle == 0 {
                    return None;
                }
                let job = jobs.next()?;
                *idle -= 1;
                Some((now, *job))
            }
            Self::Open { arrivals } => arrivals.next_if(|(at, _)| *at <= now).copied(),
        }
    }

    fn one_ended(&mut self) {
        if let Self::Closed { idle, .. } = self {
            *idle += 1;
        }
    }
}

impl Worker {
    fn new(role: Role, warm: bool) -> Self {
        Self {
            role,
            state: WorkerState::Serving,
            dark: Duration::ZERO,
            away_since: Timestamp::ZERO,
            epoch: 0,
            in_flight: 0,
            prefill: PrefillSide {
                warm,
                ..PrefillSide::default()
            },
            decode: DecodeSide::default(),
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

    fn serves(&self, role: Role) -> bool {
        self.role == role && self.state.admits_requests()
    }

    fn apply(&mut self, event: WorkerEvent) {
        self.state = lifecycle::next(self.state, event)
            .expect("the simulator tells a worker only what can happen to it");
    }

    /// Tokens that a drain has to wait for.
    fn to_finish(&self) -> u64 {
        match self.role {
            Role::Prefill | Role::Regular => self.prefill.pending_tokens,
            Role::Decode => self.decode.remaining(),
        }
    }

    fn used(&self) -> WorkerUse {
        WorkerUse {
            role: self.role,
            retractions: self.decode.retractions(),
            ..self.used
        }
    }
}

impl Request {
    fn served(&self, end_of_time: Timestamp) -> Served {
        let (ended, end) = self.ended.unwrap_or((end_of_time, End::Stranded));
        Served {
            job: self.job,
            arrived: self.arrived,
            first_token: self.first_token,
            ended,
            end,
        }
    }
}

/// The model's seconds as a span of virtual time.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::ZERO)
}
