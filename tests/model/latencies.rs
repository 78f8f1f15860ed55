//! The order that a set keeps for algorithm 13, while latencies, states and lines change: each choice and all that comes after it is
//! what a sort of all destinations gives.

use dispatcher::dest::Flags;
use dispatcher::select::attempts::Tried;
use dispatcher::select::{Candidates, Choice, Draw, algorithm};
use dispatcher::service::health::set_state;
use dispatcher::service::routing::candidates::View;
use dispatcher::service::routing::choose::tried_at;
use dispatcher::service::sets::edit;
use dispatcher::state::{Member, Root, Set};

use super::mapping::Mapping;
use super::{Random, WORKERS, edits, publish, root};

const SET: i32 = 1;
const BY_LATENCY: i32 = 13;

/// One more measured latency, in milliseconds, which is half of the estimate.
pub fn measure(root: &Root<Mapping>, one: &Member<'_>, milliseconds: u64) {
    let record = root.registry.record(one.record).unwrap();
    root.registry.change(one.record, 0, |flags, health| {
        record.sample(health, milliseconds as f64, 0.5);
        Some((flags, health.streak))
    });
}

/// Chooses while others change things: each destination comes once.
pub fn choose(root: &Root<Mapping>, set: &Set<Mapping>, random: &mut Random) {
    let draw = Draw { number: random.below(1 << 20), spare_last: random.below(2) == 0 };
    let (choosing, view) = (algorithm(BY_LATENCY).unwrap(), View::new(root, set));
    let Ok(chosen) = choosing.choose(&view, draw) else { return };
    let mut all = choosing.alternatives(&view, chosen.at, draw, usize::MAX);
    all.push(chosen.at);
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert!(all.len() == count && all.iter().all(|&at| at < set.len()), "{draw:?}: {all:?}");
}

/// The same candidates, which keep no order: an algorithm looks at all of them.
struct Plain<'a>(&'a View<'a, Mapping>);

impl Candidates for Plain<'_> {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn usable(&self, at: usize) -> bool {
        self.0.usable(at)
    }
    fn load(&self, at: usize) -> u32 {
        self.0.load(at)
    }
    fn maxload(&self, at: usize) -> u32 {
        self.0.maxload(at)
    }
    fn identity(&self, at: usize) -> u64 {
        self.0.identity(at)
    }
    fn last_chosen(&self, at: usize) -> u64 {
        self.0.last_chosen(at)
    }
    fn priority(&self, at: usize) -> i32 {
        self.0.priority(at)
    }
    fn weight(&self, at: usize) -> u32 {
        self.0.weight(at)
    }
    fn rweight(&self, at: usize) -> u32 {
        self.0.rweight(at)
    }
    fn latency(&self, at: usize) -> u32 {
        self.0.latency(at)
    }
    fn congestion(&self, at: usize) -> Option<u32> {
        self.0.congestion(at)
    }
    fn overloaded(&self, at: usize) -> bool {
        self.0.overloaded(at)
    }
}

/// Some positions after the first, as those that a request has tried.
fn some(root: &Root<Mapping>, set: &Set<Mapping>, first: usize, random: &mut Random) -> Vec<Tried> {
    let near = (0..random.below(4) as usize).map(|more| (first + more) % set.len());
    near.filter_map(|at| tried_at(root, set, at)).collect()
}

/// Chooses now, from any turn and with any of them left out; says what was chosen.
fn check(root: &Root<Mapping>, random: &mut Random, about: &str) -> Option<usize> {
    let sets = root.sets.pin(WORKERS).unwrap();
    let set = sets.set(SET).unwrap();
    let draw = Draw { number: random.below(1 << 20), spare_last: random.below(2) == 0 };
    let most = [0, 1, 3, usize::MAX][random.below(4) as usize];
    let choosing = algorithm(BY_LATENCY).unwrap();
    let all = View::new(root, set);
    let best = choosing.choose(&all, draw).map(|choice| choice.at);
    let tried = some(root, set, best.unwrap_or(0), random);
    let less = View::new(root, set).except(&tried);
    for view in [&all, &less] {
        let plain = Plain(view);
        let place = |choice: Choice| choice.at;
        let chosen = choosing.choose(view, draw).map(place);
        assert_eq!(chosen, choosing.choose(&plain, draw).map(place), "{about}: {draw:?}, {tried:?}");
        assert_eq!(choosing.next(view, draw).map(place), chosen, "{about}");
        let at = chosen.unwrap_or(0);
        let after = choosing.alternatives(view, at, draw, most);
        assert_eq!(after, choosing.alternatives(&plain, at, draw, most), "{about}: {draw:?}, {tried:?}");
    }
    best.ok()
}

/// A set of so many lines of names from this one on: few priorities, so that many are equal, some with congestion control. Some lines
/// have a twin.
fn list(random: &mut Random, first: u64, lines: u64) -> String {
    let mut list = String::new();
    for name in first..first + lines {
        let (priority, cc) = (30 * random.below(3), random.below(4) / 3);
        for _ in 0..1 + u64::from(random.below(40) == 0) {
            list += &format!("{SET} sip:gw{name} 0 {priority} cc={cc};latency={}\n", 10 * random.below(12));
        }
    }
    list
}

/// So many things happen, most of them to latencies.
fn happen(root: &Root<Mapping>, random: &mut Random, count: u64) {
    let sets = root.sets.pin(WORKERS).unwrap();
    let set = sets.set(SET).unwrap();
    for _ in 0..count {
        let one = set.get(random.below(set.len() as u64) as usize).unwrap();
        if random.below(4) > 0 {
            measure(root, &one, random.below(400));
        } else {
            let state = [Flags::default(), Flags::INACTIVE, Flags::DISABLED][random.below(3) as usize];
            let all: Vec<_> = set.with_uri(one.text(one.uri)).map(|(_, one)| one).collect();
            set_state::set(root, &all, state, 0);
        }
    }
}

fn stays_as_a_sort_finds_it(lines: u64, rounds: u64) {
    let root = root(Mapping::new(64 << 20));
    let mut random = Random(lines);
    publish(root, &list(&mut random, 0, lines)).unwrap();
    for round in 0..rounds {
        let about = format!("{lines} lines, round {round}");
        match random.below(40) {
            0 => drop(publish(root, &list(&mut random, round, lines)).unwrap()),
            1 => drop(edits::add(root, SET, 1_000_000 + round as u32, 30 * random.below(3) as i32, 0)),
            2 => {
                let uri = format!("sip:gw{}", round + lines / 2);
                drop(edit::remove(root, SET, uri.as_bytes(), edits::PACE));
            }
            _ => {
                let count = [0, 1, 2, 5, 31, 32, 33, 70][random.below(8) as usize];
                happen(root, &mut random, count);
            }
        }
        for _ in 0..4 {
            check(root, &mut random, &about);
        }
    }
}

#[test]
fn each_choice_by_latency_is_what_a_sort_of_all_gives() {
    for lines in [1, 2, 3, 7, 30, 100] {
        stays_as_a_sort_finds_it(lines, 400);
    }
    stays_as_a_sort_finds_it(3_000, 60);
}

#[test]
fn one_sample_moves_a_destination_at_the_next_choice() {
    let root = root(Mapping::new(1 << 20));
    publish(root, "1 sip:a 0 10\n1 sip:b 0 10\n").unwrap();
    let mut random = Random(7);
    for round in 0..40 {
        let quick = round % 2;
        {
            let sets = root.sets.pin(WORKERS).unwrap();
            let set = sets.set(SET).unwrap();
            measure(root, &set.get(1 - quick).unwrap(), 900);
            (0..12).for_each(|_| measure(root, &set.get(quick).unwrap(), 1));
        }
        let sets = root.sets.pin(WORKERS).unwrap();
        let view = View::new(root, sets.set(SET).unwrap());
        for number in 0..2 {
            let draw = Draw { number, spare_last: false };
            let chosen = algorithm(BY_LATENCY).unwrap().choose(&view, draw).map(|choice| choice.at);
            assert_eq!(chosen, Ok(quick), "round {round}");
        }
        check(root, &mut random, "two lines");
    }
}

/// Some numbers of changes are remembered one by one, others not.
#[test]
fn any_number_of_changes_between_two_choices_is_noticed() {
    const LINES: u64 = 80;
    let root = root(Mapping::new(1 << 20));
    publish(root, &(0..LINES).map(|name| format!("1 sip:gw{name} 0 30\n")).collect::<String>()).unwrap();
    let mut random = Random(9);
    for count in 1..LINES as usize {
        let sets = root.sets.pin(WORKERS).unwrap();
        let set = sets.set(SET).unwrap();
        for at in 0..count {
            // The estimate goes up and down: each sample changes the priority.
            measure(root, &set.get(at).unwrap(), [800, 100][count % 2]);
        }
        for _ in 0..8 {
            check(root, &mut random, &format!("{count} changes"));
        }
    }
}
