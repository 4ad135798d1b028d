//! What is played, and in which time.
//!
//! Workers may be so many times as slow or as fast as their model. Then everything else is stretched as much: when
//! requests come, what they are held to, and what the router is told of time. What the router has no flag for stays: it
//! looks once a second and averages what comes over half a minute. The simulator simulates just that, so that both play
//! the same. Figures are in the model's time again.

use std::{ffi::OsString, path::Path, time::Duration};

use policies::{
    model::WorkerModel,
    ratio::{ControllerSettings, GuardrailSettings, PlannerSettings, Split},
    time::Timestamp,
};

use super::Demand;
use crate::{
    experiment::{
        arms::{Arm, Planning, SLO},
        capacity::{self, Kind},
        engines::Fleet,
        workloads::phases::JITTER,
    },
    sim::{Control, Setup, Slo},
    workload::{Job, Workload, WorkloadError, WorkloadSpec, spec::PhaseMix},
};

/// What is the same for all arms. Durations and rates are in the model's time.
#[derive(Debug, Clone)]
pub(super) struct Scene {
    pub(super) workers: u32,
    /// One of the workers, at a time scale of 1.
    pub(super) model: WorkerModel,
    /// How many times as long everything takes.
    pub(super) scale: f64,
    pub(super) kinds: [Kind; 2],
    /// Requests a second of each kind, while it is its turn.
    pub(super) rates: [f64; 2],
    pub(super) phase_seconds: f64,
    pub(super) seconds: f64,
    /// That a request waits in the router at most.
    pub(super) queue_seconds: f64,
}

impl Scene {
    /// Two kinds that take turns.
    pub(super) fn new(
        (workers, model, scale): (u32, WorkerModel, f64),
        kinds: [Kind; 2],
        demand: Demand,
        (phase_seconds, phases): (f64, u32),
        queue_seconds: f64,
    ) -> Self {
        Self {
            workers,
            model,
            scale,
            kinds,
            rates: match demand {
                Demand::Load(load) => kinds.map(|kind| load * capacity::best(model, kind, workers)),
                Demand::Rates(rates) => rates,
            },
            phase_seconds,
            seconds: phase_seconds * f64::from(phases),
            queue_seconds,
        }
    }

    /// The requests of `seed` at their moments by the clock.
    pub(super) fn requests(&self, seed: u64) -> Result<Vec<(Timestamp, Job)>, WorkloadError> {
        let [one, other] = [0, 1].map(|kind| PhaseMix {
            rate: self.rates[kind],
            mix: self.kinds[kind].mix(),
        });
        let drawn = WorkloadSpec::Phases {
            mixes: vec![one, other],
            phase_s: self.phase_seconds,
            jitter: JITTER,
            duration_s: self.seconds,
        }
        .make(seed, Path::new(""))?;
        match drawn.accelerated(1.0 / self.scale) {
            Workload::Open { arrivals } => Ok(arrivals),
            Workload::Closed { .. } => unreachable!("phases are open"),
        }
    }

    /// Where an arm begins: at its split, or in the middle.
    pub(super) fn start(&self, arm: &Arm) -> Split {
        match arm.planning {
            Planning::Fixed(split) => split,
            Planning::Threshold
            | Planning::Controller
            | Planning::Advise
            | Planning::KnownLengths
            | Planning::Oracle
            | Planning::Aggregated(_) => self.fleet().start(),
        }
    }

    /// By the clock.
    fn fleet(&self) -> Fleet {
        Fleet {
            model: self.model.scaled(self.scale),
            workers: self.workers,
            slo: self.targets(),
            ..Fleet::standard("live", self.model)
        }
    }

    fn stretched(&self, span: Duration) -> Duration {
        span.mul_f64(self.scale)
    }

    fn queue_timeout(&self) -> Duration {
        self.stretched(Duration::from_secs_f64(self.queue_seconds))
    }

    /// What the router is told that requests are held to: whole milliseconds.
    fn targets(&self) -> Slo {
        let whole = |span| {
            let millis = self.stretched(span).as_secs_f64() * 1e3;
            Duration::from_millis((millis.round() as u64).max(1))
        };
        Slo {
            ttft: whole(SLO.ttft),
            itl: whole(SLO.itl),
        }
    }

    /// The router's flags for `arm`, beside those that name files and addresses.
    pub(super) fn flags(&self, arm: &Arm) -> Vec<OsString> {
        let (targets, controller) = (self.targets(), self.controller(Duration::ZERO));
        let seconds = |flag: &str, span: Duration| format!("{flag}={}", span.as_secs_f64());
        let planner = match arm.planning {
            Planning::Threshold => "threshold",
            Planning::Controller => "controller",
            Planning::Fixed(_)
            | Planning::Advise
            | Planning::KnownLengths
            | Planning::Oracle
            | Planning::Aggregated(_) => "fixed",
        };
        let mut flags = vec![
            "--policy=ratio-controller".to_owned(),
            format!("--planner={planner}"),
            format!("--ttft-slo-ms={}", targets.ttft.as_millis()),
            format!("--itl-slo-ms={}", targets.itl.as_millis()),
            seconds("--queue-timeout-secs", self.queue_timeout()),
            seconds("--role-change-cooldown-secs", self.guardrails().cooldown),
            seconds("--expected-phase-secs", controller.regime),
            format!("--role-change-margin-secs={}", controller.margin_seconds),
        ];
        if !arm.measures.fresh_first {
            flags.push("--prefill-queue-tokens=0".to_owned());
        }
        flags.push(format!(
            "--wait-for-decode={}",
            arm.measures.wait_for_decode
        ));
        flags.into_iter().map(OsString::from).collect()
    }

    fn guardrails(&self) -> GuardrailSettings {
        let usual = GuardrailSettings::default();
        GuardrailSettings {
            cooldown: self.stretched(usual.cooldown),
            ..usual
        }
    }

    fn controller(&self, dark: Duration) -> ControllerSettings {
        let usual = ControllerSettings::default();
        ControllerSettings {
            regime: self.stretched(usual.regime),
            margin_seconds: usual.margin_seconds * self.scale,
            dark,
            ..usual
        }
    }

    /// The same for the simulator, where a worker that changes its role is away for `dark` by the clock.
    pub(super) fn setup(&self, arm: &Arm, dark: Duration, seed: u64) -> Setup {
        let setup = arm.setup(&self.fleet(), dark, seed);
        let stretched = |planner| match planner {
            PlannerSettings::Fixed | PlannerSettings::Threshold(_) => planner,
            PlannerSettings::Controller(usual) => PlannerSettings::Controller(ControllerSettings {
                drain: usual.drain,
                queue_order: usual.queue_order,
                wait_for_decode: usual.wait_for_decode,
                ..self.controller(dark)
            }),
        };
        Setup {
            queue_timeout: Some(self.queue_timeout()),
            control: setup.control.map(|control| Control {
                planner: stretched(control.planner),
                guardrails: self.guardrails(),
                ..control
            }),
            ..setup
        }
    }
}
