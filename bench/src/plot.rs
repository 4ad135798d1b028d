//! Pictures: grouped bars and lines as files, each as an SVG for documents and a PNG for everything else; growth as an SVG
//! alone; curves, rows and strips to stand in a page.
//!
//! Both files come from one drawing, so that they can't disagree. The font is in the binary: a picture looks the same
//! on a machine without fonts, and a text's width is known before it is drawn.

mod axis;
mod bars;
mod brush;
mod canvas;
mod curves;
mod growth;
mod inline;
mod lines;
mod rows;
mod strips;

use std::{
    fmt,
    path::{Path, PathBuf},
};

use plotters::{
    backend::{BitMapBackend, SVGBackend},
    coord::Shift,
    drawing::{DrawingArea, DrawingAreaErrorKind, IntoDrawingArea},
    prelude::DrawingBackend,
};

use self::{bars::Bars, growth::Growth, lines::Lines};

pub use self::{
    axis::Scale,
    curves::{Curve, Curves},
    growth::Panel,
    inline::{Inline, Shade},
    rows::{Key, Mark, RowOfMarks, Rows},
    strips::{Fill, Layer, Strip, Strips},
};

/// Pixels; the SVG scales from there.
const SIZE: (u32, u32) = (1400, 720);

/// Why a picture was not written.
#[derive(Debug)]
pub enum PlotError {
    /// There is no finite value to draw.
    Nothing { path: PathBuf },
    Draw {
        path: PathBuf,
        reason: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl fmt::Display for PlotError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing { path } => {
                write!(f, "nothing to draw in {}: no finite value", path.display())
            }
            Self::Draw { path, reason } => write!(f, "cannot draw {}: {reason}", path.display()),
        }
    }
}

impl std::error::Error for PlotError {}

/// One group of bars for each pair of `groups`: its name, and its bars as (series, value). A series has one colour
/// in all groups. Writes `path` with `.svg` and with `.png`.
pub fn bars(
    title: &str,
    y_label: &str,
    groups: &[(String, Vec<(String, f64)>)],
    path: &Path,
) -> Result<(), PlotError> {
    let bars = Bars {
        title,
        y_label,
        groups,
    };
    write(&bars, path)
}

/// The same as an SVG alone, for a document.
pub fn bars_as_svg(
    title: &str,
    y_label: &str,
    groups: &[(String, Vec<(String, f64)>)],
    path: &Path,
) -> Result<(), PlotError> {
    let bars = Bars {
        title,
        y_label,
        groups,
    };
    write_svg(&bars, path)
}

/// One panel beside the other, with logarithmic axes and a dashed line for what grows in step (`in_step`). An SVG alone.
pub fn growth_as_svg(
    title: &str,
    in_step: &str,
    panels: &[Panel],
    path: &Path,
) -> Result<(), PlotError> {
    let growth = Growth {
        title,
        in_step,
        panels,
    };
    write_svg(&growth, path)
}

/// One line for each pair of `series`: its name, and its points as (x, y). Writes `path` with `.svg` and with `.png`.
pub fn lines(
    title: &str,
    x_label: &str,
    y_label: &str,
    series: &[(String, Vec<(f64, f64)>)],
    path: &Path,
) -> Result<(), PlotError> {
    let lines = Lines {
        title,
        x_label,
        y_label,
        series,
    };
    write(&lines, path)
}

/// What can be drawn on any surface.
trait Picture {
    fn is_empty(&self) -> bool;

    fn draw<DB: DrawingBackend>(&self, root: &Root<DB>) -> Drawn<DB>;
}

type Root<DB> = DrawingArea<DB, Shift>;
type Drawn<DB> = Result<(), DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

fn write_svg(picture: &impl Picture, path: &Path) -> Result<(), PlotError> {
    if picture.is_empty() {
        return Err(PlotError::Nothing {
            path: path.to_owned(),
        });
    }
    canvas::register_font();
    draw_on(picture, SVGBackend::new(path, SIZE), path)
}

fn write(picture: &impl Picture, path: &Path) -> Result<(), PlotError> {
    if picture.is_empty() {
        return Err(PlotError::Nothing {
            path: path.to_owned(),
        });
    }
    canvas::register_font();
    let svg = with_extension(path, "svg");
    draw_on(picture, SVGBackend::new(&svg, SIZE), &svg)?;
    let png = with_extension(path, "png");
    draw_on(picture, BitMapBackend::new(&png, SIZE), &png)
}

fn draw_on<DB: DrawingBackend>(
    picture: &impl Picture,
    backend: DB,
    path: &Path,
) -> Result<(), PlotError> {
    let root = backend.into_drawing_area();
    canvas::blank(&root)
        .and_then(|()| picture.draw(&root))
        .and_then(|()| root.present())
        .map_err(|error| PlotError::Draw {
            path: path.to_owned(),
            reason: error.to_string().into(),
        })
}

/// Adds rather than replaces: `attainment-0.9` has no extension to lose.
fn with_extension(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own, gone when it is dropped.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path =
                std::env::temp_dir().join(format!("pd-bench-plot-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn two_groups() -> Vec<(String, Vec<(String, f64)>)> {
        ["1P3D", "3P1D"]
            .map(|split| {
                let bars = vec![("measured".into(), 21.8), ("simulated".into(), 22.4)];
                (split.to_owned(), bars)
            })
            .into()
    }

    #[test]
    fn both_files_are_written_and_name_every_group_and_series() {
        let folder = Folder::new("bars");
        let path = folder.0.join("throughput-0.9");
        bars("Throughput", "requests/s", &two_groups(), &path).unwrap();
        let svg = std::fs::read_to_string(folder.0.join("throughput-0.9.svg")).unwrap();
        for text in [
            "Throughput",
            "requests/s",
            "1P3D",
            "3P1D",
            "measured",
            "simulated",
        ] {
            assert!(svg.contains(text), "{text}");
        }
        let png = std::fs::read(folder.0.join("throughput-0.9.png")).unwrap();
        assert!(png.starts_with(b"\x89PNG"));
    }

    #[test]
    fn growth_has_a_panel_for_each_that_has_figures() {
        let folder = Folder::new("growth");
        let path = folder.0.join("growth.svg");
        let panel = |name: &str, points: &[(f64, f64)]| Panel {
            x_label: name.to_owned(),
            y_label: "us".to_owned(),
            series: vec![("ours".to_owned(), points.to_vec())],
        };
        let panels = [
            panel("workers", &[(2.0, 30.0), (2000.0, 90.0)]),
            panel("alone", &[(10.0, 10.0)]),
            panel("nothing", &[(0.0, 1.0), (1.0, f64::NAN)]),
        ];
        growth_as_svg("Growth", "in step", &panels, &path).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        for text in ["workers", "alone", "ours", "in step", "1k"] {
            assert!(svg.contains(text), "{text}");
        }
        assert!(!svg.contains("nothing"));
        let nothing = growth_as_svg("Growth", "in step", &panels[2..], &path);
        assert!(matches!(nothing, Err(PlotError::Nothing { .. })));
    }

    #[test]
    fn the_same_values_give_the_same_picture() {
        let folder = Folder::new("same");
        let series = [("2P2D".to_owned(), vec![(1.0, 0.9), (2.0, 0.4)])];
        let draw = |name: &str| {
            let path = folder.0.join(name);
            lines("Attainment", "scale", "share", &series, &path).unwrap();
            std::fs::read(with_extension(&path, "svg")).unwrap()
        };
        assert_eq!(draw("a"), draw("b"));
    }

    #[test]
    fn a_picture_of_nothing_is_refused_before_a_file_is_made() {
        let folder = Folder::new("nothing");
        let path = folder.0.join("empty");
        let series = [("2P2D".to_owned(), vec![(1.0, f64::NAN)])];
        let refused = lines("", "", "", &series, &path);
        assert!(matches!(refused, Err(PlotError::Nothing { .. })));
        assert!(!with_extension(&path, "svg").exists());
    }

    #[test]
    fn a_folder_that_does_not_exist_is_named_in_the_error() {
        let path = Path::new("/nonexistent/folder/picture");
        let error = bars("", "", &two_groups(), path).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("/nonexistent/folder/picture.svg"),
            "{error}"
        );
    }
}
