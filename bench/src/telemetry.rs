//! The router's telemetry held against an independent witness.
//!
//! Is what it says true ([`accuracy`]), and what does saying it cost ([`cost`])? Both run a router as it is shipped, in
//! a process of its own, in front of simulated workers on real sockets; the load client is the witness. It shares no
//! code with the router: it parses the streams and takes the times itself.

pub mod accuracy;
pub mod cost;

use crate::{
    fleet::StartError,
    load::{LoadError, Report},
    router::RouterError,
};
use simulated_worker::{Config, Role, Timing};
use std::{fmt, time::Duration};

/// Why nothing was measured.
#[derive(Debug)]
pub enum MeasureError {
    Fleet(StartError),
    Router(RouterError),
    Load(LoadError),
    /// Requests failed or were answered wrongly: their times say nothing.
    Flawed(Box<Report>),
    /// No answer had as much as two tokens.
    NoTokens,
    /// The router doesn't show a series that has to be there.
    NoSeries(&'static str),
    /// The load took longer than the router's windows reach back.
    TooLong(Duration),
}

impl fmt::Display for MeasureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet(error) => error.fmt(f),
            Self::Router(error) => error.fmt(f),
            Self::Load(error) => error.fmt(f),
            Self::Flawed(report) => write!(f, "not every answer was right:\n{report}"),
            Self::NoTokens => {
                f.write_str("no answer had two tokens: there is nothing to measure between")
            }
            Self::NoSeries(name) => write!(f, "the router's metrics have no {name}"),
            Self::TooLong(took) => write!(
                f,
                "the load took {took:.1?}, and the router's windows are sure to hold the last 50 s only: ask for fewer \
                 requests, or for a smaller time scale"
            ),
        }
    }
}

impl std::error::Error for MeasureError {}

/// Two prefill and two decode workers on free ports; a time scale of 0 makes them answer at once.
fn fleet(time_scale: f64, stream_interval: u32) -> Vec<Config> {
    [Role::Prefill, Role::Prefill, Role::Decode, Role::Decode]
        .into_iter()
        .map(|role| Config {
            port: 0,
            bootstrap_port: 0,
            stream_interval,
            timing: Timing::MEASURED.scaled(time_scale),
            ..Config::instant(role)
        })
        .collect()
}

fn flawless(report: Report) -> Result<Report, MeasureError> {
    if report.is_flawless() {
        Ok(report)
    } else {
        Err(MeasureError::Flawed(Box::new(report)))
    }
}
