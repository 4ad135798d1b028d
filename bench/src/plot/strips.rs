//! What happened over time: strips one below the other, over the same minutes.

use plotters::prelude::DrawingBackend;

use super::{
    Drawn, Inline, Picture, Root, Scale, Shade,
    axis::Axis,
    brush::{Brush, Side},
    canvas,
    inline::{WIDTH, inline},
};

const LEFT: i32 = 38;
const RIGHT: i32 = WIDTH - 8;
const TITLE: i32 = 20;
const HEIGHT: i32 = 46;
const GAP: i32 = 6;
/// Below the strips: the axis' numbers and what they are.
const UNDER: i32 = 36;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    Solid,
    Faint,
    Outline,
}

/// What holds from each moment to the next: from where to where it reaches, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    pub shade: Shade,
    pub fill: Fill,
    pub steps: Vec<(f64, Option<(f64, f64)>)>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Strip {
    /// Words in the shades of what they name.
    pub title: Vec<(String, Shade)>,
    pub most: f64,
    /// On a logarithmic one, what is less than 1 is at the bottom.
    pub scale: Scale,
    /// What is written at the top end of the axis.
    pub most_in_words: String,
    /// First ones below.
    pub layers: Vec<Layer>,
}

pub struct Strips<'a> {
    pub x_label: &'a str,
    /// The whole stretch.
    pub span: (f64, f64),
    pub strips: &'a [Strip],
}

impl Strips<'_> {
    pub fn inline(&self) -> Option<Inline> {
        inline(self, self.bottom() + UNDER)
    }

    fn bottom(&self) -> i32 {
        let heights = self.strips.iter().map(|_| TITLE + HEIGHT + GAP);
        heights.sum()
    }

    fn time(&self) -> Axis {
        Axis {
            from: self.span.0,
            to: self.span.1,
            pixels: (LEFT, RIGHT),
            scale: Scale::Linear,
        }
    }

    fn draw_strip<DB: DrawingBackend>(
        &self,
        brush: &Brush<DB>,
        strip: &Strip,
        top: i32,
    ) -> Drawn<DB> {
        let mut x = LEFT;
        for (word, shade) in &strip.title {
            if *shade != Shade::Ink {
                brush.block([(x, top + 4), (x + 10, top + 14)], *shade, 1.0)?;
                x += 14;
            }
            brush.text(word, (x, top + 9), Side::Left, Shade::Ink)?;
            x += brush.width_of(word) + 10;
        }
        let (first, last) = (top + TITLE, top + TITLE + HEIGHT);
        let height = height_of(strip, (last, first));
        for (at, text) in [(first, strip.most_in_words.as_str()), (last, "0")] {
            brush.line(vec![(LEFT, at), (RIGHT, at)], Shade::Rule, 1)?;
            brush.text(text, (LEFT - 6, at), Side::Right, Shade::Faint)?;
        }
        for layer in &strip.layers {
            self.draw_layer(brush, layer, &height)?;
        }
        Ok(())
    }

    fn draw_layer<DB: DrawingBackend>(
        &self,
        brush: &Brush<DB>,
        layer: &Layer,
        height: &Axis,
    ) -> Drawn<DB> {
        let time = self.time();
        for run in runs(&layer.steps, self.span.1) {
            let (mut upper, mut lower) = (Vec::new(), Vec::new());
            for held in run {
                let ends = [time.at(held.from), time.at(held.until)];
                upper.extend(ends.map(|x| (x, height.at(held.high))));
                lower.extend(ends.map(|x| (x, height.at(held.low))));
            }
            match layer.fill {
                Fill::Outline => brush.line(upper, layer.shade, 2)?,
                Fill::Solid | Fill::Faint => {
                    let opacity = if layer.fill == Fill::Solid {
                        0.85
                    } else {
                        0.35
                    };
                    let corners = upper.into_iter().chain(lower.into_iter().rev());
                    brush.area(corners.collect(), layer.shade, opacity)?;
                }
            }
        }
        Ok(())
    }
}

fn height_of(strip: &Strip, pixels: (i32, i32)) -> Axis {
    let (from, least_to) = match strip.scale {
        Scale::Linear => (0.0, 1e-9),
        Scale::Logarithmic => (1.0, 10.0),
    };
    Axis {
        from,
        to: strip.most.max(least_to),
        pixels,
        scale: strip.scale,
    }
}

/// A level and how long it was held.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    from: f64,
    until: f64,
    low: f64,
    high: f64,
}

/// Stretches without a gap; levels that stay the same are one.
fn runs(steps: &[(f64, Option<(f64, f64)>)], end: f64) -> Vec<Vec<Held>> {
    let mut runs: Vec<Vec<Held>> = Vec::new();
    let mut open = false;
    for (place, (from, level)) in steps.iter().enumerate() {
        let until = steps.get(place + 1).map_or(end, |(next, _)| *next);
        let Some((low, high)) = *level else {
            open = false;
            continue;
        };
        let held = Held {
            from: *from,
            until,
            low,
            high,
        };
        match runs.last_mut().filter(|_| open) {
            Some(run) => match run.last_mut() {
                Some(last)
                    if last.low.to_bits() == low.to_bits()
                        && last.high.to_bits() == high.to_bits() =>
                {
                    last.until = until;
                }
                Some(_) | None => run.push(held),
            },
            None => runs.push(vec![held]),
        }
        open = true;
    }
    runs
}

impl Picture for Strips<'_> {
    fn is_empty(&self) -> bool {
        let layers = self.strips.iter().flat_map(|strip| &strip.layers);
        let mut levels = layers.flat_map(|layer| &layer.steps);
        !levels.any(|(_, level)| level.is_some()) || self.span.1 <= self.span.0
    }

    fn draw<DB: DrawingBackend>(&self, root: &Root<DB>) -> Drawn<DB> {
        let brush = Brush { root };
        for (place, strip) in (0..).zip(self.strips) {
            self.draw_strip(&brush, strip, place * (TITLE + HEIGHT + GAP))?;
        }
        let (time, bottom) = (self.time(), self.bottom() - GAP);
        for tick in time.ticks() {
            let at = time.at(tick);
            brush.line(vec![(at, bottom), (at, bottom + 4)], Shade::Faint, 1)?;
            brush.text(
                &canvas::tick(tick),
                (at, bottom + 14),
                Side::Middle,
                Shade::Faint,
            )?;
        }
        let middle = i32::midpoint(LEFT, RIGHT);
        brush.text(
            self.x_label,
            (middle, bottom + 32),
            Side::Middle,
            Shade::Ink,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_that_stay_are_joined_and_gaps_part_them() {
        let level = |high| Some((0.0, high));
        let steps = [
            (0.0, level(1.0)),
            (1.0, level(1.0)),
            (2.0, level(3.0)),
            (3.0, None),
            (4.0, level(2.0)),
        ];
        let found: Vec<Vec<_>> = runs(&steps, 6.0)
            .iter()
            .map(|run| {
                run.iter()
                    .map(|held| (held.from, held.until, held.high))
                    .collect()
            })
            .collect();
        let expected = [
            vec![(0.0, 2.0, 1.0), (2.0, 3.0, 3.0)],
            vec![(4.0, 6.0, 2.0)],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn strips_name_what_they_show() {
        let strip = Strip {
            title: vec![("prefill".to_owned(), Shade::Series(0))],
            most: 4.0,
            scale: Scale::Linear,
            most_in_words: "4".to_owned(),
            layers: vec![Layer {
                shade: Shade::Series(0),
                fill: Fill::Solid,
                steps: vec![(0.0, Some((0.0, 2.0)))],
            }],
        };
        let strips = [strip];
        let picture = |span| {
            let strips = Strips {
                x_label: "minutes",
                span,
                strips: &strips,
            };
            strips.inline()
        };
        let Inline { body, .. } = picture((0.0, 40.0)).unwrap();
        for text in ["prefill", "minutes", "<polygon", "var(--plot-0)"] {
            assert!(body.contains(text), "{text}: {body}");
        }
        assert_eq!(picture((0.0, 0.0)), None);
    }
}
