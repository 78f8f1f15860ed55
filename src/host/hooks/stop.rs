//! The end of the server.

use crate::host::{ffi, guard::guard};
use std::sync::OnceLock;

struct Callbacks {
    begins: fn(),
    /// The host's previous callback for the beginning of a stop.
    others_begin: ffi::sr_corecb_void_f,
    ended: fn(),
    /// The previous end function of the module that is taken down first.
    others_end: ffi::destroy_function,
}

static CALLBACKS: OnceLock<Callbacks> = OnceLock::new();

/// Calls `begins` in the first process before all others are told to end, and `ended` when they have, before any module is
/// taken down. Once, before the fork, when all modules are initialised.
///
/// The module's own end function would come too late: the host takes modules down in reverse order of loading, and if one of them
/// hangs the rest are never called. `tm` hangs if a worker died while it held the lock of the timers.
pub fn tell(begins: fn(), ended: fn()) {
    // SAFETY: one process runs, with one thread; the host's table of callbacks is static, its list of modules complete, and
    // both live until the modules are taken down.
    let (callbacks, last_loaded) =
        unsafe { (ffi::sr_corecb_get().as_mut(), ffi::get_loaded_modules().as_mut()) };
    let (Some(callbacks), Some(last_loaded)) = (callbacks, last_loaded) else { return };
    let (at_begin, at_end) = (&mut callbacks.app_shutdown, &mut last_loaded.exports.destroy_mod_f);
    if CALLBACKS.set(Callbacks { begins, others_begin: *at_begin, ended, others_end: *at_end }).is_ok() {
        *at_begin = Some(stop_begins);
        *at_end = Some(all_have_ended);
    }
}

unsafe extern "C" fn stop_begins() {
    let Some(callbacks) = CALLBACKS.get() else { return };
    guard((), callbacks.begins);
    if let Some(others) = callbacks.others_begin {
        // SAFETY: as the host would have called it.
        unsafe { others() };
    }
}

unsafe extern "C" fn all_have_ended() {
    let Some(callbacks) = CALLBACKS.get() else { return };
    guard((), callbacks.ended);
    if let Some(others) = callbacks.others_end {
        // SAFETY: as above.
        unsafe { others() };
    }
}
