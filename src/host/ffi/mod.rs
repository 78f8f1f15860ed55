//! Kamailio's own words, as bindgen reads them from its headers, and the shim for its macros.
//!
//! Private to `host`: nothing outside can name what is in here.

#![allow(
    missing_docs,
    unknown_lints,
    unnecessary_transmutes,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    dead_code,
    clippy::all
)]
#![allow(unsafe_op_in_unsafe_fn, clippy::undocumented_unsafe_blocks, clippy::indexing_slicing)]

include!(concat!(env!("OUT_DIR"), "/bindings.rs"));
include!(concat!(env!("OUT_DIR"), "/server.rs"));
