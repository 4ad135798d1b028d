//! A closed loop of requests whose answers are known beforehand.
//!
//! Every answer is compared with what the simulated model must say: lost, doubled or mixed-up tokens, a missing end
//! and a wrong count all show. Latency is measured on the way: the time to the first chunk that holds a token (TTFT,
//! from sending the request), and the time between tokens (ITL), where a chunk of k tokens is k gaps of a k-th of its
//! gap. How many tokens a chunk holds is read from its usage; a chunk without usage counts as one token.

mod answer;
mod client;
mod question;
mod report;
mod tally;

pub use client::LoadError;
pub use report::{Failure, Percentiles, Report};

pub(crate) use answer::Received;
pub(crate) use question::Question;

use client::Client;
use std::{
    io::{IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tally::Tally;
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// Which endpoints get requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Endpoints {
    Generate,
    Completions,
    Chat,
    Mixed,
}

/// Which answers are streamed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Streaming {
    Always,
    Never,
    EverySecond,
}

/// What to send.
#[derive(Debug, Clone)]
pub struct Load {
    /// `http://host:port`
    pub url: String,
    pub endpoints: Endpoints,
    pub requests: u64,
    /// Ends the load early.
    pub duration: Option<Duration>,
    pub concurrency: u32,
    pub streaming: Streaming,
    pub prompt_tokens: u64,
    pub output_tokens: u32,
    /// Other lengths, by turns with these.
    pub alternate: Option<Alternate>,
    /// Ask the OpenAI endpoints for usage in every chunk, so that tokens can be counted and not only chunks.
    pub continuous_usage: bool,
    pub model: String,
    pub request_timeout: Duration,
    pub seed: u64,
    /// Whether to show progress on a terminal.
    pub progress: bool,
    /// Ends the load early: what was asked is still waited for.
    pub stop: CancellationToken,
}

/// Lengths that take turns with those of the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Alternate {
    pub prompt_tokens: u64,
    pub output_tokens: u32,
    /// How long each of the two takes its turn.
    pub phase: Duration,
}

impl Load {
    /// Tokens of prompt and answer of a request that is sent so long after the first.
    fn lengths(&self, since_start: Duration) -> (u64, u32) {
        match self.alternate {
            Some(other) if (since_start.div_duration_f64(other.phase) as u64) % 2 == 1 => {
                (other.prompt_tokens, other.output_tokens)
            }
            Some(_) | None => (self.prompt_tokens, self.output_tokens),
        }
    }
}

impl Default for Load {
    fn default() -> Self {
        Self {
            url: "http://127.0.0.1:8000".into(),
            endpoints: Endpoints::Mixed,
            requests: 2000,
            duration: None,
            concurrency: 64,
            streaming: Streaming::EverySecond,
            prompt_tokens: 128,
            output_tokens: 32,
            alternate: None,
            continuous_usage: false,
            model: "simulated".into(),
            request_timeout: Duration::from_mins(10),
            seed: 0,
            progress: false,
            stop: CancellationToken::new(),
        }
    }
}

/// A client that found nobody waits, so that a server which is started anew isn't met by a storm.
const PAUSE: Duration = Duration::from_millis(50);

/// Where the clients stand, for all of them to see.
struct Shared {
    load: Load,
    client: Client,
    next: AtomicU64,
    done: AtomicU64,
    began: Instant,
    ends: Option<Instant>,
}

/// Sends the load and waits for every answer.
pub async fn run(load: Load) -> Result<Report, LoadError> {
    let began = Instant::now();
    let concurrency = load.concurrency.max(1);
    let shared = Arc::new(Shared {
        client: Client::new(&load.url)?,
        next: AtomicU64::new(0),
        done: AtomicU64::new(0),
        began,
        ends: load.duration.map(|duration| began + duration),
        load,
    });
    let mut clients = JoinSet::new();
    for _ in 0..concurrency {
        clients.spawn(one_client(Arc::clone(&shared)));
    }
    let tallies = async {
        let mut whole = Tally::new();
        while let Some(tally) = clients.join_next().await {
            whole.add(&tally.map_err(|_| LoadError::ClientDied)?);
        }
        Ok(whole)
    };
    let whole = tokio::select! {
        whole = tallies => whole?,
        never = show_progress(&shared) => match never {},
    };
    Ok(whole.report(began.elapsed()))
}

async fn one_client(shared: Arc<Shared>) -> Tally {
    let mut tally = Tally::new();
    while let Some(number) = shared.take() {
        let lengths = shared.load.lengths(shared.began.elapsed());
        let question = Question::new(&shared.load, lengths, number);
        let asked = shared.client.ask(&question);
        let asked = tokio::time::timeout(shared.load.request_timeout, asked).await;
        let asked = asked.unwrap_or(Err(Failure::Timeout));
        let unreachable = matches!(asked, Err(Failure::Connection));
        tally.count(asked, number);
        shared.done.fetch_add(1, Ordering::Relaxed);
        if unreachable {
            tokio::time::sleep(PAUSE).await;
        }
    }
    tally
}

impl Shared {
    fn take(&self) -> Option<u64> {
        let ended = self.ends.is_some_and(|ends| Instant::now() >= ends);
        if ended || self.load.stop.is_cancelled() {
            return None;
        }
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        (number < self.load.requests).then_some(number)
    }
}

/// One line on the terminal, ten times a second.
async fn show_progress(shared: &Shared) -> std::convert::Infallible {
    if !shared.load.progress || !std::io::stderr().is_terminal() {
        return std::future::pending().await;
    }
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    loop {
        tick.tick().await;
        let done = shared.done.load(Ordering::Relaxed);
        let mut terminal = std::io::stderr();
        // A terminal that is gone needs no progress.
        let _ = write!(terminal, "\r{done} of {} answered ", shared.load.requests);
        let _ = terminal.flush();
    }
}
