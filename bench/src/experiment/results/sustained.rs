//! The load up to which an arm keeps nine tenths of all requests within their targets.

use super::{CellResult, Contest, Sustained};

const KEPT: f64 = 0.9;

/// With fewer loads they lie too far apart to read anything between them.
const LEAST_LOADS: usize = 4;

/// Of every arm that ran at enough loads of the same traffic.
pub(super) fn all(cells: &[CellResult]) -> Vec<Sustained> {
    let mut found: Vec<Sustained> = Vec::new();
    for cell in cells {
        for contest in &cell.contests {
            for arm in &contest.arms {
                let curve = curve(cells, cell, contest, &arm.arm);
                let one = sustained(cell, contest, &arm.arm, &curve);
                if curve.len() >= LEAST_LOADS && !found.contains(&one) {
                    found.push(one);
                }
            }
        }
    }
    found
}

/// Attainment by load, loads rising.
fn curve(cells: &[CellResult], of: &CellResult, contest: &Contest, arm: &str) -> Vec<(f64, f64)> {
    let same = cells.iter().filter(|cell| {
        (&cell.engine, &cell.traffic, cell.dark_s) == (&of.engine, &of.traffic, of.dark_s)
    });
    let mut curve: Vec<_> = same
        .filter_map(|cell| {
            let mut contests = cell.contests.iter();
            let same = contests.find(|other| other.measures == contest.measures)?;
            Some((cell.load, same.arm(arm)?.attainment.mean))
        })
        .collect();
    curve.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    curve
}

fn sustained(cell: &CellResult, contest: &Contest, arm: &str, curve: &[(f64, f64)]) -> Sustained {
    let (load, is_open) = crossing(curve);
    Sustained {
        engine: cell.engine.clone(),
        traffic: cell.traffic.clone(),
        dark_s: cell.dark_s,
        measures: contest.measures,
        arm: arm.to_owned(),
        load,
        is_open,
    }
}

/// The load at which the curve first falls below what is to be kept, and whether it never does.
fn crossing(curve: &[(f64, f64)]) -> (Option<f64>, bool) {
    let mut last = None;
    for &(load, attained) in curve {
        if attained < KEPT {
            let between = |(before, kept): (f64, f64)| {
                before + (load - before) * (kept - KEPT) / (kept - attained)
            };
            return (last.map(between), false);
        }
        last = Some((load, attained));
    }
    (last.map(|(load, _)| load), last.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_load_is_where_the_curve_crosses() {
        let table = [
            (
                vec![(0.5, 1.0), (0.6, 0.95), (0.7, 0.75)],
                Some(0.625),
                false,
            ),
            (vec![(0.5, 1.0), (0.6, 0.95)], Some(0.6), true),
            (vec![(0.5, 0.8), (0.6, 0.95)], None, false),
            (Vec::new(), None, false),
        ];
        for (curve, load, is_open) in table {
            let found = crossing(&curve);
            assert_eq!(found.1, is_open, "{curve:?}");
            assert_eq!(found.0.is_some(), load.is_some(), "{curve:?}");
            let apart = found.0.unwrap_or(0.0) - load.unwrap_or(0.0);
            assert!(apart.abs() < 1e-9, "{curve:?}: {found:?}");
        }
    }
}
