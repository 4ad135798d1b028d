//! One cell from nearby: how late requests are under each arm, and how one run of each went.

use super::super::{arms, document::Figure};
use crate::{
    experiment::{
        Results,
        results::Contest,
        timeline::{Point, Timeline},
    },
    plot::{Fill, Inline, Layer, Mark, RowOfMarks, Rows, Scale, Shade, Strip, Strips},
    scenario::Figures,
};

const PREFILL: Shade = Shade::Series(0);
const DECODE: Shade = Shade::Series(1);
const IN_TIME: Shade = Shade::Series(2);
const QUEUE: Shade = Shade::Series(4);

/// The median, nine tenths and ninety-nine hundredths, from left to right, with the target as a line.
pub fn latencies(results: &Results, contest: &Contest) -> Vec<Figure> {
    type Of = fn(&Figures) -> [f64; 3];
    let ttft: Of = |run| [run.ttft_p50_ms, run.ttft_p90_ms, run.ttft_p99_ms].map(seconds);
    let late: Of = |run| {
        [
            run.late_ttft_p50_ms,
            run.late_ttft_p90_ms,
            run.late_ttft_p99_ms,
        ]
        .map(seconds)
    };
    let itl: Of = |run| [run.itl_p50_ms, run.itl_p90_ms, run.itl_p99_ms];
    let (ttft_target, itl_target) = (results.slo_ttft_s, 1000.0 * results.slo_itl_s);
    let figures = [
        ("Time to first token", "seconds", ttft, ttft_target),
        (
            "Time to first token of late requests",
            "seconds",
            late,
            ttft_target,
        ),
        ("Time between tokens", "milliseconds", itl, itl_target),
    ];
    let figures = figures.into_iter().filter_map(|(title, unit, of, target)| {
        Some(Figure {
            title: title.to_owned(),
            picture: ranges(contest, unit, of, target)?,
        })
    });
    figures.collect()
}

fn seconds(millis: f64) -> f64 {
    millis / 1000.0
}

fn ranges(
    contest: &Contest,
    unit: &str,
    of: fn(&Figures) -> [f64; 3],
    target: f64,
) -> Option<Inline> {
    let mut shown: Vec<_> = contest.arms.iter().collect();
    shown.sort_by_key(|arm| arms::place(&arm.arm));
    let rows: Vec<_> = shown
        .into_iter()
        .map(|arm| {
            let shade = arms::shade(&arm.arm);
            let [p50, p90, p99] = of(&Figures::mean(&arm.runs));
            let dot = |at, hollow| Mark::Dot { at, shade, hollow };
            let span = Mark::Span {
                from: p50,
                to: p99,
                shade,
            };
            RowOfMarks {
                name: arms::short_name(&arm.arm).to_owned(),
                marks: vec![span, dot(p50, false), dot(p90, false), dot(p99, false)],
                note: String::new(),
            }
        })
        .collect();
    let rows = Rows {
        x_label: unit,
        scale: Scale::Logarithmic,
        at_least: None,
        target: Some(target),
        key: &[],
        rows: &rows,
    };
    rows.inline()
}

/// What came, and what each arm made of it. All have the same scale.
pub fn timelines(timelines: &[Timeline]) -> Vec<Figure> {
    let Some(first) = timelines.first() else {
        return Vec::new();
    };
    let queued = timelines.iter().flat_map(|timeline| &timeline.points);
    let most_queued = queued.map(|point| point.queued).max().unwrap_or(0);
    let traffic = Figure {
        title: format!("What came: {}, load {}", first.traffic, first.load),
        picture: match drawn(first, &traffic(&first.points)) {
            Some(picture) => picture,
            None => return Vec::new(),
        },
    };
    let arms = timelines.iter().filter_map(|timeline| {
        Some(Figure {
            title: timeline.arm.clone(),
            picture: drawn(timeline, &course(timeline, most_queued))?,
        })
    });
    std::iter::once(traffic).chain(arms).collect()
}

fn drawn(timeline: &Timeline, strips: &[Strip]) -> Option<Inline> {
    let last = timeline.points.last()?;
    let strips = Strips {
        x_label: "minutes",
        span: (0.0, (last.t_s + timeline.step_s) / 60.0),
        strips,
    };
    strips.inline()
}

fn layer(
    points: &[Point],
    shade: Shade,
    fill: Fill,
    of: impl Fn(&Point) -> Option<(f64, f64)>,
) -> Layer {
    Layer {
        shade,
        fill,
        steps: points
            .iter()
            .map(|point| (point.t_s / 60.0, of(point)))
            .collect(),
    }
}

fn traffic(points: &[Point]) -> Vec<Strip> {
    let strip = |name: &str, shade, of: fn(&Point) -> f64| {
        let most = points.iter().map(of).fold(0.0, f64::max);
        Strip {
            title: vec![(name.to_owned(), shade)],
            most,
            scale: Scale::Linear,
            most_in_words: in_thousands(most),
            layers: vec![layer(points, shade, Fill::Solid, |point| {
                Some((0.0, of(point)))
            })],
        }
    };
    vec![
        strip("prompt tokens/s", PREFILL, |point| {
            point.prompt_tokens_per_s
        }),
        strip("output tokens/s asked for", DECODE, |point| {
            point.output_tokens_per_s
        }),
    ]
}

fn course(timeline: &Timeline, most_queued: u32) -> Vec<Strip> {
    let points = &timeline.points;
    let workers = if arms::has_no_split(&timeline.arm) {
        undivided(points)
    } else {
        split(points)
    };
    let queue = Strip {
        title: vec![("waiting for a first token, logarithmic".to_owned(), QUEUE)],
        most: f64::from(most_queued),
        // Queues of tens matter, and some grow to tens of thousands.
        scale: Scale::Logarithmic,
        most_in_words: in_thousands(f64::from(most_queued)),
        layers: vec![layer(points, QUEUE, Fill::Solid, |point| {
            Some((0.0, f64::from(point.queued)))
        })],
    };
    let good = |point: &Point| Some((0.0, point.good_share?));
    let in_time = Strip {
        title: vec![("share in time".to_owned(), IN_TIME)],
        most: 1.0,
        scale: Scale::Linear,
        most_in_words: "1".to_owned(),
        layers: vec![
            layer(points, IN_TIME, Fill::Faint, good),
            layer(points, IN_TIME, Fill::Outline, good),
        ],
    };
    vec![workers, queue, in_time]
}

fn split(points: &[Point]) -> Strip {
    let workers = |point: &Point| point.prefill_workers + point.away + point.decode_workers;
    let most = points.iter().map(workers).max().unwrap_or(0);
    let away_from = |point: &Point| point.prefill_workers;
    let decode_from = |point: &Point| point.prefill_workers + point.away;
    Strip {
        title: vec![
            ("prefill".to_owned(), PREFILL),
            ("away".to_owned(), Shade::Faint),
            ("decode workers".to_owned(), DECODE),
        ],
        most: f64::from(most),
        scale: Scale::Linear,
        most_in_words: most.to_string(),
        layers: vec![
            layer(points, PREFILL, Fill::Solid, |point| {
                band(0, away_from(point))
            }),
            layer(points, Shade::Faint, Fill::Faint, |point| {
                band(away_from(point), decode_from(point))
            }),
            layer(points, DECODE, Fill::Solid, |point| {
                band(decode_from(point), workers(point))
            }),
        ],
    }
}

/// Each worker counts as one of either role.
fn undivided(points: &[Point]) -> Strip {
    let most = points.iter().map(|point| point.prefill_workers).max();
    let most = most.unwrap_or(0);
    Strip {
        title: vec![("workers that do both".to_owned(), Shade::Faint)],
        most: f64::from(most),
        scale: Scale::Linear,
        most_in_words: most.to_string(),
        layers: vec![layer(points, Shade::Faint, Fill::Solid, |point| {
            band(0, point.prefill_workers)
        })],
    }
}

fn band(from: u32, to: u32) -> Option<(f64, f64)> {
    (to > from).then(|| (f64::from(from), f64::from(to)))
}

fn in_thousands(number: f64) -> String {
    if number >= 10_000.0 {
        format!("{:.0}k", number / 1000.0)
    } else {
        format!("{number:.0}")
    }
}
