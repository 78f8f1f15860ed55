//! `--stock`: what the stock module of the same Kamailio does with this list, and what going back to it means.
//!
//! Its way to read a line is written down here as a model, from its manual and from servers side by side (`make it`), and the result is
//! compared with ours: no list of known differences can be complete.

use crate::script::Script;
use crate::sets::{By, percent, shares};
use crate::source::{Checked, Destination};
use dispatcher::dest::parts::Parts;
use dispatcher::dest::problem::shown;
use dispatcher::dest::{Flags, Severity, SourceLine, SourcePosition, location};
use std::collections::BTreeMap;

/// What the stock module does otherwise.
#[derive(Default)]
pub struct Stock {
    /// By line.
    pub lines: Vec<(SourcePosition, String)>,
    /// By set.
    pub sets: Vec<(i32, String)>,
    /// What going back means.
    pub rollback: Vec<String>,
}

/// Whether the stock module of this Kamailio has this algorithm.
pub fn knows_algorithm(number: i32) -> bool {
    matches!(number, 0..=13) || number == 64 && cfg!(stock_overload)
}

/// Attributes that the stock module of this Kamailio does not read.
fn unknown(name: &[u8]) -> bool {
    let own = [&b"ping_interval"[..], b"ping_timeout", b"ping_reply_codes"];
    let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
    own.into_iter().any(is)
        || !cfg!(stock_ping_socket) && is(b"ping_socket")
        || !cfg!(stock_overload) && [&b"ocmin"[..], b"ocmax", b"ocrate"].into_iter().any(is)
}

/// Longest piece of a line that it reads at once.
const PIECE: usize = 1023;

/// A line as it reads it.
#[derive(Debug, PartialEq, Eq)]
struct Line<'t> {
    set: i32,
    uri: &'t [u8],
    flags: u32,
    priority: i32,
    attrs: &'t [u8],
}

/// What it makes of a piece of text.
#[derive(Debug, PartialEq, Eq)]
enum Read<'t> {
    Nothing,
    Line(Line<'t>),
    /// All of the file is refused.
    Refused,
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| b" \t\r\n".contains(byte);
    text.get(text.iter().position(|byte| !blank(byte)).unwrap_or(text.len())..).unwrap_or_default()
}

/// The digits at the start as a number, and what follows. A sign, a fraction and hex are no digits.
fn digits(text: &[u8]) -> (i32, &[u8]) {
    let len = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(len);
    let add = |sum: i32, digit: &u8| sum.wrapping_mul(10).wrapping_add((digit - b'0').into());
    (digits.iter().fold(0, add), rest)
}

fn word<'t>(text: &'t [u8], stops: &[u8]) -> (&'t [u8], &'t [u8]) {
    text.split_at(text.iter().position(|byte| stops.contains(byte)).unwrap_or(text.len()))
}

fn ends(text: &[u8]) -> bool {
    matches!(text, [] | [b'#', ..])
}

fn read_piece(text: &[u8]) -> Read<'_> {
    let rest = skip_blanks(text);
    if ends(rest) {
        return Read::Nothing;
    }
    let (set, rest) = digits(rest);
    let rest = skip_blanks(rest);
    if ends(rest) {
        return Read::Refused;
    }
    let (uri, rest) = word(rest, b" \t\r\n#");
    let mut line = Line { set, uri, flags: 0, priority: 0, attrs: b"" };
    let (flags, rest) = digits(skip_blanks(rest));
    line.flags = flags as u32;
    let (priority, rest) = digits(skip_blanks(rest));
    line.priority = priority;
    let rest = skip_blanks(rest);
    if !ends(rest) {
        line.attrs = word(rest, b" \t\r\n").0;
    }
    Read::Line(line)
}

/// What it makes of a line of the file, in pieces.
fn read_line(line: &[u8]) -> Vec<Read<'_>> {
    line.chunks(PIECE).map(read_piece).collect()
}

/// The whole report.
pub fn report(list: &Checked, script: Option<&Script>) -> Stock {
    let mut stock = Stock::default();
    if list.rows.is_empty() {
        lines(list, &mut stock);
    }
    // Where it reads other attributes, these are not read at all.
    let read_otherwise: Vec<SourcePosition> = stock.lines.iter().map(|(place, _)| *place).collect();
    for one in list.destinations.iter().filter(|one| !read_otherwise.contains(&one.place)) {
        let told = attributes(one).into_iter().map(|text| (one.place, text));
        stock.lines.extend(told);
    }
    stock.lines.sort_by_key(|(place, _)| *place);
    for (id, set) in list.sets() {
        stock.sets.extend(of_set(set).into_iter().map(|text| (id, text)));
    }
    rollback(list, script, &mut stock.rollback);
    stock
}

fn lines(list: &Checked, stock: &mut Stock) {
    let (ours, _) = dispatcher::dest::list::parse(&list.text);
    let ours: BTreeMap<usize, SourceLine<'_>> =
        ours.into_iter().map(|one| (number(one.place), one)).collect();
    let loaded: BTreeMap<usize, &Destination> =
        list.destinations.iter().map(|one| (number(one.place), one)).collect();
    for (at, text) in list.text.split(|&byte| byte == b'\n').enumerate() {
        let at = at + 1;
        let error = list
            .problems
            .iter()
            .find(|problem| problem.severity == Severity::Error && number(problem.place) == at);
        let told = match (read_line(text).as_slice(), ours.get(&at)) {
            ([] | [Read::Nothing], _) => continue,
            ([Read::Refused], _) => "it loads nothing of the whole file because of this line".into(),
            ([Read::Line(line)], Some(ours)) if loaded.contains_key(&at) => match differs(line, ours) {
                Some(told) => told,
                None => continue,
            },
            ([Read::Line(line)], _) => match loads_all_the_same(line, error.is_some()) {
                Some(told) => told,
                None => continue,
            },
            (pieces, _) => {
                let count = pieces.len();
                format!(
                    "it cuts the line into {count} of at most {PIECE} bytes, and reads each as a line of its own"
                )
            }
        };
        let place = error.map_or_else(
            || loaded.get(&at).map_or(SourcePosition::Line(at, 1), |one| one.place),
            |problem| problem.place,
        );
        stock.lines.push((place, told));
    }
}

fn number(place: SourcePosition) -> usize {
    match place {
        SourcePosition::Line(number, _) | SourcePosition::Row(number) => number,
    }
}

/// How it reads a line otherwise than we do.
fn differs(stock: &Line<'_>, ours: &SourceLine<'_>) -> Option<String> {
    let mut what = Vec::new();
    if !sends_to(stock.uri) {
        let text =
            format!("it takes {} for the URI, which is none, and leaves the line out", shown(stock.uri));
        return Some(text);
    }
    if stock.set != ours.set {
        what.push(format!("set {} (here {})", stock.set, ours.set));
    }
    if stock.uri != &*ours.uri {
        what.push(format!("URI {} (here {})", shown(stock.uri), shown(&ours.uri)));
    }
    if stock.flags != ours.flags.0 {
        what.push(format!("flags {} (here {})", stock.flags, ours.flags.0));
    }
    if stock.priority != ours.priority {
        what.push(format!("priority {} (here {})", stock.priority, ours.priority));
    }
    if stock.attrs != &*ours.attrs {
        what.push(format!("attributes {} (here {})", shown(stock.attrs), shown(&ours.attrs)));
    }
    (!what.is_empty()).then(|| format!("it reads {}", what.join(", ")))
}

/// Whether its parser takes this for a URI, with `sip:` before it where that is missing.
fn sends_to(uri: &[u8]) -> bool {
    location::host_in(uri).is_some()
        || uri.len() > 4 && location::host_in(&[b"sip:", uri].concat()).is_some_and(|host| !host.is_empty())
}

/// What it does with a line that is not loaded here.
fn loads_all_the_same(line: &Line<'_>, is_error: bool) -> Option<String> {
    if !is_error || !sends_to(line.uri) {
        return None;
    }
    let ends_in_a_crash = line.uri.ends_with(b">")
        || Parts::of(line.attrs).any(|part| {
            let probes =
                [&b"obproxy"[..], b"ping_from"].into_iter().any(|it| part.name.eq_ignore_ascii_case(it));
            probes && part.value.is_ok_and(|value| value.ends_with(b">") && !value.contains(&b'<'))
        });
    let crash = if ends_in_a_crash { ", and ends with SIGSEGV when it probes that" } else { "" };
    Some(format!("it loads {} into set {}{crash}", shown(line.uri), line.set))
}

/// The attributes of one destination that it reads otherwise.
fn attributes(one: &Destination) -> Vec<String> {
    let mut told = Vec::new();
    let mut behind = None;
    for part in Parts::of(&one.attrs.body) {
        let value = part.value.unwrap_or_default();
        if let Some(name) = behind {
            told.push(format!("it reads no attribute behind the comma in {name}"));
            break;
        }
        if unknown(part.name) {
            told.push(format!("it has no attribute {}", part.name.escape_ascii()));
        }
        let is = |name: &[u8]| part.name.eq_ignore_ascii_case(name);
        if is(b"cc") && one.attrs.cc && value.first().is_none_or(|byte| !byte.is_ascii_digit()) {
            told.push(format!("it takes {} for 0", shown(value)));
        }
        for (name, share) in [("weight", one.attrs.weight), ("rweight", one.attrs.rweight)] {
            if is(name.as_bytes()) && share > 100 {
                told.push(format!("it wants {name} from 1 to 100, and takes {share} for 0"));
            }
        }
        // What is not quoted ends at a comma, and so does its reading.
        if !part.quoted && value.contains(&b',') {
            behind = Some(part.name.escape_ascii().to_string());
        }
    }
    told
}

/// Slots of its table for algorithm 9: a weight fills as many, up to 100 in all, the last of the set what is left.
fn slots(set: &[Destination]) -> Vec<u32> {
    let (mut slots, mut left) = (vec![0; set.len()], 100);
    if set.first().is_none_or(|first| of_stock(By::Weight, first) == 0) {
        // Without a weight at the first the table stays empty, which means the first.
        slots.iter_mut().take(1).for_each(|first| *first = 100);
        return slots;
    }
    for (own, one) in slots.iter_mut().zip(set) {
        *own = of_stock(By::Weight, one).min(left);
        left -= *own;
    }
    slots.last_mut().into_iter().for_each(|last| *last += left);
    slots
}

/// The same for algorithm 11: whole percents of the sum, and what is left to the last that has any.
fn relative_slots(set: &[Destination]) -> Vec<u32> {
    let own = |one: &Destination| if one.flags.usable() { of_stock(By::RelativeWeight, one) } else { 0 };
    let sum: u32 = set.iter().map(own).sum();
    let mut slots: Vec<u32> = set.iter().map(|one| (own(one) * 100).checked_div(sum).unwrap_or(0)).collect();
    let left = 100 - slots.iter().sum::<u32>().min(100);
    let last = if sum == 0 || set.len() < 2 {
        slots.first_mut()
    } else if slots.iter().all(|own| *own == 0) {
        slots.last_mut()
    } else {
        slots.iter_mut().rev().find(|own| **own > 0)
    };
    last.into_iter().for_each(|last| *last += left);
    slots
}

fn of_stock(by: By, one: &Destination) -> u32 {
    Some(by.of(one)).filter(|share| (1..=100).contains(share)).unwrap_or(0)
}

/// What it does with a set.
fn of_set(set: &[Destination]) -> Vec<String> {
    let mut told = Vec::new();
    for (by, slots, algorithm) in [(By::Weight, slots(set), 9), (By::RelativeWeight, relative_slots(set), 11)]
    {
        let Some(ours) = shares(set, by) else { continue };
        // One that is down gives its slots to the next of the set there; that is no matter of the list.
        let other = |((one, ours), slots): &((&Destination, &f64), &u32)| {
            one.flags.usable() && (*ours - f64::from(**slots)).abs() >= 1.0
        };
        let all: Vec<_> = set.iter().zip(&ours).zip(&slots).filter(other).collect();
        let share = |((one, ours), slots): &((&Destination, &f64), &u32)| {
            format!("{} {slots}% (here {})", String::from_utf8_lossy(&one.uri), percent(**ours))
        };
        let shown: Vec<_> = all.iter().take(5).map(share).collect();
        let more = if all.len() > 5 { format!(", and {} more", all.len() - 5) } else { String::new() };
        if !shown.is_empty() {
            told.push(format!("with algorithm {algorithm} it gives {}{more}", shown.join(", ")));
        }
    }
    let nameless = set.iter().filter(|one| one.attrs.duid.is_empty()).count();
    if nameless > 0 && set.iter().any(|one| one.attrs.maxload > 0 || !one.attrs.duid.is_empty()) {
        let of = if nameless == set.len() {
            "none has".into()
        } else {
            format!("{nameless} of {} have no", set.len())
        };
        told.push(format!(
            "{of} duid: with algorithm 10 it counts no call there, and maxload has no effect on these"
        ));
    }
    let names = set.iter().filter(|one| one.named && !one.flags.has(Flags::NO_DNS)).count();
    if names > 0 {
        let what = if names == 1 { "a host is a name".into() } else { format!("{names} hosts are names") };
        told.push(format!(
            "{what}: it asks the DNS while it loads, and leaves out what does not resolve then"
        ));
    }
    told
}

fn rollback(list: &Checked, script: Option<&Script>, told: &mut Vec<String>) {
    let unknown_ones = match cfg!(stock_overload) {
        true => "14 and 15",
        false => "14, 15 and 64",
    };
    match script {
        None => told.push(format!(
            "it has no algorithms {unknown_ones}: with such a number, which it only warns about, every call goes to the first \
             destination of its set (--cfg looks for them)"
        )),
        Some(script) => told.extend(script.told()),
    }
    let firsts = list.sets().filter(|(_, set)| set.len() > 1);
    let first = |(id, set): (i32, &[Destination])| {
        let up = set.iter().find(|one| one.flags.usable())?;
        Some(format!("set {id}: {}", String::from_utf8_lossy(&up.uri)))
    };
    let firsts: Vec<_> = firsts.filter_map(first).collect();
    if !firsts.is_empty() && script.is_none_or(Script::uses_unknown_algorithms) {
        let more = if firsts.len() > 5 { format!("; and {} more", firsts.len() - 5) } else { String::new() };
        let shown: Vec<_> = firsts.iter().take(5).map(String::as_str).collect();
        told.push(format!("the first is, in {}{more}", shown.join("; ")));
    }
    told.push(
        "it starts with all counts at 0 while calls are up, and each of its reloads sets them to 0 again"
            .into(),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Line<'_> {
        match read_piece(text.as_bytes()) {
            Read::Line(line) => line,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn signs_and_hex_are_no_numbers_to_the_stock_module() {
        let read = line("1 sip:a 0x8 5 duid=x");
        assert_eq!((read.flags, read.priority, read.attrs), (0, 0, &b"x8"[..]));
        let read = line("1 sip:a 0 -5 duid=x");
        assert_eq!((read.priority, read.attrs), (0, &b"-5"[..]));
        let read = line("-7 sip:a 8");
        assert_eq!((read.set, read.uri, read.attrs), (0, &b"-7"[..], &b"sip:a"[..]));
        assert_eq!(line("3sip:a 8 9 x=y").set, 3);
        assert_eq!(read_piece(b"  # all"), Read::Nothing);
        assert_eq!(read_piece(b"12 # no URI"), Read::Refused);
    }
}
