//! `$dsg(…)` with `ds_dsg_fetch` and `ds_dsg_fetch_uri`, overload control with `ds_oc_set_attrs`, and `$dsv(…)`.

use super::{attempts, select};
use crate::context::{Module, event, module};
use crate::host::clock;
use crate::host::message::Message;
use crate::host::script::{Values, Verdict};
use crate::host::variable::Content;
use crate::service::health::set_state;
use parking_lot::Mutex;

/// What `ds_dsg_fetch` chose. Each process has its own: a script runs in one.
struct Fetched {
    set: i32,
    uri: Vec<u8>,
}

static FETCHED: Mutex<Fetched> = Mutex::new(Fetched { set: 1, uri: Vec::new() });

/// `ds_dsg_fetch(set)`: the set that `$dsg(…)` is about.
pub fn fetch(_: &mut Message, values: &Values<'_>) -> Verdict {
    *FETCHED.lock() = Fetched { set: values.int(0), uri: Vec::new() };
    Verdict::True
}

/// `ds_dsg_fetch_uri(set, uri)`: the same, and the destination whose overload control it shows.
pub fn fetch_uri(_: &mut Message, values: &Values<'_>) -> Verdict {
    *FETCHED.lock() = Fetched { set: values.int(0), uri: values.text(1).to_vec() };
    Verdict::True
}

/// Names of `$dsg(…)`.
pub const DSG: &[&str] =
    &["count", "active", "inactive", "pactive", "pinactive", "octime_sec", "octime_usec", "ocseq", "ocrate"];

/// `$dsg(name)`; nothing if there is no such set.
pub fn dsg(_: Option<&Message>, place: usize) -> Content {
    module().and_then(|module| content(module, DSG.get(place)?)).unwrap_or(Content::Null)
}

fn content(module: &Module, name: &str) -> Option<Content> {
    let fetched = FETCHED.lock();
    let sets = module.sets()?;
    let set = sets.set(fetched.set)?;
    let records = set.iter().filter_map(|one| module.root.registry.record(one.record));
    let count = set.len();
    let active = records.filter(|record| record.flags().usable()).count();
    let wish = || {
        let (_, found) = set.with_uri(&fetched.uri).next()?;
        module.root.registry.record(found.record).map(|record| &record.overload)
    };
    let percent = |part: usize| (part * 100).checked_div(count).unwrap_or(0) as i64;
    Some(Content::Int(match name {
        "count" => count as i64,
        "active" => active as i64,
        "inactive" => (count - active) as i64,
        "pactive" => percent(active),
        "pinactive" => percent(count - active),
        "octime_sec" => wish().map_or(0, |wish| (wish.last().until / 1000) as i64),
        "octime_usec" => wish().map_or(0, |wish| (wish.last().until % 1000 * 1000) as i64),
        "ocseq" => wish().map_or(0, |wish| wish.sequence().into()),
        _ => wish().map_or(0, |wish| wish.last().rate.into()),
    }))
}

/// How long a wish holds when it does not say, in milliseconds (RFC 7339 section 4.5).
const DEFAULT_VALIDITY: u64 = 500;

/// `ds_oc_set_attrs(set, uri, rate, interval, sequence)`: the destination wants to be left out of `rate` percent of the
/// selections by algorithm 64 for `interval` milliseconds. -1 if there is no such set, -2 if there is no such destination or
/// the wish is not newer than the last.
pub fn oc_set_attrs(_: &mut Message, values: &Values<'_>) -> Verdict {
    let uri = values.text(1);
    let rate = values.int(2).clamp(0, 100) as u32;
    let validity = u64::try_from(values.int(3)).ok().filter(|&ms| ms > 0).unwrap_or(DEFAULT_VALIDITY);
    let until = clock::wall_millis().saturating_add(validity);
    let Some(module) = module() else { return Verdict::FALSE };
    let Some(sets) = module.sets() else { return Verdict::FALSE };
    let Some(set) = sets.set(values.int(0)) else { return Verdict::FALSE };
    if set_state::wish(module.root, set, uri, rate, until, values.int(4)) {
        Verdict::True
    } else {
        Verdict::False(-2)
    }
}

/// Names of `$dsv(…)`.
pub const DSV: &[&str] = &["code", "reason", "flags", "uri", "setid", "attrs", "dstid", "left"];

/// `$dsv(name)`: in an event route, why the destination goes up or down, its URI and its set, and as `flags` 1 if a reply
/// from the network said so. Elsewhere why the last selection was false, and what is known of the destination in use: `left` is
/// how many more may be tried.
pub fn dsv(msg: Option<&Message>, place: usize) -> Content {
    let name = DSV.get(place).copied().unwrap_or_default();
    let of_event = event::current(|told| match name {
        "code" => Content::Int(told.report.code.into()),
        "reason" => text_or_null(told.report.reason.bytes()),
        "flags" => Content::Int(told.report.received.into()),
        "uri" => text_or_null(&told.uri),
        "setid" => Content::Int(told.set.into()),
        _ => Content::Null,
    });
    of_event.unwrap_or_else(|| match (select::last_cause(), name) {
        (Some((code, _)), "code") => Content::Int(code.into()),
        (Some((_, reason)), "reason") => Content::Text(reason.as_bytes().into()),
        _ => module()
            .zip(msg)
            .and_then(|(module, msg)| of_destination(module, msg, name))
            .unwrap_or(Content::Null),
    })
}

/// What a selection left for failover.
fn of_destination(module: &Module, msg: &Message, name: &str) -> Option<Content> {
    if name == "left" {
        return attempts::left(module, msg).map(|left| Content::Int(left as i64));
    }
    let one = attempts::in_use(module, msg)?;
    Some(match name {
        "uri" => text_or_null(&one.uri),
        "attrs" => text_or_null(&one.attrs),
        "dstid" => text_or_null(&one.dstid),
        "setid" => Content::Int(one.grp?.into()),
        _ => Content::Null,
    })
}

fn text_or_null(text: &[u8]) -> Content {
    if text.is_empty() { Content::Null } else { Content::Text(text.to_vec().into()) }
}
