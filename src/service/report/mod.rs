//! Somebody asks for figures.

pub mod audit;
pub mod metrics;
