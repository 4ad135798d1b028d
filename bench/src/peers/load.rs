//! The load that a router is measured under: clients with a connection each, whose every answer is checked.
//!
//! It runs from before the measurement to after it, and only what happens while the window is open is counted, so that
//! neither the opening of connections nor their end is in a figure.

mod client;
mod connection;
mod probe;
mod question;
mod reading;
mod tally;

pub use connection::{ConnectError, Target};
pub use probe::Probe;
pub use question::{Prompts, Question};
pub use tally::{Points, Tally};

use parking_lot::Mutex;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet};
use tokio_util::sync::CancellationToken;

/// What each client does.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    pub clients: u32,
    pub prompts: Prompts,
    pub tokens: u32,
    pub streamed: bool,
    /// The clients begin spread over this time, so that paced streams don't tick together.
    pub spread: Duration,
}

/// What has happened since the window was opened, for all to see at any time.
#[derive(Debug, Default)]
pub(super) struct Window {
    open: AtomicBool,
    requests: AtomicU64,
    events: AtomicU64,
}

/// Requests and events while the window was open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counted {
    pub requests: u64,
    pub events: u64,
}

impl Window {
    fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    fn counted(&self) -> Counted {
        Counted {
            requests: self.requests.load(Ordering::Relaxed),
            events: self.events.load(Ordering::Relaxed),
        }
    }
}

/// A load under way.
pub struct Running {
    clients: JoinSet<()>,
    tally: Arc<Mutex<Tally>>,
    window: Arc<Window>,
    stop: CancellationToken,
}

impl Running {
    /// Starts the clients of a load; those of several targets take turns.
    pub fn start(load: &Load, targets: &[Arc<Target>], seed: u64) -> Self {
        let questions: Arc<[Question]> = load.prompts.questions(load, seed).into();
        let window = Arc::new(Window::default());
        // One for all: a histogram for each of some hundred clients is more memory than the cache of their core, and a
        // token's time would be that of a miss.
        let tally = Arc::new(Mutex::new(Tally::default()));
        let stop = CancellationToken::new();
        let mut clients = JoinSet::new();
        for (number, target) in (0..load.clients).zip(targets.iter().cycle()) {
            let client = client::Client {
                target: Arc::clone(target),
                questions: Arc::clone(&questions),
                first: number as usize,
                streamed: load.streamed,
                tokens: load.tokens,
                window: Arc::clone(&window),
                tally: Arc::clone(&tally),
                stop: stop.clone(),
                waits: load.spread * number / load.clients.max(1),
            };
            clients.spawn(client.run());
        }
        Self {
            clients,
            tally,
            window,
            stop,
        }
    }

    /// Counts from now on.
    pub fn open_window(&self) {
        self.window.open.store(true, Ordering::Relaxed);
    }

    pub fn counted(&self) -> Counted {
        self.window.counted()
    }

    /// Counts no more.
    pub fn close_window(&self) -> Counted {
        self.window.open.store(false, Ordering::Relaxed);
        self.window.counted()
    }

    /// Asks nothing more and waits for the answers under way, at most so long: the rest are failures.
    pub async fn stop(mut self, patience: Duration) -> Tally {
        self.stop.cancel();
        let mut unanswered = 0;
        let all = async {
            while let Some(ended) = self.clients.join_next().await {
                unanswered += u64::from(ended.is_err());
            }
        };
        if tokio::time::timeout(patience, all).await.is_err() {
            unanswered += self.clients.len() as u64;
            self.clients.shutdown().await;
        }
        let mut tally = std::mem::take(&mut *self.tally.lock());
        if unanswered > 0 {
            tally.unanswered(unanswered);
        }
        tally
    }
}

/// Streams that are opened, read up to their first token, and then only held.
pub struct Held {
    streams: Vec<client::HeldStream>,
    pub failures: Tally,
}

/// What a held stream asks for: it never gets there.
const HELD_TOKENS: u32 = 100_000;

/// Streams that are opened at once: a router isn't to be measured with a backlog of connections.
const OPENED_AT_ONCE: usize = 64;

/// All streams of a turn are open by then, even where a router takes ten milliseconds for each.
const OPENED_WITHIN: Duration = Duration::from_secs(100);

impl Held {
    pub async fn open(streams: u32, targets: &[Arc<Target>], seed: u64) -> Self {
        let load = Load {
            clients: streams,
            prompts: Prompts::Small,
            tokens: HELD_TOKENS,
            streamed: true,
            spread: Duration::ZERO,
        };
        let questions: Arc<[Question]> = load.prompts.questions(&load, seed).into();
        let places = Arc::new(Semaphore::new(OPENED_AT_ONCE));
        let mut opening = JoinSet::new();
        for (number, target) in (0..streams as usize).zip(targets.iter().cycle()) {
            let (target, places) = (Arc::clone(target), Arc::clone(&places));
            let questions = Arc::clone(&questions);
            opening.spawn(async move {
                let _place = places.acquire().await;
                let question = &questions[number % questions.len()];
                client::open_and_hold(&target, question).await
            });
        }
        let mut held = Self {
            streams: Vec::new(),
            failures: Tally::default(),
        };
        let all = async {
            while let Some(opened) = opening.join_next().await {
                match opened {
                    Ok(Ok(stream)) => held.streams.push(stream),
                    Ok(Err(failure)) => held.failures.failed(failure),
                    Err(_) => held.failures.unanswered(1),
                }
            }
        };
        if tokio::time::timeout(OPENED_WITHIN, all).await.is_err() {
            held.failures.unanswered(opening.len() as u64);
        }
        held
    }

    pub fn len(&self) -> usize {
        self.streams.len()
    }

    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }
}
