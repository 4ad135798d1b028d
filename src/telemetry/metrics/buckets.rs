//! Bucket bounds of the histograms.

/// Upper bounds in seconds (or tokens), rising.
#[derive(Debug, Clone, PartialEq)]
pub struct Buckets {
    /// Of every duration that has no bounds of its own.
    pub durations: Vec<f64>,
    pub ttft: Vec<f64>,
    pub itl: Vec<f64>,
}

/// The peer's, so that its dashboards see the same buckets.
const DURATIONS: &[f64] = &[
    0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 45.0, 60.0,
    90.0, 120.0, 180.0, 240.0,
];

/// From a cached prompt on an idle worker to a queue that nobody waits out; dense around the usual targets of 0.5 to
/// 2 s, because a quantile is known no better than its bucket.
const TTFT: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.25, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0,
    3.0, 5.0, 10.0, 20.0, 60.0,
];

/// Dense between 4 and 50 ms, where decode steps are and targets lie.
const ITL: &[f64] = &[
    0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.0125, 0.015, 0.0175, 0.02, 0.025, 0.03, 0.04, 0.05,
    0.075, 0.1, 0.15, 0.25, 0.5, 1.0,
];

/// Doubling from a word to a long context.
pub(super) const TOKENS: &[f64] = &[
    1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0,
    16384.0, 32768.0, 65536.0, 131_072.0,
];

impl Buckets {
    /// Those that are given, and the defaults for those that are empty.
    pub fn new(durations: &[f64], ttft: &[f64], itl: &[f64]) -> Self {
        let or = |given: &[f64], default: &[f64]| {
            if given.is_empty() { default } else { given }.to_vec()
        };
        Self {
            durations: or(durations, DURATIONS),
            ttft: or(ttft, TTFT),
            itl: or(itl, ITL),
        }
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self::new(&[], &[], &[])
    }
}
