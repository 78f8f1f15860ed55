//! What is wrong with the capacities that lines share: lines of one name may say different limits and reserves, or none.

use super::limits::{Limits, Reserve, Smallest};
use super::problem::shown;
use super::{Problem, SourcePosition};
use std::collections::BTreeMap;

/// A line that shares a capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'t> {
    /// Where it stands.
    pub place: SourcePosition,
    /// The name of the capacity.
    pub name: &'t [u8],
    /// How many calls it says that all together may have; 0 where it does not say.
    pub most: u32,
    /// How many calls with priority it says that they may have beyond that.
    pub reserve: Option<Reserve>,
    /// How many new calls a second it says that they may have; 0 where it does not say.
    pub cps: u32,
    /// How many more it says that may come at once; 0 where it does not say.
    pub burst: u32,
}

impl<'t> Share<'t> {
    /// The line at this place, if it shares one.
    pub fn of(place: SourcePosition, limits: &Limits<'t>) -> Option<Self> {
        let Limits { capacity: name, capacity_max: most, capacity_reserve: reserve, .. } = *limits;
        let (cps, burst) = (limits.capacity_cps, limits.capacity_cps_burst);
        (!name.is_empty()).then_some(Self { place, name, most, reserve, cps, burst })
    }
}

/// A number that several lines of a capacity may say: its name, and what a line says; 0 is nothing.
type Number = (&'static str, fn(&Share<'_>) -> u32);

const NUMBERS: [Number; 3] =
    [("capacity_max", |line| line.most), ("capacity_cps", |line| line.cps), (BURST, |line| line.burst)];
const BURST: &str = "capacity_cps_burst";

/// A warning for each line whose limit or reserve is not the smallest of its capacity, which is in effect; and for each capacity without a
/// limit.
pub fn problems<'t>(lines: impl Iterator<Item = Share<'t>>) -> Vec<Problem> {
    let mut all = BTreeMap::<&[u8], Vec<Share<'t>>>::new();
    lines.for_each(|line| all.entry(line.name).or_default().push(line));
    let mut problems = Vec::new();
    for (name, mut lines) in all {
        lines.sort_by_key(|line| line.place);
        // One line may stand for many destinations.
        lines.dedup_by_key(|line| line.place);
        let least = |of: fn(&Share<'_>) -> u32| lines.iter().map(of).filter(|said| *said != 0).min();
        let (most, cps) = (least(|line| line.most), least(|line| line.cps));
        let beginning = format!("capacity={}:", shown(name));
        if most.or(cps).is_none() {
            let place = lines.first().map(|line| line.place);
            let text = format!(
                "{beginning} no line of it says a capacity_max or a capacity_cps, so it has no limit"
            );
            problems.extend(place.map(|place| Problem::warning(place, text)));
        }
        let in_vain = |place, said: String, without: &str| {
            Problem::warning(place, format!("{beginning} {said} has no effect without a {without}"))
        };
        match most {
            Some(most) => problems.extend(reserves(name, &lines, most)),
            None => problems.extend(lines.iter().filter_map(|line| {
                Some(in_vain(line.place, format!("capacity_reserve={}", line.reserve?), "capacity_max"))
            })),
        }
        if cps.is_none() {
            let said = lines.iter().filter(|line| line.burst != 0);
            problems.extend(
                said.map(|line| in_vain(line.place, format!("{BURST}={}", line.burst), "capacity_cps")),
            );
        }
        for number in NUMBERS.into_iter().filter(|(word, _)| cps.is_some() || *word != BURST) {
            problems.extend(larger(&beginning, &lines, number));
        }
    }
    problems
}

/// A warning for each line that says a larger number than another one.
fn larger(beginning: &str, lines: &[Share<'_>], (word, of): Number) -> Vec<Problem> {
    let said = || lines.iter().map(|line| (of(line), line.place)).filter(|(said, _)| *said != 0);
    let Some((least, at)) = said().min() else { return Vec::new() };
    let others = said().filter(|(said, _)| *said != least);
    let problem = |(said, place): (u32, SourcePosition)| {
        let text = format!("{beginning} {word} is {said} here and {least} {}", at.of_other());
        Problem::warning(place, format!("{text}: the smallest of all, {least}, is in effect"))
    };
    others.map(problem).collect()
}

/// What a line that came says of its capacity, and another one otherwise: each number once, with the smallest that any of them says. `place` tells
/// where another line stands.
pub fn disagreements<W>(
    own: &Share<'_>,
    others: &[(Share<'_>, W)],
    place: impl Fn(&W) -> String,
) -> Vec<String> {
    let name = shown(own.name);
    let numbers = NUMBERS.into_iter().filter_map(|(word, of)| {
        let said = of(own);
        let other = |of_other: u32| of_other != 0 && of_other != said;
        let others = others.iter().map(|(line, at)| (of(line), at)).filter(|(said, _)| other(*said));
        let (least, at) = others.min_by_key(|(said, _)| *said).filter(|_| said != 0)?;
        let text = format!("capacity={name}: {word} is {said} here and {least} {}", place(at));
        Some(format!("{text}: the smallest of all, {}, is in effect", least.min(said)))
    });
    let all = || others.iter().map(|(line, _)| line).chain([own]);
    let limit = all().map(|line| line.most).filter(|most| *most != 0).min().unwrap_or(0);
    let reserve = own.reserve.filter(|_| limit != 0).and_then(|said| {
        let others = others.iter().filter_map(|(line, at)| Some((line.reserve?, at)));
        let others = others.filter(|(other, _)| other.of(limit) != said.of(limit));
        let (least, at) = others.min_by_key(|(other, _)| other.of(limit))?;
        let text = format!("capacity={name}: capacity_reserve is {said} here and {least} {}", place(at));
        let calls = least.of(limit).min(said.of(limit));
        Some(format!("{text}: the smallest of all, {calls} of {limit}, is in effect"))
    });
    numbers.chain(reserve).collect()
}

/// A warning for each line whose reserve is not the smallest of its capacity, which has this limit.
fn reserves(name: &[u8], lines: &[Share<'_>], limit: u32) -> Vec<Problem> {
    let said = || lines.iter().filter_map(|line| Some((line.place, line.reserve?)));
    let mut smallest = Smallest::default();
    said().for_each(|(_, reserve)| smallest.take(reserve));
    let calls = smallest.of(limit);
    let Some((place, least)) = said().find(|(_, reserve)| reserve.of(limit) == calls) else {
        return Vec::new();
    };
    let others = said().filter(|(_, reserve)| reserve.of(limit) != calls);
    let problem = |(at, reserve)| {
        let (name, other) = (shown(name), place.of_other());
        let text = format!("capacity={name}: capacity_reserve is {reserve} here and {least} {other}");
        Problem::warning(at, format!("{text}: the smallest of all, {calls} of {limit}, is in effect"))
    };
    others.map(problem).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_comes_is_told_what_others_say_otherwise() {
        let text = |text: &'static str| {
            let limits = crate::dest::Attrs::parse(text.as_bytes(), true).unwrap().limits;
            Share::of(SourcePosition::Row(1), &limits).unwrap()
        };
        let others = [
            (text("capacity=c;capacity_max=20;capacity_cps=50"), 1),
            (text("capacity=c;capacity_max=30;capacity_reserve=10%"), 2),
            (text("capacity=c"), 3),
        ];
        let told = |own| disagreements(&text(own), &others, |at| format!("at {at}"));
        assert_eq!(told("capacity=c;capacity_cps=50;capacity_cps_burst=3"), [""; 0]);
        let told_of = |word: &str, own: &str, other: &str, effect: &str| {
            format!(
                "capacity='c': {word} is {own} here and {other}: the smallest of all, {effect}, is in effect"
            )
        };
        let most = told_of("capacity_max", "20", "30 at 2", "20");
        let reserve = told_of("capacity_reserve", "3", "10% at 2", "2 of 20");
        assert_eq!(told("capacity=c;capacity_max=20;capacity_reserve=3"), [most, reserve]);
        let most = told_of("capacity_max", "40", "20 at 1", "20");
        let cps = told_of("capacity_cps", "9", "50 at 1", "9");
        assert_eq!(told("capacity=c;capacity_max=40;capacity_cps=9"), [most, cps]);
    }

    #[test]
    fn the_smallest_limit_counts_and_the_others_are_told() {
        let line = |at, name: &'static str, most| Share {
            place: SourcePosition::Line(at, 1),
            name: name.as_bytes(),
            most,
            reserve: None,
            cps: 0,
            burst: 0,
        };
        let lines = [line(4, "a", 30), line(1, "a", 10), line(2, "a", 0), line(3, "a", 10), line(5, "b", 7)];
        let told: Vec<_> = problems(lines.into_iter()).iter().map(ToString::to_string).collect();
        let text = "4:1: capacity='a': capacity_max is 30 here and 10 on line 1: the smallest of all, 10, is in effect (line loaded)";
        assert_eq!(told, [text]);
        let told = problems([line(2, "c", 0), line(3, "c", 0)].into_iter());
        assert_eq!((told.len(), told[0].place), (1, SourcePosition::Line(2, 1)));
        let reserve = |line: Share<'static>, reserve| Share { reserve: Some(reserve), ..line };
        let told = |lines: &[Share<'static>]| {
            problems(lines.iter().copied()).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let (three, tenth) = (Reserve::Calls(3), Reserve::Percent(10));
        let lines = [reserve(line(1, "r", 20), tenth), reserve(line(2, "r", 0), three), line(3, "r", 0)];
        let text = "2:1: capacity='r': capacity_reserve is 3 here and 10% on line 1: the smallest of all, 2 of 20, is in effect (line loaded)";
        assert_eq!(told(&lines), [text]);
        assert_eq!(
            told(&[reserve(line(1, "r", 30), tenth), reserve(line(2, "r", 0), three)]).len(),
            0,
            "the same"
        );
        let text =
            "5:1: capacity='r': capacity_reserve=10% has no effect without a capacity_max (line loaded)";
        assert_eq!(told(&[line(4, "r", 0), reserve(line(5, "r", 0), tenth)])[1], text);
        let rate = |line: Share<'static>, cps, burst| Share { cps, burst, ..line };
        let lines = [rate(line(1, "n", 9), 30, 4), rate(line(2, "n", 0), 20, 0), rate(line(3, "n", 0), 0, 5)];
        let texts = [
            "1:1: capacity='n': capacity_cps is 30 here and 20 on line 2: the smallest of all, 20, is in effect (line loaded)",
            "3:1: capacity='n': capacity_cps_burst is 5 here and 4 on line 1: the smallest of all, 4, is in effect (line loaded)",
        ];
        assert_eq!(told(&lines), texts);
        assert_eq!(told(&[rate(line(1, "n", 0), 30, 0)]).len(), 0, "a limit is one of both");
        let text =
            "2:1: capacity='n': capacity_cps_burst=5 has no effect without a capacity_cps (line loaded)";
        assert_eq!(told(&[line(1, "n", 3), rate(line(2, "n", 0), 0, 5)]), [text]);
        // One line that stands for many destinations is told once.
        assert_eq!(problems([line(1, "d", 3), line(2, "d", 4), line(2, "d", 4)].into_iter()).len(), 1);
    }
}
