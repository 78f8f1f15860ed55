//! A part of the destinations as plain text, for a terminal.

use super::query::Query;
use super::{MOST, fill, shown};
use crate::context::Module;
use crate::host::mem::Pool;
use crate::load::Rate;
use crate::service::report::metrics;
use crate::service::report::status::{Cursor, Row};
use crate::state::{Generation, Set};
use core::fmt::Write;

/// The part that is asked for.
pub fn part(module: &Module, sets: &Generation<Pool>, query: &Query, now: u64) -> String {
    let mut text = String::with_capacity(MOST);
    // Writing to a string does not fail, here and below.
    let _ = writeln!(
        text,
        "dispatcher: {}, {} calls counted since the start",
        of(sets.sets.len(), "set"),
        module.root.counters.placed.get()
    );
    let (_, next) = fill(&mut text, (module, sets), query, |text, open, set, row| {
        if open != Some(set.id) {
            heading(text, set);
        }
        line(text, row, now);
    });
    if let Some(Cursor { set, at }) = next {
        let only = query.set.map_or_else(String::new, |set| format!("&set={set}"));
        let _ = writeln!(text, "\nmore: ?from={set}:{at}{only}");
    }
    text
}

fn heading(text: &mut String, set: &Set<Pool>) {
    let (up, open) = set.ranks.usable_and_open();
    let _ = write!(text, "\nset {}: {}, {up} up, {open} with room", set.id, of(set.len(), "destination"));
    for cause in metrics::causes().filter(|cause| set.refused().get(*cause) > 0) {
        let _ = write!(text, ", refused {}: {}", set.refused().get(cause), cause.words());
    }
    let _ = writeln!(text, "\nST    LOAD/LIMIT    REQUESTS   LATENCY  CHANGED  DESTINATION");
}

/// So many of them.
fn of(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A limit, with what comes beyond it for calls with priority.
fn limit(most: u32, reserve: u32) -> String {
    match (most, reserve) {
        (0, _) => "-".into(),
        (most, 0) => most.to_string(),
        (most, reserve) => format!("{most}+{reserve}"),
    }
}

/// A limit on new calls, after this.
fn pace(before: &str, rate: Rate) -> String {
    if rate.limits() { format!("{before}{}/s+{}", rate.cps, rate.burst) } else { String::new() }
}

fn line(text: &mut String, row: &Row<'_>, now: u64) {
    let one = row.one;
    let most = limit(one.maxload, one.limits.maxload_reserve);
    let latency = if row.latency == 0 { "-".into() } else { format!("{} ms", row.latency) };
    let _ = write!(
        text,
        "{:<3} {:>6}/{:<6} {:>9} {:>9} {:>8}  {}",
        row.flags.letters(),
        row.load,
        most,
        row.selected,
        latency,
        ago(row.health.changed, now),
        shown(one.text(one.uri))
    );
    let duid = one.text(one.duid);
    if !duid.is_empty() {
        let _ = write!(text, " ({})", shown(duid));
    }
    if let Some(shared) = &row.capacity {
        let limit = limit(shared.limit, shared.reserve);
        let _ = write!(text, "  {} {}/{limit}{}", shown(&shared.name), shared.calls, pace(" ", shared.rate));
    }
    text.push_str(&pace("  ", one.limits.rate));
    if let Some(slow) = row.slow_start.filter(|slow| slow.left > 0) {
        let _ = write!(text, "  slow start {} %, {} s left", slow.percent, slow.left);
    }
    if let Some(ejection) = &row.ejection {
        let _ = match ejection.left {
            0 => write!(text, "  {}", ejection.state()),
            left => write!(text, "  {} {left} s", ejection.state()),
        };
    }
    match (row.why.code, row.why.reason.bytes()) {
        (0, []) => (),
        (0, reason) => drop(write!(text, "  {}", shown(reason))),
        (code, reason) => drop(write!(text, "  {code} {}", shown(reason))),
    }
    text.push('\n');
}

/// How long ago that was, in the one unit that says it best.
fn ago(then: u64, now: u64) -> String {
    let seconds = now.saturating_sub(then) / 1000;
    match seconds {
        _ if then == 0 => "-".into(),
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_in_one_unit() {
        let told = [1, 60, 119, 120, 7199, 7200, 172_799, 172_800].map(|seconds| ago(1, 1 + seconds * 1000));
        assert_eq!(told, ["1 s", "60 s", "119 s", "2 min", "119 min", "2 h", "47 h", "2 d"]);
        assert_eq!((ago(0, 9000), ago(9000, 1)), ("-".into(), "0 s".into()));
    }
}
