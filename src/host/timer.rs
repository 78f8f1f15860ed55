//! Something to do at a steady pace, in the server's timer process.

use super::{ffi, guard::guard};
use core::ffi::{c_uint, c_void};

/// What is done: once a tick.
pub type Task = fn();

/// Runs `task` every `seconds`. Only in `mod_init`.
pub fn every(seconds: u32, task: Task) -> Result<(), &'static str> {
    unsafe extern "C" fn tick(_ticks: c_uint, task: *mut c_void) {
        // SAFETY: `every` stored a `Task` here.
        let task = unsafe { core::mem::transmute::<*mut c_void, Task>(task) };
        guard((), task);
    }
    // SAFETY: `tick` has the signature that the host calls, and a function pointer passes through its parameter whole.
    let done = unsafe { ffi::register_timer(Some(tick), task as *mut c_void, seconds) };
    if done < 0 { Err("the host takes no more timers") } else { Ok(()) }
}
