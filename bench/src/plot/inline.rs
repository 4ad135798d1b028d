//! Pictures for a page: SVG whose colours are the page's, so that they are readable on light and on dark ground.
//!
//! They are small, to be put side by side: a phone shows one in its width without making the text unreadable.

use plotters::{
    backend::SVGBackend, drawing::IntoDrawingArea, prelude::DrawingBackend, style::RGBColor,
};

use super::{Picture, canvas};

/// Pixels, which are the page's too: text is as large as it says.
pub const WIDTH: i32 = 360;

/// A picture in a page: what stands between `<svg>` and `</svg>`, escaped already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inline {
    pub width: u32,
    pub height: u32,
    pub body: String,
}

/// What a line, a mark or a text looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shade {
    /// One of the colours of Okabe and Ito.
    Series(usize),
    Ink,
    Faint,
    Rule,
}

impl Shade {
    pub(super) fn colour(self) -> RGBColor {
        match self {
            Self::Series(index) => canvas::colour(index),
            Self::Ink => canvas::INK,
            Self::Faint => canvas::FAINT,
            Self::Rule => canvas::GRID,
        }
    }

    /// The name of the page's colour for it.
    pub fn variable(self) -> String {
        match self {
            Self::Series(index) => format!("--plot-{}", index % canvas::PALETTE.len()),
            Self::Ink => "--plot-ink".to_owned(),
            Self::Faint => "--plot-faint".to_owned(),
            Self::Rule => "--plot-rule".to_owned(),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        let series = (0..canvas::PALETTE.len()).map(Self::Series);
        series.chain([Self::Ink, Self::Faint, Self::Rule])
    }
}

/// Draws `picture`; nothing where it has nothing to show.
pub(super) fn inline(picture: &impl Picture, height: i32) -> Option<Inline> {
    if picture.is_empty() {
        return None;
    }
    canvas::register_font();
    let (width, height) = (WIDTH.cast_unsigned(), height.cast_unsigned());
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        let drawn = picture.draw(&root).and_then(|()| root.present());
        drawn.expect("text in memory takes every shape, and the font is in the binary");
    }
    Some(Inline {
        width,
        height,
        body: in_the_pages_colours(body(&svg)),
    })
}

/// Without the outermost tag.
fn body(svg: &str) -> &str {
    let inner = svg.split_once('>').map_or("", |(_, rest)| rest);
    inner.rsplit_once("</svg>").map_or(inner, |(body, _)| body)
}

/// The drawing library writes each colour as six digits, which only colours have after a `#`: texts are escaped, but
/// a `#` in one stays, so the quotes around it count.
fn in_the_pages_colours(svg: &str) -> String {
    Shade::all().fold(svg.to_owned(), |svg, shade| {
        let RGBColor(red, green, blue) = shade.colour();
        let written = format!("\"#{red:02X}{green:02X}{blue:02X}\"");
        svg.replace(&written, &format!("\"var({})\"", shade.variable()))
    })
}

/// How wide `text` is at most, in pixels.
pub(super) fn text_width<DB: DrawingBackend>(root: &super::Root<DB>, text: &str, size: u32) -> i32 {
    let estimated = root.estimate_text_size(text, &canvas::text(size));
    estimated.map_or(0, |(width, _)| width.cast_signed())
}
