//! Medians and ratios over rounds.
//!
//! A ratio is taken within a round, where both contenders had the same machine minutes apart, and then the median of
//! the ratios: a machine that is slower in one round than in another moves both, and the ratio stays.

use super::{
    contender::Contender,
    results::{Figures, Results},
};

/// The middle of several rounds, and how far they reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub most: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Some(Self {
            median,
            least,
            most,
        })
    }
}

/// A figure of a contender over the rounds.
pub fn spread(
    results: &Results,
    contender: Contender,
    figure: impl Fn(&Figures) -> Option<f64>,
) -> Option<Spread> {
    Spread::of(
        results
            .of(contender)
            .filter_map(|(_, figures)| figure(figures)),
    )
}

/// A figure of a contender as a multiple of another's, over the rounds that have both.
pub fn ratio(
    results: &Results,
    contender: Contender,
    to: Contender,
    figure: impl Fn(&Figures) -> Option<f64>,
) -> Option<Spread> {
    let others: Vec<(u32, f64)> = results
        .of(to)
        .filter_map(|(round, figures)| Some((round, figure(figures)?)))
        .collect();
    let in_round = |round| {
        let found = others.iter().find(|(other, _)| *other == round);
        found.map(|(_, value)| *value)
    };
    Spread::of(results.of(contender).filter_map(|(round, figures)| {
        let (mine, other) = (figure(figures)?, in_round(round)?);
        (other > 0.0).then(|| mine / other)
    }))
}

/// What a figure is more than without a router, over the rounds that have both: a latency, less the workers' own.
pub fn added(
    results: &Results,
    contender: Contender,
    figure: impl Fn(&Figures) -> Option<f64> + Copy,
) -> Option<Spread> {
    let direct: Vec<(u32, f64)> = results
        .of(Contender::Direct)
        .filter_map(|(round, figures)| Some((round, figure(figures)?)))
        .collect();
    Spread::of(results.of(contender).filter_map(|(round, figures)| {
        let found = direct.iter().find(|(other, _)| *other == round)?;
        Some(figure(figures)? - found.1)
    }))
}

#[cfg(test)]
mod tests;
