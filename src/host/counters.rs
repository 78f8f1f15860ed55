//! Counters of the server (`stats.get_statistics`, `xhttp_prom`), whose values it asks the module for.

use super::{ffi, guard::guard};
use core::ffi::{CStr, c_void};
use core::ptr::null_mut;

/// Reads the value.
pub type Read = fn() -> u64;

unsafe extern "C" fn read(_: ffi::counter_handle_t, read: *mut c_void) -> ffi::counter_val_t {
    // SAFETY: `register` stored a `Read` here.
    let read = unsafe { core::mem::transmute::<*mut c_void, Read>(read) };
    guard(0, || read() as ffi::counter_val_t)
}

/// Registers a counter of the group. Only in `mod_init`.
pub fn register(
    group: &'static CStr,
    name: &'static CStr,
    about: &'static CStr,
    value: Read,
) -> Result<(), &'static str> {
    let param = value as *mut c_void;
    // SAFETY: texts that live as long as the process; a function pointer passes through the parameter whole.
    let done = unsafe {
        ffi::counter_register(
            null_mut(),
            group.as_ptr(),
            name.as_ptr(),
            0,
            Some(read),
            param,
            about.as_ptr(),
            0,
        )
    };
    if done < 0 { Err("the host takes no more counters") } else { Ok(()) }
}
