//! The same traffic at several loads, and the largest of them that an arm sustains.

use super::duels::with_most_measures;
use crate::experiment::{
    Results,
    results::{CellResult, Sustained},
};

/// Two loads say little of what lies between them.
const LEAST_LOADS: usize = 3;

#[derive(Debug, Clone)]
pub struct Ladder<'a> {
    pub engine: &'a str,
    pub traffic: &'a str,
    pub dark_s: u64,
    /// In the order of their loads.
    pub cells: Vec<&'a CellResult>,
    sustained: &'a [Sustained],
}

impl<'a> Ladder<'a> {
    fn is_of(&self, cell: &CellResult) -> bool {
        (self.engine, self.traffic, self.dark_s)
            == (cell.engine.as_str(), cell.traffic.as_str(), cell.dark_s)
    }

    /// What `arm` sustains with all of the router's measures.
    pub fn sustained(&self, arm: &str) -> Option<&'a Sustained> {
        let contest = with_most_measures(self.cells.first()?)?;
        self.sustained.iter().find(|one| {
            (one.engine.as_str(), one.traffic.as_str(), one.dark_s)
                == (self.engine, self.traffic, self.dark_s)
                && one.measures == contest.measures
                && one.arm == arm
        })
    }

    /// The best of the splits that stay, for this traffic.
    pub fn best_fixed(&self) -> Option<&'a Sustained> {
        let contest = with_most_measures(self.cells.first()?)?;
        let fixed = contest.arms.iter().filter(|arm| arm.is_fixed());
        let sustained = fixed.filter_map(|arm| self.sustained(&arm.arm));
        sustained.max_by(|one, other| {
            let load = |one: &Sustained| one.load.unwrap_or(f64::NEG_INFINITY);
            let by_load = load(one).total_cmp(&load(other));
            by_load.then(one.is_open.cmp(&other.is_open))
        })
    }
}

/// Every traffic that was tried at several loads, in the order in which they first come up; of the same traffic in two
/// parts, the part with more loads.
pub fn ladders(parts: &[Results]) -> Vec<Ladder<'_>> {
    let mut ladders: Vec<Ladder> = Vec::new();
    for ladder in parts.iter().flat_map(ladders_of) {
        let same = |other: &&mut Ladder| other.is_of(ladder.cells[0]);
        match ladders.iter_mut().find(same) {
            Some(other) if other.cells.len() < ladder.cells.len() => *other = ladder,
            Some(_) => {}
            None => ladders.push(ladder),
        }
    }
    ladders
}

fn ladders_of(results: &Results) -> Vec<Ladder<'_>> {
    let mut ladders: Vec<Ladder> = Vec::new();
    for cell in &results.cells {
        match ladders.iter_mut().find(|ladder| ladder.is_of(cell)) {
            Some(ladder) => ladder.cells.push(cell),
            None => ladders.push(Ladder {
                engine: &cell.engine,
                traffic: &cell.traffic,
                dark_s: cell.dark_s,
                cells: vec![cell],
                sustained: &results.sustained,
            }),
        }
    }
    ladders.retain(|ladder| ladder.cells.len() >= LEAST_LOADS);
    for ladder in &mut ladders {
        ladder
            .cells
            .sort_by(|one, other| one.load.total_cmp(&other.load));
    }
    ladders
}

pub fn in_words(sustained: &Sustained) -> String {
    match (sustained.load, sustained.is_open) {
        (None, _) => "none".to_owned(),
        (Some(load), true) => format!("≥ {load:.2}"),
        (Some(load), false) => format!("{load:.2}"),
    }
}

/// How many times as much `one` sustains as `other`, as far as that can be said.
pub fn times(one: &Sustained, other: &Sustained) -> Option<String> {
    let ratio = one.load? / other.load?;
    match (one.is_open, other.is_open) {
        (false, false) => Some(format!("{ratio:.2}×")),
        (true, false) => Some(format!("≥ {ratio:.2}×")),
        (false, true) => Some(format!("≤ {ratio:.2}×")),
        (true, true) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_says_no_more_than_is_known() {
        let sustained = |load, is_open| Sustained {
            engine: String::new(),
            traffic: String::new(),
            dark_s: 0,
            measures: crate::experiment::Measures::EVERY,
            arm: String::new(),
            load,
            is_open,
        };
        let (most, more, less) = (
            sustained(Some(0.9), true),
            sustained(Some(0.9), false),
            sustained(Some(0.6), false),
        );
        let none = sustained(None, false);
        for (one, other, expected) in [
            (&more, &less, Some("1.50×")),
            (&most, &less, Some("≥ 1.50×")),
            (&less, &most, Some("≤ 0.67×")),
            (&most, &most, None),
            (&more, &none, None),
        ] {
            assert_eq!(times(one, other).as_deref(), expected);
        }
        assert_eq!(
            [&most, &less, &none].map(in_words),
            ["≥ 0.90", "0.60", "none"]
        );
    }
}
