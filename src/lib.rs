//! adaptive-router: an HTTP router for SGLang prefill/decode disaggregation.
//!
//! Where things are: `config` reads the settings, `workers` holds the worker set, `upstream` speaks to workers,
//! `proxy` carries requests, `admin` answers everything that isn't inference, `control` watches the workers' health
//! and load, `telemetry` counts, `simulate` makes workers without a GPU, `server` listens and writes, and `app` puts it together.

pub mod admin;
pub mod app;
pub mod clock;
pub mod cluster;
pub mod config;
pub mod control;
pub mod error;
pub mod launch;
pub mod live;
pub mod logging;
pub mod proxy;
pub mod server;
pub mod simulate;
pub mod telemetry;
pub mod ui;
pub mod upstream;
mod woken;
pub mod workers;
