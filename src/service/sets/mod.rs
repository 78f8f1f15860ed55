//! The sets change: a reload, a command for one destination, another answer of the DNS.
//!
//! Timeline of a reload: read the source ([`load`]), ask the host about each line ([`resolve`], [`name_cache`]), compare with
//! what serves ([`diff`]), say what is to serve ([`plan`]), build it and publish it with one store ([`commit`]).
//!
//! Invariant: what served before serves on until the next generation is complete; an error on the way changes nothing.

mod carry_over;
pub mod commit;
mod diff;
pub mod edit;
pub mod load;
mod name_cache;
pub mod plan;
pub mod resolve;
pub mod srv_targets;
