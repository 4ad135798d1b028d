//! The largest load at which nine of ten requests are served in time.

use std::fmt;

use super::duels::with_most_measures;
use crate::experiment::{Results, results::CellResult};

/// The share of requests in time that counts as sustained.
pub const ENOUGH: f64 = 0.9;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sustained {
    /// Not even the smallest load that was tried.
    Below(f64),
    /// Between two loads that were tried, in proportion.
    At(f64),
    /// The largest load that was tried.
    AtLeast(f64),
}

impl fmt::Display for Sustained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Below(load) => write!(f, "< {load:.2}"),
            Self::At(load) => write!(f, "{load:.2}"),
            Self::AtLeast(load) => write!(f, "≥ {load:.2}"),
        }
    }
}

impl Sustained {
    /// Of (load, share in time), the loads in order. `None` where fewer than two loads were tried.
    fn of(attained: &[(f64, f64)]) -> Option<Self> {
        if attained.len() < 2 {
            return None;
        }
        let first = attained.first()?;
        if first.1 < ENOUGH {
            return Some(Self::Below(first.0));
        }
        let fall = attained.windows(2).find(|pair| pair[1].1 < ENOUGH);
        Some(fall.map_or_else(
            || Self::AtLeast(attained[attained.len() - 1].0),
            |pair| {
                let ((from, high), (to, low)) = (pair[0], pair[1]);
                Self::At(from + (to - from) * (high - ENOUGH) / (high - low))
            },
        ))
    }

    /// To put them in order.
    const fn load(self) -> f64 {
        match self {
            Self::Below(load) => load - f64::EPSILON,
            Self::At(load) => load,
            Self::AtLeast(load) => load + f64::EPSILON,
        }
    }

    /// How many times as much as `other`, as far as that can be said.
    pub fn over(self, other: Self) -> Option<String> {
        match (self, other) {
            (Self::At(load), Self::At(other)) => Some(format!("{:.2}×", load / other)),
            (Self::AtLeast(load), Self::At(other)) => Some(format!("≥ {:.2}×", load / other)),
            (Self::At(load), Self::AtLeast(other)) => Some(format!("≤ {:.2}×", load / other)),
            (Self::Below(_), _) | (_, Self::Below(_)) | (Self::AtLeast(_), Self::AtLeast(_)) => {
                None
            }
        }
    }
}

/// The same traffic at several loads.
#[derive(Debug, Clone, PartialEq)]
pub struct Ladder<'a> {
    pub engine: &'a str,
    pub traffic: &'a str,
    pub dark_s: u64,
    /// In the order of their loads.
    pub cells: Vec<&'a CellResult>,
}

impl Ladder<'_> {
    /// What `arm` sustains with all of the router's measures.
    pub fn sustained(&self, arm: &str) -> Option<Sustained> {
        let attained = self.cells.iter().filter_map(|cell| {
            let contest = with_most_measures(cell)?;
            Some((cell.load, contest.arm(arm)?.attainment.mean))
        });
        Sustained::of(&attained.collect::<Vec<_>>())
    }

    /// The best of the splits that stay, for this traffic.
    pub fn best_fixed(&self) -> Option<(&str, Sustained)> {
        let contest = with_most_measures(self.cells.first()?)?;
        let fixed = contest.arms.iter().filter(|arm| arm.is_fixed());
        let sustained = fixed.filter_map(|arm| Some((arm.arm.as_str(), self.sustained(&arm.arm)?)));
        sustained.max_by(|(_, one), (_, other)| one.load().total_cmp(&other.load()))
    }
}

/// Every traffic that was tried at more than one load, in the order in which they first come up.
pub fn ladders(parts: &[Results]) -> Vec<Ladder<'_>> {
    let mut ladders: Vec<Ladder> = Vec::new();
    for cell in parts.iter().flat_map(|results| &results.cells) {
        let same = |ladder: &&mut Ladder| {
            (ladder.engine, ladder.traffic, ladder.dark_s)
                == (cell.engine.as_str(), cell.traffic.as_str(), cell.dark_s)
        };
        match ladders.iter_mut().find(same) {
            Some(ladder) => ladder.cells.push(cell),
            None => ladders.push(Ladder {
                engine: &cell.engine,
                traffic: &cell.traffic,
                dark_s: cell.dark_s,
                cells: vec![cell],
            }),
        }
    }
    ladders.retain(|ladder| ladder.cells.len() > 1);
    for ladder in &mut ladders {
        ladder
            .cells
            .sort_by(|one, other| one.load.total_cmp(&other.load));
    }
    ladders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_found_between_those_that_were_tried() {
        for (attained, expected) in [
            (vec![(0.6, 1.0), (0.8, 0.8)], Some("0.70")),
            (vec![(0.6, 0.8), (0.8, 0.95)], Some("< 0.60")),
            (vec![(0.6, 1.0), (0.8, 0.9)], Some("≥ 0.80")),
            (vec![(0.6, 1.0)], None),
        ] {
            let sustained = Sustained::of(&attained).map(|load| load.to_string());
            assert_eq!(sustained.as_deref(), expected, "{attained:?}");
        }
    }

    #[test]
    fn a_ratio_says_no_more_than_is_known() {
        use Sustained::{At, AtLeast, Below};
        for (one, other, expected) in [
            (At(0.9), At(0.6), Some("1.50×")),
            (AtLeast(0.9), At(0.6), Some("≥ 1.50×")),
            (At(0.6), AtLeast(0.9), Some("≤ 0.67×")),
            (AtLeast(0.9), AtLeast(0.9), None),
            (At(0.9), Below(0.6), None),
        ] {
            assert_eq!(one.over(other).as_deref(), expected);
        }
    }
}
