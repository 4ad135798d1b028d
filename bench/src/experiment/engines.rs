//! The workers that the experiment is made with.

use policies::{model::WorkerModel, ratio::Split};
use serde::Serialize;

use super::arms::{SLO, START};
use crate::sim::Slo;

/// The workers of a cell, and what their requests are held to: the same under every arm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fleet {
    /// What results call it.
    pub name: &'static str,
    pub model: WorkerModel,
    pub workers: u32,
    pub slo: Slo,
    /// Whether the workers have had their first batch already.
    pub warm: bool,
}

impl Fleet {
    /// Four warm workers and the experiment's targets.
    pub const fn standard(name: &'static str, model: WorkerModel) -> Self {
        Self {
            name,
            model,
            workers: START.workers(),
            slo: SLO,
            warm: true,
        }
    }

    /// Where every arm that moves workers begins: half in either role.
    pub const fn start(&self) -> Split {
        Split {
            prefill: self.workers / 2,
            decode: self.workers - self.workers / 2,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// The model that ships, fitted to measurements.
    Calibrated,
    /// What the same hardware might do without that setup's disturbances: arrivals don't hold up decode, KV is sent at
    /// 2 us a token and a prefill batch costs 20 ms besides its tokens.
    Clean,
}

impl Engine {
    pub const ALL: [Self; 2] = [Self::Calibrated, Self::Clean];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Calibrated => "calibrated",
            Self::Clean => "clean",
        }
    }

    pub fn fleet(self) -> Fleet {
        Fleet::standard(self.name(), self.model())
    }

    pub fn model(self) -> WorkerModel {
        let mut model = WorkerModel::default();
        match self {
            Self::Calibrated => {}
            Self::Clean => {
                model.decode.arrival_per_token = 0.0;
                model.prefill.transfer_per_token = 2e-6;
                model.prefill.batch_base = 0.020;
            }
        }
        model
    }
}
