//! Lines, areas, marks and texts in pixels, in the shades of a page.

use plotters::{
    element::{Circle, PathElement, Polygon, Rectangle, Text},
    prelude::DrawingBackend,
    style::{Color as _, TextStyle, text_anchor},
};

use super::{Drawn, Root, Shade, canvas};

/// What the drawing library calls 15 is written as 12 pixels.
pub(super) const TEXT: u32 = 15;

/// Between two lines of text, so that they don't touch.
pub(super) const LINE: i32 = 14;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Left,
    Middle,
    Right,
}

pub(super) struct Brush<'a, DB: DrawingBackend> {
    pub root: &'a Root<DB>,
}

impl<DB: DrawingBackend> Brush<'_, DB> {
    pub(super) fn line(&self, points: Vec<(i32, i32)>, shade: Shade, width: u32) -> Drawn<DB> {
        let stroke = shade.colour().stroke_width(width);
        self.root.draw(&PathElement::new(points, stroke))
    }

    /// Filled, and faint enough that a line over it is seen.
    pub(super) fn area(&self, corners: Vec<(i32, i32)>, shade: Shade, opacity: f64) -> Drawn<DB> {
        let fill = shade.colour().mix(opacity).filled();
        self.root.draw(&Polygon::new(corners, fill))
    }

    pub(super) fn block(&self, corners: [(i32, i32); 2], shade: Shade, opacity: f64) -> Drawn<DB> {
        let fill = shade.colour().mix(opacity).filled();
        self.root.draw(&Rectangle::new(corners, fill))
    }

    pub(super) fn dot(&self, at: (i32, i32), radius: i32, shade: Shade, hollow: bool) -> Drawn<DB> {
        let colour = shade.colour();
        let style = if hollow {
            colour.stroke_width(2)
        } else {
            colour.filled()
        };
        self.root.draw(&Circle::new(at, radius, style))
    }

    /// `at` is the middle of the text's height, and of its width or the end that `side` names.
    pub(super) fn text(&self, text: &str, at: (i32, i32), side: Side, shade: Shade) -> Drawn<DB> {
        let horizontal = match side {
            Side::Left => text_anchor::HPos::Left,
            Side::Middle => text_anchor::HPos::Center,
            Side::Right => text_anchor::HPos::Right,
        };
        let anchor = text_anchor::Pos::new(horizontal, text_anchor::VPos::Center);
        let colour = shade.colour();
        let style = TextStyle::from((canvas::FAMILY, TEXT)).color(&colour);
        let style = style.pos(anchor);
        self.root.draw(&Text::new(text.to_owned(), at, style))
    }

    pub(super) fn width_of(&self, text: &str) -> i32 {
        super::inline::text_width(self.root, text, TEXT)
    }

    pub(super) fn widest<'t>(&self, texts: impl IntoIterator<Item = &'t str>) -> i32 {
        let widths = texts.into_iter().map(|text| self.width_of(text));
        widths.max().unwrap_or(0)
    }
}
