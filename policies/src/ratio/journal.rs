//! Decisions, written down so that they can be made again: with the same planner and the same looks, bit for bit.

use serde::{Deserialize, Serialize};

use super::{Guarded, GuardrailSettings, Observation, Plan, Planner, PlannerSettings};
use crate::model::WorkerModel;
use crate::time::Timestamp;

/// Who decides. A journal begins with it, and again whenever another planner takes over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    pub model: WorkerModel,
    /// Time between tokens that decode is to keep, seconds.
    pub itl_seconds: f64,
    pub planner: PlannerSettings,
    pub guardrails: GuardrailSettings,
}

impl Head {
    /// The planner, with nothing seen yet.
    pub fn planner(&self) -> Guarded<Box<dyn Planner + Send>> {
        let planner = self.planner.build(self.model, self.itl_seconds);
        Guarded::new(planner, self.guardrails.clone())
    }
}

/// One decision: when, on what, and which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    pub now: Timestamp,
    pub seen: Observation,
    pub plan: Plan,
}

/// A line of a journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    Head(Box<Head>),
    Decision(Box<Decision>),
}

/// A decision that was not made again.
#[derive(Debug, Clone, PartialEq)]
pub struct Difference {
    pub now: Timestamp,
    pub written: Plan,
    pub made: Plan,
}

/// Decisions made again, journal line by line.
#[derive(Default)]
pub struct Replay {
    planner: Option<Guarded<Box<dyn Planner + Send>>>,
    decisions: u64,
}

/// The journal has a decision before any [`Head`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Headless;

impl Replay {
    /// Makes the decision of `line` again, if it is one. Answers how it differs from the one written.
    pub fn line(&mut self, line: &Line) -> Result<Option<Difference>, Headless> {
        match line {
            Line::Head(head) => {
                self.planner = Some(head.planner());
                Ok(None)
            }
            Line::Decision(decision) => {
                let planner = self.planner.as_mut().ok_or(Headless)?;
                let made = planner.plan(decision.now, &decision.seen);
                self.decisions += 1;
                Ok((made != decision.plan).then_some(Difference {
                    now: decision.now,
                    written: decision.plan,
                    made,
                }))
            }
        }
    }

    /// Decisions made again so far.
    pub const fn decisions(&self) -> u64 {
        self.decisions
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::estimate::{ClassTraffic, class_of};
    use crate::ratio::{Action, ControllerSettings, Split};

    fn head() -> Head {
        Head {
            model: WorkerModel::default(),
            itl_seconds: 0.025,
            planner: PlannerSettings::Controller(ControllerSettings::default()),
            guardrails: GuardrailSettings::default(),
        }
    }

    /// Long prompts with short answers, more than a 1P3D can take, at odd rates.
    fn seen(second: u64) -> Observation {
        let mut seen = Observation {
            split: Split {
                prefill: 1,
                decode: 3,
            },
            oldest_report: Some(Duration::from_millis(333)),
            ..Observation::default()
        };
        let arrived = 38 + (second * 7 % 5) as u32;
        seen.traffic[class_of(2_000)] = ClassTraffic {
            arrived,
            prompt_tokens: u64::from(arrived) * 2_003,
            finished: arrived,
            output_tokens: u64::from(arrived) * 127,
            ..ClassTraffic::default()
        };
        seen
    }

    fn journal() -> Vec<Line> {
        let head = head();
        let mut planner = head.planner();
        let decisions = (0..120).map(|second| {
            let now = Timestamp::from_micros(second * 1_000_003);
            let seen = seen(second);
            let plan = planner.plan(now, &seen);
            Line::Decision(Box::new(Decision { now, seen, plan }))
        });
        let mut lines: Vec<_> = decisions.collect();
        lines.insert(0, Line::Head(Box::new(head)));
        lines
    }

    #[test]
    fn a_journal_that_went_through_text_is_made_again_bit_for_bit() {
        let journal = journal();
        let moved = |line: &Line| matches!(line, Line::Decision(decision) if decision.plan.action == Action::Move);
        assert!(journal.iter().any(moved), "there is something to decide");
        let mut replay = Replay::default();
        for line in &journal {
            let text = serde_json::to_string(line).unwrap();
            let read: Line = serde_json::from_str(&text).unwrap();
            assert_eq!(&read, line);
            assert_eq!(replay.line(&read), Ok(None));
        }
        assert_eq!(replay.decisions(), 120);
    }

    #[test]
    fn a_decision_that_was_altered_is_found() {
        let mut journal = journal();
        let Line::Decision(decision) = &mut journal[60] else {
            unreachable!("only the first line is none");
        };
        decision.plan.target = Split {
            prefill: 3,
            decode: 1,
        };
        let mut replay = Replay::default();
        let differences = journal.iter().filter_map(|line| replay.line(line).unwrap());
        assert_eq!(differences.count(), 1);
        assert_eq!(Replay::default().line(&journal[1]), Err(Headless));
    }
}
