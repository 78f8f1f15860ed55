//! The module in a real server, with real SIP over UDP: what a user relies on, one claim a test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

mod arguments;
mod branches;
mod calls;
mod causes;
mod check;
mod picks;
mod released;
mod watch;

mod crossing;
mod edits;
mod examples;
mod expiry;
mod explain;
mod failover;
mod first_contact;
mod flood;
mod followed;
mod harness;
mod harness_dns;
mod harness_probing;
mod identity;
mod lean_failover;
mod limits;
mod lives;
mod main_job;
mod memory;
mod metrics;
mod names;
mod names_fresh;
mod names_unresolved;
mod names_waiting;
mod pace;
mod records;
mod release;
mod reloads;
mod removal;
mod repeats;
mod restart;
mod restart_files;
mod settings;
mod snippets;
mod soak;
mod source_kinds;
mod source_model;
mod status_browser;
mod status_page;
mod stock;
mod stock_kamcmd;
mod stock_rpc;
mod stopped;
mod storm;
mod storm_all;
mod storm_branches;
mod storm_edits;
mod storm_sources;
mod targets;
mod transactions;
mod transfer;
mod transports;

mod hostile_text;
mod odd_bytes;
mod odd_lines;
mod odd_messages;
mod odd_parameters;
mod selections;
mod send_socket;
mod side_by_side;

mod database;
mod database_loss;
mod differences;
mod differential;

mod from_list;
mod membership;
mod overload;
mod weights;
mod wide_numbers;

mod bad_arguments;
mod binding;
mod failover_network;
mod kemi;
mod kemi_calls;
mod parallel;
mod parameters;
mod platforms;
mod route_kinds;

mod events;
mod events_callback;
mod latency;
mod probing;
mod probing_answers;
mod probing_dropped;
mod probing_families;
mod probing_loss;
mod probing_network;
mod probing_off;
mod probing_options;
mod probing_reload;
mod probing_sockets;
mod probing_start;
mod probing_tls;
