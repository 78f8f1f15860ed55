//! The socket that a request is sent from: what a destination names is undone when the request goes on to one that names none,
//! what the script has set stays.
//!
//! Model: whoever sets a socket notes it with the script's own one, which it hides. A socket that is found in the message and
//! was noted is not the script's: the one that it hides is.
//!
//! Timeline: what is noted while a request comes in is kept in the transaction, as an xavp, because tm keeps the message as it
//! was relayed and gives a copy of it to each failure route, in any process. What is noted in a failure route ends with the
//! copy, and is kept in the process until the next route of its kind begins.
//!
//! Not here: which socket a destination wants.

use crate::host::{ffi, guard::guard, message::Message, text, uri, xavp};
use crate::shm::Foreign;
use core::ffi::{c_int, c_uint, c_void};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicBool, Ordering};
use parking_lot::Mutex;

/// The xavp of a transaction: a text each time, the socket that was set and the script's own one behind it. The last comes
/// first.
const NOTES: &[u8] = b"_dsfs_";

/// A socket that was set, and the script's own one.
#[derive(Debug, Clone, Copy)]
struct Note {
    set: Foreign,
    own: Option<Foreign>,
}

/// The notes of the failure route that runs in this process.
static LOCAL: Local = Local { any: AtomicBool::new(false), notes: Mutex::new(Vec::new()) };

/// Notes of a process. Nearly always there are none, which is known without the lock: each selection and each route asks.
struct Local {
    any: AtomicBool,
    notes: Mutex<Vec<Note>>,
}

impl Local {
    fn is_empty(&self) -> bool {
        !self.any.load(Ordering::Relaxed)
    }

    fn put(&self, note: Note) {
        self.notes.lock().push(note);
        self.any.store(true, Ordering::Relaxed);
    }

    /// The last one that fits.
    fn last(&self, fits: impl Fn(&Note) -> bool) -> Option<Note> {
        if self.is_empty() {
            return None;
        }
        self.notes.lock().iter().rev().find(|note| fits(note)).copied()
    }

    fn clear(&self) {
        if !self.is_empty() {
            self.notes.lock().clear();
            self.any.store(false, Ordering::Relaxed);
        }
    }
}

/// Learns when routes begin. Once, before the fork.
pub fn watch() -> Result<(), &'static str> {
    let when = ffi::PRE_SCRIPT_CB | ffi::REQUEST_CB | ffi::FAILURE_CB | ffi::BRANCH_FAILURE_CB;
    // SAFETY: an address of a function, which lives as long as the process.
    let done = unsafe { ffi::register_script_cb(Some(begins), when, null_mut()) };
    if done < 0 { Err("the host takes no callback for routes") } else { Ok(()) }
}

unsafe extern "C" fn begins(_: *mut ffi::sip_msg, _: c_uint, _: *mut c_void) -> c_int {
    guard((), || LOCAL.clear());
    1 // the route runs
}

/// The name of a socket, `proto:address:port`.
fn name(socket: Foreign) -> &'static [u8] {
    // SAFETY: a socket lives as long as the server, and so does its name.
    unsafe { text::bytes(socket.0.cast::<ffi::socket_info>().as_ref().sock_str) }
}

/// Whether the route that runs is that of a request which comes in, and no failure of it.
fn comes_in() -> bool {
    // SAFETY: reads a word of the process.
    let route = unsafe { ffi::shim_route_type() };
    u32::try_from(route).is_ok_and(|route| route == ffi::REQUEST_ROUTE)
}

impl Message {
    /// The socket for a request to `uri` that goes to a destination without one, if the host is not to choose.
    pub(in crate::host) fn socket_for(&self, uri: &[u8]) -> Option<Foreign> {
        if self.was_never_set() {
            return None;
        }
        self.undone(self.own_socket(), uri)
    }

    /// The script's own socket. Where it has none and a failure is handled, the one that the host would have chosen when the
    /// request came in: left alone it takes the one on which the failure came in, which is that of the destination that
    /// failed. (Only for UDP, and not with `mhomed`.)
    fn undone(&self, own: Option<Foreign>, uri: &[u8]) -> Option<Foreign> {
        let left_alone = own.is_some() || comes_in() || !has_notes() || !goes_by_udp(uri);
        // SAFETY: a setting of the server.
        if left_alone || unsafe { ffi::mhomed } != 0 {
            return own;
        }
        let host = uri::parse(uri).and_then(|parsed| uri.get(parsed.host)).and_then(uri::literal);
        let came_to = NonNull::new(self.raw().rcv.bind_address);
        let by_udp = came_to.filter(|socket| {
            // SAFETY: a socket lives as long as the server.
            let socket = unsafe { socket.as_ref() };
            let reaches =
                host.is_none_or(|host| host.is_ipv6() == (socket.address.af == libc::AF_INET6 as c_uint));
            socket.proto == ffi::PROTO_UDP as _ && reaches
        });
        // SAFETY: settings of the server.
        let (four, six) = unsafe { (ffi::sendipv4, ffi::sendipv6) };
        let usual = || NonNull::new(if host.is_some_and(|host| host.is_ipv6()) { six } else { four });
        by_udp.or_else(usual).map(|socket| Foreign(socket.cast()))
    }

    /// Whether nobody has set a socket for the request, which comes in.
    fn was_never_set(&self) -> bool {
        self.raw().force_send_socket.is_null() && LOCAL.is_empty() && comes_in()
    }

    /// The socket that the script has chosen for the request, if it has.
    fn own_socket(&self) -> Option<Foreign> {
        let now = NonNull::new(self.raw().force_send_socket).map(|socket| Foreign(socket.cast()));
        if let Some(note) = LOCAL.last(|note| now.is_none_or(|now| note.set == now)) {
            return note.own;
        }
        if now.is_none() && comes_in() {
            return None;
        }
        // Without one in a failure route the message is of before the selections (`t_newtran`): the last note knows more.
        let hides = |note: &[u8]| {
            let mut names = note.splitn(2, |&byte| byte == b' ');
            let own =
                names.next().filter(|set| now.is_none_or(|now| *set == name(now))).map(|_| names.next());
            own.map(|own| own.and_then(uri::socket_by_address))
        };
        xavp::find_text(NOTES, hides).unwrap_or(now)
    }

    /// Sends the request to `uri` from this socket, or without one as if the module had never set any. False if the host has no
    /// memory to note it.
    pub(in crate::host) fn send_from(&mut self, socket: Option<Foreign>, uri: &[u8]) -> bool {
        if socket.is_none() && self.was_never_set() {
            return true;
        }
        let own = self.own_socket();
        let named = socket.is_some();
        let socket = socket.or_else(|| self.undone(own, uri));
        if let Some(set) = socket.filter(|_| named || socket != own) {
            if !note(Note { set, own }) {
                return false;
            }
        }
        let socket = socket.map_or(null_mut(), |socket| socket.0.as_ptr().cast());
        // SAFETY: the message is ours for the time of the call; the socket lives as long as the server.
        unsafe { (*self.as_ptr()).force_send_socket = socket };
        true
    }
}

/// Whether the module has set a socket for the request before.
fn has_notes() -> bool {
    !LOCAL.is_empty() || xavp::find_text(NOTES, |_| Some(())).is_some()
}

/// Whether a request to this URI goes by UDP, as far as the URI says.
fn goes_by_udp(uri: &[u8]) -> bool {
    let secure = uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"));
    let proto = uri::parse(uri).map_or(0, |parsed| parsed.proto);
    !secure && (proto == 0 || u32::from(proto) == ffi::PROTO_UDP)
}

fn note(note: Note) -> bool {
    if !comes_in() {
        LOCAL.put(note);
        return true;
    }
    let own = note.own.map_or(&[][..], name);
    let gap: &[u8] = if own.is_empty() { b"" } else { b" " };
    let text = [name(note.set), gap, own].concat();
    let there = xavp::find_text(NOTES, |last| Some(last == text));
    there == Some(true) || xavp::add_text(NOTES, &text).is_ok()
}
