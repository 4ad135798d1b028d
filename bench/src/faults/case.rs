//! The matrix: which fault, when, and on which half of the pair.

use serde::{Deserialize, Serialize};
use simulated_worker::Fault as WorkerFault;
use std::{fmt, time::Duration};

/// What happens to one of a role's two workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// `kill -9`. At the start: connections are refused from then on, and the router has not noticed.
    Death,
    /// The connection closes.
    Reset,
    /// Status 400: the client's own mistake, as far as a router can tell.
    BadRequest,
    /// Status 429.
    Busy,
    /// Status 500.
    ServerError,
    /// Status 200, and then an error inside the answer.
    ErrorInside,
    /// The process lives and this request gets nothing more.
    Stall,
    /// `kill -STOP`: the kernel still accepts connections.
    Freeze,
    /// Its machine is gone: packets to it and from it vanish.
    Unreachable,
    /// The answer ends as if it were complete.
    CutShort,
    /// Bytes that are no answer.
    Garbage,
}

/// When it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Moment {
    /// Before the requests come.
    Start,
    /// The requests are with the worker, which has not answered.
    BeforeHead,
    /// Heads may be out, no token is.
    BeforeFirstToken,
    /// Every stream has brought tokens.
    MidStream,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Leg {
    Prefill,
    Decode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    pub leg: Leg,
    pub moment: Moment,
    pub fault: Fault,
}

/// How a fault is brought about.
#[derive(Debug, Clone, PartialEq)]
pub enum Way {
    /// The worker does it by itself.
    Rule(WorkerFault),
    /// Its process gets a signal.
    Kill,
    Stop,
    /// Its link is cut.
    Cut,
    /// Something else answers on its port.
    NotHttp,
}

/// Tokens of a stream after which its worker does wrong.
const AFTER_TOKENS: u32 = 8;

/// How long workers hold requests back so that the moment before the head can be met.
pub const HELD: Duration = Duration::from_millis(400);

impl Case {
    /// All of them, in the order of the document.
    pub fn all() -> Vec<Self> {
        let cases = |leg, moment, faults: &[Fault]| {
            let case = move |&fault| Self { leg, moment, fault };
            faults.iter().map(case).collect::<Vec<_>>()
        };
        let at_start = [Fault::Death, Fault::Freeze, Fault::Unreachable];
        let before_head = [
            Fault::Death,
            Fault::Reset,
            Fault::BadRequest,
            Fault::Busy,
            Fault::ServerError,
            Fault::Stall,
            Fault::Freeze,
            Fault::Unreachable,
            Fault::Garbage,
        ];
        let before_first_token = [
            Fault::Death,
            Fault::Reset,
            Fault::ErrorInside,
            Fault::Stall,
            Fault::Freeze,
            Fault::Unreachable,
            Fault::CutShort,
            Fault::Garbage,
        ];
        // A prefill worker has said all that it has to say by then; what it does later must not matter.
        let prefill_mid_stream = at_start;
        [
            cases(Leg::Prefill, Moment::Start, &at_start),
            cases(Leg::Prefill, Moment::BeforeHead, &before_head),
            cases(Leg::Prefill, Moment::BeforeFirstToken, &before_first_token),
            cases(Leg::Prefill, Moment::MidStream, &prefill_mid_stream),
            cases(Leg::Decode, Moment::Start, &at_start),
            cases(Leg::Decode, Moment::BeforeHead, &before_head),
            cases(Leg::Decode, Moment::BeforeFirstToken, &before_first_token),
            cases(Leg::Decode, Moment::MidStream, &before_first_token),
        ]
        .concat()
    }

    pub fn way(self) -> Way {
        let after_tokens = match self.moment {
            Moment::Start | Moment::BeforeHead | Moment::BeforeFirstToken => 0,
            Moment::MidStream => AFTER_TOKENS,
        };
        let refuse = |status| {
            Way::Rule(WorkerFault::Refuse {
                status,
                retry_after_s: None,
            })
        };
        let before_head = matches!(self.moment, Moment::Start | Moment::BeforeHead);
        match self.fault {
            Fault::Death => Way::Kill,
            Fault::Freeze => Way::Stop,
            Fault::Unreachable => Way::Cut,
            Fault::Reset if before_head => Way::Rule(WorkerFault::ResetBeforeHead),
            Fault::Reset => Way::Rule(WorkerFault::ResetMidStream { after_tokens }),
            Fault::BadRequest => refuse(400),
            Fault::Busy => refuse(429),
            Fault::ServerError => refuse(500),
            Fault::ErrorInside => Way::Rule(WorkerFault::ErrorEvent { after_tokens }),
            Fault::Stall if before_head => {
                Way::Rule(WorkerFault::StallBeforeHead { stall_ms: None })
            }
            Fault::Stall => Way::Rule(WorkerFault::StallMidStream {
                after_tokens,
                stall_ms: None,
            }),
            Fault::CutShort => Way::Rule(WorkerFault::CutShort { after_tokens }),
            Fault::Garbage if before_head => Way::NotHttp,
            Fault::Garbage => Way::Rule(WorkerFault::Garbage { after_tokens }),
        }
    }

    /// `prefill-start-death`, as `--case` takes it.
    pub fn name(self) -> String {
        format!("{}-{}-{}", self.leg, self.moment, self.fault)
            .replace(' ', "-")
            .to_lowercase()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Death => "killed",
            Self::Reset => "reset",
            Self::BadRequest => "400",
            Self::Busy => "429",
            Self::ServerError => "500",
            Self::ErrorInside => "error in a 200",
            Self::Stall => "stalls",
            Self::Freeze => "stopped",
            Self::Unreachable => "unreachable",
            Self::CutShort => "cut short",
            Self::Garbage => "garbage",
        })
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "from the start",
            Self::BeforeHead => "before the head",
            Self::BeforeFirstToken => "before the first token",
            Self::MidStream => "mid-stream",
        })
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefill => "prefill",
            Self::Decode => "decode",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_case_is_there_once_under_a_name_of_its_own() {
        let cases = Case::all();
        let names: BTreeSet<_> = cases.iter().map(|case| case.name()).collect();
        assert_eq!(names.len(), cases.len());
        assert!(names.contains("decode-mid-stream-killed"));
    }

    #[test]
    fn a_fault_in_the_stream_waits_for_its_tokens_and_an_earlier_one_does_not() {
        let way = |moment| {
            Case {
                leg: Leg::Decode,
                moment,
                fault: Fault::CutShort,
            }
            .way()
        };
        let cut = |after_tokens| Way::Rule(WorkerFault::CutShort { after_tokens });
        assert_eq!(way(Moment::BeforeFirstToken), cut(0));
        assert_eq!(way(Moment::MidStream), cut(AFTER_TOKENS));
    }
}
