//! When a destination is down and when it is back: rules as pure functions.
//!
//! Model: reports come in, by a script (`ds_mark_dst`) or as answers to probes; thresholds decide; a new state goes out.
//! Outcomes of calls come in, too, if an operator wants it: [`ejection`].
//! Each probe has a [`probe_id`], so that an answer counts once, and only for the destination that was probed.
//!
//! Invariants: no answer to a probe changes what an operator disabled; when a destination is probed depends only on its number and
//! the clock, so a reload does not shift the probes of others.
//!
//! Not here: sending probes, the clock, events.
#![forbid(unsafe_code)]

pub mod drain;
pub mod ejection;
pub mod event;
pub mod latency;
pub mod mark;
pub mod outage;
pub mod overload;
pub mod probe_id;
pub mod probing;
pub mod schedule;
pub mod slow_start;
pub mod verdict;
