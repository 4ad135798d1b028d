//! A table for a terminal: names to the left, numbers to the right.

use std::fmt;

/// Rows of cells under a heading. A row that is shorter than the heading ends early.
#[derive(Debug, Clone)]
pub struct TextTable {
    rows: Vec<Vec<String>>,
}

impl TextTable {
    pub fn new<'a>(heading: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            rows: vec![heading.into_iter().map(str::to_owned).collect()],
        }
    }

    pub fn push(&mut self, row: impl IntoIterator<Item = String>) {
        self.rows.push(row.into_iter().collect());
    }

    /// The same for as many columns as are found while it runs.
    pub fn of(heading: Vec<String>) -> Self {
        Self {
            rows: vec![heading],
        }
    }

    pub fn row(&mut self, row: Vec<String>) {
        self.rows.push(row);
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let widest = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(widest).collect()
    }
}

impl fmt::Display for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let widths = self.widths();
        for row in &self.rows {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            });
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = TextTable::new(["split", "req/s"]);
        table.push(["2P2D".into(), "9.5".into()]);
        table.push(["10P6D".into(), "123.4".into()]);
        assert_eq!(
            table.to_string(),
            "split  req/s\n2P2D     9.5\n10P6D  123.4\n"
        );
    }
}
