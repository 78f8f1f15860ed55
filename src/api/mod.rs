//! What operators see: script functions, variables, RPC commands. Each reads its arguments, calls a service and writes the
//! answer.
//!
//! Not here: a lock between processes, a decision.

pub mod attempts;
pub mod capacity;
pub mod check;
pub mod drain;
pub mod edit;
pub mod explain;
pub mod failover;
pub mod followed;
pub mod group;
pub mod is_from_list;
pub mod list;
pub mod load;
pub mod metrics;
mod next_hop;
pub mod outcomes;
pub mod reload;
pub mod rpc;
pub mod select;
pub mod status_page;
pub mod tracking;
pub mod version;
