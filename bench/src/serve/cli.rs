//! `pd-bench serve`: its flags, and what is done with them.

mod error;
mod target;
mod values;

pub use error::ServeError;
pub use target::Backend;

use self::values::{Bound, Pair, bound, pair, percent, rate};
use super::{
    body::Asked,
    dataset::{Dataset, DatasetName, Random, Requests},
    drive::{Outcome, Plan, run},
    figures::{Goodput, Metric},
    item::Item,
    progress,
    prompts::Prompts,
    result::{About, Rate, to_json},
    summary::Summary,
};
use clap::Args;
use indicatif::ProgressBar;
use serde_json::{Map, Value};
use std::{num::NonZeroUsize, path::PathBuf, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[derive(Args)]
pub struct ServeArgs {
    /// What the server speaks
    #[arg(long, value_enum, default_value_t = Backend::Openai)]
    backend: Backend,
    /// Where to send requests (plain http), instead of --host and --port
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Host of the server
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// Port of the server
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// Path of the endpoint [default: that of the backend]
    #[arg(long, value_name = "PATH")]
    endpoint: Option<String>,
    /// Model to name in the requests [default: the first that the server lists]
    #[arg(long)]
    model: Option<String>,
    /// Model to name in the requests, where --model is to name another in the result
    #[arg(long, value_name = "NAME")]
    served_model_name: Option<String>,
    /// Hugging Face tokenizer.json, or its folder: prompts are then exact in tokens [default: an approximation]
    #[arg(long, value_name = "FILE|DIR")]
    tokenizer: Option<PathBuf>,
    /// Where the requests come from
    #[arg(long, value_enum, default_value_t = DatasetName::Random)]
    dataset_name: DatasetName,
    /// The file of a dataset that has one
    #[arg(long, value_name = "FILE")]
    dataset_path: Option<PathBuf>,
    /// Requests to send [default: all of a trace or of phases, else 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    num_prompts: Option<u32>,
    /// Prompt length
    #[arg(long, alias = "input-len", value_name = "TOKENS", default_value_t = 1024,
        value_parser = clap::value_parser!(u32).range(1..=values::LONGEST))]
    random_input_len: u32,
    /// Answer length
    #[arg(long, alias = "output-len", value_name = "TOKENS", default_value_t = 128,
        value_parser = clap::value_parser!(u32).range(1..=values::LONGEST))]
    random_output_len: u32,
    /// Lengths are drawn from so much below to so much above: 0 to 1
    #[arg(long, value_name = "RATIO", default_value_t = 0.0, value_parser = values::ratio)]
    random_range_ratio: f64,
    /// Tokens that all prompts begin with, on top of their length
    #[arg(long, value_name = "TOKENS", default_value_t = 0,
        value_parser = clap::value_parser!(u32).range(0..=values::LONGEST))]
    random_prefix_len: u32,
    /// Answer length, instead of that of the recorded answer
    #[arg(long, value_name = "TOKENS", value_parser = clap::value_parser!(u32).range(1..=values::LONGEST))]
    sharegpt_output_len: Option<u32>,
    /// Let what a trace recorded or phases draw come so many times as fast
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = values::factor)]
    rate_scale: f64,
    /// Requests in flight, at most
    #[arg(long, value_name = "N")]
    max_concurrency: Option<NonZeroUsize>,
    /// Requests a second, or inf: as fast as --max-concurrency lets them
    #[arg(long, value_name = "RATE", default_value = "inf", value_parser = rate)]
    request_rate: f64,
    /// Shape of the gamma-distributed gaps between requests: 1 is Poisson, less is burstier
    #[arg(long, value_name = "SHAPE", default_value_t = 1.0, value_parser = rate)]
    burstiness: f64,
    /// Let answers run to their full length, and check that they do
    #[arg(long)]
    ignore_eos: bool,
    /// Sampling temperature; "server" leaves it to the server
    #[arg(long, value_name = "T", default_value = "0", value_parser = values::temperature)]
    temperature: values::Temperature,
    /// JSON object whose members are added to each request
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    extra_body: Option<Map<String, Value>>,
    /// Seed of prompts, lengths and arrivals
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// What a good request keeps, in milliseconds: ttft:2000 tpot:25 e2el:60000
    #[arg(long, value_name = "METRIC:MS", num_args = 1.., value_parser = bound)]
    goodput: Vec<Bound>,
    /// Latencies to report
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ttft,tpot,itl"
    )]
    percentile_metrics: Vec<Metric>,
    /// Percentiles to report of each
    #[arg(long, value_name = "PERCENT", value_delimiter = ',', default_value = "99", value_parser = percent)]
    metric_percentiles: Vec<f64>,
    /// Write the result to a JSON file
    #[arg(long)]
    save_result: bool,
    /// Write with it what came of each request, its text too
    #[arg(long, requires = "save_result")]
    save_detailed: bool,
    /// Folder of the result file
    #[arg(long, value_name = "DIR")]
    result_dir: Option<PathBuf>,
    /// Name of the result file [default: LABEL-RATEqps-concurrencyN-MODEL-DATE.json]
    #[arg(long, value_name = "FILE")]
    result_filename: Option<PathBuf>,
    /// Label of the result [default: the backend]
    #[arg(long)]
    label: Option<String>,
    /// What else the result file is to say
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair)]
    metadata: Vec<Pair>,
    /// Requests before the run, as long as its first
    #[arg(long, value_name = "N", default_value_t = 0)]
    num_warmups: u32,
    /// Show no progress
    #[arg(long)]
    disable_tqdm: bool,
    /// Key to send as bearer token
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
    /// Headers to send
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., value_parser = pair)]
    header: Vec<Pair>,
    /// Exit with 1 if any request failed
    #[arg(long)]
    fail_on_error: bool,
}

/// What a shell reports of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

impl ServeArgs {
    pub async fn run(self) -> Result<ExitCode, ServeError> {
        let path = self.path()?;
        let prompts = match &self.tokenizer {
            Some(path) => Prompts::load(path).map_err(ServeError::Prompt)?,
            None => Prompts::Approximate,
        };
        let requests = self.dataset().requests(&prompts);
        let Requests { items, concurrency } = requests.map_err(ServeError::Dataset)?;
        let max_concurrency = self
            .max_concurrency
            .or(concurrency.and_then(NonZeroUsize::new));
        let about = self.about(&items, max_concurrency, self.model().await?);
        allow_many_connections();
        let stop = CancellationToken::new();
        let plan = Plan {
            base_url: self.base_url(),
            path,
            headers: self.headers()?,
            asked: self.asked(&about.model),
            progress: self.progress(items.len()),
            items,
            prompts,
            max_concurrency,
            warmups: self.num_warmups as usize,
            seed: self.seed,
            keep_detail: self.save_detailed,
            stop: stop.clone(),
        };
        let progress = plan.progress.clone();
        let outcome = until_told(stop, plan).await?;
        progress.finish_and_clear();
        self.report(&about, &outcome)
    }

    fn report(&self, about: &About, outcome: &Outcome) -> Result<ExitCode, ServeError> {
        let figures = outcome.figures(
            &self.percentile_metrics,
            &self.metric_percentiles,
            &self.goodput(),
        );
        if outcome.failed_warmups > 0 {
            let failed = outcome.failed_warmups;
            errln!(
                "pd-bench: {failed} of {} warm-up requests failed",
                self.num_warmups
            );
        }
        let summary = Summary {
            about,
            outcome,
            figures: &figures,
        };
        outln!("{summary}");
        if self.save_result {
            let file = to_json(about, outcome, &figures, self.save_detailed);
            self.save(about, &file)?;
        }
        Ok(if outcome.interrupted {
            INTERRUPTED.into()
        } else if self.fail_on_error && figures.failed > 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }

    fn save(&self, about: &About, file: &Value) -> Result<(), ServeError> {
        let folder = self.result_dir.clone().unwrap_or_default();
        let name = self.result_filename.clone();
        let path = folder.join(name.unwrap_or_else(|| about.file_name().into()));
        let failed = |error| ServeError::Save {
            path: path.clone(),
            error,
        };
        if !folder.as_os_str().is_empty() {
            std::fs::create_dir_all(&folder).map_err(failed)?;
        }
        std::fs::write(&path, file.to_string()).map_err(failed)?;
        outln!("Result: {}", path.display());
        Ok(())
    }

    fn dataset(&self) -> Dataset {
        Dataset {
            name: self.dataset_name,
            path: self.dataset_path.clone(),
            requests: self.num_prompts.map(|count| count as usize),
            random: Random {
                input: self.random_input_len,
                output: self.random_output_len,
                range_ratio: self.random_range_ratio,
                prefix: self.random_prefix_len,
            },
            sharegpt_output_tokens: self.sharegpt_output_len,
            rate: Some(self.request_rate).filter(|rate| rate.is_finite()),
            burstiness: self.burstiness,
            rate_scale: self.rate_scale,
            seed: self.seed,
        }
    }

    fn asked(&self, model: &str) -> Asked {
        Asked {
            endpoint: self.backend.endpoint(),
            model: self.served_model_name.as_deref().unwrap_or(model).into(),
            ignore_eos: self.ignore_eos,
            temperature: self.temperature.0,
            extra: self.extra_body.clone().unwrap_or_default(),
        }
    }

    fn goodput(&self) -> Goodput {
        let mut goodput = Goodput::default();
        for bound in &self.goodput {
            match *bound {
                Bound::Ttft(most) => goodput.ttft = Some(most),
                Bound::Tpot(most) => goodput.tpot = Some(most),
                Bound::E2el(most) => goodput.e2el = Some(most),
            }
        }
        goodput
    }

    fn about(&self, items: &[Item], max_concurrency: Option<NonZeroUsize>, model: String) -> About {
        let pair = |Pair { key, value }: &Pair| (key.clone(), value.clone());
        About {
            date: jiff::Timestamp::now().strftime("%Y%m%d-%H%M%S").to_string(),
            label: self.label.clone(),
            backend: self.backend.name(),
            model,
            tokenizer: self
                .tokenizer
                .as_ref()
                .map(|path| path.display().to_string()),
            requests: items.len(),
            rate: self.rate(items),
            burstiness: self.burstiness,
            max_concurrency: max_concurrency.map(NonZeroUsize::get),
            metadata: self.metadata.iter().map(pair).collect(),
        }
    }

    fn rate(&self, items: &[Item]) -> Rate {
        let last = items.last().and_then(|item| item.due);
        match last.filter(|last| !last.is_zero()) {
            None => Rate::Unlimited,
            Some(_) if self.request_rate.is_finite() => Rate::Drawn(self.request_rate),
            Some(last) => Rate::Recorded(items.len() as f64 / last.as_secs_f64()),
        }
    }

    fn progress(&self, requests: usize) -> ProgressBar {
        if self.disable_tqdm {
            return ProgressBar::hidden();
        }
        progress::line(requests)
    }
}

/// Runs until the end, or until Ctrl-C or SIGTERM says that it is enough.
async fn until_told(stop: CancellationToken, plan: Plan) -> Result<Outcome, ServeError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let told = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.cancel();
        std::future::pending::<std::convert::Infallible>().await
    };
    tokio::select! {
        outcome = run(plan) => outcome.map_err(ServeError::Drive),
        never = told => match never {},
    }
}

/// Each request under way has a socket: as many as the system lets this process have.
fn allow_many_connections() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it is refused, the old limit holds, and connections beyond it fail by name.
    let _ = setrlimit(Resource::Nofile, limit);
}
