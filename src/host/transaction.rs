//! The transactions of calls that count: on which branches their requests go out, and when they are gone.
//!
//! Model: [`watch`] puts one callback on the transaction of the request at hand, which the host calls for each branch
//! that it makes and once before the transaction is freed. The word that comes with a callback is ours: a bit for each
//! branch that was told, and a record that the caller chose.
//!
//! A branch that was not told is one that DNS failover added: it goes where the branch went whose name it shares.

use super::message::Message;
use super::{ffi, guard::guard, text, tm};
use core::ffi::{c_int, c_uint, c_void};
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

/// Who is told.
pub struct Watcher {
    /// A branch is about to be sent.
    pub sent: fn(&Sent<'_>),
    /// A transaction is about to be freed.
    pub ended: fn(&Ended<'_>),
}

static WATCHER: OnceLock<Watcher> = OnceLock::new();

/// Sets who is told. Once, before the fork.
pub fn tell(watcher: Watcher) -> Result<(), &'static str> {
    WATCHER.set(watcher).map_err(|_| "transactions are watched twice")
}

/// A branch that is about to be sent. The branch route has run; sending may still fail.
pub struct Sent<'a> {
    /// The request, with the request URI and destination URI of the branch.
    pub request: Message,
    /// The branch.
    pub branch: Branch,
    /// The record that was given to [`watch`], or that was noted since.
    pub noted: Option<u32>,
    word: &'a AtomicUsize,
}

impl Sent<'_> {
    /// Notes a record for the branches to come.
    pub fn note(&self, record: u32) {
        let keep = |word: usize| Some(word & TOLD | packed(record));
        let _ = self.word.fetch_update(Ordering::Relaxed, Ordering::Relaxed, keep);
    }
}

/// A transaction that is about to be freed.
pub struct Ended<'a> {
    /// The Call-ID of its request.
    pub call_id: &'a [u8],
    /// The number of the CSeq of its request, as written.
    pub cseq_number: &'a [u8],
    /// The transaction.
    pub transaction: Transaction,
    cell: Cell,
}

impl Ended<'_> {
    /// Whether a 2xx came on the branch of this number.
    pub fn was_answered(&self, branch: u16) -> bool {
        self.cell.any_on(branch, |cell, at| (200..300).contains(&cell.status(at)))
    }
}

/// The word of a callback: low half a bit for each branch that was told, high half a record and one.
const TOLD: usize = 0xFFFF_FFFF;

const _: () = assert!(size_of::<usize>() == 8, "the word of a callback holds a record and the branches");

fn packed(record: u32) -> usize {
    (record as usize + 1) << 32
}

/// The host's transaction.
#[derive(Clone, Copy)]
struct Cell(NonNull<ffi::cell>);

impl Cell {
    /// That of the message at hand, if it has one.
    fn current() -> Option<Self> {
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
        // SAFETY: as above. The word is aligned, lives as long as the transaction, and only we use it.
        unsafe { ffi::shim_tm_word(self.0.as_ptr(), Some(called)).cast::<AtomicUsize>().as_ref() }
    }

    fn branches(self) -> u16 {
        // SAFETY: as above.
        unsafe { ffi::shim_tm_branches(self.0.as_ptr()) }.try_into().unwrap_or(0)
    }

    fn status(self, branch: u16) -> c_int {
        // SAFETY: as above; the branch exists.
        unsafe { ffi::shim_tm_status(self.0.as_ptr(), branch.into()) }
    }

    /// The branch that was told and led to this one.
    fn told(self, branch: u16) -> u16 {
        let told = self.word().map_or(usize::MAX, |word| word.load(Ordering::Relaxed));
        let mut at = branch;
        while told >> at & 1 == 0 {
            let (cell, this) = (self.0.as_ptr(), c_int::from(at));
            // SAFETY: as above; both exist.
            let same = |other: &u16| unsafe { ffi::shim_tm_same_name(cell, this, (*other).into()) } != 0;
            match (0..at).rev().find(same) {
                Some(earlier) => at = earlier,
                None => break,
            }
        }
        at
    }

    /// Whether something is true of the branch, or of one that DNS failover added to it.
    fn any_on(self, branch: u16, is: impl Fn(Self, u16) -> bool) -> bool {
        (branch..self.branches()).any(|at| self.told(at) == branch && is(self, at))
    }
}

/// How a reply belongs to a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// There is none.
    None,
    /// It came in one that is not watched.
    Unwatched,
    /// It came on this branch of one that is.
    On(Branch),
}

/// The transaction and branch on which the reply at hand came.
pub fn of_reply(reply: &Message) -> Reply {
    let mut branch: c_int = -1;
    let Some(check) = tm::binds().and_then(|tm| tm.t_check) else { return Reply::None };
    // SAFETY: the message is valid. The host looks each message up once, and keeps what it finds until it has dealt with it.
    if unsafe { check(reply.as_ptr(), &raw mut branch) } < 1 {
        return Reply::None;
    }
    let Some(cell) = Cell::current() else { return Reply::None };
    match u16::try_from(branch) {
        Ok(branch) if cell.word().is_some() && branch < cell.branches() => {
            Reply::On(Branch { transaction: cell.transaction(), number: cell.told(branch) })
        }
        _ => Reply::Unwatched,
    }
}

/// The transaction whose branches have all failed, if the script handles that.
pub fn failed(request: &Message) -> Option<Transaction> {
    // A route that goes on with a suspended request is one for the host, too; nothing has failed there.
    let cell = Cell::current().filter(|_| request.is_in_failure_route())?;
    // SAFETY: as in `Cell`.
    let tried = unsafe { ffi::shim_tm_has_tried(cell.0.as_ptr()) } != 0;
    tried.then(|| cell.transaction())
}

/// Whether the script has put the request at hand aside, to go on with it later.
pub fn is_suspended() -> bool {
    // SAFETY: as in `Cell`.
    Cell::current().is_some_and(|cell| unsafe { ffi::shim_tm_is_suspended(cell.0.as_ptr()) } != 0)
}

/// Whether the script goes on with a request that was put aside, and whose transaction is watched.
pub fn is_continued() -> bool {
    // SAFETY: as in `Cell`.
    let continued = |cell: &Cell| unsafe { ffi::shim_tm_is_continued(cell.0.as_ptr()) } != 0;
    Cell::current().filter(continued).is_some_and(|cell| cell.word().is_some())
}

/// Whether the request at hand has a transaction with branches.
pub fn is_relayed() -> bool {
    Cell::current().is_some_and(|cell| cell.branches() > 0)
}

/// The transaction of the request at hand.
pub fn current() -> Option<Transaction> {
    Cell::current().map(Cell::transaction)
}

/// Whether the request of this branch of the current transaction was sent.
pub fn was_sent(branch: u16) -> bool {
    // SAFETY: as in `Cell`.
    let sent = |cell: Cell, at: u16| unsafe { ffi::shim_tm_was_sent(cell.0.as_ptr(), at.into()) } != 0;
    Cell::current().is_some_and(|cell| cell.any_on(branch, sent))
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
    let types = (ffi::TMCB_REQUEST_FWDED | ffi::TMCB_DESTROY) as c_int;
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
        let (Some(watcher), Some(cell)) = (WATCHER.get(), NonNull::new(cell).map(Cell)) else { return };
        let transaction = cell.transaction();
        if what & ffi::TMCB_DESTROY as c_int != 0 {
            // SAFETY: the text belongs to the request, which is freed after this.
            let call_id = unsafe { text::bytes(ffi::shim_tm_call_id(cell.0.as_ptr())) }.trim_ascii();
            // SAFETY: as the Call-ID.
            let cseq_number = unsafe { text::bytes(ffi::shim_tm_cseq_number(cell.0.as_ptr())) };
            return (watcher.ended)(&Ended { call_id, cseq_number, transaction, cell });
        }
        // SAFETY: null or the host's, for the time of the call.
        let Some(params) = (unsafe { params.as_ref() }) else { return };
        // SAFETY: the host hands out the request that it forwards, and where it keeps our word.
        let (Some(request), Some(word)) =
            (unsafe { (Message::from_host(params.req), params.param.cast::<AtomicUsize>().as_ref()) })
        else {
            return;
        };
        // The host counts it when it is made.
        let at = cell.branches();
        // SAFETY: as in `Cell`; the host has room for one more branch than there are.
        let same =
            |other: u16| unsafe { ffi::shim_tm_same_name(cell.0.as_ptr(), at.into(), other.into()) } != 0;
        if (0..at).any(same) {
            return; // DNS failover: where it goes is known already
        }
        let before = word.fetch_or(1 << at, Ordering::Relaxed);
        let noted = u32::try_from(before >> 32).ok().and_then(|record| record.checked_sub(1));
        (watcher.sent)(&Sent { request, branch: Branch { transaction, number: at }, noted, word });
    });
}
