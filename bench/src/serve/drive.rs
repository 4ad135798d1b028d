//! One run: sends every request when it is time, and counts what comes of it.

mod ahead;
mod ask;

use self::{
    ahead::{Ready, made_ahead},
    ask::Asker,
};
use super::{
    body::Asked,
    figures::{Figures, Goodput, Metric},
    item::Item,
    prompts::{PromptError, Prompts},
    record::{Ended, Example, Record, Recorder, Seen},
};
use crate::wire::UrlError;
use http::HeaderMap;
use indicatif::ProgressBar;
use std::{num::NonZeroUsize, pin::pin, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// What to send.
pub struct Plan {
    /// `http://host:port`
    pub base_url: String,
    pub path: String,
    pub headers: HeaderMap,
    pub asked: Asked,
    pub items: Vec<Item>,
    pub prompts: Prompts,
    pub max_concurrency: Option<NonZeroUsize>,
    /// Requests before the run, as long as its first, with prompts of their own.
    pub warmups: usize,
    pub seed: u64,
    pub keep_detail: bool,
    /// Moves on by one for each request that ended.
    pub progress: ProgressBar,
    /// Ends the run: nothing more is sent or awaited.
    pub stop: CancellationToken,
}

/// What came of a run.
pub struct Outcome {
    pub(super) recorder: Recorder,
    pub duration: Duration,
    /// Whether it was ended before its time.
    pub interrupted: bool,
    /// Requests that were sent and not awaited any more.
    pub abandoned: u64,
    /// Requests that were never sent.
    pub unsent: u64,
    /// Warm-up requests that failed.
    pub failed_warmups: u64,
}

impl Outcome {
    /// What became of each request that ended, in the order of their ends.
    pub fn requests(&self) -> impl Iterator<Item = Seen> + '_ {
        self.recorder.records.iter().map(Record::seen)
    }

    /// A few of the failures.
    pub fn examples(&self) -> &[Example] {
        &self.recorder.examples
    }

    pub fn figures(&self, metrics: &[Metric], percentiles: &[f64], goodput: &Goodput) -> Figures {
        Figures::new(
            &self.recorder,
            self.duration,
            (metrics, percentiles),
            goodput,
        )
    }
}

/// Why a run came to no end.
#[derive(Debug)]
pub enum DriveError {
    Url(UrlError),
    Prompt(PromptError),
    /// A task of this program panicked.
    Died,
}

impl std::fmt::Display for DriveError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Url(error) => error.fmt(f),
            Self::Prompt(error) => error.fmt(f),
            Self::Died => f.write_str("a task of the load generator panicked: please report it"),
        }
    }
}

impl std::error::Error for DriveError {}

/// Warms up, then sends the plan.
pub async fn run(plan: Plan) -> Result<Outcome, DriveError> {
    let Plan {
        base_url,
        path,
        headers,
        asked,
        items,
        prompts,
        max_concurrency,
        warmups,
        seed,
        keep_detail,
        progress,
        stop,
    } = plan;
    let asker =
        Asker::new(&base_url, &path, headers, &asked, keep_detail).map_err(DriveError::Url)?;
    let (asker, prompts, asked) = (Arc::new(asker), Arc::new(prompts), Arc::new(asked));
    let drive = |items: Vec<Item>, first_number, progress| {
        let driver = Driver {
            asker: Arc::clone(&asker),
            max_concurrency: max_concurrency.map_or(usize::MAX, NonZeroUsize::get),
            tasks: JoinSet::new(),
            recorder: Recorder::new(keep_detail),
            began: Instant::now(),
            progress,
            stop: stop.clone(),
        };
        let (prompts, asked) = (Arc::clone(&prompts), Arc::clone(&asked));
        driver.drive(items, move |item, place| {
            let number = first_number + place;
            let text = prompts.text(&item.prompt, seed, number)?;
            Ok(Ready {
                number,
                due: item.due,
                body: asked.body(&text, item.output_tokens),
                prompt_tokens: item.prompt.tokens(),
                output_tokens: item.output_tokens,
            })
        })
    };
    let warm = items.first().map(|first| Item {
        due: None,
        ..first.clone()
    });
    let warm: Vec<Item> = warm.into_iter().cycle().take(warmups).collect();
    // Their numbers are far from those of the run, so that no prompt of it is in a cache.
    let warmed = drive(warm, 1 << 48, ProgressBar::hidden()).await?;
    let ran = drive(items, 0, progress).await?;
    Ok(Outcome {
        failed_warmups: warmed.recorder.failed_count(),
        ..ran
    })
}

struct Driver {
    asker: Arc<Asker>,
    max_concurrency: usize,
    /// Requests under way.
    tasks: JoinSet<Ended>,
    recorder: Recorder,
    began: Instant,
    progress: ProgressBar,
    stop: CancellationToken,
}

impl Driver {
    async fn drive<M>(mut self, items: Vec<Item>, make: M) -> Result<Outcome, DriveError>
    where
        M: Fn(&Item, u64) -> Result<Ready, PromptError> + Send + 'static,
    {
        let mut unsent = items.len() as u64;
        let mut ahead = made_ahead(items, make);
        // The first texts are there before the clock starts.
        let mut next = ahead.next().await;
        self.began = Instant::now();
        while let Some(ready) = next {
            let ready = ready.map_err(DriveError::Prompt)?;
            if !self.is_time(ready.due).await? {
                break;
            }
            self.send(ready);
            unsent -= 1;
            next = match self.meanwhile(ahead.next()).await? {
                Some(next) => next,
                None => break,
            };
        }
        while !self.tasks.is_empty() && self.meanwhile_ended().await? {}
        Ok(Outcome {
            duration: self.began.elapsed(),
            interrupted: self.stop.is_cancelled(),
            abandoned: self.tasks.len() as u64,
            unsent,
            failed_warmups: 0,
            recorder: self.recorder,
        })
    }

    /// Waits for the moment, then for room. False if the run was stopped meanwhile.
    async fn is_time(&mut self, due: Option<Duration>) -> Result<bool, DriveError> {
        if let Some(due) = due {
            let moment = self.began + due;
            let waited = self.meanwhile(tokio::time::sleep_until(moment)).await?;
            if waited.is_none() {
                return Ok(false);
            }
        }
        while self.tasks.len() >= self.max_concurrency {
            if !self.meanwhile_ended().await? {
                return Ok(false);
            }
        }
        Ok(!self.stop.is_cancelled())
    }

    fn send(&mut self, ready: Ready) {
        let (asker, began) = (Arc::clone(&self.asker), self.began);
        self.tasks
            .spawn(async move { asker.ask(ready, began).await });
    }

    /// Counts what ends until `wait` is over; `None` if the run was stopped meanwhile.
    async fn meanwhile<T>(
        &mut self,
        wait: impl Future<Output = T>,
    ) -> Result<Option<T>, DriveError> {
        let mut wait = pin!(wait);
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Ok(None),
                waited = &mut wait => return Ok(Some(waited)),
                Some(ended) = self.tasks.join_next() => self.count(ended)?,
            }
        }
    }

    /// Counts one request that ends, of at least one under way; false if the run was stopped meanwhile.
    async fn meanwhile_ended(&mut self) -> Result<bool, DriveError> {
        tokio::select! {
            biased;
            () = self.stop.cancelled() => Ok(false),
            Some(ended) = self.tasks.join_next() => self.count(ended).map(|()| true),
        }
    }

    fn count(&mut self, ended: Result<Ended, tokio::task::JoinError>) -> Result<(), DriveError> {
        let ended = ended.map_err(|_| DriveError::Died)?;
        self.recorder.add(ended);
        self.progress.inc(1);
        let failed = self.recorder.failed_count();
        if failed > 0 {
            self.progress.set_message(format!(", {failed} failed"));
        }
        Ok(())
    }
}
