//! `ds_is_from_list`, `ds_is_active`, `ds_list_exists`: questions about sets.

use crate::context::{Module, module};
use crate::dest::{address, problem::shown};
use crate::host::message::Message;
use crate::host::script::{Values, Verdict};
use crate::host::{log, mem::Pool, uri};
use crate::service::routing::source_match::{self, MatchMode, Sender};
use crate::state::{Member, Set};

/// `ds_list_exists(set)`: whether there is such a set. False is -1; an argument that is no number is -2.
pub fn list_exists(_: &mut Message, values: &Values<'_>) -> Verdict {
    let found = module().and_then(Module::sets).is_some_and(|sets| sets.set(values.int(0)).is_some());
    if found { Verdict::True } else { Verdict::FALSE }
}

/// `ds_is_active(set [, uri])`: whether the set has an active destination, or that one is.
pub fn is_active(_: &mut Message, values: &Values<'_>) -> Verdict {
    let uri = values.text(1);
    let active = |module: &Module| {
        let sets = module.sets()?;
        let set = sets.set(values.int(0))?;
        let wanted = |one: &Member<'_>| uri.is_empty() || one.text(one.uri) == uri;
        let usable =
            |one: Member<'_>| module.root.registry.record(one.record).is_some_and(|r| r.flags().usable());
        set.iter().filter(wanted).any(usable).then_some(())
    };
    if module().and_then(active).is_some() { Verdict::True } else { Verdict::FALSE }
}

/// `ds_is_from_list([set [, mode [, uri]]])`: whether the message, or the URI, comes from a destination.
///
/// Without a set, or with -1, all sets are searched, in the order of their ids. Without a mode the protocol is not
/// compared.
pub fn is_from_list(msg: &mut Message, values: &Values<'_>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let set = if values.is_empty() { ANY_SET } else { values.int(0) };
    let mode = if values.len() < 2 { MatchMode::WITHOUT_PROTOCOL } else { MatchMode(values.int(1)) };
    let uri = values.text(2);
    let source = if uri.is_empty() { from_message(msg) } else { from_uri(uri, msg) };
    let Some(source) = source else { return Verdict::FALSE };
    search(module, msg, set, mode, source)
}

/// The `set` that means all.
const ANY_SET: i32 = -1;

fn from_message(msg: &Message) -> Option<Sender> {
    let from = msg.source()?;
    let came_to = msg.came_to();
    Some(Sender { address: from.ip(), port: from.port(), protocol: msg.transport(), came_to })
}

fn from_uri(text: &[u8], msg: &Message) -> Option<Sender> {
    let Some(parsed) = uri::parse(text).filter(|parsed| !parsed.host.is_empty()) else {
        log::error(format_args!(
            "ds_is_from_list: argument 'uri': {} is no SIP URI with a host",
            shown(text)
        ));
        return None;
    };
    let host = text.get(parsed.host.clone()).unwrap_or_default();
    let Some(address) = uri::resolve(host).first().copied() else {
        log::error(format_args!("ds_is_from_list: argument 'uri': {} does not resolve", shown(host)));
        return None;
    };
    let literal = uri::literal(host).is_some();
    let protocol = match parsed.proto {
        0 => address::usual_transport(text, literal, parsed.port),
        proto => proto,
    };
    Some(Sender { address, port: parsed.port, protocol, came_to: msg.came_to() })
}

fn search(module: &Module, msg: &Message, set: i32, mode: MatchMode, source: Sender) -> Verdict {
    let Some(sets) = module.sets() else { return Verdict::FALSE };
    let one = sets.set(set);
    let searched: &mut dyn Iterator<Item = &Set<Pool>> =
        if set == ANY_SET { &mut sets.sets() } else { &mut one.into_iter() };
    let mut best = None;
    for candidate in searched {
        let Some((found, closeness)) = source_match::find(module.root, candidate, mode, source) else {
            continue;
        };
        if best.is_none_or(|(_, _, before)| before < closeness) {
            best = Some((candidate, found, closeness));
        }
        if closeness == source_match::CLOSEST {
            break;
        }
    }
    let Some((candidate, found, _)) = best else { return Verdict::FALSE };
    tell(module, msg, candidate, found, set == ANY_SET)
}

/// Sets the variables that the parameters name.
fn tell(module: &Module, msg: &Message, set: &Set<Pool>, found: Member<'_>, with_set: bool) -> Verdict {
    let id = module.setid_variable.as_ref().filter(|_| with_set);
    if id.is_some_and(|variable| !variable.set_int(msg, set.id)) {
        log::error(format_args!("ds_is_from_list: the variable of setid_pvname cannot be set"));
        return Verdict::False(-2);
    }
    let attrs = found.text(found.body);
    let variable = module.attrs_variable.as_ref().filter(|_| !attrs.is_empty());
    if variable.is_some_and(|variable| !variable.set_text(msg, attrs)) {
        log::error(format_args!("ds_is_from_list: the variable of attrs_pvname cannot be set"));
        return Verdict::False(-3);
    }
    Verdict::True
}
