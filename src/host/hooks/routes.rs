//! Before and after a script: replies are told before their routes; when a script for a request has ended, the module looks
//! whether it has sent the request.

use crate::host::message::Message;
use crate::host::{ffi, guard::guard, transaction};
use core::ffi::{c_int, c_uint, c_void};
use core::ptr::null_mut;
use std::sync::OnceLock;

static TOLD: OnceLock<fn(&mut Message)> = OnceLock::new();

/// Calls `told` whenever a script for a request has ended, in request routes and failure routes. Once, before the fork.
///
/// The host calls what was registered last first: register after `tm`, which lets go of the transaction there.
pub fn tell(told: fn(&mut Message)) -> Result<(), &'static str> {
    TOLD.set(told).map_err(|_| "the end of scripts is told twice")?;
    // The host's types are numbered from 1, and a bit each where one registers.
    let kinds =
        [ffi::REQUEST_CB_TYPE, ffi::FAILURE_CB_TYPE, ffi::BRANCH_FAILURE_CB_TYPE, ffi::ONREPLY_CB_TYPE];
    let routes = kinds.iter().fold(ffi::POST_SCRIPT_CB, |routes, kind| routes | 1 << (kind - 1));
    // SAFETY: before the fork, when one process runs; a function of the type that the host calls.
    let done = unsafe { ffi::register_script_cb(Some(ended), routes, null_mut()) };
    if done < 0 { Err("the host has no memory for a callback") } else { Ok(()) }
}

static REPLY_TOLD: OnceLock<fn(&Message)> = OnceLock::new();

/// Calls `told` whenever a reply comes, before its routes. Once, before the fork.
pub fn tell_replies(told: fn(&Message)) -> Result<(), &'static str> {
    REPLY_TOLD.set(told).map_err(|_| "replies are told twice")?;
    let when = ffi::PRE_SCRIPT_CB | ffi::ONREPLY_CB;
    // SAFETY: before the fork, when one process runs; a function of the type that the host calls.
    let done = unsafe { ffi::register_script_cb(Some(reply_came), when, null_mut()) };
    if done < 0 { Err("the host has no memory for a callback") } else { Ok(()) }
}

unsafe extern "C" fn reply_came(msg: *mut ffi::sip_msg, _: c_uint, _: *mut c_void) -> c_int {
    guard((), || {
        // SAFETY: the host's, for the time of the call.
        let reply = unsafe { Message::from_host(msg) };
        reply.iter().zip(REPLY_TOLD.get()).for_each(|(reply, told)| told(reply));
    });
    1 // the routes run
}

unsafe extern "C" fn ended(msg: *mut ffi::sip_msg, _: c_uint, _: *mut c_void) -> c_int {
    guard(1, || {
        // SAFETY: the host's, for the time of the call.
        let Some(mut msg) = (unsafe { Message::from_host(msg) }) else { return 1 };
        match TOLD.get() {
            _ if msg.status().is_some() => transaction::let_go(&msg),
            Some(told) => told(&mut msg),
            None => {}
        }
        1
    })
}
