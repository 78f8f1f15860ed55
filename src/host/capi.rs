//! The C interface for other modules (`bind_dispatcher`): select, next, mark, is-from-list.

use super::script::{Function, Value, enter_with};
use super::{export::RawMessage, ffi};
use core::ffi::c_int;
use std::sync::OnceLock;

pub use ffi::dispatcher_api_t as RawApi;

/// The binding as it is called.
pub type Bind = unsafe extern "C" fn(*mut RawApi) -> c_int;

/// The functions behind the interface; each gets its numbers as a script function would.
pub struct Functions {
    /// set, algorithm, mode.
    pub select: Function,
    /// mode.
    pub next: Function,
    /// state as flags.
    pub mark: Function,
    /// set.
    pub is_from: Function,
}

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// Sets the functions behind the interface. Once, in `mod_init`.
pub fn offer(functions: Functions) {
    // A second call offers the same.
    let _ = FUNCTIONS.set(functions);
}

/// # Safety
/// `msg` is what another module passed to the interface.
unsafe fn call(msg: *mut RawMessage, numbers: &[c_int], which: fn(&Functions) -> Function) -> c_int {
    let mut values = [Value::Int(0); 3];
    values.iter_mut().zip(numbers).for_each(|(value, number)| *value = Value::Int(*number));
    let values = values.get(..numbers.len()).unwrap_or_default();
    match FUNCTIONS.get() {
        // SAFETY: from another module of the host, as from the host.
        Some(functions) => unsafe { enter_with(msg, values, which(functions)) },
        None => -1,
    }
}

unsafe extern "C" fn select(msg: *mut RawMessage, set: c_int, algorithm: c_int, mode: c_int) -> c_int {
    // SAFETY: as declared in the interface.
    unsafe { call(msg, &[set, algorithm, mode], |functions| functions.select) }
}

unsafe extern "C" fn next(msg: *mut RawMessage, mode: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { call(msg, &[mode], |functions| functions.next) }
}

unsafe extern "C" fn mark(msg: *mut RawMessage, state: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { call(msg, &[state], |functions| functions.mark) }
}

unsafe extern "C" fn is_from(msg: *mut RawMessage, set: c_int) -> c_int {
    // SAFETY: as above.
    unsafe { call(msg, &[set], |functions| functions.is_from) }
}

/// Fills in the interface for another module.
///
/// # Safety
/// `api` is null or a place for the interface.
pub unsafe extern "C" fn bind(api: *mut RawApi) -> c_int {
    // SAFETY: the caller's promise.
    let Some(api) = (unsafe { api.as_mut() }) else { return -1 };
    api.select = Some(select);
    api.next = Some(next);
    api.mark = Some(mark);
    api.is_from = Some(is_from);
    0
}
