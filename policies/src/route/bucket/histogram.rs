//! The distribution of bytes over prompt lengths, in a fixed number of steps.
//!
//! Eight steps to each doubling of the length: a step is at most an eighth wide, far narrower than a worker's range
//! needs to be, and 224 of them reach to a GiB.

const STEPS_PER_OCTAVE: usize = 8;
const STEPS: usize = 224;

/// Bytes of prompts, by step of their length.
#[derive(Debug)]
pub(super) struct Histogram {
    bytes: Box<[u64; STEPS]>,
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            bytes: Box::new([0; STEPS]),
        }
    }
}

impl Histogram {
    pub(super) fn add(&mut self, bytes: usize) {
        let step = &mut self.bytes[step_of(bytes)];
        *step = step.saturating_add(bytes as u64);
    }

    /// The distribution so far; `None` where there is nothing yet.
    pub(super) fn quantiles(&self) -> Option<Quantiles> {
        let total: f64 = self.bytes.iter().map(|&bytes| bytes as f64).sum();
        if total <= 0.0 {
            return None;
        }
        let mut below = Box::new([1.0; STEPS + 1]);
        let mut sum = 0.0;
        for (step, &bytes) in self.bytes.iter().enumerate() {
            below[step] = sum / total;
            sum += bytes as f64;
        }
        Some(Quantiles { below })
    }
}

/// For each step the fraction of all bytes that lie in shorter prompts.
#[derive(Debug)]
pub(super) struct Quantiles {
    below: Box<[f64; STEPS + 1]>,
}

impl Quantiles {
    /// The place of a prompt in the distribution, 0 to 1. Prompts of one step share the step's whole width, each at
    /// `within` (0 to 1) of it.
    pub(super) fn place(&self, bytes: usize, within: f64) -> f64 {
        let step = step_of(bytes);
        let (from, to) = (self.below[step], self.below[step + 1]);
        from + (to - from) * within
    }
}

/// Lengths below eight have a step each; after that the leading bit and the three behind it choose.
fn step_of(bytes: usize) -> usize {
    if bytes < STEPS_PER_OCTAVE {
        return bytes;
    }
    let octave = bytes.ilog2() as usize;
    let eighth = (bytes >> (octave - 3)) & (STEPS_PER_OCTAVE - 1);
    ((octave - 2) * STEPS_PER_OCTAVE + eighth).min(STEPS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_follow_each_other_without_a_gap() {
        let mut last = 0;
        for bytes in 0..100_000 {
            let step = step_of(bytes);
            assert!(step == last || step == last + 1, "{bytes}: {last} {step}");
            last = step;
        }
        assert_eq!(step_of((1 << 30) - 1), STEPS - 1);
        assert_eq!(step_of(usize::MAX), STEPS - 1);
    }

    #[test]
    fn a_place_is_the_fraction_of_bytes_in_shorter_prompts() {
        let mut histogram = Histogram::default();
        assert!(histogram.quantiles().is_none());
        histogram.add(300);
        for _ in 0..7 {
            histogram.add(100);
        }
        let quantiles = histogram.quantiles().unwrap();
        let table = [
            // length, at, place
            (10, 0.5, 0.0),
            (100, 0.0, 0.0),
            (100, 0.5, 0.35),
            (200, 0.5, 0.7),
            (300, 0.0, 0.7),
            (300, 0.5, 0.85),
            (5_000, 0.5, 1.0),
        ];
        for (bytes, within, place) in table {
            let found = quantiles.place(bytes, within);
            assert!((found - place).abs() < 1e-9, "{bytes} at {within}: {found}");
        }
    }
}
