//! Event routes of the configuration, and the function that stands for them in a script of another language.

use super::{ffi, log, text};
use core::ffi::{CStr, c_int};
use std::ffi::CString;

/// A kind of event that scripts may handle.
pub enum Handler {
    /// `event_route[…]`, by its place among the event routes.
    Route(c_int),
    /// The function of this name, which gets the event's name. Interpreters read it up to a zero, whatever its length.
    Function(CString),
}

impl Handler {
    /// The handler of an event: the function if one is named, else the event route if the configuration has one. After the
    /// configuration is read.
    pub fn find(event: &CStr, function: &[u8]) -> Option<Self> {
        if !function.is_empty() {
            return CString::new(function).ok().map(Self::Function);
        }
        // SAFETY: a text with an end, which the host only reads.
        let place = unsafe { ffi::route_lookup(&raw mut ffi::event_rt, event.as_ptr().cast_mut()) };
        // SAFETY: a place among the host's event routes.
        let is_there = place >= 0 && unsafe { !(*ffi::event_rt.rlist.add(place as usize)).is_null() };
        is_there.then_some(Self::Route(place))
    }

    /// Runs it with a request made up for the purpose, whose request URI and destination URI are `uri`. False if the host
    /// cannot, or the URI makes no request.
    ///
    /// What is attached to the request is freed with it. AVPs and XAVPs belong to what the process is working on (a transaction, a
    /// message); if it is working on nothing, call [`forget`].
    pub fn run(&self, event: &CStr, uri: &[u8]) -> bool {
        let mut text = request(uri);
        // SAFETY: a struct of numbers and addresses, for which zero is the empty value that the host starts from too.
        let mut msg: ffi::sip_msg = unsafe { core::mem::zeroed() };
        msg.buf = text.as_mut_ptr().cast();
        // The last byte is an end for those that look for one.
        msg.len = (text.len() - 1) as _;
        // SAFETY: the text lives, and stays in its place, for longer than the message; what was parsed is given back.
        unsafe {
            let parsed = ffi::parse_msg(msg.buf, msg.len as _, &raw mut msg) == 0;
            if parsed {
                // As the host's own made-up messages.
                msg.rcv.proto = ffi::PROTO_UDP as _;
                (msg.rcv.src_port, msg.rcv.dst_port) = (SIP_PORT, SIP_PORT);
                (msg.rcv.src_ip, msg.rcv.dst_ip) = (localhost(), localhost());
                msg.id = ffi::inc_msg_no();
                msg.pid = libc::getpid();
                let uri = text::lent(uri);
                ffi::set_dst_uri(&raw mut msg, &raw const uri);
                self.run_with(event, &raw mut msg);
            }
            ffi::free_sip_msg(&raw mut msg);
            parsed
        }
    }

    /// # Safety
    /// `msg` is a parsed message of ours.
    unsafe fn run_with(&self, event: &CStr, msg: *mut ffi::sip_msg) {
        // SAFETY: the host's own steps for an event route; a context of zeros is the one that it starts from.
        unsafe {
            let kept_type = ffi::route_type;
            ffi::route_type = ffi::REQUEST_ROUTE as c_int;
            let mut context: ffi::run_act_ctx = core::mem::zeroed();
            match self {
                Self::Route(place) => {
                    let actions = *ffi::event_rt.rlist.add(*place as usize);
                    ffi::run_top_route(actions, msg, &raw mut context);
                }
                Self::Function(name) => run_function(name, event, msg, &raw mut context),
            }
            ffi::route_type = kept_type;
        }
    }
}

/// # Safety
/// As for [`Handler::run_with`].
unsafe fn run_function(name: &CStr, event: &CStr, msg: *mut ffi::sip_msg, context: *mut ffi::run_act_ctx) {
    let (mut name, mut event) = (text::lent(name.to_bytes()), text::lent(event.to_bytes()));
    // SAFETY: the host's own steps for a function of an embedded language.
    unsafe {
        let engine = ffi::sr_kemi_eng_get();
        if engine.is_null() {
            return;
        }
        let kept = ffi::sr_kemi_act_ctx_get();
        ffi::sr_kemi_act_ctx_set(context);
        let route = ffi::EVENT_ROUTE as c_int;
        if ffi::sr_kemi_route(engine, msg, route, &raw mut name, &raw mut event) < 0 {
            log::error(format_args!("event_callback: the function failed"));
        }
        ffi::sr_kemi_act_ctx_set(kept);
    }
}

/// The port of SIP (RFC 3261 section 19.1.2).
const SIP_PORT: u16 = 5060;

fn localhost() -> ffi::ip_addr {
    // SAFETY: zero is a valid value of this struct of numbers.
    let mut ip: ffi::ip_addr = unsafe { core::mem::zeroed() };
    (ip.af, ip.len) = (libc::AF_INET as _, 4);
    ip.u.addr = [0; 16];
    // SAFETY: bytes in network order, whichever member is written.
    unsafe { ip.u.addr.iter_mut().zip([127, 0, 0, 1]).for_each(|(to, from)| *to = from) };
    ip
}

/// An OPTIONS to this URI, with a zero behind its end.
fn request(uri: &[u8]) -> Vec<u8> {
    let headers = b"Via: SIP/2.0/UDP 127.0.0.1;branch=z9hG4bK0\r\nFrom: <sip:dispatcher@localhost>;tag=0\r\n\
        Call-ID: 0\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n\0";
    [b"OPTIONS ", uri, b" SIP/2.0\r\nTo: <", uri, b">\r\n", headers].concat()
}

/// Frees what event routes left in this process: AVPs and XAVPs. Only in a process that handles no message.
pub fn forget() {
    // SAFETY: no preconditions but that.
    unsafe { ffi::ksr_msg_env_reset() };
}
