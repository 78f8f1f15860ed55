//! To which destination a request goes: what was selected, or what the script put in its place.

use crate::context::Module;
use crate::host::message::Message;
use crate::host::transaction::Sent;
use crate::host::{mem::Pool, uri};
use crate::load::Call;
use crate::state::{Generation, Member};
use core::net::SocketAddr;

/// Where a request is sent.
#[derive(Clone, Copy)]
enum Hop<'a> {
    /// `$du`, or the request URI.
    Uri(&'a [u8]),
    /// An address that the script gave to the function that sends.
    Address(SocketAddr),
}

/// The record of the destination to which a branch of this call goes; none if it goes to no destination of ours.
pub(super) fn of_branch(
    module: &Module,
    sets: &Generation<Pool>,
    call: &Call,
    branch: &Sent<'_>,
) -> Option<u32> {
    let request = &branch.request;
    let to_uri = || Hop::Uri(request.destination().unwrap_or(request.request_uri()));
    let hop = branch.address.map_or_else(to_uri, Hop::Address);
    goes_to(module, sets, call, (hop, request.request_uri()), branch.noted)
}

/// The same of a request that `forward()` has sent.
pub(super) fn of_forwarded(
    module: &Module,
    sets: &Generation<Pool>,
    call: &Call,
    request: &Message,
) -> Option<u32> {
    let hop = Hop::Uri(request.destination().unwrap_or(request.request_uri()));
    goes_to(module, sets, call, (hop, request.request_uri()), None)
}

/// The first of these records to which a branch of this request goes, with the address that the script gave to the function that sends;
/// else what is there in the set of the first.
pub(super) fn of_known(
    module: &Module,
    sets: &Generation<Pool>,
    known: &[u32],
    (request, address): (&Message, Option<SocketAddr>),
) -> Option<u32> {
    let uri = request.request_uri();
    let hop = address.map_or(Hop::Uri(request.destination().unwrap_or(uri)), Hop::Address);
    let record = |number: u32| module.root.registry.record(number);
    let leads = |number: u32, hop: Hop<'_>| {
        sets.of_record(number, record(number)?).filter(|(_, one)| is_at(*one, hop)).map(|_| number)
    };
    // It may be on its way there through another proxy.
    let chosen = || known.iter().find_map(|one| leads(*one, hop).or_else(|| leads(*one, Hop::Uri(uri))));
    let same_set = || {
        let set = sets.set(record(*known.first()?)?.set())?;
        set.iter().find(|one| is_at(*one, hop)).map(|one| one.record)
    };
    chosen().or_else(same_set)
}

fn goes_to(
    module: &Module,
    sets: &Generation<Pool>,
    call: &Call,
    (hop, request_uri): (Hop<'_>, &[u8]),
    noted: Option<u32>,
) -> Option<u32> {
    let leads = |number: u32, hop: Hop<'_>| {
        let record = module.root.registry.record(number)?;
        sets.of_record(number, record).filter(|(_, one)| is_at(*one, hop)).map(|_| number)
    };
    // Chosen for this request: it may be on its way there through another proxy.
    let chosen = call
        .legs()
        .iter()
        .rev()
        .filter(|leg| leg.is_open() && !leg.is_watched())
        .find_map(|leg| leads(leg.record(), hop).or_else(|| leads(leg.record(), Hop::Uri(request_uri))));
    // Where it was before, the last first; then whatever is there.
    let before = || call.legs().iter().rev().find_map(|leg| leads(leg.record(), hop));
    let noted_there = || noted.and_then(|number| leads(number, hop));
    let same_set = || {
        let record = noted.and_then(|number| module.root.registry.record(number))?;
        sets.set(record.set())?.iter().find(|one| is_at(*one, hop)).map(|one| one.record)
    };
    let anywhere = || match hop {
        Hop::Uri(uri) => sets.sets().find_map(|set| set.with_uri(uri).next()).map(|(_, one)| one.record),
        Hop::Address(_) => {
            sets.sets().find_map(|set| set.iter().find(|one| is_at(*one, hop))).map(|one| one.record)
        }
    };
    chosen.or_else(before).or_else(noted_there).or_else(same_set).or_else(anywhere)
}

/// Whether this leads to a destination: its own URI, or one with its host, or an address of that, and its port.
fn is_at(destination: Member<'_>, hop: Hop<'_>) -> bool {
    let own = destination.text(destination.uri);
    let usual = |port: u16, parsed: &uri::Uri| if port == 0 { parsed.usual_port() } else { port };
    match hop {
        Hop::Uri(uri) if own.eq_ignore_ascii_case(uri) => true,
        Hop::Uri(uri) => {
            let Some(parsed) = uri::parse(uri) else { return false };
            let host = uri.get(parsed.host.clone()).unwrap_or_default();
            let same_host = destination.text(destination.host).eq_ignore_ascii_case(host)
                || uri::literal(host).is_some_and(|address| destination.addresses().contains(&address));
            same_host && usual(parsed.port, &parsed) == usual(destination.port, &parsed)
        }
        Hop::Address(to) => {
            destination.addresses().contains(&to.ip())
                && uri::parse(own).is_some_and(|parsed| usual(destination.port, &parsed) == to.port())
        }
    }
}
