//! The transactions of calls that count: on which branches their requests go out, and when they are gone.
//!
//! Model: [`watch`] puts one callback on the transaction of the request at hand, which the host calls for each branch
//! that it makes, each time that it sends one, and once before the transaction is freed. The word that comes with a callback
//! is ours: a bit for each branch that does not matter, and a record that the caller chose.
//!
//! A branch that DNS failover adds shares its name with an earlier one, and goes where that went.

use super::message::{self, Message};
use super::{ffi, guard::guard, process, text, tm};
use core::ffi::{c_int, c_uint, c_void};
use core::net::SocketAddr;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::OnceLock;

/// A transaction, as the host names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction {
    /// Its place in the host's table.
    pub index: u32,
    /// Its number at that place.
    pub label: u32,
}

/// A branch of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch {
    /// The transaction.
    pub transaction: Transaction,
    /// Its number, from 0.
    pub number: u16,
}

/// How a branch stands: its number, the status that it has, and whether a provisional reply came.
pub type Outcome = (u16, u16, bool);

/// Who is told.
pub struct Watcher {
    /// A branch is about to be sent. False if its further events are not needed.
    pub sent: fn(&Sent<'_>) -> bool,
    /// A branch was sent that has the name of an earlier one which matters: DNS failover may have added it.
    pub sent_on: fn(&SentOn<'_>),
    /// A transaction is about to be freed.
    pub ended: fn(&Ended<'_>),
}

/// Who is told of failures and CANCELs, and of what happens inside dialogs, too.
pub struct Follower {
    /// All branches have failed so far, or the caller was refused.
    pub failed: fn(&Ended<'_>),
    /// The host acts on a CANCEL of the caller for this transaction.
    pub cancelled: fn(&Ended<'_>),
    /// Whether it matters that nobody answers this request, which begins a transaction.
    pub matters: fn(&Message) -> bool,
    /// Nobody has answered it.
    pub timed_out: fn(&Message),
    /// The host makes a request of its own (a BYE, say).
    pub made: fn(&Message),
}

static WATCHER: OnceLock<Watcher> = OnceLock::new();
static FOLLOWER: OnceLock<Follower> = OnceLock::new();

/// Sets the callbacks. Once, before the fork.
pub fn tell(watcher: Watcher) -> Result<(), &'static str> {
    WATCHER.set(watcher).map_err(|_| "transactions are watched twice")
}

/// Has this told as well. Once, before the fork, when `tm` is loaded.
pub fn follow(follower: Follower) -> Result<(), &'static str> {
    FOLLOWER.set(follower).map_err(|_| "transactions are followed twice")?;
    let Some(register) = tm::binds().and_then(|tm| tm.register_tmcb) else { return Ok(()) };
    let begins: [(_, Callback); 2] = [(ffi::TMCB_LOCAL_REQUEST_IN, made), (ffi::TMCB_REQUEST_IN, begun)];
    for (types, callback) in begins {
        // SAFETY: before the fork, as the host wants it for these types; it keeps the address of the callback only.
        let done =
            unsafe { register(null_mut(), null_mut(), types as c_int, Some(callback), null_mut(), None) };
        if done < 0 {
            return Err("the host has no memory for a callback");
        }
    }
    Ok(())
}

/// A branch that is about to be sent. The branch route has run; sending may still fail.
pub struct Sent<'a> {
    /// The request, with the request URI and destination URI of the branch.
    pub request: Message,
    /// The branch.
    pub branch: Branch,
    /// The record that was given to [`watch`], or that was noted since.
    pub noted: Option<u32>,
    /// Where it goes, if the script said that to the function which sends (`t_relay_to`, say), and not by a URI.
    pub address: Option<SocketAddr>,
    cell: Cell,
    word: &'a AtomicUsize,
}

impl Sent<'_> {
    /// Whether the branch of this number has failed: refused, or not answered in time.
    pub fn has_failed(&self, branch: u16) -> bool {
        self.cell.has_failed(branch)
    }

    /// How the branches so far stand.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.cell.outcomes()
    }

    /// Notes a record for the branches to come.
    pub fn note(&self, record: u32) {
        let keep = |word: usize| Some(word & OTHERS | packed(record));
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
    }
}

/// A branch that DNS failover may have added.
pub struct SentOn<'a> {
    /// The request of the transaction.
    pub request: Request<'a>,
    /// The branch.
    pub branch: Branch,
    /// The branch that has the same name.
    pub earlier: Branch,
    /// As in [`Sent`].
    pub noted: Option<u32>,
}

/// What identifies the request of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its Call-ID.
    pub call_id: &'a [u8],
    /// The number of its CSeq, as written.
    pub cseq_number: &'a [u8],
    /// The tag of its From; empty where it has none.
    pub from_tag: &'a [u8],
}

/// A transaction that is about to be freed.
pub struct Ended<'a> {
    /// Its request.
    pub request: Request<'a>,
    /// The transaction.
    pub transaction: Transaction,
    cell: Cell,
}

impl Ended<'_> {
    /// Whether a 2xx came on the branch of this number.
    pub fn was_answered(&self, branch: u16) -> bool {
        branch < self.cell.branches() && (200..300).contains(&self.cell.status(branch))
    }

    /// How its branches stand.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome> {
        self.cell.outcomes()
    }
}

/// The word of a callback: low half a bit for each branch that does not matter, high half a record and one.
const OTHERS: usize = 0xFFFF_FFFF;

const _: () = assert!(size_of::<usize>() == 8, "the word of a callback holds a record and the branches");

/// Branches that it has a bit for: more than the host makes.
const MOST: u16 = 32;

fn packed(record: u32) -> usize {
    (record as usize + 1) << 32
}

fn noted(word: usize) -> Option<u32> {
    u32::try_from(word >> 32).ok().and_then(|record| record.checked_sub(1))
}

/// What the host calls.
pub(super) type Callback = unsafe extern "C" fn(*mut ffi::cell, c_int, *mut ffi::tmcb_params);

/// The host's transaction.
#[derive(Clone, Copy)]
pub(super) struct Cell(NonNull<ffi::cell>);

impl Cell {
    /// That of the message at hand, if it has one.
    pub(super) fn current() -> Option<Self> {
        let get = tm::binds()?.t_gett?;
        // SAFETY: no preconditions; the shim only compares the pointer.
        let cell = unsafe { ffi::shim_tm_known(get()) };
        NonNull::new(cell).map(Self)
    }

    fn transaction(self) -> Transaction {
        let (mut index, mut label): (c_uint, c_uint) = (0, 0);
        // SAFETY: a live transaction: the current one, or that of a callback. As in all functions below.
        unsafe { ffi::shim_tm_identity(self.0.as_ptr(), &raw mut index, &raw mut label) };
        Transaction { index, label }
    }

    /// The word of our callback, if there is one.
    fn word(&self) -> Option<&AtomicUsize> {
        self.word_of(called)
    }

    /// The word of a callback of ours, if it is registered.
    pub(super) fn word_of(&self, callback: Callback) -> Option<&AtomicUsize> {
        // SAFETY: as above. The word is aligned, lives as long as the transaction, and only we use it.
        unsafe { ffi::shim_tm_word(self.0.as_ptr(), Some(callback)).cast::<AtomicUsize>().as_ref() }
    }

    /// The one that the host calls a callback for.
    pub(super) fn of_callback(cell: *mut ffi::cell) -> Option<Self> {
        NonNull::new(cell).map(Self)
    }

    pub(super) fn as_ptr(self) -> *mut ffi::cell {
        self.0.as_ptr()
    }

    pub(super) fn branches(self) -> u16 {
        // SAFETY: as above.
        unsafe { ffi::shim_tm_branches(self.0.as_ptr()) }.try_into().unwrap_or(0)
    }

    /// The branch on which the reply at hand came.
    pub(super) fn current_branch(self) -> Option<u16> {
        // SAFETY: no preconditions; the host keeps the number with the current transaction.
        u16::try_from(unsafe { tm::binds()?.t_gett_branch?() }).ok()
    }

    /// Whether it has a branch, besides those that stand for a suspended request.
    fn has_tried(self) -> bool {
        // SAFETY: as above.
        unsafe { ffi::shim_tm_has_tried(self.0.as_ptr()) != 0 }
    }

    fn has_failed(self, branch: u16) -> bool {
        branch < self.branches() && self.status(branch) >= 300
    }

    pub(super) fn status(self, branch: u16) -> c_int {
        // SAFETY: as above; the branch exists.
        unsafe { ffi::shim_tm_status(self.0.as_ptr(), branch.into()) }
    }

    /// Whether a provisional reply came on this branch.
    fn was_heard(self, branch: u16) -> bool {
        // SAFETY: as above; the branch exists.
        unsafe { ffi::shim_tm_was_heard(self.0.as_ptr(), branch.into()) != 0 }
    }

    fn outcomes(self) -> impl Iterator<Item = Outcome> {
        let outcome = move |branch| {
            let status = u16::try_from(self.status(branch)).unwrap_or(0);
            (branch, status, self.was_heard(branch))
        };
        (0..self.branches()).map(outcome)
    }

    /// Where this branch goes, if the host has noted that before it made the request.
    pub(super) fn address(self, branch: u16) -> Option<SocketAddr> {
        // SAFETY: a struct of numbers, for which zero is a value.
        let mut ip: ffi::ip_addr = unsafe { core::mem::zeroed() };
        // SAFETY: as above; the host has room for one more branch than there are. It fills the address in.
        let port = unsafe { ffi::shim_tm_address(self.0.as_ptr(), branch.into(), &raw mut ip) };
        Some(SocketAddr::new(message::address(&ip)?, u16::try_from(port).ok()?))
    }

    /// The last branch before this one that shares its name: that for which DNS failover added it.
    pub(super) fn earlier(self, branch: u16) -> Option<u16> {
        let same = |other: u16| {
            // SAFETY: as above; the host has room for one more branch than there are.
            unsafe { ffi::shim_tm_same_name(self.0.as_ptr(), branch.into(), other.into()) != 0 }
        };
        (0..branch).rev().find(|other| same(*other))
    }

    /// # Safety
    /// The transaction lives for `'a`.
    unsafe fn request<'a>(self) -> Request<'a> {
        // SAFETY: the caller's promise; texts of the transaction's own copy of its request.
        unsafe {
            Request {
                call_id: text::bytes(ffi::shim_tm_call_id(self.0.as_ptr())).trim_ascii(),
                cseq_number: text::bytes(ffi::shim_tm_cseq_number(self.0.as_ptr())),
                from_tag: text::bytes(ffi::shim_tm_from_tag(self.0.as_ptr())),
            }
        }
    }
}

/// How a reply belongs to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply<'a> {
    /// There is none.
    None,
    /// It came in one that is not watched.
    Unwatched,
    /// It came on this branch of one that is, which has this request. (In the reply, a host that counts for a user agent may have put
    /// another CSeq number.)
    On(Branch, Request<'a>),
}

/// The reply in this process for which this module, not `tm`, looked up the transaction.
static LOOKED_UP: AtomicU32 = AtomicU32::new(0);

/// The transaction and branch on which the reply at hand came.
pub fn of_reply(reply: &Message) -> Reply<'_> {
    let mut branch: c_int = -1;
    if Cell::current().is_none() {
        LOOKED_UP.store(reply.id(), Ordering::Relaxed);
    }
    let Some(check) = tm::binds().and_then(|tm| tm.t_check) else { return Reply::None };
    // SAFETY: the message is valid. The host looks each message up once, and keeps what it finds until it has dealt with it.
    if unsafe { check(reply.as_ptr(), &raw mut branch) } < 1 {
        return Reply::None;
    }
    let Some(cell) = Cell::current() else { return Reply::None };
    match u16::try_from(branch) {
        Ok(branch) if cell.word().is_some() && branch < cell.branches() => {
            // SAFETY: the host keeps the transaction until it has dealt with the reply.
            let request = unsafe { cell.request() };
            Reply::On(Branch { transaction: cell.transaction(), number: branch }, request)
        }
        _ => Reply::Unwatched,
    }
}

/// The number of the branch on which a reply came that belongs to no transaction, where the host leaves those out that it has answered: by
/// the Via that the host has written (`branch=z9hG4bK<hash>.<text>.<number>`, the number in hexadecimal digits).
pub fn late_branch(reply: &Message) -> Option<u16> {
    let digits =
        reply.via_branch().filter(|_| cfg!(tm_forgets_answered))?.rsplit(|byte| *byte == b'.').next()?;
    u16::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok().filter(|number| *number < MOST)
}

/// The script for a reply has ended. The look-up holds a reference to the transaction, which `tm` releases when it has handled the
/// reply. If the script dropped the reply, it is released here.
pub(super) fn let_go(reply: &Message) {
    let ours = LOOKED_UP.swap(0, Ordering::Relaxed) == reply.id();
    if let (true, Some(unref)) = (ours && Cell::current().is_some(), tm::binds().and_then(|tm| tm.t_unref)) {
        // SAFETY: the message is valid, and the transaction is held for it.
        unsafe { unref(reply.as_ptr()) };
    }
}

/// The transaction whose branches have all failed, if the script handles that.
pub fn failed(request: &Message) -> Option<Transaction> {
    // A route that goes on with a suspended request is one for the host, too; nothing has failed there.
    let cell = Cell::current().filter(|cell| request.is_in_failure_route() && cell.has_tried())?;
    Some(cell.transaction())
}

/// Whether the script has suspended the request at hand.
pub fn is_suspended() -> bool {
    // SAFETY: as in `Cell`.
    Cell::current().is_some_and(|cell| unsafe { ffi::shim_tm_is_suspended(cell.0.as_ptr()) } != 0)
}

/// Whether the script continues a suspended request whose transaction is watched.
pub fn is_continued() -> bool {
    // SAFETY: as in `Cell`.
    let continued = |cell: &Cell| unsafe { ffi::shim_tm_is_continued(cell.0.as_ptr()) } != 0;
    Cell::current().filter(continued).is_some_and(|cell| cell.word().is_some())
}

/// How the branches of the current transaction stand.
pub fn outcomes() -> impl Iterator<Item = Outcome> {
    Cell::current().into_iter().flat_map(Cell::outcomes)
}

/// Whether a provisional reply came on this branch of the current transaction.
pub fn was_heard(branch: u16) -> bool {
    Cell::current().is_some_and(|cell| branch < cell.branches() && cell.was_heard(branch))
}

/// Whether the request at hand has a transaction with branches.
pub fn is_relayed() -> bool {
    Cell::current().is_some_and(|cell| cell.branches() > 0)
}

/// Whether the request at hand has a transaction that was told to send it on, though that may have failed.
pub fn has_tried() -> bool {
    Cell::current().is_some_and(Cell::has_tried)
}

/// Whether the request at hand has a transaction that has sent it on.
pub fn has_sent() -> bool {
    has_tried() && Cell::current().is_some_and(|cell| (0..cell.branches()).any(was_sent))
}

/// The transaction of the request at hand.
pub fn current() -> Option<Transaction> {
    Cell::current().map(Cell::transaction)
}

/// Whether the request of this branch of the current transaction was sent.
pub fn was_sent(branch: u16) -> bool {
    let known = Cell::current().filter(|cell| branch < cell.branches());
    // SAFETY: as in `Cell`; the branch exists.
    known.is_some_and(|cell| unsafe { ffi::shim_tm_was_sent(cell.0.as_ptr(), branch.into()) } != 0)
}

/// Why a transaction is not watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unwatched {
    /// The server has no transactions.
    NoTransactions,
    /// It has no memory for the callback.
    NoMemory,
}

/// The request of this process that has a callback, though it has no transaction yet.
static EARLY: AtomicU32 = AtomicU32::new(0);

/// Watches the transaction that the request at hand has, or will have. Once each, however often it is asked for.
pub fn watch(request: &Message, record: u32) -> Result<(), Unwatched> {
    let register = tm::binds().and_then(|tm| tm.register_tmcb).ok_or(Unwatched::NoTransactions)?;
    let watched = match Cell::current() {
        Some(cell) => cell.word().is_some(),
        None => EARLY.load(Ordering::Relaxed) == request.id(),
    };
    if watched {
        return Ok(());
    }
    let followed = match FOLLOWER.get() {
        Some(_) => ffi::TMCB_ON_FAILURE | ffi::TMCB_RESPONSE_SENT | ffi::TMCB_E2ECANCEL_IN,
        None => 0,
    };
    let watched = ffi::TMCB_REQUEST_FWDED | ffi::TMCB_REQUEST_SENT | ffi::TMCB_DESTROY;
    let types = (watched | followed) as c_int;
    let word = packed(record) as *mut c_void;
    // SAFETY: the message is valid. The host keeps the address of the callback and the word, and releases nothing.
    if unsafe { register(request.as_ptr(), null_mut(), types, Some(called), word, None) } < 0 {
        return Err(Unwatched::NoMemory);
    }
    EARLY.store(request.id(), Ordering::Relaxed);
    Ok(())
}

unsafe extern "C" fn called(cell: *mut ffi::cell, what: c_int, params: *mut ffi::tmcb_params) {
    guard((), || {
        if process::is_going_down() {
            // `tm` only frees what it has, before or after us: nothing happens to the calls.
            return;
        }
        let (Some(watcher), Some(cell)) = (WATCHER.get(), NonNull::new(cell).map(Cell)) else { return };
        let is = |event: u32| what & event as c_int != 0;
        let transaction = cell.transaction();
        if is(ffi::TMCB_DESTROY) {
            // SAFETY: it is freed after this.
            let request = unsafe { cell.request() };
            return (watcher.ended)(&Ended { request, transaction, cell });
        }
        // SAFETY: null or the host's, for the time of the call; and where it keeps our word.
        let Some((params, word)) = (unsafe {
            params.as_ref().and_then(|params| Some((params, params.param.cast::<AtomicUsize>().as_ref()?)))
        }) else {
            return;
        };
        if let Some(follower) = FOLLOWER.get() {
            if is(ffi::TMCB_ON_FAILURE | ffi::TMCB_RESPONSE_SENT) {
                if params.code >= 300 {
                    // SAFETY: it lives for the time of the call.
                    let request = unsafe { cell.request() };
                    (follower.failed)(&Ended { request, transaction, cell });
                }
                return;
            }
            if is(ffi::TMCB_E2ECANCEL_IN) {
                // SAFETY: it lives for the time of the call.
                let request = unsafe { cell.request() };
                return (follower.cancelled)(&Ended { request, transaction, cell });
            }
        }
        let matters = |number: u16| word.load(Ordering::Relaxed) >> number & 1 == 0;
        let branch = |number| Branch { transaction, number };
        if is(ffi::TMCB_REQUEST_SENT) {
            // Also for a CANCEL or ACK of the host's own.
            let number = params.branch;
            let first = params.code == ffi::TYPE_REQUEST as c_int
                && u32::from(params.flags) & ffi::TMCB_RETR_F == 0
                && number < MOST
                && matters(number);
            let Some(earlier) = cell.earlier(number).filter(|_| first) else { return };
            if !matters(earlier) {
                word.fetch_or(1 << number, Ordering::Relaxed);
                return;
            }
            // SAFETY: it lives for the time of the call.
            let request = unsafe { cell.request() };
            let noted = noted(word.load(Ordering::Relaxed));
            let (branch, earlier) = (branch(number), branch(earlier));
            return (watcher.sent_on)(&SentOn { request, branch, earlier, noted });
        }
        // SAFETY: the request that the host forwards, for the time of the call.
        let Some(request) = (unsafe { Message::from_host(params.req) }) else { return };
        // The host counts it when it is made.
        let number = cell.branches();
        if number >= MOST || cell.earlier(number).is_some() {
            return; // DNS failover: told when it is sent
        }
        let noted = noted(word.load(Ordering::Relaxed));
        let address = if request.destination().is_none() { cell.address(number) } else { None };
        if !(watcher.sent)(&Sent { request, branch: branch(number), noted, address, cell, word }) {
            word.fetch_or(1 << number, Ordering::Relaxed);
        }
    });
}

/// A transaction was made for a request.
unsafe extern "C" fn begun(cell: *mut ffi::cell, _: c_int, params: *mut ffi::tmcb_params) {
    guard((), || {
        // SAFETY: null or the host's, for the time of the call.
        let Some(params) = (unsafe { params.as_ref() }) else { return };
        // SAFETY: the request of which the transaction is made.
        let Some(request) = (unsafe { Message::from_host(params.req) }) else { return };
        if !FOLLOWER.get().is_some_and(|follower| (follower.matters)(&request)) {
            return;
        }
        let Some(register) = tm::binds().and_then(|tm| tm.register_tmcb) else { return };
        let types = ffi::TMCB_ON_FAILURE as c_int;
        // SAFETY: the message and its transaction are valid. The host keeps the address of the callback, and releases nothing. Without
        // memory for it the call ends by its expiry.
        unsafe { register(request.as_ptr(), cell, types, Some(failed_inside), null_mut(), None) };
    });
}

/// A request inside a dialog has failed.
unsafe extern "C" fn failed_inside(_: *mut ffi::cell, _: c_int, params: *mut ffi::tmcb_params) {
    guard((), || {
        // SAFETY: null or the host's, for the time of the call.
        let Some((params, follower)) = (unsafe { params.as_ref() }).zip(FOLLOWER.get()) else { return };
        // SAFETY: the shim only compares the pointer.
        let unanswered = unsafe { ffi::shim_is_faked_reply(params.rpl) } != 0;
        if params.code != 408 || !unanswered {
            return;
        }
        // SAFETY: the host's copy of the request, for the time of the call.
        let request = unsafe { Message::from_host(params.req) };
        request.iter().for_each(follower.timed_out);
    });
}

/// The host has made a request of its own.
unsafe extern "C" fn made(cell: *mut ffi::cell, _: c_int, _: *mut ffi::tmcb_params) {
    guard((), || {
        let Some((follower, cell)) = FOLLOWER.get().zip(NonNull::new(cell)) else { return };
        // SAFETY: the host's new transaction, for the time of the call; the text is that of its request.
        Message::of_text(unsafe { text::bytes(ffi::shim_tm_request(cell.as_ptr())) }, follower.made);
    });
}
