//! The controller against one rival, cell by cell, seed by seed.

use super::arms::CONTROLLER;
use crate::experiment::{
    Measures, Results,
    results::{CellResult, Contest},
    statistics::Estimate,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rival<'a> {
    /// The fixed split that attains most in the cell, which nobody knows in advance.
    BestFixed,
    Arm(&'a str),
}

/// Who is ahead, where that is beyond chance: where the 95 % interval of the difference excludes 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Wins,
    Loses,
    Even,
}

#[derive(Debug, Clone, Copy)]
pub struct Duel<'a> {
    pub cell: &'a CellResult,
    pub contest: &'a Contest,
    /// The controller's attainment less the rival's.
    pub over: Estimate,
}

impl<'a> Duel<'a> {
    fn of(cell: &'a CellResult, contest: &'a Contest, rival: Rival) -> Option<Self> {
        let over = match rival {
            Rival::BestFixed => contest.over_best_fixed,
            Rival::Arm(name) => {
                let attained = |name| {
                    let runs = &contest.arm(name)?.runs;
                    Some(runs.iter().map(|run| run.attainment).collect::<Vec<_>>())
                };
                Estimate::of_differences(&attained(CONTROLLER)?, &attained(name)?)
            }
        };
        Some(Self {
            cell,
            contest,
            over,
        })
    }

    pub fn outcome(&self) -> Outcome {
        if !self.over.is_significant() {
            Outcome::Even
        } else if self.over.mean > 0.0 {
            Outcome::Wins
        } else {
            Outcome::Loses
        }
    }

    pub fn has_every_measure(&self) -> bool {
        self.contest.measures == Measures::EVERY
    }

    fn is_where(&self, other: &Self) -> bool {
        let place = |duel: &Self| {
            let CellResult {
                engine,
                traffic,
                load,
                dark_s,
                ..
            } = duel.cell;
            (engine.clone(), traffic.clone(), load.to_bits(), *dark_s)
        };
        self.contest.measures == other.contest.measures && place(self) == place(other)
    }

    /// In words; what the router did besides is said where that isn't all it can.
    pub fn place(&self) -> String {
        let CellResult {
            engine,
            traffic,
            load,
            dark_s,
            ..
        } = self.cell;
        let measures = if self.has_every_measure() {
            String::new()
        } else {
            format!(", measures: {}", self.contest.measures.name())
        };
        format!("{engine}, {traffic}, load {load}, {dark_s} s away{measures}")
    }
}

/// All duels of `parts` with `rival`, where both ran; each once, though two parts may have it.
pub fn duels<'a>(parts: &'a [Results], rival: Rival<'_>) -> Vec<Duel<'a>> {
    let mut duels: Vec<Duel> = Vec::new();
    for (cell, contest) in parts.iter().flat_map(Results::contests) {
        if let Some(duel) = Duel::of(cell, contest, rival)
            && !duels.iter().any(|other| other.is_where(&duel))
        {
            duels.push(duel);
        }
    }
    duels
}

/// The contest of a cell with all that the router can do besides, as far as it was run.
pub fn with_most_measures(cell: &CellResult) -> Option<&Contest> {
    let contests = cell.contests.iter();
    contests.max_by_key(|contest| contest.measures)
}

/// How duels ended.
#[derive(Debug, Clone, Copy)]
pub struct Tally<'a> {
    pub wins: usize,
    pub loses: usize,
    pub even: usize,
    pub mean: f64,
    /// The least favourable to the controller, and the most.
    pub least: Duel<'a>,
    pub most: Duel<'a>,
}

impl<'a> Tally<'a> {
    /// `None` of nothing.
    pub fn of(duels: &[Duel<'a>]) -> Option<Self> {
        let by_mean = |one: &&Duel, other: &&Duel| one.over.mean.total_cmp(&other.over.mean);
        let count = |outcome| {
            duels
                .iter()
                .filter(|duel| duel.outcome() == outcome)
                .count()
        };
        Some(Self {
            wins: count(Outcome::Wins),
            loses: count(Outcome::Loses),
            even: count(Outcome::Even),
            mean: duels.iter().map(|duel| duel.over.mean).sum::<f64>() / duels.len() as f64,
            least: *duels.iter().min_by(by_mean)?,
            most: *duels.iter().max_by(by_mean)?,
        })
    }

    pub const fn cells(&self) -> usize {
        self.wins + self.loses + self.even
    }
}
