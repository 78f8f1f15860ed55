//! What happens with a request or a reply: choose a destination, count the call, tell which destination a message comes from.

pub mod call_count;
pub mod candidates;
pub mod choose;
pub mod explain;
pub mod failover;
pub mod penalty;
pub mod rate;
mod shifts;
pub mod source_match;
