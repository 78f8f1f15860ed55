//! Requests of our own, through the server's transaction module.

use super::attached::has_transaction;
use super::message::Message;
use super::{ffi, guard::guard, text};
use crate::shm::Foreign;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use std::sync::OnceLock;

/// How a transaction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A final reply from the network: code and reason phrase.
    Reply(u16, &'a [u8]),
    /// None came in time.
    NoReply,
}

/// What the host did with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Handed {
    /// It is on its way.
    Sent,
    /// The script dropped it (`event_route[tm:local-request]`, or its function in another language): there is no
    /// transaction, and nothing comes back.
    Dropped,
    /// The host cannot send it; a callback that comes after that is to be ignored.
    NotSent,
}

/// Called with the end of the transaction that has this word, in any process.
pub type Done = fn(u64, Outcome<'_>);

struct Api {
    binds: ffi::tm_binds,
    done: Done,
}

// SAFETY: addresses of functions, filled in before the fork.
unsafe impl Send for Api {}
// SAFETY: as above.
unsafe impl Sync for Api {}

static API: OnceLock<Api> = OnceLock::new();

/// Whether the transaction module is loaded, before or after this one.
pub fn is_loaded() -> bool {
    // SAFETY: the host only looks its tables up.
    unsafe { ffi::shim_has_tm() != 0 }
}

/// Its functions, for other parts of this boundary.
pub(super) fn binds() -> Option<&'static ffi::tm_binds> {
    API.get().map(|api| &api.binds)
}

/// Gets the transaction module's functions; `done` is told of every end of a request of our own. Once, before the fork, when
/// all modules are initialised.
pub fn load(done: Done) -> Result<(), &'static str> {
    // SAFETY: a struct of addresses, for which zero is none.
    let mut binds: ffi::tm_binds = unsafe { core::mem::zeroed() };
    // SAFETY: the struct is ours to fill.
    if unsafe { ffi::shim_load_tm(&raw mut binds) } != 0 {
        return Err("the module tm is not loaded");
    }
    API.set(Api { binds, done }).map_err(|_| "tm is loaded twice")
}

/// Whether the request comes again: there is a transaction for it, though nobody has looked for that yet. Nothing is different after
/// the look.
pub fn is_repeated(request: &Message) -> bool {
    let Some(tm) = binds().filter(|_| !has_transaction()) else { return false };
    let (Some(look_up), Some(get), Some(set), Some(let_go)) =
        (tm.t_lookup_request, tm.t_gett, tm.t_sett, tm.unref_cell)
    else {
        return false;
    };
    let mut cancel = 0;
    // SAFETY: the message is valid. The look-up makes what it finds the current transaction and holds it; what was current before, which is
    // none, is current again after that, and what was held is let go.
    unsafe {
        let before = get();
        let found = look_up(request.as_ptr(), 0, &raw mut cancel) > 0;
        let cell = get();
        set(before, NO_BRANCH);
        if found {
            let_go(cell);
        }
        found
    }
}

/// As the host says that it is on no branch.
const NO_BRANCH: c_int = -1;

/// A request outside any dialog.
pub struct Request<'a> {
    /// Its method.
    pub method: &'a [u8],
    /// Request URI and To.
    pub uri: &'a [u8],
    /// From.
    pub from: &'a [u8],
    /// Where it goes; empty is where its URI says.
    pub next_hop: &'a [u8],
    /// The local socket to send it from.
    pub socket: Option<Foreign>,
}

/// The word of the request that this process has sent last.
static SENT: AtomicU64 = AtomicU64::new(0);

/// Sends a request. `word` is not 0 and comes back with its end.
pub fn send(request: &Request<'_>, word: u64) -> Handed {
    let Some(send) = API.get().and_then(|api| api.binds.t_request) else { return Handed::NotSent };
    let (mut method, mut uri) = (text::lent(request.method), text::lent(request.uri));
    let (mut to, mut from) = (text::lent(request.uri), text::lent(request.from));
    let mut next_hop = text::lent(request.next_hop);
    // An empty text would be read as a URI.
    let next_hop = if next_hop.len > 0 { &raw mut next_hop } else { core::ptr::null_mut() };
    // SAFETY: the socket lives as long as the server, and so does its name.
    let mut socket =
        request.socket.map(|socket| unsafe { socket.0.cast::<ffi::socket_info>().as_ref().sock_str });
    // SAFETY: a struct of addresses and numbers, for which zero is the empty value that the host starts from too.
    let mut uac: ffi::uac_req_t = unsafe { core::mem::zeroed() };
    uac.method = &raw mut method;
    uac.ssock = socket.as_mut().map_or(core::ptr::null_mut(), |socket| &raw mut *socket);
    uac.cb_flags = (ffi::TMCB_LOCAL_COMPLETED | ffi::TMCB_REQUEST_SENT) as _; // signed in older servers
    uac.cb = Some(completed);
    uac.cbp = word as usize as *mut c_void;
    SENT.store(0, Ordering::Relaxed);
    // SAFETY: the host copies all texts before it returns, and keeps only the callback's address and the word.
    let answer = unsafe { send(&raw mut uac, &raw mut uri, &raw mut to, &raw mut from, next_hop) };
    // The host takes a request even when it cannot send it (a refused connection, say), and would tell only when its time
    // is over. That it was sent comes back before `send` returns.
    match answer {
        0 => Handed::Dropped,
        1.. if SENT.load(Ordering::Relaxed) == word => Handed::Sent,
        _ => Handed::NotSent,
    }
}

const _: () = assert!(size_of::<usize>() == 8, "a ticket passes through a pointer");

unsafe extern "C" fn completed(_: *mut ffi::cell, what: c_int, params: *mut ffi::tmcb_params) {
    guard((), || {
        // SAFETY: null or the host's, for the time of the call.
        let Some(params) = (unsafe { params.as_ref() }) else { return };
        // SAFETY: `send` gave the word; the host hands out where it keeps it.
        let Some(word) = (unsafe { params.param.as_ref() }) else { return };
        if what & ffi::TMCB_REQUEST_SENT as c_int != 0 {
            return SENT.store(*word as usize as u64, Ordering::Relaxed);
        }
        let Some(api) = API.get() else { return };
        // SAFETY: the shim only compares the pointer.
        let made_up = params.rpl.is_null() || unsafe { ffi::shim_is_faked_reply(params.rpl) } != 0;
        let outcome = if made_up {
            Outcome::NoReply
        } else {
            // SAFETY: a reply, whose first line the host has read.
            let reason = unsafe { text::bytes((*params.rpl).first_line.u.reply.reason) };
            Outcome::Reply(u16::try_from(params.code).unwrap_or(0), reason)
        };
        (api.done)(*word as usize as u64, outcome);
    });
}
