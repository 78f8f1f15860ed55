//! A part of the destinations in JSON.

use super::query::{Query, Rows};
use super::{MOST, fill, shown};
use crate::context::Module;
use crate::dest::Flags;
use crate::host::clock;
use crate::host::mem::Pool;
use crate::service::report::metrics;
use crate::service::report::status::{Cursor, Row};
use crate::state::slow_start::SlowStart;
use crate::state::{Generation, Set};
use crate::workers::prober;
use core::fmt::Write;

/// The part that is asked for.
pub fn part(module: &Module, sets: &Generation<Pool>, query: &Query, now: u64) -> String {
    let mut text = String::with_capacity(MOST);
    let counters = &module.root.counters;
    // Writing to a string does not fail, here and below.
    let _ = write!(
        text,
        "{{\"now\":{now},\"generation\":{},\"sets\":{},\"placed\":{},\"late\":{},\"expired\":{},\"probes\":{},\
         \"failed_probes\":{},\"part\":[",
        sets.number,
        sets.sets.len(),
        counters.placed.get(),
        counters.late.get(),
        counters.expired.get(),
        counters.probes.get(),
        counters.failed_probes.get()
    );
    let (open, next) = fill(&mut text, (module, sets), query, |text, open, set, row| {
        if open == Some(set.id) {
            text.push(',');
        } else {
            text.push_str(if open.is_some() { "]}," } else { "" });
            begin(text, set, row.at, query.rows);
        }
        match query.rows {
            Rows::Objects => object(text, module, row),
            Rows::List => list(text, row),
            Rows::Now => at_present(text, row),
        }
    });
    text.push_str(if open.is_some() { "]}]," } else { "]," });
    let _ = match next {
        Some(Cursor { set, at }) => writeln!(text, "\"next\":\"{set}:{at}\"}}"),
        None => writeln!(text, "\"next\":null}}"),
    };
    text
}

/// The beginning of a set's rows.
fn begin(text: &mut String, set: &Set<Pool>, from: usize, rows: Rows) {
    let (up, open) = set.ranks.usable_and_open();
    let _ = write!(
        text,
        "{{\"set\":{},\"size\":{},\"up\":{up},\"with_room\":{open},\"from\":{from},",
        set.id,
        set.len()
    );
    if rows == Rows::Objects {
        for (at, cause) in metrics::causes().enumerate() {
            text.push_str(if at == 0 { "\"refused\":{" } else { "," });
            let _ = write!(text, "\"{}\":{}", cause.label(), set.refused().get(cause));
        }
        text.push_str("},");
    }
    if rows == Rows::Now {
        let all = metrics::causes().map(|cause| (cause.label(), set.refused().get(cause)));
        let some = all.filter(|(_, count)| *count > 0).map(|(cause, count)| format!("\"{cause}\":{count}"));
        let _ = write!(text, "\"refused\":{{{}}},", some.collect::<Vec<_>>().join(","));
    }
    text.push_str("\"rows\":[");
}

/// All of a destination, with names. Times are seconds of the wall clock; 0 is never.
fn object(text: &mut String, module: &Module, row: &Row<'_>) {
    let (one, health) = (row.one, &row.health);
    let _ = write!(text, "{{\"id\":{},\"position\":{}", row.id, row.at);
    for (name, value) in [
        ("uri", one.text(one.uri)),
        ("duid", one.text(one.duid)),
        ("name", one.text(one.written)),
        ("socket", one.local_socket()),
        ("state", row.flags.letters().as_bytes()),
    ] {
        let _ = write!(text, ",\"{name}\":");
        string(text, value);
    }
    let _ = write!(text, ",\"up\":{},\"code\":{},\"reason\":", row.flags.usable(), row.why.code);
    string(text, row.why.reason.bytes());
    let _ = write!(text, ",\"priority\":{}", one.priority);
    for (name, value) in [
        ("weight", one.weight.into()),
        ("rweight", one.rweight.into()),
        ("maxload", one.maxload.into()),
        ("maxload_reserve", one.limits.maxload_reserve.into()),
        ("load", row.load.into()),
        ("selected", row.selected),
        ("failed_over", row.failed_over),
        ("refused", row.refused),
        ("failed_probes", row.failed_probes),
        ("latency_milliseconds", row.latency.into()),
        ("changed", health.changed / 1000),
        ("failures", health.failures.into()),
        ("successes", health.successes.into()),
        ("probed", health.probed / 1000),
        ("dropped", health.dropped / 1000),
        ("next_probe", prober::next(module, one, row.flags).unwrap_or(0)),
        ("name_lost", health.name.lost / 1000),
    ] {
        let _ = write!(text, ",\"{name}\":{value}");
    }
    if row.flags.has(Flags::DRAINING) {
        text.push_str(",\"drain\":{\"state\":\"draining\"");
        let left = health.drain.left(clock::micros());
        let _ = left.map_or(Ok(()), |left| write!(text, ",\"seconds\":{left}"));
        text.push('}');
    }
    if let Some(shared) = &row.capacity {
        text.push_str(",\"capacity\":{\"name\":");
        string(text, &shared.name);
        let _ = write!(text, ",\"calls\":{},\"limit\":{}", shared.calls, shared.limit);
        let _ = write!(text, ",\"reserve\":{}", shared.reserve);
        if shared.rate.limits() {
            let (cps, burst, over) = (shared.rate.cps, shared.rate.burst, shared.over);
            let _ = write!(text, ",\"cps\":{cps},\"burst\":{burst},\"over\":{over}");
        }
        text.push('}');
    }
    if let Some(ejection) = &row.ejection {
        let (state, left, times) = (ejection.state(), ejection.left, ejection.times);
        let _ = write!(text, ",\"ejection\":{{\"state\":\"{state}\",\"seconds\":{left},\"times\":{times}}}");
    }
    let rate = row.one.limits.rate;
    if rate.limits() {
        let (cps, burst, over) = (rate.cps, rate.burst, row.over_rate);
        let _ = write!(text, ",\"rate\":{{\"cps\":{cps},\"burst\":{burst},\"over\":{over}}}");
    }
    if let Some(SlowStart { seconds, left, percent }) = row.slow_start {
        let _ =
            write!(text, ",\"slow_start\":{{\"seconds\":{seconds},\"left\":{left},\"percent\":{percent}}}");
    }
    text.push('}');
}

/// What is configured: id, URI, duid, the name that was written, maxload, priority, weight; where it has further limits, those: its reserve, `cps`
/// and burst, then name, limit, reserve, `cps` and burst of the capacity that it shares.
fn list(text: &mut String, row: &Row<'_>) {
    let one = row.one;
    let _ = write!(text, "[{}", row.id);
    for value in [one.uri, one.duid, one.written] {
        text.push(',');
        string(text, one.text(value));
    }
    let _ = write!(text, ",{},{},{}", one.maxload, one.priority, one.weight);
    if is_limited(row) {
        let (reserve, rate) = (one.limits.maxload_reserve, one.limits.rate);
        let _ = write!(text, ",{reserve},{},{}", rate.cps, rate.burst);
    }
    if let Some(shared) = &row.capacity {
        text.push(',');
        string(text, &shared.name);
        let (limit, reserve, rate) = (shared.limit, shared.reserve, shared.rate);
        let _ = write!(text, ",{limit},{reserve},{},{}", rate.cps, rate.burst);
    }
    text.push(']');
}

/// Whether it has limits beside its `maxload`.
fn is_limited(row: &Row<'_>) -> bool {
    row.one.limits.maxload_reserve > 0 || row.one.limits.rate.limits() || row.capacity.is_some()
}

/// What changes by itself: id, state, load, requests sent to it, sent on from it, refused, failed probes, latency, when the state
/// changed, code and reason; where it has further limits or is drained, how often it came to its limit on new calls, then the calls of the
/// capacity that it shares and how often that came to its own, and the seconds that are left of a drain, or -1.
fn at_present(text: &mut String, row: &Row<'_>) {
    let _ = write!(
        text,
        "[{},\"{}\",{},{},{},{},{},{},{},{},",
        row.id,
        row.flags.letters(),
        row.load,
        row.selected,
        row.failed_over,
        row.refused,
        row.failed_probes,
        row.latency,
        row.health.changed / 1000,
        row.why.code
    );
    string(text, row.why.reason.bytes());
    let is_drained = row.flags.has(Flags::DRAINING);
    if is_limited(row) || is_drained {
        let (calls, over) = row.capacity.as_ref().map_or((0, 0), |shared| (shared.calls, shared.over));
        let left = row.health.drain.left(clock::micros()).filter(|_| is_drained).map_or(-1, i64::from);
        let _ = write!(text, ",{},{calls},{over},{left}", row.over_rate);
    }
    text.push(']');
}

/// A text in quotes.
fn string(text: &mut String, value: &[u8]) {
    text.push('"');
    for letter in shown(value).chars() {
        match letter {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            letter => text.push(letter),
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_make_one_json_string() {
        let quoted = |bytes: &[u8]| {
            let mut text = String::new();
            string(&mut text, bytes);
            text
        };
        assert_eq!(quoted(b"a\"b\\c\xff\x01</"), "\"a\\\"b\\\\c\\\\xff\\\\x01</\"");
        for byte in 0..=u8::MAX {
            let text = quoted(&[byte]);
            let inner = text.trim_start_matches('"').strip_suffix('"').unwrap_or("");
            let escaped = inner.replace("\\\\", "").replace("\\\"", "");
            assert!(!escaped.contains(['"', '\\']) && !escaped.contains(char::is_control), "{text}");
        }
    }
}
