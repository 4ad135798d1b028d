//! What a worker reports of itself at `/v1/loads`, summed over its data-parallel ranks.

use std::num::NonZeroU64;

use policies::time::Timestamp;
use serde::{Deserialize, Deserializer};

/// One reading of a worker's own counters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LoadReport {
    /// When this router had it.
    pub at: Timestamp,
    pub running: u64,
    /// All that isn't running: SGLang counts its waiting list and every queue of the disaggregation below into it.
    pub waiting: u64,
    /// Prefill: requests whose decode worker has not pre-allocated yet.
    pub bootstrap: u64,
    /// Prefill: requests whose KV is being sent.
    pub inflight: u64,
    /// Decode: requests that wait for KV memory.
    pub prealloc: u64,
    /// Decode: requests whose KV is arriving.
    pub transfer: u64,
    /// Decode: requests that were put back for lack of KV memory.
    pub retracted: u64,
    /// Tokens in the KV pool, and how many it holds.
    pub used_tokens: u64,
    pub capacity_tokens: u64,
    /// Requests that it can run at a time; `None` where it doesn't say.
    pub most_running: Option<NonZeroU64>,
    /// Prompt tokens that wait for prefill and are in no cache.
    pub waiting_prompt_tokens: u64,
    /// Generated tokens a second, all ranks together.
    pub throughput: f64,
    /// Share of prompt tokens found in the prefix cache, the mean of the ranks: 0 to 1.
    pub cache_hit_rate: f64,
    /// The mean of the ranks that report one.
    pub kv_transfer_latency_ms: f64,
    pub kv_transfer_gb_per_s: f64,
    /// Cumulative since the worker started: prompt tokens computed, and the time that took.
    pub prefilled_tokens: u64,
    pub prefill_busy_us: u64,
    /// Cumulative sums over decode steps, from which step time as a line in batch and KV tokens can be estimated. The
    /// worker's own order; empty where it has none.
    pub decode_moments: Vec<f64>,
}

impl LoadReport {
    /// Reads an answer of `/v1/loads`. `None` for one that names no rank: nothing known is not the same as no load.
    pub fn parse(body: &[u8], at: Timestamp) -> Option<Self> {
        let Answer { loads } = serde_json::from_slice(body).ok()?;
        if loads.is_empty() {
            return None;
        }
        let mut report = Self {
            at,
            ..Self::default()
        };
        for rank in &loads {
            report.add(rank);
        }
        let ranks = loads.len() as f64;
        report.cache_hit_rate /= ranks;
        let reporting = |of: fn(&Disaggregation) -> f64| {
            let transfers = loads.iter().map(|rank| of(&rank.disaggregation));
            transfers.filter(|value| *value > 0.0).count().max(1) as f64
        };
        report.kv_transfer_latency_ms /= reporting(|queues| queues.kv_transfer_latency_ms);
        report.kv_transfer_gb_per_s /= reporting(|queues| queues.kv_transfer_speed_gb_s);
        Some(report)
    }

    /// Tokens that the worker holds or has before it: what the balancing policies compare.
    pub fn tokens(&self) -> u64 {
        self.used_tokens.saturating_add(self.waiting_prompt_tokens)
    }

    /// Share of the KV pool in use, 0 to 1.
    pub fn kv_usage(&self) -> f64 {
        self.used_tokens as f64 / self.capacity_tokens.max(1) as f64
    }

    fn add(&mut self, rank: &Rank) {
        let queues = &rank.disaggregation;
        for (sum, value) in [
            (&mut self.running, rank.num_running_reqs),
            (&mut self.waiting, rank.num_waiting_reqs),
            (&mut self.bootstrap, queues.prefill_bootstrap_queue_reqs),
            (&mut self.inflight, queues.prefill_inflight_queue_reqs),
            (&mut self.prealloc, queues.decode_prealloc_queue_reqs),
            (&mut self.transfer, queues.decode_transfer_queue_reqs),
            (&mut self.retracted, queues.decode_retracted_queue_reqs),
            (&mut self.used_tokens, rank.num_used_tokens),
            (&mut self.capacity_tokens, rank.max_total_num_tokens),
            (
                &mut self.waiting_prompt_tokens,
                rank.num_waiting_uncached_tokens,
            ),
            (
                &mut self.prefilled_tokens,
                rank.total_prefill_uncached_tokens,
            ),
            (&mut self.prefill_busy_us, rank.total_prefill_busy_us),
        ] {
            *sum = sum.saturating_add(value);
        }
        let most = self.most_running.map_or(0, NonZeroU64::get);
        self.most_running = NonZeroU64::new(most.saturating_add(rank.max_running_requests));
        self.throughput += rank.gen_throughput;
        self.cache_hit_rate += rank.cache_hit_rate;
        self.kv_transfer_latency_ms += queues.kv_transfer_latency_ms;
        self.kv_transfer_gb_per_s += queues.kv_transfer_speed_gb_s;
        let moments = self.decode_moments.len().max(rank.decode_moments.len());
        self.decode_moments.resize(moments, 0.0);
        for (sum, value) in self.decode_moments.iter_mut().zip(&rank.decode_moments) {
            *sum += value;
        }
    }
}

/// The answer, one entry a data-parallel rank. Everything but the tokens in use may be missing or `null`: a worker of
/// another version, or of the other role.
#[derive(Deserialize)]
struct Answer {
    loads: Vec<Rank>,
}

#[derive(Deserialize)]
struct Rank {
    num_used_tokens: u64,
    #[serde(default, deserialize_with = "or_default")]
    num_running_reqs: u64,
    #[serde(default, deserialize_with = "or_default")]
    num_waiting_reqs: u64,
    #[serde(default, deserialize_with = "or_default")]
    num_waiting_uncached_tokens: u64,
    #[serde(default, deserialize_with = "or_default")]
    max_total_num_tokens: u64,
    #[serde(default, deserialize_with = "or_default")]
    max_running_requests: u64,
    #[serde(default, deserialize_with = "or_default")]
    gen_throughput: f64,
    #[serde(default, deserialize_with = "or_default")]
    cache_hit_rate: f64,
    #[serde(default, deserialize_with = "or_default")]
    total_prefill_uncached_tokens: u64,
    #[serde(default, deserialize_with = "or_default")]
    total_prefill_busy_us: u64,
    #[serde(default, deserialize_with = "or_default")]
    decode_moments: Vec<f64>,
    #[serde(default, deserialize_with = "or_default")]
    disaggregation: Disaggregation,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Disaggregation {
    #[serde(deserialize_with = "or_default")]
    prefill_bootstrap_queue_reqs: u64,
    #[serde(deserialize_with = "or_default")]
    prefill_inflight_queue_reqs: u64,
    #[serde(deserialize_with = "or_default")]
    decode_prealloc_queue_reqs: u64,
    #[serde(deserialize_with = "or_default")]
    decode_transfer_queue_reqs: u64,
    #[serde(deserialize_with = "or_default")]
    decode_retracted_queue_reqs: u64,
    #[serde(deserialize_with = "or_default")]
    kv_transfer_latency_ms: f64,
    #[serde(deserialize_with = "or_default")]
    kv_transfer_speed_gb_s: f64,
}

fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_summed_and_what_is_a_share_is_averaged() {
        let body = r#"{"loads":[
            {"num_used_tokens":100,"num_waiting_uncached_tokens":20,"num_running_reqs":3,"num_waiting_reqs":2,
             "max_total_num_tokens":1000,"max_running_requests":16,"gen_throughput":50.5,"cache_hit_rate":0.5,"decode_moments":[1,2,3],
             "disaggregation":{"decode_prealloc_queue_reqs":1,"decode_transfer_queue_reqs":1,"kv_transfer_latency_ms":8.0}},
            {"num_used_tokens":3,"num_running_reqs":1,"max_total_num_tokens":1000,"max_running_requests":16,"gen_throughput":10,
             "cache_hit_rate":0.1,"decode_moments":[1,1,1]}]}"#;
        let at = Timestamp::from_micros(7);
        let report = LoadReport::parse(body.as_bytes(), at).unwrap();
        assert_eq!((report.running, report.waiting), (4, 2));
        assert_eq!((report.prealloc, report.transfer), (1, 1));
        assert_eq!(report.most_running, NonZeroU64::new(32));
        assert_eq!(report.tokens(), 123);
        assert!((report.kv_usage() - 103.0 / 2000.0).abs() < 1e-9);
        assert!((report.throughput - 60.5).abs() < 1e-9);
        assert!((report.cache_hit_rate - 0.3).abs() < 1e-9);
        assert!((report.kv_transfer_latency_ms - 8.0).abs() < 1e-9);
        assert_eq!(report.decode_moments, [2.0, 3.0, 4.0]);
        assert_eq!(report.at, at);
    }

    #[test]
    fn what_a_worker_of_the_other_role_leaves_out_is_nothing() {
        let body = br#"{"loads":[{"num_used_tokens":5,"decode_moments":null,"gen_throughput":null,"disaggregation":null}]}"#;
        let report = LoadReport::parse(body, Timestamp::ZERO).unwrap();
        assert_eq!((report.tokens(), report.most_running), (5, None));
        assert!(report.decode_moments.is_empty());
    }

    #[test]
    fn an_answer_without_ranks_is_no_report() {
        for body in ["", "{}", r#"{"loads":[]}"#, r#"{"loads":[{"x":1}]}"#, "[]"] {
            assert_eq!(
                LoadReport::parse(body.as_bytes(), Timestamp::ZERO),
                None,
                "{body}"
            );
        }
    }
}
