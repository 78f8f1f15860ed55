//! Lets the weight of failed calls decay.

use super::prober;
use crate::context::Module;
use crate::service::routing::penalty;
use core::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds between two times of one process.
const PAUSE: u64 = 250;

/// Brings the ranks up to date where failed calls weigh. The process for names comes by, and the timer, should that wait for the DNS or
/// not be there.
pub fn decay(module: &Module) {
    static LAST: AtomicU64 = AtomicU64::new(0);
    if module.root.penalties.get() == 0 {
        return;
    }
    let now = prober::now().micros;
    if now < LAST.load(Ordering::Relaxed) + PAUSE * 1000 {
        return;
    }
    LAST.store(now, Ordering::Relaxed);
    if let Some(sets) = module.sets() {
        penalty::decay(module.root, &sets);
    }
}
