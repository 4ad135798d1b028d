//! How many workers demand takes, by the performance model.

use crate::estimate::Stream;
use crate::model::WorkerModel;

use super::{Split, Utilisation};

/// Tokens a second of a decode worker that can't keep the time between tokens at all: what it needs is beyond measure, and
/// still a number.
const LEAST_CAPACITY: f64 = 1e-6;

/// Workers' worth of work in each role: 1.5 keeps three halves of a worker busy all the time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Need {
    pub prefill: f64,
    pub decode: f64,
}

impl Need {
    /// What `streams` take, where decode is to keep `itl_seconds` between tokens.
    pub fn of(
        model: &WorkerModel,
        itl_seconds: f64,
        streams: impl Iterator<Item = Stream> + Clone,
    ) -> Self {
        let prefill: f64 = streams
            .clone()
            .map(|stream| {
                let cached = stream.cached_tokens / stream.prompt_tokens.max(1.0);
                let capacity = model.prefill.capacity(stream.prompt_tokens as u64, cached);
                stream.requests_per_second / capacity
            })
            .sum();
        let mut tokens = Tokens::default();
        streams.for_each(|stream| tokens.add(model, &stream));
        let capacity = model.decode.tokens_per_second(
            itl_seconds,
            tokens.kv / tokens.per_second.max(f64::MIN_POSITIVE),
            tokens.arrivals / tokens.per_second.max(f64::MIN_POSITIVE),
        );
        Self {
            // The sum of nothing is -0.0, which people would read.
            prefill: prefill + 0.0,
            decode: tokens.per_second / capacity.max(LEAST_CAPACITY),
        }
    }

    /// In workers.
    pub fn whole(&self) -> f64 {
        self.prefill + self.decode
    }

    /// Prefill's part of it; 0 where nothing is needed.
    pub fn prefill_share(&self) -> f64 {
        self.prefill / self.whole().max(f64::MIN_POSITIVE)
    }

    /// Share of each role's capacity that it takes of `split`.
    pub fn utilisation(&self, split: Split) -> Utilisation {
        Utilisation {
            prefill: self.prefill / f64::from(split.prefill),
            decode: self.decode / f64::from(split.decode),
        }
    }
}

/// Output tokens a second, and what goes with them.
#[derive(Default)]
struct Tokens {
    per_second: f64,
    /// Their sum weighted by the KV that a sequence holds while it is given them.
    kv: f64,
    /// Seconds of arrivals a second.
    arrivals: f64,
}

impl Tokens {
    fn add(&mut self, model: &WorkerModel, stream: &Stream) {
        let tokens = stream.requests_per_second * stream.output_tokens;
        self.per_second += tokens;
        self.kv += tokens * (stream.prompt_tokens + stream.output_tokens / 2.0);
        let arrival = model.decode.arrival_seconds(stream.prompt_tokens as u64);
        self.arrivals += stream.requests_per_second * arrival;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(requests_per_second: f64, prompt_tokens: f64, output_tokens: f64) -> Stream {
        Stream {
            requests_per_second,
            deviation: 0.0,
            prompt_tokens,
            cached_tokens: 0.0,
            output_tokens,
        }
    }

    #[test]
    fn a_single_stream_needs_what_capacity_says() {
        let model = WorkerModel::default();
        let need = Need::of(&model, 0.025, [stream(10.0, 2048.0, 128.0)].into_iter());
        let prefill = 10.0 / model.prefill.capacity(2048, 0.0);
        let decode = 10.0 / model.decode.capacity(0.025, 2048, 128);
        assert!((need.prefill - prefill).abs() < 1e-9);
        assert!((need.decode - decode).abs() < 1e-9);
        let half = need.utilisation(Split {
            prefill: 2,
            decode: 2,
        });
        assert!((half.prefill - prefill / 2.0).abs() < 1e-9);
    }

    #[test]
    fn streams_add_up() {
        let model = WorkerModel::default();
        let one = Need::of(&model, 0.025, [stream(10.0, 2048.0, 128.0)].into_iter());
        let halves = [stream(5.0, 2048.0, 128.0), stream(5.0, 2048.0, 128.0)];
        let two = Need::of(&model, 0.025, halves.into_iter());
        assert!((one.prefill - two.prefill).abs() < 1e-9);
        assert!((one.decode - two.decode).abs() < 1e-9);
        let nothing = Need::of(&model, 0.025, std::iter::empty());
        assert!(nothing.prefill.abs() < 1e-9 && nothing.decode.abs() < 1e-9);
    }

    #[test]
    fn nothing_needs_nothing_and_not_less() {
        let need = Need::of(&WorkerModel::default(), 0.025, std::iter::empty());
        assert_eq!((need.prefill, need.decode), (0.0, 0.0));
        assert!(need.prefill.is_sign_positive() && need.decode.is_sign_positive());
    }
}
