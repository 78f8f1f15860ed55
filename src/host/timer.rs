//! Periodic work: in a timer process of the server, or in a process of its own.

use super::{ffi, guard::guard};
use core::ffi::{CStr, c_int, c_uint, c_void};

/// What is done: once a tick.
pub type Task = fn();

unsafe extern "C" fn tick(_ticks: c_uint, task: *mut c_void) {
    // SAFETY: the functions below store a `Task` here.
    let task = unsafe { core::mem::transmute::<*mut c_void, Task>(task) };
    guard((), task);
}

/// A timer process of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    /// The one that transactions need too.
    Main,
    /// The one for slower things.
    Secondary,
}

/// Runs `task` every `seconds`. Only in `mod_init`.
pub fn every(seconds: u32, task: Task, process: Process) -> Result<(), &'static str> {
    let param = task as *mut c_void;
    // SAFETY: `tick` has the signature that the host calls, and a function pointer passes through its parameter whole.
    let done = unsafe {
        match process {
            Process::Main => ffi::register_timer(Some(tick), param, seconds),
            Process::Secondary => ffi::sr_wtimer_add(Some(tick), param, seconds as c_int),
        }
    };
    if done < 0 { Err("the host takes no more timers") } else { Ok(()) }
}

/// Announces that [`spawn`] will be called this often. Only in `mod_init`.
pub fn announce(processes: u32) -> Result<(), &'static str> {
    // SAFETY: no preconditions but the time.
    let done = unsafe { ffi::register_basic_timers(processes as c_int) };
    if done < 0 { Err("the host takes no more processes") } else { Ok(()) }
}

/// Starts a process that runs `task` over and over with this pause in between, for as long as the server runs. Only in
/// `child_init(PROC_MAIN)`.
pub fn spawn(name: &'static CStr, pause_micros: u32, task: Task) -> Result<(), &'static str> {
    // SAFETY: as above; the host keeps the name's text. In the new process the call does not return.
    let pid = unsafe {
        ffi::fork_basic_utimer(
            ffi::PROC_TIMER,
            name.as_ptr().cast_mut(),
            1,
            Some(tick),
            task as *mut c_void,
            pause_micros as c_int,
        )
    };
    if pid < 0 { Err("the host cannot start a process") } else { Ok(()) }
}
