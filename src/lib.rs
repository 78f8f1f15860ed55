//! Load balancing for the Kamailio SIP server: a native module that takes the place of the stock `dispatcher`.
//!
//! # From above
//!
//! Kamailio loads the cdylib, reads the table in [`module`], and forks its workers. A worker that meets an INVITE calls
//! a script function of [`api`]; that asks a [`service`], which looks at the sets in shared [`state`], lets an algorithm
//! of [`select`] choose and counts the call by the rules of [`load`].
//!
//! ```text
//! module -> lifecycle -> api, workers -> context -> service -> { dest  select  load  health }   pure: no host, no unsafe
//!                                                   service -> state -> shm -> host::mem
//! module, lifecycle, api, workers, context -> host -> host::ffi (private)
//! ```
//!
//! # Where things are
//!
//! | folder      | holds                                                                     |
//! |-------------|---------------------------------------------------------------------------|
//! | [`module`]  | the table of exports, one row each                                        |
//! | [`lifecycle`] | start, fork, each second, stop                                          |
//! | [`conf`]    | the parameters, checked                                                   |
//! | [`context`] | what every process knows from before the fork; the source, the DNS, events |
//! | [`api`]     | what operators see: script functions, variables, RPC                      |
//! | [`workers`] | the loops of our own processes: prober, resolver                          |
//! | [`service`] | what happens when, one folder an occasion: routing, sets, health, report  |
//! | [`dest`]    | destinations as written: list file, attributes, flags                     |
//! | [`select`]  | algorithms, one file each                                                 |
//! | [`load`]    | the life of a call: key, phases, expiry                                   |
//! | [`health`]  | when a destination is down, whom to probe when                            |
//! | [`state`]   | all that processes share: generations, records, calls, ranks              |
//! | [`shm`]     | types that may live in shared memory                                      |
//! | [`host`]    | Kamailio, in safe words                                                   |
//!
//! # What always holds
//!
//! - A destination's load is the number of calls in the table that count for it; both change under one lock. A call counts
//!   there exactly while a branch of it that may still be answered, or was answered, went there.
//! - What a choice by call load looks up, the ranks of a set, changes in one step with the load or the state that it is of.
//! - No choice by call load takes a destination past its `maxload`, or those that share a capacity past that, unless the call has
//!   priority; and none takes them past limit and reserve, or is refused while there is room. A call that goes on to another destination keeps its place in the capacity that both share. (A call that is there already counts even beyond it: a
//!   2xx that crossed its CANCEL, a limit lowered by a reload, a call sent on by an algorithm that does not count.)
//! - In no second a destination gets more new INVITEs than its `cps` and the burst, whatever chooses; and none is refused that it may have.
//! - A reader of the sets never waits, and never sees half a reload. No worker waits for the DNS or for a probe.
//! - No answer to a probe changes what an operator disabled, and none begins or ends a drain.
//! - What served before serves on when something new is wrong.
//! - A panic does not reach the host.
//!
//! Under `--cfg loom` only the pure folders and [`shm`] are built: that is what the model checker works on.

#[cfg(not(loom))]
pub mod api;
#[cfg(not(loom))]
pub mod conf;
#[cfg(not(loom))]
pub mod context;
pub mod dest;
pub mod health;
#[cfg(not(loom))]
pub mod host;
#[cfg(not(loom))]
pub mod lifecycle;
pub mod load;
#[cfg(not(loom))]
pub mod module;
pub mod select;
#[cfg(not(loom))]
pub mod service;
pub mod shm;
#[cfg(not(loom))]
pub mod state;
#[cfg(not(loom))]
pub mod workers;
