//! The life of a call as far as it counts: when it starts to count for a destination and when it stops.
//!
//! Model: a call is its Call-ID and has a [`Leg`] for each request that was sent, or is about to be, to a destination of
//! ours: one as a rule, more after a failover, with parallel forking, or where the other side forks. Each leg is in one
//! [`Phase`]; an [`Event`] that the script reports, and what the server tells of branches and transactions, moves it on.
//!
//! Invariants: a call counts once for each destination at which a leg of it is `Early` or `Confirmed`; an event that
//! arrives twice or late changes nothing.
//!
//! Not here: SIP, the table, the clock.
#![forbid(unsafe_code)]

pub mod call;
pub mod event;
pub mod expiry;
pub mod failures;
pub mod key;
pub mod leg;
pub mod rate;

pub use call::{Call, Failed, Invite, Unsent};
pub use event::{About, Effect, Event, News, Tags};
pub use expiry::Expiry;
pub use failures::Failures;
pub use key::Secret;
pub use leg::{Branch, Dialog, Leg, Phase, Timer, Transaction};
pub use rate::Rate;

#[cfg(test)]
mod tests;
