//! The end of the server.

use super::{ffi, guard::guard};
use std::sync::OnceLock;

struct Told {
    begins: fn(),
    /// What the host would have called then.
    others_begin: ffi::sr_corecb_void_f,
    ended: fn(),
    /// What it would have called first.
    others_end: ffi::destroy_function,
}

static TOLD: OnceLock<Told> = OnceLock::new();

/// Calls `begins` in the first process before all others are told to end, and `ended` when they have, before any module is
/// taken down. Once, before the fork, when all modules are initialised.
///
/// A module's own function for its end is too late: the host takes down first what was loaded last, and what comes after a module
/// that never ends is not called. `tm` waits for ever for the lock of the timers if a worker has ended with it.
pub fn tell(begins: fn(), ended: fn()) {
    // SAFETY: one process runs, with one thread; the host's table of callbacks is static, its list of modules complete, and
    // both live until the modules are taken down.
    let (callbacks, last_loaded) =
        unsafe { (ffi::sr_corecb_get().as_mut(), ffi::get_loaded_modules().as_mut()) };
    let (Some(callbacks), Some(last_loaded)) = (callbacks, last_loaded) else { return };
    let (at_begin, at_end) = (&mut callbacks.app_shutdown, &mut last_loaded.exports.destroy_mod_f);
    if TOLD.set(Told { begins, others_begin: *at_begin, ended, others_end: *at_end }).is_ok() {
        *at_begin = Some(stop_begins);
        *at_end = Some(all_have_ended);
    }
}

unsafe extern "C" fn stop_begins() {
    let Some(told) = TOLD.get() else { return };
    guard((), told.begins);
    if let Some(others) = told.others_begin {
        // SAFETY: as the host would have called it.
        unsafe { others() };
    }
}

unsafe extern "C" fn all_have_ended() {
    let Some(told) = TOLD.get() else { return };
    guard((), told.ended);
    if let Some(others) = told.others_end {
        // SAFETY: as above.
        unsafe { others() };
    }
}
