//! A SIP message as a script function gets it.

use super::{ffi, text, uri};
use crate::shm::Foreign;
use core::ffi::c_int;
use core::net::{IpAddr, SocketAddr};
use core::ptr::NonNull;
use std::ffi::CString;

/// Where a destination goes in the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The destination URI (`$du`), which the SIP request does not show.
    DestinationUri,
    /// Host and port of the request URI (`$ru`).
    RequestUri,
    /// Nowhere: only the xavp list is written.
    ListOnly,
}

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
    Ack,
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
            ffi::METHOD_ACK => Self::Ack,
            _ => Self::Other,
        }
    }
}

/// A URI of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // names of header fields
pub enum UriOf {
    From,
    To,
    Request,
}

/// The host's mark of a branch without a `q`.
const Q_UNSPECIFIED: c_int = -1;

/// The URI `to` with the user of `from`, if that has one.
fn with_user_of(from: &[u8], to: &[u8]) -> Vec<u8> {
    let user = uri::parse(from).and_then(|parsed| from.get(parsed.user)).unwrap_or_default();
    let scheme = to.iter().position(|&byte| byte == b':').map_or(0, |at| at + 1);
    match (to.get(..scheme), to.get(scheme..)) {
        (Some(scheme), Some(rest)) if !user.is_empty() => [scheme, user, b"@", rest].concat(),
        _ => to.to_vec(),
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

    /// Reads a text as the host reads what arrives, if it is a message, for `then`.
    pub(super) fn of_text(text: &[u8], then: impl FnOnce(&Self)) {
        // The host looks for an end, and may write between headers.
        let mut text = [text, b"\0"].concat();
        // SAFETY: a struct of numbers and addresses, for which zero is the empty value that the host starts from too.
        let mut msg: ffi::sip_msg = unsafe { core::mem::zeroed() };
        msg.buf = text.as_mut_ptr().cast();
        msg.len = (text.len() - 1) as _;
        // SAFETY: the text lives, and stays in its place, for longer than the message.
        if unsafe { ffi::parse_msg(msg.buf, msg.len as _, &raw mut msg) } == 0 {
            then(&Self(NonNull::from(&mut msg)));
        }
        // SAFETY: what was parsed is given back; nobody uses the message any more.
        unsafe { ffi::free_sip_msg(&raw mut msg) };
    }

    pub(super) fn raw(&self) -> &ffi::sip_msg {
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

    /// Status code and reason phrase, if it is a reply.
    pub fn status(&self) -> Option<(u16, &[u8])> {
        let line = &self.raw().first_line;
        if u32::try_from(line.type_) == Ok(ffi::SIP_REQUEST) {
            return None;
        }
        // SAFETY: the host tags the union with the type; the text belongs to the message.
        unsafe { Some((line.u.reply.statuscode as u16, text::bytes(line.u.reply.reason))) }
    }

    fn parse(&self, header: ffi::_hdr_types_t) -> bool {
        if self.raw().parsed_flag & 1 << header != 0 {
            return true;
        }
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

    /// The branch of its first Via.
    pub fn via_branch(&self) -> Option<&[u8]> {
        // SAFETY: null or the host's; it parses the first Via of each message before the script sees it, and keeps it as long.
        unsafe { Some(text::bytes(self.raw().via1.as_ref()?.branch.as_ref()?.value)) }
    }

    /// Whether it belongs to a dialog: its To has a tag.
    pub fn in_dialog(&self) -> bool {
        !self.to_tag().is_empty()
    }

    /// The tag of its To; empty where it has none.
    pub fn to_tag(&self) -> &[u8] {
        if !self.parse(ffi::HDR_TO_T) || self.raw().to.is_null() {
            return &[];
        }
        // SAFETY: the To header is there; the host parses its body with it. The text belongs to the message.
        unsafe { text::bytes(ffi::shim_to_tag(self.0.as_ptr())) }
    }

    /// The tag of its From; empty where it has none.
    pub fn from_tag(&self) -> &[u8] {
        // SAFETY: asked for only when the header is there and parsed; the text belongs to the message.
        unsafe {
            if ffi::parse_from_header(self.0.as_ptr()) < 0 {
                return &[];
            }
            text::bytes(ffi::shim_from_tag(self.0.as_ptr()))
        }
    }

    /// The seconds of its Session-Expires (RFC 4028 section 4), if it has one that is right.
    pub fn session_expires(&self) -> Option<u32> {
        if !self.parse(ffi::HDR_SESSIONEXPIRES_T) {
            return None;
        }
        // SAFETY: null or a header of the message.
        let header = unsafe { self.raw().session_expires.as_ref() }?;
        // SAFETY: the body points into the message's buffer.
        let text = unsafe { text::bytes(header.body) }.split(|&byte| byte == b';').next()?;
        core::str::from_utf8(text).ok()?.trim().parse().ok()
    }

    /// The seconds of its Retry-After (RFC 3261 section 20.33), if it has one that is right.
    pub fn retry_after(&self) -> Option<u32> {
        if !self.parse(ffi::HDR_RETRY_AFTER_T) {
            return None;
        }
        let mut at = self.raw().headers;
        loop {
            // SAFETY: null or a header of the message, which keeps them in a list.
            let header = unsafe { at.as_ref() }?;
            if header.type_ == ffi::HDR_RETRY_AFTER_T {
                // SAFETY: the body points into the message's buffer.
                let text = unsafe { text::bytes(header.body) }.trim_ascii();
                let digits = text.split(|byte| !byte.is_ascii_digit()).next()?;
                return core::str::from_utf8(digits).ok()?.parse().ok();
            }
            at = header.next;
        }
    }

    /// The number of its CSeq, as written; empty where it has none.
    pub fn cseq_number(&self) -> &[u8] {
        if !self.parse(ffi::HDR_CSEQ_T) || self.raw().cseq.is_null() {
            return &[];
        }
        // SAFETY: the CSeq header is there and its body is parsed with it. The text belongs to the message.
        unsafe { text::bytes(ffi::shim_cseq_number(self.0.as_ptr())) }
    }

    /// Its number in this process. Two messages at the same time never have the same.
    pub fn id(&self) -> u32 {
        self.raw().id
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

    /// Sends the request there, from the socket where one is given, else from the one that the script has set, if any. False
    /// if the host has no memory.
    pub fn send_to(&mut self, uri: &[u8], socket: Option<Foreign>, target: Target) -> bool {
        let done = match target {
            Target::ListOnly => return true,
            Target::DestinationUri => self.set_destination(uri),
            Target::RequestUri => self.set_host(uri),
        };
        done && self.send_from(socket, uri)
    }

    fn set_destination(&mut self, uri: &[u8]) -> bool {
        let uri = text::lent(uri);
        // SAFETY: the host copies the text.
        if unsafe { ffi::set_dst_uri(self.0.as_ptr(), &raw const uri) } < 0 {
            return false;
        }
        // The request URI is used again for this branch.
        // SAFETY: sets a flag of the process.
        unsafe { ffi::shim_ruri_mark_new() };
        true
    }

    fn set_host(&mut self, uri: &[u8]) -> bool {
        let scheme = [&b"sip:"[..], b"sips:"]
            .into_iter()
            .find(|scheme| uri.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        let rest = uri.get(scheme.map_or(0, <[u8]>::len)..).unwrap_or_default();
        let Ok(host) = CString::new(rest) else { return false };
        // SAFETY: a text with an end, which the host copies into the new request URI.
        unsafe { ffi::shim_set_host(self.0.as_ptr(), host.as_ptr().cast_mut()) >= 0 }
    }

    /// Adds a branch that goes to `uri` as well, from the socket where one is given, else from the script's own.
    pub fn add_branch(&mut self, uri: &[u8], socket: Option<Foreign>, target: Target) -> bool {
        // SAFETY: text of the message, or of the URI that replaces its own.
        let request_uri = unsafe { text::bytes(*ffi::shim_ruri(self.0.as_ptr())) };
        let mut own = None;
        if target == Target::RequestUri {
            own = Some(with_user_of(request_uri, uri));
        }
        let mut request = text::lent(own.as_deref().unwrap_or(request_uri));
        let mut destination = text::lent(uri);
        let destination = if own.is_some() { core::ptr::null_mut() } else { &raw mut destination };
        let socket = socket.or_else(|| self.socket_for(uri));
        let socket = socket.map_or(core::ptr::null_mut(), |socket| socket.0.as_ptr().cast());
        let none = core::ptr::null_mut();
        // SAFETY: the host copies the texts; null is none.
        unsafe {
            ffi::append_branch(
                self.0.as_ptr(),
                &raw mut request,
                destination,
                none,
                Q_UNSPECIFIED,
                0,
                socket,
                none,
                0,
                none,
                none,
            ) >= 0
        }
    }

    /// The texts of which algorithms 1, 2 and 3 make a hash: user, and host with a port that is not the usual one.
    pub fn uri_key(&self, which: UriOf, user_only: bool) -> Option<(&[u8], &[u8])> {
        // SAFETY: each is asked for only when its header is there and parsed; the texts belong to the message.
        let uri = unsafe {
            match which {
                UriOf::From if ffi::parse_from_header(self.0.as_ptr()) >= 0 => {
                    text::bytes(ffi::shim_from_uri(self.0.as_ptr()))
                }
                UriOf::To if self.parse(ffi::HDR_TO_T) && !self.raw().to.is_null() => {
                    text::bytes(ffi::shim_to_uri(self.0.as_ptr()))
                }
                UriOf::Request => text::bytes(*ffi::shim_ruri(self.0.as_ptr())),
                _ => return None,
            }
        };
        let uri = uri.trim_ascii();
        let parsed = uri::parse(uri)?;
        let host = if user_only { 0..0 } else { parsed.host_and_unusual_port() };
        Some((uri.get(parsed.user)?, uri.get(host)?))
    }

    /// The user of Proxy-Authorization, or of Authorization where there is none.
    pub fn auth_user(&self) -> Option<&[u8]> {
        let credentials = |header: *mut ffi::hdr_field| {
            // SAFETY: null or a header of the message; parsing keeps its result in the header.
            unsafe {
                let field = header.as_ref()?;
                if field.parsed.is_null() {
                    ffi::parse_credentials(header);
                }
                header.as_ref()?.parsed.cast::<ffi::auth_body_t>().as_ref()
            }
        };
        let body = (self.parse(ffi::HDR_PROXYAUTH_T).then(|| credentials(self.raw().proxy_auth)).flatten())
            .or_else(|| {
            self.parse(ffi::HDR_AUTHORIZATION_T).then(|| credentials(self.raw().authorization)).flatten()
        })?;
        // SAFETY: the text belongs to the message.
        let user = unsafe { text::bytes(body.digest.username.user) };
        Some(user).filter(|user| !user.is_empty()).map(<[u8]>::trim_ascii)
    }

    /// Whether it was forwarded, where there is no transaction: the host has made the branch of its Via, which it does when it
    /// knows where to send it. (It does not keep whether sending failed.)
    pub fn was_forwarded(&self) -> bool {
        self.raw().add_to_branch_len > 0
    }

    /// Its request URI.
    pub fn request_uri(&self) -> &[u8] {
        // SAFETY: the text belongs to the message.
        unsafe { text::bytes(*ffi::shim_ruri(self.0.as_ptr())) }
    }

    /// Whether the script handles it in a failure route.
    pub fn is_in_failure_route(&self) -> bool {
        // SAFETY: reads a word of the process.
        let route = unsafe { ffi::shim_route_type() };
        u32::try_from(route).is_ok_and(|route| route & ffi::FAILURE_ROUTE != 0)
    }

    /// Whether the script has set this flag of it. In a failure route those that the request had when it was sent on.
    pub fn has_flag(&self, flag: u32) -> bool {
        1u32.checked_shl(flag).is_some_and(|bit| self.raw().flags & bit != 0)
    }

    /// Transport by which it came, as the host numbers them.
    pub fn transport(&self) -> u16 {
        self.raw().rcv.proto as u16
    }

    /// The local socket that it came to.
    pub fn came_to(&self) -> Option<Foreign> {
        NonNull::new(self.raw().rcv.bind_address).map(|socket| Foreign(socket.cast()))
    }

    pub(super) fn as_ptr(&self) -> *mut ffi::sip_msg {
        self.0.as_ptr()
    }
}

/// The number of a flag that the configuration has given a name (`flags NAME:number`).
pub fn flag_number(name: &[u8]) -> Option<u32> {
    let name = text::lent(name);
    // SAFETY: the host only reads the name, of this length.
    let number = unsafe { ffi::get_flag_no(name.s, name.len) };
    u32::try_from(number).ok()
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
