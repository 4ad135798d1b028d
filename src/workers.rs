//! The workers: one immutable snapshot that every request loads once, one registry that writes it.
//!
//! Role and lifecycle state live in the snapshot ([`WorkerSet`]); live counters live in the shared [`Worker`]. A role
//! change is a new snapshot and loses no counter.

mod bootstrap;
mod breaker;
mod gate;
mod gates;
mod pace;
mod registry;
mod report;
mod set;
mod stats;
mod ticket;
mod window;
mod worker;

/// The gate's atomics by a path of their own, so that loom's can stand in for them (`tests/gate_interleavings.rs`).
mod atomic {
    pub(crate) use std::sync::atomic::{AtomicU32, Ordering};
}

pub use bootstrap::{Bootstrap, spellings};
pub use breaker::{Breaker, BreakerState, Transition};
pub use gate::Gate;
pub use registry::{AddError, Change, Notice, WorkerRegistry};
pub use report::LoadReport;
pub use set::{FleetLatencies, Member, RoleView, WorkerSet};
pub use stats::WorkerStats;
pub use ticket::{Ticket, Watching};
pub use window::{Latencies, LatencyWindow};
pub use worker::{Worker, WorkerMetadata, WorkerSpec, WorkerUrl, WorkerUrlError};
