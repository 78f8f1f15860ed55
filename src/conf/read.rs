//! Values of parameters, each read so that it makes sense: where what is found makes none, something else is in effect, and a
//! finding says so.

use super::{FLAGS, Finding, Flag};
use crate::dest::ReplyCodes;
use crate::dest::address::{Address, Use};
use crate::dest::number::leading;
use core::fmt;

pub const DEFAULT_FROM: &str = "sip:dispatcher@localhost";
const DEFAULT_METHOD: &str = "OPTIONS";
/// Bits that `ds_dns_mode` has in the stock module.
const STOCK_DNS_BITS: i32 = 15;

/// Reads values, and gathers which of them make no sense. What is in effect then is what the stock module makes of them, as
/// far as that makes sense.
#[derive(Default)]
pub struct Reader {
    /// What made no sense so far.
    pub findings: Vec<Finding>,
}

impl Reader {
    pub fn number(&mut self, name: &'static str, found: i32, expected: &str, instead: impl fmt::Display) {
        let finding = Finding { name, found: found.to_string(), expected: expected.into(), instead: None };
        self.findings.push(finding.instead(instead.to_string()));
    }

    /// A number from `least` on; any lower is `instead`.
    pub fn from(&mut self, least: u32, name: &'static str, found: i32, instead: u32) -> u32 {
        match u32::try_from(found) {
            Ok(number) if number >= least => number,
            _ => {
                let expected = format!("a whole number from {least} to 2147483647");
                self.number(name, found, &expected, format_args!("{instead} is in effect"));
                instead
            }
        }
    }

    /// A number from 0 on; any lower is `instead`.
    pub fn whole(&mut self, name: &'static str, found: i32, instead: u32) -> u32 {
        self.from(0, name, found, instead)
    }

    /// A number from 0 to `most`; what is out of that is the nearer end.
    pub fn most(&mut self, most: i32, name: &'static str, found: i32) -> u32 {
        let number = found.clamp(0, most);
        if number != found {
            let expected = format!("a whole number from 0 to {most}");
            self.number(name, found, &expected, format_args!("{number} is in effect"));
        }
        number as u32
    }

    /// Whether it is another number than 0.
    pub fn switch(&mut self, name: &'static str, found: i32) -> bool {
        if !matches!(found, 0 | 1) {
            self.number(name, found, "0 or 1", "1 is in effect");
        }
        found != 0
    }

    /// Whether it is 1.
    pub fn only_1(&mut self, name: &'static str, found: i32) -> bool {
        if !matches!(found, 0 | 1) {
            self.number(name, found, "0 or 1", "0 is in effect");
        }
        found == 1
    }

    /// A sum of bits.
    pub fn bits(&mut self, name: &'static str, found: i32, all: i32) -> i32 {
        let known = found & all;
        if known != found {
            let expected = format!("a sum from 0 to {all}");
            self.number(name, found, &expected, format_args!("{known} is in effect"));
        }
        known
    }

    /// One of so many choices; another is `instead`.
    pub fn choice<T>(
        &mut self,
        name: &'static str,
        found: i32,
        most: i32,
        choose: fn(i32) -> Option<T>,
        instead: (i32, T),
    ) -> T {
        choose(found).unwrap_or_else(|| {
            let expected = format!("a number from 0 to {most}");
            self.number(name, found, &expected, format_args!("{} is in effect", instead.0));
            instead.1
        })
    }

    pub fn text(
        &mut self,
        name: &'static str,
        found: &[u8],
        expected: impl Into<String>,
        instead: impl Into<String>,
    ) {
        self.findings.push(Finding::text(name, found, expected).instead(instead));
    }

    /// The method of a request (RFC 3261 section 25.1, `token`).
    pub fn method(&mut self, name: &'static str, found: Vec<u8>) -> Vec<u8> {
        let token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(byte);
        if !found.is_empty() && found.iter().all(token) {
            return found;
        }
        self.text(name, &found, "the name of a SIP method", format!("\"{DEFAULT_METHOD}\" is in effect"));
        DEFAULT_METHOD.into()
    }

    /// A SIP URI that goes into a message; `instead` where it is none.
    pub fn address(
        &mut self,
        name: &'static str,
        found: &[u8],
        use_: Use,
        (instead, told): (&str, &str),
    ) -> Vec<u8> {
        match Address::read(found, use_) {
            Ok(Address { text, mended }) => {
                if let Some((expected, instead)) = mended {
                    self.text(name, found, expected.trim_start_matches("expected "), instead);
                }
                text.into_owned()
            }
            Err(why) => {
                self.text(name, found, format!("a SIP URI: {why}"), told);
                instead.into()
            }
        }
    }

    pub fn reply_codes(&mut self, found: &[u8]) {
        for (text, instead) in ReplyCodes::read(found).1 {
            let expected = text.split_once(": expected ").map_or(&*text, |(_, expected)| expected);
            let part = text.split_once(": expected ").map_or("it", |(part, _)| part);
            self.text("ds_ping_reply_codes", found, expected, format!("{part}: {instead}"));
        }
    }

    pub fn alpha(&mut self, found: i32) -> f64 {
        const NAME: &str = "ds_latency_estimator_alpha";
        let thousandths = if (1..1000).contains(&found) {
            found
        } else {
            let expected = "a number from 1 to 999 (thousandths)";
            self.number(NAME, found, expected, format_args!("{DEFAULT_ALPHA}, the default, is in effect"));
            DEFAULT_ALPHA
        };
        f64::from(thousandths) / 1000.0
    }

    /// A flag of messages, by number or name; -1 is none. It is for what acts with `ds_limits` only.
    pub fn flag(&mut self, name: &'static str, found: (i32, Vec<u8>), limits: bool) -> Option<Flag> {
        let digits = !found.1.is_empty() && found.1.iter().all(u8::is_ascii_digit);
        let found = match found {
            (-1, text) if text.is_empty() => return None,
            (number, text) if text.is_empty() => i64::from(number),
            // A number all the same.
            (_, text) if digits => leading(&text).number.map_or(-1, i64::from),
            (_, text) => {
                self.flag_without_limits(name, format!("\"{}\"", text.escape_ascii()), limits);
                return Some(Flag::Name(text));
            }
        };
        let flag = u32::try_from(found).ok().filter(|flag| *flag < FLAGS);
        match flag {
            Some(_) => self.flag_without_limits(name, found.to_string(), limits),
            None => {
                let expected = "a number from 0 to 31, or a name of the core's flags".into();
                let finding = Finding { name, found: found.to_string(), expected, instead: None };
                self.findings.push(finding.instead(NO_PRIORITY));
            }
        }
        flag.map(Flag::Number)
    }

    fn flag_without_limits(&mut self, name: &'static str, found: String, limits: bool) {
        if !limits {
            let finding = Finding { name, found, expected: "ds_limits 1 as well".into(), instead: None };
            self.findings.push(finding.instead("it has no effect"));
        }
    }

    /// A number from 0 on that acts with `ds_limits` only.
    pub fn with_limits(&mut self, name: &'static str, found: i32, limits: bool) -> u32 {
        let number = self.whole(name, found, 0);
        if number > 0 && !limits {
            self.number(name, found, "0, or ds_limits 1 as well", "it has no effect");
            return 0;
        }
        number
    }

    pub fn dns_mode(&mut self, found: i32) -> i32 {
        let all = if found < 0 { STOCK_DNS_BITS } else { STOCK_DNS_BITS | 16 };
        self.bits("ds_dns_mode", found, all)
    }
}

const DEFAULT_ALPHA: i32 = 100;
pub const NO_PRIORITY: &str = "no call has priority";
pub const NO_PROXY: &str = "none is in effect: probes go to the destination itself";
