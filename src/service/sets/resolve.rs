//! Resolves a line of the source: checks it, and asks the host for its socket and for the addresses of its name.

use crate::dest::attrs::AttrValues;
use crate::dest::{Attrs, Entry, SourcePosition};
use crate::load::Rate;
use crate::shm::Foreign;
use crate::state::block::{BlockBuilder, Limits};
use crate::state::{Destination, Member};
use core::net::IpAddr;
use core::ops::Range;
use std::borrow::Cow;

/// An entry with what the host knows about it.
#[derive(Debug, Clone)]
pub struct Resolved<'t> {
    /// The entry; its URI has a scheme by now.
    pub entry: Entry<'t>,
    /// The URI in the source, if its name stands for many destinations (`ds_dns_mode` 16); else empty.
    pub written: Cow<'t, [u8]>,
    /// Where the host is in the URI.
    pub host: Range<usize>,
    /// Port of the URI; 0 where it has none.
    pub port: u16,
    /// Transport of the URI, as the host numbers them.
    pub proto: u16,
    /// Whether the host is a name.
    pub named: bool,
    /// Whether the name is looked up for its addresses.
    pub looked_up: bool,
    /// Its addresses, as far as they are known.
    pub addresses: Vec<IpAddr>,
    /// The weight of its SRV record, if it is one of the destinations that a name stands for.
    pub srv_weight: u32,
    /// The local socket to send from, where one is set.
    pub send_from: Option<Foreign>,
    /// The local socket to send probes from, where one is set for that.
    pub ping_from_socket: Option<Foreign>,
}

impl<'t> Resolved<'t> {
    /// A destination that serves as if it were read again, in the set of this id. If it is one of many that a name stands for, the
    /// line with that name.
    pub fn line_of(set: i32, one: Member<'t>) -> Self {
        // They were read without an error when it was loaded. The server may have corrected addresses since then.
        let attrs = Attrs::parse(one.text(one.body), one.limits != Limits::default()).unwrap_or_default();
        let [obproxy, ping_from] = [one.obproxy, one.ping_from].map(|text| Cow::Borrowed(one.text(text)));
        let attrs = Attrs { values: AttrValues { obproxy, ping_from, ..attrs.values }, ..attrs };
        let uri = Cow::Borrowed(one.text(if one.is_target() { one.written } else { one.uri }));
        let (flags, priority) = (one.flags, one.priority);
        Self {
            entry: Entry {
                place: SourcePosition::Row(0),
                set,
                uri,
                flags,
                priority,
                attrs,
                findings: Vec::new(),
            },
            written: Cow::Borrowed(one.text(one.written)),
            host: one.host_range(),
            port: one.port,
            proto: one.proto,
            named: one.named,
            looked_up: one.looked_up,
            addresses: one.addresses().to_vec(),
            srv_weight: one.srv_weight,
            send_from: one.send_from,
            ping_from_socket: one.ping_from_socket,
        }
    }

    /// The socket that it names, by name or address; empty where it names none.
    pub fn socket(&self) -> &[u8] {
        self.entry.attrs.values.local_socket(|text| text)
    }

    /// Whether its name is looked up, and its addresses are not known yet.
    pub fn unresolved(&self) -> bool {
        self.looked_up && self.addresses.is_empty()
    }

    /// Whether it has the identity of this one, which is of the same set: `duid`, or else URI and socket.
    pub fn is(&self, other: Member<'_>) -> bool {
        let same = |mine: &[u8], of_other| mine == other.text(of_other);
        let duid = &self.entry.attrs.duid;
        same(duid, other.duid)
            && (!duid.is_empty() || same(&self.entry.uri, other.uri) && self.socket() == other.local_socket())
    }

    /// Puts it into a block. `record` is the number of its runtime record, `asked` the hash of what is probed, `capacity` the number
    /// of the capacity that it shares; `slow_start` are the seconds of its slow start where it does not say it itself.
    pub fn put(&self, parts: &mut BlockBuilder, record: u32, asked: u64, (capacity, slow_start): (u32, u32)) {
        let Entry { uri, flags, priority, attrs, findings, .. } = &self.entry;
        let span = parts.text(uri);
        let destination = Destination {
            uri: span,
            host: span.part(self.host.start, self.host.len()),
            written: parts.text(&self.written),
            values: attrs.map(|text| parts.text(text)),
            priority: *priority,
            flags: *flags,
            record,
            asked,
            srv_weight: self.srv_weight,
            send_from: self.send_from,
            ping_from_socket: self.ping_from_socket,
            named: self.named,
            mended: !findings.is_empty() || !attrs.findings.is_empty(),
            looked_up: self.looked_up,
            unresolved: self.unresolved(),
            port: self.port,
            proto: self.proto,
        };
        let limits = Limits {
            maxload_reserve: attrs.limits.maxload_reserve,
            capacity,
            capacity_max: attrs.limits.capacity_max,
            capacity_reserve: attrs.limits.capacity_reserve,
            capacity_rate: (attrs.limits.capacity_cps, attrs.limits.capacity_cps_burst),
            rate: Rate { cps: attrs.limits.cps, burst: attrs.limits.cps_burst },
            slow_start: attrs.limits.slow_start.unwrap_or(slow_start),
        };
        parts.put(destination, &self.addresses, limits);
    }
}

/// The answer of the DNS for a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meaning {
    /// Addresses, the first answer first.
    pub addresses: Vec<IpAddr>,
    /// Port and transport, where the name says them (SRV, NAPTR).
    pub port_and_proto: Option<(u16, u16)>,
}

impl Meaning {
    /// Gives a destination these addresses.
    pub fn give_to(self, one: &mut Resolved<'_>) {
        one.addresses = self.addresses;
        (one.port, one.proto) = self.port_and_proto.unwrap_or((one.port, one.proto));
    }
}
