//! Probes and marks of one destination from all processes at once, and answers that come too late.

use core::sync::atomic::{AtomicU32, Ordering};
use dispatcher::dest::{Flags, ReplyCodes};
use dispatcher::health::event::{DestinationEvent, Events};
use dispatcher::health::mark::Thresholds;
use dispatcher::health::probing::ProbingMode;
use dispatcher::service::health::dns;
use dispatcher::service::health::probe::{self, End, Now, ProbeRules};
use dispatcher::service::health::set_state::{self, Mark};
use dispatcher::shm::Shared;
use dispatcher::shm::lock::Mutex;
use dispatcher::state::health::Report;

use super::mapping::Mapping;
use super::{Names, POLICY, Random, fork_workers, publish, reload, root};

const ROUNDS: u64 = 20_000;

struct Tally([AtomicU32; 3]);

// SAFETY: atomics only.
unsafe impl Shared for Tally {}

/// Of many reports at one instant each counts once, and each change between usable and not is one event.
#[test]
fn answers_and_marks_from_all_processes_change_the_state_one_at_a_time() {
    let mapping = Mapping::new(1 << 20);
    let root = root(mapping);
    publish(root, "1 sip:a 8").unwrap();
    let rules = ProbeRules {
        mode: ProbingMode::All,
        thresholds: Thresholds { failures: 2, replies: 2 },
        codes: ReplyCodes::default().into(),
        events: Events::Changes,
        alpha: Some(0.1),
    };
    let now = Now { micros: 1, wall: 1 };
    let tally = mapping.keep(Tally(Default::default()));
    let [ups, downs, begun] = &tally.0;
    // Each ticket is here for whoever takes it, and stays for a second one.
    let tickets = mapping.keep(Mutex::new([0u64; 32]));
    fork_workers(
        |number| {
            let mut random = Random(number as u64 + 1);
            for _ in 0..ROUNDS {
                let sets = root.sets.pin(number).unwrap();
                let set = sets.set(1).unwrap();
                let told = match random.below(4) {
                    0 => {
                        let one = set.get(0).unwrap();
                        let ticket = probe::begin(root, &rules, one, false, now).unwrap().ticket;
                        probe::went(root, one, now);
                        begun.fetch_add(1, Ordering::Relaxed);
                        tickets.lock()[random.below(32) as usize] = ticket;
                        None
                    }
                    1 => {
                        let state = [Flags::default(), Flags::TRYING][random.below(2) as usize];
                        let report = Report::default();
                        let (thresholds, events) = (rules.thresholds, rules.events);
                        let mark = Mark { state, report, thresholds, events, now: 1 };
                        set_state::mark(root, set, 0, &mark).unwrap()
                    }
                    _ => {
                        let ticket = tickets.lock()[random.below(32) as usize];
                        let code = [200, 503][random.below(2) as usize];
                        if ticket == 0 {
                            None
                        } else {
                            probe::end(root, &sets, &rules, ticket, End::Reply(code, b""), now)
                        }
                    }
                };
                match told.map(|told| told.event) {
                    Some(DestinationEvent::Up) => drop(ups.fetch_add(1, Ordering::Relaxed)),
                    Some(DestinationEvent::Down) => drop(downs.fetch_add(1, Ordering::Relaxed)),
                    Some(DestinationEvent::Drained) | None => {}
                }
            }
        },
        || {},
    );
    let late = root.counters.stale_probes.get();
    let [ups, downs, begun] = tally.0.each_ref().map(|count| count.load(Ordering::Relaxed));
    let sets = root.sets.pin(0).unwrap();
    let record = root.registry.record(sets.set(1).unwrap().get(0).unwrap().record).unwrap();
    assert_eq!(downs - ups, u32::from(!record.flags().usable()), "{downs} down, {ups} up");
    assert!(downs > 100 && late > 100, "{downs} down, {late} late");
    let health = record.health();
    assert_eq!(u64::from(begun), root.counters.probes.get());
    assert!(health.latency.average >= 0.0 && health.failures.min(health.successes) == 0);
}

#[test]
fn what_is_removed_and_comes_back_is_as_the_source_says_even_while_somebody_reads_the_old_sets() {
    let root = root(Mapping::new(1 << 20));
    let all = "1 sip:gw";
    publish(root, all).unwrap();
    let reader = root.sets.pin(0).unwrap();
    let number = reader.set(1).unwrap().get(0).unwrap().record;
    root.registry.change(number, 1, |_, _| Some((Flags::INACTIVE, 0)));
    publish(root, "").unwrap();
    publish(root, all).unwrap();
    assert_eq!(root.registry.record(number).unwrap().flags(), Flags::default());
}

#[test]
fn what_is_learned_of_an_old_name_is_nothing_to_the_new_one() {
    let root = root(Mapping::new(1 << 20));
    let load = |text| reload(root, &Names { text, resolving: false }, 0, 0, POLICY).unwrap();
    load("1 sip:old 0 0 duid=g");
    let old = root.sets.pin(0).unwrap();
    let set = old.set(1).unwrap();
    let one = set.get(0).unwrap();
    load("1 sip:new 0 0 duid=g");
    let events = Events::Changes;
    let rules =
        dns::NameRules { addresses: true, all: false, refresh: None, hold: None, probing: None, events };
    let wants = rules.wants(&one, false);
    let now = Now { micros: 5, wall: 5 };
    let learned = dns::learn(root, &rules, set, one, wants, dns::Look::default(), now);
    assert!(wants.addresses && learned.told.is_none() && learned.turn.is_none());
    let record = root.registry.record(one.record).unwrap();
    assert_eq!((record.flags(), record.health().name.looked), (Flags::default(), 0));
    let all = ProbeRules {
        mode: ProbingMode::All,
        thresholds: Thresholds { failures: 1, replies: 1 },
        codes: ReplyCodes::default().into(),
        events,
        alpha: None,
    };
    assert_eq!(probe::begin(root, &all, one, false, now), None, "it is not probed as it was");
}
