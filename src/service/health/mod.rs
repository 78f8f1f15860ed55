//! Reports about a destination: the result of a probe, the result of a DNS look-up, the word of a script or an operator.

pub mod dns;
pub mod drain;
pub mod ejection;
pub mod probe;
pub mod set_state;
pub mod slow_start;
