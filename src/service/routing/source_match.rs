//! Whether a message comes from a destination of a set (`ds_is_from_list`).

use crate::shm::{Alloc, Foreign};
use crate::state::{Member, Root, Set};
use core::net::IpAddr;

/// What is compared besides the address: bits of the manual of `ds_is_from_list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MatchMode(pub i32);

impl MatchMode {
    const NO_PORT: i32 = 1;
    const NO_PROTOCOL: i32 = 2;
    const ACTIVE: i32 = 4;
    const SOCKET: i32 = 8;
    const CLOSEST: i32 = 16;

    /// Address and port; the mode where none is given.
    pub const WITHOUT_PROTOCOL: Self = Self(Self::NO_PROTOCOL);

    const fn has(self, bit: i32) -> bool {
        self.0 & bit != 0
    }
}

/// Where a message comes from.
#[derive(Debug, Clone, Copy)]
pub struct Sender {
    /// Address.
    pub address: IpAddr,
    /// Port.
    pub port: u16,
    /// Transport, as the host numbers them.
    pub protocol: u16,
    /// The local socket that it came to.
    pub came_to: Option<Foreign>,
}

/// How much of a destination matches, besides its address: the sum of 2 for the port, 4 for the transport, 8 for the local socket.
type Closeness = u8;

/// With mode 16 no destination is closer.
pub const CLOSEST: Closeness = 2 + 4 + 8;

/// The first destination of the set that matches; with mode 16 the first one of those that match best, and how well. A destination
/// without known addresses matches nothing; one without a port matches any port.
pub fn find<'a, A: Alloc>(
    root: &Root<A>,
    set: &'a Set<A>,
    mode: MatchMode,
    sender: Sender,
) -> Option<(Member<'a>, Closeness)> {
    // From one that is drained the requests of its calls still come.
    let serves = |one: Member<'_>| root.registry.record(one.record).is_some_and(|it| it.flags().serves());
    let closest = mode.has(MatchMode::CLOSEST);
    let matches = |one: &Member<'_>| {
        one.addresses().contains(&sender.address)
            && (closest || mode.has(MatchMode::NO_PORT) || one.port == 0 || one.port == sender.port)
            && (closest || mode.has(MatchMode::NO_PROTOCOL) || one.transport() == sender.protocol)
            && (!mode.has(MatchMode::ACTIVE) || serves(*one))
            && (!mode.has(MatchMode::SOCKET) || one.send_from.is_none() || one.send_from == sender.came_to)
    };
    let mut matching = set.iter().filter(matches);
    if !closest {
        return matching.next().map(|one| (one, CLOSEST));
    }
    let mut best: Option<(Member<'a>, Closeness)> = None;
    for one in matching {
        let of = |same: bool, worth: Closeness| if same { worth } else { 0 };
        let closeness = of(one.port != 0 && one.port == sender.port, 2)
            + of(one.transport() != 0 && one.transport() == sender.protocol, 4)
            + of(one.send_from.is_some() && one.send_from == sender.came_to, 8);
        if best.is_none_or(|(_, before)| before < closeness) {
            best = Some((one, closeness));
        }
    }
    best
}
