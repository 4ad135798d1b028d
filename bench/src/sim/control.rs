//! The control tick: what a planner sees of the simulated fleet, and what becomes of its plan.

use std::time::Duration;

use policies::estimate::{Traffic, class_of};
use policies::lifecycle::WorkerState;
use policies::model::WorkerModel;
use policies::ratio::{Action, Guarded, Observation, Plan, Planner, Split, WorkerLoad};
use policies::worker::Role;

use super::events::Event;
use super::worker::Worker;
use super::world::World;
use super::{Control, Setup};
use crate::workload::Job;

/// Between two looks.
const TICK: Duration = Duration::from_secs(1);

/// The planner, and what it has not been told yet.
pub(super) struct Watch {
    planner: Box<dyn Planner>,
    dark: Duration,
    lengths_known: bool,
    traffic: Traffic,
    /// Requests that had become late when it last looked.
    turned_late: u64,
}

impl Watch {
    pub(super) fn new(setup: &Setup, control: &Control) -> Self {
        Self {
            planner: planner(setup.model, setup.slo.itl.as_secs_f64(), control),
            dark: control.dark,
            lengths_known: setup.lengths_known,
            traffic: Traffic::default(),
            turned_late: 0,
        }
    }

    pub(super) fn arrived(&mut self, job: &Job) {
        let class = &mut self.traffic[class_of(job.prompt_tokens)];
        class.arrived += 1;
        class.prompt_tokens += u64::from(job.prompt_tokens);
        class.cached_tokens += u64::from(job.cached_tokens);
        if self.lengths_known {
            self.tell_length(job);
        }
    }

    pub(super) fn ended(&mut self, job: &Job) {
        if !self.lengths_known {
            self.tell_length(job);
        }
    }

    fn tell_length(&mut self, job: &Job) {
        let class = &mut self.traffic[class_of(job.prompt_tokens)];
        class.finished += 1;
        class.output_tokens += u64::from(job.output_tokens);
    }
}

fn planner(model: WorkerModel, itl_seconds: f64, control: &Control) -> Box<dyn Planner> {
    let planner = control.planner.build(model, itl_seconds);
    Box::new(Guarded::new(planner, control.guardrails.clone()))
}

impl World<'_> {
    pub(super) fn tick(&mut self) {
        let Some(mut watch) = self.watch.take() else {
            return;
        };
        let late = self.queue.turned_late();
        let turned_late = late - std::mem::replace(&mut watch.turned_late, late);
        let seen = self.observation(std::mem::take(&mut watch.traffic), turned_late);
        let plan = watch.planner.plan(self.now, &seen);
        if let Plan {
            action: Action::Move,
            donor: Some(donor),
            ..
        } = plan
        {
            self.move_one(donor, watch.dark);
        }
        self.watch = Some(watch);
        if !self.is_over() {
            self.agenda.add(self.now.after(TICK), Event::Tick);
        }
    }

    /// Nothing is left to come, and nobody is left to be served.
    fn is_over(&self) -> bool {
        let idle = self.workers.iter().all(|worker| worker.in_flight == 0);
        self.source.is_exhausted() && self.queue.is_empty() && idle
    }

    fn observation(&self, mut traffic: Traffic, turned_late: u64) -> Observation {
        for worker in &self.workers {
            for (request, remaining) in worker.decode.running() {
                let job = self.requests[request].job;
                let class = &mut traffic[class_of(job.prompt_tokens)];
                class.running += 1;
                class.generated_tokens += u64::from(job.output_tokens) - remaining;
            }
        }
        let serving = |role| self.serving(role).count() as u32;
        let count = |states: &[WorkerState]| {
            let workers = self.workers.iter();
            workers
                .filter(|worker| states.contains(&worker.state))
                .count() as u32
        };
        Observation {
            split: Split {
                prefill: serving(Role::Prefill),
                decode: serving(Role::Decode),
            },
            traffic,
            turned_late,
            decode_full: self.decode_is_full(),
            queued_prompt_tokens: self.prompts.mean() * self.queue.len() as u64,
            loads: [Role::Prefill, Role::Decode]
                .into_iter()
                .flat_map(|role| self.serving(role).map(load))
                .collect(),
            oldest_report: Some(Duration::ZERO),
            moving: count(&[WorkerState::Draining, WorkerState::Switching]) > 0,
            missing: count(&[WorkerState::Unhealthy, WorkerState::Failed]),
            ..Observation::default()
        }
    }
}

fn load(worker: &Worker) -> WorkerLoad {
    let (running, waiting, kv_tokens) = worker.decode.load();
    WorkerLoad {
        role: worker.role,
        pending_prompt_tokens: worker.prefill.pending_tokens,
        running,
        waiting,
        kv_tokens,
    }
}
