//! The router of one run: started as a child, asked for its split, asked what it did, and ended.

use std::{ffi::OsString, fmt, io, path::Path, time::Duration};

use policies::ratio::Split;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::{
    child::{self, Child, ChildError, Launch},
    exposition::{Exposition, ParseError},
    get::{GetError, Getter},
};

/// Between two looks at a split that is to be reached.
const LOOK: Duration = Duration::from_millis(250);

/// A role change that is under way when the last answer has come is awaited for so long.
const LAST_MOVE: Duration = Duration::from_secs(30);

/// A router that serves, and its workers.
pub(super) struct Router {
    child: Child,
    getter: Getter,
    pub(super) url: String,
}

/// What went wrong with a router.
#[derive(Debug)]
pub enum RouterError {
    Ports(io::Error),
    Child(ChildError),
    Asked(GetError),
    Metrics(ParseError),
    NotReached {
        wanted: Split,
        within: Duration,
        state: String,
    },
    BadEnd(std::process::ExitStatus),
}

impl fmt::Display for RouterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ports(error) => write!(f, "no free ports for the router: {error}"),
            Self::Child(error) => write!(f, "the router: {error}"),
            Self::Asked(error) => write!(f, "the router: {error}"),
            Self::Metrics(error) => write!(f, "the router's metrics: {error}"),
            Self::NotReached {
                wanted,
                within,
                state,
            } => write!(
                f,
                "the workers did not serve as {wanted} within {within:?} (--start-seconds): their logs are in the folder \
                 state of --out; the router says {state}"
            ),
            Self::BadEnd(status) => write!(f, "the router did not end well: {status}"),
        }
    }
}

impl std::error::Error for RouterError {}

/// Role changes, and how long their steps took, all added up, in wall-clock seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Moves {
    pub made: f64,
    pub failed: f64,
    pub drain_seconds: f64,
    /// Without the drain.
    pub away_seconds: f64,
}

impl Moves {
    /// Those since `before`.
    pub(super) fn since(self, before: Self) -> Self {
        Self {
            made: self.made - before.made,
            failed: self.failed - before.failed,
            drain_seconds: self.drain_seconds - before.drain_seconds,
            away_seconds: self.away_seconds - before.away_seconds,
        }
    }
}

impl Router {
    /// `flags` name everything but its own address.
    pub(super) async fn start(program: &Path, flags: Vec<OsString>) -> Result<Self, RouterError> {
        let [port, metrics_port] = child::free_ports().map_err(RouterError::Ports)?;
        let url = format!("http://127.0.0.1:{port}");
        let mut arguments = flags;
        arguments.extend([
            "--host=127.0.0.1".into(),
            format!("--port={port}").into(),
            "--prometheus-host=127.0.0.1".into(),
            format!("--prometheus-port={metrics_port}").into(),
        ]);
        let launch = Launch {
            program: program.into(),
            arguments,
            // Its workers may take minutes, and are awaited by their split.
            ready: format!("{url}/liveness"),
        };
        Ok(Self {
            child: Child::start(&launch).await.map_err(RouterError::Child)?,
            getter: Getter::new(),
            url,
        })
    }

    /// Waits until all workers serve as `split`; asks for it where they serve as another.
    pub(super) async fn reach(&self, split: Split, within: Duration) -> Result<(), RouterError> {
        let began = Instant::now();
        let mut asked = false;
        loop {
            let (state, text) = self.state().await?;
            if state["split"] == split.to_string() && !is_moving(&state) {
                break;
            }
            let serving = state["split"].as_str().and_then(|split| split.parse().ok());
            if !asked && serving.is_some_and(|now: Split| now.workers() == split.workers()) {
                self.ask_for(&split.to_string()).await?;
                asked = true;
            }
            if began.elapsed() > within {
                return Err(RouterError::NotReached {
                    wanted: split,
                    within,
                    state: text,
                });
            }
            sleep(LOOK).await;
        }
        if asked {
            self.ask_for("automatic").await?;
        }
        Ok(())
    }

    /// Waits for a role change that has begun, so that it is counted. One that takes long is left alone.
    pub(super) async fn rest(&self) -> Result<(), RouterError> {
        let began = Instant::now();
        while is_moving(&self.state().await?.0) && began.elapsed() < LAST_MOVE {
            sleep(LOOK).await;
        }
        Ok(())
    }

    async fn state(&self) -> Result<(Value, String), RouterError> {
        let text = self.got("/ratio").await?;
        Ok((serde_json::from_str(&text).unwrap_or_default(), text))
    }

    async fn ask_for(&self, split: &str) -> Result<(), RouterError> {
        let wish = json!({ "split": split }).to_string();
        self.post("/ratio", wish).await
    }

    /// Has all workers forget the prompts that they keep. A worker that has no such call keeps none, or says so.
    pub(super) async fn flush(&self) -> Result<(), RouterError> {
        self.post("/flush_cache", String::new()).await
    }

    async fn got(&self, path: &str) -> Result<String, RouterError> {
        let url = format!("{}{path}", self.url);
        self.getter.get(&url).await.map_err(RouterError::Asked)
    }

    async fn post(&self, path: &str, body: String) -> Result<(), RouterError> {
        let url = format!("{}{path}", self.url);
        let posted = self.getter.post_json(&url, body).await;
        posted.map(drop).map_err(RouterError::Asked)
    }

    pub(super) async fn moves(&self) -> Result<Moves, RouterError> {
        let text = self.got("/metrics").await?;
        let metrics = Exposition::parse(&text).map_err(RouterError::Metrics)?;
        let ended = |result| {
            let family = "adaptive_router_controller_transitions_total";
            metrics.sum(family, &[("result", result)])
        };
        let step = |step| {
            let family = "adaptive_router_controller_transition_step_seconds_sum";
            metrics.sum(family, &[("step", step)])
        };
        Ok(Moves {
            made: ended("success"),
            failed: ended("failure"),
            drain_seconds: step("drain"),
            away_seconds: step("change") + step("verify"),
        })
    }

    /// The processor time that it has used; `None` where the system doesn't say.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        self.child.cpu_time().ok()
    }

    /// Ends it and the workers that it started, and sees that it ends well.
    pub(super) async fn stop(self) -> Result<(), RouterError> {
        let status = self.child.stop().await.map_err(RouterError::Child)?;
        if status.success() {
            Ok(())
        } else {
            Err(RouterError::BadEnd(status))
        }
    }
}

fn is_moving(state: &Value) -> bool {
    let moving = state["moving"].as_array();
    moving.is_some_and(|moving| !moving.is_empty())
}
