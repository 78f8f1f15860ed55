//! The sets change: a reload, a command for one destination, another answer of the DNS.
//!
//! Each is a transaction ([`commit`]) in steps with a value between two. A reload ([`load`]): read the [`source`], compare its
//! lines with what serves ([`diff`]), ask the host about those that are new ([`resolve`], [`name_cache`]), say what is to serve
//! ([`plan`]), build that in shared memory ([`build`]), publish it with one store ([`commit`]). [`edit`] and [`readdress`] plan
//! less and do the rest alike.
//!
//! [`check`] does the steps of a reload that change nothing, and tells what the others would do.
//!
//! Imports go one way: `check` uses `load`; `load`, `edit` and `readdress` use `commit`, that `build`, that `plan`, that `resolve`.
//!
//! Invariant: what served before serves on until the next generation is complete; an error on the way changes nothing.

mod build;
mod carry_over;
pub mod check;
pub mod commit;
mod diff;
mod disagreement;
pub mod edit;
pub mod load;
mod look_ups;
mod name_cache;
pub mod plan;
pub mod readdress;
pub mod resolve;
pub mod source;
pub mod srv_targets;
