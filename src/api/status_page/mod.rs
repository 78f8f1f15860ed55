//! The status page: what a browser, a program or a terminal sees of the sets and destinations by HTTP.
//!
//! Model: `ds_status_page()` answers the request at hand with the page ([`Form::Page`]), or with a part of the destinations in JSON
//! or as plain text. The page's script is an answer of its own. A part ends where it would become longer than [`MOST`] and says where the next one begins: the worker that makes
//! it serves no SIP meanwhile, and the host drops a connection in whose queue too much waits. The page asks for part after part and
//! puts them together.
//!
//! Invariants: nothing is changed, whatever is asked. A text of a destination becomes JSON or plain text, never markup.
//!
//! Not here: who may see it. The script decides before it calls.

mod json;
mod query;
mod text;

use crate::context::{Module, module};
use crate::host::mem::Pool;
use crate::host::message::Message;
use crate::host::script::{Values, Verdict};
use crate::host::xhttp::{self, Answer, Request};
use crate::host::{clock, log, process};
use crate::service::report::status::{self, Cursor, Row};
use crate::state::{Generation, Set};
use query::{Form, Query};

/// Bytes of a part at most.
const MOST: usize = 16 * 1024;
/// Of these for what follows the last destination.
const END: usize = 200;
/// Bytes of a text that are shown.
const SHOWN: usize = 250;

/// Writes the destinations that a part holds: as many as are asked for and fit. `write` is told which set the one before was of, if
/// there was one. Which set the last one is of, and where the next part begins.
fn fill(
    text: &mut String,
    (module, sets): (&Module, &Generation<Pool>),
    query: &Query,
    mut write: impl FnMut(&mut String, Option<i32>, &Set<Pool>, &Row<'_>),
) -> (Option<i32>, Option<Cursor>) {
    let (mut open, mut left) = (None, query.count);
    let next = status::show(module.root, sets, query.from, query.set, |set, row| {
        let before = text.len();
        write(text, open, set, &row);
        let fits = left > 0 && text.len() <= MOST - END;
        if fits {
            (open, left) = (Some(set.id), left - 1);
        } else {
            text.truncate(before);
        }
        fits
    });
    (open, next)
}

/// The page. `NONCE` stands for a word that is another in each answer.
const PAGE: &str = include_str!("page.html");
/// Its script, which it asks for.
const SCRIPT: &str = include_str!("page.js");
const _: () = assert!(PAGE.len() <= MOST && SCRIPT.len() <= MOST, "neither is longer than a part");

/// In each answer: it is not kept, not shown in a frame, not guessed to be something else, not read by other pages.
const ALWAYS: &str = "Cache-Control: no-store\r\nX-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\n\
    Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n";
/// Nothing may be loaded or run.
const NOTHING: &str = "Content-Security-Policy: default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n";

/// `ds_status_page()`: answers the HTTP request at hand with the page, or with a part of what it shows.
pub fn status_page(msg: &mut Message, _: &Values<'_>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let Some(request) = Request::of(msg) else { return refused("there is no HTTP request to answer") };
    let made = match request.method() {
        b"GET" | b"HEAD" => made(module, &request),
        _ => Ok(Made {
            status: (405, "Method Not Allowed"),
            headers: format!("{NOTHING}Allow: GET, HEAD\r\n"),
            ..Made::text("only GET and HEAD: nothing can be changed here\n".into())
        }),
    };
    let made = match made {
        Ok(made) => made,
        Err(text) => return refused(&text),
    };
    let headers = format!("{ALWAYS}{}", made.headers);
    let answer =
        Answer { status: made.status, kind: made.kind, headers: &headers, body: made.body.as_bytes() };
    if xhttp::reply(msg, &answer) {
        Verdict::True
    } else {
        refused("the module xhttp is not loaded, or cannot answer")
    }
}

fn refused(why: &str) -> Verdict {
    log::error(format_args!("ds_status_page: {why}"));
    Verdict::FALSE
}

/// An answer before it is sent.
struct Made {
    status: (u16, &'static str),
    kind: &'static str,
    headers: String,
    body: String,
}

impl Made {
    /// A plain text.
    fn text(body: String) -> Self {
        Self { status: (200, "OK"), kind: "text/plain; charset=utf-8", headers: NOTHING.into(), body }
    }
}

fn made(module: &Module, request: &Request<'_>) -> Result<Made, String> {
    let accept = request.header(b"Accept").unwrap_or_default();
    let query = match Query::read(request.uri(), accept) {
        Ok(query) => query,
        Err(expected) => {
            let text = Made::text(format!("{expected}\n"));
            return Ok(Made { status: (400, "Bad Request"), ..text });
        }
    };
    let now = clock::wall_millis();
    match query.form {
        Form::Page => page(),
        Form::Script => Ok(Made { kind: "text/javascript; charset=utf-8", ..Made::text(SCRIPT.into()) }),
        Form::Json => {
            let sets = module.sets().ok_or("the sets cannot be read")?;
            let body = json::part(module, &sets, &query, now);
            Ok(Made { kind: "application/json", ..Made::text(body) })
        }
        Form::Text => {
            let sets = module.sets().ok_or("the sets cannot be read")?;
            Ok(Made::text(text::part(module, &sets, &query, now)))
        }
    }
}

/// The page, whose own script and style are the only ones that may run in it.
fn page() -> Result<Made, String> {
    let random = process::random::<16>().map_err(|error| format!("no random bytes: {error}"))?;
    let nonce = format!("{:032x}", u128::from_ne_bytes(random));
    let headers = format!(
        "Content-Security-Policy: default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
    );
    let body = PAGE.replace("NONCE", &nonce);
    Ok(Made { status: (200, "OK"), kind: "text/html; charset=utf-8", headers, body })
}

/// A text of a destination as it is shown: UTF-8 without control characters, and cut where it is long.
fn shown(text: &[u8]) -> String {
    use crate::host::rpc::readable;
    let Some(start) = text.get(..SHOWN).filter(|start| start.len() < text.len()) else {
        return String::from_utf8_lossy(&readable(text)).into_owned();
    };
    // Not in the middle of a letter.
    let begun = start.utf8_chunks().last().map_or(0, |last| last.invalid().len());
    let whole = start.get(..start.len() - begun).unwrap_or_default();
    String::from_utf8_lossy(&readable(whole)).into_owned() + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_two_letters_and_odd_bytes_are_shown_as_such() {
        assert_eq!(shown(b"sip:caf\xe9\x01"), "sip:caf\\xe9\\x01");
        let whole = "é".repeat(SHOWN / 2);
        assert_eq!(shown(whole.as_bytes()), whole);
        let long = format!("x{}", "é".repeat(SHOWN));
        let cut = shown(long.as_bytes());
        assert_eq!(cut, format!("x{}…", "é".repeat((SHOWN - 1) / 2)));
    }

    /// The script is a part of its own, as each part has its room.
    const OWN: &str = "src=\"?format=script\"";

    #[test]
    fn nothing_in_the_page_comes_from_elsewhere() {
        for word in ["http:", "https:", "src=", "@import", "url(", "innerHTML", "eval(", "document.write"] {
            assert!(!PAGE.replace(OWN, "").contains(word) && !SCRIPT.contains(word), "{word}");
        }
        assert_eq!(PAGE.matches(OWN).count(), 1);
        assert_eq!(PAGE.matches("NONCE").count(), 2, "one style, one script");
    }
}
