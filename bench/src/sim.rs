//! A fleet in virtual time: discrete events, no runtime, no sleep. The same seed gives the same run, bit for bit.
//!
//! It drives the very objects that the router runs: routing policies pick the workers, the wait queue gives the order,
//! the lifecycle table says what may follow what. What takes time is the performance model's ([`policies::model`]).
//!
//! What is simulated: a request is paired with a prefill and a decode worker when it is dispatched. The prefill worker
//! takes waiting prompts into batches and sends their KV, one request's at a time. The first token comes with the KV;
//! from the next step on the decode worker gives each of its sequences a token a step, as long as its KV pool and its
//! largest batch have room. Or workers do both (`sim/mixed.rs`). What isn't: networks, tokenizers, the router's own time (microseconds), and the text of
//! prompts, so that policies which look at it see empty ones.

mod arrivals;
mod changes;
mod control;
mod decode;
mod events;
mod mixed;
mod outcome;
mod prefill;
mod request;
mod waiting;
mod work;
mod worker;
mod world;

use std::time::Duration;

use policies::model::WorkerModel;
use policies::queue::QueueOrder;
use policies::ratio::{Drain, GuardrailSettings, PlannerSettings};
use policies::route::PolicyKind;
use policies::time::Timestamp;
use policies::worker::Role;

use crate::workload::Workload;

pub use mixed::{ChunkCost, aggregated};
pub use outcome::{Absence, End, Outcome, Served, WorkerUse};

/// A fleet and what happens to it.
#[derive(Debug, Clone)]
pub struct Setup {
    pub model: WorkerModel,
    pub prefill: u32,
    pub decode: u32,
    /// Workers that do both, where the others are none.
    pub regular: u32,
    /// Steps without a chunk of prompts that such a worker makes after one with, while it has answers to write.
    pub steps_between_chunks: u32,
    pub prefill_policy: PolicyKind,
    pub decode_policy: PolicyKind,
    pub dispatch: Dispatch,
    /// How long a request waits in the router at most, all in all, before it has its first token; `None` is for ever.
    pub queue_timeout: Option<Duration>,
    pub slo: Slo,
    /// Whether the workers have had their first batch already.
    pub warm: bool,
    /// In any order.
    pub changes: Vec<RoleChange>,
    pub failures: Vec<Failure>,
    /// What becomes of a worker's requests when its role is to change.
    pub drain: Drain,
    /// Who decides about the ratio; nobody, where it stays.
    pub control: Option<Control>,
    /// Whether the planner is told how long an answer will be when its request comes; else when it has ended.
    pub lengths_known: bool,
    /// Entropy of the policies.
    pub seed: u64,
}

/// When a request leaves the router.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Dispatch {
    /// As it comes; it waits in the worker's own queue.
    AtOnce,
    /// When a prefill worker has less than so many prompt tokens before it; until then it waits in the router.
    WhenThereIsRoom {
        order: QueueOrder,
        pending_tokens: u64,
        /// Whether requests wait for a decode worker with fewer in flight than it can run, too.
        decode_places: bool,
    },
}

/// A planner, asked once a second.
#[derive(Debug, Clone)]
pub struct Control {
    pub planner: PlannerSettings,
    pub guardrails: GuardrailSettings,
    /// How long a worker is away when its role is changed.
    pub dark: Duration,
}

/// What a request is held to: it is good when both hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slo {
    pub ttft: Duration,
    /// For the mean time between a request's tokens.
    pub itl: Duration,
}

/// A worker of `from` is to change to the other role: it admits nobody, is rid of what it has, is away for `dark`, and
/// serves. The one with the least to finish is taken; none, if it is the last of its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleChange {
    pub at: Timestamp,
    pub from: Role,
    pub dark: Duration,
}

/// A worker dies and is back, in its role, after `down`. What had no token yet runs again elsewhere, the rest fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failure {
    pub at: Timestamp,
    /// Counted from 0, prefill workers first.
    pub worker: usize,
    pub down: Duration,
}

impl Setup {
    /// `prefill` and `decode` workers as the published study ran them: round robin, straight to the workers, cold.
    pub fn study(model: WorkerModel, prefill: u32, decode: u32) -> Self {
        Self {
            model,
            prefill,
            decode,
            regular: 0,
            steps_between_chunks: 0,
            prefill_policy: PolicyKind::RoundRobin,
            decode_policy: PolicyKind::RoundRobin,
            dispatch: Dispatch::AtOnce,
            queue_timeout: None,
            slo: Slo {
                ttft: Duration::from_secs(2),
                itl: Duration::from_millis(25),
            },
            warm: false,
            changes: Vec::new(),
            failures: Vec::new(),
            drain: Drain::Wait,
            control: None,
            lengths_known: false,
            seed: 0,
        }
    }
}

/// Runs `workload` on `setup` until the last request has ended.
pub fn run(setup: &Setup, workload: &Workload) -> Outcome {
    world::World::new(setup, workload).run()
}
