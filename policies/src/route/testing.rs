//! Candidates and requests for the tests of this folder.

use super::{Candidate, Draw, RoutePolicy, RouteRequest};
use crate::time::Timestamp;
use crate::worker::WorkerId;

pub(super) fn worker(id: u64, in_flight: u32) -> Candidate {
    Candidate {
        id: WorkerId(id),
        key: xxhash_rust::xxh3::xxh3_64(&id.to_le_bytes()),
        in_flight,
        reported_tokens: None,
    }
}

/// Workers 0.. with the given requests in flight, all available.
pub(super) fn fleet(in_flight: &[u32]) -> Vec<Candidate> {
    (0..)
        .zip(in_flight)
        .map(|(id, &load)| worker(id, load))
        .collect()
}

/// `len` idle workers of which those at `gaps` can't be picked.
pub(super) fn with_gaps(len: usize, gaps: &[usize]) -> Vec<Option<Candidate>> {
    (0..len)
        .map(|index| (!gaps.contains(&index)).then(|| worker(index as u64, 0)))
        .collect()
}

pub(super) fn prompt(prompt: &str) -> RouteRequest<'_> {
    RouteRequest {
        prompt,
        ..RouteRequest::default()
    }
}

/// A decision at `seconds` with entropy `seed`.
pub(super) fn draw(seconds: u64, seed: u64) -> Draw {
    Draw {
        now: Timestamp::from_micros(seconds * 1_000_000),
        entropy: seed,
    }
}

/// One pick at time zero among workers that are all available.
pub(super) fn pick(
    policy: &impl RoutePolicy,
    request: &RouteRequest<'_>,
    candidates: &[Candidate],
    seed: u64,
) -> usize {
    policy
        .pick(request, &candidates, draw(0, seed))
        .expect("everybody is available")
}
