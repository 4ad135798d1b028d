//! Lines with a mark at each point.

use plotters::{
    chart::ChartBuilder, element::Circle, prelude::DrawingBackend, series::LineSeries, style::Color,
};

use super::{Drawn, Picture, Root, canvas};

/// Pixels.
const SMALLEST_MARK: u32 = 4;
const LARGEST_MARK: u32 = 16;

pub(super) struct Lines<'a> {
    pub title: &'a str,
    pub x_label: &'a str,
    pub y_label: &'a str,
    pub series: &'a [(String, Vec<(f64, f64)>)],
}

impl Picture for Lines<'_> {
    fn is_empty(&self) -> bool {
        self.points().next().is_none()
    }

    fn draw<DB: DrawingBackend>(&self, root: &Root<DB>) -> Drawn<DB> {
        let names: Vec<&str> = self.series.iter().map(|(name, _)| name.as_str()).collect();
        let area = canvas::header(root, self.title, &names)?;
        let mut chart = ChartBuilder::on(&area)
            .margin_left(24)
            .margin_right(32)
            .margin_bottom(12)
            .x_label_area_size(60)
            .y_label_area_size(92)
            .build_cartesian_2d(self.width(), self.height())?;
        chart
            .configure_mesh()
            .light_line_style(canvas::WHITE)
            .bold_line_style(canvas::GRID)
            .axis_style(canvas::INK)
            .x_desc(self.x_label)
            .y_desc(self.y_label)
            .x_label_formatter(&|value| canvas::tick(*value))
            .y_label_formatter(&|value| canvas::tick(*value))
            .label_style(canvas::text(16))
            .axis_desc_style(canvas::text(18))
            .draw()?;
        for (index, (_, points)) in self.series.iter().enumerate() {
            let finite = || points.iter().copied().filter(is_finite);
            let stroke = canvas::colour(index).stroke_width(3);
            chart.draw_series(LineSeries::new(finite(), stroke))?;
            // Smaller from series to series: where points meet, all their colours are seen.
            let above = u32::try_from(self.series.len() - 1 - index).unwrap_or(u32::MAX);
            let radius = above.saturating_mul(2).saturating_add(SMALLEST_MARK);
            let mark = |point| Circle::new(point, radius.min(LARGEST_MARK), canvas::fill(index));
            chart.draw_series(finite().map(mark))?;
        }
        Ok(())
    }
}

impl Lines<'_> {
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let points = self.series.iter().flat_map(|(_, points)| points);
        points.copied().filter(is_finite)
    }

    fn width(&self) -> std::ops::Range<f64> {
        let xs = || self.points().map(|(x, _)| x);
        let (first, last) = (
            xs().fold(f64::INFINITY, f64::min),
            xs().fold(f64::NEG_INFINITY, f64::max),
        );
        // A single point stands in the middle.
        let margin = if last > first {
            (last - first) * 0.02
        } else {
            0.5
        };
        first - margin..last + margin
    }

    /// From zero: a picture that starts elsewhere makes small differences look large.
    fn height(&self) -> std::ops::Range<f64> {
        let top = self.points().map(|(_, y)| y).fold(0.0, f64::max);
        0.0..if top > 0.0 { top * 1.06 } else { 1.0 }
    }
}

fn is_finite(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite()
}
