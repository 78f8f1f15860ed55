//! Which module this is: one line in the log at start, and `dispatcher.version`.

use super::rpc::with_module;
use crate::context::Module;
use crate::context::source::Destinations;
use crate::host::export;
use crate::host::log;
use crate::host::rpc::Rpc;

/// The module's version.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The stock module has no command that tells this.
const NAME: &str = "dispatcher (Rust)";

/// What serves.
struct Serving {
    sets: usize,
    destinations: usize,
    source: String,
}

fn serving(module: &Module) -> Serving {
    let sets = module.sets();
    let sizes: Vec<_> = sets.iter().flat_map(|sets| sets.sets()).map(|set| set.len()).collect();
    Serving {
        sets: sizes.len(),
        destinations: sizes.iter().sum(),
        source: Destinations::source_name(&module.conf),
    }
}

fn kamailio() -> &'static str {
    export::name(export::VERSION)
}

/// Tells the log, once.
pub fn tell(module: &Module) {
    let Serving { sets, destinations, source } = serving(module);
    let (sets, destinations) = (counted(sets, "set"), counted(destinations, "destination"));
    let server = kamailio();
    log::info(format_args!("{NAME} {VERSION} for {server}: {sets}, {destinations} from {source}"));
}

fn counted(number: usize, what: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {what}{s}")
}

/// `dispatcher.version`.
pub fn version(rpc: &Rpc) {
    with_module(rpc, |module| {
        let Serving { sets, destinations, source } = serving(module);
        let top = rpc.structure()?;
        top.text(c"MODULE", NAME.as_bytes())?;
        top.text(c"VERSION", VERSION.as_bytes())?;
        top.text(c"KAMAILIO", kamailio().as_bytes())?;
        top.int(c"SETS", sets as i32)?;
        top.int(c"DESTINATIONS", destinations as i32)?;
        Ok(top.text(c"SOURCE", source.as_bytes())?)
    });
}
