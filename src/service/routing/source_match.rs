//! Whether a message comes from a destination of a set (`ds_is_from_list`).

use crate::select::Candidates;
use crate::service::routing::candidates::View;
use crate::shm::Alloc;
use crate::state::{Member, Root, Set};
use core::net::IpAddr;

/// What is compared besides the address: bits of the manual of `ds_is_from_list`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(pub i32);

impl Mode {
    const NO_PORT: i32 = 1;
    const NO_PROTOCOL: i32 = 2;
    const ACTIVE: i32 = 4;

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
}

/// The first destination of the set that matches. A destination without known addresses matches nothing; one without a port matches
/// any port.
pub fn find<'a, A: Alloc>(root: &Root<A>, set: &'a Set<A>, mode: Mode, sender: Sender) -> Option<Member<'a>> {
    let view = View::new(root, set);
    let matches = |at: usize, one: Member<'_>| {
        one.addresses().contains(&sender.address)
            && (mode.has(Mode::NO_PORT) || one.port == 0 || one.port == sender.port)
            && (mode.has(Mode::NO_PROTOCOL) || one.proto == sender.protocol)
            && (!mode.has(Mode::ACTIVE) || view.usable(at))
    };
    set.iter().enumerate().find(|(at, one)| matches(*at, *one)).map(|(_, one)| one)
}
