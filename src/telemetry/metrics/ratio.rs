//! Families of the ratio controller.

use policies::ratio::{Action, ControllerState, Plan, Reason, Utilisation};
use policies::worker::Role;
use prometheus::{GaugeVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::catalogue::Catalogue;

#[derive(Debug)]
pub struct RatioFamilies {
    state: IntGaugeVec,
    decisions: IntCounterVec,
    target: IntGaugeVec,
    predicted_utilisation: GaugeVec,
    measured_utilisation: GaugeVec,
    predicted_itl: GaugeVec,
    pub failed_transitions: IntCounter,
}

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
