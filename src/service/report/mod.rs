//! Reports: the audit and the metrics.

pub mod audit;
pub mod metrics;
