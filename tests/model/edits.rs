//! Changes of single destinations: the sets are the same as after the same changes of the list, and each change builds one block.

use core::sync::atomic::{AtomicBool, Ordering};
use std::collections::BTreeMap;

use dispatcher::dest::{Attrs, Entry, Flags, Problem, SourceLine, SourcePosition};
use dispatcher::load::{Event, Expiry};
use dispatcher::service::housekeeping;
use dispatcher::service::report::audit;
use dispatcher::service::sets::edit::{self, NotEdited, Pace, Update};
use dispatcher::service::sets::readdress::readdress;
use dispatcher::service::sets::resolve::{Meaning, Resolved};
use dispatcher::service::sets::source::{Found, Source};
use dispatcher::state::{Member, Root};
use proptest::prelude::*;

use super::mapping::Mapping;
use super::{Random, WORKERS, call_load, fork_workers, load_is_right, publish, report, unlocated};

pub const PACE: Pace = Pace { delta: 0, now: 0 };

/// Takes every entry as it is.
struct AsItIs;

impl Source for AsItIs {
    fn read<'t>(&self, _: &'t mut Vec<u8>) -> Result<(Vec<SourceLine<'t>>, Vec<Problem>), String> {
        Err("nothing is read here".into())
    }
    fn locate<'t>(&self, entry: Entry<'t>) -> Result<Resolved<'t>, Problem> {
        Ok(Resolved { named: false, ..unlocated(entry) })
    }
    fn look_up(&self, _: &Resolved<'_>) -> Found {
        Found::Unwanted
    }
}

pub fn add(root: &Root<Mapping>, set: i32, name: u32, priority: i32, maxload: u32) -> Result<(), NotEdited> {
    with(root, set, (&format!("sip:gw{name}"), priority), &format!("maxload={maxload}"))
}

/// Adds one with these attributes.
pub fn with(
    root: &Root<Mapping>,
    set: i32,
    (uri, priority): (&str, i32),
    attrs: &str,
) -> Result<(), NotEdited> {
    let (place, uri) = (SourcePosition::Row(1), uri.as_bytes().to_vec().into());
    let (attrs, flags) = (Attrs::parse(attrs.as_bytes(), true).unwrap(), Flags::default());
    let entry = Entry { place, set, uri, flags, priority, attrs, findings: Vec::new() };
    edit::add(root, &AsItIs, entry, PACE).map(drop)
}

pub fn limit(root: &Root<Mapping>, set: i32, uri: &[u8], maxload: u32) -> Result<(), NotEdited> {
    let attrs = format!("maxload={maxload}");
    let attrs = Some(Attrs::parse(attrs.as_bytes(), true).unwrap());
    edit::update(root, &AsItIs, (set, uri), &Update { attrs, ..Update::default() }, PACE).map(drop)
}

/// What a set is, in its order: name, priority and limit.
type Model = BTreeMap<i32, Vec<(u32, i32, u32)>>;

fn serving(root: &Root<Mapping>) -> Model {
    let Ok(sets) = root.sets.pin(0) else { return Model::new() };
    let mut model = Model::new();
    for (_, set, one) in sets.all() {
        let uri = String::from_utf8_lossy(one.text(one.uri)).into_owned();
        let name = uri.trim_start_matches("sip:gw").parse().unwrap();
        let named: Vec<_> = set.with_uri(uri.as_bytes()).map(|(_, one)| one.record).collect();
        assert!(named.contains(&one.record), "{uri} is found by its name");
        model.entry(set.id).or_default().push((name, one.priority, one.maxload));
    }
    assert_eq!(model.keys().copied().collect::<Vec<_>>(), sets.sets().map(|set| set.id).collect::<Vec<_>>());
    model
}

/// Puts one before all of its priority.
fn insert(set: &mut Vec<(u32, i32, u32)>, one: (u32, i32, u32)) {
    let at = set.partition_point(|other| other.1 > one.1);
    set.insert(at, one);
}

/// Records that are held by something, and those that are there at all.
pub fn records(root: &Root<Mapping>) -> (usize, usize) {
    let (mut held, mut all) = (0, 0);
    root.registry.for_each(|named| {
        held += usize::from(named.configured);
        all += 1;
    });
    (held, all)
}

#[derive(Debug, Clone)]
enum Step {
    Add(i32, u32, i32, u32),
    Remove(i32, u32),
    Limit(i32, u32, u32),
    Rank(i32, u32, i32),
    Readdress(i32),
}

fn step() -> impl Strategy<Value = Step> {
    // Names of the first set are found in blocks all over it.
    let (set, name) = (prop_oneof![4 => Just(1), 1 => 0..100], prop_oneof![0..300u32, 295..305u32]);
    (set, name, 0..3i32, 0..9u32, 0..12u8).prop_map(|(set, name, priority, maxload, kind)| match kind {
        0..=3 => Step::Add(set, name, priority, maxload),
        4..=7 => Step::Remove(set, name),
        8 | 9 => Step::Limit(set, name, maxload),
        10 => Step::Rank(set, name, priority),
        _ => Step::Readdress(set),
    })
}

/// The destination of a set that comes last, and where it is said to be.
pub fn last(root: &Root<Mapping>, set: i32) -> Option<((u32, u64), Meaning)> {
    let sets = root.sets.pin(0).ok()?;
    let one = sets.set(set)?.iter().last()?;
    let meaning = Meaning { addresses: vec![[10, 0, 0, 1].into()], port_and_proto: Some((5061, 2)) };
    Some(((one.record, one.asked), meaning))
}

fn perform(root: &Root<Mapping>, step: &Step) -> Result<(), NotEdited> {
    let uri = |name: u32| format!("SIP:gw{name}").into_bytes();
    match *step {
        Step::Add(set, name, priority, maxload) => add(root, set, name, priority, maxload),
        Step::Remove(set, name) => edit::remove(root, set, &uri(name), PACE),
        Step::Limit(set, name, maxload) => limit(root, set, &uri(name), maxload),
        Step::Rank(set, name, priority) => {
            let update = Update { priority: Some(priority), ..Update::default() };
            edit::update(root, &AsItIs, (set, &uri(name)), &update, PACE).map(drop)
        }
        Step::Readdress(set) => {
            let found = last(root, set).ok_or(NotEdited::NotThere)?;
            readdress(root, &[found].into()).map_err(NotEdited::OutOfMemory)
        }
    }
}

/// What the step makes of the model; whether it can be done.
fn expect(model: &mut Model, step: &Step) -> bool {
    let (set, is_it): (i32, u32) = match *step {
        Step::Add(set, name, priority, maxload) => {
            insert(model.entry(set).or_default(), (name, priority, maxload));
            return true;
        }
        Step::Readdress(set) => return model.contains_key(&set),
        Step::Remove(set, name) | Step::Limit(set, name, _) | Step::Rank(set, name, _) => (set, name),
    };
    let Some(all) = model.get_mut(&set) else { return false };
    let found: Vec<_> = all.iter().copied().filter(|one| one.0 == is_it).collect();
    match *step {
        Step::Limit(_, _, maxload) => {
            all.iter_mut().filter(|one| one.0 == is_it).for_each(|one| one.2 = maxload);
        }
        Step::Rank(_, _, priority) if found.iter().any(|one| one.1 != priority) => {
            all.retain(|one| one.0 != is_it);
            found.iter().rev().for_each(|one| insert(all, (one.0, priority, one.2)));
        }
        Step::Remove(..) => all.retain(|one| one.0 != is_it),
        _ => {}
    }
    model.retain(|_, all| !all.is_empty());
    !found.is_empty()
}

/// Where memory lasts for so many blocks only, the step fails and changes nothing; then it is done.
fn apply(mapping: Mapping, root: &Root<Mapping>, model: &mut Model, step: &Step, blocks: usize) {
    mapping.fail_after(blocks);
    let mut done = perform(root, step);
    mapping.fail_after(usize::MAX);
    if matches!(done, Err(NotEdited::OutOfMemory(_))) {
        assert_eq!(&serving(root), model, "{step:?} after {blocks} blocks");
        done = perform(root, step);
    }
    match (done, expect(model, step)) {
        (Ok(()), true) | (Err(NotEdited::NotThere), false) => {}
        (done, _) => panic!("{step:?}: {done:?}"),
    }
    if let Step::Readdress(set) = step {
        let sets = root.sets.pin(0).ok();
        let one = sets.as_ref().and_then(|sets| sets.set(*set)?.iter().last());
        let means = |one: Member<'_>| (one.addresses().to_vec(), one.port, one.proto);
        assert!(one.is_none_or(|one| means(one) == (vec![[10, 0, 0, 1].into()], 5061, 2)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn changes_are_those_of_a_list_or_fail_as_a_whole(
        size in 0u32..300,
        sets in 0i32..100,
        steps in prop::collection::vec((step(), prop_oneof![0..25usize, Just(usize::MAX)]), 1..60),
    ) {
        let mapping = Mapping::new(8 << 20);
        let root = super::root(mapping);
        let lines = (0..size).map(|n| format!("1 sip:gw{n} 0 {} maxload={}\n", n % 3, n % 5));
        let others = (0..sets).map(|set| format!("{} sip:gw{set}\n", set + 2));
        let lines: String = lines.chain(others).collect();
        publish(root, &lines).unwrap();
        let mut model = serving(root);
        for (step, blocks) in &steps {
            apply(mapping, root, &mut model, step, *blocks);
            prop_assert_eq!(&serving(root), &model, "after {:?}", step);
        }
        housekeeping::tidy(root);
        let identities = |(id, set): (&i32, &Vec<(u32, i32, u32)>)| {
            set.iter().map(|one| (*id, one.0)).collect::<std::collections::HashSet<_>>().len()
        };
        let due: usize = model.iter().map(identities).sum();
        prop_assert_eq!(records(root), (due, due), "each identity has one record, and nothing else has");
        publish(root, "").unwrap();
        housekeeping::tidy(root);
        prop_assert_eq!(records(root), (0, 0));
    }
}

/// Blocks of memory that an addition, a change and a removal take beside so many destinations.
fn allocations(size: u32, in_set: u32) -> Vec<usize> {
    let mapping = Mapping::new(256 << 20);
    let root = super::root(mapping);
    let line = |n: u32| format!("{} sip:gw{n} 0 {} x=y\n", n / in_set + 1, n % 3);
    publish(root, &(0..size).map(line).collect::<String>()).unwrap();
    let update = Update { attrs: Some(Attrs::parse(b"x=z", true).unwrap()), ..Update::default() };
    let mut taken = Vec::new();
    // The first time blocks are cut in two, and free room is made.
    for _ in 0..3 {
        taken.clear();
        for change in [
            &|| add(root, 1, 1_000_000, 1, 0),
            &|| edit::update(root, &AsItIs, (1, b"sip:gw1000000"), &update, PACE).map(drop),
            &|| edit::remove(root, 1, b"sip:gw1000000", PACE),
        ] as [&dyn Fn() -> Result<(), NotEdited>; 3]
        {
            let before = mapping.allocations();
            change().unwrap();
            taken.push(mapping.allocations() - before);
        }
    }
    taken
}

#[test]
fn one_of_thirty_thousand_costs_what_one_of_a_hundred_costs() {
    let few = allocations(100, 100);
    assert_eq!(allocations(30_000, 30_000), few);
    // The sets are a list of runs then, not one run.
    let among_many: Vec<_> = few.iter().map(|blocks| blocks + 1).collect();
    assert_eq!(allocations(30_000, 100), among_many);
    assert!(few.iter().all(|&blocks| blocks < 40), "{few:?}");
}

#[test]
fn changes_give_their_memory_back() {
    let mapping = Mapping::new(32 << 20);
    let root = super::root(mapping);
    publish(root, &(0..1000).map(|n| format!("1 sip:gw{n}\n")).collect::<String>()).unwrap();
    let mut level = 0;
    for turn in 0..400u32 {
        // A reader of every tenth generation stays on for some more.
        let pin = (turn % 10 == 0).then(|| root.sets.pin(0).unwrap());
        for name in [turn % 7, 1000] {
            edit::remove(root, 1, format!("sip:gw{name}").as_bytes(), PACE).ok();
            add(root, 1, name, 0, turn).unwrap();
        }
        assert!(pin.is_none_or(|pin| pin.set(1).unwrap().iter().count() >= 1000));
        edit::remove(root, 1, b"sip:gw1000", PACE).unwrap();
        housekeeping::tidy(root);
        if turn == 100 {
            level = mapping.used();
        }
    }
    assert!(mapping.used().abs_diff(level) <= level / 20, "{} after {level}", mapping.used());
    assert_eq!(audit::audit(root).accounts.len(), 1000);
}

/// Calls in every worker while destinations of a long list come, go and get other limits.
#[test]
fn a_storm_of_calls_and_changes_leaves_no_drift() {
    const NAMES: u64 = 200;
    let mapping = Mapping::new(64 << 20);
    let root = super::root(mapping);
    let lines: String = (0..NAMES).map(|n| format!("1 sip:gw{n} 0 0 maxload=20\n")).collect();
    publish(root, &lines).unwrap();
    let enough = mapping.keep(AtomicBool::new(false));
    let (mut random, mut changes) = (Random(99), 0);
    fork_workers(
        |worker| {
            let mut random = Random(worker as u64 + 1);
            for now in 0.. {
                if now >= 8_000 && enough.load(Ordering::Relaxed) {
                    break;
                }
                let sets = root.sets.pin(worker).unwrap();
                let key = root.secret.call(&random.below(2_000).to_ne_bytes());
                if random.below(2) == 0 {
                    call_load(root, &sets, key, now).unwrap();
                } else {
                    report(root, &key, Event::Ended, now);
                }
            }
        },
        || {
            let name = random.below(NAMES) as u32;
            let uri = format!("sip:gw{name}");
            match random.below(3) {
                0 => drop(edit::remove(root, 1, uri.as_bytes(), PACE)),
                1 => drop(limit(root, 1, uri.as_bytes(), 30)),
                _ => {
                    drop(edit::remove(root, 1, uri.as_bytes(), PACE));
                    add(root, 1, name, 0, 20).unwrap();
                }
            }
            housekeeping::make_room(root).unwrap();
            changes += 1;
            enough.store(changes > 10 * WORKERS, Ordering::Relaxed);
        },
    );
    load_is_right(root, 30);
    housekeeping::expire(root, Expiry { early: 1, confirmed: 1 }, 1_000_000);
    assert_eq!(load_is_right(root, 0), 0);
}
