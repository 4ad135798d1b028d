//! Lines over one axis, each with its name at its end.

use plotters::prelude::DrawingBackend;

use super::{
    Drawn, Inline, Picture, Root, Scale, Shade,
    axis::Axis,
    brush::{Brush, LINE, Side},
    canvas,
    inline::{WIDTH, inline},
};

const HEIGHT: i32 = 250;
const TOP: i32 = 26;
const BOTTOM: i32 = HEIGHT - 42;
const RADIUS: i32 = 3;

/// One line.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    pub name: String,
    pub shade: Shade,
    /// The one that the picture is about.
    pub bold: bool,
    pub points: Vec<(f64, f64)>,
}

pub struct Curves<'a> {
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub curves: &'a [Curve],
}

impl Curves<'_> {
    pub fn inline(&self) -> Option<Inline> {
        inline(self, HEIGHT)
    }

    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let points = self.curves.iter().flat_map(|curve| &curve.points);
        points
            .copied()
            .filter(|(x, y)| x.is_finite() && y.is_finite())
    }

    /// Room on the left for the numbers, on the right for the names.
    fn axes(&self, left: i32, right: i32) -> (Axis, Axis) {
        let xs = || self.points().map(|(x, _)| x);
        let (from, to) = (
            xs().fold(f64::INFINITY, f64::min),
            xs().fold(f64::NEG_INFINITY, f64::max),
        );
        let margin = if to > from { 0.0 } else { 0.5 };
        let top = self.points().map(|(_, y)| y).fold(0.0, f64::max);
        let x = Axis {
            from: from - margin,
            to: to + margin,
            pixels: (left, right),
            scale: Scale::Linear,
        };
        // From zero: an axis that starts elsewhere makes small differences look large.
        let y = Axis {
            from: 0.0,
            to: if top > 0.0 { top * 1.05 } else { 1.0 },
            pixels: (BOTTOM, TOP),
            scale: Scale::Linear,
        };
        (x, y)
    }

    fn draw_axes<DB: DrawingBackend>(&self, brush: &Brush<DB>, x: &Axis, y: &Axis) -> Drawn<DB> {
        let (left, right) = x.pixels;
        for tick in y.ticks() {
            let at = y.at(tick);
            brush.line(vec![(left, at), (right, at)], Shade::Rule, 1)?;
            brush.text(
                &canvas::tick(tick),
                (left - 8, at),
                Side::Right,
                Shade::Faint,
            )?;
        }
        for tick in x.ticks() {
            let at = x.at(tick);
            brush.line(vec![(at, BOTTOM), (at, BOTTOM + 4)], Shade::Faint, 1)?;
            brush.text(
                &canvas::tick(tick),
                (at, BOTTOM + 14),
                Side::Middle,
                Shade::Faint,
            )?;
        }
        let under = HEIGHT - 10;
        brush.text(
            self.x_label,
            (i32::midpoint(left, right), under),
            Side::Middle,
            Shade::Ink,
        )?;
        brush.text(self.y_label, (2, 9), Side::Left, Shade::Ink)
    }
}

impl Picture for Curves<'_> {
    fn is_empty(&self) -> bool {
        self.points().next().is_none()
    }

    fn draw<DB: DrawingBackend>(&self, root: &Root<DB>) -> Drawn<DB> {
        let brush = Brush { root };
        let names = brush.widest(self.curves.iter().map(|curve| curve.name.as_str()));
        let (x, y) = self.axes(38, WIDTH - names - 16);
        self.draw_axes(&brush, &x, &y)?;
        // The bold one is drawn last, over the others.
        let (bold, others): (Vec<_>, Vec<_>) = self.curves.iter().partition(|curve| curve.bold);
        let mut ends = Vec::new();
        for curve in others.into_iter().chain(bold) {
            let finite = curve.points.iter();
            let finite = finite.filter(|(x, y)| x.is_finite() && y.is_finite());
            let pixels: Vec<_> = finite.map(|point| (x.at(point.0), y.at(point.1))).collect();
            let Some(last) = pixels.last().copied() else {
                continue;
            };
            brush.line(pixels.clone(), curve.shade, if curve.bold { 4 } else { 2 })?;
            for pixel in pixels {
                brush.dot(pixel, RADIUS, curve.shade, false)?;
            }
            ends.push((last, curve));
        }
        ends.sort_by_key(|((_, y), _)| *y);
        let wished: Vec<_> = ends.iter().map(|((_, y), _)| *y).collect();
        for ((end, curve), at) in ends.into_iter().zip(apart(&wished, TOP, BOTTOM)) {
            let name = (x.pixels.1 + 12, at);
            brush.line(
                vec![(end.0 + RADIUS, end.1), (name.0 - 2, at)],
                curve.shade,
                1,
            )?;
            brush.text(&curve.name, name, Side::Left, Shade::Ink)?;
        }
        Ok(())
    }
}

/// Places for lines of text as near to `wished`, which are in order, as they can be without touching.
fn apart(wished: &[i32], top: i32, bottom: i32) -> Vec<i32> {
    let mut places = wished.to_vec();
    let mut least = top;
    for place in &mut places {
        *place = (*place).max(least);
        least = *place + LINE;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = (*place).min(most);
        most = *place - LINE;
    }
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_order_and_their_distance() {
        for (wished, expected) in [
            (vec![50, 100, 150], vec![50, 100, 150]),
            (vec![50, 50, 52], vec![50, 64, 78]),
            (vec![195, 198, 199], vec![172, 186, 200]),
            (vec![0, 0], vec![20, 34]),
            (vec![], vec![]),
        ] {
            assert_eq!(apart(&wished, 20, 200), expected);
        }
    }

    #[test]
    fn every_line_has_its_name_and_colours_are_the_pages() {
        let curve = |name: &str, shade| Curve {
            name: name.to_owned(),
            shade,
            bold: false,
            points: vec![(0.6, 3.0), (0.8, f64::NAN), (0.9, 2.5)],
        };
        let curves = [curve("2P2D", Shade::Series(0)), curve("a<b", Shade::Ink)];
        let curves = Curves {
            x_label: "load",
            y_label: "requests/s",
            curves: &curves,
        };
        let Inline { body, .. } = curves.inline().unwrap();
        for text in [
            "2P2D",
            "a&lt;b",
            "load",
            "requests/s",
            "var(--plot-0)",
            "var(--plot-rule)",
        ] {
            assert!(body.contains(text), "{text}: {body}");
        }
        for absent in ["<svg", "=\"#", "NaN", "http"] {
            assert!(!body.contains(absent), "{absent}: {body}");
        }
    }

    #[test]
    fn without_a_finite_value_there_is_no_picture() {
        let curves = Curves {
            x_label: "",
            y_label: "",
            curves: &[],
        };
        assert_eq!(curves.inline(), None);
    }
}
