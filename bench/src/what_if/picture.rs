//! Two pictures: attainment at the rate that was asked for, and of the fixed splits over other rates.

use std::path::{Path, PathBuf};

use super::Answer;
use crate::plot::{self, PlotError};

/// Writes `PREFIX-attainment` and `PREFIX-rates`, each as `.svg` and `.png`, and returns what was written.
pub fn draw(answer: &Answer, prefix: &Path) -> Result<Vec<PathBuf>, PlotError> {
    let attainment = with_suffix(prefix, "-attainment");
    plot::bars(
        "Requests within their targets, by split",
        "share of requests",
        &attainments(answer),
        &attainment,
    )?;
    let rates = with_suffix(prefix, "-rates");
    plot::lines(
        "Requests within their targets as traffic grows, fixed splits",
        "rate, as a multiple of the traffic's",
        "share of requests",
        &over_rates(answer),
        &rates,
    )?;
    Ok(vec![attainment, rates])
}

fn attainments(answer: &Answer) -> Vec<(String, Vec<(String, f64)>)> {
    let fixed = answer.fixed.iter().map(|fixed| {
        let bar = ("fixed".to_owned(), fixed.figures.attainment);
        (fixed.split.clone(), vec![bar])
    });
    let moving = answer.ceilings.iter().filter_map(|ceiling| {
        let best = ceiling.best.as_ref()?;
        let bar = ("moving, best schedule".to_owned(), best.figures.attainment);
        let name = format!("{}, {} s away", best.levels, ceiling.dark_s);
        Some((name, vec![bar]))
    });
    fixed.chain(moving).collect()
}

fn over_rates(answer: &Answer) -> Vec<(String, Vec<(f64, f64)>)> {
    let splits = answer.fixed.iter().enumerate();
    splits
        .map(|(place, fixed)| {
            let points = answer.rates.iter();
            let points = points.map(|at| (at.rate, at.fixed[place].attainment));
            (fixed.split.clone(), points.collect())
        })
        .collect()
}

fn with_suffix(prefix: &Path, suffix: &str) -> PathBuf {
    let mut name = prefix.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
