//! Looks for drains that are over, and lets slow starts go on.

use super::prober;
use crate::context::{Module, event};
use crate::dest::problem::shown;
use crate::host::log;
use crate::service::health::drain::{self, Over};
use crate::service::health::set_state::Told;
use crate::service::health::slow_start;
use core::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds between two looks of one process at what is drained.
const PAUSE: u64 = 250;

/// Disables what is drained, and tells the configuration; and gives those more that start slowly. The process for names comes by, and the timer, should that
/// wait for the DNS or not be there.
pub fn end_those_over(module: &Module) {
    static LOOKED: AtomicU64 = AtomicU64::new(0);
    let now = prober::now();
    let before = LOOKED.load(Ordering::Relaxed);
    let root = module.root;
    if root.drains.get() == 0 && root.registry.slow_starts.get() == 0 || now.micros < before + PAUSE * 1000 {
        return;
    }
    LOOKED.store(now.micros, Ordering::Relaxed);
    let over = {
        let Some(sets) = module.sets() else { return };
        slow_start::go_on(root, &sets);
        drain::end_those_over(module.root, &sets, now)
    };
    for Over { told: Told { set, uri, report, .. }, calls } in &over {
        let (uri, why) = (shown(uri), String::from_utf8_lossy(report.reason.bytes()));
        log::info(format_args!("set {set}: {uri} is disabled, {why}; {calls} calls are up"));
    }
    event::tell_all(module, over.into_iter().map(|one| one.told).collect());
}
