//! The parameters of the model by name: what a model file lists and a fit estimates.

use super::WorkerModel;

/// One number of a [`WorkerModel`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameter {
    BatchBase,
    PerToken,
    MaxBatchTokens,
    CachedCost,
    TransferBase,
    TransferPerToken,
    WarmUpPerRequest,
    StepBase,
    PerSequence,
    PerKvToken,
    ArrivalPerToken,
    MaxRunning,
    KvPoolTokens,
}

impl Parameter {
    pub const ALL: [Self; 13] = [
        Self::BatchBase,
        Self::PerToken,
        Self::MaxBatchTokens,
        Self::CachedCost,
        Self::TransferBase,
        Self::TransferPerToken,
        Self::WarmUpPerRequest,
        Self::StepBase,
        Self::PerSequence,
        Self::PerKvToken,
        Self::ArrivalPerToken,
        Self::MaxRunning,
        Self::KvPoolTokens,
    ];

    /// Table and key in a model file; the unit is last in the key.
    pub const fn key(self) -> (&'static str, &'static str) {
        match self {
            Self::BatchBase => ("prefill", "batch_base_ms"),
            Self::PerToken => ("prefill", "per_token_us"),
            Self::MaxBatchTokens => ("prefill", "max_batch_tokens"),
            Self::CachedCost => ("prefill", "cached_cost"),
            Self::TransferBase => ("prefill", "transfer_base_ms"),
            Self::TransferPerToken => ("prefill", "transfer_per_token_us"),
            Self::WarmUpPerRequest => ("prefill", "warm_up_per_request_ms"),
            Self::StepBase => ("decode", "step_base_ms"),
            Self::PerSequence => ("decode", "per_sequence_us"),
            Self::PerKvToken => ("decode", "per_kv_token_ns"),
            Self::ArrivalPerToken => ("decode", "arrival_per_token_us"),
            Self::MaxRunning => ("decode", "max_running"),
            Self::KvPoolTokens => ("decode", "kv_pool_tokens"),
        }
    }

    pub const fn meaning(self) -> &'static str {
        match self {
            Self::BatchBase => "Milliseconds that every prefill batch takes, however small.",
            Self::PerToken => "Microseconds for each prompt token that is computed.",
            Self::MaxBatchTokens => "Tokens in one prefill batch; a longer prompt takes several.",
            Self::CachedCost => {
                "Cost of a token found in the prefix cache, as a share of one computed."
            }
            Self::TransferBase => {
                "Milliseconds from the end of the computation until KV arrives; latency only."
            }
            Self::TransferPerToken => {
                "Microseconds for each token of KV sent; one request's at a time."
            }
            Self::WarmUpPerRequest => {
                "Milliseconds that the first batch takes longer for each request waiting."
            }
            Self::StepBase => "Milliseconds of a decode step with nothing in it.",
            Self::PerSequence => "Microseconds for each sequence in a step.",
            Self::PerKvToken => {
                "Nanoseconds for each token of KV that the sequences of a step hold."
            }
            Self::ArrivalPerToken => {
                "Microseconds that arriving KV holds up a step, for each of its tokens."
            }
            Self::MaxRunning => "Sequences that run at once; more wait.",
            Self::KvPoolTokens => "Tokens of KV that fit in a worker's memory.",
        }
    }

    /// The file's unit, as a fraction of the model's, which is seconds where it is a time.
    pub(super) const fn units_in_one(self) -> f64 {
        match self {
            Self::BatchBase | Self::TransferBase | Self::WarmUpPerRequest | Self::StepBase => 1e3,
            Self::PerToken | Self::TransferPerToken | Self::PerSequence | Self::ArrivalPerToken => {
                1e6
            }
            Self::PerKvToken => 1e9,
            Self::MaxBatchTokens | Self::CachedCost | Self::MaxRunning | Self::KvPoolTokens => 1.0,
        }
    }

    /// The value, times in seconds.
    pub const fn get(self, model: &WorkerModel) -> f64 {
        let WorkerModel { prefill, decode } = model;
        match self {
            Self::BatchBase => prefill.batch_base,
            Self::PerToken => prefill.per_token,
            Self::MaxBatchTokens => prefill.max_batch_tokens as f64,
            Self::CachedCost => prefill.cached_cost,
            Self::TransferBase => prefill.transfer_base,
            Self::TransferPerToken => prefill.transfer_per_token,
            Self::WarmUpPerRequest => prefill.warm_up_per_request,
            Self::StepBase => decode.step_base,
            Self::PerSequence => decode.per_sequence,
            Self::PerKvToken => decode.per_kv_token,
            Self::ArrivalPerToken => decode.arrival_per_token,
            Self::MaxRunning => decode.max_running as f64,
            Self::KvPoolTokens => decode.kv_pool_tokens as f64,
        }
    }

    /// The value in the unit that is last in the key.
    pub const fn in_unit(self, model: &WorkerModel) -> f64 {
        self.get(model) * self.units_in_one()
    }

    /// Times are in seconds; counts are rounded.
    pub const fn set(self, model: &mut WorkerModel, value: f64) {
        let WorkerModel { prefill, decode } = model;
        match self {
            Self::BatchBase => prefill.batch_base = value,
            Self::PerToken => prefill.per_token = value,
            Self::MaxBatchTokens => prefill.max_batch_tokens = value.round() as u32,
            Self::CachedCost => prefill.cached_cost = value,
            Self::TransferBase => prefill.transfer_base = value,
            Self::TransferPerToken => prefill.transfer_per_token = value,
            Self::WarmUpPerRequest => prefill.warm_up_per_request = value,
            Self::StepBase => decode.step_base = value,
            Self::PerSequence => decode.per_sequence = value,
            Self::PerKvToken => decode.per_kv_token = value,
            Self::ArrivalPerToken => decode.arrival_per_token = value,
            Self::MaxRunning => decode.max_running = value.round() as u32,
            Self::KvPoolTokens => decode.kv_pool_tokens = value.round() as u64,
        }
    }
}
