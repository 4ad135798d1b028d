//! Which workers there are at start, and whether requests take one leg or two.
//!
//! The mode is a conclusion from several flags, so the flags (`FleetFlags`) and what the router works with
//! (`FleetSettings`) are two types.

use std::collections::HashSet;
use std::time::Duration;

use clap::{ArgAction, Args};

use super::error::Conflict;
use super::parse;
use super::prefill::{PrefillUrl, PrefillUrls};

/// The workers that the router starts with. More come and go at run time through the workers API.
#[derive(Debug, Clone, PartialEq)]
pub struct FleetSettings {
    pub mode: Mode,
    pub prefill: Vec<PrefillUrl>,
    pub decode: Vec<String>,
    pub worker_urls: Vec<String>,
    /// Workers to simulate inside the router, instead of the lists above.
    pub simulate: Option<SimulateSettings>,
}

/// How many legs a request has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A prefill leg and a decode leg.
    Pd,
    /// One leg to a worker that does both.
    Regular,
}

/// The simulated workers.
#[derive(Debug, Clone, PartialEq, Args)]
#[command(next_help_heading = "Simulated Workers")]
pub struct SimulateSettings {
    /// Simulated prefill workers
    #[arg(id = "simulate-prefill", long, value_name = "N", default_value = "2", value_parser = parse::positive_size)]
    pub prefill: usize,

    /// Simulated decode workers
    #[arg(id = "simulate-decode", long, value_name = "N", default_value = "2", value_parser = parse::positive_size)]
    pub decode: usize,

    /// How long simulated work takes compared with the measured hardware; 0.1 is ten times faster
    #[arg(id = "simulate-time-scale", long, value_name = "FACTOR", default_value = "1.0", value_parser = parse::positive_number)]
    pub time_scale: f64,

    /// Seconds that a simulated worker is away when its role is changed, at a time scale of 1
    #[arg(id = "simulate-role-change-secs", long, value_name = "SECS", default_value = "2", value_parser = parse::seconds)]
    pub role_change: Duration,
}

#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Workers")]
pub(super) struct FleetFlags {
    /// Worker URLs of regular mode, where a worker does prefill and decode
    #[arg(long, value_name = "URL", num_args = 0.., action = ArgAction::Set, value_parser = parse::worker_url)]
    worker_urls: Vec<String>,

    /// PD mode: every request goes to a prefill and a decode worker
    #[arg(long, help_heading = PD)]
    pd_disaggregation: bool,

    #[command(flatten)]
    prefill: PrefillUrls,

    /// Decode worker; repeat for more
    #[arg(long, help_heading = PD, value_name = "URL", action = ArgAction::Append, value_parser = parse::worker_url)]
    decode: Vec<String>,

    /// Accepted for scripts that start SGLang's mini load balancer; this router takes its place
    #[arg(long, help_heading = PD)]
    mini_lb: bool,

    /// Run simulated workers inside the router (implies PD mode): try everything without a GPU
    #[arg(long, help_heading = "Simulated Workers")]
    simulate: bool,

    #[command(flatten)]
    simulated: SimulateSettings,
}

pub(super) const PD: &str = "PD Disaggregation";

impl FleetFlags {
    /// Lists that the chosen mode has no use for are named in `ignored`, not refused: that is what `sglang_router`
    /// does with them, only that it doesn't say so.
    pub(super) fn conclude(self, ignored: &mut Vec<String>) -> Result<FleetSettings, Conflict> {
        self.refuse_workers_beside_simulated_ones()?;
        let mode = if self.pd_disaggregation || self.simulate {
            Mode::Pd
        } else {
            Mode::Regular
        };
        if self.mini_lb {
            if mode == Mode::Regular {
                return Err(Conflict::MiniLbWithoutPd);
            }
            ignored.push("--mini-lb (this router takes its place)".to_owned());
        }
        let mut fleet = FleetSettings {
            mode,
            prefill: self.prefill.0,
            decode: self.decode,
            worker_urls: self.worker_urls,
            simulate: self.simulate.then_some(self.simulated),
        };
        fleet.drop_what_the_mode_does_not_use(ignored);
        fleet.refuse_a_worker_named_twice()?;
        Ok(fleet)
    }

    fn refuse_workers_beside_simulated_ones(&self) -> Result<(), Conflict> {
        let named =
            !(self.prefill.0.is_empty() && self.decode.is_empty() && self.worker_urls.is_empty());
        if self.simulate && named {
            return Err(Conflict::SimulateBesideWorkers);
        }
        Ok(())
    }
}

impl FleetSettings {
    fn drop_what_the_mode_does_not_use(&mut self, ignored: &mut Vec<String>) {
        match self.mode {
            Mode::Pd => {
                if !self.worker_urls.is_empty() {
                    self.worker_urls.clear();
                    ignored.push("--worker-urls (not used in PD mode)".to_owned());
                }
            }
            Mode::Regular => {
                if !(self.prefill.is_empty() && self.decode.is_empty()) {
                    self.prefill.clear();
                    self.decode.clear();
                    ignored.push("--prefill and --decode (need --pd-disaggregation)".to_owned());
                }
            }
        }
    }

    /// One server is one worker with one role; a URL that stands twice is a slip of the keyboard, and half the fleet
    /// missing is a bad way to learn of it.
    fn refuse_a_worker_named_twice(&self) -> Result<(), Conflict> {
        let mut seen = HashSet::new();
        let prefill = self.prefill.iter().map(|worker| &worker.url);
        for url in prefill.chain(&self.decode).chain(&self.worker_urls) {
            if !seen.insert(url) {
                return Err(Conflict::WorkerNamedTwice(url.clone()));
            }
        }
        Ok(())
    }
}
