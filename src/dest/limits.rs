//! Attributes that limit more than `maxload` does. They act with parameter `ds_limits` only: scripts may use such words for themselves.

use super::attrs::{Finding, MAX_NUMBER, equal, expected_number};
use super::number::leading;
use super::problem::in_effect;

/// Limits beside `maxload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits<'t> {
    /// The capacity that the destination shares with all others that name it; empty is none.
    pub capacity: &'t [u8],
    /// Calls at the same time that all of those may have together; 0 is not said.
    pub capacity_max: u32,
    /// New calls a second; 0 is no limit.
    pub cps: u32,
    /// So many more may come at once; 0 where there is no `cps`.
    pub cps_burst: u32,
}

/// An attribute: its offset, name and value.
type Said<'t> = Option<(usize, &'t [u8], &'t [u8])>;

fn alone((at, name, value): (usize, &[u8], &[u8]), expected: &str) -> Finding {
    let text = format!("{}: expected {expected} beside it", equal(name, value));
    Finding { at, text, instead: "it has no effect".to_owned() }
}

impl Limits<'_> {
    /// Takes back `capacity_max`, where that was said, if no capacity is named.
    pub(super) fn without_name(&mut self, said: Said<'_>) -> Option<Finding> {
        let said = said.filter(|_| self.capacity.is_empty())?;
        self.capacity_max = 0;
        Some(alone(said, "the name of a capacity"))
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

/// The names of these attributes.
pub const NAMES: [&str; 4] = ["capacity", "capacity_max", "cps", "cps_burst"];

/// The names of those that were seen and do not act: a bit for each, in the order of [`NAMES`].
pub fn unused(bits: u32) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(at, _)| bits & 1 << at != 0).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dest::Attrs;

    #[test]
    fn a_capacity_acts_only_where_further_limits_do() {
        let limits = |text: &'static str| Attrs::parse(text.as_bytes(), true).unwrap().limits;
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
        let off = Attrs::parse(b"capacity=trunk;capacity_max=many;maxload=3", false).unwrap();
        assert_eq!((off.limits, off.maxload, off.findings.len()), (shared("", 0), 3, 0));
        assert_eq!(unused(off.unused).collect::<Vec<_>>(), ["capacity", "capacity_max"]);
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
}
