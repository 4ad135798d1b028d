//! At how many events a second this program, not the server, is the limit.
//!
//! The server of the measurement does nothing but write: the same answer, made beforehand, on every connection, one
//! event a write. It runs on one thread whose processor time is known; the rest of the process is the load generator.
//! Paced, each event comes alone, as from a GPU, and costs the generator most; unpaced, several come in one read. What
//! carries over to another machine is the processor time of an event.

mod server;

use self::server::Server;
use super::{
    body::Asked,
    cli::ServeError,
    drive::{Plan, run},
    figures::Goodput,
    item::{Item, Prompt},
    prompts::Prompts,
};
use crate::wire::Endpoint;
use clap::Args;
use http::HeaderMap;
use indicatif::ProgressBar;
use rustix::time::{ClockId, clock_gettime};
use serde_json::Map;
use std::{fmt, io, num::NonZeroUsize, process::ExitCode, time::Duration};
use tokio_util::sync::CancellationToken;

/// Events of an answer that are no token: the usage, and `[DONE]`.
const EVENTS_WITHOUT_TOKEN: u32 = 2;

/// A prompt that costs nothing to make: events are measured here.
const PROMPT_TOKENS: u32 = 32;

#[derive(Args)]
pub struct CeilingArgs {
    /// Requests in flight
    #[arg(long, value_name = "N", default_value = "256")]
    concurrency: NonZeroUsize,
    /// Events of each answer
    #[arg(long, value_name = "N", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..100_000))]
    output_len: u32,
    /// Requests of each measurement
    #[arg(long, value_name = "N", default_value_t = 1024)]
    num_prompts: usize,
    /// Time between the events of one answer, where they are paced
    #[arg(long, value_name = "MS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..))]
    pace_ms: u64,
}

impl CeilingArgs {
    pub async fn run(self) -> Result<ExitCode, ServeError> {
        for pace in [Some(Duration::from_millis(self.pace_ms)), None] {
            let measured = measure(&self, pace).await?;
            match pace {
                Some(pace) => outln!("one event every {pace:?} on each connection:"),
                None => outln!("as fast as they are read:"),
            }
            outln!("{measured}");
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What some events cost.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Measured {
    events: u64,
    took: Duration,
    generator: Duration,
    server: Duration,
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (events, seconds) = (self.events as f64, self.took.as_secs_f64());
        let micros = |cpu: Duration| cpu.as_secs_f64() * 1e6 / events;
        writeln!(
            f,
            "  events                                   {:>12}",
            self.events
        )?;
        writeln!(
            f,
            "  events/s                                 {:>12.0}",
            events / seconds
        )?;
        writeln!(
            f,
            "  generator, CPU µs an event               {:>12.2}",
            micros(self.generator)
        )?;
        writeln!(
            f,
            "  server, CPU µs an event                  {:>12.2}",
            micros(self.server)
        )?;
        write!(
            f,
            "  ceiling, events/s for each generator core{:>12.0}",
            1e6 / micros(self.generator)
        )
    }
}

async fn measure(args: &CeilingArgs, pace: Option<Duration>) -> Result<Measured, ServeError> {
    let server = Server::start(args.output_len, pace).map_err(ServeError::Ceiling)?;
    let before = cpu(ClockId::ProcessCPUTime);
    let item = Item {
        due: None,
        prompt: Prompt::Drawn {
            shared: 0,
            fresh: PROMPT_TOKENS,
        },
        output_tokens: args.output_len,
    };
    let plan = Plan {
        base_url: format!("http://{}", server.address()),
        path: Endpoint::Completions.path().into(),
        headers: HeaderMap::new(),
        asked: Asked {
            endpoint: Endpoint::Completions,
            model: "ceiling".into(),
            ignore_eos: true,
            temperature: Some(0.0),
            extra: Map::new(),
        },
        items: vec![item; args.num_prompts],
        prompts: Prompts::Approximate,
        max_concurrency: Some(args.concurrency),
        warmups: 0,
        seed: 0,
        keep_detail: false,
        progress: ProgressBar::hidden(),
        stop: CancellationToken::new(),
    };
    let outcome = run(plan).await.map_err(ServeError::Drive)?;
    let all = cpu(ClockId::ProcessCPUTime).saturating_sub(before);
    let server = server.stop();
    let figures = outcome.figures(&[], &[], &Goodput::default());
    let expected = u64::from(args.output_len + EVENTS_WITHOUT_TOKEN) * args.num_prompts as u64;
    if figures.failed > 0 || figures.events != expected {
        let flawed = format!("{} requests failed: {:?}", figures.failed, figures.examples);
        return Err(ServeError::Ceiling(io::Error::other(flawed)));
    }
    Ok(Measured {
        events: figures.events,
        took: figures.duration,
        generator: all.saturating_sub(server),
        server,
    })
}

/// Processor time so far.
fn cpu(of: ClockId) -> Duration {
    let time = clock_gettime(of);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn both_measurements_see_every_event() {
        let args = CeilingArgs {
            concurrency: NonZeroUsize::new(4).unwrap(),
            output_len: 20,
            num_prompts: 12,
            pace_ms: 1,
        };
        for pace in [Some(Duration::from_millis(1)), None] {
            let measured = measure(&args, pace).await.unwrap();
            assert_eq!(measured.events, 12 * 22);
            assert!(measured.generator > Duration::ZERO, "{measured:?}");
            assert!(measured.server > Duration::ZERO, "{measured:?}");
        }
    }
}
