//! Who chooses a gateway: the module's own code, or a rule to compare it with.

use super::passive::Passive;
use super::random::Random;
use dispatcher::dest::Flags;
use dispatcher::load::{About, Event, Failures, Invite, News, Tags, Timer, key::Key};
use dispatcher::select::attempts::Tried;
use dispatcher::select::{CONSISTENT, HashedText, hash, measure};
use dispatcher::service::health::{set_state, slow_start};
use dispatcher::service::routing::choose::{Ask, Call, Retry, select, tried_at};
use dispatcher::service::routing::{call_count, penalty};
use dispatcher::shm::Heap;
use dispatcher::state::Root;
use std::cell::RefCell;
use std::sync::atomic::{AtomicU64, Ordering};

use super::in_process::serving;

/// A rule by which gateways are chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// An algorithm of the module, by its code.
    Ours(i32),
    /// The same, where failed calls weigh on (`ds_failure_decay`).
    Weighing(i32),
    /// The same where gateways have a slow start of a minute.
    Slow(i32),
    /// Algorithm 101 with a bound of so many percent (`hash_balance`), where calls count.
    Bounded(u32),
    /// The same with `ds_passive_health`.
    Passive(i32),
    /// The stock module's algorithm 10: the fewest calls of those that are not full, the first of the list among equals.
    Stock10,
    /// Of two at random the one with fewer calls (M. Mitzenmacher, IEEE TPDS 12(10), 2001).
    TwoChoices,
    /// The fewest open transactions (TJSQ; H. Jiang et al., IEEE/ACM ToN 20(4), 2012).
    FewestTransactions,
    /// The least work left: an INVITE counts 1.75, a BYE 1 (TLWL, the same paper).
    LeastWork,
}

impl Rule {
    pub fn name(self) -> String {
        match self {
            Rule::Slow(number) => format!("{}, slow start", Rule::Ours(number).name()),
            Rule::Bounded(percent) => format!("101 with hash_balance {percent}"),
            Rule::Passive(number) => format!("{}, passive health", Rule::Ours(number).name()),
            Rule::Ours(number) => {
                let what = match number {
                    0 => "hash",
                    4 => "round robin",
                    6 => "random",
                    9 => "weight",
                    10 => "call load",
                    100 => "relative load",
                    101 => "consistent hash",
                    _ => "",
                };
                format!("{number} {what}")
            }
            Rule::Weighing(number) => format!("{number}, failed calls weigh on"),
            Rule::Stock10 => "stock module's 10".into(),
            Rule::TwoChoices => "power of two choices".into(),
            Rule::FewestTransactions => "fewest transactions (TJSQ)".into(),
            Rule::LeastWork => "least work left (TLWL)".into(),
        }
    }

    /// The module's algorithm that chooses.
    fn algorithm(self) -> Option<i32> {
        match self {
            Rule::Ours(number) | Rule::Weighing(number) | Rule::Slow(number) | Rule::Passive(number) => {
                Some(number)
            }
            Rule::Bounded(_) => Some(CONSISTENT),
            _ => None,
        }
    }

    pub fn is_ours(self) -> bool {
        self.algorithm().is_some()
    }
}

/// What a proxy knows of a gateway that is asked by a rule which is not ours.
#[derive(Clone, Copy, Default)]
struct Known {
    down: bool,
    size: u32,
    calls: u32,
    invites: u32,
    byes: u32,
}

/// What a gateway is wanted for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    pub call: u64,
    pub user: u64,
    pub callee: u64,
    /// Gateways that have not taken it.
    pub tried: &'a [usize],
    /// Seconds.
    pub now: f64,
}

/// A proxy that chooses by a rule.
pub struct Proxy {
    rule: Rule,
    root: Root<Heap>,
    /// The gateway at each position of the set.
    order: Vec<usize>,
    known: Vec<Known>,
    passive: Option<Passive>,
}

const SET: i32 = 1;
/// Seconds of a slow start.
pub const RAMP: u32 = 60;

/// Milliseconds in which half of what a failed call weighs is gone, and those after which the module looks again.
const DECAY: u32 = 10_000;
const PAUSE: u64 = 250;

/// The time of the simulation in nanoseconds: a clock is a function.
static CLOCK: AtomicU64 = AtomicU64::new(0);

fn clock() -> u64 {
    CLOCK.load(Ordering::Relaxed)
}

impl Proxy {
    /// For gateways with room for so many calls each.
    pub fn new(rule: Rule, sizes: &[u32]) -> Self {
        let slow = if matches!(rule, Rule::Slow(_)) { format!(";slowstart={RAMP}") } else { String::new() };
        let lines: String = (0..)
            .zip(sizes)
            .map(|(n, size)| format!("1 sip:g{n} 0 0 duid=g{n};maxload={size};weight={size}{slow}\n"))
            .collect();
        let mut root = serving(&lines, 1);
        root.clock = clock;
        root.failure_decay.turn(if matches!(rule, Rule::Weighing(_)) { DECAY } else { 0 });
        if let Rule::Bounded(percent) = rule {
            root.hash_balance = percent;
        }
        let order = {
            let sets = root.sets.pin(0).unwrap();
            let set = sets.set(SET).unwrap();
            let number = |name: &[u8]| std::str::from_utf8(&name[1..]).unwrap().parse().unwrap();
            set.iter().map(|one| number(one.text(one.duid))).collect()
        };
        Self {
            rule,
            root,
            order,
            passive: matches!(rule, Rule::Passive(_)).then(Passive::new),
            known: sizes.iter().map(|&size| Known { size, ..Known::default() }).collect(),
        }
    }

    /// So many microseconds have passed: what the module does by a timer.
    pub fn at(&self, now: u64) {
        // No time is 0: that is none to the module.
        let before = CLOCK.swap(now * 1_000 + 1, Ordering::Relaxed) / 1_000_000;
        if before / PAUSE != now / 1_000 / PAUSE {
            let sets = self.root.sets.pin(0).unwrap();
            penalty::decay(&self.root, &sets);
            slow_start::go_on(&self.root, &sets);
        }
    }

    fn key(&self, call: u64) -> Key {
        self.root.secret.call(&call.to_ne_bytes())
    }

    fn counts(&self) -> bool {
        matches!(self.rule, Rule::Bounded(_)) || self.rule.algorithm().and_then(measure).is_some()
    }

    /// A gateway, but none of those tried.
    pub fn choose(&mut self, wanted: Wanted<'_>, random: &mut Random) -> Option<usize> {
        let chosen = match self.rule.algorithm() {
            Some(algorithm) => self.ask(algorithm, wanted, random),
            None => self.compare(wanted.tried, random),
        }?;
        let record = self.record(chosen);
        if let Some(passive) = &mut self.passive {
            passive.sent(&self.root, wanted, record);
        }
        let known = self.known.get_mut(chosen)?;
        (known.calls, known.invites) = (known.calls + 1, known.invites + 1);
        Some(chosen)
    }

    fn ask(&self, algorithm: i32, wanted: Wanted<'_>, random: &mut Random) -> Option<usize> {
        let Wanted { call, user, tried, now, .. } = wanted;
        let sets = self.root.sets.pin(0).ok()?;
        let set = sets.set(SET)?;
        let place = |gateway: &usize| self.order.iter().position(|one| one == gateway);
        let places: Vec<usize> = tried.iter().filter_map(place).collect();
        let tried: Vec<Tried> = places.iter().filter_map(|at| tried_at(&self.root, set, *at)).collect();
        let retry = places.last().map(|last| Retry { tried: &tried, from: Some(last + 1) });
        let key = self.key(call);
        let goes = Call::Goes {
            key: &|| Some(key),
            invite: &|| Invite { number: 1, failed: None, now: now as u32 },
            may_stay: false,
        };
        let random = RefCell::new(random);
        let ask = Ask {
            set: SET,
            algorithm,
            // A trial limits new calls.
            call: if self.counts() || self.passive.is_some() { goes } else { Call::None },
            now_ms: &|| 0,
            random: &|| random.borrow_mut().next(),
            spare_last: false,
            counts_all: matches!(self.rule, Rule::Bounded(_)),
            priority: false,
            hash: &|kind: HashedText| {
                Some(hash::of_text(kind, format!("user-{user}@example.com").as_bytes()))
            },
            is_repeated: &|| false,
            retry,
        };
        let chosen = select(&self.root, &sets, &ask).ok()?.at;
        self.order.get(chosen).copied()
    }

    /// The record of a gateway.
    fn record(&self, gateway: usize) -> u32 {
        let sets = self.root.sets.pin(0).unwrap();
        let at = self.order.iter().position(|one| *one == gateway).unwrap();
        sets.set(SET).unwrap().destination(at).unwrap().record
    }

    /// A second has gone by. When the first gateway was ejected.
    pub fn look(&mut self, now: f64) -> Option<f64> {
        let passive = self.passive.as_mut()?;
        let sets = self.root.sets.pin(0).unwrap();
        passive.look(&self.root, sets.set(SET).unwrap(), now);
        passive.out
    }

    /// Gateways that were ejected at one time, at most.
    pub fn most_out(&self) -> usize {
        self.passive.as_ref().map_or(0, |passive| passive.most_out)
    }

    fn came(&mut self, call: u64, good: bool, over: bool, now: f64) {
        if let Some(passive) = &mut self.passive {
            passive.came(&self.root, call, good, over, now);
        }
    }

    fn compare(&self, tried: &[usize], random: &mut Random) -> Option<usize> {
        let may = |at: &usize| !self.known[*at].down && !tried.contains(at);
        let all: Vec<usize> = (0..self.known.len()).filter(may).collect();
        let least = |measure: &dyn Fn(&Known) -> u32, among: &[usize]| {
            among.iter().copied().min_by_key(|at| measure(&self.known[*at]))
        };
        match self.rule {
            Rule::TwoChoices => {
                let any = |random: &mut Random| all.get(random.below(all.len() as u64) as usize).copied();
                let two: Vec<usize> = [any(random), any(random)].into_iter().flatten().collect();
                least(&|known| known.calls, &two)
            }
            // Equals in turn: from a place at random on.
            Rule::FewestTransactions | Rule::LeastWork => {
                let work = self.rule == Rule::LeastWork;
                let measure = move |known: &Known| {
                    if work { 7 * known.invites + 4 * known.byes } else { known.invites + known.byes }
                };
                let mut turned = all.clone();
                turned.rotate_left(random.below(all.len().max(1) as u64) as usize);
                least(&measure, &turned)
            }
            _ => {
                let has_room = |at: &usize| self.known[*at].calls < self.known[*at].size;
                let roomy: Vec<usize> = all.iter().copied().filter(has_room).collect();
                least(&|known| known.calls, &roomy)
            }
        }
    }

    fn report(&self, call: u64, event: Event, now: u32) {
        if self.counts() {
            let failures = if event == Event::Refused { Failures::UNWATCHED } else { Failures::NONE };
            let about = if event == Event::Ended { About::Request } else { About::NoTransaction };
            let news = News { event, about, tags: Tags { to: 1, from: 1 }, now, timer: Timer::Same };
            call_count::report_failed(&self.root, &self.key(call), &news, failures).expect("memory");
        }
    }

    /// The gateway has answered the INVITE of a call.
    pub fn answered(&mut self, call: u64, gateway: usize, now: f64) {
        self.came(call, true, true, now);
        self.known[gateway].invites -= 1;
        self.report(call, Event::Answered, now as u32);
    }

    /// It has refused it, or did not answer; the call may go elsewhere.
    pub fn failed(&mut self, call: u64, gateway: usize, last: bool, now: f64) {
        self.came(call, false, last, now);
        let known = &mut self.known[gateway];
        (known.invites, known.calls) = (known.invites - 1, known.calls - 1);
        // Where failures matter they are told; else the next choice tells that the call has left.
        if last || matches!(self.rule, Rule::Weighing(_)) {
            self.report(call, Event::Refused, now as u32);
        }
    }

    /// There is no other gateway for a call that has failed everywhere so far.
    pub fn nowhere(&mut self, call: u64, now: f64) {
        if let Some(passive) = &mut self.passive {
            passive.over(&self.root, call, now);
        }
        self.report(call, Event::Refused, now as u32);
    }

    /// A call ends: the BYE is sent on.
    pub fn ended(&mut self, call: u64, gateway: usize, now: u32) {
        let known = &mut self.known[gateway];
        (known.byes, known.calls) = (known.byes + 1, known.calls - 1);
        self.report(call, Event::Ended, now);
    }

    /// The BYE was answered.
    pub fn over(&mut self, gateway: usize) {
        self.known[gateway].byes -= 1;
    }

    /// Probes find a gateway up or down.
    pub fn probed(&mut self, gateway: usize, up: bool) {
        self.known[gateway].down = !up;
        let sets = self.root.sets.pin(0).unwrap();
        let at = self.order.iter().position(|one| *one == gateway).unwrap();
        let state = if up { Flags::default() } else { Flags::INACTIVE };
        set_state::set(&self.root, &[sets.set(SET).unwrap().get(at).unwrap()], state, 0);
    }

    /// Calls that the module counts, of all gateways.
    pub fn counted(&self) -> Option<u64> {
        let sets = self.root.sets.pin(0).unwrap();
        let load =
            |record| self.root.registry.record(record).map_or(0, |record| u64::from(record.load.get()));
        self.counts().then(|| sets.set(SET).unwrap().iter().map(|one| load(one.record)).sum())
    }

    /// Calls that go somewhere, as the simulation counts them.
    pub fn calls(&self) -> u64 {
        self.known.iter().map(|known| u64::from(known.calls)).sum()
    }
}
