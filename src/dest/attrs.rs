//! The attributes of a destination: `name=value;name=value`, as in the last column of the list file.

use super::problem::shown;
use super::reply_codes::ReplyCodes;
use std::borrow::Cow;

/// What the module reads of the attributes, and the whole text for scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attrs<'t> {
    /// All of them as written, unknown ones too, without a `;` at the end.
    pub body: &'t [u8],
    /// Unique id of the destination in its set; compared without regard to case.
    pub duid: Cow<'t, [u8]>,
    /// Calls at the same time at most; 0 is no limit.
    pub maxload: u32,
    /// How long its replies take, in milliseconds, until something is measured.
    pub latency: u32,
    /// Overload control leaves it out of at least this percentage of selections, when it leaves it out of any.
    pub ocmin: u32,
    /// Share for algorithm 9.
    pub weight: u32,
    /// Share for algorithm 11.
    pub rweight: u32,
    /// Local socket to send from, `proto:host:port`.
    pub socket: &'t [u8],
    /// Local socket to send from, by name; wins over `socket`.
    pub sockname: &'t [u8],
    /// Outbound proxy for probes.
    pub obproxy: &'t [u8],
    /// From URI of probes.
    pub ping_from: &'t [u8],
    /// Local socket to send probes from, `proto:host:port`.
    pub ping_socket: &'t [u8],
    /// Seconds between probes; 0 is `ds_ping_interval`.
    pub ping_interval: u32,
    /// Milliseconds after which a probe has failed; 0 is `ds_ping_fr_timer`.
    pub ping_timeout: u32,
    /// Replies that are good besides 2xx; empty is `ds_ping_reply_codes`.
    pub ping_reply_codes: &'t [u8],
    /// Congestion control: algorithms 11 and 13 look at how much slower than usual it is.
    pub cc: bool,
}

/// A finding in the text: offset in bytes and what is wrong.
pub type Finding = (usize, String);

/// Largest value of a number attribute: what fits the answer of `dispatcher.list`.
pub const MAX_NUMBER: u32 = i32::MAX as u32;

impl Default for Attrs<'_> {
    fn default() -> Self {
        Self {
            body: &[],
            duid: Cow::Borrowed(&[]),
            maxload: 0,
            latency: 0,
            ocmin: 10,
            weight: 0,
            rweight: 0,
            socket: &[],
            sockname: &[],
            obproxy: &[],
            ping_from: &[],
            ping_socket: &[],
            ping_interval: 0,
            ping_timeout: 0,
            ping_reply_codes: &[],
            cc: false,
        }
    }
}

/// The text without a `;` at its end.
pub fn body(text: &[u8]) -> &[u8] {
    text.strip_suffix(b";").unwrap_or(text)
}

/// What stands for a text that says nothing, if this one does (`ds_attrs_none`).
pub fn none(text: &[u8]) -> Option<&'static [u8]> {
    body(text).is_empty().then_some(b"none=yes")
}

impl<'t> Attrs<'t> {
    /// Reads the text. Names are compared without regard to case; values may stand in single or double quotes.
    pub fn parse(text: &'t [u8]) -> Result<Self, Finding> {
        let body = body(text);
        let mut attrs = Self { body, ..Self::default() };
        for (at, name, value) in Parts::of(body) {
            let value = value?;
            let mut lower = [0; LONGEST_NAME];
            let Some(lower) = lower.get_mut(..name.len()) else { continue };
            lower.copy_from_slice(name);
            lower.make_ascii_lowercase();
            let slot = match &*lower {
                b"duid" => {
                    attrs.duid = Cow::Borrowed(value);
                    continue;
                }
                b"socket" => Slot::Text(&mut attrs.socket),
                b"sockname" => Slot::Text(&mut attrs.sockname),
                b"obproxy" => Slot::Text(&mut attrs.obproxy),
                b"ping_from" => Slot::Text(&mut attrs.ping_from),
                b"ping_socket" => Slot::Text(&mut attrs.ping_socket),
                b"ping_reply_codes" => Slot::Codes(&mut attrs.ping_reply_codes),
                b"ping_interval" => Slot::Number(&mut attrs.ping_interval, MAX_NUMBER),
                b"ping_timeout" => Slot::Number(&mut attrs.ping_timeout, MAX_NUMBER),
                b"latency" => Slot::Number(&mut attrs.latency, MAX_NUMBER),
                b"maxload" => Slot::Number(&mut attrs.maxload, MAX_NUMBER),
                b"ocmin" => Slot::Number(&mut attrs.ocmin, 100),
                b"weight" => Slot::Number(&mut attrs.weight, MAX_NUMBER),
                b"rweight" => Slot::Number(&mut attrs.rweight, MAX_NUMBER),
                b"cc" => Slot::Switch(&mut attrs.cc),
                _ => continue,
            };
            match slot {
                Slot::Text(slot) => *slot = value,
                Slot::Number(slot, most) => *slot = number(at, name, value, most)?,
                Slot::Switch(slot) => *slot = number(at, name, value, MAX_NUMBER)? != 0,
                Slot::Codes(slot) => {
                    ReplyCodes::parse(value).map_err(|error| (at, format!("ping_reply_codes: {error}")))?;
                    *slot = value;
                }
            }
        }
        Ok(attrs)
    }
}

/// Bytes of the longest name.
const LONGEST_NAME: usize = b"ping_reply_codes".len();

enum Slot<'a, 't> {
    Text(&'a mut &'t [u8]),
    /// With its largest value.
    Number(&'a mut u32, u32),
    Switch(&'a mut bool),
    Codes(&'a mut &'t [u8]),
}

/// Digits only, `most` at most.
fn number(at: usize, name: &[u8], text: &[u8], most: u32) -> Result<u32, Finding> {
    let digits = text.iter().all(u8::is_ascii_digit);
    let number = core::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    number.filter(|&number| digits && number <= most).ok_or_else(|| {
        let name = String::from_utf8_lossy(name);
        (at, format!("{name}={}: a whole number from 0 to {most} is due", shown(text)))
    })
}

/// The `name=value` parts of a text, each with its offset; a `;` in quotes does not part.
struct Parts<'a> {
    text: &'a [u8],
    at: usize,
}

type Part<'a> = (usize, &'a [u8], Result<&'a [u8], Finding>);

impl<'a> Parts<'a> {
    fn of(text: &'a [u8]) -> Self {
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
            let value = match quote {
                Some(_) => {
                    Err((start + lead, format!("{}: the quote is not closed", shown(part.trim_ascii()))))
                }
                None => Ok(unquoted(value)),
            };
            return Some((start + lead, name, value));
        }
    }
}

fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [b'"', inner @ .., b'"'] | [b'\'', inner @ .., b'\''] => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_attributes_are_read_and_unknown_ones_kept() {
        let attrs = Attrs::parse(b"duid=abc;MaxLoad=20;socket=udp:1.2.3.4:5060;my=xyz;weight=7;").unwrap();
        assert_eq!(&*attrs.duid, b"abc");
        assert_eq!(attrs.maxload, 20);
        assert_eq!(attrs.weight, 7);
        assert_eq!(attrs.socket, b"udp:1.2.3.4:5060");
        assert_eq!(attrs.body, b"duid=abc;MaxLoad=20;socket=udp:1.2.3.4:5060;my=xyz;weight=7");
    }

    #[test]
    fn quotes_protect_a_semicolon_and_are_taken_off() {
        let attrs = Attrs::parse(b"x=\"a;maxload=3\";duid='q'").unwrap();
        assert_eq!((attrs.maxload, &*attrs.duid), (0, &b"q"[..]));
        let attrs = Attrs::parse(b"x=it's;maxload=3;duid=\"").unwrap_err();
        assert!(attrs.0 == 17 && attrs.1.contains("not closed"), "{attrs:?}");
        assert_eq!(Attrs::parse(b"x=it's;maxload=3;y=5\"").unwrap().maxload, 3);
    }

    #[test]
    fn a_bad_number_is_named_with_its_offset() {
        let (at, text) = Attrs::parse(b"duid=a;maxload=-5").unwrap_err();
        assert_eq!(at, 7);
        assert!(text.contains("maxload='-5'"), "{text}");
        for bad in ["maxload=", "maxload=1x", "maxload=+1", "weight=4294967296", "rweight=2147483648"] {
            assert!(Attrs::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(text in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(attrs) = Attrs::parse(&text) {
                prop_assert!(attrs.maxload <= MAX_NUMBER);
            }
        }
    }
}
