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

pub(super) fn write(results: &[Results], path: &Path) -> Result<(), PlotError> {
    let groups: Vec<_> = results
        .iter()
        .map(|results| (results.scenario.clone(), bars(results)))
        .filter(|(_, bars)| !bars.is_empty())
        .collect();
    plot::bars_as_svg(
        "Cost of a unit of work: CPU, or memory of a held stream",
        &format!("{} = 1", Contender::REFERENCE),
        &groups,
        path,
    )
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
