//! What is known of a request once it has ended, and whether it was good.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use policies::time::Timestamp;
use policies::worker::WorkerId;

/// How an accepted request ends: in exactly one way, whatever happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The whole answer was handed to the client's connection.
    Completed,
    /// The client got an error.
    Failed,
    /// The client got an error for a mistake of its own.
    Refused,
    /// The client left first.
    ClientGone,
}

impl Outcome {
    pub const ALL: [Self; 4] = [
        Self::Completed,
        Self::Failed,
        Self::Refused,
        Self::ClientGone,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::ClientGone => "client_gone",
        }
    }
}

/// A number of tokens and how it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenCount {
    pub tokens: u32,
    /// Whether the worker said it; else it is the router's estimate.
    pub reported: bool,
}

/// A request that has ended.
#[derive(Debug, Clone)]
pub struct FinishedRequest {
    pub endpoint: &'static str,
    pub streamed: bool,
    pub outcome: Outcome,
    /// When it ended.
    pub at: Timestamp,
    /// Waiting in the router, for a place and for a prefill worker with room.
    pub queue_wait: Duration,
    /// From the request read to the end of its answer.
    pub total: Duration,
    /// From the request read to the first token. `None` of an answer that isn't streamed, or brought none.
    pub ttft: Option<Duration>,
    /// Mean time between tokens. `None` where fewer than two came.
    pub tpot: Option<Duration>,
    pub prompt: TokenCount,
    pub output: TokenCount,
    /// Prompt tokens that the worker found in its prefix cache, where it said so.
    pub cached_tokens: Option<u32>,
    pub prefill: Option<WorkerId>,
    pub serving: Option<WorkerId>,
}

/// What a request is held to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slo {
    pub ttft: Duration,
    /// For the mean of a request's times between tokens.
    pub itl: Duration,
}

/// How a request stands against the [`Slo`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Good,
    TtftMissed,
    ItlMissed,
    BothMissed,
    Failed,
}

impl Verdict {
    pub const ALL: [Self; 5] = [
        Self::Good,
        Self::TtftMissed,
        Self::ItlMissed,
        Self::BothMissed,
        Self::Failed,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::TtftMissed => "ttft_missed",
            Self::ItlMissed => "itl_missed",
            Self::BothMissed => "both_missed",
            Self::Failed => "failed",
        }
    }
}

impl Slo {
    /// `None` where nothing can be said: an answer that isn't streamed has no first token to wait for, a client's
    /// mistake is nobody's failure, and neither is a client that left while all was well.
    pub fn judge(&self, request: &FinishedRequest) -> Option<Verdict> {
        let itl_missed = request.tpot.is_some_and(|tpot| tpot > self.itl);
        // Without a first token, how long the client waited for one.
        let ttft_missed = request.ttft.unwrap_or(request.total) > self.ttft;
        let missed = match (ttft_missed, itl_missed) {
            (false, false) => None,
            (true, false) => Some(Verdict::TtftMissed),
            (false, true) => Some(Verdict::ItlMissed),
            (true, true) => Some(Verdict::BothMissed),
        };
        match request.outcome {
            Outcome::Failed => Some(Verdict::Failed),
            Outcome::Completed if request.ttft.is_some() => Some(missed.unwrap_or(Verdict::Good)),
            Outcome::ClientGone if request.streamed => missed,
            Outcome::Completed | Outcome::ClientGone | Outcome::Refused => None,
        }
    }
}

/// More than end between two looks at them, even at some ten thousand a second.
const KEPT: usize = 16_384;

/// The requests that ended lately, for whoever plans. The oldest go first where nobody looks.
#[derive(Debug, Default)]
pub struct FinishedRequests {
    ring: Mutex<VecDeque<FinishedRequest>>,
}

impl FinishedRequests {
    pub fn push(&self, request: FinishedRequest) {
        let mut ring = self.ring.lock();
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(request);
    }

    /// Takes all that there are, oldest first.
    pub fn drain(&self) -> VecDeque<FinishedRequest> {
        std::mem::take(&mut self.ring.lock())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLO: Slo = Slo {
        ttft: Duration::from_secs(2),
        itl: Duration::from_millis(25),
    };

    fn request(outcome: Outcome, ttft_ms: Option<u64>, tpot_ms: Option<u64>) -> FinishedRequest {
        FinishedRequest {
            endpoint: "/generate",
            streamed: true,
            outcome,
            at: Timestamp::ZERO,
            queue_wait: Duration::ZERO,
            total: Duration::from_secs(10),
            ttft: ttft_ms.map(Duration::from_millis),
            tpot: tpot_ms.map(Duration::from_millis),
            prompt: TokenCount::default(),
            output: TokenCount::default(),
            cached_tokens: None,
            prefill: None,
            serving: None,
        }
    }

    #[test]
    fn a_request_is_good_when_both_targets_hold() {
        use Outcome::{ClientGone, Completed, Failed, Refused};
        let cases = [
            (Completed, Some(2000), Some(25), Some(Verdict::Good)),
            (Completed, Some(2001), Some(25), Some(Verdict::TtftMissed)),
            (Completed, Some(2000), Some(26), Some(Verdict::ItlMissed)),
            (Completed, Some(9999), Some(99), Some(Verdict::BothMissed)),
            (Completed, Some(1), None, Some(Verdict::Good)),
            (Completed, None, None, None),
            (Failed, Some(1), Some(1), Some(Verdict::Failed)),
            (Refused, None, None, None),
            (ClientGone, Some(1), Some(1), None),
            (ClientGone, Some(1), Some(99), Some(Verdict::ItlMissed)),
            // It waited ten seconds for a first token and left.
            (ClientGone, None, None, Some(Verdict::TtftMissed)),
        ];
        for (outcome, ttft, tpot, verdict) in cases {
            let judged = SLO.judge(&request(outcome, ttft, tpot));
            assert_eq!(judged, verdict, "{outcome:?} {ttft:?} {tpot:?}");
        }
    }

    #[test]
    fn a_client_that_left_a_whole_answer_is_not_judged() {
        let request = FinishedRequest {
            streamed: false,
            ..request(Outcome::ClientGone, None, None)
        };
        assert_eq!(SLO.judge(&request), None);
    }

    #[test]
    fn the_oldest_finished_request_goes_first() {
        let finished = FinishedRequests::default();
        for total in 0..=KEPT as u64 {
            finished.push(FinishedRequest {
                total: Duration::from_secs(total),
                ..request(Outcome::Completed, None, None)
            });
        }
        let drained = finished.drain();
        assert_eq!(drained.len(), KEPT);
        assert_eq!(drained[0].total, Duration::from_secs(1));
        assert!(finished.drain().is_empty());
    }
}
