//! What happens when: one folder for each occasion on which the shared state is used or changed.
//!
//! Everything here takes the root, the message's facts and the time as arguments and is generic over the allocator, so
//! that the same code runs in forked processes of a test.
//!
//! Not here: reading SIP or writing answers (`api`), rules (`select`, `load`, `health`), the data itself (`state`).

pub mod health;
pub mod housekeeping;
pub mod report;
pub mod routing;
pub mod sets;
pub mod state_file;
