//! How costs grow: panels side by side, both axes by powers of ten, with what growing in step would be.

use plotters::{
    chart::ChartBuilder,
    coord::combinators::IntoLogRange,
    element::Circle,
    prelude::DrawingBackend,
    series::{DashedLineSeries, LineSeries},
    style::{Color, ShapeStyle},
};
use std::ops::Range;

use super::{Drawn, Picture, Root, canvas};

/// Pixels.
const MARK: u32 = 5;
const DASH: u32 = 8;

/// One of them.
#[derive(Debug, Clone, PartialEq)]
pub struct Panel {
    pub x_label: String,
    pub y_label: String,
    /// A line each: its points as (size, cost), both above zero.
    pub series: Vec<(String, Vec<(f64, f64)>)>,
}

pub(super) struct Growth<'a> {
    pub title: &'a str,
    /// What the dashed lines are.
    pub in_step: &'a str,
    pub panels: &'a [Panel],
}

impl Picture for Growth<'_> {
    fn is_empty(&self) -> bool {
        self.panels
            .iter()
            .all(|panel| panel.points().next().is_none())
    }

    fn draw<DB: DrawingBackend>(&self, root: &Root<DB>) -> Drawn<DB> {
        let all = self.panels.iter().flat_map(|panel| &panel.series);
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in all {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        let title = format!("{} (dashed: {})", self.title, self.in_step);
        let area = canvas::header(root, &title, &names)?;
        let drawn = self
            .panels
            .iter()
            .filter(|panel| panel.points().next().is_some());
        let drawn: Vec<_> = drawn.collect();
        for (panel, area) in drawn.iter().zip(area.split_evenly((1, drawn.len().max(1)))) {
            panel.draw(&area, &names)?;
        }
        Ok(())
    }
}

impl Panel {
    fn points(&self) -> impl Iterator<Item = (f64, f64)> {
        let points = self.series.iter().flat_map(|(_, points)| points);
        points.copied().filter(can_be_drawn)
    }

    fn draw<DB: DrawingBackend>(&self, area: &Root<DB>, names: &[&str]) -> Drawn<DB> {
        let (xs, ys) = (
            decades(self.points().map(|(x, _)| x)),
            decades(self.points().map(|(_, y)| y)),
        );
        let mut chart = ChartBuilder::on(area)
            .margin_left(16)
            .margin_right(24)
            .margin_bottom(12)
            .x_label_area_size(60)
            .y_label_area_size(84)
            .build_cartesian_2d(xs.log_scale(), ys.clone().log_scale())?;
        chart
            .configure_mesh()
            .light_line_style(canvas::WHITE)
            .bold_line_style(canvas::GRID)
            .axis_style(canvas::INK)
            .x_desc(&self.x_label)
            .y_desc(&self.y_label)
            .x_label_formatter(&|value| size(*value))
            .y_label_formatter(&|value| size(*value))
            .label_style(canvas::text(15))
            .axis_desc_style(canvas::text(17))
            .draw()?;
        for (name, points) in &self.series {
            let index = names.iter().position(|other| other == name).unwrap_or(0);
            let points: Vec<_> = points.iter().copied().filter(can_be_drawn).collect();
            let (Some(first), Some(last)) = (points.first(), points.last()) else {
                continue;
            };
            // To where the picture ends at its top.
            let end = last.0.min(first.0 * ys.end / first.1);
            let in_step = [*first, (end, first.1 * end / first.0)];
            let faint: ShapeStyle = canvas::FAINT.stroke_width(2);
            chart.draw_series(DashedLineSeries::new(in_step, DASH, DASH, faint))?;
            let stroke = canvas::colour(index).stroke_width(3);
            chart.draw_series(LineSeries::new(points.iter().copied(), stroke))?;
            let mark = |point| Circle::new(point, MARK, canvas::fill(index));
            chart.draw_series(points.into_iter().map(mark))?;
        }
        Ok(())
    }
}

/// The powers of ten around the values, which are not none.
fn decades(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::INFINITY, 0.0_f64), |(least, most), value| {
        (least.min(value), most.max(value))
    });
    let (from, to) = (least.log10().floor(), most.log10().ceil());
    // A single value may be a power of ten itself.
    10_f64.powf(from)..10_f64.powf(to.max(from + 1.0))
}

fn can_be_drawn((x, y): &(f64, f64)) -> bool {
    x.is_finite() && y.is_finite() && *x > 0.0 && *y > 0.0
}

/// A power of ten as people say it.
fn size(value: f64) -> String {
    let (scaled, unit) = match value {
        value if value >= 1e6 => (value / 1e6, "M"),
        value if value >= 1e3 => (value / 1e3, "k"),
        value => (value, ""),
    };
    format!("{}{unit}", canvas::tick(scaled))
}
