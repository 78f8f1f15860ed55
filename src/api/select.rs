//! `ds_select_dst`, `ds_select_domain`, `ds_select`, `ds_select_routes`: choosing a destination for the request at hand.

use super::list::{self, Listed};
use super::{attempts, followed, outcomes, tracking};
use crate::conf::{Conf, Failover};
use crate::context::{Module, module};
use crate::dest::number::leading;
use crate::dest::problem::shown;
use crate::host::message::{Kind, Message, Method, Target, UriOf};
use crate::host::script::{Values, Verdict};
use crate::host::{clock, log, mem::Pool, process, tm, transaction, xavp};
use crate::select::attempts::{Attempts, NO_LIMIT, Rule};
use crate::select::{self, HashedText, Measure, PARALLEL, Refusal, hash};
use crate::service::routing::call_count;
use crate::service::routing::choose::{self, Ask, Call, NoRoute, Selection};
use crate::service::routing::{failover, rate};
use crate::service::sets::commit;
use core::cell::OnceCell;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The codes of a false answer, by cause.
mod code {
    pub const ERROR: i32 = -1;
    pub const NO_SET: i32 = -2;
    pub const NONE_ACTIVE: i32 = -3;
    pub const NO_ROOM: i32 = -4;
    pub const DRAINED: i32 = -5;
    pub const OVER_RATE: i32 = -6;

    /// Of several rules the one that came nearest tells why: the last one here.
    const BY_NEARNESS: [i32; 6] = [ERROR, NO_SET, NONE_ACTIVE, DRAINED, NO_ROOM, OVER_RATE];

    pub fn nearer(one: i32, other: i32) -> i32 {
        let place = |code: i32| BY_NEARNESS.iter().position(|known| *known == code);
        if place(one) > place(other) { one } else { other }
    }
}

/// The field of `xavp_ctx`.
static CNT: xavp::Name = xavp::Name::new(b"cnt");

/// The answer of the last selection in this process, for `$dsv(…)`.
static LAST: AtomicI32 = AtomicI32::new(1);

fn answer(verdict: Verdict) -> Verdict {
    LAST.store(verdict.code(), Ordering::Relaxed);
    verdict
}

/// Why the last selection was false: its code, and in words.
pub fn last_cause() -> Option<(i32, &'static str)> {
    let code = LAST.load(Ordering::Relaxed);
    let reason = match code {
        code::NO_SET => "no such set",
        code::NONE_ACTIVE => "none active",
        code::NO_ROOM => "no room",
        code::DRAINED => "drained",
        code::OVER_RATE => "over the rate",
        _ => "error",
    };
    (code < 0).then_some((code, reason))
}

/// `ds_select_dst(set, alg [, limit])`: sets the destination URI.
pub fn select_dst(msg: &mut Message, values: &Values<'_>) -> Verdict {
    one_rule(msg, values, Target::DestinationUri)
}

/// `ds_select_domain(set, alg [, limit])`: sets host and port of the request URI.
pub fn select_domain(msg: &mut Message, values: &Values<'_>) -> Verdict {
    one_rule(msg, values, Target::RequestUri)
}

/// `ds_select(set, alg [, limit])`: writes only the list.
pub fn select(msg: &mut Message, values: &Values<'_>) -> Verdict {
    one_rule(msg, values, Target::ListOnly)
}

/// For other modules: set, algorithm, target (0 destination URI, 1 request URI, 2 list only).
pub fn select_for_module(msg: &mut Message, values: &Values<'_>) -> Verdict {
    let target = match values.int(2) {
        1 => Target::RequestUri,
        2 => Target::ListOnly,
        _ => Target::DestinationUri,
    };
    one_rule(msg, &Values(values.0.get(..2).unwrap_or_default()), target)
}

fn one_rule(msg: &mut Message, values: &Values<'_>, target: Target) -> Verdict {
    let rule = Rule { set: values.int(0), algorithm: values.int(1) };
    run(msg, &[rule], target, values.int(2))
}

/// `ds_select_routes(rules, mode [, limit])`: the first destination of the first rule that has one, and all others of all
/// rules for failover.
pub fn select_routes(msg: &mut Message, values: &Values<'_>) -> Verdict {
    let rules = match rules(values.text(0)) {
        Ok((rules, short)) => {
            short.iter().for_each(|rule| warn_of_short(rule));
            rules
        }
        Err(error) => {
            log::error(format_args!("ds_select_routes: argument 'rules': {error}"));
            return answer(Verdict::False(code::ERROR));
        }
    };
    let target = match values.text(1).first() {
        Some(b'0' | b'd' | b'D') => Target::DestinationUri,
        Some(b'1' | b'r' | b'R') => Target::RequestUri,
        Some(b'2' | b'x' | b'X') => Target::ListOnly,
        _ => {
            let found = shown(values.text(1));
            log::error(format_args!(
                "ds_select_routes: argument 'mode': expected 0 or d, 1 or r, 2 or x, found {found}"
            ));
            return answer(Verdict::False(code::ERROR));
        }
    };
    run(msg, &rules, target, values.int(2))
}

/// `set=alg;set=alg;…`. A `;` may end it. As in the stock module, a number that is not there is 0; the first such rule comes
/// back in words.
pub fn rules(text: &[u8]) -> Result<(Vec<Rule>, Option<String>), String> {
    let expected = "expected set=alg;set=alg;… with whole numbers";
    let text = text.strip_suffix(b";").unwrap_or(text);
    let number = |digits: &[u8]| if digits.is_empty() { Some(0) } else { leading(digits).alone() };
    let mut short = None;
    let mut rule = |rule: &[u8]| {
        let (set, algorithm) =
            rule.split_at(rule.iter().position(|&byte| byte == b'=').unwrap_or(rule.len()));
        let algorithm = algorithm.get(1..).unwrap_or_default();
        let read = Rule { set: number(set)?, algorithm: number(algorithm).filter(|&number| number >= 0)? };
        if set.is_empty() || algorithm.is_empty() {
            let Rule { set, algorithm } = read;
            short.get_or_insert_with(|| format!("{}; {set}={algorithm} is in effect", shown(rule)));
        }
        (!rule.is_empty()).then_some(read)
    };
    let rules: Result<_, _> = text
        .split(|&byte| byte == b';')
        .map(|part| rule(part).ok_or_else(|| format!("{expected}, found {}", shown(part))))
        .collect();
    Ok((rules?, short))
}

/// Once a process: a script has the same rules with every call.
fn warn_of_short(rule: &str) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log::warning(format_args!("ds_select_routes: argument 'rules': expected set=alg, found {rule}"));
    }
}

/// What the rules have written so far.
struct Written {
    /// The first destination is set.
    sent: bool,
    /// It is kept what was tried; the rules after that are for when the request comes back.
    kept: bool,
    /// Destinations that may be tried, the first included: entries in the list.
    count: usize,
    left: usize,
}

fn run(msg: &mut Message, rules: &[Rule], target: Target, limit: i32) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    if target == Target::DestinationUri && !module.conf.force_dst {
        if let Some(there) = msg.destination() {
            let there = shown(there);
            log::error(format_args!("selection: the destination is {there} already and force_dst is 0"));
            return answer(Verdict::False(code::ERROR));
        }
    }
    // Not above zero is no limit, as in the stock module.
    let left = usize::try_from(limit).ok().filter(|&limit| limit > 0).unwrap_or(usize::MAX);
    let mut written = Written { sent: false, kept: false, count: 0, left };
    let mut list = xavp::Writer::new(&module.xavp_dst);
    let mut verdict = Verdict::False(code::ERROR);
    let mut cause = code::ERROR;
    let mut later = rules;
    while let Some((rule, rest)) = later.split_first() {
        later = rest;
        if written.kept && rule.algorithm != PARALLEL {
            count_later(module, msg, *rule, &mut written);
            continue;
        }
        // Once a destination is set, further rules only add to the list.
        let target = if written.sent { Target::ListOnly } else { target };
        warn_of_unknown(rule.algorithm);
        let done = loop {
            match apply(module, msg, (*rule, later), target, &mut written, &mut list) {
                Err(NoRoute::Outdated) => commit::settled(module.root),
                done => break done,
            }
        };
        match done.map_err(|error| refused(*rule, &error)).and_then(|done| done.ok_or(code::ERROR)) {
            Ok(done) if !written.sent => {
                verdict = done;
                written.sent = true;
            }
            Ok(_) => {}
            Err(code) if !written.sent => {
                cause = code::nearer(cause, code);
                verdict = Verdict::False(cause);
            }
            Err(_) => {}
        }
    }
    let conf = &module.conf;
    if written.sent && has_count(conf) {
        let count = i32::try_from(written.count.min(left)).unwrap_or(i32::MAX);
        if let Err(xavp::NoMemory) = xavp::add_int(&module.xavp_ctx, &CNT, count) {
            let name = shown(&conf.xavp_ctx);
            log::error(format_args!("selection: the host has no more memory for the xavp {name}"));
        }
    }
    answer(verdict)
}

/// Whether a selection writes `cnt`.
fn has_count(conf: &Conf) -> bool {
    conf.with_count && !conf.xavp_ctx.is_empty() && conf.failover != Failover::Transaction
}

/// The destinations of a rule that may be tried when those before it are over.
fn count_later(module: &Module, msg: &Message, rule: Rule, written: &mut Written) {
    let Some(sets) = module.sets() else { return };
    match sets.set(rule.set) {
        Some(set) if has_count(&module.conf) => {
            let (counts, priority) = (select::measure(rule.algorithm).is_some(), module.has_priority(msg));
            written.count += failover::candidates(module.root, set, counts, priority);
        }
        Some(_) => {}
        None => _ = refused(rule, &NoRoute::Refused(Refusal::NoSet)),
    }
}

/// What is asked for by a rule on behalf of the request at hand. `waits`: the choice is not for it, but for later.
pub(super) fn with_ask<T>(
    module: &Module,
    msg: &Message,
    rule: Rule,
    waits: bool,
    act: impl FnOnce(&Ask<'_>) -> T,
) -> T {
    let made = OnceCell::new();
    let key = || *made.get_or_init(|| msg.call_id().map(|call_id| module.root.secret.call(call_id)));
    let invite = || tracking::invite(msg);
    act(&Ask {
        set: rule.set,
        algorithm: rule.algorithm,
        call: match msg.kind() {
            Some(Kind::Request(Method::Invite)) if waits => Call::Waits,
            Some(Kind::Request(Method::Invite)) => {
                // After a failure the gateway that failed is not the one to stay at.
                let looks_at_loads =
                    select::measure(rule.algorithm).is_some() || rule.algorithm == select::CONSISTENT;
                let may_stay = looks_at_loads && transaction::failed(msg).is_none();
                Call::Goes { key: &key, invite: &invite, may_stay }
            }
            _ => Call::None,
        },
        now_ms: &clock::wall_millis,
        random: &process::random_number,
        spare_last: module.conf.use_default,
        counts_all: followed::counts_all(module, msg),
        priority: module.has_priority(msg),
        hash: &|text| hashed(module, msg, text),
        is_repeated: &|| tm::is_repeated(msg),
        retry: None,
    })
}

/// Of the sets that serve now. Nothing if the host has no memory. The rule comes with those after it.
fn apply(
    module: &Module,
    msg: &mut Message,
    (rule, later): (Rule, &[Rule]),
    target: Target,
    written: &mut Written,
    list: &mut xavp::Writer<'_>,
) -> Result<Option<Verdict>, NoRoute> {
    let Some(sets) = module.sets() else { return Ok(None) };
    // What only goes to the list is for later. Call load counts even then, as in the stock module.
    let waits = written.sent || target == Target::ListOnly && select::measure(rule.algorithm).is_none();
    let chosen = with_ask(module, msg, rule, waits, |ask| choose::select(module.root, &sets, ask))?;
    if chosen.counted == Some(Measure::Relative) && chosen.set.ranks.has_mixed_limits() {
        warn_of_mixed_limits(rule.set);
    }
    let written = write(module, msg, (rule, later), &chosen, target, written, list);
    if written.is_none() {
        log::error(format_args!("selection: the host has no more memory for the destination or its list"));
    }
    match chosen.tracked {
        Some((key, record)) if written.is_some() => tracking::chosen(module, msg, key, record, chosen.own),
        // The script is told that there is no destination: the call does not go there.
        Some((key, _)) if chosen.new => {
            tracking::told(call_count::leave(module.root, &key, tracking::invite(msg)));
        }
        _ => {}
    }
    Ok(written)
}

/// The hash of a text of the message.
fn hashed(module: &Module, msg: &Message, text: HashedText) -> Option<u32> {
    let uri = |which| {
        let (user, host) = msg.uri_key(which, module.conf.user_only)?;
        Some(hash::stock(user, host))
    };
    match text {
        HashedText::FromUri => uri(UriOf::From),
        HashedText::ToUri => uri(UriOf::To),
        HashedText::RequestUri => uri(UriOf::Request),
        HashedText::AuthUser => msg.auth_user().map(|user| hash::stock(user, &[])),
        HashedText::HashPvar | HashedText::Key if module.hash_pvar.is_some() => {
            let printed = module.hash_pvar.as_ref()?.print(msg)?.trim_ascii();
            (!printed.is_empty()).then(|| hash::of_text(text, printed))
        }
        HashedText::HashPvar => None,
        HashedText::CallId | HashedText::Key => msg.call_id().map(|call_id| hash::of_text(text, call_id)),
    }
}

/// Sets what was chosen and writes the list for failover. Nothing if the host has no memory.
fn write(
    module: &Module,
    msg: &mut Message,
    (rule, later): (Rule, &[Rule]),
    chosen: &Selection<'_, Pool>,
    target: Target,
    written: &mut Written,
    list: &mut xavp::Writer<'_>,
) -> Option<Verdict> {
    let conf = &module.conf;
    let set = chosen.set;
    let destination = set.get(chosen.at)?;
    msg.send_to(destination.text(destination.uri), destination.send_from, target).then_some(())?;
    if target != Target::ListOnly {
        choose::count_selected(module.root, set, chosen.at);
    }
    outcomes::chosen(module, msg, destination.record);
    if rule.algorithm == PARALLEL {
        // With the list only, the request itself stays as it is and the first gets a branch too.
        let repeated = set.ranks.has_rates() && tm::is_repeated(msg);
        let invites = msg.kind() == Some(Kind::Request(Method::Invite)) && !repeated;
        let mut first = None;
        if target == Target::ListOnly && (!invites || rate::take(module.root, set, chosen.at)) {
            choose::count_selected(module.root, set, chosen.at);
            first = Some(destination);
        }
        let mut all = first.into_iter().chain(chosen.branches(module.root, invites));
        let all = all.all(|one| {
            outcomes::chosen(module, msg, one.record);
            msg.add_branch(one.text(one.uri), one.send_from, target)
        });
        return Some(if all { Verdict::True } else { Verdict::InPart });
    }
    let entry = Listed { set, at: chosen.at, counted: chosen.counted };
    match conf.failover {
        Failover::List if written.left > 0 => {
            let others = match written.left - 1 {
                0 => Vec::new(),
                most => chosen.alternatives(module.root, most),
            };
            for at in core::iter::once(chosen.at).chain(others) {
                list::add(list, conf, &Listed { at, ..entry }, None).ok()?;
                written.count += 1;
                written.left -= 1;
            }
        }
        Failover::Record | Failover::Transaction => {
            let later = later.iter().copied().filter(|rule| rule.algorithm != PARALLEL);
            let rules = core::iter::once(rule).chain(later);
            let limit = u32::try_from(written.left).unwrap_or(NO_LIMIT);
            let tried = choose::tried_at(module.root, set, chosen.at)?;
            let first = Attempts::first(rules, limit, tried, chosen.at);
            attempts::begin(module, msg, first, &entry).ok()?;
            written.kept = true;
            if has_count(conf) {
                // The one that was chosen may be full by now.
                let (counts, priority) = (chosen.counted.is_some(), module.has_priority(msg));
                let full = counts && failover::is_full(module.root, set, chosen.at, priority);
                let others = failover::candidates(module.root, set, counts, priority);
                written.count += others + usize::from(full);
            }
        }
        Failover::List | Failover::Off => {}
    }
    Some(Verdict::True)
}

fn refused(rule: Rule, error: &NoRoute) -> i32 {
    match error {
        NoRoute::Refused(Refusal::NoSet) => {
            log::error(format_args!("selection: no destination set {}", rule.set));
            code::NO_SET
        }
        NoRoute::Refused(Refusal::NoneActive) => code::NONE_ACTIVE,
        NoRoute::Refused(Refusal::NoRoom) => code::NO_ROOM,
        NoRoute::Refused(Refusal::Drained) => code::DRAINED,
        NoRoute::Refused(Refusal::OverRate) => code::OVER_RATE,
        NoRoute::NoText(text) => {
            let (number, text) = (rule.algorithm, text.name());
            log::error(format_args!(
                "selection: the message has no usable {text}, which algorithm {number} hashes"
            ));
            code::ERROR
        }
        NoRoute::Outdated => code::ERROR, // asked again until it is another
        NoRoute::OutOfMemory(error) => {
            log::error(format_args!("selection: the call is not counted: {error}"));
            code::ERROR
        }
    }
}

/// Once a process, as the next one.
fn warn_of_mixed_limits(set: i32) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if !WARNED.swap(true, Ordering::Relaxed) {
        log::warning(format_args!(
            "selection: algorithm {} in set {set}, where only some destinations have a maxload: it compares load ÷ weight, not load ÷ maxload",
            select::RELATIVE_LOAD
        ));
    }
}

/// Once a process: a script that asks for a number that there is not asks for it with every call.
fn warn_of_unknown(algorithm: i32) {
    static WARNED: AtomicBool = AtomicBool::new(false);
    if select::algorithm(algorithm).is_none() && !WARNED.swap(true, Ordering::Relaxed) {
        log::warning(format_args!("selection: no algorithm {algorithm}, the first entry of the set is used"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_pairs_of_numbers() {
        let rule = |set, algorithm| Rule { set, algorithm };
        assert_eq!(rules(b"1=4"), Ok((vec![rule(1, 4)], None)));
        assert_eq!(rules(b"1=4;20=10;"), Ok((vec![rule(1, 4), rule(20, 10)], None)));
        assert_eq!(rules(b"-1=10"), Ok((vec![rule(-1, 10)], None)));
        assert_eq!(
            rules(b"3;=4;5="),
            Ok((vec![rule(3, 0), rule(0, 4), rule(5, 0)], Some("'3'; 3=0 is in effect".into())))
        );
        for bad in
            [&b""[..], b";", b"1=4;;2=4", b"1= 4", b"a=4", b"1=4;2=x", b"99999999999=1", b"-=4", b"1=-1"]
        {
            assert!(rules(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
