//! What all pictures have in common: font, colours, title and legend.

use std::sync::Once;

use plotters::{
    drawing::DrawingAreaErrorKind,
    element::{Rectangle, Text},
    prelude::DrawingBackend,
    style::{
        Color, FontStyle, RGBColor, ShapeStyle, TextStyle, register_font as register, text_anchor,
    },
};

use super::{Drawn, Root};

pub(super) const FAMILY: &str = "sans-serif";
pub(super) const WHITE: RGBColor = RGBColor(255, 255, 255);
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
/// Grey enough to stand back, dark enough to be read.
pub(super) const FAINT: RGBColor = RGBColor(98, 98, 98);
pub(super) const GRID: RGBColor = RGBColor(222, 222, 222);

/// Pixels above the chart: the title's line and the legend's.
const TITLE_HEIGHT: i32 = 48;
const LEGEND_HEIGHT: i32 = 34;
const MARGIN: i32 = 24;
const SWATCH: i32 = 16;

/// The colours of Okabe and Ito, which stay apart for those who see colours differently.
pub(super) const PALETTE: [RGBColor; 8] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 90),
    // Their yellow, darkened until it is seen on white.
    RGBColor(140, 130, 0),
];

/// The colour of the series with this index. They repeat after eight; more could not be told apart anyway.
pub(super) fn colour(index: usize) -> RGBColor {
    PALETTE[index % PALETTE.len()]
}

pub(super) fn fill(index: usize) -> ShapeStyle {
    colour(index).filled()
}

pub(super) fn text(size: u32) -> TextStyle<'static> {
    TextStyle::from((FAMILY, size)).color(&INK)
}

/// Makes DejaVu Sans known to the drawing library, once for the process.
pub(super) fn register_font() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let registered = register(FAMILY, FontStyle::Normal, dejavu::sans::regular());
        assert!(registered.is_ok(), "the font in the binary is a font");
    });
}

pub(super) fn blank<DB: DrawingBackend>(root: &Root<DB>) -> Drawn<DB> {
    root.fill(&WHITE)
}

/// Draws title and legend at the top and returns what is left for the chart.
pub(super) fn header<DB: DrawingBackend>(
    root: &Root<DB>,
    title: &str,
    series: &[&str],
) -> Result<Root<DB>, DrawingAreaErrorKind<DB::ErrorType>> {
    let (top, rest) = root.split_vertically(TITLE_HEIGHT);
    let middle = TITLE_HEIGHT / 2;
    top.draw(&Text::new(title.to_owned(), (MARGIN, middle), left(26)))?;
    let (line, chart) = rest.split_vertically(LEGEND_HEIGHT);
    legend(&line, series)?;
    Ok(chart)
}

fn legend<DB: DrawingBackend>(line: &Root<DB>, series: &[&str]) -> Drawn<DB> {
    let middle = LEGEND_HEIGHT / 2;
    let mut x = MARGIN;
    for (index, name) in series.iter().enumerate() {
        let corners = [(x, middle - SWATCH / 2), (x + SWATCH, middle + SWATCH / 2)];
        line.draw(&Rectangle::new(corners, fill(index)))?;
        let style = left(18);
        let (width, _) = line.estimate_text_size(name, &style)?;
        line.draw(&Text::new(
            (*name).to_owned(),
            (x + SWATCH + 8, middle),
            style,
        ))?;
        x += SWATCH + 8 + width.cast_signed() + 28;
    }
    Ok(())
}

fn left(size: u32) -> TextStyle<'static> {
    text(size).pos(text_anchor::Pos::new(
        text_anchor::HPos::Left,
        text_anchor::VPos::Center,
    ))
}

/// A number on an axis, with no more digits than it needs.
pub(super) fn tick(value: f64) -> String {
    let rounded = format!("{value:.3}");
    rounded
        .trim_end_matches('0')
        .trim_end_matches('.')
        .to_owned()
}
