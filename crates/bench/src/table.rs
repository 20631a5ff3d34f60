//! Medians, and tables as Markdown, so that they can be pasted.

use std::time::Duration;

/// The middle value; of an even number of values the mean of the two in the middle. Zero for none.
pub fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match (sorted.len(), sorted.len() / 2) {
        (0, _) => 0.0,
        (length, middle) if length % 2 == 1 => sorted[middle],
        (_, middle) => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// `ours ÷ theirs`, or a dash when one of them is missing.
pub fn ratio(ours: Option<f64>, theirs: f64) -> String {
    match ours {
        Some(ours) if theirs > 0.0 => format!("{:.2}", ours / theirs),
        _ => "–".into(),
    }
}

/// A duration in the unit that suits it.
pub fn duration(duration: Duration) -> String {
    let micros = duration.as_secs_f64() * 1e6;
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// Rows of text, printed with aligned columns: the first to the left, the others to the right.
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

    /// Adds a row of dashes and says below the table why it is empty.
    pub fn absent(&mut self, name: &str, why: &str) {
        let mut cells = vec!["–".to_owned(); self.rows[0].len()];
        cells[0] = name.to_owned();
        self.rows.push(cells);
        self.note(name, why);
    }

    /// Adds a remark below the table.
    pub fn note(&mut self, name: &str, remark: &str) {
        self.notes.push(format!("{name}: {}", remark.trim()));
    }

    /// Prints it under a title.
    pub fn print(&self, title: &str) {
        let widths: Vec<usize> = (0..self.rows[0].len())
            .map(|column| {
                let width = |row: &Vec<String>| row.get(column).map_or(0, |c| c.chars().count());
                self.rows.iter().map(width).max().unwrap_or(0).max(2)
            })
            .collect();
        println!("\n### {title}\n");
        for (number, row) in self.rows.iter().enumerate() {
            let cells: Vec<String> = row
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(column, (cell, &width))| match column {
                    0 => format!("{cell:<width$}"),
                    _ => format!("{cell:>width$}"),
                })
                .collect();
            println!("| {} |", cells.join(" | "));
            if number == 0 {
                let rules: Vec<String> = widths
                    .iter()
                    .enumerate()
                    .map(|(column, width)| match column {
                        0 => "-".repeat(*width),
                        _ => format!("{}:", "-".repeat(width - 1)),
                    })
                    .collect();
                println!("| {} |", rules.join(" | "));
            }
        }
        if !self.notes.is_empty() {
            println!();
        }
        for note in &self.notes {
            println!("- {note}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        for (values, middle) in
            [(vec![], 0.0), (vec![3.0], 3.0), (vec![9.0, 1.0, 2.0], 2.0), (vec![4.0, 1.0, 2.0, 9.0], 3.0)]
        {
            assert_eq!(median(values), middle);
        }
    }
}
