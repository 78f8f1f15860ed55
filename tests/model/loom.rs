//! The lock-free pieces under the model checker: every interleaving that matters, weak memory included.
//!
//! Run with `make model`; without `--cfg loom` there is nothing here.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use dispatcher::shm::arc;
use dispatcher::shm::arena::{Arena, Gone};
use dispatcher::shm::atomic::{AtomicU32, Ordering};
use dispatcher::shm::counter::{self, Audited, Gauge, Load};
use dispatcher::shm::lock::Futex;
use dispatcher::shm::sheet::Sheet;
use dispatcher::shm::snapshot::{Retired, Snapshot};
use dispatcher::shm::{Heap, Shared};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// A value whose end the checker sees: dropping it while another thread reads it is a race.
struct Watched(UnsafeCell<u32>);

// SAFETY: the checker watches every access.
unsafe impl Shared for Watched {}
// SAFETY: as above.
unsafe impl Sync for Watched {}
// SAFETY: as above.
unsafe impl Send for Watched {}

impl Watched {
    fn new(value: u32) -> Self {
        Self(UnsafeCell::new(value))
    }

    fn read(&self) -> u32 {
        // SAFETY: the checker fails the test if somebody writes meanwhile.
        self.0.with(|value| unsafe { *value })
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // SAFETY: as above.
        self.0.with_mut(|value| unsafe { *value = u32::MAX });
    }
}

fn snapshot(readers: usize) -> (Arc<Snapshot<Watched, Heap>>, Retired<Watched>) {
    let snapshot = Snapshot::new_in(Heap);
    let mut retired = Retired::default();
    snapshot.open(readers).unwrap();
    snapshot.publish(Watched::new(1), &mut retired).unwrap();
    (Arc::new(snapshot), retired)
}

#[test]
fn a_pinned_value_is_not_given_back() {
    loom::model(|| {
        let (snapshot, mut retired) = snapshot(1);
        let reader = {
            let snapshot = snapshot.clone();
            thread::spawn(move || {
                let pin = snapshot.pin(0).unwrap();
                let value = pin.read();
                assert!(value == 1 || value == 2);
                drop(pin);
                // A second pin may not see an older value than the first.
                assert!(snapshot.pin(0).unwrap().read() >= value);
            })
        };
        snapshot.publish(Watched::new(2), &mut retired).unwrap();
        snapshot.reclaim(&mut retired, |_| {});
        reader.join().unwrap();
        let mut freed = 0;
        snapshot.reclaim(&mut retired, |_| freed += 1);
        assert_eq!(snapshot.current(&retired).unwrap().read(), 2);
    });
}

#[test]
fn a_reader_that_comes_back_between_two_reloads_is_safe() {
    loom::model(|| {
        let (snapshot, mut retired) = snapshot(1);
        let reader = {
            let snapshot = snapshot.clone();
            thread::spawn(move || {
                let outer = snapshot.pin(0).unwrap();
                let inner = snapshot.pin(0).unwrap();
                assert!(inner.read() >= outer.read());
                drop(inner);
                outer.read();
            })
        };
        for value in 2..4 {
            snapshot.publish(Watched::new(value), &mut retired).unwrap();
            snapshot.reclaim(&mut retired, |_| {});
        }
        reader.join().unwrap();
    });
}

#[test]
fn everything_is_given_back_once_all_are_idle() {
    loom::model(|| {
        let (snapshot, mut retired) = snapshot(2);
        let reader = {
            let snapshot = snapshot.clone();
            thread::spawn(move || {
                snapshot.pin(1).unwrap().read();
            })
        };
        snapshot.publish(Watched::new(2), &mut retired).unwrap();
        let mut freed = 0;
        snapshot.reclaim(&mut retired, |_| freed += 1);
        reader.join().unwrap();
        snapshot.reclaim(&mut retired, |_| freed += 1);
        assert_eq!(freed, 1);
    });
}

#[test]
fn the_lock_lets_in_one_at_a_time_and_loses_no_wake_up() {
    loom::model(|| {
        let shared = Arc::new((Futex::new(), UnsafeCell::new(0u32)));
        // SAFETY: the checker fails the test if two are inside at once.
        let enter = |shared: &(Futex, UnsafeCell<u32>)| {
            shared.0.acquire();
            // SAFETY: the lock is held; the checker fails the test if it lets two in.
            shared.1.with_mut(|value| unsafe { *value += 1 });
            shared.0.release();
        };
        let other = {
            let shared = shared.clone();
            thread::spawn(move || enter(&shared))
        };
        enter(&shared);
        other.join().unwrap();
        shared.0.acquire();
        // SAFETY: as above.
        assert_eq!(shared.1.with(|value| unsafe { *value }), 2);
    });
}

/// A load with the lock under which it changes.
struct Board {
    lock: Futex,
    load: Load,
}

impl Default for Board {
    fn default() -> Self {
        Self { lock: Futex::new(), load: Load::default() }
    }
}

impl Board {
    fn locked<T>(&self, change: impl FnOnce(&Load) -> T) -> T {
        self.lock.acquire();
        let done = change(&self.load);
        self.lock.release();
        done
    }
}

#[test]
fn two_that_saw_one_free_place_do_not_both_take_it() {
    loom::model(|| {
        let load = Arc::new(Board::default());
        let attempt = |board: &Board| {
            // The loop of a selection with maxload 1, which looks before it has the lock.
            loop {
                let seen = board.load.get();
                if seen >= 1 {
                    return false;
                }
                if board.locked(|load| load.take_if(seen, Audited::NotYet)) {
                    return true;
                }
            }
        };
        let other = {
            let load = load.clone();
            thread::spawn(move || attempt(&load))
        };
        let here = attempt(&load);
        assert!(here != other.join().unwrap(), "exactly one gets the place");
        assert_eq!(load.load.get(), 1);
    });
}

/// One takes and gives; another gives what it never took, at any moment. Whoever looks sees one of 0 and 1.
#[test]
fn a_gauge_that_is_given_back_too_often_stays_within_its_range_and_tells_it_once() {
    static TOLD: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    counter::on_fault(|| {
        TOLD.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    loom::model(|| {
        TOLD.store(0, std::sync::atomic::Ordering::Relaxed);
        let board = Arc::new(Board::default());
        let other = {
            let board = board.clone();
            thread::spawn(move || board.locked(|load| load.give(Audited::NotYet)))
        };
        board.locked(|load| load.take(Audited::NotYet));
        assert!(board.load.get() <= 1);
        board.locked(|load| load.give(Audited::NotYet));
        other.join().unwrap();
        assert_eq!((board.load.get(), TOLD.load(std::sync::atomic::Ordering::Relaxed)), (0, 1));
        assert!(board.locked(|load| load.take_if(0, Audited::NotYet)));
        assert_eq!(board.load.get(), 1);
    });
}

/// Two shards with a call each that ends, and an audit that goes through both meanwhile.
#[test]
fn an_audit_that_nobody_waits_for_finds_each_call_that_a_load_counts() {
    loom::model(|| {
        let shards = || [0, 1].map(|_| (Futex::new(), UnsafeCell::new((Audited::NotYet, 1u32))));
        let shared = Arc::new((Board::default(), shards()));
        (0..2).for_each(|_| shared.0.load.take(Audited::NotYet));
        // SAFETY: the checker fails the test if two are inside at once.
        let inside = |(lock, shard): &(Futex, UnsafeCell<(Audited, u32)>),
                      work: &mut dyn FnMut(&mut (Audited, u32))| {
            lock.acquire();
            // SAFETY: as above.
            shard.with_mut(|shard| work(unsafe { &mut *shard }));
            lock.release();
        };
        let calls = {
            let shared = shared.clone();
            thread::spawn(move || {
                // One goes from the first shard, one comes to the second.
                inside(&shared.1[0], &mut |(audited, calls)| {
                    shared.0.locked(|load| load.give(*audited));
                    *calls -= 1;
                });
                inside(&shared.1[1], &mut |(audited, calls)| {
                    shared.0.locked(|load| load.take(*audited));
                    *calls += 1;
                });
            })
        };
        let mut found = 0;
        for shard in &shared.1 {
            inside(shard, &mut |(audited, calls)| {
                found += *calls;
                *audited = Audited::Already;
            });
        }
        let (load, since) = shared.0.load.account();
        assert_eq!(i64::from(load), i64::from(found) + i64::from(since));
        calls.join().unwrap();
        assert_eq!(shared.0.load.get(), 2);
    });
}

#[test]
fn words_that_are_read_are_of_one_write() {
    loom::model(|| {
        let sheet = Arc::new(Sheet::new_in(Heap));
        let reader = {
            let sheet = sheet.clone();
            thread::spawn(move || {
                let mut last = 0;
                for _ in 0..2 {
                    let seen = sheet.read(|words| [words.get(0), words.get(1)]);
                    if let Some([one, other]) = seen {
                        assert_eq!(one, other, "torn");
                        assert!(one.unwrap_or(0) >= last, "older than before");
                        last = one.unwrap_or(0);
                    }
                }
            })
        };
        sheet.make_room(2).unwrap();
        for word in 1..3 {
            sheet.write([word, word].into_iter());
        }
        reader.join().unwrap();
        assert_eq!(sheet.read(|words| words.get(1)), Some(Some(2)));
    });
}

#[test]
fn a_record_found_without_calls_shows_all_that_they_did() {
    loom::model(|| {
        let shared = Arc::new((Gauge::default(), UnsafeCell::new(0u32)));
        shared.0.take();
        let call = {
            let shared = shared.clone();
            thread::spawn(move || {
                // SAFETY: the checker fails the test if the reuse below overlaps.
                shared.1.with_mut(|value| unsafe { *value = 1 });
                shared.0.give();
            })
        };
        if shared.0.is_zero() {
            // SAFETY: as above.
            shared.1.with_mut(|value| unsafe { *value = 2 });
        }
        call.join().unwrap();
    });
}

#[test]
fn a_number_that_is_found_is_found_whole() {
    loom::model(|| {
        let arena = Arc::new(Arena::<Made, Heap>::new_in(Heap));
        let reader = {
            let arena = arena.clone();
            thread::spawn(move || {
                if let Some(made) = arena.get(0) {
                    assert_eq!(made.0.load(Ordering::Relaxed), 7);
                }
            })
        };
        arena.make(0).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_number_that_was_found_under_a_pin_stays_until_that_ends() {
    loom::model(|| {
        let (snapshot, _retired) = snapshot(1);
        let arena = Arc::new(Arena::<Watched, Heap>::new_in(Heap));
        let mut gone = Gone::default();
        arena.make(0).unwrap();
        let reader = {
            let (snapshot, arena) = (snapshot.clone(), arena.clone());
            thread::spawn(move || {
                let pin = snapshot.pin(0).unwrap();
                if let Some(one) = arena.get(0) {
                    assert_eq!(one.read(), 3);
                }
                drop(pin);
            })
        };
        arena.take_out(0, &mut gone, || snapshot.step());
        let freed = arena.free(&mut gone, snapshot.oldest(), 1);
        // Another in its place is not what the reader found.
        arena.make(0).unwrap();
        reader.join().unwrap();
        assert_eq!(freed + arena.free(&mut gone, snapshot.oldest(), 1), 1);
    });
}

impl Default for Watched {
    fn default() -> Self {
        Self::new(3)
    }
}

/// A value that is never zero once it is made.
struct Made(AtomicU32);

impl Default for Made {
    fn default() -> Self {
        Self(AtomicU32::new(7))
    }
}

// SAFETY: an atomic.
unsafe impl Shared for Made {}

#[test]
fn the_last_owner_takes_the_value_along_after_all_have_read_it() {
    loom::model(|| {
        let ends = Arc::new(AtomicU32::new(0));
        struct Ending(Watched, Arc<AtomicU32>);
        // SAFETY: the checker watches every access.
        unsafe impl Shared for Ending {}
        impl Drop for Ending {
            fn drop(&mut self) {
                self.1.fetch_add(1, Ordering::Relaxed);
            }
        }
        let one = arc::Arc::try_new_in(Ending(Watched::new(1), ends.clone()), Heap).unwrap();
        let other = one.clone();
        let reader = thread::spawn(move || {
            assert_eq!(other.0.read(), 1);
            drop(other);
        });
        assert_eq!(one.0.read(), 1);
        drop(one);
        reader.join().unwrap();
        assert_eq!(ends.load(Ordering::Relaxed), 1);
    });
}
