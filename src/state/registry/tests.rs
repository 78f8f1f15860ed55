//! Records that come, wait for their calls, and give their numbers to others.

use super::*;
use crate::shm::Heap;

#[allow(clippy::unwrap_used)]
fn board() -> Arc<Ranks<Heap>, Heap> {
    Arc::try_new_in(Ranks::try_new_in(Heap).unwrap(), Heap).unwrap()
}

fn registry() -> Registry<Heap> {
    Registry::new_in(Heap)
}

#[test]
fn a_record_with_calls_waits_for_its_destination_to_come_back() {
    let registry = registry();
    let hold = registry.hold([1, 1], 100, b"a", Flags::default(), &board()).unwrap();
    let record = registry.record(hold.number).unwrap();
    record.entries.take();
    record.load.take(Audited::NotYet);
    registry.let_go([hold.number].into_iter());
    registry.sweep();
    let again = registry.hold([1, 1], 100, b"a", Flags::default(), &board());
    assert_eq!(again, Ok(Hold { number: hold.number, existed: true }));
    assert_eq!(record.load.get(), 1);
}

#[test]
fn a_record_without_calls_gives_its_number_to_the_next() {
    let registry = registry();
    let hold = |name, flags| registry.hold([name, name], 1, b"x", flags, &board()).unwrap().number;
    assert_eq!([0, 1, 2].map(|name| hold(name, Flags::default())), [0, 1, 2]);
    registry.let_go([1].into_iter());
    registry.sweep();
    assert_eq!(hold(9, Flags::TRYING), 1);
    assert_eq!(registry.record(1).unwrap().flags(), Flags::TRYING);
    assert_eq!(hold(1, Flags::default()), 3);
}

#[test]
fn one_that_is_held_again_before_the_sweep_stays_and_is_swept_later() {
    let registry = registry();
    let hold = || registry.hold([5, 5], 1, b"x", Flags::default(), &board()).unwrap();
    let first = hold();
    registry.let_go([first.number].into_iter());
    assert!(hold().existed);
    registry.sweep();
    assert_eq!(registry.find(&[5, 5]), Some(first.number));
    registry.let_go([first.number].into_iter());
    registry.sweep();
    assert_eq!(registry.find(&[5, 5]), None);
    assert!(!hold().existed);
}
