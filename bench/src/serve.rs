//! `pd-bench serve`: the load generator, with the flags, the summary and the result file of `vllm bench serve`.
//!
//! Two loops. A run without a rate is closed: each of `--max-concurrency` slots sends when its last request was
//! answered, and latency counts from the sending. A run with a rate, or with the times of a trace, is open: each request
//! has its moment, fixed before the run, and latency counts from that moment, sent or not. A server that stalls then
//! shows in the figures of every request that had to wait, also of those that wait in this program (there is no
//! coordinated omission).
//!
//! One task drives a run: it alone sends, awaits and counts, so nothing here is locked. Texts are made ahead of it on a
//! thread of their own. See `docs/load-generator.md` for what each figure means.

mod answer;
mod body;
pub mod ceiling;
pub mod cli;
mod dataset;
mod drive;
mod figures;
mod item;
mod peaks;
mod progress;
mod prompts;
mod record;
mod result;
mod schedule;
mod summary;

pub use body::Asked;
pub use dataset::{Dataset, DatasetError, DatasetName, Random, Requests};
pub use drive::{DriveError, Outcome, Plan, run};
pub use figures::{Figures, Goodput, Late, Metric, Series};
pub use item::{Item, Prompt};
pub use prompts::{PromptError, Prompts};
pub use record::{Example, Seen};
pub use result::{About, Rate, to_json};
pub use summary::Summary;
