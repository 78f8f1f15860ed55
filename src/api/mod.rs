//! What operators see: script functions, RPC commands. Each reads its arguments, calls a service and writes the answer.
//!
//! Not here: a lock, a decision.

pub mod exists;
pub mod failover;
pub mod list;
pub mod load;
pub mod reload;
pub mod rpc;
pub mod select;
mod source;

use crate::conf::Conf;
use crate::host::{log, mem::Pool, process};
use crate::shm::snapshot::Pin;
use crate::state::{Generation, Root};
use once_cell::sync::OnceCell;

/// What every process knows from before the fork.
pub struct Module {
    /// The parameters.
    pub conf: Conf,
    /// The shared state.
    pub root: &'static Root<Pool>,
}

static MODULE: OnceCell<Module> = OnceCell::new();

/// Sets the module up. Once, in `mod_init`.
pub fn set_up(module: Module) -> Result<(), &'static str> {
    MODULE.set(module).map_err(|_| "the module is initialised twice")
}

/// The module, once it is set up; before that the host calls none of this.
pub fn module() -> Option<&'static Module> {
    MODULE.get()
}

impl Module {
    /// The sets that serve now, for as long as the pin is held.
    pub fn sets(&self) -> Option<Pin<'static, Generation<Pool>>> {
        self.root
            .sets
            .pin(process::number())
            .inspect_err(|error| {
                log::critical(format_args!("BUG: the destination sets cannot be read: {error:?}"))
            })
            .ok()
    }
}
