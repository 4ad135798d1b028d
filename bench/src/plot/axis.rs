//! A stretch of values on a stretch of pixels.

use std::ops::RangeInclusive;

/// More would run into each other in a small picture.
const MOST_TICKS: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    Linear,
    /// Each power of ten has the same room. Values have to be above zero.
    Logarithmic,
}

#[derive(Debug, Clone)]
pub(super) struct Axis {
    pub from: f64,
    pub to: f64,
    /// The pixels of `from` and `to`, which may be the larger first.
    pub pixels: (i32, i32),
    pub scale: Scale,
}

impl Axis {
    /// The pixel of `value`. What lies outside is put at the end, so that nothing is drawn over the texts.
    pub(super) fn at(&self, value: f64) -> i32 {
        let (from, to) = (self.linear(self.from), self.linear(self.to));
        let share = (self.linear(value.clamp(self.from, self.to)) - from) / (to - from);
        let (first, last) = (f64::from(self.pixels.0), f64::from(self.pixels.1));
        (first + share * (last - first)).round() as i32
    }

    fn linear(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => value,
            Scale::Logarithmic => value.max(f64::MIN_POSITIVE).log10(),
        }
    }

    /// Round values to write at the axis.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => self.even_ticks(),
            Scale::Logarithmic => self.decades(),
        }
    }

    fn even_ticks(&self) -> Vec<f64> {
        let rough = (self.to - self.from) / (MOST_TICKS - 1) as f64;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|step| *step >= rough * 0.999);
        let step = step.unwrap_or(10.0 * power);
        let first = (self.from / step - 1e-9).ceil() as i64;
        let last = (self.to / step + 1e-9).floor() as i64;
        (first..=last).map(|place| place as f64 * step).collect()
    }

    fn decades(&self) -> Vec<f64> {
        let powers = || {
            let range: RangeInclusive<i32> =
                self.from.log10().floor() as i32..=self.to.log10().ceil() as i32;
            range.map(|power| 10_f64.powi(power))
        };
        let inside = |value: &f64| (self.from * 0.999..=self.to * 1.001).contains(value);
        let with = |steps: &'static [f64]| -> Vec<f64> {
            let values = powers().flat_map(|power| steps.iter().map(move |step| step * power));
            values.filter(inside).collect()
        };
        // As many as there is room for.
        let choices: [&[f64]; 4] = [
            &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
            &[1.0, 2.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let choices = choices.map(with);
        let fitting = choices.iter().find(|ticks| ticks.len() <= MOST_TICKS);
        fitting.unwrap_or(&choices[3]).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(from: f64, to: f64, scale: Scale) -> Axis {
        Axis {
            from,
            to,
            pixels: (100, 300),
            scale,
        }
    }

    #[test]
    fn ticks_are_round_and_few() {
        for (from, to, scale, expected) in [
            (0.0, 1.0, Scale::Linear, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
            (0.5, 1.0, Scale::Linear, vec![0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
            (0.0, 47.0, Scale::Linear, vec![0.0, 10.0, 20.0, 30.0, 40.0]),
            (12.0, 45.0, Scale::Logarithmic, vec![20.0, 30.0, 40.0]),
            (
                1.0,
                9e5,
                Scale::Logarithmic,
                vec![1.0, 1e1, 1e2, 1e3, 1e4, 1e5],
            ),
        ] {
            let ticks = axis(from, to, scale).ticks();
            let close = |(tick, expected): (&f64, &f64)| (tick - expected).abs() < 1e-9;
            let same = ticks.len() == expected.len() && ticks.iter().zip(&expected).all(close);
            assert!(same, "{from}..{to}: {ticks:?}");
        }
    }

    #[test]
    fn values_outside_stay_at_the_ends() {
        let linear = axis(0.0, 1.0, Scale::Linear);
        assert_eq!(
            [-1.0, 0.0, 0.5, 7.0].map(|value| linear.at(value)),
            [100, 100, 200, 300]
        );
        let log = axis(1.0, 100.0, Scale::Logarithmic);
        assert_eq!(
            [0.0, 1.0, 10.0, 1e9].map(|value| log.at(value)),
            [100, 100, 200, 300]
        );
    }
}
