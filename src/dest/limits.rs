//! Attributes that limit more than `maxload` does. They act with parameter `ds_limits` only: scripts may use such words for themselves.

use super::attrs::{Finding, MAX_NUMBER, equal, expected_number};
use super::number::leading;
use super::problem::in_effect;

/// Limits beside `maxload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits<'t> {
    /// How many calls with priority the destination takes beyond its `maxload`.
    pub maxload_reserve: u32,
    /// The capacity that the destination shares with all others that name it; empty is none.
    pub capacity: &'t [u8],
    /// Calls at the same time that all of those may have together; 0 is not said.
    pub capacity_max: u32,
    /// How many calls with priority they take beyond that; nothing where it is not said.
    pub capacity_reserve: Option<Reserve>,
    /// New calls a second that they may have together; 0 is not said.
    pub capacity_cps: u32,
    /// So many more may come at once; 0 is not said.
    pub capacity_cps_burst: u32,
    /// New calls a second; 0 is no limit.
    pub cps: u32,
    /// So many more may come at once; 0 where there is no `cps`.
    pub cps_burst: u32,
    /// Seconds of its slow start, where they are said; 0 is none.
    pub slow_start: Option<u32>,
}

/// An attribute: its offset, name and value.
type Said<'t> = Option<(usize, &'t [u8], &'t [u8])>;

fn alone((at, name, value): (usize, &[u8], &[u8]), expected: &str) -> Finding {
    let text = format!("{}: expected {expected} beside it", equal(name, value));
    Finding { at, text, instead: "it has no effect".to_owned() }
}

impl Limits<'_> {
    /// Without the name of a capacity nothing is said of one.
    pub(super) fn forget_capacity(&mut self) {
        let capacity = self.capacity;
        let (cps, cps_burst, maxload_reserve) = (self.cps, self.cps_burst, self.maxload_reserve);
        *self = Self { capacity, cps, cps_burst, maxload_reserve, ..Self::default() };
    }

    /// Takes in `cps_burst`, where that was said; `cps` is known.
    pub(super) fn take_burst(&mut self, said: Said<'_>) -> Option<Finding> {
        if self.cps == 0 {
            return said.map(|said| alone(said, "a cps"));
        }
        let usual = usual_burst(self.cps);
        self.cps_burst = usual;
        let (at, name, value) = said?;
        let found = leading(value);
        let number = found.number.and_then(|number| u32::try_from(number).ok()).filter(|&number| number > 0);
        self.cps_burst = number.map_or(usual, |number| number.min(MAX_NUMBER));
        if found.alone() == i32::try_from(self.cps_burst).ok() {
            return None;
        }
        let rest = if number.is_some() { found.rest } else { &[] };
        let text = expected_number(name, value, 1, MAX_NUMBER);
        Some(Finding { at, text, instead: in_effect(self.cps_burst, rest) })
    }
}

/// How many more calls than `cps` may come at once where nobody says it: a fifth of it, at least one.
pub const fn usual_burst(cps: u32) -> u32 {
    if cps < 5 { 1 } else { cps / 5 }
}

/// How many calls with priority a limit lets pass beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reserve {
    /// So many.
    Calls(u32),
    /// So many percent of the limit, rounded down.
    Percent(u32),
}

impl Reserve {
    /// A number of calls, or of percent with a `%` behind it. If not all of that makes sense, with what is ignored.
    pub fn read(value: &[u8]) -> Option<(Self, Option<&[u8]>)> {
        let found = leading(value);
        let calls = u32::try_from(found.number?).unwrap_or(0);
        let percent = found.rest.strip_prefix(b"%");
        let rest = percent.unwrap_or(found.rest);
        let reserve = if percent.is_some() { Self::Percent(calls) } else { Self::Calls(calls) };
        let is_whole = rest.is_empty() && !found.cut && found.number == i32::try_from(calls).ok();
        Some((reserve, (!is_whole).then_some(rest)))
    }

    /// Of this limit, in calls.
    pub fn of(self, limit: u32) -> u32 {
        match self {
            Self::Calls(calls) => calls,
            Self::Percent(percent) => {
                let calls = u64::from(limit) * u64::from(percent) / 100;
                u32::try_from(calls).unwrap_or(u32::MAX)
            }
        }
    }
}

/// As it is written.
impl core::fmt::Display for Reserve {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Calls(calls) => write!(f, "{calls}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// The reserve of a limit for which several lines may say one: the smallest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Smallest {
    calls: Option<u32>,
    percent: Option<u32>,
}

impl Smallest {
    /// A line says this one.
    pub fn take(&mut self, reserve: Reserve) {
        let (least, said) = match reserve {
            Reserve::Calls(calls) => (&mut self.calls, calls),
            Reserve::Percent(percent) => (&mut self.percent, percent),
        };
        *least = Some(least.map_or(said, |least| least.min(said)));
    }

    /// What is in effect with this limit, in calls. Without a limit there is nothing beyond it.
    pub fn of(self, limit: u32) -> u32 {
        let said = [self.calls.map(Reserve::Calls), self.percent.map(Reserve::Percent)];
        let calls = said.into_iter().flatten().map(|reserve| reserve.of(limit));
        calls.min().filter(|_| limit != 0).unwrap_or(0)
    }
}

/// The names of these attributes.
pub const NAMES: [&str; 9] = [
    "capacity",
    "capacity_max",
    "maxload_reserve",
    "capacity_reserve",
    "cps",
    "cps_burst",
    "capacity_cps",
    "capacity_cps_burst",
    "slowstart",
];

/// The names of those that were seen and do not act: a bit for each, in the order of [`NAMES`].
pub fn unused(bits: u32) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(at, _)| bits & 1 << at != 0).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dest::Attrs;

    fn limits(text: &'static str) -> Limits<'static> {
        Attrs::parse(text.as_bytes(), true).unwrap().limits
    }

    #[test]
    fn a_capacity_acts_only_where_further_limits_do() {
        let shared = |capacity: &'static str, capacity_max| Limits {
            capacity: capacity.as_bytes(),
            capacity_max,
            ..Limits::default()
        };
        assert_eq!(limits("capacity=trunk;capacity_max=30"), shared("trunk", 30));
        assert_eq!(limits("Capacity='a b'"), shared("a b", 0));
        let most = |text: &str| {
            let attrs = Attrs::parse(text.as_bytes(), true).unwrap();
            (attrs.limits.capacity_max, attrs.findings[0].instead.clone())
        };
        assert_eq!(most("capacity_max=30"), (0, "it has no effect".to_owned()));
        assert_eq!(most("capacity=c;capacity_max=-1"), (0, "no limit is in effect".to_owned()));
        let off =
            Attrs::parse(b"capacity=trunk;capacity_max=many;maxload=3;maxload_reserve=1", false).unwrap();
        assert_eq!((off.limits, off.maxload, off.findings.len()), (shared("", 0), 3, 0));
        assert_eq!(unused(off.unused).collect::<Vec<_>>(), ["capacity", "capacity_max", "maxload_reserve"]);
        assert_eq!(unused(Attrs::parse(b"capacity=x", true).unwrap().unused).count(), 0);
    }

    #[test]
    fn a_rate_has_a_burst_and_what_makes_no_sense_is_told() {
        let read = |text: &str| {
            let attrs = Attrs::parse(text.as_bytes(), true).unwrap();
            let told: Vec<_> =
                attrs.findings.iter().map(|it| (it.at, format!("{}: {}", it.text, it.instead))).collect();
            ((attrs.limits.cps, attrs.limits.cps_burst), told)
        };
        for (text, rate) in [
            ("cps=50", (50, 10)),
            ("CPS=3", (3, 1)),
            ("cps=50;cps_burst=1", (50, 1)),
            ("cps_burst=200;cps=50", (50, 200)),
            ("maxload=3", (0, 0)),
        ] {
            assert_eq!(read(text), (rate, vec![]), "{text}");
        }
        let whole = "expected a whole number from 1 to 2147483647";
        for (text, rate, at, told) in [
            ("x=y;cps=0", (0, 0), 4, format!("cps='0': {whole}: no limit is in effect")),
            ("cps=-5", (0, 0), 0, format!("cps='-5': {whole}: no limit is in effect")),
            ("cps=many", (0, 0), 0, format!("cps='many': {whole}: it is as if not there")),
            ("cps=50/s", (50, 10), 0, format!("cps='50/s': {whole}: 50 is in effect, '/s' is ignored")),
            ("cps=50;cps_burst=0", (50, 10), 7, format!("cps_burst='0': {whole}: 10 is in effect")),
            ("cps_burst=-1;cps=50", (50, 10), 0, format!("cps_burst='-1': {whole}: 10 is in effect")),
            ("cps=50;cps_burst=x", (50, 10), 7, format!("cps_burst='x': {whole}: 10 is in effect")),
            (
                "maxload=5;cps_burst=5",
                (0, 0),
                10,
                "cps_burst='5': expected a cps beside it: it has no effect".to_owned(),
            ),
        ] {
            assert_eq!(read(text), (rate, vec![(at, told)]), "{text}");
        }
        let off = Attrs::parse(b"cps=fast;cps_burst=0", false).unwrap();
        assert_eq!((off.limits, off.findings.len()), (Limits::default(), 0));
        assert_eq!(unused(off.unused).collect::<Vec<_>>(), ["cps", "cps_burst"]);
    }

    #[test]
    fn a_slow_start_is_seconds_and_none_is_something_else_than_nothing_said() {
        let read = |text: &'static str| {
            let attrs = Attrs::parse(text.as_bytes(), true).unwrap();
            let told: Vec<_> =
                attrs.findings.iter().map(|it| format!("{} {}; {}", it.at, it.text, it.instead)).collect();
            (attrs.limits.slow_start, told)
        };
        let number = "expected a whole number from 0 to 2147483647";
        for (text, seconds, told) in [
            ("slowstart=60", Some(60), None),
            ("maxload=2;SlowStart=0", Some(0), None),
            ("maxload=2", None, None),
            (
                "a=b;slowstart=soon",
                None,
                Some(format!("4 slowstart='soon': {number}; it is as if not there")),
            ),
            ("slowstart=-1", Some(0), Some(format!("0 slowstart='-1': {number}; 0 is in effect"))),
            (
                "slowstart=60s",
                Some(60),
                Some(format!("0 slowstart='60s': {number}; 60 is in effect, 's' is ignored")),
            ),
        ] {
            assert_eq!(read(text), (seconds, told.into_iter().collect()), "{text}");
        }
        let off = Attrs::parse(b"slowstart=soon", false).unwrap();
        assert_eq!((off.limits, off.findings.len()), (Limits::default(), 0));
        assert_eq!(unused(off.unused).collect::<Vec<_>>(), ["slowstart"]);
    }

    #[test]
    fn a_reserve_is_a_number_or_percent_of_the_limit_rounded_down() {
        let own = |text| limits(text).maxload_reserve;
        assert_eq!([own("maxload=20;maxload_reserve=3"), own("maxload_reserve=10%;maxload=29")], [3, 2]);
        assert_eq!(
            [own("maxload=3"), own("maxload=3;maxload_reserve=0"), own("maxload=3;maxload_reserve=10%")],
            [0; 3]
        );
        assert_eq!(own("maxload=2;maxload_reserve='150%'"), 3);
        let shared = |text| limits(text).capacity_reserve;
        assert_eq!(shared("capacity=c;capacity_max=9;capacity_reserve=3"), Some(Reserve::Calls(3)));
        assert_eq!(
            shared("capacity=c;capacity_reserve=10%"),
            Some(Reserve::Percent(10)),
            "another line has the limit"
        );
        assert_eq!(shared("capacity=c;capacity_max=9"), None);
    }

    #[test]
    fn a_reserve_without_sense_is_told_with_its_place() {
        let told = |text: &'static str| {
            let attrs = Attrs::parse(text.as_bytes(), true).unwrap();
            let told: Vec<_> =
                attrs.findings.iter().map(|it| format!("{} {}; {}", it.at, it.text, it.instead)).collect();
            ((attrs.limits.maxload_reserve, attrs.limits.capacity_reserve), told)
        };
        let number = "expected a whole number from 0 to 2147483647, or percent of the limit";
        for (text, reserve, said) in [
            ("maxload=9;maxload_reserve=-1", 0, format!("10 maxload_reserve='-1': {number}; 0 is in effect")),
            (
                "maxload=9;maxload_reserve=-1%",
                0,
                format!("10 maxload_reserve='-1%': {number}; 0% is in effect"),
            ),
            (
                "maxload=9;maxload_reserve=many",
                0,
                format!("10 maxload_reserve='many': {number}; it is as if not there"),
            ),
            (
                "maxload=9;maxload_reserve=%",
                0,
                format!("10 maxload_reserve='%': {number}; it is as if not there"),
            ),
            (
                "maxload=9;maxload_reserve=2x",
                2,
                format!("10 maxload_reserve='2x': {number}; 2 is in effect, 'x' is ignored"),
            ),
            (
                "maxload=9;maxload_reserve=50%x",
                4,
                format!("10 maxload_reserve='50%x': {number}; 50% is in effect, 'x' is ignored"),
            ),
            (
                "maxload_reserve=10%",
                0,
                "0 maxload_reserve='10%': expected a maxload beside it; it has no effect".to_owned(),
            ),
            (
                "maxload_reserve=3;maxload=0",
                0,
                "0 maxload_reserve='3': expected a maxload beside it; it has no effect".to_owned(),
            ),
        ] {
            assert_eq!(told(text), ((reserve, None), vec![said]), "{text}");
        }
        let said = "0 capacity_reserve='3': expected the name of a capacity beside it; it has no effect";
        assert_eq!(told("capacity_reserve=3"), ((0, None), vec![said.to_owned()]));
        assert_eq!(told("capacity_reserve=0;maxload_reserve=0").1.len(), 2);
    }

    #[test]
    fn the_smallest_reserve_that_a_line_says_is_in_effect() {
        let smallest = |all: &[Reserve], limit| {
            let mut smallest = Smallest::default();
            all.iter().for_each(|one| smallest.take(*one));
            smallest.of(limit)
        };
        let (three, tenth) = (Reserve::Calls(3), Reserve::Percent(10));
        assert_eq!(
            [smallest(&[], 50), smallest(&[three, tenth], 50), smallest(&[tenth, three], 20)],
            [0, 3, 2]
        );
        assert_eq!([smallest(&[three], 0), smallest(&[three, Reserve::Calls(0)], 9)], [0, 0]);
        assert_eq!(Reserve::Percent(u32::MAX).of(u32::MAX), u32::MAX);
    }
}
