//! Whether the machine itself stood still: what a test that measures rates may blame on it, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

const NAP: Duration = Duration::from_millis(5);

/// A thread that naps this much later than it should was kept from running, as every other process may have been.
const STALL: Duration = Duration::from_millis(50);

/// Naps on and on, and writes down when it was late.
pub struct Stalls {
    seen: Arc<Mutex<Vec<(Instant, Instant)>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stalls {
    pub fn watch() -> Stalls {
        let (seen, stop) = (Arc::<Mutex<Vec<_>>>::default(), Arc::<AtomicBool>::default());
        let (list, end) = (Arc::clone(&seen), Arc::clone(&stop));
        let watch = move || {
            while !end.load(Ordering::Relaxed) {
                let before = Instant::now();
                std::thread::sleep(NAP);
                let after = Instant::now();
                if after - before > NAP + STALL {
                    list.lock().push((before, after));
                }
            }
        };
        Stalls { seen, stop, thread: Some(std::thread::spawn(watch)) }
    }

    /// Whether there was one between the two.
    pub fn between(&self, from: Instant, to: Instant) -> bool {
        self.seen.lock().iter().any(|&(begin, end)| begin < to && end > from)
    }

    /// The longest so far; at least what is not called one.
    pub fn longest(&self) -> Duration {
        let seen = self.seen.lock();
        seen.iter().map(|&(begin, end)| end - begin).max().unwrap_or_default().max(STALL)
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}
