//! A SIP message as a script function gets it.

use super::{ffi, text};
use crate::shm::Foreign;
use core::ffi::c_int;
use core::net::{IpAddr, SocketAddr};
use core::ptr::NonNull;

/// A message, for the time of one call from the script.
pub struct Message(NonNull<ffi::sip_msg>);

/// The methods that mean something here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // names of SIP methods
pub enum Method {
    Invite,
    Cancel,
    Bye,
    Update,
    Info,
    Other,
}

impl Method {
    fn from_host(number: u32) -> Self {
        match number {
            ffi::METHOD_INVITE => Self::Invite,
            ffi::METHOD_CANCEL => Self::Cancel,
            ffi::METHOD_BYE => Self::Bye,
            ffi::METHOD_UPDATE => Self::Update,
            ffi::METHOD_INFO => Self::Info,
            _ => Self::Other,
        }
    }
}

/// What kind of message it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A request of this method.
    Request(Method),
    /// A reply to a request of the method in its CSeq, with this status code.
    Reply(Method, u16),
}

impl Message {
    /// The host's message; `None` for no message and for the host's mark of a reply that it made up.
    ///
    /// # Safety
    /// `msg` is null, that mark, or a message that nobody else uses while this lives.
    pub unsafe fn from_host(msg: *mut ffi::sip_msg) -> Option<Self> {
        // SAFETY: the shim only compares the pointer.
        let faked = unsafe { ffi::shim_is_faked_reply(msg) } != 0;
        NonNull::new(msg).filter(|_| !faked).map(Self)
    }

    fn raw(&self) -> &ffi::sip_msg {
        // SAFETY: valid for as long as `self` (see `from_host`).
        unsafe { self.0.as_ref() }
    }

    /// Request or reply; `None` if a reply has no readable CSeq.
    pub fn kind(&self) -> Option<Kind> {
        let line = &self.raw().first_line;
        if u32::try_from(line.type_) == Ok(ffi::SIP_REQUEST) {
            // SAFETY: the host tags the union with the type.
            let method = unsafe { line.u.request.method_value };
            return Some(Kind::Request(Method::from_host(method as u32)));
        }
        if !self.parse(ffi::HDR_CSEQ_T) || self.raw().cseq.is_null() {
            return None;
        }
        // SAFETY: as above.
        let status = unsafe { line.u.reply.statuscode } as u16;
        // SAFETY: the CSeq header is there and its body is parsed with it.
        let method = unsafe { ffi::shim_cseq_method(self.0.as_ptr()) };
        Some(Kind::Reply(Method::from_host(method as u32), status))
    }

    fn parse(&self, header: ffi::_hdr_types_t) -> bool {
        // SAFETY: the message is valid; parsing fills its header list, to which no reference is held here.
        unsafe { ffi::parse_headers(self.0.as_ptr(), 1 << header, 0) == 0 }
    }

    /// The Call-ID, without white space around it.
    pub fn call_id(&self) -> Option<&[u8]> {
        if !self.parse(ffi::HDR_CALLID_T) {
            return None;
        }
        // SAFETY: null or a header of the message.
        let header = unsafe { self.raw().callid.as_ref() }?;
        // SAFETY: the body points into the message's buffer.
        Some(unsafe { text::bytes(header.body) }.trim_ascii()).filter(|id| !id.is_empty())
    }

    /// Whether it belongs to a dialog: its To has a tag.
    pub fn in_dialog(&self) -> bool {
        // SAFETY: looked at only when the To header is there; the host parses its body with it.
        self.parse(ffi::HDR_TO_T)
            && !self.raw().to.is_null()
            && unsafe { ffi::shim_has_to_tag(self.0.as_ptr()) != 0 }
    }

    /// Where it came from.
    pub fn source(&self) -> Option<SocketAddr> {
        let from = &self.raw().rcv;
        Some(SocketAddr::new(address(&from.src_ip)?, from.src_port))
    }

    /// The destination URI (`$du`), where one is set.
    pub fn destination(&self) -> Option<&[u8]> {
        // SAFETY: null or text that belongs to the message.
        Some(unsafe { text::bytes(self.raw().dst_uri) }).filter(|uri| !uri.is_empty())
    }

    /// Sets the destination URI, and the socket to send from where one is given. False if the host has no memory.
    pub fn set_destination(&mut self, uri: &[u8], socket: Option<Foreign>) -> bool {
        let uri = text::lent(uri);
        // SAFETY: the host copies the text.
        if unsafe { ffi::set_dst_uri(self.0.as_ptr(), &raw const uri) } < 0 {
            return false;
        }
        // The request URI is used again for this branch.
        // SAFETY: sets a flag of the process.
        unsafe { ffi::shim_ruri_mark_new() };
        if let Some(socket) = socket {
            // SAFETY: the message is ours for the time of the call; the socket lives as long as the server.
            unsafe { (*self.0.as_ptr()).force_send_socket = socket.0.as_ptr().cast() };
        }
        true
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::sip_msg {
        self.0.as_ptr()
    }
}

/// An address of the host as the standard library's.
pub(super) fn address(ip: &ffi::ip_addr) -> Option<IpAddr> {
    // SAFETY: the host fills the union as bytes in network order, whichever member is read.
    let bytes = unsafe { ip.u.addr };
    match c_int::try_from(ip.af) {
        Ok(libc::AF_INET) => bytes.first_chunk::<4>().map(|four| IpAddr::from(*four)),
        Ok(libc::AF_INET6) => Some(IpAddr::from(bytes)),
        _ => None,
    }
}
