//! How costs grow, as a table and as a picture.

use super::cells::{heading, line, ranged, those_of};
use crate::{
    peers::{
        comparison,
        contender::{Contender, Kind},
        results::{Figures, Results},
        scenario::{Ladder, Scenario, Step},
    },
    plot::{self, Panel, PlotError},
};
use std::path::Path;

/// The results that are compared, and those that are steps of a ladder: these stand behind the others.
pub(super) fn split(results: &[Results]) -> (&[Results], &[Results]) {
    results.split_at(results.partition_point(|results| step(results).is_none()))
}

fn step(results: &Results) -> Option<Step> {
    Scenario::named(&results.scenario)?.step
}

/// What is read of a turn on a ladder, in the unit of [`Ladder::cost`].
const fn read(ladder: Ladder) -> fn(&Figures) -> Option<f64> {
    match ladder {
        Ladder::Streams => |figures| Some(100.0 * figures.busy()?),
        Ladder::Workers | Ladder::PromptBytes => Figures::cpu_micros_per_unit,
    }
}

/// A row for each step.
pub(super) fn table(out: &mut String, steps: &[Results]) {
    let contenders = those_of(steps, |kind| kind != Kind::Nobody);
    heading(out, "what grows", "cost", &contenders);
    for (step, results) in steps.iter().filter_map(|it| Some((step(it)?, it))) {
        let cells = contenders.iter().map(|&contender| {
            let spread = comparison::spread(results, contender, read(step.ladder));
            spread.map_or_else(
                || "–".into(),
                |spread| ranged(spread, digits(spread.median)),
            )
        });
        let cells: Vec<String> = cells.collect();
        let (size, what, cost) = (step.size, step.ladder.counts(), step.ladder.cost());
        line(
            out,
            &format!("| {size} {what} | {cost} | {} |", cells.join(" | ")),
        );
    }
}

/// Digits behind the point, for figures that span decades.
fn digits(value: f64) -> usize {
    match value {
        value if value < 1.0 => 2,
        value if value < 100.0 => 1,
        _ => 0,
    }
}

/// A panel for each ladder.
pub(super) fn panels(steps: &[Results]) -> Vec<Panel> {
    let all = Ladder::ALL.into_iter();
    all.map(|ladder| panel(ladder, steps))
        .filter(|panel| !panel.series.is_empty())
        .collect()
}

fn panel(ladder: Ladder, steps: &[Results]) -> Panel {
    let of_ladder = |results| step(results).filter(|step| step.ladder == ladder);
    let of_ladder = steps.iter().filter_map(|it| Some((of_ladder(it)?, it)));
    let of_ladder: Vec<_> = of_ladder.collect();
    let line = |contender: Contender| {
        let steps = of_ladder.iter();
        let points: Vec<_> = steps
            .filter_map(|(step, results)| {
                let cost = comparison::spread(results, contender, read(ladder))?;
                Some((f64::from(step.size), cost.median))
            })
            .collect();
        (!points.is_empty()).then(|| (contender.to_string(), points))
    };
    let contenders = Contender::ALL.into_iter();
    let series = contenders
        .filter(|contender| contender.kind() != Kind::Nobody)
        .filter_map(line)
        .collect();
    Panel {
        x_label: ladder.counts().to_owned(),
        y_label: ladder.cost().to_owned(),
        series,
    }
}

pub(super) fn write(panels: &[Panel], path: &Path) -> Result<(), PlotError> {
    plot::growth_as_svg("What it costs as it grows", "in step with it", panels, path)
}
