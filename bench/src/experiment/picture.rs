//! One picture: what the arms attain, by the length of phases and the time that a worker is away.

use std::path::{Path, PathBuf};

use super::report::Report;
use crate::plot::{self, PlotError};

/// Where there is much to gain, with all that the router can do besides.
fn shown(report: &Report) -> Vec<(String, Vec<(String, f64)>)> {
    let load = super::grid::MEASURED_APART;
    let cells = report.cells.iter();
    let cells = cells.filter(|cell| {
        cell.engine == super::Engine::Calibrated.name() && cell.load.total_cmp(&load).is_eq()
    });
    cells
        .filter_map(|cell| {
            let contests = cell.contests.iter();
            let best = contests.max_by_key(|contest| (contest.fresh_first, contest.migrate))?;
            let arms = best.arms.iter();
            let bars = arms.map(|arm| (arm.arm.clone(), arm.attainment.mean));
            // Names stand upright, and longer ones would not fit.
            let traffic = cell.traffic.trim_start_matches("phases of ");
            let name = format!("{traffic}, {} s away", cell.dark_s);
            Some((name, bars.collect()))
        })
        .collect()
}

/// Draws it; nothing where the report has no such cells. Answers the path without its extensions.
pub fn draw(report: &Report, path: PathBuf) -> Result<Option<PathBuf>, PlotError> {
    let groups = shown(report);
    if groups.is_empty() {
        return Ok(None);
    }
    let title =
        "Simulated: requests within their targets at load 0.8, with fresh-first and migration";
    let write = |path: &Path| plot::bars(title, "share of requests", &groups, path);
    write(&path)?;
    Ok(Some(path))
}
