//! The attributes of a destination: `name=value;name=value`, as in the last column of the list file.

use super::address::{Address, Use, named};
use super::limits::{self, Limits, Reserve};
use super::number::leading;
use super::parts::{Part, Parts};
use super::problem::{in_effect, shown};
use super::reply_codes::ReplyCodes;
use core::ops::Deref;
use std::borrow::Cow;

/// What the attributes of a destination say: while it is read (`T` is a text), and where it serves (`T` is the text's position).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttrValues<T> {
    /// All of them as written, unknown ones too, without a `;` at the end.
    pub body: T,
    /// Unique id of the destination in its set; compared without regard to case.
    pub duid: T,
    /// Local socket to send from, `proto:host:port`.
    pub socket: T,
    /// Local socket to send from, by name; wins over `socket`.
    pub sockname: T,
    /// Outbound proxy for probes.
    pub obproxy: T,
    /// From of probes: a URI, or a name with a URI in `<` and `>`.
    pub ping_from: T,
    /// Replies that are good besides 2xx, as [`ReplyCodes::into_packed`] gives them; empty is `ds_ping_reply_codes`.
    pub ping_reply_codes: T,
    /// Seconds between probes; 0 is `ds_ping_interval`.
    pub ping_interval: u32,
    /// Milliseconds after which a probe has failed; 0 is `ds_ping_fr_timer`.
    pub ping_timeout: u32,
    /// How long its replies take, in milliseconds, until something is measured; 0 is not known.
    pub latency: u32,
    /// Calls at the same time at most; 0 is no limit.
    pub maxload: u32,
    /// Overload control leaves it out of at least this percentage of selections, when it leaves it out of any.
    pub ocmin: u8,
    /// And of at most this one.
    pub ocmax: u8,
    /// What it is said to be left out of until it says so itself.
    pub ocrate: u8,
    /// Share for algorithm 9.
    pub weight: u32,
    /// Share for algorithm 11.
    pub rweight: u32,
    /// Congestion control: algorithms 11 and 13 look at how much slower than usual it is.
    pub cc: bool,
}

impl<T: Default> Default for AttrValues<T> {
    fn default() -> Self {
        Self {
            body: T::default(),
            duid: T::default(),
            socket: T::default(),
            sockname: T::default(),
            obproxy: T::default(),
            ping_from: T::default(),
            ping_reply_codes: T::default(),
            ping_interval: 0,
            ping_timeout: 0,
            latency: 0,
            maxload: 0,
            // The manual says 10; where the stock module knows the attribute it has 0.
            ocmin: if cfg!(stock_overload) { 0 } else { 10 },
            ocmax: MOST_LEFT_OUT,
            ocrate: 0,
            weight: 0,
            rweight: 0,
            cc: false,
        }
    }
}

impl<T> AttrValues<T> {
    /// The same values with other texts.
    pub fn map<U>(&self, mut text: impl FnMut(&T) -> U) -> AttrValues<U> {
        AttrValues {
            body: text(&self.body),
            duid: text(&self.duid),
            socket: text(&self.socket),
            sockname: text(&self.sockname),
            obproxy: text(&self.obproxy),
            ping_from: text(&self.ping_from),
            ping_reply_codes: text(&self.ping_reply_codes),
            ping_interval: self.ping_interval,
            ping_timeout: self.ping_timeout,
            latency: self.latency,
            maxload: self.maxload,
            ocmin: self.ocmin,
            ocmax: self.ocmax,
            ocrate: self.ocrate,
            weight: self.weight,
            rweight: self.rweight,
            cc: self.cc,
        }
    }

    /// The least and the largest percentage that overload control leaves out. Limits that contradict one another are as if not there,
    /// as in the stock module.
    pub fn overload_limits(&self) -> (u32, u32) {
        let most = if self.ocmax == 0 { MOST_LEFT_OUT } else { self.ocmax };
        let least = if self.ocmin > most { 0 } else { self.ocmin };
        (least.into(), most.into())
    }

    /// The local socket that it names, by name or else by address; `text` reads a text. Empty where it names none.
    pub fn local_socket<'t>(&'t self, text: impl Fn(&'t T) -> &'t [u8]) -> &'t [u8] {
        let name = text(&self.sockname);
        if name.is_empty() { text(&self.socket) } else { name }
    }
}

/// The attributes of a destination while it is read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attrs<'t> {
    /// What counts wherever the destination is.
    pub values: AttrValues<Cow<'t, [u8]>>,
    /// Local socket to send probes from, `proto:host:port`. Where the destination serves, the socket itself is known.
    pub ping_socket: &'t [u8],
    /// What acts with `ds_limits` only.
    pub limits: Limits<'t>,
    /// Those that were seen and do not act: see [`limits::unused`].
    pub unused: u32,
    /// What was corrected.
    pub findings: Vec<Finding>,
}

impl<'t> Deref for Attrs<'t> {
    type Target = AttrValues<Cow<'t, [u8]>>;
    fn deref(&self) -> &Self::Target {
        &self.values
    }
}

/// What is wrong with the text: offset in bytes, and what was found and expected.
pub type Wrong = (usize, String);

/// A value in the text that was corrected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Offset in bytes.
    pub at: usize,
    /// What was found and what was expected.
    pub text: String,
    /// What is in effect.
    pub instead: String,
}

/// Everything, in percent.
const MOST_LEFT_OUT: u8 = 100;

/// Largest value of a number attribute: what fits the answer of `dispatcher.list`.
pub const MAX_NUMBER: u32 = i32::MAX as u32;

/// The names of all attributes that mean something here.
pub const NAMES: [&str; Known::NAMES.len()] = {
    let mut names = [""; Known::NAMES.len()];
    let mut at = 0;
    while at < names.len() {
        #[allow(clippy::indexing_slicing)] // a constant has no iterators; both are of one length
        {
            names[at] = match core::str::from_utf8(Known::NAMES[at].0) {
                Ok(name) => name,
                Err(_) => "",
            };
        }
        at += 1;
    }
    names
};

/// The text without a `;` at its end.
pub fn body(text: &[u8]) -> &[u8] {
    text.strip_suffix(b";").unwrap_or(text)
}

/// The attributes in effect: with `ds_attrs_none` it is `none=yes` where there are none.
pub fn or_none(text: &[u8], attrs_none: bool) -> &[u8] {
    if attrs_none && body(text).is_empty() { b"none=yes" } else { text }
}

/// The attributes that mean something here. The first of each counts, as in the stock module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Duid,
    Socket,
    Sockname,
    Obproxy,
    PingFrom,
    PingSocket,
    PingReplyCodes,
    PingInterval,
    PingTimeout,
    Latency,
    Maxload,
    Ocmin,
    Ocmax,
    Ocrate,
    Weight,
    Rweight,
    Cc,
    Capacity,
    CapacityMax,
    Cps,
    CpsBurst,
    CapacityReserve,
    CapacityCps,
    CapacityCpsBurst,
    MaxloadReserve,
    SlowStart,
}

impl Known {
    /// Names of any length, each once.
    const NAMES: [(&[u8], Self); 26] = [
        (b"duid", Self::Duid),
        (b"socket", Self::Socket),
        (b"sockname", Self::Sockname),
        (b"obproxy", Self::Obproxy),
        (b"ping_from", Self::PingFrom),
        (b"ping_socket", Self::PingSocket),
        (b"ping_reply_codes", Self::PingReplyCodes),
        (b"ping_interval", Self::PingInterval),
        (b"ping_timeout", Self::PingTimeout),
        (b"latency", Self::Latency),
        (b"maxload", Self::Maxload),
        (b"ocmin", Self::Ocmin),
        (b"ocmax", Self::Ocmax),
        (b"ocrate", Self::Ocrate),
        (b"weight", Self::Weight),
        (b"rweight", Self::Rweight),
        (b"cc", Self::Cc),
        (b"capacity", Self::Capacity),
        (b"capacity_max", Self::CapacityMax),
        (b"cps", Self::Cps),
        (b"cps_burst", Self::CpsBurst),
        (b"capacity_reserve", Self::CapacityReserve),
        (b"capacity_cps", Self::CapacityCps),
        (b"capacity_cps_burst", Self::CapacityCpsBurst),
        (b"maxload_reserve", Self::MaxloadReserve),
        (b"slowstart", Self::SlowStart),
    ];

    /// Letters count the same in either case.
    fn of(name: &[u8]) -> Option<Self> {
        let known = Self::NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, known)| *known)
    }

    /// Whether it says something of a capacity, which must be named beside it.
    fn is_of_capacity(self) -> bool {
        use Known::{CapacityCps, CapacityCpsBurst, CapacityMax, CapacityReserve};
        matches!(self, CapacityMax | CapacityReserve | CapacityCps | CapacityCpsBurst)
    }
}

impl<'t> Attrs<'t> {
    /// Reads the text. Names are compared without regard to case; values may stand in single or double quotes.
    ///
    /// A value that makes no sense is read as the stock module reads it, with a warning. Errors are only characters that could break
    /// out of a SIP message or a log line, and a quote that is not closed.
    ///
    /// Without `limits` (`ds_limits`), those that limit more than `maxload` does are a script's own.
    pub fn parse(text: &'t [u8], limits: bool) -> Result<Self, Wrong> {
        let body = body(text);
        if let Some(at) = body.iter().position(u8::is_ascii_control) {
            let what = body.get(at).copied().map_or_else(String::new, named);
            return Err((at, format!("{what} cannot stand in attributes")));
        }
        let mut attrs = Self::default();
        attrs.values.body = Cow::Borrowed(body);
        let (mut seen, mut cps_burst, mut beside) = (0u32, None, Vec::new());
        for Part { at, name, value, quoted } in Parts::of(body) {
            let value = value?;
            let Some(known) = Known::of(name) else { continue };
            let limit = limits::NAMES.iter().position(|limit| limit.as_bytes().eq_ignore_ascii_case(name));
            if let Some(limit) = limit.filter(|_| !limits) {
                attrs.unused |= 1 << limit;
                continue;
            }
            let bit = 1 << known as u32;
            if seen & bit != 0 {
                let text = format!("{}: expected once", equal(name, value));
                let instead = "the first one is in effect".to_owned();
                attrs.findings.push(Finding { at, text, instead });
                continue;
            }
            seen |= bit;
            attrs.take(at, name, known, value, quoted)?;
            match known {
                // What it says depends on `cps`, which may come after it.
                Known::CpsBurst => cps_burst = Some((at, name, value)),
                _ if known == Known::MaxloadReserve || known.is_of_capacity() => {
                    beside.push((at, known, name, value));
                }
                _ => {}
            }
        }
        attrs.findings.extend(attrs.limits.take_burst(cps_burst));
        beside.into_iter().for_each(|one| attrs.look_beside(one));
        Ok(attrs)
    }

    /// Looks for what an attribute has no effect without, once all are read.
    fn look_beside(&mut self, (at, known, name, value): (usize, Known, &[u8], &[u8])) {
        let limits = &mut self.limits;
        let expected = match known {
            Known::MaxloadReserve if self.values.maxload == 0 => "a maxload",
            _ if known.is_of_capacity() && limits.capacity.is_empty() => {
                limits.forget_capacity();
                "the name of a capacity"
            }
            Known::MaxloadReserve => {
                let reserve = Reserve::read(value).map(|(reserve, _)| reserve.of(self.values.maxload));
                limits.maxload_reserve = reserve.unwrap_or(0);
                return;
            }
            _ => return,
        };
        // One that is none was told before.
        if known != Known::MaxloadReserve || Reserve::read(value).is_some() {
            let text = format!("{}: expected {expected} beside it", equal(name, value));
            self.findings.push(Finding { at, text, instead: "it has no effect".to_owned() });
        }
    }

    /// A reserve of a limit: calls, or percent.
    fn reserve(&mut self, at: usize, name: &[u8], value: &[u8]) -> Option<Reserve> {
        let read = Reserve::read(value);
        let instead = match read {
            Some((_, None)) => return read.map(|(reserve, _)| reserve),
            Some((reserve, Some(rest))) => in_effect(reserve, rest),
            None => "it is as if not there".to_owned(),
        };
        let text = format!("{}, or percent of the limit", expected_number(name, value, 0, MAX_NUMBER));
        self.findings.push(Finding { at, text, instead });
        read.map(|(reserve, _)| reserve)
    }

    /// Takes in one attribute.
    fn take(
        &mut self,
        at: usize,
        name: &[u8],
        known: Known,
        value: &'t [u8],
        quoted: bool,
    ) -> Result<(), Wrong> {
        let (findings, ocmin) = (&mut self.findings, self.values.ocmin);
        let percent = |number: u32| u8::try_from(number).unwrap_or(MOST_LEFT_OUT);
        // Of most numbers 0 has a meaning.
        let least = u32::from(matches!(known, Known::Cps | Known::CapacityCps | Known::CapacityCpsBurst));
        let mut number = |most: u32, missing: u32| {
            let found = leading(value);
            let Some(number) = found.number else {
                let instead = "it is as if not there".to_owned();
                findings.push(Finding { at, text: expected_number(name, value, least, most), instead });
                return missing;
            };
            let taken = u32::try_from(number).unwrap_or(0).min(most);
            if found.alone() != i32::try_from(taken).ok() || taken < least {
                let instead = match known {
                    Known::Maxload | Known::CapacityMax if number < 0 => "no limit is in effect".to_owned(),
                    Known::Cps | Known::CapacityCps if taken == 0 => "no limit is in effect".to_owned(),
                    Known::CapacityCpsBurst if taken == 0 => "it is as if not there".to_owned(),
                    _ => in_effect(taken, found.rest),
                };
                findings.push(Finding { at, text: expected_number(name, value, least, most), instead });
            }
            taken
        };
        match known {
            Known::PingInterval => self.values.ping_interval = number(MAX_NUMBER, 0),
            Known::PingTimeout => self.values.ping_timeout = number(MAX_NUMBER, 0),
            Known::Latency => self.values.latency = number(MAX_NUMBER, 0),
            Known::Maxload => self.values.maxload = number(MAX_NUMBER, 0),
            Known::Ocmin => self.values.ocmin = percent(number(MOST_LEFT_OUT.into(), ocmin.into())),
            Known::Ocmax => self.values.ocmax = percent(number(MOST_LEFT_OUT.into(), MOST_LEFT_OUT.into())),
            Known::Ocrate => self.values.ocrate = percent(number(MOST_LEFT_OUT.into(), 0)),
            Known::Weight => self.values.weight = number(MAX_NUMBER, 0),
            Known::Rweight => self.values.rweight = number(MAX_NUMBER, 0),
            Known::Capacity => self.limits.capacity = self.word(at, name, value, quoted),
            Known::CapacityMax => self.limits.capacity_max = number(MAX_NUMBER, 0),
            Known::Cps => self.limits.cps = number(MAX_NUMBER, 0),
            Known::CpsBurst => {}
            Known::CapacityCps => self.limits.capacity_cps = number(MAX_NUMBER, 0),
            Known::CapacityCpsBurst => self.limits.capacity_cps_burst = number(MAX_NUMBER, 0),
            // Without sense it is as if not there, which is not 0.
            Known::SlowStart => {
                let seconds = number(MAX_NUMBER, u32::MAX);
                self.limits.slow_start = Some(seconds).filter(|seconds| *seconds != u32::MAX);
            }
            Known::CapacityReserve => self.limits.capacity_reserve = self.reserve(at, name, value),
            // In calls once `maxload` is read.
            Known::MaxloadReserve => _ = self.reserve(at, name, value),
            Known::Cc => self.values.cc = self.switch(at, name, value),
            Known::Duid => self.values.duid = self.word(at, name, value, quoted).into(),
            Known::Socket => self.values.socket = self.word(at, name, value, quoted).into(),
            Known::Sockname => self.values.sockname = self.word(at, name, value, quoted).into(),
            Known::PingSocket => self.ping_socket = self.word(at, name, value, quoted),
            Known::Obproxy => self.values.obproxy = self.address(at, name, value, quoted, Use::NextHop)?,
            Known::PingFrom => self.values.ping_from = self.address(at, name, value, quoted, Use::From)?,
            Known::PingReplyCodes => {
                let (codes, mended) = ReplyCodes::read(value);
                let packed = if value.is_empty() { Cow::default() } else { Cow::Owned(codes.into_packed()) };
                for (text, instead) in mended {
                    findings.push(Finding { at, text: format!("ping_reply_codes: {text}"), instead });
                }
                self.values.ping_reply_codes = packed;
            }
        }
        Ok(())
    }

    /// A number as a switch; words that say yes and no are understood.
    fn switch(&mut self, at: usize, name: &[u8], value: &[u8]) -> bool {
        let found = leading(value);
        let word = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()));
        let (on, sure) = match found.number {
            Some(number) => (number != 0, matches!(found.alone(), Some(0 | 1))),
            None => (word(&["yes", "true", "on"]), false),
        };
        if !sure {
            let instead = match found.number {
                None if !on && !word(&["no", "false", "off"]) => "it is as if not there".to_owned(),
                _ => in_effect(u8::from(on), found.number.map_or(&[][..], |_| found.rest)),
            };
            self.findings.push(Finding {
                at,
                text: format!("{}: expected 0 or 1", equal(name, value)),
                instead,
            });
        }
        on
    }

    /// A text without blanks: it ends at a blank or a comma, unless it is quoted.
    fn word(&mut self, at: usize, name: &[u8], value: &'t [u8], quoted: bool) -> &'t [u8] {
        let end = value.iter().position(|byte| b" ,".contains(byte)).filter(|_| !quoted);
        let (word, rest) = value.split_at(end.unwrap_or(value.len()));
        if !rest.is_empty() {
            let text = format!("{}: expected a text without blanks and commas", equal(name, value));
            self.findings.push(Finding { at, text, instead: in_effect(shown(word), rest) });
        }
        word
    }

    /// A SIP URI that goes into a message.
    fn address(
        &mut self,
        at: usize,
        name: &[u8],
        value: &'t [u8],
        quoted: bool,
        use_: Use,
    ) -> Result<Cow<'t, [u8]>, Wrong> {
        // With a `<` there may be a name before it, which has blanks.
        let value = if value.contains(&b'<') { value } else { self.word(at, name, value, quoted) };
        if value.is_empty() {
            return Ok(Cow::default());
        }
        let read = Address::read(value, use_)
            .map_err(|why| (at, format!("{}: expected a SIP URI: {why}", equal(name, value))))?;
        if let Some((expected, instead)) = read.mended {
            self.findings.push(Finding { at, text: format!("{}: {expected}", equal(name, value)), instead });
        }
        Ok(read.text)
    }
}

/// The attribute as it stands there.
pub(super) fn equal(name: &[u8], value: &[u8]) -> String {
    format!("{}={}", name.escape_ascii(), shown(value))
}

pub(super) fn expected_number(name: &[u8], value: &[u8], least: u32, most: u32) -> String {
    format!("{}: expected a whole number from {least} to {most}", equal(name, value))
}

#[cfg(test)]
mod tests;
