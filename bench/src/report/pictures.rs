//! The figures as pictures, each small enough for a phone.

mod runs;

use super::{
    arms::{self, CONTROLLER, THRESHOLD},
    document::Figure,
    duels::with_most_measures,
    sustained::{Ladder, ladders},
    verdict::minutes,
};
use crate::{
    experiment::{Part, Results, results::CellResult},
    plot::{Curve, Curves, Key, Mark, RowOfMarks, Rows, Scale, Shade},
    study,
};

pub use runs::{latencies, timelines};

/// Where there is much to gain, and loads are compared.
const LOAD: f64 = 0.8;

/// Good requests a second against load; of several times away, the one in the middle.
pub fn goodput(parts: &[Results]) -> Vec<Figure> {
    let ladders = ladders(parts);
    let in_the_middle = ladders.iter().filter(|ladder| {
        let same = ladders
            .iter()
            .filter(|other| (other.engine, other.traffic) == (ladder.engine, ladder.traffic));
        let mut away: Vec<_> = same.map(|other| other.dark_s).collect();
        away.sort_unstable();
        away[away.len() / 2] == ladder.dark_s
    });
    in_the_middle.filter_map(goodput_of).collect()
}

fn goodput_of(ladder: &Ladder) -> Option<Figure> {
    let first = with_most_measures(ladder.cells.first()?)?;
    let mut names: Vec<&str> = first.arms.iter().map(|arm| arm.arm.as_str()).collect();
    names.sort_by_key(|name| arms::place(name));
    let curves: Vec<_> = names
        .into_iter()
        .map(|name| {
            let points = ladder
                .cells
                .iter()
                .filter_map(|cell| Some((cell.load, with_most_measures(cell)?.arm(name)?.goodput)));
            Curve {
                name: arms::short_name(name).to_owned(),
                shade: arms::shade(name),
                bold: name == CONTROLLER,
                points: points.collect(),
            }
        })
        .collect();
    let curves = Curves {
        x_label: "load",
        y_label: "good requests/s",
        curves: &curves,
    };
    Some(Figure {
        title: format!(
            "{}, {}, {} s away",
            ladder.engine, ladder.traffic, ladder.dark_s
        ),
        picture: curves.inline()?,
    })
}

/// Share in time of every arm, a picture for each phase length and time away, at one load, which is said too.
pub fn attainment(parts: &[Results]) -> Option<(f64, Vec<Figure>)> {
    let distance = |load: &f64| (load - LOAD).abs();
    let loads = of_part(parts, Part::Shifting).map(|cell| cell.load);
    let load = loads.min_by(|one, other| distance(one).total_cmp(&distance(other)))?;
    let chosen = of_part(parts, Part::Shifting).filter(|cell| cell.load.total_cmp(&load).is_eq());
    Some((load, chosen.filter_map(attainment_of).collect()))
}

/// The same of traffic that doesn't come in phases of one length.
pub fn varied(parts: &[Results]) -> Vec<Figure> {
    of_part(parts, Part::Varied)
        .filter_map(attainment_of)
        .collect()
}

/// The same of a scenario of the user's own.
pub fn given(parts: &[Results]) -> Vec<Figure> {
    of_part(parts, Part::Scenario)
        .filter_map(attainment_of)
        .collect()
}

fn of_part(parts: &[Results], part: Part) -> impl Iterator<Item = &CellResult> {
    let parts = parts.iter().filter(move |results| results.part == part);
    parts.flat_map(|results| &results.cells)
}

fn attainment_of(cell: &CellResult) -> Option<Figure> {
    let contest = with_most_measures(cell)?;
    let mut shown: Vec<_> = contest.arms.iter().collect();
    shown.sort_by_key(|arm| arms::place(&arm.arm));
    let rows: Vec<_> = shown
        .into_iter()
        .map(|arm| {
            let estimate = arm.attainment;
            let bar = Mark::Bar {
                to: estimate.mean,
                shade: arms::shade(&arm.arm),
            };
            let whisker = Mark::Whisker {
                from: (estimate.mean - estimate.half_width).clamp(0.0, 1.0),
                to: (estimate.mean + estimate.half_width).clamp(0.0, 1.0),
            };
            RowOfMarks {
                name: arms::short_name(&arm.arm).to_owned(),
                marks: vec![bar, whisker],
                note: format!("{:.2}", estimate.mean),
            }
        })
        .collect();
    let rows = Rows {
        x_label: "share of requests in time",
        scale: Scale::Linear,
        at_least: Some((0.0, 1.0)),
        target: None,
        key: &[],
        rows: &rows,
    };
    Some(Figure {
        title: format!("{}, {}, {} s away", cell.engine, cell.traffic, cell.dark_s),
        picture: rows.inline()?,
    })
}

/// How far each way of planning stays behind the oracle, a picture for each engine.
pub fn regret(parts: &[Results]) -> Vec<Figure> {
    let mut engines: Vec<&str> = Vec::new();
    for cell in of_part(parts, Part::Shifting) {
        if !engines.contains(&cell.engine.as_str()) {
            engines.push(&cell.engine);
        }
    }
    let figures = engines.into_iter().filter_map(|engine| {
        let cells = of_part(parts, Part::Shifting).filter(|cell| cell.engine == engine);
        regret_of(engine, cells)
    });
    figures.collect()
}

fn regret_of<'a>(engine: &str, cells: impl Iterator<Item = &'a CellResult>) -> Option<Figure> {
    const BEST_FIXED: Shade = Shade::Series(0);
    let key = [
        ("controller", arms::shade(CONTROLLER), false),
        ("threshold", arms::shade(THRESHOLD), false),
        ("best fixed", BEST_FIXED, true),
    ];
    let rows: Vec<_> = cells
        .filter_map(|cell| {
            let contest = with_most_measures(cell)?;
            let dot = |arm: &str, shade, hollow| {
                let regret = contest.arm(arm)?.regret?;
                let at = 100.0 * regret.mean;
                Some(Mark::Dot { at, shade, hollow })
            };
            let marks = [
                dot(&contest.best_fixed, BEST_FIXED, true),
                dot(THRESHOLD, arms::shade(THRESHOLD), false),
                dot(CONTROLLER, arms::shade(CONTROLLER), false),
            ];
            let phases = minutes(cell.phase_seconds?);
            Some(RowOfMarks {
                name: format!("{phases}, {}, {} s", cell.load, cell.dark_s),
                marks: marks.into_iter().flatten().collect(),
                note: String::new(),
            })
        })
        .collect();
    let rows = Rows {
        x_label: "points behind the oracle",
        scale: Scale::Linear,
        at_least: Some((0.0, 5.0)),
        target: None,
        key: &key.map(|(name, shade, hollow)| Key {
            name: name.to_owned(),
            shade,
            hollow,
        }),
        rows: &rows,
    };
    Some(Figure {
        title: engine.to_owned(),
        picture: rows.inline()?,
    })
}

/// Throughput of the study's runs, measured and simulated, a picture for each mix.
pub fn study(report: &study::Report) -> Vec<Figure> {
    const SIMULATED: Shade = Shade::Series(3);
    let mut mixes: Vec<&str> = Vec::new();
    for row in &report.rows {
        if !mixes.contains(&row.mix.as_str()) {
            mixes.push(&row.mix);
        }
    }
    let key = [
        ("measured", Shade::Ink, true),
        ("simulated", SIMULATED, false),
    ];
    let key = key.map(|(name, shade, hollow)| Key {
        name: name.to_owned(),
        shade,
        hollow,
    });
    let figure = |mix: &str| {
        let of_mix = report.rows.iter().filter(|row| row.mix == mix);
        let rows: Vec<_> = of_mix
            .map(|row| {
                let (measured, simulated) = (
                    row.measured.requests_per_second,
                    row.simulated.requests_per_second,
                );
                let marks = vec![
                    Mark::Span {
                        from: measured,
                        to: simulated,
                        shade: Shade::Rule,
                    },
                    Mark::Dot {
                        at: simulated,
                        shade: SIMULATED,
                        hollow: false,
                    },
                    Mark::Dot {
                        at: measured,
                        shade: Shade::Ink,
                        hollow: true,
                    },
                ];
                RowOfMarks {
                    name: format!("{} at {}", row.split, row.concurrency),
                    marks,
                    note: String::new(),
                }
            })
            .collect();
        let rows = Rows {
            x_label: "requests/s",
            scale: Scale::Linear,
            at_least: Some((0.0, 0.0)),
            target: None,
            key: &key,
            rows: &rows,
        };
        Some(Figure {
            title: format!("{mix} tokens"),
            picture: rows.inline()?,
        })
    };
    mixes.into_iter().filter_map(figure).collect()
}
