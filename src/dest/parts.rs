//! The `name=value` parts of attributes.

use super::attrs::Wrong;
use super::problem::shown;

/// The `name=value` parts of a text, each with its offset; a `;` in quotes does not part.
pub struct Parts<'a> {
    text: &'a [u8],
    at: usize,
}

/// One of them.
pub struct Part<'a> {
    /// Its offset.
    pub at: usize,
    /// What stands before the `=`.
    pub name: &'a [u8],
    /// What stands behind it, without quotes; wrong where a quote is not closed.
    pub value: Result<&'a [u8], Wrong>,
    /// Whether the value stood in quotes.
    pub quoted: bool,
}

impl<'a> Parts<'a> {
    /// Those of this text.
    pub fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }
}

impl<'a> Iterator for Parts<'a> {
    type Item = Part<'a>;

    fn next(&mut self) -> Option<Part<'a>> {
        loop {
            let start = self.at;
            let rest = self.text.get(start..).filter(|rest| !rest.is_empty())?;
            // A quote opens only at the start of a value; elsewhere it is a letter like any other.
            let (mut quote, mut value_starts) = (None, false);
            let end = rest.iter().position(|&byte| {
                match quote {
                    Some(open) if byte == open => quote = None,
                    None if value_starts && (byte == b'"' || byte == b'\'') => quote = Some(byte),
                    _ => {}
                }
                value_starts = byte == b'=' || value_starts && byte == b' ';
                quote.is_none() && byte == b';'
            });
            let part = rest.get(..end.unwrap_or(rest.len()))?;
            self.at = start + part.len() + 1;
            if part.trim_ascii().is_empty() {
                continue;
            }
            let lead = part.len() - part.trim_ascii_start().len();
            let (name, value) = match part.iter().position(|&byte| byte == b'=') {
                Some(equal) => (part.get(..equal)?.trim_ascii(), part.get(equal + 1..)?.trim_ascii()),
                None => (part.trim_ascii(), &[][..]),
            };
            let at = start + lead;
            let inner = unquoted(value);
            let quoted = inner.len() < value.len();
            let value = match quote {
                Some(_) => Err((at, format!("{}: the quote is not closed", shown(part.trim_ascii())))),
                None => Ok(inner),
            };
            return Some(Part { at, name, value, quoted });
        }
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        _ => value,
    }
}
