//! A parameter with a wrong value, told so that an operator can correct it.

use core::fmt;

/// A parameter with a value that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The parameter.
    pub name: &'static str,
    /// Its value, as the configuration says it.
    pub found: String,
    /// What makes sense.
    pub expected: String,
    /// What is in effect; `None` keeps the server from starting, as it does with the stock module.
    pub instead: Option<String>,
}

impl Finding {
    /// About a text.
    pub fn text(name: &'static str, found: &[u8], expected: impl Into<String>) -> Self {
        let found = format!("\"{}\"", found.escape_ascii());
        Self { name, found, expected: expected.into(), instead: None }
    }

    /// With what is in effect.
    pub fn instead(self, instead: impl Into<String>) -> Self {
        Self { instead: Some(instead.into()), ..self }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, found, expected, instead } = self;
        write!(f, "modparam(\"dispatcher\", \"{name}\", {found}): expected {expected}")?;
        instead.as_ref().map_or(Ok(()), |instead| write!(f, "; {instead}"))
    }
}
