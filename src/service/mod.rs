//! What happens when: one file for each occasion on which the shared state is used or changed.
//!
//! Everything here takes the root, the message's facts and the time as arguments and is generic over the allocator, so
//! that the same code runs in forked processes of a test.
//!
//! Not here: reading SIP or writing answers (`api`), rules (`select`, `load`, `health`), the making of state (`state`).

pub mod audit;
mod boards;
pub mod calls;
pub mod edit;
pub mod explain;
pub mod located;
pub mod match_source;
mod meanings;
pub mod metrics;
pub mod names;
pub mod probe;
pub mod publish;
pub mod reload;
pub mod replace;
pub mod route;
mod standing;
pub mod state_file;
pub mod states;
mod still;
pub mod targets;
pub mod upkeep;
pub mod view;
