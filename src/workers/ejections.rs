//! Looks at what is ejected: lets calls come again, and tells what has happened.

use super::prober;
use crate::context::{Module, event};
use crate::dest::problem::shown;
use crate::health::event::DestinationEvent;
use crate::host::log;
use crate::service::health::ejection;
use core::sync::atomic::{AtomicU64, Ordering};

/// Milliseconds between two looks of one process.
const PAUSE: u64 = 250;

/// The process for names comes by, and the timer, should that wait for the DNS or not be there.
pub fn look(module: &Module) {
    static LOOKED: AtomicU64 = AtomicU64::new(0);
    let Some(rules) = &module.conf.ejection else { return };
    let now = prober::now();
    let before = LOOKED.load(Ordering::Relaxed);
    if module.root.ejections.get() == 0 || now.micros < before + PAUSE * 1000 {
        return;
    }
    LOOKED.store(now.micros, Ordering::Relaxed);
    let turns = {
        let Some(sets) = module.sets() else { return };
        ejection::look(module.root, &sets, rules, now)
    };
    for told in &turns {
        let (set, uri, report) = (told.set, shown(&told.uri), &told.report);
        let why = String::from_utf8_lossy(report.reason.bytes());
        if told.event == DestinationEvent::Down {
            log::warning(format_args!("set {set}: {uri} is {why}, the last with {}", report.code));
        } else {
            log::info(format_args!("set {set}: {uri} is in service again, {why}"));
        }
    }
    event::tell_all(module, turns);
}
