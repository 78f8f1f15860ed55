//! What comes of the branches of a request: for who wants to know of each whether it rang, was answered, refused, or came to nothing.
//!
//! Model: [`expect`] puts one callback on the transaction of the request at hand. Its word is at first what the caller wants to remember of
//! the request; once a branch goes out that matters it is a block in shared memory with what is known of the branches, which the host
//! releases with the transaction. The one that wants to know is told when a branch is answered or rings, when the transaction is over, and
//! when it is freed.
//!
//! Timeline: branches are made, and replies come, in any process, at times in two at once: the block has a lock. While that is held the
//! host's transaction is looked at, and nothing of the host called that takes a lock of its own.

use super::mem::Pool;
use super::message::{Kind, Message, Method};
use super::transaction::Cell;
use super::{ffi, guard::guard, process, tm};
use crate::shm::Shared;
use crate::shm::boxed::Boxed;
use crate::shm::lock::Mutex;
use core::ffi::{c_int, c_void};
use core::net::SocketAddr;
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::OnceLock;

/// Branches of which it is known what comes of them; those beyond do not matter.
const MOST: usize = 12;

/// What is known of a branch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Branch {
    /// Where it went, in words of the one who wants to know; none if it does not matter.
    pub to: Option<[u32; 3]>,
    /// A 101 to 199 came.
    pub rang: bool,
    /// The code of its final reply, from the network; 0 is none.
    pub code: u16,
    /// The seconds of its Retry-After; 0 is none.
    pub wait: u32,
    /// What was told of it, for the one who is told.
    pub told: u8,
}

/// What is known of a transaction.
#[derive(Debug, Clone, Copy, Default)]
pub struct Branches {
    /// Its branches, in the order in which they were made.
    pub all: [Branch; MOST],
    /// Who calls whom, in words of the one who wants to know.
    pub who: [u64; 2],
    /// The caller has cancelled it.
    pub cancelled: bool,
}

// SAFETY: numbers.
unsafe impl Shared for Branches {}

/// What the host knows of a branch that has no final reply from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It is under way still.
    None,
    /// Nobody answered in time, or it could not be sent.
    Lost,
    /// The transaction is freed, and it had no end.
    Silent,
    /// It was ended otherwise, as by a CANCEL.
    Other,
}

/// A branch that is about to be made.
pub struct Going<'a> {
    /// The request, with the request URI and destination URI of the branch.
    pub request: &'a Message,
    /// Where it goes, if the script said that to the function which sends.
    pub address: Option<SocketAddr>,
    /// What was given to [`expect`].
    pub expected: Option<u64>,
}

/// Where a branch goes, and who calls whom, in words of the one who wants to know.
pub type Gone = ([u32; 3], [u64; 2]);

/// Who wants to know.
pub struct Observer {
    /// Where this branch goes; none if it does not matter.
    pub goes: fn(&Going<'_>) -> Option<Gone>,
    /// Something has come of a branch. If the transaction is `over`, nothing more comes. `end` says more of the branch of this number. The
    /// block is locked meanwhile.
    pub came: fn(&mut Branches, over: bool, end: &dyn Fn(usize) -> End),
}

static OBSERVER: OnceLock<Observer> = OnceLock::new();

/// Sets who wants to know. Once, before the fork.
pub fn tell(observer: Observer) -> Result<(), &'static str> {
    OBSERVER.set(observer).map_err(|_| "outcomes are told twice")
}

type Block = Mutex<Branches>;

/// A word that is what was given to [`expect`], and not an address.
const EXPECTED: usize = 1;

/// From now on what comes of the branches of the request at hand is told, whether it has a transaction or will have one. `what` is
/// remembered for its branches, in 63 bits. Once each, however often it is asked for. False if the host has no memory for it.
pub fn expect(request: &Message, what: u64) -> bool {
    let Some(register) = tm::binds().and_then(|tm| tm.register_tmcb) else { return false };
    let new = (what << 1) as usize | EXPECTED;
    match Cell::current() {
        Some(cell) => {
            if let Some(word) = cell.word_of(called) {
                let keep = |old: usize| (old & EXPECTED != 0 || old == 0).then_some(new);
                let _ = word.fetch_update(Ordering::AcqRel, Ordering::Acquire, keep);
                return true;
            }
        }
        None if EARLY.load(Ordering::Relaxed) == request.id() as usize => return true,
        None => EARLY.store(request.id() as usize, Ordering::Relaxed),
    }
    let types = ffi::TMCB_REQUEST_FWDED
        | ffi::TMCB_RESPONSE_IN
        | ffi::TMCB_RESPONSE_SENT
        | ffi::TMCB_E2ECANCEL_IN
        | ffi::TMCB_DESTROY;
    // SAFETY: the message is valid. The host keeps the address of the callback and the word, and hands the word to `release`.
    let done = unsafe {
        register(
            request.as_ptr(),
            null_mut(),
            types as c_int,
            Some(called),
            new as *mut c_void,
            Some(release),
        )
    };
    done >= 0
}

/// The request of this process that has a callback, though it has no transaction yet.
static EARLY: AtomicUsize = AtomicUsize::new(usize::MAX);

fn block(word: &AtomicUsize) -> Option<&Block> {
    let word = word.load(Ordering::Acquire);
    if word & EXPECTED != 0 {
        return None;
    }
    // SAFETY: null, or what `begin` made, until the host releases it with the transaction, which it keeps for the time of the callback.
    unsafe { (word as *const Block).as_ref() }
}

/// The block of a transaction, made where there is none. Branches are made one after the other.
fn begin(word: &AtomicUsize) -> Option<&Block> {
    if block(word).is_none() {
        let made = Boxed::try_new_in(Mutex::new(Branches::default()), Pool).ok()?;
        word.store(made.into_raw().as_ptr() as usize, Ordering::Release);
    }
    block(word)
}

unsafe extern "C" fn called(cell: *mut ffi::cell, what: c_int, params: *mut ffi::tmcb_params) {
    guard((), || {
        if process::is_going_down() {
            return;
        }
        let (Some(observer), Some(cell)) = (OBSERVER.get(), Cell::of_callback(cell)) else { return };
        // SAFETY: null or the host's, for the time of the call; and where it keeps our word.
        let Some((params, word)) = (unsafe {
            params.as_ref().and_then(|params| Some((params, params.param.cast::<AtomicUsize>().as_ref()?)))
        }) else {
            return;
        };
        let is = |event: u32| what & event as c_int != 0;
        if is(ffi::TMCB_REQUEST_FWDED) {
            // SAFETY: the request that the host forwards, for the time of the call.
            if let Some(request) = unsafe { Message::from_host(params.req) } {
                goes(observer, cell, &request, word);
            }
            return;
        }
        let Some(block) = block(word) else { return };
        if is(ffi::TMCB_E2ECANCEL_IN) {
            block.lock().cancelled = true;
        } else if is(ffi::TMCB_RESPONSE_IN) {
            // SAFETY: the reply that has come, for the time of the call.
            if let Some(reply) = unsafe { Message::from_host(params.rpl) } {
                answered(observer, cell, &reply, block);
            }
        } else if is(ffi::TMCB_DESTROY) {
            came(observer, cell, &mut |_| true, block, Over::Freed);
        } else if params.code >= 300 {
            came(observer, cell, &mut |_| true, block, Over::Refused);
        }
    });
}

/// Whether a transaction is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    No,
    /// The caller was refused.
    Refused,
    Freed,
}

fn goes(observer: &Observer, cell: Cell, request: &Message, word: &AtomicUsize) {
    let expected = word.load(Ordering::Acquire);
    let expected = (expected & EXPECTED != 0).then_some((expected >> 1) as u64);
    let number = usize::from(cell.branches());
    let address = if request.destination().is_none() { cell.address(cell.branches()) } else { None };
    let Some((to, who)) = (observer.goes)(&Going { request, address, expected }) else { return };
    let Some(block) = begin(word) else { return };
    let mut branches = block.lock();
    branches.who = who;
    if let Some(branch) = branches.all.get_mut(number) {
        *branch = Branch { to: Some(to), ..Branch::default() };
    }
}

fn answered(observer: &Observer, cell: Cell, reply: &Message, block: &Block) {
    let (Some((code, _)), Some(branch)) = (reply.status(), cell.current_branch()) else { return };
    // 100 says that the next hop is there, and nothing of the call.
    if !matches!(reply.kind(), Some(Kind::Reply(Method::Invite, 101..))) {
        return;
    }
    let wait = if code == 503 { reply.retry_after().unwrap_or(0) } else { 0 };
    let note = &mut |branches: &mut Branches| {
        let number = usize::from(branch);
        // One that DNS failover has made goes where an earlier one went.
        if branches.all.get(number).is_some_and(|one| one.to.is_none()) {
            let earlier = cell.earlier(branch).and_then(|earlier| branches.all.get(usize::from(earlier))?.to);
            branches.all.get_mut(number).into_iter().for_each(|one| one.to = earlier);
        }
        let Some(one) = branches.all.get_mut(number).filter(|one| one.to.is_some()) else { return false };
        let before = (one.rang, one.code);
        match code {
            101..200 => one.rang = true,
            _ if one.code == 0 || (200..300).contains(&code) => (one.code, one.wait) = (code, wait),
            _ => {}
        }
        before != (one.rang, one.code)
    };
    came(observer, cell, note, block, Over::No);
}

/// Something has come: notes it, and tells.
fn came(
    observer: &Observer,
    cell: Cell,
    note: &mut dyn FnMut(&mut Branches) -> bool,
    block: &Block,
    over: Over,
) {
    let end = |number: usize| match u16::try_from(number) {
        Ok(number) if number < cell.branches() => match cell.status(number) {
            408 => End::Lost,
            200.. => End::Other,
            _ if over == Over::Freed => End::Silent,
            _ => End::None,
        },
        _ => End::None,
    };
    let mut branches = block.lock();
    if note(&mut branches) {
        (observer.came)(&mut branches, over != Over::No, &end);
    }
}

/// The transaction is freed.
unsafe extern "C" fn release(word: *mut c_void) {
    guard((), || {
        if word as usize & EXPECTED != 0 {
            return;
        }
        if let Some(block) = NonNull::new(word.cast::<Block>()) {
            // SAFETY: what `begin` gave away; the transaction that owned it is gone.
            drop(unsafe { Boxed::from_raw(block, Pool) });
        }
    });
}
