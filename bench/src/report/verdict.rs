//! The verdict in three sentences: whether a ratio that follows the traffic beats one that stays, from where on, and
//! where it loses.
//!
//! A fourth sentence says where workers without a split beat both, if they do anywhere. The rules are few. A cell is won or lost where the 95 % confidence interval of the difference to the best fixed split,
//! seed by seed, excludes 0. The first two sentences are about traffic that shifts and the router with all its measures,
//! which is how it runs; the third is about everything that was run.

use super::{
    arms::{AGGREGATED, AGGREGATED_AT_BEST},
    duels::{Duel, Outcome, Rival, Tally, duels},
};
use crate::experiment::{Part, Results};

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
    let mut sentences = vec![
        does_it_win(&judged, &judged_tally, parts),
        from_where_on(&judged, is_of_a_scenario(parts)),
        where_it_loses(&all_tally),
    ];
    sentences.extend(without_a_split(parts));
    sentences
}

/// What the question is about: shifting traffic, all measures. Where that was not run, what comes nearest.
fn judged<'a>(all: &[Duel<'a>]) -> Vec<Duel<'a>> {
    let shifts = |duel: &Duel| duel.cell.phase_seconds.is_some();
    let any_shift = all.iter().any(shifts);
    let on_topic = |duel: &Duel| shifts(duel) || !any_shift;
    let any_every = all
        .iter()
        .any(|duel| on_topic(duel) && duel.has_every_measure());
    let chosen = all
        .iter()
        .filter(|duel| on_topic(duel) && (duel.has_every_measure() || !any_every));
    chosen.copied().collect()
}

/// That there may be a better way than any split is said where one was found.
fn without_a_split(parts: &[Results]) -> Option<String> {
    let better = [AGGREGATED, AGGREGATED_AT_BEST]
        .into_iter()
        .filter_map(|arm| {
            let all = duels(parts, Rival::Arm(arm));
            let tally = Tally::of(&judged(&all)).filter(|tally| tally.loses > 0)?;
            Some(format!(
                "as \"{arm}\" in {} of {} ({} points of all requests in the mean)",
                tally.loses,
                plural(tally.cells(), "cell"),
                signed_points(-tally.mean)
            ))
        });
    let better: Vec<_> = better.collect();
    (!better.is_empty()).then(|| {
        format!(
            "Workers that do both, without any split, beat it on the same traffic: {}.",
            better.join(", ")
        )
    })
}

fn does_it_win(judged: &[Duel], tally: &Tally, parts: &[Results]) -> String {
    let shifts = judged.iter().all(|duel| duel.cell.phase_seconds.is_some());
    let given = is_of_a_scenario(parts);
    let simulated = parts.iter().all(|results| results.simulated);
    let setting = format!(
        "On {}{}, a ratio that follows the traffic",
        match (given, shifts) {
            (true, _) => "the traffic of the scenario",
            (false, true) => "traffic that shifts",
            (false, false) => "traffic that does not shift",
        },
        if simulated { " (simulated)" } else { "" }
    );
    let Tally {
        wins, loses, even, ..
    } = tally;
    let cells = plural(tally.cells(), "cell");
    let mean = signed_points(tally.mean);
    if judged.iter().all(|duel| duel.over.half_width.is_nan()) {
        return format!(
            "{setting} serves {mean} points of all requests in time over the best fixed ratio in the mean of {cells}, which \
             with one seed can't be told from chance."
        );
    }
    if let (true, [duel]) = (given, judged) {
        return format!("{setting} {}", how_it_ended(duel));
    }
    if (*wins, *loses) == (0, 0) {
        return format!(
            "{setting} and the best fixed ratio are level: none of {cells} shows a difference beyond chance ({mean} points of \
             all requests in the mean)."
        );
    }
    let best = signed_points(tally.most.over.mean);
    format!(
        "{setting} beats the best fixed ratio, which nobody knows in advance, in {wins} of {cells}, loses in {loses} and is \
         level in {even}: {mean} points of all requests served in time in the mean, {best} at best."
    )
}

/// The user's own, which has one traffic.
fn is_of_a_scenario(parts: &[Results]) -> bool {
    parts.iter().all(|results| results.part == Part::Scenario)
}

fn how_it_ended(duel: &Duel) -> String {
    let (best, mean) = (&duel.contest.best_fixed, signed_points(duel.over.mean));
    match duel.outcome() {
        Outcome::Wins => format!(
            "beats the best fixed ratio ({best}), which nobody knows in advance: {mean} points of all requests served in time."
        ),
        Outcome::Loses => format!(
            "loses against the best fixed ratio ({best}), which nobody knows in advance: {mean} points of all requests served \
             in time."
        ),
        Outcome::Even => format!(
            "and the best fixed ratio ({best}) are level: the difference of {mean} points of all requests may be chance."
        ),
    }
}

fn from_where_on(judged: &[Duel], given: bool) -> String {
    let won: Vec<_> = judged
        .iter()
        .filter(|duel| duel.outcome() == Outcome::Wins)
        .map(|duel| duel.cell)
        .collect();
    let shortest = won.iter().filter_map(|cell| cell.phase_seconds).min();
    let dearest = won.iter().map(|cell| cell.dark_s).max();
    if given {
        return dearest.map_or_else(
            || "There is no cost of a role change among those tried at which it wins.".to_owned(),
            |dearest| {
                format!(
                    "It wins with role changes that keep a worker away for as long as {dearest} s."
                )
            },
        );
    }
    let (Some(shortest), Some(dearest)) = (shortest, dearest) else {
        return "There is no phase length and no cost of a role change among those tried at which it wins.".to_owned();
    };
    let with_shortest = won
        .iter()
        .filter(|cell| cell.phase_seconds == Some(shortest));
    let with_dearest = won.iter().filter(|cell| cell.dark_s == dearest);
    format!(
        "It wins with phases as short as {} (where a role change keeps a worker away for up to {} s), and with role changes \
         that keep a worker away for as long as {dearest} s (where phases last {} or more).",
        minutes(shortest),
        with_shortest
            .map(|cell| cell.dark_s)
            .max()
            .unwrap_or(dearest),
        minutes(
            with_dearest
                .filter_map(|cell| cell.phase_seconds)
                .min()
                .unwrap_or(shortest)
        ),
    )
}

fn where_it_loses(tally: &Tally) -> String {
    let Tally { least, loses, .. } = tally;
    let over_all = format!(
        "Over all {} that were run, with and without the router's measures, it",
        plural(tally.cells(), "comparison")
    );
    if least.over.mean >= 0.0 {
        return format!("{over_all} is nowhere behind.");
    }
    let chance = match least.outcome() {
        Outcome::Loses => "",
        Outcome::Wins | Outcome::Even => ", which may be chance,",
    };
    let loses = if *loses == 0 {
        "none".to_owned()
    } else {
        loses.to_string()
    };
    format!(
        "{over_all} loses in {loses} beyond chance; the largest loss against the best fixed ratio{chance} is {} points ({}).",
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
