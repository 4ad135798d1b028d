//! What was played beside what was simulated, to be read on a terminal: the verdict first.

use std::fmt;

use super::results::{Live, LiveResults, Side, TOLERANCE};
use crate::text_table::TextTable;

impl fmt::Display for LiveResults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n", verdict(&self.arms))?;
        let [one, other] = &self.kinds;
        let [rate, other_rate] = self.requests_per_second;
        writeln!(
            f,
            "{} workers, time scale {}; {one} at {rate:.1} requests/s and {other} at {other_rate:.1} take turns, {:.0} s \
             each ±40 %, {:.0} s in all{}.\nGood: TTFT within {} s and mean ITL within {} ms. Fresh-first, \
             requests wait for {} s at most; answers run to their ends before a role changes, after which a worker is away for {:.2} s.\nTimes are the \
             model's: those of the clock divided by the time scale. Simulated: the mean of {} draws of the routing \
             policy, with the least and the most that one of them attained.\n",
            self.workers,
            self.time_scale,
            self.phase_seconds,
            self.seconds,
            self.load
                .map_or_else(String::new, |load| format!(" (load {load})")),
            self.slo_ttft_s,
            self.slo_itl_s * 1e3,
            self.queue_seconds,
            self.away_s,
            self.draws(),
        )?;
        writeln!(f, "{}", self.attainment())?;
        writeln!(f, "{}", self.latencies())?;
        write!(f, "{}", self.conditions())
    }
}

/// One sentence.
fn verdict(arms: &[Live]) -> String {
    let tolerance = TOLERANCE * 1e2;
    let points = |live: &Live| format!("{:+.1}", live.difference() * 1e2);
    let apart: Vec<_> = arms.iter().filter(|live| !live.agrees()).collect();
    let far = |one: &&Live, other: &&Live| {
        let [one, other] = [one, other].map(|live| live.difference().abs());
        one.total_cmp(&other)
    };
    match arms.iter().max_by(far) {
        None => "Nothing was played.".to_owned(),
        Some(furthest) if apart.is_empty() => format!(
            "Live and simulated agree: attainment of all {} arms is within {tolerance:.0} points, the furthest is {} \
             ({} points).",
            arms.len(),
            furthest.arm,
            points(furthest)
        ),
        Some(_) => {
            let named: Vec<_> = apart
                .iter()
                .map(|live| format!("{} ({})", live.arm, points(live)))
                .collect();
            format!(
                "Live and simulated do not agree: of {} arms, attainment differs by more than {tolerance:.0} points in \
                 {}.",
                arms.len(),
                named.join(", ")
            )
        }
    }
}

fn share(value: f64) -> String {
    format!("{value:.3}")
}

fn millis(value: f64) -> String {
    format!("{value:.1}")
}

/// Both sides of a figure.
fn both(live: &Live, shown: fn(f64) -> String, of: fn(&Side) -> f64) -> [String; 2] {
    [shown(live.live(of)), shown(live.simulated(of))]
}

impl LiveResults {
    fn draws(&self) -> usize {
        let mut runs = self.arms.iter().flat_map(|live| &live.runs);
        runs.next().map_or(0, |run| run.simulated.len())
    }

    fn attainment(&self) -> TextTable {
        let [one, other] = &self.kinds;
        let (of_one, of_other) = (format!("{one} live"), format!("{other} live"));
        let mut table = TextTable::new([
            "arm",
            "attained live",
            "simulated",
            "points",
            "least",
            "most",
            of_one.as_str(),
            "simulated",
            of_other.as_str(),
            "simulated",
            "goodput live",
            "simulated",
            "moves live",
            "simulated",
        ]);
        for live in &self.arms {
            let [attained, simulated] = both(live, share, |side| side.figures.attainment);
            let [first, first_simulated] =
                both(live, share, |side| side.figures.attainment_by_kind[0]);
            let [second, second_simulated] =
                both(live, share, |side| side.figures.attainment_by_kind[1]);
            let [goodput, simulated_goodput] = both(live, millis, |side| side.figures.goodput);
            let [moves, simulated_moves] = both(live, millis, |side| side.moves);
            let draws = live.runs.iter().flat_map(|run| &run.simulated);
            let draws: Vec<_> = draws.map(|side| side.figures.attainment).collect();
            table.push([
                live.arm.clone(),
                attained,
                simulated,
                format!("{:+.1}", live.difference() * 1e2),
                share(draws.iter().copied().fold(1.0, f64::min)),
                share(draws.iter().copied().fold(0.0, f64::max)),
                first,
                first_simulated,
                second,
                second_simulated,
                goodput,
                simulated_goodput,
                moves,
                simulated_moves,
            ]);
        }
        table
    }

    fn latencies(&self) -> TextTable {
        let mut table = TextTable::new([
            "ms",
            "TTFT p50 live",
            "simulated",
            "p99 live",
            "simulated",
            "ITL p50 live",
            "simulated",
            "p99 live",
            "simulated",
        ]);
        for live in &self.arms {
            let [ttft, simulated_ttft] = both(live, millis, |side| side.figures.ttft_p50_ms);
            let [late_ttft, simulated_late_ttft] =
                both(live, millis, |side| side.figures.ttft_p99_ms);
            let [itl, simulated_itl] = both(live, millis, |side| side.figures.itl_p50_ms);
            let [late_itl, simulated_late_itl] = both(live, millis, |side| side.figures.itl_p99_ms);
            table.push([
                live.arm.clone(),
                ttft,
                simulated_ttft,
                late_ttft,
                simulated_late_ttft,
                itl,
                simulated_itl,
                late_itl,
                simulated_late_itl,
            ]);
        }
        table
    }

    fn conditions(&self) -> TextTable {
        let mut table = TextTable::new([
            "live, by run",
            "requests",
            "failed",
            "simulated",
            "failed moves",
            "drains, s",
            "away, s",
            "sent late p99, ms",
            "router's processors",
        ]);
        for live in &self.arms {
            for run in &live.runs {
                let cpus = run.router_cpus;
                table.push([
                    format!("{}, seed {}", live.arm, run.seed),
                    run.live.figures.requests.to_string(),
                    run.live.figures.failed.to_string(),
                    format!("{:.1}", run.simulated(|side| side.figures.failed as f64)),
                    run.failed_moves.to_string(),
                    format!("{:.1}", run.drain_s),
                    format!("{:.1}", run.away_s),
                    millis(run.sent_late_p99_s * 1e3),
                    cpus.map_or_else(String::new, |cpus| format!("{cpus:.2}")),
                ]);
            }
        }
        table
    }
}
