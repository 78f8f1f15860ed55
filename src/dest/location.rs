//! Whether a destination's URI can be sent to, as far as its text tells.
//!
//! The same rules for the module, which lets the server read the URI, and for the program `dispatcher-check`, which reads it
//! itself ([`host_in`]).

use super::address::{is_host_name, unfit, uri_of, with_scheme};
use super::problem::shown;
use super::{Entry, Problem};
use core::net::{IpAddr, Ipv4Addr};
use core::ops::Range;
use std::borrow::Cow;

/// Host names longer than this the host cannot look up.
const MAX_HOST: usize = 254;

/// As in the stock module, nothing so short is taken for a URI that lacks its scheme.
const TOO_SHORT: usize = 4;

/// Who reads URIs.
pub struct Reader<'a, P> {
    /// Takes a URI apart; `None` if it is none.
    pub parse: &'a dyn Fn(&[u8]) -> Option<P>,
    /// Where the host is in it.
    pub host: fn(&P) -> Range<usize>,
    /// Whether this host is an address, or can be a name.
    pub is_host: &'a dyn Fn(&[u8]) -> bool,
}

impl<P> Reader<'_, P> {
    /// Reads the URI of an entry. A scheme that it lacks is put before it, which is added to its findings.
    pub fn locate(&self, entry: &mut Entry<'_>) -> Result<P, Problem> {
        let place = entry.place;
        let wrong = |text: String| Problem::error(place, text);
        let as_written = entry.uri.clone();
        let found = || shown(&as_written);
        // Before the server reads it, which would log it as it is.
        if let Some(why) = unfit(&as_written) {
            return Err(wrong(format!("{}: {why}", found())));
        }
        if let Some(full) = with_scheme(&as_written).filter(|_| as_written.len() > TOO_SHORT) {
            let text =
                format!("{}: expected a SIP URI, with its scheme; {} is in effect", found(), shown(&full));
            entry.findings.push(Problem::warning(place, text));
            entry.uri = Cow::Owned(full);
        }
        let parsed = (self.parse)(&entry.uri).filter(|parsed| !(self.host)(parsed).is_empty());
        let parsed = parsed.ok_or_else(|| wrong(format!("{} is no SIP URI with a host", found())))?;
        let host = entry.uri.get((self.host)(&parsed)).unwrap_or_default();
        if host.len() > MAX_HOST {
            return Err(wrong(format!("{}: a host name has at most {MAX_HOST} characters", found())));
        }
        if !(self.is_host)(host) {
            return Err(wrong(format!(
                "{}: {} is neither an address nor the name of a host",
                found(),
                shown(host)
            )));
        }
        Ok(parsed)
    }

    /// Takes out of an entry the addresses of probes that cannot be sent to; with `strict` (`ds_load_mode` 1) that is an error.
    pub fn check_senders(&self, entry: &mut Entry<'_>, strict: bool) -> Result<(), Problem> {
        let values = &mut entry.attrs.values;
        for (name, text) in [("obproxy", &mut values.obproxy), ("ping_from", &mut values.ping_from)] {
            let uri = uri_of(text);
            let host = (self.parse)(uri).and_then(|parsed| uri.get((self.host)(&parsed)));
            if text.is_empty() || host.is_some_and(self.is_host) {
                continue;
            }
            let told = format!("{name}={}: expected a SIP URI", shown(&core::mem::take(text)));
            if strict {
                return Err(Problem::error(entry.place, told));
            }
            entry.findings.push(Problem::mended(entry.place, told, "it is as if not there"));
        }
        Ok(())
    }
}

/// Where the host is in a SIP or SIPS URI (RFC 3261 section 25.1), read without a server. `None` if it is none.
pub fn host_in(uri: &[u8]) -> Option<Range<usize>> {
    let has = |scheme: &[u8]| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    let scheme = [&b"sip:"[..], b"sips:"].into_iter().find(|scheme| has(scheme))?.len();
    let start = match uri.iter().position(|&byte| byte == b'@') {
        Some(at) => at + 1,
        None => scheme,
    };
    let rest = uri.get(start..)?;
    let end = rest.iter().position(|byte| b";?".contains(byte)).unwrap_or(rest.len());
    let host_and_port = rest.get(..end)?;
    let len = match host_and_port {
        [b'[', ..] => host_and_port.iter().position(|&byte| byte == b']')? + 1,
        _ => host_and_port.iter().position(|&byte| byte == b':').unwrap_or(host_and_port.len()),
    };
    let port_fits = match host_and_port.get(len..)? {
        [] => true,
        [b':', digits @ ..] => {
            digits.iter().all(u8::is_ascii_digit)
                && core::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        _ => false,
    };
    (port_fits && !host_and_port.contains(&b'@')).then_some(start..start + len)
}

/// Whether this is an address or can be the name of a host. An IPv6 address may stand in brackets; the numbers of an IPv4 address may
/// begin with zeros and are decimal all the same.
pub fn is_host(host: &[u8]) -> bool {
    is_address(host) || is_host_name(host)
}

/// Whether a host is an address and no name.
pub fn is_address(host: &[u8]) -> bool {
    let inner = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    let Ok(text) = core::str::from_utf8(inner) else { return false };
    let plain = |part: &str| part.trim_start_matches('0').to_owned();
    let without_zeros =
        |part: &str| Some(plain(part)).filter(|it| !it.is_empty()).unwrap_or_else(|| "0".into());
    let four =
        || text.split('.').map(without_zeros).collect::<Vec<_>>().join(".").parse::<Ipv4Addr>().is_ok();
    text.parse::<IpAddr>().is_ok() || !text.split('.').any(str::is_empty) && four()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_a_uri_is_found_without_a_server() {
        let host = |uri: &'static str| {
            host_in(uri.as_bytes()).map(|at| core::str::from_utf8(&uri.as_bytes()[at]).unwrap())
        };
        for (uri, found) in [
            ("sip:192.0.2.1", "192.0.2.1"),
            ("sip:192.0.2.1:5060;transport=tcp", "192.0.2.1"),
            ("SIPS:gw.example.com?Subject=x", "gw.example.com"),
            ("sip:user:pass@gw:5061;lr", "gw"),
            ("sip:+1;phone-context=x@gw", "gw"),
            ("sip:[2001:db8::1]:5060", "[2001:db8::1]"),
            ("sip:[2001:db8::1]", "[2001:db8::1]"),
        ] {
            assert_eq!(host(uri), Some(found), "{uri}");
        }
        for none in
            ["tel:123", "gw", "sip:h:port", "sip:h:65536", "sip:h:", "sip:[::1", "sip:a@b@c", "sip:[::1]x"]
        {
            assert_eq!(host(none), None, "{none}");
        }
    }

    #[test]
    fn addresses_may_begin_with_zeros() {
        for good in ["192.0.2.1", "010.000.0.07", "::1", "[::1]"] {
            assert!(is_address(good.as_bytes()), "{good}");
        }
        for bad in ["192.0.2", "192.0.2.256", "1..2.3", "gw", "[gw]", ""] {
            assert!(!is_address(bad.as_bytes()), "{bad}");
        }
    }
}
