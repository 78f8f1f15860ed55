//! Look-ups in the DNS, as the parameters want them.

use crate::conf::Dns;
use crate::host::uri;
use crate::service::sets::resolve::Meaning;
use crate::service::sets::srv_targets::Target;
use crate::state::health::NextHop;
use core::cmp::Reverse;
use core::net::{IpAddr, SocketAddr};
use std::collections::HashSet;

/// Resolves a name: its addresses, and with SRV the port and transport that the DNS names. `None` if it does not resolve.
pub fn meaning(host: &[u8], (port, proto): (u16, u16), dns: &Dns) -> Option<Meaning> {
    if dns.srv {
        let (addresses, port, proto) = for_sip(host, (port, proto), dns)?;
        return Some(Meaning { addresses, port_and_proto: Some((port, proto)) });
    }
    let addresses = kept_for(dns, || uri::resolve(host));
    (!addresses.is_empty()).then_some(Meaning { addresses, port_and_proto: None })
}

fn for_sip(host: &[u8], (port, proto): (u16, u16), dns: &Dns) -> Option<(Vec<IpAddr>, u16, u16)> {
    kept_for(dns, || uri::resolve_for_sip(host, port, proto))
}

/// Where a request to this host goes first.
pub fn next_hop(host: &[u8], (port, proto): (u16, u16), dns: &Dns) -> Option<NextHop> {
    let (address, port, proto) = kept_for(dns, || uri::next_hop(host, port, proto))?;
    Some(NextHop { address: SocketAddr::new(address, port), proto })
}

/// Where a request to this proxy goes first.
pub fn proxy_hop(proxy: &[u8], dns: &Dns) -> Option<NextHop> {
    let parsed = uri::parse(proxy)?;
    next_hop(proxy.get(parsed.host.clone())?, (parsed.port, parsed.proto), dns)
}

/// The results of a look-up are cached for `ds_dns_ttl`.
fn kept_for<T>(dns: &Dns, look_up: impl FnOnce() -> T) -> T {
    uri::keep_results_for(dns.ttl);
    let found = look_up();
    uri::keep_results_for(0);
    found
}

/// The destinations that a written URI stands for: the targets of its SRV records where they are asked for and its port
/// lets them be (RFC 3263 section 4.2), else its addresses. In the order of SRV priorities, the heaviest first.
pub fn targets(written: &[u8], dns: &Dns) -> Vec<Target> {
    let Some(parsed) = uri::parse(written) else { return Vec::new() };
    let host = written.get(parsed.host.clone()).unwrap_or_default();
    let mut records = if dns.srv && parsed.port == 0 { uri::srv(host, parsed.proto) } else { Vec::new() };
    if records.is_empty() {
        records.push(uri::Srv { priority: 0, weight: 0, port: parsed.port, target: host.to_vec() });
    }
    // Servers give records of equal priority and weight in changing order: names and ports make it one.
    records.sort_by_cached_key(|one| (one.priority, Reverse(one.weight), one.target.clone(), one.port));
    let of_record = |record: &uri::Srv| {
        let mut addresses = kept_for(dns, || uri::resolve(&record.target));
        // In whatever order the DNS gives them, they are the same destinations.
        addresses.sort_unstable();
        let target = |address: IpAddr| {
            let (uri, place) = uri::with_address(written, &parsed, address, record.port, parsed.proto);
            let (port, proto, weight) = (record.port, parsed.proto, record.weight.into());
            Target { uri, host: place, address, port, proto, weight }
        };
        addresses.into_iter().map(target).collect::<Vec<_>>()
    };
    let mut all: Vec<Target> = records.iter().flat_map(of_record).collect();
    let mut seen = HashSet::new();
    all.retain(|target| seen.insert(target.uri.clone()));
    all
}
