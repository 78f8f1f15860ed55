//! The module in a real server, with real SIP over UDP: what a user relies on, one claim a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

mod calls;

mod crossing;
mod expiry;
mod failover;
mod harness;
mod identity;
mod limits;
mod main_job;
mod memory;
mod release;
mod reloads;
mod removal;
mod repeats;
mod stock;
mod stock_rpc;
mod storm;
