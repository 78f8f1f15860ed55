//! Bytes that stay with a request as long as its transaction: in each of its routes, in whatever process, and no script
//! sees or changes them.
//!
//! Model: a block in shared memory, named by a callback that the host keeps with the transaction and releases with it. As long as
//! there is no transaction the caller keeps the bytes himself; [`on_new`] asks for them when the host makes one.

use super::mem::Pool;
use super::message::Message;
use super::transaction::Cell;
use super::{ffi, guard::guard, tm};
use crate::shm::boxed::Boxed;
use crate::shm::lock::Mutex;
use crate::shm::slice::Slice;
use core::ffi::{c_int, c_void};
use core::ptr::{NonNull, null_mut};
use core::sync::atomic::Ordering;
use std::sync::OnceLock;

/// The host has no memory for them.
#[derive(Debug)]
pub struct NoMemory;

type Block = Mutex<Slice<u8, Pool>>;

/// Gives the bytes of a request, when it gets a transaction.
pub type Given = fn(&Message) -> Option<Vec<u8>>;

static GIVEN: OnceLock<Given> = OnceLock::new();

/// Asks `given` for the bytes of each request that gets a transaction. Once, before the fork, when `tm` is loaded; without
/// `tm` there are no transactions.
pub fn on_new(given: Given) -> Result<(), &'static str> {
    let Some(register) = tm::binds().and_then(|tm| tm.register_tmcb) else { return Ok(()) };
    GIVEN.set(given).map_err(|_| "new transactions are watched twice")?;
    let types = ffi::TMCB_REQUEST_IN as c_int;
    // SAFETY: before the fork, as the host wants it for this type; it keeps the address of the callback only.
    let done = unsafe { register(null_mut(), null_mut(), types, Some(made), null_mut(), None) };
    if done < 0 { Err("the host has no memory for a callback") } else { Ok(()) }
}

/// Whether the request at hand has a transaction.
pub fn has_transaction() -> bool {
    Cell::current().is_some()
}

/// What `read` makes of the bytes of the request at hand; nothing where it has no transaction, or none were put.
pub fn with<T>(read: impl FnOnce(&[u8]) -> T) -> Option<T> {
    let cell = Cell::current()?;
    let block = block(&cell)?;
    let bytes = block.lock();
    Some(read(&bytes))
}

/// Puts these bytes in the place of those of the request at hand, which has a transaction.
pub fn put(request: &Message, bytes: &[u8]) -> Result<(), NoMemory> {
    let cell = Cell::current().ok_or(NoMemory)?;
    let new = Slice::try_copy_in(bytes, Pool).map_err(|_| NoMemory)?;
    match block(&cell) {
        Some(block) => {
            *block.lock() = new;
            Ok(())
        }
        None => attach(cell, request, new),
    }
}

/// The block of a transaction, which owns it.
fn block(cell: &Cell) -> Option<&Block> {
    let word = cell.word_of(kept)?.load(Ordering::Acquire);
    // SAFETY: what `attach` gave the host to keep, until it releases it with the transaction.
    unsafe { (word as *const Block).as_ref() }
}

fn attach(cell: Cell, request: &Message, bytes: Slice<u8, Pool>) -> Result<(), NoMemory> {
    let register = tm::binds().and_then(|tm| tm.register_tmcb).ok_or(NoMemory)?;
    let block = Boxed::try_new_in(Mutex::new(bytes), Pool).map_err(|_| NoMemory)?.into_raw();
    let types = ffi::TMCB_DESTROY as c_int;
    let word = block.as_ptr().cast::<c_void>();
    // SAFETY: the message and its transaction are valid. The host keeps the address of the callback and the word, and
    // hands the word to `release` when it frees the transaction.
    if unsafe { register(request.as_ptr(), cell.as_ptr(), types, Some(kept), word, Some(release)) } < 0 {
        // SAFETY: made above, and the host did not take it.
        drop(unsafe { Boxed::<Block, Pool>::from_raw(block, Pool) });
        return Err(NoMemory);
    }
    Ok(())
}

/// A transaction was made.
unsafe extern "C" fn made(cell: *mut ffi::cell, _: c_int, params: *mut ffi::tmcb_params) {
    guard((), || {
        // SAFETY: null or the host's, for the time of the call.
        let Some(params) = (unsafe { params.as_ref() }) else { return };
        // SAFETY: the request of which the transaction is made.
        let Some(request) = (unsafe { Message::from_host(params.req) }) else { return };
        let Some((given, cell)) = GIVEN.get().zip(Cell::of_callback(cell)) else { return };
        let Some(bytes) = given(&request) else { return };
        let attached = Slice::try_copy_in(&bytes, Pool).map_err(|_| NoMemory);
        if attached.and_then(|bytes| attach(cell, &request, bytes)).is_err() {
            super::log::error(format_args!(
                "failover: the host has no memory to keep what was tried: this request has no next destination"
            ));
        }
    });
}

/// Keeps the word; there is nothing to do.
unsafe extern "C" fn kept(_: *mut ffi::cell, _: c_int, _: *mut ffi::tmcb_params) {}

/// The transaction is freed.
unsafe extern "C" fn release(word: *mut c_void) {
    guard((), || {
        if let Some(block) = NonNull::new(word.cast::<Block>()) {
            // SAFETY: what `attach` gave away; the transaction that owned it is gone.
            drop(unsafe { Boxed::from_raw(block, Pool) });
        }
    });
}
