//! The report for people: findings as compilers write them, then tables.

use crate::capacities::{Shared, capacities};
use crate::explain::Explained;
use crate::report::{Report, counted};
use crate::sets::{By, percent, shares};
use crate::source::{Checked, Destination};
use crate::stock::Stock;
use dispatcher::dest::compare::{ChangeKind, Comparison};
use dispatcher::dest::{Severity, SourcePosition};
use std::fmt::Write;

/// What a word is painted in on a terminal.
#[derive(Clone, Copy)]
enum Paint {
    Bold,
    Red,
    Yellow,
    Green,
    Faint,
}

struct Page {
    text: String,
    colour: bool,
}

impl Page {
    fn painted(&self, paint: Paint, text: &str) -> String {
        let code = match paint {
            Paint::Bold => "1",
            Paint::Red => "1;31",
            Paint::Yellow => "33",
            Paint::Green => "32",
            Paint::Faint => "2",
        };
        if self.colour && !text.is_empty() { format!("\x1b[{code}m{text}\x1b[m") } else { text.to_owned() }
    }

    fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    fn title(&mut self, text: &str) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        let text = self.painted(Paint::Bold, text);
        self.line(&text);
    }
}

/// The whole report.
pub fn show(report: &Report, quiet: bool, colour: bool) -> String {
    let mut page = Page { text: String::new(), colour };
    findings(&mut page, report);
    if !quiet {
        report.list.sets().for_each(|(id, set)| sets(&mut page, id, set));
        shared(&mut page, &report.list);
        sockets(&mut page, &report.list);
    }
    if let Some((old, diff)) = &report.diff {
        changes(&mut page, old, diff);
    }
    if let Some(explained) = &report.explained {
        explain(&mut page, &report.list, explained);
    }
    if let Some(told) = &report.stock {
        stock(&mut page, &report.list, told);
    }
    page.text
}

/// What a text of the file looks like on a terminal.
fn printable(text: &[u8]) -> String {
    let clean = core::str::from_utf8(text).is_ok_and(|text| !text.chars().any(char::is_control));
    if clean { String::from_utf8_lossy(text).into_owned() } else { text.escape_ascii().to_string() }
}

fn findings(page: &mut Page, report: &Report) {
    let list = &report.list;
    let mut all: Vec<(SourcePosition, String)> = Vec::new();
    for problem in &list.problems {
        let (paint, effect) = match problem.severity {
            Severity::Error => (Paint::Red, "not loaded"),
            Severity::Warning => (Paint::Yellow, "loaded"),
        };
        let unit = if list.rows.is_empty() { "line" } else { "row" };
        let (place, word) = (list.shown(problem.place), page.painted(paint, problem.severity.name()));
        all.push((problem.place, format!("{place}: {word}: {} ({unit} {effect})", problem.told())));
    }
    for note in &report.notes {
        let (place, word) = (list.shown(note.place), page.painted(Paint::Faint, "note"));
        all.push((note.place, format!("{place}: {word}: {}", note.text)));
    }
    all.sort_by_key(|(place, _)| *place);
    all.iter().for_each(|(_, line)| page.line(line));
    let unit = if list.rows.is_empty() { "destination" } else { "row" };
    let (errors, warnings) = (list.found(Severity::Error), list.found(Severity::Warning));
    let loaded = list.destinations.len();
    let mut summary = format!("{}: {}, {loaded} loaded", list.file, counted(list.count, unit));
    let _ = match (errors, warnings) {
        (0, 0) => write!(summary, ", {}", page.painted(Paint::Green, "nothing wrong")),
        _ => write!(summary, ", {}, {}", counted(errors, "error"), counted(warnings, "warning")),
    };
    if list.count > 0 && loaded == 0 {
        summary += "; a running server keeps what serves";
    }
    page.line(&summary);
}

/// A table: a column in which no cell says anything is left out.
fn table(page: &mut Page, head: &[&str], rows: &[Vec<String>]) {
    let nothing = |at: usize| rows.iter().all(|row| row.get(at).is_none_or(|cell| cell == "-"));
    let shown: Vec<usize> = (0..head.len()).filter(|&at| !nothing(at)).collect();
    let cell = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
    let width = |at: usize| {
        let widest = rows.iter().map(|row| cell(row, at).chars().count()).max().unwrap_or(0);
        widest.max(head.get(at).map_or(0, |name| name.len()))
    };
    let line = |row: &[String]| {
        let cells = shown.iter().map(|&at| format!("{:<width$}", cell(row, at), width = width(at)));
        format!("  {}", cells.collect::<Vec<_>>().join("  ")).trim_end().to_owned()
    };
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let head = page.painted(Paint::Faint, &line(&head));
    page.line(&head);
    rows.iter().for_each(|row| page.line(&line(row)));
}

fn sets(page: &mut Page, id: i32, set: &[Destination]) {
    let down = set.iter().filter(|one| !one.flags.usable()).count();
    let down = if down == 0 { String::new() } else { format!(", {down} not up") };
    page.title(&format!("set {id}: {}{down}", counted(set.len(), "destination")));
    let [weight, rweight] = [By::Weight, By::RelativeWeight].map(|by| shares(set, by));
    let share =
        |shares: &Option<Vec<f64>>, own: u32, at: usize| match shares.as_ref().and_then(|all| all.get(at)) {
            Some(share) => format!("{own} = {}", percent(*share)),
            None => "-".to_owned(),
        };
    let some = |text: &[u8]| if text.is_empty() { "-".to_owned() } else { printable(text) };
    let row = |(at, one): (usize, &Destination)| {
        vec![
            (at + 1).to_string(),
            printable(&one.uri),
            one.flags.letters().to_owned(),
            if one.priority == 0 { "-".to_owned() } else { one.priority.to_string() },
            limit(one.attrs.maxload, one.reserve),
            limit(one.rate.0, one.rate.1),
            some(&one.capacity.name),
            share(&weight, one.attrs.weight, at),
            share(&rweight, one.attrs.rweight, at),
            some(&one.attrs.duid),
            some(one.attrs.local_socket(Vec::as_slice)),
        ]
    };
    let rows: Vec<_> = set.iter().enumerate().map(row).collect();
    let head = [
        "",
        "destination",
        "state",
        "priority",
        "maxload",
        "cps",
        "capacity",
        "weight",
        "rweight",
        "duid",
        "socket",
    ];
    table(page, &head, &rows);
}

/// A limit, with what comes beyond it.
fn limit(most: u32, beyond: u32) -> String {
    match (most, beyond) {
        (0, _) => "-".to_owned(),
        (most, 0) => most.to_string(),
        (most, beyond) => format!("{most}+{beyond}"),
    }
}

/// The capacities that destinations share.
fn shared(page: &mut Page, list: &Checked) {
    let row = |one: &Shared<'_>| {
        let (calls, new) = (limit(one.limit, one.reserve), limit(one.rate.0, one.rate.1));
        vec![printable(one.name), one.members.to_string(), calls, new]
    };
    let rows: Vec<_> = capacities(&list.destinations, &[]).iter().map(row).collect();
    if !rows.is_empty() {
        page.title("shared capacities");
        table(page, &["capacity", "destinations", "calls", "cps"], &rows);
    }
}

/// What only a server knows.
fn sockets(page: &mut Page, list: &Checked) {
    let mut all: Vec<Vec<u8>> = Vec::new();
    for one in &list.destinations {
        let from = one.attrs.local_socket(Vec::as_slice);
        all.extend([from, &one.ping_socket].into_iter().filter(|text| !text.is_empty()).map(<[u8]>::to_vec));
    }
    all.sort();
    all.dedup();
    if !all.is_empty() {
        page.title("the server must listen on");
        all.iter().for_each(|socket| page.line(&format!("  {}", printable(socket))));
    }
}

fn changes(page: &mut Page, old: &str, diff: &Comparison) {
    page.title(&format!("compared with {old}"));
    let of = |kind: ChangeKind| format!("{} {}", diff.count(kind), kind.name());
    let [added, removed, changed] = [ChangeKind::Added, ChangeKind::Removed, ChangeKind::Changed].map(of);
    page.line(&format!("  {added}, {removed}, {changed}, {} as they were", diff.unchanged));
    let (gone, other) = (diff.calls(ChangeKind::Removed), diff.calls(ChangeKind::Changed));
    if gone + other > 0 {
        page.line(&format!("  calls: {gone} at removed destinations, {other} at changed ones"));
    }
    for change in &diff.changes {
        let (paint, sign) = match change.kind {
            ChangeKind::Added => (Paint::Green, '+'),
            ChangeKind::Removed => (Paint::Red, '-'),
            ChangeKind::Changed => (Paint::Yellow, '~'),
        };
        let what =
            if change.what.is_empty() { String::new() } else { format!(": {}", change.what.join(", ")) };
        let text = format!("{sign} set {} {}", change.set, printable(&change.uri));
        let text = page.painted(paint, &text);
        page.line(&format!("  {text}{what}"));
    }
}

fn explain(page: &mut Page, list: &Checked, explained: &Explained) {
    let Explained { set, algorithm, key, chosen, whys, loads } = explained;
    let key = key.as_ref().map_or_else(String::new, |key| format!(", key '{key}'"));
    page.title(&format!("set {set}, algorithm {algorithm}{key}: the first choice"));
    if let Err(refusal) = chosen {
        page.line(&format!("  none: {}", refusal.words()));
    }
    let set = list.destinations.iter().filter(|one| one.set == *set);
    let rows = set.zip(whys).zip(loads);
    let rows: Vec<_> =
        rows.map(|((one, why), load)| vec![printable(&one.uri), load.to_string(), why.to_string()]).collect();
    table(page, &["destination", "calls", "why"], &rows);
}

fn stock(page: &mut Page, list: &Checked, told: &Stock) {
    page.title(&format!("the stock module of {}", env!("KAMAILIO_RELEASE")));
    if told.lines.is_empty() && told.sets.is_empty() {
        page.line("  reads this list as we do");
    }
    told.lines.iter().for_each(|(place, text)| page.line(&format!("  {}: {text}", list.shown(*place))));
    told.sets.iter().for_each(|(id, text)| page.line(&format!("  set {id}: {text}")));
    page.title("rolling back to it");
    told.rollback.iter().for_each(|text| page.line(&format!("  {text}")));
}
