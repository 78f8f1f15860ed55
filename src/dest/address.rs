//! URIs as texts: what may stand in one that goes into a SIP message, and URIs written as `"Name" <sip:…>`.
//!
//! The server's own parser takes almost any byte, and its transaction module copies a URI into requests as it is: a line
//! break would begin another header, and a `>` at the end makes it look for a `<` that is not there.
//!
//! Not here: whether the text is a URI at all (the server says that).

use std::borrow::Cow;

/// Bytes that end a URI, or the header that it stands in.
fn breaks_out(byte: u8) -> bool {
    byte.is_ascii_control() || matches!(byte, b' ' | b'<' | b'>' | b'"')
}

/// Why this text cannot be a URI in a SIP message, if it cannot.
pub fn unfit(uri: &[u8]) -> Option<String> {
    let at = uri.iter().position(|&byte| breaks_out(byte))?;
    Some(format!("{} at byte {} cannot stand in a URI", named(*uri.get(at)?), at + 1))
}

/// A byte in words.
pub fn named(byte: u8) -> String {
    match byte {
        0 => "a zero byte".into(),
        b'\r' => "a carriage return".into(),
        b'\n' => "a line feed".into(),
        b'\t' => "a tabulator".into(),
        b' ' => "a blank".into(),
        byte if byte.is_ascii_control() => format!("a control character (0x{byte:02x})"),
        byte => format!("a {}", char::from(byte)),
    }
}

/// A URI with what may stand around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameAddr<'t> {
    /// The name before it, with its quotes; empty where there is none.
    pub name: &'t [u8],
    /// The URI.
    pub uri: &'t [u8],
    /// What stands behind the `>`.
    pub rest: &'t [u8],
}

impl<'t> NameAddr<'t> {
    /// Reads `"Name" <uri>`, `Name <uri>`, `<uri>` or a URI alone; says why it is none of these.
    pub fn parse(text: &'t [u8]) -> Result<Self, String> {
        let text = text.trim_ascii();
        let (name, uri, rest) = match open_bracket(text) {
            None => (&[][..], text, &[][..]),
            Some(at) => {
                let (name, inner) = text.split_at(at);
                let inner = inner.get(1..).unwrap_or_default();
                let close = inner.iter().position(|&byte| byte == b'>').ok_or("a < without its >")?;
                let rest = inner.get(close + 1..).unwrap_or_default();
                (name.trim_ascii(), inner.get(..close).unwrap_or_default(), rest.trim_ascii())
            }
        };
        if let Some(why) = unfit(uri) {
            return Err(why);
        }
        if !is_name(name) {
            return Err("what stands before the < is no name".into());
        }
        Ok(Self { name, uri, rest })
    }

    /// As it stands in a From header, with another form of the URI.
    pub fn with_uri(&self, uri: &[u8]) -> Vec<u8> {
        if self.name.is_empty() { uri.to_vec() } else { [self.name, b" <", uri, b">"].concat() }
    }
}

/// The first `<` that stands in no quotes.
fn open_bracket(text: &[u8]) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.iter().position(|&byte| {
        let plain = !core::mem::take(&mut escaped);
        match byte {
            b'"' if plain => quoted = !quoted,
            b'\\' if plain && quoted => escaped = true,
            b'<' if !quoted => return true,
            _ => {}
        }
        false
    })
}

/// Nothing, a text in quotes, or words (RFC 3261 section 25.1, `display-name`).
fn is_name(name: &[u8]) -> bool {
    if name.iter().any(u8::is_ascii_control) {
        return false;
    }
    match name {
        [b'"', inner @ .., b'"'] => {
            let mut escaped = false;
            let closed_early = inner.iter().any(|&byte| {
                let plain = !core::mem::take(&mut escaped);
                escaped = plain && byte == b'\\';
                plain && byte == b'"'
            });
            !closed_early && !escaped
        }
        words => words.iter().all(|&byte| byte.is_ascii_alphanumeric() || b" -.!%*_+`'~".contains(&byte)),
    }
}

/// The URI with `sip:` before it, where it has no scheme; `None` where it has one.
pub fn with_scheme(uri: &[u8]) -> Option<Vec<u8>> {
    let has = |scheme: &[u8]| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let known = [&b"sip:"[..], b"sips:", b"tel:", b"urn:"].into_iter().any(has);
    (!known && !uri.is_empty()).then(|| [b"sip:", uri].concat())
}

/// What an attribute or a parameter that should be a SIP URI comes to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address<'t> {
    /// What goes into the message.
    pub text: Cow<'t, [u8]>,
    /// If it was corrected: what was expected, and what is in effect instead.
    pub mended: Option<(&'static str, String)>,
}

/// Where an address goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Into a From header: a name before the URI stays.
    From,
    /// Where a request is sent: the URI alone.
    NextHop,
}

impl<'t> Address<'t> {
    /// Reads it, or says why that is impossible.
    pub fn read(text: &'t [u8], use_: Use) -> Result<Self, String> {
        let read = NameAddr::parse(text)?;
        if read.uri.is_empty() {
            return Err("there is no URI in it".into());
        }
        let full = with_scheme(read.uri);
        let uri = full.as_deref().unwrap_or(read.uri);
        let text = match use_ {
            Use::From if !read.name.is_empty() => Cow::Owned(read.with_uri(uri)),
            _ if full.is_some() => Cow::Owned(uri.to_vec()),
            _ => Cow::Borrowed(read.uri),
        };
        let in_effect = || format!("{} is in effect", super::problem::shown(&text));
        let mended = if full.is_some() {
            Some(("expected a SIP URI, with its scheme", in_effect()))
        } else if !read.rest.is_empty() {
            Some(("expected nothing behind the >", in_effect()))
        } else {
            None
        };
        Ok(Self { text, mended })
    }
}

/// The URI of what [`Address::read`] gave.
pub fn uri_of(address: &[u8]) -> &[u8] {
    NameAddr::parse(address).map_or(address, |read| read.uri)
}

/// Whether this can be the name of a host: letters, digits, `-` and `_`, parted by single dots, and not digits alone (which
/// would be an address, and is none).
pub fn is_host_name(host: &[u8]) -> bool {
    let fits = |label: &[u8]| {
        !label.is_empty() && label.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
    };
    let labels = host.strip_suffix(b".").unwrap_or(host);
    labels.split(|&byte| byte == b'.').all(fits)
        && !labels.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

/// UDP, as the host numbers transports.
const UDP: u16 = 1;
/// TCP, as the host numbers transports.
const TCP: u16 = 2;

/// The transport that a URI without one has (RFC 3263 section 4.1), as the stock module of this server sees it: 0 where it leaves
/// that open, as for a name without a port, whose SRV records may say it.
pub fn usual_transport(uri: &[u8], literal: bool, port: u16) -> u16 {
    let plain = uri.get(..4).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sip:"));
    match (cfg!(stock_default_transport), literal, port) {
        (false, ..) | (true, false, 0) => 0,
        (true, true, _) => UDP,
        (true, false, _) => {
            if plain {
                UDP
            } else {
                TCP
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_that_ends_a_uri_or_a_header_makes_it_unfit() {
        for good in ["sip:a@b;c=d?e=f", "sip:[::1]:5060", "sip:j\u{fc}rgen@h", "sip:a'b@h"] {
            assert_eq!(unfit(good.as_bytes()), None, "{good}");
        }
        for (bad, why) in [
            ("sip:h>", "a > at byte 6"),
            ("<sip:h>", "a < at byte 1"),
            ("sip:h\"", "a \" at byte 6"),
            ("sip:h x", "a blank at byte 6"),
            ("sip:h;x=\r\nInjected: yes", "a carriage return at byte 9"),
            ("sip:h\0", "a zero byte at byte 6"),
            ("sip:h\u{7f}", "a control character (0x7f) at byte 6"),
        ] {
            assert_eq!(unfit(bad.as_bytes()).unwrap(), format!("{why} cannot stand in a URI"));
        }
    }

    #[test]
    fn a_uri_may_stand_in_brackets_with_a_name_before_it() {
        let read = |text| NameAddr::parse(text);
        let of = |name, uri, rest| Ok(NameAddr { name, uri, rest });
        assert_eq!(read(b"sip:a@b"), of(b"", b"sip:a@b", b""));
        assert_eq!(read(b"<sip:a@b>"), of(b"", b"sip:a@b", b""));
        assert_eq!(read(b" \"Ping\"  <sip:a@b> "), of(b"\"Ping\"", b"sip:a@b", b""));
        assert_eq!(read(b"\"a < b\\\" > c\"<sip:a>;x=y"), of(b"\"a < b\\\" > c\"", b"sip:a", b";x=y"));
        assert_eq!(read(b"Ping me <sip:a@b>"), of(b"Ping me", b"sip:a@b", b""));
        for bad in [
            &b"sip:a>"[..],
            b"<sip:a",
            b"<<sip:a>>",
            b"\"x <sip:a>",
            b"a\"b <sip:a>",
            b"\"a\"b\" <sip:a>",
            b"\"a\\\" <sip:a>",
            b"\"a\r\nX: y\" <sip:a>",
            b"a@b <sip:a>",
            b"<sip:a b>",
            b"> <sip:a>",
        ] {
            assert!(read(bad).is_err(), "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn a_scheme_is_put_before_what_has_none_and_told() {
        let read = |text: &'static str, use_| Address::read(text.as_bytes(), use_).unwrap();
        let bare = read("127.0.0.1:5090", Use::NextHop);
        assert_eq!(&*bare.text, b"sip:127.0.0.1:5090");
        let told = ("expected a SIP URI, with its scheme", "'sip:127.0.0.1:5090' is in effect".to_owned());
        assert_eq!(bare.mended, Some(told));
        let proxy = read("\"P\" <sip:p:5090;lr>", Use::NextHop);
        assert_eq!((&*proxy.text, proxy.mended), (&b"sip:p:5090;lr"[..], None));
        assert_eq!(&*read("\"P\"<p>", Use::From).text, b"\"P\" <sip:p>");
        assert_eq!(&*read("<sips:p>", Use::From).text, b"sips:p");
        assert!(read("<sip:p>;x", Use::From).mended.is_some());
        assert!(Address::read(b"<>", Use::From).is_err());
        assert_eq!(uri_of(b"\"P\" <sip:p>"), b"sip:p");
    }

    #[test]
    fn host_names_hold_letters_digits_hyphens_and_underscores() {
        for good in ["a", "gw-1.example.com", "gw_1", "example.com.", "1.a", "xn--bcher-kva.example"] {
            assert!(is_host_name(good.as_bytes()), "{good}");
        }
        for bad in [
            "",
            ".",
            "not a uri",
            "a..b",
            ".a",
            "127.1",
            "300.1.1.1",
            "12",
            "[zz]",
            "${HOST}",
            "a/b",
            "a,b",
            "a%b",
            "\u{fc}",
        ] {
            assert!(!is_host_name(bad.as_bytes()), "{bad}");
        }
    }
}
