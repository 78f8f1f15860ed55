//! What a request for the status page asks for.

use crate::service::report::status::Cursor;

/// In which form the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// The page, which asks for the rest itself.
    Page,
    /// The script of the page.
    Script,
    /// For programs.
    Json,
    /// For a terminal.
    Text,
}

/// What a JSON answer tells of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// All, with names.
    Objects,
    /// What is configured, as an array.
    List,
    /// What changes by itself, as an array.
    Now,
}

/// A request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Query {
    /// The form.
    pub form: Form,
    /// Which rows, in JSON.
    pub rows: Rows,
    /// Where the part begins.
    pub from: Cursor,
    /// The one set that is wanted.
    pub set: Option<i32>,
    /// So many destinations at most.
    pub count: usize,
}

impl Query {
    /// Reads the query of a path; the form is by the header `Accept` unless the query has it. The error says what was expected. Other
    /// names than these are left alone.
    pub fn read(uri: &[u8], accept: &[u8]) -> Result<Self, &'static str> {
        let takes = |kind: &[u8]| accept.windows(kind.len()).any(|part| part.eq_ignore_ascii_case(kind));
        let form = match () {
            () if takes(b"text/html") => Form::Page,
            () if takes(b"application/json") => Form::Json,
            () => Form::Text,
        };
        let mut query = Self { form, rows: Rows::Objects, from: Cursor::START, set: None, count: usize::MAX };
        let (_, pairs) = halves(uri, b'?').unwrap_or((uri, &[]));
        for pair in pairs.split(|byte| *byte == b'&') {
            let (name, value) = halves(pair, b'=').unwrap_or((pair, &[]));
            match name {
                b"format" => {
                    query.form = form_of(value).ok_or("format: expected html, script, json or text")?
                }
                b"rows" => query.rows = rows_of(value).ok_or("rows: expected list or now")?,
                b"from" => query.from = place_of(value).ok_or("from: expected SET:POSITION")?,
                b"set" => query.set = Some(number(value).ok_or("set: expected the number of a set")?),
                b"count" => query.count = number(value).ok_or("count: expected a number from 0")?,
                _ => (),
            }
        }
        Ok(query)
    }
}

fn form_of(value: &[u8]) -> Option<Form> {
    match value {
        b"html" => Some(Form::Page),
        b"script" => Some(Form::Script),
        b"json" => Some(Form::Json),
        b"text" => Some(Form::Text),
        _ => None,
    }
}

fn rows_of(value: &[u8]) -> Option<Rows> {
    match value {
        b"list" => Some(Rows::List),
        b"now" => Some(Rows::Now),
        _ => None,
    }
}

/// A set and a position; the colon may be escaped.
fn place_of(value: &[u8]) -> Option<Cursor> {
    let text = core::str::from_utf8(value).ok()?;
    let (set, at) =
        text.split_once(':').or_else(|| text.split_once("%3A")).or_else(|| text.split_once("%3a"))?;
    Some(Cursor { set: set.parse().ok()?, at: at.parse().ok()? })
}

fn number<T: core::str::FromStr>(value: &[u8]) -> Option<T> {
    core::str::from_utf8(value).ok()?.parse().ok()
}

/// What is before and behind the first of this byte.
fn halves(text: &[u8], byte: u8) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|one| *one == byte)?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_gets_the_page_and_curl_a_text_unless_the_query_says_otherwise() {
        let form = |uri: &[u8], accept: &[u8]| Query::read(uri, accept).unwrap().form;
        assert_eq!(form(b"/status", b"text/html,application/xhtml+xml,*/*;q=0.8"), Form::Page);
        assert_eq!(form(b"/status", b"Application/JSON"), Form::Json);
        assert_eq!([form(b"/status", b"*/*"), form(b"/status", b"")], [Form::Text, Form::Text]);
        assert_eq!(form(b"/status?format=json", b"text/html"), Form::Json);
        assert_eq!(form(b"/status?x=y&format=html", b"*/*"), Form::Page);
    }

    #[test]
    fn a_part_is_asked_for_by_set_and_position() {
        let read = |uri: &[u8]| Query::read(uri, b"").unwrap();
        let whole = read(b"/status");
        assert_eq!((whole.from, whole.set, whole.count), (Cursor::START, None, usize::MAX));
        let part = read(b"/status?from=-7%3A12&set=-7&count=3&rows=now");
        assert_eq!(part.from, Cursor { set: -7, at: 12 });
        assert_eq!((part.set, part.count, part.rows), (Some(-7), 3, Rows::Now));
        assert_eq!(read(b"/?from=2:0").from, Cursor { set: 2, at: 0 });
    }

    #[test]
    fn what_makes_no_sense_is_told() {
        for (uri, word) in [
            ("/?from=", "from:"),
            ("/?from=1", "from:"),
            ("/?from=1:-1", "from:"),
            ("/?from=1:99999999999999999999", "from:"),
            ("/?set=99999999999", "set:"),
            ("/?count=many", "count:"),
            ("/?rows=all", "rows:"),
            ("/?format=xml", "format:"),
        ] {
            assert!(Query::read(uri.as_bytes(), b"").unwrap_err().starts_with(word), "{uri}");
        }
    }
}
