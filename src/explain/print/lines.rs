//! Lines in columns.

use std::io::{self, Write};

use jiff::Timestamp;

/// A heading, with an empty line above.
pub(super) fn heading(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "\n{text}")
}

/// One `name  value` a line.
pub(super) fn fields(out: &mut impl Write, rows: &[(&str, String)]) -> io::Result<()> {
    rows.iter().try_for_each(|(name, value)| writeln!(out, "  {name:<13} {value}"))
}

/// Columns as wide as what is in them; the last one as long as it is.
pub(super) fn table(out: &mut impl Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "  none");
    }
    let head = (!head.is_empty()).then(|| head.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    let rows: Vec<&Vec<String>> = head.iter().chain(rows).collect();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in &rows {
        let cells = row.iter().enumerate().map(|(column, cell)| {
            let width = width(column).unwrap_or_default() + 2;
            if column + 1 == row.len() { cell.clone() } else { format!("{cell:<width$}") }
        });
        writeln!(out, "  {}", cells.collect::<String>().trim_end())?;
    }
    Ok(())
}

/// Seconds of the units in which a distance is told.
const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// An instant, and how far it is: `2026-11-22T02:00:00Z (in 1h 30m)`.
pub(super) fn relative(at: Timestamp, now: Timestamp) -> String {
    let seconds = at.as_second() - now.as_second();
    let mut left = seconds.abs();
    let parts: Vec<String> = UNITS
        .iter()
        .filter_map(|(unit, letter)| {
            let number = left / unit;
            left %= unit;
            (number > 0).then(|| format!("{number}{letter}"))
        })
        .take(2)
        .collect();
    match (parts.is_empty(), seconds > 0) {
        (true, _) => format!("{at} (now)"),
        (false, true) => format!("{at} (in {})", parts.join(" ")),
        (false, false) => format!("{at} ({} ago)", parts.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_told_in_two_units() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let told = |at: &str| relative(at.parse().unwrap(), now);
        assert_eq!(told("2026-11-22T03:30:05Z"), "2026-11-22T03:30:05Z (in 1h 30m)");
        assert_eq!(told("2026-11-20T02:00:00Z"), "2026-11-20T02:00:00Z (2d ago)");
        assert_eq!(told("2026-11-22T02:00:00Z"), "2026-11-22T02:00:00Z (now)");
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let mut out = Vec::new();
        table(&mut out, &["A", "B"], &[vec!["long".to_owned(), "x".to_owned()], vec!["s".to_owned(), "y".to_owned()]])
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  A     B\n  long  x\n  s     y\n");
    }
}
