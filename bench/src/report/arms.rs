//! The arms as a report names, orders and colours them: the same in every table and picture.

use policies::ratio::Split;

use crate::plot::Shade;

pub const CONTROLLER: &str = "controller";
pub const THRESHOLD: &str = "threshold";
pub const ORACLE: &str = "oracle";
pub const AGGREGATED: &str = "aggregated";
pub const AGGREGATED_AT_BEST: &str = "aggregated, at best";
pub const KNOWN_LENGTHS: &str = "controller, known lengths";
const ADVICE: &str = "controller, advise only";

/// In the order in which they are shown, with what they are called beside a line.
const KNOWN: [(&str, &str, Shade); 10] = [
    ("1P3D", "1P3D", Shade::Series(5)),
    ("2P2D", "2P2D", Shade::Series(0)),
    ("3P1D", "3P1D", Shade::Series(4)),
    (AGGREGATED, "aggregated", Shade::Series(6)),
    (AGGREGATED_AT_BEST, "aggr. at best", Shade::Faint),
    (THRESHOLD, "threshold", Shade::Series(1)),
    (ADVICE, "advise only", Shade::Series(7)),
    (CONTROLLER, "controller", Shade::Series(3)),
    (KNOWN_LENGTHS, "known lengths", Shade::Ink),
    (ORACLE, "oracle", Shade::Series(2)),
];

/// Where the arm comes in a list: splits by their prefill workers, then the others; after all of them, if it isn't known.
pub fn place(arm: &str) -> (usize, u32) {
    if let Ok(split) = arm.parse::<Split>() {
        return (0, split.prefill);
    }
    let place = KNOWN.iter().position(|(name, ..)| *name == arm);
    (place.unwrap_or(KNOWN.len()), 0)
}

/// Whether its workers read prompts and write answers alike, so that there is no split.
pub fn has_no_split(arm: &str) -> bool {
    [AGGREGATED, AGGREGATED_AT_BEST].contains(&arm)
}

pub fn short_name(arm: &str) -> &str {
    let known = KNOWN.iter().find(|(name, ..)| *name == arm);
    known.map_or(arm, |(_, short, _)| short)
}

pub fn shade(arm: &str) -> Shade {
    let known = KNOWN.iter().find(|(name, ..)| *name == arm);
    known.map_or(Shade::Faint, |(.., shade)| *shade)
}
