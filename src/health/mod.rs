//! When a destination is down and when it is back: rules as pure functions.
//!
//! Model: reports come in, by a script (`ds_mark_dst`) or as answers to probes; thresholds decide; a new state goes out.
//! A probe is known by its [`probe_id`], so that an answer counts once, and only for what was asked.
//!
//! Invariants: no answer to a probe changes what an operator disabled; who is probed when depends on the destination's
//! number and the clock alone, so a reload moves nobody.
//!
//! Not here: sending probes, the clock, events.
#![forbid(unsafe_code)]

pub mod event;
pub mod latency;
pub mod mark;
pub mod outage;
pub mod overload;
pub mod probe_id;
pub mod probing;
pub mod schedule;
