//! The ratio as it is: nothing is moved, and each decision says how well the split fits.

use std::time::Duration;

use super::{Action, Observation, Plan, Planner, Reason, predict, present};
use crate::model::WorkerModel;
use crate::time::Timestamp;

/// A worker that has not reported for this long is not known any more: ten polls at the default interval.
const STALE: Duration = Duration::from_secs(10);

/// Plans for a split that stays.
#[derive(Debug, Clone)]
pub struct FixedRatio {
    pub model: WorkerModel,
    /// Time between tokens that decode is to keep, seconds.
    pub itl_seconds: f64,
}

impl Planner for FixedRatio {
    fn plan(&mut self, _now: Timestamp, seen: &Observation) -> Plan {
        let Observation {
            split,
            demand,
            oldest_report,
            ..
        } = seen;
        let reason = if split.prefill == 0 || split.decode == 0 {
            Reason::RoleUnserved
        } else if oldest_report.is_none_or(|age| age > STALE) {
            Reason::StaleReadings
        } else if demand.requests_per_second <= 0.0 {
            Reason::NoDemand
        } else {
            Reason::FixedRatio
        };
        let known = !matches!(reason, Reason::RoleUnserved | Reason::StaleReadings);
        Plan {
            action: Action::Hold,
            reason,
            target: *split,
            donor: None,
            predicted: predict(&self.model, self.itl_seconds, *split, demand),
            measured: known
                .then(|| present::measured(&self.model, self.itl_seconds, seen))
                .flatten(),
            predicted_itl: known
                .then(|| present::predicted_itl(&self.model, seen))
                .flatten(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ratio::{Activity, ControllerState, Demand, Split};

    fn planner() -> FixedRatio {
        FixedRatio {
            model: WorkerModel::h200_gpt_oss_120b_tp2(),
            itl_seconds: 0.025,
        }
    }

    fn observation() -> Observation {
        Observation {
            split: Split {
                prefill: 2,
                decode: 2,
            },
            demand: Demand {
                requests_per_second: 20.0,
                prompt_tokens: 2048.0,
                output_tokens: 128.0,
            },
            activity: Activity {
                prefill_busy: Some(0.4),
                running: 100,
                kv_tokens: 200_000,
            },
            oldest_report: Some(Duration::from_secs(1)),
            ..Observation::default()
        }
    }

    #[test]
    fn it_always_holds_and_says_why() {
        let seen = observation();
        let unserved = Split {
            prefill: 2,
            decode: 0,
        };
        let idle = Demand::default();
        let cases = [
            (seen.clone(), Reason::FixedRatio, ControllerState::Holding),
            (
                Observation {
                    split: unserved,
                    ..seen.clone()
                },
                Reason::RoleUnserved,
                ControllerState::Frozen,
            ),
            (
                Observation {
                    oldest_report: None,
                    ..seen.clone()
                },
                Reason::StaleReadings,
                ControllerState::Frozen,
            ),
            (
                Observation {
                    oldest_report: Some(Duration::from_secs(11)),
                    ..seen.clone()
                },
                Reason::StaleReadings,
                ControllerState::Frozen,
            ),
            (
                Observation {
                    demand: idle,
                    ..seen.clone()
                },
                Reason::NoDemand,
                ControllerState::Holding,
            ),
        ];
        for (observation, reason, state) in cases {
            let plan = planner().plan(Timestamp::ZERO, &observation);
            assert_eq!((plan.action, plan.reason), (Action::Hold, reason));
            assert_eq!(plan.target, observation.split);
            assert_eq!(plan.state(), state);
        }
    }

    #[test]
    fn the_prediction_is_the_models() {
        let plan = planner().plan(Timestamp::ZERO, &observation());
        let predicted = plan.predicted.unwrap();
        // Some 50k tokens a second each: 20 requests of 2,048 tokens take about 0.4 of two workers.
        assert!((0.38..0.44).contains(&predicted.prefill), "{predicted:?}");
        assert!((0.05..0.3).contains(&predicted.decode), "{predicted:?}");
        // 50 sequences and 100k tokens of KV: 6.855 + 2.95 + 0.5 ms.
        let itl = plan.predicted_itl.unwrap();
        assert!((itl - 0.010_305).abs() < 1e-6, "{itl}");
        let measured = plan.measured.unwrap();
        assert!((measured.prefill - 0.4).abs() < 1e-9);
        assert!((0.19..0.23).contains(&measured.decode), "{measured:?}");
    }

    #[test]
    fn nothing_is_predicted_of_nothing() {
        let plan = planner().plan(Timestamp::ZERO, &Observation::default());
        assert_eq!(
            (plan.predicted, plan.measured, plan.predicted_itl),
            (None, None, None)
        );
    }
}
