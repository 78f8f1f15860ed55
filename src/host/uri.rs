//! URIs, host names and local sockets, read by the host's own parsers.

use super::{ffi, text};
use crate::shm::Foreign;
use core::ffi::{c_char, c_int};
use core::net::{IpAddr, SocketAddr};
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
    /// The port that it means where it has none (RFC 3261 section 19.1.2).
    pub fn usual_port(&self) -> u16 {
        self.usual_port
    }

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

/// The address that a host is, if it is no name. An IPv6 address may stand in brackets; the numbers of an IPv4 address may
/// begin with zeros and are decimal all the same.
pub fn literal(host: &[u8]) -> Option<IpAddr> {
    let inner = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host);
    let text = core::str::from_utf8(inner).ok()?;
    text.parse().ok().or_else(|| with_zeros(text).map(IpAddr::from))
}

fn with_zeros(text: &str) -> Option<[u8; 4]> {
    let mut parts = text.split('.').map(|part| {
        let digits = part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse::<u8>().ok().filter(|_| digits)
    });
    let mut next = || parts.next().flatten();
    let four = [next()?, next()?, next()?, next()?];
    parts.next().is_none().then_some(four)
}

/// The addresses of a host; asks the DNS if it is a name. Empty if there is none that the server can send to: it knows no
/// IPv6 address while it listens on none.
pub fn resolve(host: &[u8]) -> Vec<IpAddr> {
    let Ok(name) = CString::new(host) else { return Vec::new() };
    // SAFETY: a text with an end, which the host only reads.
    unsafe { addresses(ffi::shim_resolve_name(name.as_ptr().cast_mut()).cast()) }
}

/// Where a request to this host goes, as RFC 3263 finds it: SRV and NAPTR records are asked for where port or transport are
/// 0. Port and transport are filled in.
pub fn resolve_for_sip(host: &[u8], port: u16, proto: u16) -> Option<(Vec<IpAddr>, u16, u16)> {
    let mut name = text::lent(host);
    let (mut port, mut proto) = (port, proto as c_char);
    // SAFETY: the host only reads the text; the rest is ours to fill.
    let found =
        unsafe { addresses(ffi::shim_resolve_for_sip(&raw mut name, &raw mut port, &raw mut proto).cast()) };
    (!found.is_empty()).then_some((found, port, u16::try_from(proto).unwrap_or(0)))
}

/// The address, port and transport that the server itself would send a request to this host to; as [`resolve_for_sip`], but as
/// `use_dns_failover` has it.
pub fn next_hop(host: &[u8], port: u16, proto: u16) -> Option<(IpAddr, u16, u16)> {
    let mut name = text::lent(host);
    let (mut port, mut proto) = (port, proto as c_char);
    // SAFETY: as in `resolve_for_sip`.
    let found = unsafe { addresses(ffi::shim_next_hop(&raw mut name, &raw mut port, &raw mut proto).cast()) };
    Some((found.into_iter().next()?, port, u16::try_from(proto).unwrap_or(0)))
}

/// An SRV record.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)] // the fields of RFC 2782
pub struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    pub target: Vec<u8>,
}

/// The SRV records for SIP over this transport at a host (RFC 3263 section 4.2); 0 is UDP.
pub fn srv(host: &[u8], proto: u16) -> Vec<Srv> {
    let service: &[u8] = match u32::from(proto) {
        ffi::PROTO_TCP => b"_sip._tcp.",
        ffi::PROTO_TLS => b"_sips._tcp.",
        ffi::PROTO_SCTP => b"_sip._sctp.",
        _ => b"_sip._udp.",
    };
    let Ok(name) = CString::new([service, host].concat()) else { return Vec::new() };
    let mut all = Vec::new();
    // SAFETY: a text with an end; a list of records that the host made for us and takes back, in which those of this type
    // hold an SRV record with the length of its name.
    unsafe {
        let first = ffi::get_record(name.as_ptr().cast_mut(), ffi::ns_t_srv as c_int, 0);
        let mut next = first;
        while let Some(record) = next.as_ref() {
            let srv = record.rdata.cast::<ffi::srv_rdata>();
            if u32::from(record.type_) == ffi::ns_t_srv && !srv.is_null() {
                // The name goes on behind the struct.
                let name = (&raw const (*srv).name).cast::<u8>();
                let target = core::slice::from_raw_parts(name, (*srv).name_len.into()).to_vec();
                let (priority, weight, port) = ((*srv).priority, (*srv).weight, (*srv).port);
                all.push(Srv { priority, weight, port, target });
            }
            next = record.next;
        }
        ffi::free_rdata_list(first);
    }
    all
}

/// The URI with another host, and the port and transport that belong to it where the URI says none; and where the new host
/// is in it.
pub fn with_address(
    text: &[u8],
    parsed: &Uri,
    address: IpAddr,
    port: u16,
    proto: u16,
) -> (Vec<u8>, Range<usize>) {
    let host = match address {
        IpAddr::V4(four) => four.to_string(),
        IpAddr::V6(six) => format!("[{six}]"),
    };
    let own_port = if parsed.port == 0 && port != 0 { format!(":{port}") } else { String::new() };
    let transport = if parsed.proto == 0 { transport(proto) } else { "" };
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let (start, end) = (parsed.host.start, parsed.host.end);
    // A transport belongs to the parameters, so before any headers.
    let headers = text.iter().position(|&byte| byte == b'?').unwrap_or(text.len()).max(end);
    let parts = [
        part(0, start),
        host.as_bytes(),
        own_port.as_bytes(),
        part(end, headers),
        transport.as_bytes(),
        part(headers, text.len()),
    ];
    (parts.concat(), start..start + host.len())
}

/// The parameter for a transport; UDP needs none.
fn transport(proto: u16) -> &'static str {
    match u32::from(proto) {
        ffi::PROTO_TCP => ";transport=tcp",
        ffi::PROTO_TLS => ";transport=tls",
        ffi::PROTO_SCTP => ";transport=sctp",
        ffi::PROTO_WS => ";transport=ws",
        ffi::PROTO_WSS => ";transport=wss",
        _ => "",
    }
}

/// How long, in seconds, the results of this process are kept in the host's cache; 0 as the DNS says.
pub fn keep_results_for(seconds: u32) {
    // SAFETY: sets a word of the process.
    unsafe { ffi::dns_set_local_ttl(c_int::try_from(seconds).unwrap_or(c_int::MAX)) }
}

/// # Safety
/// `found` is null or what the host's resolver returned last.
unsafe fn addresses(found: *const libc::hostent) -> Vec<IpAddr> {
    // SAFETY: null or valid until the next look-up.
    let Some(found) = (unsafe { found.as_ref() }) else { return Vec::new() };
    let mut all = Vec::new();
    for at in 0.. {
        // SAFETY: a list with a null at its end.
        let Some(address) = (unsafe { found.h_addr_list.add(at).read().cast::<u8>().as_ref() }) else {
            break;
        };
        let first: *const u8 = address;
        // SAFETY: an address of the type that the entry names.
        all.push(unsafe {
            match found.h_addrtype {
                libc::AF_INET => IpAddr::from(first.cast::<[u8; 4]>().read()),
                _ => IpAddr::from(first.cast::<[u8; 16]>().read()),
            }
        });
    }
    all
}

/// A SIP URI that goes to this address, without a name in it.
pub fn of_address(address: SocketAddr, proto: u16) -> Vec<u8> {
    let host = match address.ip() {
        IpAddr::V4(four) => four.to_string(),
        IpAddr::V6(six) => format!("[{six}]"),
    };
    let port = if address.port() == 0 { String::new() } else { format!(":{}", address.port()) };
    let transport = transport(proto);
    format!("sip:{host}{port}{transport}").into_bytes()
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
