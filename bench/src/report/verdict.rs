//! The verdict in three sentences: whether a ratio that follows the traffic beats one that stays, from where on, and
//! where it loses.
//!
//! The rules are few. A cell is won or lost where the 95 % confidence interval of the difference to the best fixed split,
//! seed by seed, excludes 0. The first two sentences are about traffic that shifts and the router with all its measures,
//! which is how it runs; the third is about everything that was run.

use super::duels::{Duel, Outcome, Rival, Tally, duels};
use crate::experiment::Results;

/// As points: a hundredth of all requests.
pub fn points(share: f64) -> String {
    format!("{:.1}", 100.0 * share)
}

pub fn signed_points(share: f64) -> String {
    format!("{:+.1}", 100.0 * share)
}

/// Nothing, where the controller ran nowhere.
pub fn verdict(parts: &[Results]) -> Vec<String> {
    let all = duels(parts, Rival::BestFixed);
    let judged = judged(&all);
    let (Some(judged_tally), Some(all_tally)) = (Tally::of(&judged), Tally::of(&all)) else {
        return Vec::new();
    };
    vec![
        does_it_win(&judged, &judged_tally, parts),
        from_where_on(&judged),
        where_it_loses(&all_tally),
    ]
}

/// What the question is about: shifting traffic, all measures. Where that was not run, what comes nearest.
fn judged<'a>(all: &[Duel<'a>]) -> Vec<Duel<'a>> {
    let shifts = |duel: &Duel| duel.cell.phase_seconds.is_some();
    let any_shift = all.iter().any(shifts);
    let on_topic = |duel: &Duel| shifts(duel) || !any_shift;
    let any_both = all
        .iter()
        .any(|duel| on_topic(duel) && duel.has_both_measures());
    let chosen = all
        .iter()
        .filter(|duel| on_topic(duel) && (duel.has_both_measures() || !any_both));
    chosen.copied().collect()
}

fn does_it_win(judged: &[Duel], tally: &Tally, parts: &[Results]) -> String {
    let traffic = if judged.iter().all(|duel| duel.cell.phase_seconds.is_some()) {
        "On traffic that shifts"
    } else {
        "On traffic that does not shift"
    };
    let setting = if parts.iter().all(|results| results.simulated) {
        format!("{traffic} (simulated)")
    } else {
        traffic.to_owned()
    };
    let cells = plural(tally.cells(), "cell");
    if judged.iter().all(|duel| duel.over.half_width.is_nan()) {
        return format!(
            "{setting} one seed can't tell a difference from chance: the controller's share of requests served in time \
             differs from the best fixed split's by {} points in the mean of {cells}.",
            signed_points(tally.mean)
        );
    }
    let mean = format!("{} points in the mean of all", signed_points(tally.mean));
    if tally.wins == 0 && tally.loses == 0 {
        return format!(
            "{setting} a ratio that follows the traffic and the best fixed one, which nobody knows in advance, serve \
             equally many requests in time: none of {cells} shows a difference beyond chance ({mean})."
        );
    }
    let verb = if tally.wins > tally.loses {
        "serves more requests in time than the best fixed one"
    } else {
        "does not serve more requests in time than the best fixed one"
    };
    format!(
        "{setting} a ratio that follows the traffic {verb}, which nobody knows in advance: it is ahead beyond chance in {} \
         of {cells}, behind in {}, with no telling in {} ({mean}, {} at best).",
        tally.wins,
        tally.loses,
        tally.even,
        signed_points(tally.most.over.mean)
    )
}

fn from_where_on(judged: &[Duel]) -> String {
    let won: Vec<_> = judged
        .iter()
        .filter(|duel| duel.outcome() == Outcome::Wins)
        .collect();
    let shortest = won.iter().filter_map(|duel| duel.cell.phase_seconds).min();
    let dearest = won.iter().map(|duel| duel.cell.dark_s).max();
    let (Some(shortest), Some(dearest)) = (shortest, dearest) else {
        return "There is no phase length and no time that a worker is away for its change of role at which it is ahead."
            .to_owned();
    };
    let dearest_with_shortest = won
        .iter()
        .filter(|duel| duel.cell.phase_seconds == Some(shortest))
        .map(|duel| duel.cell.dark_s);
    let shortest_with_dearest = won
        .iter()
        .filter(|duel| duel.cell.dark_s == dearest)
        .filter_map(|duel| duel.cell.phase_seconds);
    format!(
        "The shortest phases with which it is ahead in any cell last {} (there with workers away for up to {} s when they \
         change their role), and the longest such absence with which it is ahead is {dearest} s (with phases of {} or more).",
        minutes(shortest),
        dearest_with_shortest.max().unwrap_or(dearest),
        minutes(shortest_with_dearest.min().unwrap_or(shortest)),
    )
}

fn where_it_loses(tally: &Tally) -> String {
    let cells = plural(tally.cells(), "cell");
    let Tally { least, loses, .. } = tally;
    if least.over.mean >= 0.0 {
        return format!(
            "Nowhere in all {cells} that were run, whatever the traffic, is it behind."
        );
    }
    let chance = match least.outcome() {
        Outcome::Loses => "",
        Outcome::Wins | Outcome::Even => ", which may be chance",
    };
    let behind = if *loses == 0 {
        "Nowhere".to_owned()
    } else {
        format!("In {loses}")
    };
    format!(
        "{behind} of all {cells} that were run, whatever the traffic and the router's measures, is it behind beyond \
         chance; the most that it loses to the best fixed split is {} points ({}){chance}.",
        points(-least.over.mean),
        least.place()
    )
}

pub fn plural(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

pub fn minutes(seconds: u32) -> String {
    if seconds.is_multiple_of(60) {
        format!("{} min", seconds / 60)
    } else {
        format!("{seconds} s")
    }
}
