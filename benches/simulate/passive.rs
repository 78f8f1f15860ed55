//! Passive ejection beside a rule: the module's own code learns what becomes of calls.

use super::rules::Wanted;
use dispatcher::conf::{Conf, Raw};
use dispatcher::health::ejection::{Outcome, People, Rules};
use dispatcher::health::verdict::{Seen, verdict};
use dispatcher::service::health::ejection::{self, Sent};
use dispatcher::service::health::probe::Now;
use dispatcher::shm::Heap;
use dispatcher::state::{Root, Set};
use std::collections::HashMap;

/// A call that is not answered yet.
struct Open {
    people: People,
    sent: Vec<(Sent, Seen)>,
}

/// What is known of calls.
pub struct Passive {
    rules: Rules,
    open: HashMap<u64, Open>,
    /// When the first one was ejected, in seconds.
    pub out: Option<f64>,
    /// Gateways that were ejected or on trial at one time, at most.
    pub most_out: usize,
}

fn at(seconds: f64) -> Now {
    Now { micros: (seconds * 1e6) as u64, wall: (seconds * 1e3) as u64 }
}

impl Passive {
    /// With the module's defaults.
    pub fn new() -> Self {
        let raw = Raw { ds_passive_health: 1, ..Raw::default() };
        let (conf, _) = Conf::check(raw).expect("parameters that the module takes");
        Self { rules: conf.ejection.expect("it is on"), open: HashMap::new(), out: None, most_out: 0 }
    }

    /// A call goes there.
    pub fn sent(&mut self, root: &Root<Heap>, wanted: Wanted<'_>, record: u32) {
        let hash = |number: u64| root.secret.word(&[&number.to_ne_bytes()]);
        let people = People::of(hash(wanted.user), hash(wanted.callee));
        let open = self.open.entry(wanted.call).or_insert(Open { people, sent: Vec::new() });
        open.sent.extend(ejection::sent(root, record).map(|sent| (sent, Seen::Nothing)));
    }

    /// Where it went last it was answered, or failed; `over`: it goes nowhere else.
    pub fn came(&mut self, root: &Root<Heap>, call: u64, good: bool, over: bool, now: f64) {
        let Some(open) = self.open.get_mut(&call) else { return };
        if let Some((_, seen)) = open.sent.last_mut() {
            *seen = if good { Seen::Alive } else { Seen::Failed(0) };
        }
        if over {
            self.over(root, call, now);
        }
    }

    /// It goes nowhere else.
    pub fn over(&mut self, root: &Root<Heap>, call: u64, now: f64) {
        let Some(Open { people, sent }) = self.open.remove(&call) else { return };
        let (to, seen): (Vec<u32>, Vec<Seen>) = sent.iter().map(|(sent, seen)| (sent.record, *seen)).unzip();
        let sets = root.sets.pin(0).unwrap();
        for (place, (sent, _)) in sent.iter().enumerate() {
            let outcome = verdict(&to, &seen, place, true).unwrap_or(Outcome::Unknown);
            ejection::told(root, &sets, &self.rules, *sent, (outcome, false, people, 503), at(now));
        }
    }

    /// As the module looks from time to time.
    pub fn look(&mut self, root: &Root<Heap>, set: &Set<Heap>, now: f64) {
        if self.out.is_none() && set.ranks.has_ejected() {
            self.out = Some(now);
        }
        let is_out = |number| root.registry.record(number).is_some_and(|record| record.flags().in_ejection());
        self.most_out = self.most_out.max(set.iter().filter(|one| is_out(one.record)).count());
        let sets = root.sets.pin(0).unwrap();
        ejection::look(root, &sets, &self.rules, at(now));
    }
}
