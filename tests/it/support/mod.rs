//! A real Kamailio, real SIP over UDP, and everything around it cleaned up when its guard goes out of scope.
//!
//! [`server`] starts a server in a run directory of its own; [`rpc`] asks it things. [`message`] reads and
//! writes SIP, [`agent`] is a caller that a test drives step by step, [`gateway`] answers calls by a policy on
//! any number of addresses, [`sipp`] runs SIPp where a test wants somebody else's SIP stack. [`probed`] is a gateway
//! whose answers to OPTIONS a test changes, [`blackhole`] takes no connection, [`dns`] answers for names.
//! [`transports`] asks by other ways than [`rpc`]. [`counting`], [`over`] and [`language`] say in which way a test of call load runs.
//!
//! Nothing has a fixed port: each server, agent and gateway has a loopback address of its own ([`net`]) and a
//! port from the kernel. Nothing sleeps until something is "surely" ready: [`wait`] asks until it is.

#![allow(dead_code, unused_imports)] // each binary that includes it uses its own part

pub mod agent;
pub mod behaviour;
pub mod blackhole;
pub mod browser;
pub mod child;
pub mod counting;
pub mod database;
pub mod dns;
pub mod flow;
pub mod gateway;
pub mod host;
pub mod language;
pub mod malformed;
pub mod message;
pub mod net;
pub mod over;
pub mod probed;
pub mod probes;
pub mod resolver;
pub mod rpc;
pub mod server;
pub mod server_config;
pub mod sip_sockets;
pub mod sipp;
pub mod stalls;
pub mod stream;
pub mod transports;
pub mod wait;

pub use agent::{Agent, Call};
pub use behaviour::Behaviour;
pub use blackhole::BlackHole;
pub use dns::{Dns, TYPE, Trouble};
pub use gateway::{Gateways, Received};
pub use malformed::Malformed;
pub use message::Message;
pub use over::Over;
pub use probed::Probed;
pub use probes::{Probe, distinct};
pub use rpc::{Destination, Rpc, RpcError};
pub use server::Kamailio;
pub use sipp::Sipp;
pub use stalls::Stalls;
pub use wait::{eventually, until};
