//! RPC commands about single destinations and keys: `add`, `update`, `remove`, `hash`, `oclist`.

use super::reload;
use super::rpc::{Fault, NO_GROUP, with_module};
use crate::context::Module;
use crate::dest::row::on_one_line;
use crate::dest::{Attrs, Entry, Flags, Problem, SourcePosition, address, attrs};
use crate::host::clock;
use crate::host::rpc::Rpc;
use crate::select::hash;
use crate::service::sets::edit::{self, NotEdited, Pace, Update};
use crate::state::{Member, overload::Wish};
use std::borrow::Cow;

fn pace(module: &Module) -> Pace {
    Pace { delta: module.conf.reload_delta, now: clock::seconds() }
}

/// What went wrong is told with `what` before it.
fn fault(error: NotEdited, what: &str) -> Fault {
    match error {
        NotEdited::TooSoon => Fault::of(500, "Ongoing reload"),
        NotEdited::Wrong(problem) => format!("{what}: {}", problem.text).into(),
        NotEdited::NotThere => format!("{what}: no such destination").into(),
        NotEdited::OutOfMemory(error) => format!("{what}: {error}").into(),
    }
}

/// The attributes that a command gives; they go into a list line, so they are of one.
fn attributes_on_one_line(rpc: &Rpc, findings: &mut Vec<Problem>) -> Vec<u8> {
    let mut attrs = rpc.text(4).to_vec();
    if on_one_line(&mut attrs) {
        findings
            .push(mended("attrs: expected one line", "blanks are in effect for line breaks and tabulators"));
    }
    attrs
}

/// `dispatcher.add group address [flags [priority [attrs]]]`.
pub fn add(rpc: &Rpc) {
    const WHAT: &str = "Adding dispatcher dst failed";
    with_module(rpc, |module| {
        let (set, flags, priority) = (rpc.int(0), rpc.int(2), rpc.int(3));
        let mut findings = Vec::new();
        let attrs = attributes_on_one_line(rpc, &mut findings);
        let attrs = attrs::or_none(&attrs, module.conf.attrs_none);
        let attrs = attributes(WHAT, attrs, module.conf.limits, &mut findings)?;
        if flags < 0 {
            let text = format!("flags {flags}: expected a whole number from 0 to 2147483647");
            findings.push(mended(text, "all its bits are in effect"));
        }
        let flags = Flags(flags as u32);
        let uri = Cow::Borrowed(rpc.text(1));
        let entry = Entry { place: PLACE, set, uri, flags, priority, attrs, findings };
        refuse_if_strict(module, WHAT, &entry.findings)?;
        let findings = edit::add(module.root, &reload::source(module), entry, pace(module))
            .map_err(|error| fault(error, WHAT))?;
        say(rpc, "Ok. Dispatcher destination added.", &findings);
        Ok(())
    });
}

/// A destination that an operator gives has no line or row.
const PLACE: SourcePosition = SourcePosition::Row(1);

fn mended(text: impl Into<String>, instead: &str) -> Problem {
    Problem::mended(PLACE, text, instead)
}

/// The attributes; what was mended goes to the findings.
fn attributes<'t>(
    what: &str,
    text: &'t [u8],
    limits: bool,
    findings: &mut Vec<Problem>,
) -> Result<Attrs<'t>, String> {
    let attrs =
        Attrs::parse(text, limits).map_err(|(at, text)| format!("{what}: attrs, byte {}: {text}", at + 1))?;
    let of_attrs = attrs
        .findings
        .iter()
        .map(|finding| mended(format!("attrs, byte {}: {}", finding.at + 1, finding.text), &finding.instead));
    findings.extend(of_attrs);
    Ok(attrs)
}

/// With `ds_load_mode` 1 nothing is mended.
fn refuse_if_strict(module: &Module, what: &str, findings: &[Problem]) -> Result<(), String> {
    match findings.iter().find(|finding| finding.instead.is_some() && module.conf.strict) {
        Some(finding) => Err(format!("{what}: {}", finding.text)),
        None => Ok(()),
    }
}

/// Answers, with what was mended.
fn say(rpc: &Rpc, done: &str, findings: &[Problem]) {
    if findings.is_empty() {
        return rpc.say(done);
    }
    let findings: Vec<_> = findings.iter().map(Problem::told).collect();
    rpc.say(&format!("{done} Findings: {}", findings.join("; ")));
}

/// As it serves: a URI that an operator writes without its scheme has one there.
fn as_it_serves(uri: &[u8]) -> Cow<'_, [u8]> {
    address::with_scheme(uri).map_or(Cow::Borrowed(uri), Cow::Owned)
}

/// `dispatcher.update group address [flags [priority [attrs]]]`: changes what is given; -1, or no attributes, leaves what is.
pub fn update(rpc: &Rpc) {
    const WHAT: &str = "Updating dispatcher dst failed";
    const STAYS: i32 = -1;
    with_module(rpc, |module| {
        let given = |place| rpc.optional_int(place).filter(|&number| number != STAYS);
        let (flags, priority) = (given(2), given(3));
        let mut findings = Vec::new();
        let attrs = attributes_on_one_line(rpc, &mut findings);
        let attrs = (!attrs.is_empty())
            .then(|| attributes(WHAT, &attrs, module.conf.limits, &mut findings))
            .transpose()?;
        if let Some(flags) = flags.filter(|&flags| flags < 0) {
            return Err(format!(
                "{WHAT}: flags {flags}: expected a whole number from 0 to 2147483647, or -1"
            )
            .into());
        }
        refuse_if_strict(module, WHAT, &findings)?;
        let update =
            Update { flags: flags.and_then(|flags| u32::try_from(flags).ok()).map(Flags), priority, attrs };
        let uri = as_it_serves(rpc.text(1));
        let which = (rpc.int(0), &*uri);
        let told = edit::update(module.root, &reload::source(module), which, &update, pace(module))
            .map_err(|error| fault(error, WHAT))?;
        findings.extend(told);
        say(rpc, "Ok. Dispatcher destination updated.", &findings);
        Ok(())
    });
}

/// `dispatcher.remove group address`.
pub fn remove(rpc: &Rpc) {
    with_module(rpc, |module| {
        edit::remove(module.root, rpc.int(0), &as_it_serves(rpc.text(1)), pace(module))
            .map_err(|error| fault(error, "Removing dispatcher dst failed"))?;
        rpc.say("Ok. Dispatcher destination removed.");
        Ok(())
    });
}

/// `dispatcher.hash nslots value [value]`: the hash that algorithms 0 to 3 make, and the position in a set of `nslots`.
pub fn hash(rpc: &Rpc) {
    with_module(rpc, |_| {
        let (slots, first, second) = (rpc.int(0), rpc.text(1), rpc.text(2));
        let hash = hash::stock(first, second);
        let slots = u32::try_from(slots).unwrap_or(0);
        let top = rpc.structure()?;
        top.unsigned(c"hashid", hash)?;
        Ok(top.unsigned(c"slot", hash.checked_rem(slots).unwrap_or(0))?)
    });
}

/// What it asked to be left out of, or what its line says where it never asked.
pub fn overload_rate(one: Member<'_>, wish: Wish) -> u32 {
    let (least, most) = one.overload_limits();
    if wish.until == 0 { u32::from(one.ocrate).clamp(least, most) } else { wish.rate }
}

/// `dispatcher.oclist group`: overload control of each destination.
pub fn oclist(rpc: &Rpc) {
    with_module(rpc, |module| {
        let group = rpc.int(0);
        let sets = module.sets();
        let set = sets.as_ref().and_then(|sets| sets.set(group)).ok_or(NO_GROUP)?;
        for one in set.iter() {
            let Some(record) = module.root.registry.record(one.record) else { continue };
            let (wish, sequence) = record.wished();
            let (least, most) = one.overload_limits();
            let entry = rpc.structure()?;
            entry.int(c"group", group)?;
            entry.text(c"uri", one.text(one.uri))?;
            entry.int(c"flags", record.flags().without(Flags::OWN).0 as i32)?;
            entry.int(c"priority", one.priority)?;
            entry.unsigned(c"ocrate", overload_rate(one, wish))?;
            entry.unsigned(c"ocidx", record.overload.asked() % 100)?;
            entry.unsigned(c"ocseq", sequence as u32)?;
            entry.unsigned_long(c"octime_sec", wish.until / 1000)?;
            entry.unsigned_long(c"octime_usec", wish.until % 1000 * 1000)?;
            entry.unsigned(c"ocmin", least)?;
            entry.unsigned(c"ocmax", most)?;
        }
        Ok(())
    });
}
