//! Medians and spreads over rounds, and Markdown tables of them, which can be pasted.

use std::fmt::Write;
use std::time::Duration;

/// The cell for a missing value.
pub const MISSING: &str = "–";

/// The median. For an even number of values, this is the mean of the two in the middle; for no values, it is zero.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The median, minimum and maximum of a value over the rounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub median: f64,
    /// The smallest value of a round.
    pub min: f64,
    /// The largest value of a round.
    pub max: f64,
}

impl Spread {
    /// The spread of these values, one for each round. `None` without values.
    pub fn of(values: &[f64]) -> Option<Spread> {
        let min = values.iter().copied().min_by(f64::total_cmp)?;
        let max = values.iter().copied().max_by(f64::total_cmp)?;
        Some(Spread { median: median(values.iter().copied()), min, max })
    }

    /// The spread of the ratios of two measurements, which are divided round by round: what slows down a whole round
    /// affects both of them. `None` without rounds, and when a divisor is not positive.
    pub fn of_ratios(dividends: &[f64], divisors: &[f64]) -> Option<Spread> {
        if divisors.iter().any(|&divisor| divisor <= 0.0) {
            return None;
        }
        let ratios: Vec<f64> = dividends.iter().zip(divisors).map(|(dividend, divisor)| dividend / divisor).collect();
        Spread::of(&ratios)
    }

    /// The cell `median (min to max)`, with each value formatted by `format`.
    pub fn cell(self, format: impl Fn(f64) -> String) -> String {
        format!("{} ({} to {})", format(self.median), format(self.min), format(self.max))
    }
}

/// The cell for a ratio with its spread, or a dash when it is missing.
pub fn ratio_cell(ratio: Option<Spread>) -> String {
    ratio.map_or_else(|| MISSING.into(), |spread| spread.cell(|value| format!("{value:.2}")))
}

/// The cell for a duration, with a suitable unit.
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// The cell for the median of durations in seconds.
pub fn median_duration(seconds: impl IntoIterator<Item = f64>) -> String {
    duration(Duration::from_secs_f64(median(seconds)))
}

/// A table with aligned columns, of which the first is aligned to the left and the others to the right; and notes below
/// it.
pub struct Table {
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// A table with these column names.
    pub fn new(columns: &[&str]) -> Self {
        Table { rows: vec![columns.iter().map(|&name| name.to_owned()).collect()], notes: Vec::new() }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a row of dashes, and a note that says why there are no values.
    pub fn missing_row(&mut self, name: &str, reason: &str) {
        let mut cells = vec![MISSING.to_owned(); self.rows[0].len()];
        cells[0] = name.to_owned();
        self.rows.push(cells);
        self.note(name, reason);
    }

    /// Adds a note about a row.
    pub fn note(&mut self, name: &str, note: &str) {
        self.notes.push(format!("{name}: {}", note.trim()));
    }

    /// Prints the table with a title.
    pub fn print(&self, title: &str) {
        print!("\n### {title}\n\n{}", self.markdown());
    }

    /// The table and its notes as Markdown.
    pub fn markdown(&self) -> String {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| {
                let width = |row: &Vec<String>| row.get(column).map_or(0, |cell| cell.chars().count());
                self.rows.iter().map(width).max().unwrap_or(0).max(2)
            })
            .collect();
        let mut text = String::new();
        let mut line = |cells: Vec<String>| {
            let _ = writeln!(text, "| {} |", cells.join(" | "));
        };
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate();
            line(
                cells
                    .map(|(column, (cell, &width))| match column {
                        0 => format!("{cell:<width$}"),
                        _ => format!("{cell:>width$}"),
                    })
                    .collect(),
            );
            if number == 0 {
                let columns = widths.iter().enumerate();
                line(
                    columns
                        .map(|(column, &width)| match column {
                            0 => "-".repeat(width),
                            _ => format!("{}:", "-".repeat(width - 1)),
                        })
                        .collect(),
                );
            }
        }
        for (number, note) in self.notes.iter().enumerate() {
            let _ = writeln!(text, "{}- {note}", if number == 0 { "\n" } else { "" });
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        for (values, middle) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert_eq!(median(values), middle);
        }
    }

    #[test]
    fn a_ratio_is_computed_for_each_round() {
        // The third round was slow for both servers, which does not change their ratio.
        let (ours, theirs) = ([200.0, 240.0, 20.0], [100.0, 100.0, 10.0]);
        let ratio = Spread::of_ratios(&ours, &theirs);
        assert_eq!(ratio, Some(Spread { median: 2.0, min: 2.0, max: 2.4 }));
        assert_eq!(ratio_cell(ratio), "2.00 (2.00 to 2.40)");
    }

    #[test]
    fn a_ratio_without_rounds_or_with_a_zero_divisor_is_missing() {
        for (dividends, divisors) in [(&[][..], &[][..]), (&[1.0], &[0.0]), (&[1.0, 1.0], &[1.0, 0.0])] {
            assert_eq!(ratio_cell(Spread::of_ratios(dividends, divisors)), "–");
        }
    }

    #[test]
    fn a_table_is_markdown_with_aligned_columns_and_notes() {
        let mut table = Table::new(&["peer", "req/s", "ratio"]);
        table.row(vec!["a".into(), "1000".into(), ratio_cell(Spread::of(&[1.0, 0.5, 2.0]))]);
        table.missing_row("b", "is not installed\n");
        let expected = "\
| peer | req/s |               ratio |
| ---- | ----: | ------------------: |
| a    |  1000 | 1.00 (0.50 to 2.00) |
| b    |     – |                   – |

- b: is not installed
";
        assert_eq!(table.markdown(), expected);
    }
}
