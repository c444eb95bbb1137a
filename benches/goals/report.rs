//! What was measured, and the table of all of it.

use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Result, scratch};

/// One figure.
#[derive(Debug, Deserialize, Serialize)]
pub struct Figure {
    /// What it is.
    pub what: String,
    /// Its value.
    pub value: f64,
    /// Its unit; a ratio has none.
    pub unit: String,
    /// What it is held against; most have none.
    pub goal: Option<Goal>,
}

/// A goal.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub enum Goal {
    /// The figure should not be smaller.
    AtLeast(f64),
    /// The figure should not be larger.
    AtMost(f64),
}

/// A figure that has no goal.
pub fn note(what: impl Into<String>, value: f64, unit: &str) -> Result<()> {
    record(&Figure { what: what.into(), value, unit: unit.to_owned(), goal: None })
}

/// A figure that has one.
pub fn compare(what: impl Into<String>, value: f64, unit: &str, goal: Goal) -> Result<()> {
    record(&Figure { what: what.into(), value, unit: unit.to_owned(), goal: Some(goal) })
}

/// Prints a figure as soon as it is known, and keeps it for the table.
fn record(figure: &Figure) -> Result<()> {
    println!("{}", line(figure));
    let mut file = File::options().create(true).append(true).open(path()?)?;
    writeln!(file, "{}", serde_json::to_string(figure)?)?;
    Ok(())
}

/// Prints the table: first what has a goal, then the rest.
pub fn print() -> Result<()> {
    let text = std::fs::read_to_string(path()?)?;
    let figures: Vec<Figure> = text.lines().map(serde_json::from_str).collect::<std::result::Result<_, _>>()?;
    let (goals, others): (Vec<_>, Vec<_>) = figures.iter().partition(|figure| figure.goal.is_some());
    println!("\n{:<66} {:>12}  {:>12}  {:>9}", "GOALS", "measured", "goal", "of goal");
    for figure in goals {
        println!("{}", line(figure));
    }
    println!("\nBESIDES");
    for figure in others {
        println!("{}", line(figure));
    }
    Ok(())
}

fn line(figure: &Figure) -> String {
    let Figure { what, value, unit, goal } = figure;
    let measured = format!("{} {unit}", number(*value));
    let Some(goal) = goal else { return format!("{what:<66} {:>12}", measured.trim_end()) };
    let (sign, limit, met) = match goal {
        Goal::AtLeast(limit) => ('≥', limit, value >= limit),
        Goal::AtMost(limit) => ('≤', limit, value <= limit),
    };
    let verdict = if met { "met" } else { "MISSED" };
    let goal = format!("{sign} {} {unit}", number(*limit));
    format!("{what:<66} {:>12}  {:>12}  {:>9.2}  {verdict}", measured.trim_end(), goal.trim_end(), value / limit)
}

/// Three digits are more than a busy machine can measure.
fn number(value: f64) -> String {
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn path() -> Result<PathBuf> {
    Ok(scratch()?.join("figures"))
}
