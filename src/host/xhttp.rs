//! HTTP requests and their answers, through the server's module `xhttp`.
//!
//! The answer to HEAD has the headers of that to GET, with its `Content-Length`, and no body (RFC 9110 sections 8.6 and 9.3.2). The
//! host writes that header from the body. So it gets the whole answer, and the module `sl`, which sends it, calls us before: there
//! the body is cut off.

use super::message::Message;
use super::{ffi, guard::guard, text};
use core::ffi::c_int;
use core::ptr::null_mut;
use core::sync::atomic::{AtomicI32, Ordering};
use std::sync::OnceLock;

static API: OnceLock<ffi::xhttp_api_t> = OnceLock::new();

/// Gets the functions of `xhttp`, if that is loaded. Once, in `mod_init`.
pub fn load() {
    let mut api = ffi::xhttp_api_t { reply: None };
    // SAFETY: the struct is ours to fill.
    if unsafe { ffi::shim_bind_xhttp(&raw mut api) } >= 0 {
        // A second call would find the same.
        let _ = API.set(api);
    }
}

/// The HTTP request at hand.
pub struct Request<'a>(&'a Message);

impl<'a> Request<'a> {
    /// If the message is one.
    pub fn of(msg: &'a Message) -> Option<Self> {
        // SAFETY: a valid message.
        let is_http = unsafe { ffi::shim_is_http(msg.as_ptr()) } != 0;
        is_http.then_some(Self(msg))
    }

    /// Its method.
    pub fn method(&self) -> &'a [u8] {
        // SAFETY: the host tags the union with the type, which is that of a request; the text belongs to the message.
        unsafe { text::bytes(self.0.raw().first_line.u.request.method) }
    }

    /// Its path, with the query.
    pub fn uri(&self) -> &'a [u8] {
        self.0.request_uri()
    }

    /// The first header of this name.
    pub fn header(&self, name: &[u8]) -> Option<&'a [u8]> {
        const ALL: u64 = u64::MAX;
        // SAFETY: the message is valid; parsing fills its header list, to which no reference is held here. Where a header cannot be
        // read those before it are there.
        unsafe { ffi::parse_headers(self.0.as_ptr(), ALL as _, 0) };
        let mut next = self.0.raw().headers;
        // SAFETY: null, or a header in the list of the message.
        while let Some(header) = unsafe { next.as_ref() } {
            // SAFETY: texts of the message.
            let (its_name, body) = unsafe { (text::bytes(header.name), text::bytes(header.body)) };
            if its_name.eq_ignore_ascii_case(name) {
                return Some(body);
            }
            next = header.next;
        }
        None
    }
}

/// An answer.
pub struct Answer<'a> {
    /// Status code and reason phrase.
    pub status: (u16, &'a str),
    /// The media type of the body.
    pub kind: &'a str,
    /// More headers, each a line with its end.
    pub headers: &'a str,
    /// The body.
    pub body: &'a [u8],
}

/// Bytes at the end of the answer that this process is about to send which are not sent: the body, where HEAD was asked.
static CUT: AtomicI32 = AtomicI32::new(0);

/// Whether `sl` calls us in this process before it sends.
fn can_cut() -> bool {
    static CALLS: OnceLock<bool> = OnceLock::new();
    *CALLS.get_or_init(|| {
        // SAFETY: zeros are no functions.
        let mut api: ffi::sl_api_t = unsafe { core::mem::zeroed() };
        // SAFETY: the struct is ours to fill.
        let bound = unsafe { ffi::shim_bind_sl(&raw mut api) } >= 0;
        let Some(register) = api.register_cb.filter(|_| bound) else { return false };
        let mut callback = ffi::sl_cbelem_t {
            type_: ffi::SLCB_REPLY_READY,
            cbf: Some(ready),
            cbp: null_mut(),
            next: null_mut(),
        };
        // SAFETY: the host copies the struct into a list of this process.
        unsafe { register(&raw mut callback) >= 0 }
    })
}

unsafe extern "C" fn ready(what: *mut ffi::sl_cbp_t) {
    guard((), || {
        let cut = CUT.swap(0, Ordering::Relaxed);
        // SAFETY: the host's, for the time of the call. It frees the text by its address, which stays.
        let reply = unsafe { what.as_ref().and_then(|what| what.reply.as_mut()) };
        reply.into_iter().for_each(|reply| reply.len = (reply.len - cut).max(0));
    });
}

/// Answers the request at hand, without the body if that is a HEAD; false if `xhttp` is not loaded or cannot.
pub fn reply(msg: &mut Message, answer: &Answer<'_>) -> bool {
    let Some(reply) = API.get().and_then(|api| api.reply) else { return false };
    let (code, reason) = answer.status;
    if !answer.headers.is_empty() {
        // `xhttp` has no argument for headers: the host adds what hangs at the request to its reply.
        let headers = text::lent(answer.headers.as_bytes());
        // SAFETY: the host copies the text.
        let added =
            unsafe { ffi::add_lump_rpl2(msg.as_ptr(), headers.s, headers.len, ffi::LUMP_RPL_HDR as c_int) };
        if added.is_null() {
            return false;
        }
    }
    let mut reason = text::lent(reason.as_bytes());
    let is_head = Request::of(msg).is_some_and(|request| request.method() == b"HEAD");
    let is_cut = is_head && can_cut();
    // Without memory for the callback Content-Length is 0.
    let body = if is_head && !is_cut { &[] } else { answer.body };
    let (mut kind, mut body) = (text::lent(answer.kind.as_bytes()), text::lent(body));
    if is_cut {
        CUT.store(body.len, Ordering::Relaxed);
    }
    // SAFETY: the host only reads the texts, and copies what it keeps.
    let sent =
        unsafe { reply(msg.as_ptr(), code.into(), &raw mut reason, &raw mut kind, &raw mut body) >= 0 };
    // Where it was not sent.
    CUT.store(0, Ordering::Relaxed);
    sent
}
