//! Whose module a server runs, and by which allocator.

use super::figures::{BEFORE, COPY, OURS, STOCK};
use crate::servers::Kamailio;
use crate::servers::server_config::{Builder, dispatcher_so};
use std::path::PathBuf;
use std::sync::OnceLock;
use tempfile::TempDir;

/// Both, and the name of each: the fast one of few releases, and the one of Debian's default that checks for overruns.
pub const ALLOCATORS: [&str; 2] = ["fm", "qm"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    Ours,
    /// The same file under another name: what differs is noise.
    Copy,
    /// An earlier build of ours, where the environment names one: `BEFORE=/path/dispatcher.so`.
    Before,
    Stock,
}

impl Module {
    pub fn name(self) -> &'static str {
        match self {
            Module::Ours => OURS,
            Module::Copy => COPY,
            Module::Before => BEFORE,
            Module::Stock => STOCK,
        }
    }

    /// All that can be measured here.
    pub fn all() -> Vec<Module> {
        let all = [Module::Ours, Module::Copy, Module::Before, Module::Stock];
        all.into_iter().filter(|module| *module != Module::Before || before().is_some()).collect()
    }

    pub fn server(self, allocator: &str) -> Builder {
        let builder = match self {
            Module::Ours => Kamailio::builder(),
            Module::Copy => Kamailio::builder().module_at(copy()),
            Module::Before => Kamailio::builder().module_at(before().expect("BEFORE names a module")),
            Module::Stock => Kamailio::builder().stock(),
        };
        if allocator == "fm" { builder.fast_allocator() } else { builder }
    }
}

fn before() -> Option<PathBuf> {
    std::env::var_os("BEFORE").map(PathBuf::from)
}

fn copy() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::copy(dispatcher_so(), folder.path().join("dispatcher.so")).expect("a copy of the module");
        folder
    });
    folder.path().join("dispatcher.so")
}
