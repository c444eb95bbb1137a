//! Aligned columns. Printed values come from other users, a token's claims from any client: they are escaped for the
//! terminal.

use std::borrow::Cow;
use std::io::{self, Write};

use jiff::Timestamp;

/// One line.
pub(super) fn line(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out, "{}", plain(text))
}

/// A heading, with an empty line above.
pub(super) fn heading(out: &mut impl Write, text: &str) -> io::Result<()> {
    writeln!(out)?;
    line(out, text)
}

/// One `name  value` a line.
pub(super) fn fields(out: &mut impl Write, rows: &[(&str, String)]) -> io::Result<()> {
    rows.iter().try_for_each(|(name, value)| line(out, &format!("  {name:<13} {value}")))
}

/// Columns as wide as their content; the last one is not padded.
pub(super) fn table(out: &mut impl Write, head: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "  none");
    }
    let head = (!head.is_empty()).then(|| head.iter().map(|title| (*title).to_owned()).collect::<Vec<_>>());
    let escaped = |row: &Vec<String>| row.iter().map(|cell| plain(cell).into_owned()).collect();
    let rows: Vec<Vec<String>> = head.iter().chain(rows).map(escaped).collect();
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

/// The text, with all characters escaped that would move the cursor, break the line, or hide or reverse text.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(is_active) {
        return Cow::Borrowed(text);
    }
    let escaped = text.chars().map(|c| if is_active(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(escaped.collect())
}

/// Control characters, line and paragraph separators, and invisible characters: joiners, those that set the direction
/// of text (UAX #9), byte order mark and tags.
fn is_active(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{61c}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Seconds of the units of a printed distance.
const UNITS: [(i64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];

/// A time and its distance from now: `2026-11-22T02:00:00Z (in 1h 30m)`.
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
    fn relative_times_are_printed_in_at_most_two_units() {
        let now: Timestamp = "2026-11-22T02:00:00Z".parse().unwrap();
        let told = |at: &str| relative(at.parse().unwrap(), now);
        assert_eq!(told("2026-11-22T03:30:05Z"), "2026-11-22T03:30:05Z (in 1h 30m)");
        assert_eq!(told("2026-11-20T02:00:00Z"), "2026-11-20T02:00:00Z (2d ago)");
        assert_eq!(told("2026-11-22T02:00:00Z"), "2026-11-22T02:00:00Z (now)");
    }

    #[test]
    fn nothing_in_a_text_acts_on_the_terminal() {
        let mut out = Vec::new();
        let evil = "a\u{1b}[2Jb\nReady yes\r\u{9b}31m\u{202e}txt\u{2066}é";
        heading(&mut out, evil).unwrap();
        fields(&mut out, &[("Issuer", evil.to_owned())]).unwrap();
        table(&mut out, &[], &[vec![evil.to_owned(), "x".to_owned()]]).unwrap();
        let told = String::from_utf8(out).unwrap();
        let shown = r"a\u{1b}[2Jb\nReady yes\r\u{9b}31m\u{202e}txt\u{2066}é";
        assert_eq!(told, format!("\n{shown}\n  Issuer        {shown}\n  {shown}  x\n"));
    }

    #[test]
    fn columns_are_as_wide_as_their_content() {
        let mut out = Vec::new();
        table(&mut out, &["A", "B"], &[vec!["long".to_owned(), "x".to_owned()], vec!["s".to_owned(), "y".to_owned()]])
            .unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "  A     B\n  long  x\n  s     y\n");
    }
}
