//! Changing the role of a worker in place, with the refusals of SGLang's `/pd_role_switch`.

use super::Engine;
use crate::{config::Role, faults::Restorable};
use serde::{Deserialize, Serialize};

/// First port of a prefill rank. Each time a worker becomes a prefill its rank listens on another port.
const FIRST_RANK_PORT: u16 = 40_000;

#[derive(Debug, Deserialize)]
pub(crate) struct SwitchOrder {
    pub(crate) new_role: String,
    #[serde(default)]
    pub(crate) decode_cuda_graph_memory_gb: Option<f64>,
    #[serde(default)]
    pub(crate) decode_cuda_graph_bs: Option<Vec<u32>>,
    #[serde(default)]
    pub(crate) prepare_only: bool,
}

#[derive(Debug, Serialize)]
pub(crate) struct SwitchOutcome {
    rid: Option<()>,
    http_worker_ipc: Option<()>,
    pub(crate) success: bool,
    message: String,
    old_role: &'static str,
    new_role: String,
    safe_to_restore: bool,
}

/// What a switch leaves behind.
pub(super) struct SwitchState {
    in_progress: bool,
    /// A switch failed half way: neither role is whole.
    unhealthy: bool,
    /// Health probes that run.
    probes: u32,
    /// The batch sizes that decode graphs were captured for: at the launch of a decode, or at the first switch to it.
    graphs: Option<Vec<u32>>,
    times_prefill: u16,
}

/// What a decode captures graphs for where nothing else is said; SGLang has more.
const GRAPH_BATCHES: [u32; 4] = [1, 2, 4, 8];

impl SwitchState {
    pub(super) fn at_launch(role: Role) -> Self {
        Self {
            in_progress: false,
            unhealthy: false,
            probes: 0,
            graphs: matches!(role, Role::Decode | Role::Null).then(|| GRAPH_BATCHES.to_vec()),
            times_prefill: u16::from(role == Role::Prefill),
        }
    }

    /// Where the prefill rank listens. Stays known after a switch to decode, as a bootstrap server keeps its ranks.
    pub(super) const fn rank_port(&self) -> Option<u16> {
        match self.times_prefill {
            0 => None,
            times => Some(FIRST_RANK_PORT.wrapping_add(times)),
        }
    }
}

/// Why a switch is refused, and whether the worker may serve on in its old role.
struct Refusal(String, bool);

impl Engine {
    pub(crate) async fn switch_role(&self, order: &SwitchOrder) -> SwitchOutcome {
        let old_role = self.role();
        let outcome = |success, message: String, safe_to_restore| SwitchOutcome {
            rid: None,
            http_worker_ipc: None,
            success,
            message,
            old_role: old_role.as_str(),
            new_role: order.new_role.clone(),
            safe_to_restore,
        };
        let new_role = match self.begin_switch(order) {
            Err(Refusal(message, safe_to_restore)) => {
                return outcome(false, message, safe_to_restore);
            }
            Ok(Begun::AlreadyThere) => {
                return outcome(true, "already in target role".into(), false);
            }
            Ok(Begun::Prepared) => return outcome(true, "ready".into(), true),
            Ok(Begun::Switching(role)) => role,
        };
        let begun = InProgress(self);
        let fault = self.faults.switch_failure();
        if fault == Some(Restorable::Yes) {
            return outcome(
                false,
                "role switch refused by a simulated fault".into(),
                true,
            );
        }
        tokio::time::sleep(self.config.role_switch).await;
        if fault == Some(Restorable::No) {
            self.state.lock().switch.unhealthy = true;
            let message =
                "role switch failed during rebuild by a simulated fault; restart required";
            return outcome(false, message.into(), false);
        }
        self.finish_switch(new_role, order);
        drop(begun);
        outcome(true, "ok".into(), false)
    }

    fn begin_switch(&self, order: &SwitchOrder) -> Result<Begun, Refusal> {
        let mut state = self.state.lock();
        let refuse = |message: &str| Err(Refusal(message.into(), true));
        if !self.config.enable_pd_role_switch {
            return refuse("--enable-pd-role-switch is not set on this instance");
        }
        if state.switch.unhealthy {
            let message = "instance is unhealthy after a failed role switch; restart required";
            return Err(Refusal(message.into(), false));
        }
        if state.switch.in_progress {
            let message = "another role switch is already in progress";
            return Err(Refusal(message.into(), false));
        }
        let new_role = match order.new_role.parse() {
            Ok(role @ (Role::Prefill | Role::Decode)) => role,
            Ok(Role::Null) | Err(_) => {
                return refuse(&format!("invalid new_role='{}'", order.new_role));
            }
        };
        if state.role == Role::Null {
            return refuse("instance is not running in PD disaggregation mode");
        }
        if !self.config.transfer_backend.switches_roles() {
            return refuse(&format!(
                "disaggregation transfer backend '{}' does not support role switch",
                self.config.transfer_backend.as_str()
            ));
        }
        if state.role == new_role {
            return Ok(Begun::AlreadyThere);
        }
        if state.count().total() > 0 || state.switch.probes > 0 {
            return refuse("instance is not idle; drain all requests before switching");
        }
        let captures = new_role == Role::Decode && state.switch.graphs.is_none();
        match order.decode_cuda_graph_memory_gb {
            None if captures => {
                return refuse(
                    "decode_cuda_graph_memory_gb is required before capturing decode graphs",
                );
            }
            Some(gb) if captures && gb < 0.0 => {
                return refuse("decode_cuda_graph_memory_gb must be non-negative");
            }
            Some(_) | None => {}
        }
        if order.prepare_only {
            return Ok(Begun::Prepared);
        }
        state.switch.in_progress = true;
        Ok(Begun::Switching(new_role))
    }

    fn finish_switch(&self, new_role: Role, order: &SwitchOrder) {
        let mut state = self.state.lock();
        state.prefill.forget_prefixes();
        state.role = new_role;
        state.counters.role_switches += 1;
        match new_role {
            Role::Prefill => {
                state.switch.times_prefill += 1;
                state.prefill.restart();
            }
            Role::Decode => {
                let asked = || order.decode_cuda_graph_bs.clone();
                let captured = || asked().unwrap_or_else(|| GRAPH_BATCHES.to_vec());
                state.switch.graphs.get_or_insert_with(captured);
            }
            Role::Null => {}
        }
    }

    /// The batch sizes that decode graphs are there for; `None` before the first capture.
    pub(crate) fn graphs(&self) -> Option<Vec<u32>> {
        self.state.lock().switch.graphs.clone()
    }

    /// A failed switch left it without a role: only a restart helps.
    pub(crate) fn is_unhealthy(&self) -> bool {
        self.state.lock().switch.unhealthy
    }

    /// The worker isn't idle while this is held.
    pub(crate) fn probe(&self) -> Probe<'_> {
        self.state.lock().switch.probes += 1;
        Probe(self)
    }
}

enum Begun {
    AlreadyThere,
    Prepared,
    Switching(Role),
}

/// A health probe that runs, also where its client has left.
pub(crate) struct Probe<'a>(&'a Engine);

impl Drop for Probe<'_> {
    fn drop(&mut self) {
        self.0.state.lock().switch.probes -= 1;
    }
}

/// A caller that hangs up in the middle must not block every later switch.
struct InProgress<'a>(&'a Engine);

impl Drop for InProgress<'_> {
    fn drop(&mut self) {
        self.0.state.lock().switch.in_progress = false;
    }
}
