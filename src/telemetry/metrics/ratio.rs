//! Families of the ratio controller.

use std::time::Duration;

use policies::ratio::{Action, ControllerState, Plan, Reason, Utilisation};
use policies::worker::Role;
use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::catalogue::Catalogue;

#[derive(Debug)]
pub struct RatioFamilies {
    state: IntGaugeVec,
    decisions: IntCounterVec,
    target: IntGaugeVec,
    predicted_utilisation: GaugeVec,
    measured_utilisation: GaugeVec,
    predicted_itl: GaugeVec,
    transitions: IntCounterVec,
    steps: HistogramVec,
    failed_transitions: IntCounter,
}

/// Upper bounds for the steps of a role change, seconds: a switch in place takes tenths of one, a large model is loaded
/// in minutes, and a long answer is waited for half an hour at most.
const STEP_SECONDS: [f64; 12] = [
    0.1, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 1800.0,
];

/// There from the start: a series that appears with its first observation hides it from `rate`.
const STEPS: [&str; 3] = ["drain", "change", "verify"];

impl RatioFamilies {
    pub(super) fn new(make: &mut Catalogue) -> Self {
        let families = Self {
            state: make.gauge(
                "adaptive_router_controller_state",
                "1 for what the ratio controller is doing, 0 for the rest: off (--policy isn't ratio-controller), holding, moving (a transition is under way) or frozen (it can't see or there is nobody to move)",
                &["state"],
            ),
            decisions: make.counter(
                "adaptive_router_controller_decisions_total",
                "Decisions of the ratio controller, one a tick, by action and reason",
                &["action", "reason"],
            ),
            target: make.gauge(
                "adaptive_router_controller_target_workers",
                "Workers that each role is to have, by the controller's last decision",
                &["role"],
            ),
            predicted_utilisation: make.real_gauge(
                "adaptive_router_controller_predicted_utilisation",
                "Share of a role's capacity that the demand of the last seconds should take by the performance model; above 1 the role can't keep up",
                &["role"],
            ),
            measured_utilisation: make.real_gauge(
                "adaptive_router_controller_measured_utilisation",
                "Share of a role's capacity in use by the workers' own counters: of prefill workers the time spent computing (which small batches fill long before they fill the worker), of decode workers the running part of the largest batch",
                &["role"],
            ),
            predicted_itl: make.real_gauge(
                "adaptive_router_controller_predicted_itl_seconds",
                "Inter-token latency that the performance model predicts for the streams now running",
                &[],
            ),
            transitions: make.counter(
                "adaptive_router_controller_transitions_total",
                "Role changes that ended, by the role before and after, by how the role is changed (in_place, restart) and by result (success, failure)",
                &["from", "to", "means", "result"],
            ),
            steps: make.histogram(
                "adaptive_router_controller_transition_step_seconds",
                "Duration of the steps of role changes: drain (the worker finishes what it runs), change (it takes the other role), verify (until it is found good)",
                &["step"],
                &STEP_SECONDS,
            ),
            failed_transitions: make
                .counter(
                    "adaptive_router_controller_failed_transitions_total",
                    "Role changes that ended in failure",
                    &[],
                )
                .with_label_values::<&str>(&[]),
        };
        for action in Action::ALL {
            for reason in Reason::ALL {
                families
                    .decisions
                    .with_label_values(&[action.as_str(), reason.as_str()]);
            }
        }
        for step in STEPS {
            families.steps.with_label_values(&[step]);
        }
        families.set_state(ControllerState::Off);
        families
    }

    pub fn set_state(&self, state: ControllerState) {
        for each in ControllerState::ALL {
            self.state
                .with_label_values(&[each.as_str()])
                .set(i64::from(each == state));
        }
    }

    /// A role change ended.
    pub fn moved(&self, from: Role, to: Role, means: &str, success: bool) {
        let result = if success { "success" } else { "failure" };
        self.transitions
            .with_label_values(&[from.as_str(), to.as_str(), means, result])
            .inc();
        if !success {
            self.failed_transitions.inc();
        }
    }

    /// A step of a role change ended.
    pub fn stepped(&self, step: &str, took: Duration) {
        self.steps
            .with_label_values(&[step])
            .observe(took.as_secs_f64());
    }

    pub fn decided(&self, plan: &Plan) {
        self.set_state(plan.state());
        self.decisions
            .with_label_values(&[plan.action.as_str(), plan.reason.as_str()])
            .inc();
        for (role, workers) in [
            (Role::Prefill, plan.target.prefill),
            (Role::Decode, plan.target.decode),
        ] {
            self.target
                .with_label_values(&[role.as_str()])
                .set(i64::from(workers));
        }
        show_utilisation(&self.predicted_utilisation, plan.predicted);
        show_utilisation(&self.measured_utilisation, plan.measured);
        self.predicted_itl.reset();
        if let Some(seconds) = plan.predicted_itl {
            self.predicted_itl
                .with_label_values::<&str>(&[])
                .set(seconds);
        }
    }
}

/// What isn't known has no series.
fn show_utilisation(family: &GaugeVec, utilisation: Option<Utilisation>) {
    family.reset();
    if let Some(Utilisation { prefill, decode }) = utilisation {
        for (role, share) in [(Role::Prefill, prefill), (Role::Decode, decode)] {
            family.with_label_values(&[role.as_str()]).set(share);
        }
    }
}
