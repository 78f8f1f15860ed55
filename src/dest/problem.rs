//! What is wrong with a source of destinations, said so that an operator can mend it.

use core::fmt;
use std::collections::HashSet;

/// How much a problem costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The destination is not loaded.
    Error,
    /// The destination is loaded; something of it has no effect.
    Warning,
}

/// Where in its source something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In a text: line and column in bytes, both from 1.
    Line(usize, usize),
    /// In a table: the row, from 1, as the database gave them.
    Row(usize),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line, column) => write!(f, "{line}:{column}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

impl Place {
    /// As another destination is told where this one stands.
    pub fn of_other(self) -> String {
        match self {
            Self::Line(line, _) => format!("on line {line}"),
            Self::Row(row) => format!("in row {row}"),
        }
    }
}

/// One finding, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: Place,
    /// What it costs.
    pub severity: Severity,
    /// What was found and what is accepted.
    pub text: String,
}

impl Problem {
    /// A finding that costs the destination.
    pub fn error(place: Place, text: impl Into<String>) -> Self {
        Self { place, severity: Severity::Error, text: text.into() }
    }

    /// A finding that costs nothing but attention.
    pub fn warning(place: Place, text: impl Into<String>) -> Self {
        Self { place, severity: Severity::Warning, text: text.into() }
    }
}

/// In the order of the source. What is not loaded has no warnings.
pub fn arranged(mut problems: Vec<Problem>) -> Vec<Problem> {
    let unit = |problem: &Problem| match problem.place {
        Place::Line(number, _) | Place::Row(number) => number,
    };
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    let lost: HashSet<_> = errors.map(unit).collect();
    problems.retain(|problem| problem.severity == Severity::Error || !lost.contains(&unit(problem)));
    problems.sort_by_key(|problem| problem.place);
    problems
}

/// `place: text`; who prints it puts the source's name before.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.place {
            Place::Line(..) => "line",
            Place::Row(_) => "row",
        };
        let effect = match self.severity {
            Severity::Error => "not loaded",
            Severity::Warning => "loaded",
        };
        write!(f, "{}: {} ({unit} {effect})", self.place, self.text)
    }
}

/// The bytes as an operator may see them in a log: cut to 60 and made printable.
pub fn shown(bytes: &[u8]) -> String {
    let cut = bytes.get(..60).unwrap_or(bytes);
    let dots = if cut.len() < bytes.len() { "…" } else { "" };
    format!("'{}{dots}'", cut.escape_ascii())
}
