//! What is wrong with a source of destinations, told so that an operator can correct it.

use core::fmt;
use std::collections::HashSet;

/// The consequence of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The destination is not loaded.
    Error,
    /// The destination is loaded; something of it has no effect.
    Warning,
}

impl Severity {
    /// As reports name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// Where in its source something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SourcePosition {
    /// In a text: line and column in bytes, both from 1.
    Line(usize, usize),
    /// In a table: the row, from 1, as the database gave them.
    Row(usize),
}

impl fmt::Display for SourcePosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line, column) => write!(f, "{line}:{column}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

impl SourcePosition {
    /// The place in a message about another destination.
    pub fn of_other(self) -> String {
        match self {
            Self::Line(line, _) => format!("on line {line}"),
            Self::Row(row) => format!("in row {row}"),
        }
    }
}

/// The id that `ds_is_from_list` takes for all sets.
pub const ALL_SETS: i32 = -1;
/// The warning about a set with that id.
pub const OF_ALL_SETS: &str = "set -1: ds_is_from_list takes -1 for all sets";

/// One finding, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where.
    pub place: SourcePosition,
    /// Its consequence.
    pub severity: Severity,
    /// What was found and what is accepted.
    pub text: String,
    /// What is in effect instead of what was found, if the destination is loaded in spite of it.
    pub instead: Option<String>,
}

impl Problem {
    /// A finding because of which the destination is not loaded.
    pub fn error(place: SourcePosition, text: impl Into<String>) -> Self {
        Self { place, severity: Severity::Error, text: text.into(), instead: None }
    }

    /// A finding about a destination that is loaded.
    pub fn warning(place: SourcePosition, text: impl Into<String>) -> Self {
        Self { place, severity: Severity::Warning, text: text.into(), instead: None }
    }

    /// A finding about a value that is corrected. With `ds_load_mode` 1 the destination is not loaded.
    pub fn mended(place: SourcePosition, text: impl Into<String>, instead: impl Into<String>) -> Self {
        Self { instead: Some(instead.into()), ..Self::warning(place, text) }
    }

    /// With `ds_load_mode` 1 nothing is corrected: such a finding is an error.
    pub fn be_strict(&mut self) {
        if self.instead.take().is_some() {
            self.severity = Severity::Error;
        }
    }

    /// What was found, what is accepted and what is in effect, without the place.
    pub fn told(&self) -> String {
        self.instead.as_ref().map_or_else(|| self.text.clone(), |instead| format!("{}; {instead}", self.text))
    }
}

/// A line that means the same destination as one elsewhere: by `duid`, or by `uri` where it has none. Both are chosen, but count and
/// change state as one.
pub fn shared_identity(place: SourcePosition, duid: &[u8], uri: &[u8], other: SourcePosition) -> Problem {
    let (kind, name) = if duid.is_empty() { ("destination", uri) } else { ("duid", duid) };
    let (name, other) = (shown(name), other.of_other());
    Problem::warning(place, format!("{kind} {name} is also {other}: both count as one destination"))
}

fn unit(problem: &Problem) -> usize {
    match problem.place {
        SourcePosition::Line(number, _) | SourcePosition::Row(number) => number,
    }
}

fn lost_units(problems: &[Problem]) -> HashSet<usize> {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
    errors.map(unit).collect()
}

/// How many lines or rows have errors, and so are not loaded.
pub fn lost(problems: &[Problem]) -> usize {
    lost_units(problems).len()
}

/// How many of `count` lines or rows have errors, in words.
pub fn share(problems: &[Problem], count: usize) -> String {
    let wrong = lost(problems);
    let rows = problems.iter().any(|problem| matches!(problem.place, SourcePosition::Row(_)));
    let unit = if rows { "row" } else { "line" };
    match (wrong, count) {
        (1, 1) => format!("the only {unit} has errors"),
        (1, _) => format!("1 of {count} {unit}s has errors"),
        _ if wrong == count => format!("all {count} {unit}s have errors"),
        _ => format!("{wrong} of {count} {unit}s have errors"),
    }
}

/// In the order of the source. What is not loaded has no warnings.
pub fn arranged(mut problems: Vec<Problem>) -> Vec<Problem> {
    let lost = lost_units(&problems);
    problems.retain(|problem| problem.severity == Severity::Error || !lost.contains(&unit(problem)));
    problems.sort_by_key(|problem| problem.place);
    problems
}

/// `place: text`; the caller puts the source's name before it.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.place {
            SourcePosition::Line(..) => "line",
            SourcePosition::Row(_) => "row",
        };
        let effect = match self.severity {
            Severity::Error => "not loaded",
            Severity::Warning => "loaded",
        };
        write!(f, "{}: {} ({unit} {effect})", self.place, self.told())
    }
}

/// The bytes as an operator may see them in a log: cut to 60 and made printable.
pub fn shown(bytes: &[u8]) -> String {
    let cut = bytes.get(..60).unwrap_or(bytes);
    let dots = if cut.len() < bytes.len() { "…" } else { "" };
    format!("'{}{dots}'", cut.escape_ascii())
}

/// A number with something behind it, or out of range: what is in effect.
pub fn in_effect(number: impl fmt::Display, rest: &[u8]) -> String {
    match rest {
        [] => format!("{number} is in effect"),
        rest => format!("{number} is in effect, {} is ignored", shown(rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_of_wrong_lines_counts_each_line_once_and_no_warnings() {
        let (first, other) = (SourcePosition::Line(1, 3), SourcePosition::Line(1, 9));
        let problems = [Problem::error(first, "a"), Problem::error(other, "b")];
        assert_eq!(share(&problems, 1), "the only line has errors");
        assert_eq!(share(&problems, 12), "1 of 12 lines has errors");
        let rows =
            [Problem::error(SourcePosition::Row(1), "a"), Problem::warning(SourcePosition::Row(2), "b")];
        assert_eq!((share(&rows, 2).as_str(), lost(&rows)), ("1 of 2 rows has errors", 1));
    }
}
