//! What the rounds gave, and the table of it.

use super::Turn;
use serde_json::{Value, json};
use std::fmt;

/// All rounds of one run.
#[derive(Debug)]
pub struct Report(pub Vec<Round>);

/// The same load through both routers, one right after the other.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Round {
    pub with: Turn,
    pub without: Turn,
}

/// Where the rounds lie.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Round {
    /// What measuring added, in microseconds an event.
    fn added(&self) -> f64 {
        self.with.micros_per_event() - self.without.micros_per_event()
    }

    fn added_percent(&self) -> f64 {
        self.added() / self.without.micros_per_event() * 1e2
    }
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.3} us an event with, {:.3} without",
            self.with.micros_per_event(),
            self.without.micros_per_event()
        )
    }
}

impl Spread {
    /// None of no values.
    fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        // Of an even number of values the mean of the two in the middle.
        let upper = *values.get(values.len() / 2)?;
        let lower = values[(values.len() - 1) / 2];
        Some(Self {
            least: values[0],
            median: f64::midpoint(lower, upper),
            most: values[values.len() - 1],
        })
    }

    fn to_json(self) -> Value {
        json!({"min": self.least, "median": self.median, "max": self.most})
    }
}

impl Report {
    fn spread(&self, of: impl Fn(&Round) -> f64) -> Option<Spread> {
        Spread::of(self.0.iter().map(of))
    }

    fn turns(&self) -> impl Iterator<Item = &Turn> {
        self.0
            .iter()
            .flat_map(|round| [&round.with, &round.without])
    }

    /// How many events came in one read of the client's.
    fn events_per_read(&self) -> f64 {
        let reads: u64 = self.turns().map(|turn| turn.reads).sum();
        self.events() as f64 / reads.max(1) as f64
    }

    fn events(&self) -> u64 {
        self.turns().map(|turn| turn.events).sum()
    }

    pub fn to_json(&self) -> Value {
        let spread = |of: fn(&Round) -> f64| self.spread(of).map(Spread::to_json);
        let rounds = self.0.iter().map(|round| {
            let turn = |turn: &Turn| json!({"cpu_s": turn.cpu_seconds, "events": turn.events, "reads": turn.reads});
            json!({"with": turn(&round.with), "without": turn(&round.without)})
        });
        json!({
            "with_us_per_event": spread(|round| round.with.micros_per_event()),
            "without_us_per_event": spread(|round| round.without.micros_per_event()),
            "added_us_per_event": spread(Round::added),
            "added_percent": spread(Round::added_percent),
            "events": self.events(),
            "events_per_read": self.events_per_read(),
            "rounds": rounds.collect::<Vec<_>>(),
        })
    }
}

/// As Markdown, so that it can be put into a document as it stands. The difference is taken within each round.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| router CPU | median | least | most |")?;
        writeln!(f, "|---|--:|--:|--:|")?;
        // Seconds a million events are microseconds an event.
        let rows = [
            (
                "with stream metrics, a million events",
                "s",
                self.spread(|round| round.with.micros_per_event()),
            ),
            (
                "without, a million events",
                "s",
                self.spread(|round| round.without.micros_per_event()),
            ),
            (
                "difference, a million events",
                "s",
                self.spread(Round::added),
            ),
            ("difference", "%", self.spread(Round::added_percent)),
        ];
        for (name, unit, spread) in rows {
            let Some(Spread {
                least,
                median,
                most,
            }) = spread
            else {
                continue;
            };
            writeln!(
                f,
                "| {name} | {median:.3} {unit} | {least:.3} {unit} | {most:.3} {unit} |"
            )?;
        }
        write!(
            f,
            "\n{} events in {} rounds, {:.2} events a read",
            self.events(),
            self.0.len(),
            self.events_per_read()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(with: f64, without: f64) -> Round {
        let turn = |cpu_seconds| Turn {
            cpu_seconds,
            events: 1_000_000,
            reads: 500_000,
        };
        Round {
            with: turn(with),
            without: turn(without),
        }
    }

    #[test]
    fn the_median_is_that_of_odd_and_even_numbers_of_rounds() {
        let median =
            |values: &[f64]| Spread::of(values.iter().copied()).map(|spread| spread.median);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 3.0, 5.0]), Some(4.0));
    }

    #[test]
    fn the_difference_is_taken_within_each_round() {
        // The machine slows down from round to round; the difference stays.
        let report = Report(vec![round(2.25, 2.0), round(4.25, 4.0), round(8.25, 8.0)]);
        let json = report.to_json();
        assert_eq!(
            json["added_us_per_event"],
            json!({"min": 0.25, "median": 0.25, "max": 0.25})
        );
        assert_eq!(json["with_us_per_event"]["median"], 4.25);
        assert_eq!(json["events_per_read"], 2.0);
        assert!(
            report
                .to_string()
                .contains("| difference, a million events | 0.250 s |"),
            "{report}"
        );
    }
}
