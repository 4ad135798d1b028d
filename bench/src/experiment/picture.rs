//! One picture: what the arms attain, by the length of phases and the time that a worker is away.

use std::path::Path;

use super::{grid::MEASURED_APART, results::Results};
use crate::plot::{self, PlotError};

/// Where there is much to gain, with all that the router can do besides.
fn shown(results: &Results) -> Vec<(String, Vec<(String, f64)>)> {
    let cells = results.cells.iter();
    let cells = cells.filter(|cell| {
        cell.engine == super::Engine::Calibrated.name()
            && cell.phase_seconds.is_some()
            && cell.load.total_cmp(&MEASURED_APART).is_eq()
    });
    cells
        .filter_map(|cell| {
            let contests = cell.contests.iter();
            let best = contests.max_by_key(|contest| contest.measures)?;
            // What else the controller is tried as has no place and no colour of its own here.
            let arms = best
                .arms
                .iter()
                .filter(|arm| !arm.arm.starts_with("controller,"));
            let bars = arms.map(|arm| (arm.arm.clone(), arm.attainment.mean));
            // Names stand upright, and longer ones would not fit.
            let traffic = cell.traffic.trim_start_matches("phases of ");
            let name = format!("{traffic}, {} s away", cell.dark_s);
            Some((name, bars.collect()))
        })
        .collect()
}

/// Draws it at `path` with the extensions .svg and .png; nothing where the results have no such cells.
pub fn draw(results: &Results, path: &Path) -> Result<(), PlotError> {
    let groups = shown(results);
    if groups.is_empty() {
        return Ok(());
    }
    let title =
        "Simulated: requests within their targets at load 0.8, with all of the router's measures";
    plot::bars(title, "share of requests", &groups, path)
}
