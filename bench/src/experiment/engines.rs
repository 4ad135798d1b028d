//! The workers that the experiment is made with.

use policies::model::WorkerModel;
use serde::Serialize;

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
