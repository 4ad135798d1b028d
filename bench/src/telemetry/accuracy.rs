//! Are the router's TTFT and ITL those that a client sees?
//!
//! Each case is a fleet, a router and a load of its own, short enough that the router's windows, which are of the last
//! minute, hold all of it: both then speak of the same requests and the same tokens.
//!
//! The two clocks don't start and stop at the same moments. The client's TTFT starts when it sends the request and ends
//! when it has read the first token; the router's starts when it has read the request and ends when it has the token.
//! The difference is two passages of the loopback interface and whatever waits for a processor in between, and it is
//! left in: the bound has to hold with it.

mod case;
mod comparison;
mod outcome;

pub use case::{Case, Counting};
pub use comparison::Comparison;
pub use outcome::{Count, Outcome, Report, Row};

use super::{MeasureError, flawless, fleet};
use crate::{exposition::Exposition, fleet::Served, load, router::Router};
use std::{path::PathBuf, time::Duration};
use tokio::time::{self, Instant};

/// The router's windows reach back 50 to 60 s; this leaves room for the wait before they are read.
const LONGEST: Duration = Duration::from_secs(45);

/// How long the router may take to have counted what the client has read to its end.
const COUNTED_WITHIN: Duration = Duration::from_secs(3);

/// What to measure with.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The router's program.
    pub router: PathBuf,
    pub requests: u64,
    /// Client, workers and router share this machine: more than it has room for, and the client measures its own queue.
    pub concurrency: u32,
    pub prompt_tokens: u64,
    pub output_tokens: u32,
    pub time_scale: f64,
    pub seed: u64,
}

/// Runs all cases, one after the other.
pub async fn run(plan: &Plan) -> Result<Report, MeasureError> {
    let mut outcomes = Vec::new();
    for (case, number) in Case::ALL.into_iter().zip(1..) {
        errln!("case {number} of {}: {case}", Case::ALL.len());
        outcomes.push(measure(plan, case).await?);
    }
    Ok(Report(outcomes))
}

/// Runs one case.
pub async fn measure(plan: &Plan, case: Case) -> Result<Outcome, MeasureError> {
    let fleet = Served::start(fleet(plan.time_scale, case.tokens_a_chunk))
        .await
        .map_err(MeasureError::Fleet)?;
    let router = Router::start(&plan.router, &fleet, &[])
        .await
        .map_err(MeasureError::Router)?;
    let report = load::run(case.load(plan, router.url()))
        .await
        .map_err(MeasureError::Load)?;
    let report = flawless(report)?;
    if report.took > LONGEST {
        return Err(MeasureError::TooLong(report.took));
    }
    let scrape = counted(&router, &report).await?;
    router.stop().await.map_err(MeasureError::Router)?;
    fleet.stop().await;
    Outcome::new(case, &report, &scrape)
}

/// The router's metrics once they hold all that the client has seen; what they hold in the end if they never do.
async fn counted(router: &Router, report: &load::Report) -> Result<Exposition, MeasureError> {
    let mut ticks = time::interval(Duration::from_millis(100));
    let until = Instant::now() + COUNTED_WITHIN;
    loop {
        ticks.tick().await;
        let scrape = router.metrics().await.map_err(MeasureError::Router)?;
        if outcome::counts(report, &scrape).iter().all(Count::agrees) || Instant::now() >= until {
            return Ok(scrape);
        }
    }
}
