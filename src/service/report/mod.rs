//! Reports: the audit, the metrics and the state of each destination for the status page.

pub mod audit;
pub mod capacities;
pub mod metrics;
pub mod status;
