//! URIs, host names and local sockets, as the host reads them.

use super::message::address;
use super::{ffi, text};
use crate::shm::Foreign;
use core::ffi::{c_char, c_int};
use core::net::IpAddr;
use core::ops::Range;
use core::ptr::{NonNull, null_mut};
use std::ffi::CString;

/// The parts of a URI that matter here, by their places in its text.
#[derive(Debug, Clone)]
pub struct Uri {
    /// User; empty where there is none.
    pub user: Range<usize>,
    /// Host name; empty for a scheme without one (`tel:`), whose number is the user.
    pub host: Range<usize>,
    /// Port; 0 where the text has none.
    pub port: u16,
    /// Transport, as the host numbers them; 0 where the text has none.
    pub proto: u16,
    /// Where the text of the port ends, if it has one.
    port_end: Option<usize>,
    /// The port that the scheme implies.
    usual_port: u16,
}

impl Uri {
    /// Host, with the port behind it if that is not the one that the scheme implies.
    pub fn host_and_unusual_port(&self) -> Range<usize> {
        let end = self.port_end.filter(|_| self.port != self.usual_port && !self.host.is_empty());
        self.host.start..end.unwrap_or(self.host.end)
    }
}

/// Reads a URI. `None` if it is none.
pub fn parse(uri: &[u8]) -> Option<Uri> {
    let len = c_int::try_from(uri.len()).ok()?;
    // SAFETY: a struct of numbers and pointers, for which zero is the empty value that the host starts from too.
    let mut parsed: ffi::sip_uri = unsafe { core::mem::zeroed() };
    // SAFETY: the host only reads the text, within its length.
    if unsafe { ffi::parse_uri(uri.as_ptr().cast_mut().cast(), len, &raw mut parsed) } != 0 {
        return None;
    }
    let part = |text: ffi::str_| {
        let start = (text.s as usize).checked_sub(uri.as_ptr() as usize)?;
        let end = start + usize::try_from(text.len).ok()?;
        (end <= uri.len()).then_some(start..end)
    };
    Some(Uri {
        user: part(parsed.user).unwrap_or(0..0),
        host: match parsed.host {
            none if none.s.is_null() => return None,
            // Not a place in the text: the host points to an empty text of its own.
            empty if empty.len == 0 => 0..0,
            host => part(host)?,
        },
        port: parsed.port_no,
        proto: parsed.proto,
        port_end: part(parsed.port).map(|port| port.end),
        usual_port: if parsed.type_ == ffi::SIPS_URI_T { 5061 } else { 5060 },
    })
}

/// The address of a host name or of a literal address; asks the DNS if it must.
pub fn resolve(name: &[u8]) -> Option<IpAddr> {
    let name = CString::new(name).ok()?;
    // SAFETY: zero is a valid value of this struct of numbers.
    let mut ip: ffi::ip_addr = unsafe { core::mem::zeroed() };
    // SAFETY: a text with an end, which the host only reads, and a struct to fill.
    if unsafe { ffi::shim_resolve(name.as_ptr().cast_mut(), &raw mut ip) } != 0 {
        return None;
    }
    address(&ip)
}

/// The local socket of this name (`listen=… name "…"`).
pub fn socket_by_name(name: &[u8]) -> Option<Foreign> {
    let mut name = text::lent(name);
    // SAFETY: the host only compares the text.
    NonNull::new(unsafe { ffi::ksr_get_socket_by_name(&raw mut name) }).map(|socket| Foreign(socket.cast()))
}

/// The local socket of this address, `proto:host:port`.
pub fn socket_by_address(address: &[u8]) -> Option<Foreign> {
    let address = CString::new(address).ok()?;
    let (mut host, mut len): (*mut c_char, c_int) = (null_mut(), 0);
    let (mut port, mut proto): (c_int, c_int) = (0, 0);
    // SAFETY: a text with an end, which the host only reads; the parts point into it.
    let parsed = unsafe {
        ffi::parse_phostport(
            address.as_ptr().cast_mut(),
            &raw mut host,
            &raw mut len,
            &raw mut port,
            &raw mut proto,
        )
    };
    if parsed != 0 {
        return None;
    }
    let mut host = ffi::str_ { s: host, len };
    // SAFETY: the host part lives in `address`, which is still there.
    let socket = unsafe { ffi::grep_sock_info(&raw mut host, u16::try_from(port).ok()?, proto as _) };
    NonNull::new(socket).map(|socket| Foreign(socket.cast()))
}
