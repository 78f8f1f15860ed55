//! Kamailio in safe Rust: the only folder that calls it, and the only one that it calls.
//!
//! Model: a thin wrapper for each thing the host offers (a message, an xavp, an RPC call, the pool, a timer), with the
//! host's names in `ffi` and Rust names here. What the host calls goes through [`guard`], so that no panic crosses.
//!
//! Invariants: every pointer from the host is checked before use; bytes have a length and need not be UTF-8; no
//! decision about load balancing is made here.
//!
//! Not here: knowledge of sets, destinations or calls.

pub mod arguments;
pub mod attached;
pub mod capi;
pub mod clock;
pub mod counters;
pub mod db;
pub mod event;
pub mod export;
mod ffi;
pub mod guard;
pub mod hooks;
pub mod kemi;
pub mod log;
pub mod mem;
pub mod message;
pub mod outcomes;
pub mod param;
pub mod process;
pub mod rpc;
pub mod runtime;
pub mod script;
mod text;
pub mod timer;
pub mod tm;
pub mod transaction;
pub mod uri;
pub mod variable;
pub mod xavp;
pub mod xhttp;

pub use ffi::CFG_DIR;
