//! Rows for people: columns as wide as their widest cell.

use crate::output::Output;

/// Rows under a header.
#[derive(Debug)]
pub(crate) struct Table<const N: usize> {
    header: [&'static str; N],
    rows: Vec<[String; N]>,
    text_last: bool,
}

impl<const N: usize> Table<N> {
    /// No rows yet.
    pub(crate) const fn new(header: [&'static str; N]) -> Self {
        Self { header, rows: Vec::new(), text_last: false }
    }

    /// The last column is text of any length, to the left.
    #[must_use]
    pub(crate) const fn with_text_last(mut self) -> Self {
        self.text_last = true;
        self
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: [String; N]) {
        self.rows.push(row.map(|cell| printable(&cell)));
    }

    /// There is nothing to show.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Prints header and rows: the first column to the left, the others to the right.
    pub(crate) fn print(&self, output: &Output) {
        let header = self.header.map(str::to_owned);
        let mut widths = [0; N];
        for row in std::iter::once(&header).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |row: &[String; N]| {
            let cells = row.iter().zip(widths).enumerate().map(|(at, (cell, width))| match at {
                0 => format!("{cell:<width$}"),
                _ if self.text_last && at == N - 1 => format!("  {cell}"),
                _ => format!("  {cell:>width$}"),
            });
            cells.collect::<String>().trim_end().to_owned()
        };
        let header = line(&header);
        let bold = output.colors_results();
        output.result(&if bold { format!("\x1b[1m{header}\x1b[0m") } else { header });
        self.rows.iter().for_each(|row| output.result(&line(row)));
    }
}

/// A text as a terminal may see it: nothing in it moves the cursor or changes colours.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { '\u{fffd}' } else { char }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_steer_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\r"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
