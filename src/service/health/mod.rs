//! Something is found out about a destination: an answer to a probe or none, what its name means, what a script or an
//! operator says of it.

pub mod dns;
pub mod probe;
pub mod set_state;
