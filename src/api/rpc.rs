//! The RPC commands. Field names and order are those of the stock module: tools read them.

use super::edit::overload_rate;
use super::reload::{self, Findings};
use crate::context::{Module, module};
use crate::dest::{Attrs, Flags};
use crate::host::clock;
use crate::host::mem::Pool;
use crate::host::rpc::{Broken, Rpc, Struct};
use crate::load::Rate;
use crate::service::health::set_state;
use crate::service::health::{ejection, probe};
use crate::service::report::audit;
use crate::service::routing;
use crate::state::capacities::Seen;
use crate::state::slow_start::SlowStart;
use crate::state::{Health, Member, Record, Set};
use crate::workers::prober;
use core::net::IpAddr;
use std::borrow::Cow;

/// How much `dispatcher.list` shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Detail {
    Short,
    Normal,
    Full,
}

/// What a command answers where it cannot do what it is for: a code and a text.
pub struct Fault(i32, Cow<'static, str>);

impl Fault {
    /// With these.
    pub const fn of(code: i32, text: &'static str) -> Self {
        Self(code, Cow::Borrowed(text))
    }
}

/// An answer that the transport does not take.
impl From<Broken> for Fault {
    fn from(_: Broken) -> Self {
        Self::of(500, "Internal error creating the reply")
    }
}

impl From<String> for Fault {
    fn from(text: String) -> Self {
        Self(500, Cow::Owned(text))
    }
}

/// There is no set of this id.
pub const NO_GROUP: Fault = Fault::of(404, "Destination Group Not Found");

/// Answers with the module.
pub fn with_module(rpc: &Rpc, answer: impl FnOnce(&'static Module) -> Result<(), Fault>) {
    let done = module().ok_or(Fault::of(500, "Not ready")).and_then(answer);
    if let Err(Fault(code, text)) = done {
        rpc.fault(code, &text);
    }
}

/// A part of a long answer: from a position on, so many. Transports have their limits.
pub struct Part {
    from: usize,
    count: usize,
}

impl Part {
    /// As an operator gives it; all, if he does not.
    pub fn of([from, count]: [Option<i32>; 2]) -> Self {
        let size =
            |number: Option<i32>, missing| number.map_or(missing, |it| usize::try_from(it).unwrap_or(0));
        Self { from: size(from, 0), count: size(count, usize::MAX) }
    }

    /// This part of all.
    pub fn take<T>(&self, all: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        all.into_iter().skip(self.from).take(self.count)
    }
}

/// `dispatcher.list [short | full [set [from [count]]]]`: all sets, or one, or as many destinations of it from a position on.
pub fn list(rpc: &Rpc) {
    with_module(rpc, |module| {
        let [id, from, count] = [1, 2, 3].map(|at| rpc.optional_int(at));
        let detail = match rpc.text(0).to_ascii_lowercase().as_slice() {
            b"short" => Detail::Short,
            b"full" => Detail::Full,
            _ => Detail::Normal,
        };
        let sets = module
            .sets()
            .filter(|sets| !sets.sets.is_empty())
            .ok_or(Fault::of(500, "No Destination Sets"))?;
        let wanted: &mut dyn Iterator<Item = &Set<Pool>> = match id {
            Some(id) => &mut sets.set(id).into_iter(),
            None => &mut sets.sets(),
        };
        let mut wanted = wanted.peekable();
        if wanted.peek().is_none() {
            return Err(NO_GROUP);
        }
        let part = Part::of([from, count]);
        let top = rpc.structure()?;
        top.int(c"NRSETS", sets.sets.len() as i32)?;
        let records = top.array(c"RECORDS")?;
        for set in wanted {
            let entry = records.structure(c"SET")?;
            entry.int(c"ID", set.id)?;
            if id.is_some() {
                entry.int(c"SIZE", set.len() as i32)?;
            }
            let targets = entry.array(c"TARGETS")?;
            for (at, destination) in part.take(set.iter().enumerate()) {
                show(module, (set.id, at, destination), detail, &targets.structure(c"DEST")?)?;
            }
        }
        Ok(())
    });
}

/// The destination at this position of a set.
fn show(
    module: &Module,
    (set, at, destination): (i32, usize, Member<'_>),
    detail: Detail,
    to: &Struct<'_>,
) -> Result<(), Broken> {
    let record = module.root.registry.record(destination.record);
    let (flags, health) = record.map_or_else(|| (destination.flags, Health::default()), Record::state);
    if cfg!(stock_iuid) {
        to.int(c"IDX", i32::try_from(at).unwrap_or(i32::MAX))?;
    }
    to.text(c"URI", destination.text(destination.uri))?;
    to.text(c"FLAGS", flags.letters().as_bytes())?;
    to.int(c"PRIORITY", destination.priority)?;
    if cfg!(stock_iuid) {
        to.text(c"IUID", unique_id(module, set, record).as_bytes())?;
    }
    if detail == Detail::Full {
        to.text(c"HOST", destination.text(destination.host))?;
        let first = destination.addresses().first();
        to.text(c"IPADDR", first.copied().map_or_else(String::new, address).as_bytes())?;
        to.int(c"PORT", destination.port.into())?;
        to.int(c"PROTOID", destination.transport().into())?;
        to.unsigned_long(c"DNSTIME_SEC", health.name.looked_up / 1000)?;
        to.unsigned_long(c"DNSTIME_USEC", health.name.looked_up % 1000 * 1000)?;
    }
    if detail == Detail::Full && cfg!(stock_overload) {
        let (wish, sequence) = record.map_or_else(Default::default, Record::wished);
        let asked = record.map_or(0, |record| record.overload.asked() % 100);
        to.unsigned(c"OCRATE", overload_rate(destination, wish))?;
        to.unsigned(c"OCIDX", asked)?;
        to.unsigned(c"OCSEQ", sequence as u32)?;
        to.unsigned_long(c"OCTIME_SEC", wish.until / 1000)?;
        to.unsigned_long(c"OCTIME_USEC", wish.until % 1000 * 1000)?;
    }
    let body = destination.text(destination.body);
    let always = cfg!(stock_overload) && detail == Detail::Full;
    if detail != Detail::Short && !body.is_empty() || always {
        let attrs = to.structure(c"ATTRS")?;
        // Where they are shown always, none are as good as null.
        attrs.text_or_null(c"BODY", body)?;
        attrs.text_or_null(c"DUID", destination.text(destination.duid))?;
        if cfg!(stock_probing_count) {
            let streak = if health.failures > 0 { health.failures } else { health.successes };
            attrs.int(c"PROBING_COUNT", i32::try_from(streak).unwrap_or(i32::MAX))?;
        }
        attrs.int(c"MAXLOAD", destination.maxload as i32)?;
        attrs.int(c"WEIGHT", destination.weight as i32)?;
        attrs.int(c"RWEIGHT", destination.rweight as i32)?;
        attrs.text_or_null(c"SOCKET", destination.text(destination.socket))?;
        attrs.text_or_null(c"SOCKNAME", destination.text(destination.sockname))?;
        if cfg!(stock_ping_socket) {
            // Where it serves only the socket is kept, not its text.
            let socket = Attrs::parse(body, false).map_or(&[][..], |attrs| attrs.ping_socket);
            attrs.text_or_null(c"PING_SOCKET", socket)?;
        }
        attrs.text_or_null(c"OBPROXY", destination.text(destination.obproxy))?;
        if cfg!(stock_overload) {
            let (least, most) = destination.overload_limits();
            attrs.unsigned(c"OCMIN", least)?;
            attrs.unsigned(c"OCMAX", most)?;
        }
    }
    if module.conf.latency_alpha.is_some() {
        let latency = to.structure(c"LATENCY")?;
        latency.double(c"AVG", health.latency.average)?;
        latency.double(c"STD", health.latency.deviation())?;
        latency.double(c"EST", health.latency.estimate)?;
        latency.int(c"MAX", health.latency.most as i32)?;
        latency.int(c"TIMEOUT", health.latency.timeouts as i32)?;
    }
    if detail != Detail::Short || module.conf.load_in_short_list {
        let load = record.map_or(0, |record| record.load.get());
        to.structure(c"RUNTIME")?.int(c"DLGLOAD", i32::try_from(load).unwrap_or(i32::MAX))?;
    }
    if detail != Detail::Short {
        show_drain((flags, &health), to)?;
        show_ejection(module, destination, to)?;
    }
    if detail == Detail::Full {
        reserve(destination, to)?;
        penalty(module, record.map_or(0, Record::penalty), to)?;
        show_health(module, destination, (flags, &health), &to.structure(c"HEALTH")?)?;
        if let Some(shared) = record.and_then(|record| module.root.registry.capacity_of(record)) {
            capacity(&shared, to)?;
        }
        if let Some(record) = record.filter(|_| destination.limits.rate.limits()) {
            rate(destination.limits.rate, record, to)?;
        }
        if let Some(slow) = record.and_then(|record| record.slow_start(clock::nanos())) {
            slow_start(slow, to)?;
        }
    }
    Ok(())
}

/// How many calls with priority a destination takes beyond its `maxload`, if any.
pub fn reserve(destination: Member<'_>, to: &Struct<'_>) -> Result<(), Broken> {
    match destination.limits.maxload_reserve {
        0 => Ok(()),
        reserve => to.int(c"MAXLOAD_RESERVE", i32::try_from(reserve).unwrap_or(i32::MAX)),
    }
}

/// Calls that a destination is ranked by beyond its load, because it has failed some. Not there where failed calls weigh nothing.
pub fn penalty(module: &Module, calls: u32, to: &Struct<'_>) -> Result<(), Broken> {
    if !routing::penalty::is_on(module.root) {
        return Ok(());
    }
    to.int(c"PENALTY", i32::try_from(calls).unwrap_or(i32::MAX))
}

/// The capacity that a destination shares.
pub fn capacity(seen: &Seen, to: &Struct<'_>) -> Result<(), Broken> {
    let to = &to.structure(c"CAPACITY")?;
    to.text(c"NAME", &seen.name)?;
    to.int(c"CALLS", i32::try_from(seen.calls).unwrap_or(i32::MAX))?;
    to.int(c"LIMIT", i32::try_from(seen.limit).unwrap_or(i32::MAX))?;
    to.int(c"RESERVE", i32::try_from(seen.reserve).unwrap_or(i32::MAX))?;
    if seen.rate.limits() { show_rate(seen.rate, seen.over, to) } else { Ok(()) }
}

/// Its slow start: how long one takes, how long this one goes on, and what part of its share it may have.
pub fn slow_start(slow: SlowStart, to: &Struct<'_>) -> Result<(), Broken> {
    let to = to.structure(c"SLOWSTART")?;
    to.int(c"SECONDS", i32::try_from(slow.seconds).unwrap_or(i32::MAX))?;
    to.int(c"LEFT", i32::try_from(slow.left).unwrap_or(i32::MAX))?;
    to.int(c"PERCENT", i32::try_from(slow.percent).unwrap_or(i32::MAX))
}

/// Its limit on new calls, and how often it has come to that.
pub fn rate(rate: Rate, record: &Record, to: &Struct<'_>) -> Result<(), Broken> {
    show_rate(rate, record.totals.over_rate.get(), &to.structure(c"RATE")?)
}

/// A limit on new calls, and how often somebody has come to that.
pub fn show_rate(rate: Rate, over: u64, to: &Struct<'_>) -> Result<(), Broken> {
    to.int(c"CPS", i32::try_from(rate.cps).unwrap_or(i32::MAX))?;
    to.int(c"BURST", i32::try_from(rate.burst).unwrap_or(i32::MAX))?;
    to.unsigned_long(c"OVER", over)
}

/// An id of its own for a destination as long as its record lives, in the form of the stock module's: other servers and other starts
/// have others.
fn unique_id(module: &Module, set: i32, record: Option<&Record>) -> String {
    let serial = record.map_or(0, Record::serial);
    let (second, process) = module.origin;
    format!("dspt-{second:x}-{process:x}-{serial:x}-{set:x}")
}

/// The drain that is under way or over, if there is one.
fn show_drain((flags, health): (Flags, &Health), to: &Struct<'_>) -> Result<(), Broken> {
    let state = if flags.has(Flags::DRAINING) {
        "draining"
    } else if flags.has(Flags::DRAINED) {
        "drained"
    } else {
        return Ok(());
    };
    let drain = to.structure(c"DRAIN")?;
    drain.text(c"STATE", state.as_bytes())?;
    match health.drain.left(clock::micros()) {
        Some(left) => drain.unsigned(c"SECONDS", left),
        None => Ok(()),
    }
}

/// Its ejection, if it is ejected or on trial.
fn show_ejection(module: &Module, destination: Member<'_>, to: &Struct<'_>) -> Result<(), Broken> {
    let Some(shown) = ejection::shown(module.root, destination.record, clock::micros()) else {
        return Ok(());
    };
    let to = to.structure(c"EJECTION")?;
    to.text(c"STATE", shown.state().as_bytes())?;
    to.unsigned(c"SECONDS", shown.left)?;
    to.unsigned(c"TIMES", shown.times)?;
    to.int(c"CODE", shown.why.code.into())?;
    to.text(c"REASON", shown.why.reason.bytes())
}

/// Why the state is what it is. Times are seconds of the wall clock; 0 is never.
fn show_health(
    module: &Module,
    destination: Member<'_>,
    (flags, health): (Flags, &Health),
    to: &Struct<'_>,
) -> Result<(), Broken> {
    let last = probe::why(flags, health);
    to.int(c"CODE", last.code.into())?;
    to.text(c"REASON", last.reason.bytes())?;
    to.int(c"FAILURES", health.failures as i32)?;
    to.int(c"SUCCESSES", health.successes as i32)?;
    to.unsigned_long(c"CHANGED", health.changed / 1000)?;
    to.unsigned_long(c"PROBED", health.probed / 1000)?;
    to.unsigned_long(c"DROPPED", health.dropped / 1000)?;
    to.unsigned_long(c"NEXT_PROBE", prober::next(module, destination, flags).unwrap_or(0))?;
    to.unsigned_long(c"NAME_LOST", health.name.lost / 1000)?;
    to.text(c"NAME", destination.text(destination.written))
}

/// As the host writes addresses: the groups of an IPv6 address in full, without leading zeros.
fn address(address: IpAddr) -> String {
    match address {
        IpAddr::V4(four) => four.to_string(),
        IpAddr::V6(six) => six.segments().map(|group| format!("{group:x}")).join(":"),
    }
}

/// `dispatcher.reload`.
pub fn reload(rpc: &Rpc) {
    with_module(rpc, |module| {
        let problems = reload::again(module)?;
        let findings = match problems.as_slice() {
            [] => String::new(),
            problems => format!(" Findings: {}", Findings(module, problems)),
        };
        rpc.say(&format!("Ok. Dispatcher successfully reloaded.{findings}"));
        Ok(())
    });
}

/// `dispatcher.set_state state group address`; the address `all` is the whole group.
pub fn set_state(rpc: &Rpc) {
    set_states(rpc, |set, uri| match uri {
        b"all" => set.iter().collect(),
        uri => set.named(uri).map(|(_, one)| one).collect(),
    });
}

/// `dispatcher.set_duid_state state group duid`.
pub fn set_duid_state(rpc: &Rpc) {
    set_states(rpc, |set, duid| match duid {
        b"all" => set.iter().collect(),
        duid => set.iter().filter(|one| one.text(one.duid).eq_ignore_ascii_case(duid)).collect(),
    });
}

fn set_states(rpc: &Rpc, find: for<'g> fn(&'g Set<Pool>, &'g [u8]) -> Vec<Member<'g>>) {
    with_module(rpc, |module| {
        let (state, group, which) = (rpc.text(0), rpc.int(1), rpc.text(2));
        if state.is_empty() {
            return Err(Fault::of(500, "Invalid State Parameter"));
        }
        let state = Flags::from_rpc(state).ok_or(Fault::of(500, "Unknown State Value"))?;
        let sets = module.sets();
        let set = sets.as_ref().and_then(|sets| sets.set(group));
        let done = set.is_some_and(|set| {
            let found = find(set, which);
            set_state::set(module.root, &found, state, clock::wall_millis())
        });
        if !done {
            return Err(Fault::of(500, "State Update Failed"));
        }
        rpc.say("Ok. Dispatcher state updated.");
        Ok(())
    });
}

/// `dispatcher.ping_active [state]`: whether destinations are probed.
pub fn ping_active(rpc: &Rpc) {
    with_module(rpc, |module| {
        let switch = &module.root.ping_active;
        let top = rpc.structure()?;
        let before = match rpc.optional_int(0) {
            None => switch.get(),
            Some(state) => {
                top.int(c"NewPingState", state)?;
                switch.turn(state as u32)
            }
        };
        Ok(top.int(c"OldPingState", before as i32)?)
    });
}

/// `dispatcher.load_audit [from [count]]`: recounts the calls and shows each destination's recorded and counted load, of as
/// many as asked for.
pub fn load_audit(rpc: &Rpc) {
    with_module(rpc, |module| {
        let part = Part::of([0, 1].map(|at| rpc.optional_int(at)));
        let audit = audit::audit(module.root);
        audit.note(module.root, clock::wall_millis() / 1000);
        let counters = &module.root.counters;
        let top = rpc.structure()?;
        top.int(c"CALLS", audit.calls() as i32)?;
        top.int(c"EARLY", audit.early as i32)?;
        top.int(c"CONFIRMED", audit.confirmed as i32)?;
        top.int(c"RELEASED", audit.released as i32)?;
        top.int(c"DRIFT", audit.drifting() as i32)?;
        top.int(c"MISPLACED", audit.misplaced as i32)?;
        for (name, count) in [
            (c"PLACED", counters.placed.get()),
            (c"UNKNOWN", counters.unknown.get()),
            (c"LATE", counters.late.get()),
            (c"CROSSED", counters.crossed.get()),
            (c"EXPIRED", counters.expired.get()),
            (c"PROBES", counters.probes.get()),
            (c"FAILED_PROBES", counters.failed_probes.get()),
            (c"STALE_PROBES", counters.stale_probes.get()),
        ] {
            top.unsigned_long(name, count)?;
        }
        let destinations = top.array(c"DESTINATIONS")?;
        for account in part.take(&audit.accounts) {
            let entry = destinations.structure(c"DEST")?;
            entry.int(c"SET", account.set)?;
            entry.text(c"NAME", &account.name)?;
            entry.int(c"CONFIGURED", account.configured.into())?;
            entry.int(c"RECORDED", account.recorded as i32)?;
            entry.int(c"COUNTED", account.counted as i32)?;
            entry.int(c"DRIFT", account.drift as i32)?;
        }
        Ok(())
    });
}
