//! The ratio controller: who decides, within which bounds, and how a role change is made.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use policies::queue::QueueOrder;
use policies::ratio::{
    ControllerSettings, Drain, GuardrailSettings, PlannerSettings, ThresholdSettings,
};

use super::parse;
use super::slo::SloSettings;

/// Who decides about the ratio: by prediction from what arrives, by thresholds on what the workers have in hand, or
/// nobody, so that the split stays where an operator puts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum PlannerName {
    Controller,
    Threshold,
    Fixed,
}

/// What becomes of a role change whose worker is not empty in time: it is waited for, half an hour at most; or its streams
/// go on at other workers, those that can, and the others are waited for; or it has to end what it runs, so that clients
/// get what there is, marked as aborted; or it serves on in its old role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Overdue {
    Wait,
    Migrate,
    Abort,
    CallOff,
}

impl Overdue {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Wait => "wait",
            Self::Migrate => "migrate",
            Self::Abort => "abort",
            Self::CallOff => "call-off",
        }
    }
}

/// The settings of `--policy ratio-controller`.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Ratio Controller")]
pub struct RatioSettings {
    /// Who decides how many workers prefill and how many decode: the controller by prediction, a threshold rule by what
    /// the workers have in hand, or nobody (fixed), until an operator asks for a split at POST /ratio
    #[arg(id = "planner", long, value_name = "PLANNER", value_enum, default_value_t = PlannerName::Controller)]
    pub planner: PlannerName,

    /// Decide, and write down what would be moved, but move nothing
    #[arg(id = "dry-run", long)]
    pub dry_run: bool,

    /// Write each decision with all that it was made from to this file, a JSON line a second; `pd-bench
    /// replay-decisions` makes them again [default: none]
    #[arg(id = "decision-log", long, value_name = "FILE")]
    pub decision_log: Option<PathBuf>,

    /// Performance model of a worker, as `pd-bench fit` writes it; what the workers report of themselves corrects it
    /// [default: gpt-oss-120b on two H200]
    #[arg(id = "worker-model", long, value_name = "FILE")]
    pub worker_model: Option<PathBuf>,

    /// Seconds between the end of a role change and the next
    #[arg(id = "role-change-cooldown-secs", long, value_name = "SECS", default_value = parse::seconds_text(guardrails().cooldown), value_parser = parse::seconds)]
    pub cooldown: Duration,

    /// Role changes that may begin within an hour
    #[arg(id = "role-changes-per-hour", long, value_name = "N", default_value_t = guardrails().moves_per_hour, value_parser = parse::whole::<usize>)]
    pub moves_per_hour: usize,

    /// Seconds after which a worker's report is too old to decide on
    #[arg(id = "stale-report-secs", long, value_name = "SECS", default_value = parse::seconds_text(guardrails().stale), value_parser = parse::positive_seconds)]
    pub stale: Duration,

    /// Seconds without role changes after one that failed
    #[arg(id = "failed-role-change-pause-secs", long, value_name = "SECS", default_value = parse::seconds_text(guardrails().after_failure), value_parser = parse::seconds)]
    pub after_failure: Duration,

    /// Seconds that a mix of traffic lasts, before it is known how long they do
    #[arg(id = "expected-phase-secs", long, value_name = "SECS", default_value = parse::seconds_text(controller().regime), value_parser = parse::positive_seconds)]
    pub regime: Duration,

    /// A role change is made when it saves so many seconds' worth of requests, after its cost
    #[arg(id = "role-change-margin-secs", long, value_name = "SECS", default_value_t = controller().margin_seconds, value_parser = parse::number)]
    pub margin_seconds: f64,

    /// And this share (0 to 1) of what would be missed without it: no forecast is better than that
    #[arg(id = "role-change-margin-share", long, value_name = "SHARE", default_value_t = controller().margin_share, value_parser = parse::share)]
    pub margin_share: f64,

    /// Standard deviations by which demand may be less than it seems
    #[arg(id = "demand-doubt", long, value_name = "N", default_value_t = controller().doubt, value_parser = parse::number)]
    pub doubt: f64,

    /// Looks, one a second, that have to agree on a role change
    #[arg(id = "decision-agreement", long, value_name = "N", default_value_t = controller().agreement, value_parser = parse::count)]
    pub agreement: u32,

    #[command(flatten)]
    pub transition: TransitionSettings,
}

/// How a role change is made.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Ratio Controller")]
pub struct TransitionSettings {
    /// Role changes under way at once
    #[arg(id = "max-transitions", long, value_name = "N", default_value_t = 1, value_parser = parse::positive_size)]
    pub max_at_once: usize,

    /// Seconds that a worker gets to finish what it runs before its role is changed [default: 120] (0 with
    /// --drain-overdue migrate)
    #[arg(id = "drain-timeout-secs", long, value_name = "SECS", value_parser = parse::seconds)]
    drain_timeout: Option<Duration>,

    /// What to do when it hasn't finished by then: wait on (half an hour at most), have streams go on at other workers
    /// (--stream-continuation) and wait for what can't, abort what it runs, or call the role change off
    #[arg(id = "drain-overdue", long, value_name = "WHAT", value_enum, default_value_t = Overdue::Wait)]
    pub overdue: Overdue,

    // The first switch to decode captures CUDA graphs: up to 2 s on a small model, minutes on a large one.
    /// Seconds that a switch in place may take, and again until the worker is found good
    #[arg(id = "role-switch-timeout-secs", long, value_name = "SECS", default_value = "180", value_parser = parse::positive_seconds)]
    pub switch_timeout: Duration,

    // A large model is loaded in minutes.
    /// Seconds that a worker may take from the start of its process in the new role until it is found good
    #[arg(id = "role-restart-timeout-secs", long, value_name = "SECS", default_value = "900", value_parser = parse::positive_seconds)]
    pub start_timeout: Duration,
}

/// Longer than most answers take.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(2);

impl TransitionSettings {
    /// How long a worker gets to finish what it runs. Streams that can go on elsewhere have nothing to wait for.
    pub fn drain_timeout(&self) -> Duration {
        self.drain_timeout.unwrap_or(match self.overdue {
            Overdue::Migrate => Duration::ZERO,
            Overdue::Wait | Overdue::Abort | Overdue::CallOff => DRAIN_TIMEOUT,
        })
    }
}

fn guardrails() -> GuardrailSettings {
    GuardrailSettings::default()
}

fn controller() -> ControllerSettings {
    ControllerSettings::default()
}

impl RatioSettings {
    /// The planner, for a router that keeps requests waiting in `order`, for decode too if `wait_for_decode`.
    pub fn planner(
        &self,
        slo: &SloSettings,
        order: QueueOrder,
        wait_for_decode: bool,
    ) -> PlannerSettings {
        match self.planner {
            PlannerName::Fixed => PlannerSettings::Fixed,
            PlannerName::Threshold => PlannerSettings::Threshold(ThresholdSettings {
                ttft_seconds: slo.ttft.as_secs_f64(),
                itl_seconds: slo.itl.as_secs_f64(),
                ..ThresholdSettings::default()
            }),
            PlannerName::Controller => PlannerSettings::Controller(ControllerSettings {
                regime: self.regime,
                margin_seconds: self.margin_seconds,
                margin_share: self.margin_share,
                doubt: self.doubt,
                agreement: self.agreement,
                queue_order: order,
                wait_for_decode,
                drain: match self.transition.overdue {
                    Overdue::Migrate => Drain::Migrate,
                    Overdue::Wait | Overdue::Abort | Overdue::CallOff => Drain::Wait,
                },
                ..controller()
            }),
        }
    }

    pub fn guardrails(&self) -> GuardrailSettings {
        GuardrailSettings {
            cooldown: self.cooldown,
            moves_per_hour: self.moves_per_hour,
            stale: self.stale,
            after_failure: self.after_failure,
            advise_only: self.dry_run,
        }
    }
}
