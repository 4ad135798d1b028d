//! Named rows over one axis, with bars, spans and dots in them.

use plotters::prelude::DrawingBackend;

use super::{
    Drawn, Inline, Picture, Root, Scale, Shade,
    axis::Axis,
    brush::{Brush, Side},
    canvas,
    inline::{WIDTH, inline},
};

const ROW: i32 = 20;
const BAR: i32 = 6;
const RADIUS: i32 = 4;
/// Below the rows: the axis' numbers and what they are.
const UNDER: i32 = 42;
const KEY: i32 = 22;

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mark {
    /// From the axis' beginning.
    Bar {
        to: f64,
        shade: Shade,
    },
    /// How far off a bar may be.
    Whisker {
        from: f64,
        to: f64,
    },
    Span {
        from: f64,
        to: f64,
        shade: Shade,
    },
    Dot {
        at: f64,
        shade: Shade,
        hollow: bool,
    },
}

impl Mark {
    fn values(&self) -> [f64; 2] {
        match *self {
            Self::Bar { to, .. } => [to, to],
            Self::Whisker { from, to } | Self::Span { from, to, .. } => [from, to],
            Self::Dot { at, .. } => [at, at],
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct RowOfMarks {
    pub name: String,
    pub marks: Vec<Mark>,
    /// To be read beside the marks.
    pub note: String,
}

/// What dots of a kind are.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    pub name: String,
    pub shade: Shade,
    pub hollow: bool,
}

pub struct Rows<'a> {
    pub x_label: &'a str,
    pub scale: Scale,
    /// What the axis spans, whatever there is to show.
    pub at_least: Option<(f64, f64)>,
    /// A line across all rows: where a target is.
    pub target: Option<f64>,
    pub key: &'a [Key],
    pub rows: &'a [RowOfMarks],
}

impl Rows<'_> {
    pub fn inline(&self) -> Option<Inline> {
        inline(self, self.bottom() + UNDER)
    }

    fn top(&self) -> i32 {
        if self.key.is_empty() { 4 } else { KEY }
    }

    fn bottom(&self) -> i32 {
        self.top() + self.rows.iter().map(|_| ROW).sum::<i32>()
    }

    fn values(&self) -> impl Iterator<Item = f64> {
        let marks = self.rows.iter().flat_map(|row| &row.marks);
        let values = marks.flat_map(Mark::values);
        values.filter(move |value| self.can_be_drawn(*value))
    }

    fn can_be_drawn(&self, value: f64) -> bool {
        value.is_finite()
            && match self.scale {
                Scale::Linear => true,
                Scale::Logarithmic => value > 0.0,
            }
    }

    fn axis(&self, left: i32, right: i32) -> Axis {
        let (mut from, mut to) = self.at_least.unwrap_or((f64::INFINITY, f64::NEG_INFINITY));
        for value in self.values().chain(self.target) {
            (from, to) = (from.min(value), to.max(value));
        }
        if to <= from {
            (from, to) = match self.scale {
                Scale::Linear => (from - 0.5, to + 0.5),
                Scale::Logarithmic => (from / 2.0, to * 2.0),
            };
        }
        Axis {
            from,
            to,
            pixels: (left, right),
            scale: self.scale,
        }
    }

    fn draw_axis<DB: DrawingBackend>(&self, brush: &Brush<DB>, axis: &Axis) -> Drawn<DB> {
        let (top, bottom) = (self.top(), self.bottom());
        let mut free_from = i32::MIN;
        for tick in axis.ticks() {
            let at = axis.at(tick);
            brush.line(vec![(at, top), (at, bottom)], Shade::Rule, 1)?;
            let text = canvas::tick(tick);
            let half = brush.width_of(&text) / 2;
            if at - half > free_from {
                brush.text(&text, (at, bottom + 12), Side::Middle, Shade::Faint)?;
                free_from = at + half + 4;
            }
        }
        if let Some(target) = self.target {
            let at = axis.at(target);
            brush.line(vec![(at, top), (at, bottom + 4)], Shade::Ink, 1)?;
        }
        let middle = i32::midpoint(axis.pixels.0, axis.pixels.1);
        // As wide as the picture: under a narrow axis the middle is not the best place.
        let half = brush.width_of(self.x_label) / 2;
        let middle = middle.min(WIDTH - half - 2).max(half + 2);
        brush.text(
            self.x_label,
            (middle, bottom + 30),
            Side::Middle,
            Shade::Ink,
        )
    }

    fn draw_key<DB: DrawingBackend>(&self, brush: &Brush<DB>) -> Drawn<DB> {
        let mut x = 6;
        for Key {
            name,
            shade,
            hollow,
        } in self.key
        {
            brush.dot((x, 9), RADIUS, *shade, *hollow)?;
            brush.text(name, (x + 9, 9), Side::Left, Shade::Ink)?;
            x += 9 + brush.width_of(name) + 16;
        }
        Ok(())
    }

    fn draw_mark<DB: DrawingBackend>(
        &self,
        brush: &Brush<DB>,
        axis: &Axis,
        middle: i32,
        mark: Mark,
    ) -> Drawn<DB> {
        if !mark.values().iter().all(|value| self.can_be_drawn(*value)) {
            return Ok(());
        }
        match mark {
            Mark::Bar { to, shade } => {
                let corners = [(axis.pixels.0, middle - BAR), (axis.at(to), middle + BAR)];
                brush.block(corners, shade, 0.85)
            }
            Mark::Whisker { from, to } => brush.line(
                vec![(axis.at(from), middle), (axis.at(to), middle)],
                Shade::Ink,
                2,
            ),
            Mark::Span { from, to, shade } => brush.line(
                vec![(axis.at(from), middle), (axis.at(to), middle)],
                shade,
                3,
            ),
            Mark::Dot { at, shade, hollow } => {
                brush.dot((axis.at(at), middle), RADIUS, shade, hollow)
            }
        }
    }
}

impl Picture for Rows<'_> {
    fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    fn draw<DB: DrawingBackend>(&self, root: &Root<DB>) -> Drawn<DB> {
        let brush = Brush { root };
        let names = brush.widest(self.rows.iter().map(|row| row.name.as_str()));
        let notes = brush.widest(self.rows.iter().map(|row| row.note.as_str()));
        let right = WIDTH - if notes > 0 { notes + 12 } else { 12 };
        let axis = self.axis(names + 16, right);
        self.draw_axis(&brush, &axis)?;
        self.draw_key(&brush)?;
        for (place, row) in (0..).zip(self.rows) {
            let middle = self.top() + ROW * place + ROW / 2;
            brush.text(&row.name, (names + 2, middle), Side::Right, Shade::Ink)?;
            for mark in &row.marks {
                self.draw_mark(&brush, &axis, middle, *mark)?;
            }
            let beside = (WIDTH - 2, middle);
            brush.text(&row.note, beside, Side::Right, Shade::Ink)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(scale: Scale, marks: Vec<Mark>) -> Option<Inline> {
        let rows = [RowOfMarks {
            name: "controller".to_owned(),
            marks,
            note: "0.93".to_owned(),
        }];
        let rows = Rows {
            x_label: "share",
            scale,
            at_least: None,
            target: None,
            key: &[],
            rows: &rows,
        };
        rows.inline()
    }

    #[test]
    fn a_row_has_its_name_its_marks_and_its_note() {
        let bar = Mark::Bar {
            to: 0.93,
            shade: Shade::Series(3),
        };
        let whisker = Mark::Whisker {
            from: 0.9,
            to: 0.96,
        };
        let Inline { body, .. } = rows(Scale::Linear, vec![bar, whisker]).unwrap();
        for text in ["controller", "0.93", "share", "<rect", "var(--plot-3)"] {
            assert!(body.contains(text), "{text}: {body}");
        }
    }

    #[test]
    fn what_the_axis_cannot_show_is_left_out() {
        let dot = |at| Mark::Dot {
            at,
            shade: Shade::Ink,
            hollow: false,
        };
        assert_eq!(rows(Scale::Linear, vec![dot(f64::NAN)]), None);
        assert_eq!(rows(Scale::Logarithmic, vec![dot(0.0)]), None);
        let Inline { body, .. } = rows(Scale::Logarithmic, vec![dot(0.0), dot(7.0)]).unwrap();
        assert_eq!(body.matches("<circle").count(), 1);
    }
}
