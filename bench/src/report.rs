//! A report of an experiment: a page for people, and the same in Markdown.
//!
//! It is made from what an experiment left in its directory and from nothing else, so that it can be made again and
//! never says more than was run. What is missing is named, with the command that makes it.

mod arms;
pub mod cli;
mod directory;
mod document;
mod duels;
mod html;
mod markdown;
mod pictures;
mod sustained;
mod tables;
mod verdict;

#[cfg(test)]
mod tests;

pub use self::{
    directory::{Directory, DirectoryError, Missing},
    document::Document,
};

use self::document::{Block, Figure, Section};
use crate::{
    experiment::{Measures, Results},
    study,
};

/// The report of `directory`, with the study's runs beside it.
pub fn document(directory: &Directory, study: Option<&study::Report>) -> Document {
    let parts = &directory.parts;
    let sections = [
        summary(parts),
        missing(directory),
        close_look(directory),
        shifting(parts),
        timelines(directory),
        study.map(against_the_study),
        every_cell(parts),
    ];
    Document {
        title: "Fixed and dynamic prefill/decode ratios".to_owned(),
        origin: origin(parts),
        verdict: verdict::verdict(parts),
        sections: sections
            .into_iter()
            .flatten()
            .filter(|section| !section.blocks.is_empty())
            .collect(),
    }
}

fn origin(parts: &[Results]) -> String {
    let simulated = if parts.iter().all(|results| results.simulated) {
        "All of it is simulated, in virtual time."
    } else {
        "Against workers, in real time."
    };
    let seeds = parts.iter().map(|results| results.seeds.len());
    let (least, most) = (seeds.clone().min().unwrap_or(0), seeds.max().unwrap_or(0));
    let seeds = if least == most {
        verdict::plural(most, "seed")
    } else {
        format!("{least} to {most} seeds")
    };
    let targets = parts.first().map_or_else(String::new, |results| {
        format!(
            " A request is in time if its first token comes within {} s and its tokens are {} ms apart or less in the mean.",
            results.slo_ttft_s,
            1000.0 * results.slo_itl_s
        )
    });
    format!(
        "{simulated}{targets} Every arm saw the same requests, with {seeds}; ± is half the 95 % confidence interval of the \
         differences seed by seed, by Student's t. One point is a hundredth of all requests."
    )
}

fn missing(directory: &Directory) -> Option<Section> {
    let missing = directory.missing.iter();
    let blocks: Vec<_> = missing
        .flat_map(|missing| {
            [
                Block::Text(missing.what.clone()),
                Block::Command(missing.command.clone()),
            ]
        })
        .collect();
    (!blocks.is_empty()).then(|| Section::new("What is missing here", blocks))
}

fn summary(parts: &[Results]) -> Option<Section> {
    let rivals = tables::rivals(parts)?;
    let mut blocks = vec![
        Block::Text(
            "With all of the router's measures (requests wait in the router, for decode too, and those that can still be in \
             time go first; a worker that is to move hands its answers over). Ahead and behind are beyond chance: about \
             one cell in twenty would be so by chance alone."
                .to_owned(),
        ),
        Block::Table(rivals),
    ];
    blocks.extend(tables::sustained(parts).map(Block::Table));
    Some(Section::new("The controller and its rivals", blocks))
}

fn shifting(parts: &[Results]) -> Option<Section> {
    let goodput = shown(
        "Good requests a second as the load grows. Load is a share of what the best split carries of each kind of request; \
         of recorded traffic it is how many times as many users there are, of the study's runs how many clients.",
        pictures::goodput(parts),
    );
    let attainment = pictures::attainment(parts).and_then(|(load, figures)| {
        let about = format!(
            "The share of requests in time at load {load}, by how long a kind of request lasts and how long a worker is away \
             when it changes its role. Dark lines are 95 % confidence intervals."
        );
        shown(&about, figures)
    });
    let regret = shown(
        "Regret: how many points each way of planning stays behind the oracle, which knows what comes. The rows name phase \
         length, load and time away.",
        pictures::regret(parts),
    );
    let varied = shown(
        "The share of requests in time of other traffic: a day, bursts, a slow drift, phases in which workers die.",
        pictures::varied(parts),
    );
    let given = shown(
        "The share of requests of the scenario in time, by how long a worker is away when it changes its role. Dark lines are \
         95 % confidence intervals.",
        pictures::given(parts),
    );
    let blocks = [given, goodput, attainment, varied, regret]
        .into_iter()
        .flatten();
    let blocks: Vec<_> = blocks.collect();
    (!blocks.is_empty()).then(|| Section::new("Loads, phases and the cost of a change", blocks))
}

/// Nothing where there is nothing to see.
fn shown(about: &str, figures: Vec<Figure>) -> Option<Block> {
    (!figures.is_empty()).then(|| Block::Pictures {
        about: about.to_owned(),
        figures,
    })
}

fn close_look(directory: &Directory) -> Option<Section> {
    let (results, cell, contest) = tables::looked_at(directory)?;
    let mut blocks = vec![Block::Table(tables::close_look(cell, contest))];
    blocks.extend(shown(
        "From left to right the median, nine tenths and ninety-nine hundredths; the line is the target, which the time \
         between tokens has to keep in the mean of each request only.",
        pictures::latencies(results, contest),
    ));
    Some(Section::new("One cell from nearby", blocks))
}

fn timelines(directory: &Directory) -> Option<Section> {
    let figures = pictures::timelines(&directory.timelines);
    let first = directory.timelines.first()?;
    let about = format!(
        "One run under each arm, with the same requests: {}, {}, load {}, {} s away, seed {}.",
        first.engine, first.traffic, first.load, first.dark_s, first.seed
    );
    Some(Section::new(
        "How a run goes",
        shown(&about, figures).into_iter().collect(),
    ))
}

fn against_the_study(study: &study::Report) -> Section {
    let accuracy = &study.accuracy;
    let text = format!(
        "dstack measured four workers of two H200 each, and the engine \"calibrated\" is fitted to these runs. The simulator \
         is off by {:.1} % in the mean for throughput ({:.0} % at worst), by {:.1} % for the time between tokens ({:.0} % at \
         worst) and by {:.0} % for the median time to first token ({:.0} % at worst).",
        100.0 * accuracy.throughput.mean,
        100.0 * accuracy.throughput.worst,
        100.0 * accuracy.mean_itl.mean,
        100.0 * accuracy.mean_itl.worst,
        100.0 * accuracy.median_ttft.mean,
        100.0 * accuracy.median_ttft.worst,
    );
    let mut blocks = vec![Block::Text(text)];
    blocks.extend(shown(
        "Throughput of each run: prompt and most output tokens, the split, and how many clients there were.",
        pictures::study(study),
    ));
    blocks.push(Block::Table(tables::study(study)));
    Section::new("The published study, measured and simulated", blocks)
}

fn every_cell(parts: &[Results]) -> Option<Section> {
    let mut all = vec![Block::Text(
        "The share of requests in time by arm; the best of those that don't know what comes stands out. The differences are the \
         controller's, in points; ▲ and ▼ are beyond chance."
            .to_owned(),
    )];
    for results in parts {
        let measures = Measures::ALL.into_iter().rev();
        let tables = measures.flat_map(|measures| tables::contests(results, measures));
        all.extend(tables.map(Block::Table));
    }
    (all.len() > 1).then(|| Section::new("Every cell", all))
}
