//! What measuring streams costs the router.
//!
//! Two routers, one of which doesn't measure, relay the same streams from the same workers by turns, and the processor
//! time that each used is divided by the events that it relayed. Turns change places each round (ABBA), so that a
//! machine that gets slower or faster meanwhile favours neither.
//!
//! Linux only: the processor time of a running child is read from `/proc`.

mod report;

pub use report::{Report, Round};

use super::{MeasureError, flawless, fleet};
use crate::{
    fleet::Served,
    load::{self, Endpoints, Load, Streaming},
    router::Router,
};
use std::path::PathBuf;

/// The router's flag to leave the measuring of streams away.
const WITHOUT: &str = "--disable-stream-metrics";

/// A warm-up's part of a round: connections are open and caches warm after far fewer events.
const WARM_UP: u64 = 10;

/// What to measure with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The router's program.
    pub router: PathBuf,
    /// Events that each router relays in a round, at least.
    pub events: u64,
    pub rounds: u32,
    pub endpoints: Endpoints,
    pub concurrency: u32,
    /// Long answers make the cost of an event stand out from that of a request.
    pub output_tokens: u32,
    pub tokens_a_chunk: u32,
    pub continuous_usage: bool,
    /// 0: events come as fast as they can, many in one read. At 1 each comes alone, as from a GPU.
    pub time_scale: f64,
    pub seed: u64,
}

/// What one router did in a round.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    pub cpu_seconds: f64,
    pub events: u64,
    pub reads: u64,
}

impl Turn {
    pub fn micros_per_event(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.events as f64
    }
}

/// Runs all rounds.
pub async fn run(plan: &Plan) -> Result<Report, MeasureError> {
    let fleet = Served::start(fleet(plan.time_scale, plan.tokens_a_chunk))
        .await
        .map_err(MeasureError::Fleet)?;
    let start = |flags: &'static [&str]| Router::start(&plan.router, &fleet, flags);
    let with = start(&[]).await.map_err(MeasureError::Router)?;
    let without = start(&[WITHOUT]).await.map_err(MeasureError::Router)?;
    for router in [&with, &without] {
        turn(plan, router, plan.events / WARM_UP).await?;
    }
    let mut rounds = Vec::new();
    for number in 0..plan.rounds {
        let round = round(plan, &with, &without, number.is_multiple_of(2)).await?;
        errln!("round {} of {}: {round}", number + 1, plan.rounds);
        rounds.push(round);
    }
    for router in [with, without] {
        router.stop().await.map_err(MeasureError::Router)?;
    }
    fleet.stop().await;
    Ok(Report(rounds))
}

async fn round(
    plan: &Plan,
    with: &Router,
    without: &Router,
    with_first: bool,
) -> Result<Round, MeasureError> {
    Ok(if with_first {
        let with = turn(plan, with, plan.events).await?;
        let without = turn(plan, without, plan.events).await?;
        Round { with, without }
    } else {
        let without = turn(plan, without, plan.events).await?;
        let with = turn(plan, with, plan.events).await?;
        Round { with, without }
    })
}

/// Sends a load through one router.
async fn turn(plan: &Plan, router: &Router, events: u64) -> Result<Turn, MeasureError> {
    let before = router.cpu_time().map_err(MeasureError::Router)?;
    let report = load::run(plan.load(router.url(), events))
        .await
        .map_err(MeasureError::Load)?;
    let after = router.cpu_time().map_err(MeasureError::Router)?;
    let report = flawless(report)?;
    Ok(Turn {
        cpu_seconds: after.saturating_sub(before).as_secs_f64(),
        events: report.events,
        reads: report.reads,
    })
}

impl Plan {
    fn load(&self, url: &str, events: u64) -> Load {
        let chunks = self
            .output_tokens
            .div_ceil(self.tokens_a_chunk.max(1))
            .max(1);
        Load {
            url: url.into(),
            endpoints: self.endpoints,
            requests: events.div_ceil(chunks.into()).max(1),
            concurrency: self.concurrency,
            streaming: Streaming::Always,
            output_tokens: self.output_tokens,
            continuous_usage: self.continuous_usage,
            seed: self.seed,
            progress: true,
            ..Load::default()
        }
    }
}
