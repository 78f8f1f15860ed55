//! What the benchmarks share: servers of both modules, measuring them in turns, figures, tables, plots and the page.
#![allow(dead_code)] // each group has use for a part of it

pub mod aging;
pub mod figures;
pub mod in_process;
pub mod machine;
pub mod modules;
pub mod numbers;
pub mod page;
pub mod plot;
pub mod processes;
pub mod script_loop;
pub mod table;
pub mod traffic;
pub mod turns;
