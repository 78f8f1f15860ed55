//! The loops of the module's own processes: `prober` sends probes, `resolver` looks host names up and keeps the state file.
//!
//! Not here: what follows from an answer (`service::health`).

pub mod drains;
pub mod ejections;
pub mod penalties;
pub mod prober;
pub mod resolver;
pub mod state_file;
