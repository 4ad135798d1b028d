//! The snapshot: which workers there are, in which role and state.

use std::sync::Arc;

use policies::lifecycle::WorkerState;
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use uuid::Uuid;

use super::bootstrap::Bootstrap;
use super::gates::Place;
use super::window::Latencies;
use super::worker::Worker;

/// A worker as it stands in one snapshot.
#[derive(Debug, Clone)]
pub struct Member {
    pub worker: Arc<Worker>,
    pub role: Role,
    pub state: WorkerState,
    pub bootstrap: Bootstrap,
    /// Counts how often the worker began anew as a prefill worker; each time its host is spelled in another way.
    pub epoch: u32,
}

/// All workers, immutable. Built anew by the registry at each change.
#[derive(Debug, Default)]
pub struct WorkerSet {
    /// By rising id, which is the order of registration.
    members: Vec<Member>,
    /// Per role.
    serving: [Serving; 3],
}

/// The members that serve in a role, in registration order, in columns.
#[derive(Debug, Default)]
struct Serving {
    positions: Vec<u32>,
    ids: Vec<WorkerId>,
    gates: Vec<Place>,
}

impl WorkerSet {
    pub(super) fn new(members: Vec<Member>) -> Self {
        let serving = Role::ALL.map(|role| {
            let mut serving = Serving::default();
            for (position, member) in (0u32..).zip(&members) {
                if member.role == role && member.state.admits_requests() {
                    serving.positions.push(position);
                    serving.ids.push(member.worker.id);
                    serving.gates.push(member.worker.gate().clone());
                }
            }
            serving
        });
        Self { members, serving }
    }

    pub fn members(&self) -> &[Member] {
        &self.members
    }

    pub fn by_id(&self, id: WorkerId) -> Option<&Member> {
        let position = self
            .members
            .binary_search_by_key(&id, |member| member.worker.id);
        Some(&self.members[position.ok()?])
    }

    pub fn by_uuid(&self, uuid: Uuid) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.worker.uuid == uuid)
    }

    pub fn by_url(&self, url: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.worker.url.as_str() == url)
    }

    /// The workers of `role` that serve.
    pub fn serving(&self, role: Role) -> RoleView<'_> {
        let serving = match role {
            Role::Prefill => &self.serving[0],
            Role::Decode => &self.serving[1],
            Role::Regular => &self.serving[2],
        };
        RoleView {
            members: &self.members,
            serving,
        }
    }

    /// The latencies of the last minute, all workers together.
    pub fn latencies(&self, now: Timestamp) -> FleetLatencies {
        let mut fleet = FleetLatencies::default();
        for member in &self.members {
            let stats = &member.worker.stats;
            if member.role != Role::Prefill {
                // Each request is in two windows, its prefill's and its decode's.
                stats.ttft.add_to(now, &mut fleet.ttft);
            }
            stats.itl.add_to(now, &mut fleet.itl);
        }
        fleet
    }

    /// Whether a worker is on its way to serving in `role`: it starts, is verified, changes its role, or is unhealthy,
    /// from which workers recover or are started anew. One that failed is waited for by nobody.
    pub fn expects(&self, role: Role) -> bool {
        self.members.iter().any(|member| match member.state {
            WorkerState::Starting | WorkerState::Unhealthy | WorkerState::Verifying => {
                member.role == role
            }
            WorkerState::Switching => true,
            WorkerState::Serving
            | WorkerState::Draining
            | WorkerState::Failed
            | WorkerState::Removed => false,
        })
    }

    pub fn count(&self, role: Role) -> usize {
        self.members
            .iter()
            .filter(|member| member.role == role)
            .count()
    }
}

/// What all workers together took in the last minute.
#[derive(Debug, Default)]
pub struct FleetLatencies {
    /// To the first token, one a request.
    pub ttft: Latencies,
    /// Between tokens, one a token.
    pub itl: Latencies,
}

/// The serving workers of one role, in registration order.
#[derive(Debug, Clone, Copy)]
pub struct RoleView<'a> {
    members: &'a [Member],
    serving: &'a Serving,
}

impl<'a> RoleView<'a> {
    pub fn len(&self) -> usize {
        self.serving.positions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.serving.positions.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<&'a Member> {
        let positions = &self.serving.positions;
        positions
            .get(index)
            .map(|&position| &self.members[position as usize])
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        let members = self.members;
        let positions = &self.serving.positions;
        positions
            .iter()
            .map(move |&position| &members[position as usize])
    }

    /// Puts into `ids` who they are, from `from` on.
    pub fn copy_ids(&self, from: usize, ids: &mut [WorkerId]) {
        ids.copy_from_slice(&self.serving.ids[from..][..ids.len()]);
    }

    /// Their requests in flight, from `from` on; `None` of a worker that has to be looked at.
    pub fn loads(&self, from: usize) -> impl Iterator<Item = Option<u32>> + use<'a> {
        let gates = &self.serving.gates[from..];
        gates.iter().map(|gate| gate.undoubted())
    }
}
