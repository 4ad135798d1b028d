//! Grouped bars.

use plotters::{
    chart::{ChartBuilder, ChartContext},
    coord::{cartesian::Cartesian2d, types::RangedCoordf64},
    element::{Rectangle, Text},
    prelude::DrawingBackend,
    style::{FontTransform, text_anchor},
};

use super::{Drawn, Picture, Root, canvas};

type Chart<'a, DB> = ChartContext<'a, DB, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

/// Share of a group's width that its bars take.
const FILLED: f64 = 0.8;
const LABEL_SIZE: u32 = 16;
/// Pixels for the groups' names: level, or on their side where they would run into each other.
const LEVEL_ROOM: u32 = 40;
const UPRIGHT_ROOM: u32 = 190;

pub(super) struct Bars<'a> {
    pub title: &'a str,
    pub y_label: &'a str,
    pub groups: &'a [(String, Vec<(String, f64)>)],
}

impl Picture for Bars<'_> {
    fn is_empty(&self) -> bool {
        !self.values().any(f64::is_finite)
    }

    fn draw<DB: DrawingBackend>(&self, root: &Root<DB>) -> Drawn<DB> {
        let series = self.series();
        let area = canvas::header(root, self.title, &series)?;
        let upright = !self.names_fit(&area)?;
        let top = self.values().filter(|v| v.is_finite()).fold(0.0, f64::max);
        let mut chart = ChartBuilder::on(&area)
            .margin_left(24)
            .margin_right(24)
            .margin_bottom(12)
            .x_label_area_size(if upright { UPRIGHT_ROOM } else { LEVEL_ROOM })
            .y_label_area_size(92)
            .build_cartesian_2d(0.0..self.groups.len() as f64, 0.0..above(top))?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(0)
            .light_line_style(canvas::WHITE)
            .bold_line_style(canvas::GRID)
            .axis_style(canvas::INK)
            .y_desc(self.y_label)
            .y_label_formatter(&|value| canvas::tick(*value))
            .label_style(canvas::text(LABEL_SIZE))
            .axis_desc_style(canvas::text(18))
            .draw()?;
        self.draw_bars(&mut chart, &series)?;
        self.draw_names(&area, &chart, upright)
    }
}

impl Bars<'_> {
    fn values(&self) -> impl Iterator<Item = f64> {
        let bars = self.groups.iter().flat_map(|(_, bars)| bars);
        bars.map(|(_, value)| *value)
    }

    /// The series' names in the order in which they first come up.
    fn series(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for (name, _) in self.groups.iter().flat_map(|(_, bars)| bars) {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    fn names_fit<DB: DrawingBackend>(
        &self,
        area: &Root<DB>,
    ) -> Result<bool, plotters::drawing::DrawingAreaErrorKind<DB::ErrorType>> {
        let mut widest = 0;
        for (name, _) in self.groups {
            let size = area.estimate_text_size(name, &canvas::text(LABEL_SIZE))?;
            widest = widest.max(size.0);
        }
        let room = area.dim_in_pixel().0 as usize / self.groups.len().max(1);
        Ok(widest as usize + 12 < room)
    }

    fn draw_bars<DB: DrawingBackend>(&self, chart: &mut Chart<DB>, series: &[&str]) -> Drawn<DB> {
        // As wide in every group; a group without some of the series has its bars in the middle.
        let width = FILLED / self.widest_group() as f64;
        for (group, (_, bars)) in self.groups.iter().enumerate() {
            let left = group as f64 + (1.0 - width * bars.len() as f64) / 2.0;
            for (place, (name, value)) in bars.iter().enumerate() {
                if !value.is_finite() {
                    continue;
                }
                let colour = series.iter().position(|known| known == name);
                let colour = colour.expect("series lists every bar's");
                let x = left + place as f64 * width;
                let corners = [(x, 0.0), (x + width, *value)];
                let bar = Rectangle::new(corners, canvas::fill(colour));
                chart.plotting_area().draw(&bar)?;
            }
        }
        Ok(())
    }

    fn widest_group(&self) -> usize {
        let sizes = self.groups.iter().map(|(_, bars)| bars.len());
        sizes.max().unwrap_or(0).max(1)
    }

    fn draw_names<DB: DrawingBackend>(
        &self,
        area: &Root<DB>,
        chart: &Chart<DB>,
        upright: bool,
    ) -> Drawn<DB> {
        use text_anchor::{HPos, Pos, VPos};
        let style = if upright {
            let font = canvas::text(LABEL_SIZE).transform(FontTransform::Rotate270);
            font.pos(Pos::new(HPos::Right, VPos::Center))
        } else {
            canvas::text(LABEL_SIZE).pos(Pos::new(HPos::Center, VPos::Top))
        };
        // Coordinates are the whole picture's, texts are placed in this part of it.
        let (x0, y0) = area.get_base_pixel();
        for (group, (name, _)) in self.groups.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(group as f64 + 0.5, 0.0));
            let place = (x - x0, y - y0 + 10);
            area.draw(&Text::new(name.clone(), place, style.clone()))?;
        }
        Ok(())
    }
}

/// A little more than `top`, so that the highest bar does not touch the edge.
fn above(top: f64) -> f64 {
    if top > 0.0 { top * 1.06 } else { 1.0 }
}
