//! Looks at what is ejected: lets calls come again, and tells what has happened.

use super::prober;
use crate::context::{Module, event};
use crate::dest::problem::shown;
use crate::health::event::DestinationEvent;
use crate::host::log;
use crate::service::health::ejection::{self, Turn};
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
    for Turn { told, seconds } in &turns {
        let (set, uri, report) = (told.set, shown(&told.uri), &told.report);
        let why = String::from_utf8_lossy(report.reason.bytes());
        match (told.event, seconds) {
            (DestinationEvent::Down, Some(seconds)) => log::warning(format_args!(
                "set {set}: {uri} is out for {seconds} s, {why}, the last with {}",
                report.code
            )),
            (DestinationEvent::Down, None) => {
                log::warning(format_args!("set {set}: {uri} is out, {why}, the last with {}", report.code));
            }
            _ => log::info(format_args!("set {set}: {uri} is in service again, {why}")),
        }
    }
    event::tell_all(module, turns.into_iter().map(|turn| turn.told).collect());
}
