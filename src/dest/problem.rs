//! What is wrong with a source of destinations, said so that an operator can mend it.

use core::fmt;

/// How much a problem costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The destination is not loaded.
    Error,
    /// The destination is loaded; something in its line has no effect.
    Warning,
}

/// One finding, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// From 1.
    pub line: usize,
    /// In bytes, from 1.
    pub column: usize,
    /// What it costs.
    pub severity: Severity,
    /// What was found and what is accepted.
    pub text: String,
}

impl Problem {
    /// A finding that costs the destination.
    pub fn error(line: usize, column: usize, text: impl Into<String>) -> Self {
        Self { line, column, severity: Severity::Error, text: text.into() }
    }

    /// A finding that costs nothing but attention.
    pub fn warning(line: usize, column: usize, text: impl Into<String>) -> Self {
        Self { line, column, severity: Severity::Warning, text: text.into() }
    }
}

/// `line:column: text`; who prints it puts the file's name before.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let effect = match self.severity {
            Severity::Error => "line not loaded",
            Severity::Warning => "line loaded",
        };
        write!(f, "{}:{}: {} ({effect})", self.line, self.column, self.text)
    }
}

/// The bytes as an operator may see them in a log: cut to 60 and made printable.
pub fn shown(bytes: &[u8]) -> String {
    let cut = bytes.get(..60).unwrap_or(bytes);
    let dots = if cut.len() < bytes.len() { "…" } else { "" };
    format!("'{}{dots}'", cut.escape_ascii())
}
