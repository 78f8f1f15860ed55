//! The life of a call as far as it counts: when it starts to count for its destination and when it stops.
//!
//! Model: a call is its Call-ID, nothing else; no dialog is known. Each call is in one [`Phase`], and an [`Event`] that
//! the script reports moves it on. What that does to the count is in the [`Step`], so whoever keeps the table applies
//! both under one lock.
//!
//! Invariants: a call counts once, for one destination, in the phases `Early` and `Confirmed`; an event that arrives
//! twice or late changes nothing.
//!
//! Not here: SIP, the table, the clock.
#![forbid(unsafe_code)]

pub mod call;
pub mod expiry;
pub mod key;

pub use call::{Call, Change, Event, Phase, Step};
pub use expiry::Expiry;
pub use key::Secret;
