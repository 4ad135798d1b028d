//! One run: a router and its workers for one arm and one seed, the requests, and what came of them.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use indicatif::ProgressBar;
use policies::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Map;
use tokio_util::sync::CancellationToken;

use super::{
    LiveError,
    cluster::Cluster,
    figures::Request,
    router::{Moves, Router},
    scene::Scene,
};
use crate::{
    experiment::arms::Arm,
    serve::{self, Asked, Item, Plan, Prompt, Prompts},
    wire::Endpoint,
    workload::Job,
};

/// Requests before the run, so that no connection and no kernel is new in it.
const WARM_UPS: usize = 4;

/// What every run is made with.
pub(super) struct Stage {
    pub(super) cluster: Cluster,
    pub(super) router: PathBuf,
    pub(super) scene: Scene,
    /// Texts are made and counted with it; approximately without one.
    pub(super) tokenizer: Option<PathBuf>,
    /// How long workers may take until they serve.
    pub(super) start_within: Duration,
    pub(super) out: PathBuf,
    pub(super) stop: CancellationToken,
}

/// What was seen of a run, by the clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Played {
    pub(super) requests: Vec<Request>,
    pub(super) moves: Moves,
    /// The 99th percentile of how long after its moment a request was sent.
    pub(super) sent_late_p99_seconds: f64,
    /// Processors that the router had in the mean.
    pub(super) router_cpus: Option<f64>,
}

impl Stage {
    /// Everything that a run depends on, besides this program and the router's.
    pub(super) fn inputs(&self, arm: &Arm, seed: u64) -> String {
        let (scene, cluster) = (&self.scene, self.cluster.identity());
        format!(
            "live {arm:?}, seed {seed}, {scene:?}, {:?}, {cluster}",
            self.tokenizer
        )
    }

    pub(super) async fn play(
        &self,
        arm: &Arm,
        seed: u64,
        progress: &ProgressBar,
    ) -> Result<Played, LiveError> {
        self.cluster.check_ports().map_err(LiveError::Cluster)?;
        let requests = self.scene.requests(seed).map_err(LiveError::Workload)?;
        let flags = self.flags(arm, seed).await?;
        let router = Router::start(&self.router, flags).await;
        let router = router.map_err(LiveError::Router)?;
        // However the run goes, the router ends and takes its workers along.
        let played = tokio::select! {
            played = self.with(&router, arm, (seed, &requests), progress) => played,
            () = self.stop.cancelled() => Err(LiveError::Interrupted),
        };
        let stopped = router.stop().await.map_err(LiveError::Router);
        let played = played?;
        stopped?;
        Ok(played)
    }

    async fn flags(&self, arm: &Arm, seed: u64) -> Result<Vec<OsString>, LiveError> {
        let start = self.scene.start(arm);
        let cluster = self.cluster.beginning_with(start).await;
        let cluster = self.written("cluster.toml", &cluster.map_err(LiveError::Cluster)?)?;
        let model = self.scene.model.scaled(self.scene.scale);
        let model = model.to_toml("The workers, at their time scale.", |_| String::new());
        let model = self.written("model.toml", &model)?;
        let decisions = self
            .out
            .join(format!("decisions-{}-{seed}.jsonl", arm.name()));
        // It is written on at its end, and an earlier try is none of this run.
        let _ = std::fs::remove_file(&decisions);
        let file = |flag: &str, path: &Path| {
            let mut flag = OsString::from(format!("--{flag}="));
            flag.push(path);
            flag
        };
        let mut flags = vec![
            file("cluster", &cluster),
            file("state-dir", &self.out.join("state")),
            file("worker-model", &model),
            file("decision-log", &decisions),
            "--stop-workers-on-exit".into(),
            // Together less than a child is given to end. Nothing runs any more then, or nobody waits for it.
            "--worker-stop-timeout-secs=10".into(),
            "--shutdown-grace-period-secs=5".into(),
            "--worker-startup-check-interval=1".into(),
            "--log-level=error".into(),
        ];
        flags.extend(self.scene.flags(arm));
        Ok(flags)
    }

    fn written(&self, name: &str, text: &str) -> Result<PathBuf, LiveError> {
        let path = self.out.join(name);
        match std::fs::write(&path, text) {
            Ok(()) => Ok(path),
            Err(error) => Err(LiveError::Write { path, error }),
        }
    }

    async fn with(
        &self,
        router: &Router,
        arm: &Arm,
        (seed, requests): (u64, &[(Timestamp, Job)]),
        progress: &ProgressBar,
    ) -> Result<Played, LiveError> {
        let reached = router.reach(self.scene.start(arm), self.start_within);
        reached.await.map_err(LiveError::Router)?;
        router.flush().await.map_err(LiveError::Router)?;
        let before = router.moves().await.map_err(LiveError::Router)?;
        let cpu_before = router.cpu_time();
        let plan = self.plan(router, seed, requests, progress)?;
        let outcome = serve::run(plan).await.map_err(LiveError::Drive)?;
        if outcome.interrupted {
            return Err(LiveError::Interrupted);
        }
        for example in outcome.examples() {
            progress.suspend(|| {
                errln!(
                    "{}, seed {seed}: request {} failed: {}: {}",
                    arm.name(),
                    example.number,
                    example.failure,
                    example.detail
                );
            });
        }
        router.rest().await.map_err(LiveError::Router)?;
        let moves = router.moves().await.map_err(LiveError::Router)?;
        let cpu = cpu_before.zip(router.cpu_time());
        let mut late: Vec<_> = outcome.requests().map(|seen| seen.late).collect();
        late.sort_unstable();
        let late = late.get(late.len().saturating_sub(1) * 99 / 100);
        Ok(Played {
            requests: outcome
                .requests()
                .filter_map(|seen| Request::played(&seen, requests))
                .collect(),
            moves: moves.since(before),
            sent_late_p99_seconds: late.map_or(0.0, Duration::as_secs_f64),
            router_cpus: cpu.map(|(before, after)| {
                after.saturating_sub(before).as_secs_f64() / outcome.duration.as_secs_f64()
            }),
        })
    }

    fn plan(
        &self,
        router: &Router,
        seed: u64,
        requests: &[(Timestamp, Job)],
        progress: &ProgressBar,
    ) -> Result<Plan, LiveError> {
        let prompts = match &self.tokenizer {
            Some(path) => Prompts::load(path).map_err(LiveError::Prompt)?,
            None => Prompts::Approximate,
        };
        let endpoint = Endpoint::Completions;
        Ok(Plan {
            base_url: router.url.clone(),
            path: endpoint.path().to_owned(),
            headers: http::HeaderMap::new(),
            asked: Asked {
                endpoint,
                model: self.cluster.model().to_owned(),
                // An answer that isn't as long as it was drawn is a failed one.
                ignore_eos: true,
                temperature: Some(0.0),
                extra: Map::new(),
            },
            items: requests.iter().map(item).collect(),
            prompts,
            max_concurrency: None,
            warmups: WARM_UPS,
            seed,
            keep_detail: false,
            progress: progress.clone(),
            stop: self.stop.clone(),
        })
    }
}

fn item((at, job): &(Timestamp, Job)) -> Item {
    Item {
        due: Some(at.since(Timestamp::ZERO)),
        prompt: Prompt::Drawn {
            shared: job.cached_tokens,
            fresh: job.prompt_tokens - job.cached_tokens,
        },
        output_tokens: job.output_tokens,
    }
}
