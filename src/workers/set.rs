//! The snapshot: which workers there are, in which role and state.

use std::sync::Arc;

use policies::lifecycle::WorkerState;
use policies::time::Timestamp;
use policies::worker::{Role, WorkerId};
use uuid::Uuid;

use super::bootstrap::Bootstrap;
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
    /// Per role, in registration order: the positions of the members that serve.
    serving: [Vec<u32>; 3],
}

impl WorkerSet {
    pub(super) fn new(members: Vec<Member>) -> Self {
        let serving = Role::ALL.map(|role| {
            let serves = |member: &Member| member.role == role && member.state.admits_requests();
            (0u32..)
                .zip(&members)
                .filter(|(_, member)| serves(member))
                .map(|(position, _)| position)
                .collect()
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
        let positions = match role {
            Role::Prefill => &self.serving[0],
            Role::Decode => &self.serving[1],
            Role::Regular => &self.serving[2],
        };
        RoleView {
            members: &self.members,
            positions,
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
    positions: &'a [u32],
}

impl<'a> RoleView<'a> {
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    pub fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    pub fn get(&self, index: usize) -> Option<&'a Member> {
        self.positions
            .get(index)
            .map(|&position| &self.members[position as usize])
    }

    pub fn iter(&self) -> impl Iterator<Item = &'a Member> + use<'a> {
        let members = self.members;
        self.positions
            .iter()
            .map(move |&position| &members[position as usize])
    }
}
