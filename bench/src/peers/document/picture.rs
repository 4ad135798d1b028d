//! The picture: what a unit of work costs each contender, as a multiple of what it costs the peer to beat.

use crate::{
    peers::{
        comparison,
        contender::{Contender, Kind},
        results::Results,
        table,
    },
    plot::{self, PlotError},
};
use std::path::Path;

/// A scenario, and the cost of each contender in it.
pub(super) type Group = (String, Vec<(String, f64)>);

pub(super) fn write(groups: &[Group], path: &Path) -> Result<(), PlotError> {
    plot::bars_as_svg(
        "Cost of a unit of work: CPU, or memory of a held stream",
        &format!("{} = 1", Contender::REFERENCE),
        groups,
        path,
    )
}

/// The scenarios that the reference has figures in.
pub(super) fn groups(results: &[Results]) -> Vec<Group> {
    let all = results.iter();
    all.map(|results| (results.scenario.clone(), bars(results)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect()
}

fn bars(results: &Results) -> Vec<(String, f64)> {
    let costs = Contender::ALL
        .into_iter()
        .filter(|contender| contender.kind() != Kind::Nobody);
    costs
        .filter_map(|contender| {
            let reference = Contender::REFERENCE;
            let ratio = comparison::ratio(results, contender, reference, table::main_figure)?;
            Some((contender.to_string(), ratio.median))
        })
        .collect()
}
