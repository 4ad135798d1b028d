//! Requests come, and are paired with workers.

use policies::queue::{Claim, DecodePlaces, has_place};
use policies::route::{Candidate, Draw, RouteRequest};
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};

use super::Dispatch;
use super::request::Request;
use super::worker::Worker;
use super::world::World;
use crate::workload::{Job, Workload};

/// Where the next request comes from.
pub(super) enum Source<'a> {
    Closed {
        jobs: std::slice::Iter<'a, Job>,
        /// Clients that have no request.
        idle: usize,
    },
    Open {
        arrivals: std::iter::Peekable<std::slice::Iter<'a, (Timestamp, Job)>>,
    },
}

/// The lengths of the prompts that have come.
#[derive(Default)]
pub(super) struct Prompts {
    tokens: u64,
    count: u64,
}

impl Prompts {
    fn seen(&mut self, tokens: u32) {
        self.tokens += u64::from(tokens);
        self.count += 1;
    }

    pub(super) fn mean(&self) -> u64 {
        self.tokens / self.count.max(1)
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(workload: &'a Workload) -> Self {
        match workload {
            Workload::Closed { jobs, concurrency } => Self::Closed {
                jobs: jobs.iter(),
                idle: *concurrency,
            },
            Workload::Open { arrivals } => Self::Open {
                arrivals: arrivals.iter().peekable(),
            },
        }
    }

    /// When the next request comes, as far as that is known at `now`.
    pub(super) fn next_at(&mut self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Closed { jobs, idle } => {
                (*idle > 0 && !jobs.as_slice().is_empty()).then_some(now)
            }
            Self::Open { arrivals } => arrivals.peek().map(|(at, _)| (*at).max(now)),
        }
    }

    /// A request that arrives at `now`, if there is one.
    pub(super) fn next_arrival(&mut self, now: Timestamp) -> Option<(Timestamp, Job)> {
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

    pub(super) fn is_exhausted(&self) -> bool {
        match self {
            Self::Closed { jobs, .. } => jobs.as_slice().is_empty(),
            Self::Open { arrivals } => arrivals.len() == 0,
        }
    }

    pub(super) fn one_ended(&mut self) {
        if let Self::Closed { idle, .. } = self {
            *idle += 1;
        }
    }
}

impl World<'_> {
    pub(super) fn take_arrivals(&mut self) {
        while let Some((arrived, job)) = self.source.next_arrival(self.now) {
            self.requests.push(Request::new(job, arrived));
            self.prompts.seen(job.prompt_tokens);
            if let Some(watch) = &mut self.watch {
                watch.arrived(&job);
            }
            self.wait(arrived, self.requests.len() - 1);
        }
    }

    /// Pairs a request with workers and sends it; false where there is none for it now.
    pub(super) fn dispatch(&mut self, request: usize, claim: Claim) -> bool {
        let Some((prefill, decode)) = self.pair(claim) else {
            return false;
        };
        let sent = &mut self.requests[request];
        (sent.prefill, sent.decode, sent.prefilling) = (prefill, decode, true);
        sent.late = claim != Claim::Fresh;
        let job = sent.to_compute();
        self.workers[decode].late += u32::from(sent.late);
        self.workers[prefill].in_flight += 1;
        self.workers[decode].in_flight += 1;
        self.workers[prefill].prefill.expect(&job);
        let tokens = u64::from(job.prompt_tokens);
        self.workers[decode].decode.reserve(request, tokens);
        self.touched.push(decode);
        true
    }

    /// The workers of the next request; one for both where workers do both.
    fn pair(&mut self, claim: Claim) -> Option<(usize, usize)> {
        let role = self.prompt_role();
        let prefill = self.pick(role, 1, claim)?;
        if role == Role::Regular {
            return Some((prefill, prefill));
        }
        let partners = self.serving(role).count();
        Some((prefill, self.pick(Role::Decode, partners, claim)?))
    }

    /// Whose workers compute prompts.
    pub(super) fn prompt_role(&self) -> Role {
        if self.setup.regular > 0 {
            Role::Regular
        } else {
            Role::Prefill
        }
    }

    fn pick(&mut self, role: Role, partners: usize, claim: Claim) -> Option<usize> {
        self.candidates.clear();
        for (position, worker) in self.workers.iter().enumerate() {
            if worker.serves(role) && self.has_room(worker, role, claim) {
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
        let picked = policy.pick(&request, &self.candidates.as_slice(), draw)?;
        Some(self.candidates[picked].id.0 as usize)
    }

    fn has_room(&self, worker: &Worker, role: Role, claim: Claim) -> bool {
        match self.setup.dispatch {
            Dispatch::WhenThereIsRoom { pending_tokens, .. } if role != Role::Decode => {
                worker.prefill.pending_tokens < pending_tokens
            }
            Dispatch::WhenThereIsRoom { decode_places, .. } => {
                !decode_places || has_place(self.places(worker), claim)
            }
            Dispatch::AtOnce => true,
        }
    }

    fn places(&self, worker: &Worker) -> DecodePlaces {
        DecodePlaces {
            most: u64::from(self.setup.model.decode.max_running)
                .min(worker.pace.most().unwrap_or(u64::MAX)),
            in_flight: u64::from(worker.in_flight),
            late: u64::from(worker.late),
        }
    }

    /// Whether a decode worker has a place for a request that is next by `claim`.
    pub(super) fn has_decode_place(&self, claim: Claim) -> bool {
        self.serving(Role::Decode)
            .any(|worker| self.has_room(worker, Role::Decode, claim))
    }

    /// Whether requests wait because decode has no place for any.
    pub(super) fn decode_is_full(&self) -> bool {
        let waits = matches!(
            self.setup.dispatch,
            Dispatch::WhenThereIsRoom {
                decode_places: true,
                ..
            }
        );
        waits && !self.queue.is_empty() && !self.has_decode_place(Claim::Fresh)
    }

    pub(super) fn serving(&self, role: Role) -> impl Iterator<Item = &Worker> {
        self.workers
            .iter()
            .filter(move |worker| worker.serves(role))
    }
}
