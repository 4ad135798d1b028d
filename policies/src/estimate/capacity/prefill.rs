//! The prefill line: a batch's time against its tokens.
//!
//! The counters have tokens and time, and not how many batches there were, which has to be found with the line. A
//! window's count is the whole number that fits it best, and the line that which fits the windows best, by turns. That
//! ends near where it begins, so there are two beginnings: the prior, and the prior scaled so that the fastest windows
//! had as few batches as their tokens allow. The second is right for a worker of another speed as soon as some windows
//! hold a single batch, or full ones.

use std::collections::VecDeque;

use super::{BELIEVED, WorkerCounters};
use crate::model::PrefillModel;

/// What was computed between two looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct PrefillWindow {
    tokens: f64,
    seconds: f64,
}

/// Batches on the prior's line, of each of two sizes.
const PRIOR_BATCHES: f64 = 2.0;
const PRIOR_TOKENS: [f64; 2] = [128.0, 8_192.0];
/// Turns of counting and drawing; most end after three.
const TURNS: usize = 12;
/// The share of windows that count as the fastest: one in so many.
const FASTEST: usize = 20;

impl PrefillWindow {
    /// `None` where nothing was computed, and where the sums went back: the worker restarted, or the reading is an old
    /// one.
    pub(super) fn between(before: &WorkerCounters, now: &WorkerCounters) -> Option<Self> {
        let tokens = now.prefill_tokens.checked_sub(before.prefill_tokens)?;
        let busy = now.prefill_busy_us.checked_sub(before.prefill_busy_us)?;
        (tokens > 0 && busy > 0).then_some(Self {
            tokens: tokens as f64,
            seconds: busy as f64 / 1e6,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Line {
    base: f64,
    per_token: f64,
}

impl Line {
    /// Seconds of so many tokens in so many batches.
    fn seconds(&self, batches: f64, tokens: f64) -> f64 {
        batches * self.base + tokens * self.per_token
    }

    fn scaled(self, factor: f64) -> Self {
        Self {
            base: self.base * factor,
            per_token: self.per_token * factor,
        }
    }
}

/// Seconds for a batch, and for each of its tokens.
pub(super) fn line(windows: &VecDeque<PrefillWindow>, prior: &PrefillModel) -> (f64, f64) {
    let fit = Fit { windows, prior };
    let begun = fit.prior_line();
    let (near, near_off) = fit.from(begun);
    let (far, far_off) = fit.from(begun.scaled(fit.fastest()));
    let best = if far_off < near_off { far } else { near };
    (best.base, best.per_token)
}

struct Fit<'a> {
    windows: &'a VecDeque<PrefillWindow>,
    prior: &'a PrefillModel,
}

impl Fit<'_> {
    fn prior_line(&self) -> Line {
        Line {
            base: self.prior.batch_base,
            per_token: self.prior.per_token,
        }
    }

    fn fewest_batches(&self, window: &PrefillWindow) -> f64 {
        let most = f64::from(self.prior.max_batch_tokens.max(1));
        (window.tokens / most).ceil().max(1.0)
    }

    /// How many times the prior's time the fastest windows take, with as few batches as can be.
    fn fastest(&self) -> f64 {
        let prior = self.prior_line();
        let mut factors: Vec<f64> = self
            .windows
            .iter()
            .map(|window| {
                window.seconds / prior.seconds(self.fewest_batches(window), window.tokens)
            })
            .collect();
        factors.sort_by(f64::total_cmp);
        let factor = factors.get(factors.len() / FASTEST).copied();
        factor.unwrap_or(1.0).clamp(1.0 / BELIEVED, BELIEVED)
    }

    fn batches(&self, window: &PrefillWindow, line: Line) -> f64 {
        let fewest = self.fewest_batches(window);
        // A prompt has at least one token, and a batch at least one prompt.
        let most = window.tokens.max(fewest);
        let base = line.base.max(self.prior.batch_base / BELIEVED).max(1e-9);
        let left = window.seconds - window.tokens * line.per_token;
        (left / base).round().clamp(fewest, most)
    }

    /// The line that is reached from `line`, and how far the windows are off whole batches of it: in batches, since half
    /// the base and twice the batches fit as well.
    fn from(&self, mut line: Line) -> (Line, f64) {
        for _ in 0..TURNS {
            let next = self.drawn(line);
            if next == line {
                break;
            }
            line = next;
        }
        let off = self.windows.iter().map(|window| {
            let batches = self.batches(window, line);
            (window.seconds - line.seconds(batches, window.tokens)).powi(2) / batches
        });
        (line, off.sum::<f64>() / line.base.powi(2))
    }

    /// Least squares with the batches counted by `line`. A window of more batches varies by as much more.
    fn drawn(&self, line: Line) -> Line {
        let prior = self.prior_line();
        let made_up = PRIOR_TOKENS.map(|tokens| {
            let tokens = tokens * PRIOR_BATCHES;
            (PRIOR_BATCHES, tokens, prior.seconds(PRIOR_BATCHES, tokens))
        });
        let seen = self.windows.iter().map(|window| {
            let batches = self.batches(window, line);
            (batches, window.tokens, window.seconds)
        });
        let (mut nn, mut nx, mut xx, mut ny, mut xy) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for (batches, tokens, seconds) in made_up.into_iter().chain(seen) {
            nn += batches;
            nx += tokens;
            xx += tokens * tokens / batches;
            ny += seconds;
            xy += tokens * seconds / batches;
        }
        let determinant = nn * xx - nx * nx;
        Line {
            base: (ny * xx - xy * nx) / determinant,
            per_token: (nn * xy - nx * ny) / determinant,
        }
    }
}
