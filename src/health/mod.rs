//! When a destination is down and when it is back: rules as pure functions.
//!
//! Model: reports come in (by `ds_mark_dst` now), thresholds decide, a new state goes out.
//!
//! Not here: sending probes, the clock, events.
#![forbid(unsafe_code)]

pub mod mark;
pub mod overload;
