//! What becomes of calls at the destinations that they were sent to (`ds_passive_health`): for INVITEs that start a call, whatever the
//! algorithm, and whether calls count or not.
//!
//! Timeline: a selection notes what it chose for the request at hand. When `tm` makes a branch that goes there, its transaction remembers
//! it; replies, a time-out and the end of the transaction say what came of it.

use super::next_hop;
use crate::context::{Module, module};
use crate::health::ejection::Outcome;
use crate::health::verdict::{Seen, verdict};
use crate::host::message::{Kind, Message, Method, UriOf};
use crate::host::outcomes::{self, Branch, Branches, End, Going, Gone, Observer};
use crate::service::health::ejection::{self, People, Sent};
use crate::workers::prober;
use parking_lot::Mutex;

/// Follows calls, where that is wanted. Once, before the fork, when `tm` is loaded.
pub fn begin(module: &Module) -> Result<(), &'static str> {
    if module.conf.ejection.is_some() { outcomes::tell(Observer { goes, came }) } else { Ok(()) }
}

/// What was chosen for a request of this process: the last few.
struct Chosen {
    /// The number of the request.
    request: u32,
    count: usize,
    /// The `n`th at `n % MOST`.
    records: [u32; MOST],
}

/// More than a request has branches.
const MOST: usize = 32;

static CHOSEN: Mutex<Chosen> = Mutex::new(Chosen { request: 0, count: 0, records: [0; MOST] });

impl Chosen {
    fn is_for(&self, request: u32) -> bool {
        self.request == request && self.count > 0
    }

    fn push(&mut self, request: u32, record: u32) {
        if !self.is_for(request) {
            (self.request, self.count) = (request, 0);
        }
        self.records.get_mut(self.count % MOST).into_iter().for_each(|place| *place = record);
        self.count += 1;
    }

    /// The last first.
    fn of(&self, request: u32) -> Vec<u32> {
        let count = if self.is_for(request) { self.count } else { 0 };
        let last = (count.saturating_sub(MOST)..count).rev();
        last.filter_map(|n| self.records.get(n % MOST).copied()).collect()
    }
}

fn starts_call(msg: &Message) -> bool {
    msg.kind() == Some(Kind::Request(Method::Invite)) && !msg.in_dialog()
}

/// The request at hand goes to the destination of this record, as far as this module is asked.
pub fn chosen(module: &Module, msg: &Message, record: u32) {
    if module.conf.ejection.is_none() {
        return;
    }
    let mut chosen = CHOSEN.lock();
    // Where something was chosen for this request before, it does.
    if !chosen.is_for(msg.id()) && !starts_call(msg) {
        return;
    }
    let Some(Sent { serial, .. }) = ejection::sent(module.root, record) else { return };
    chosen.push(msg.id(), record);
    drop(chosen);
    // Without memory for it nothing is known of this call.
    outcomes::expect(msg, u64::from(serial) << 24 | u64::from(record));
}

/// Where a branch goes, and who calls whom.
fn goes(going: &Going<'_>) -> Option<Gone> {
    let (request, module) = (going.request, module()?);
    if !starts_call(request) {
        return None;
    }
    let sets = module.sets()?;
    let expected = going.expected.and_then(|word| {
        let (record, serial) = (word as u32 & 0xFF_FFFF, (word >> 24) as u32);
        module.root.registry.record_of(record, serial).map(|_| record)
    });
    let known: Vec<_> = CHOSEN.lock().of(request.id()).into_iter().chain(expected).collect();
    let hop = (request, going.address);
    let number = next_hop::of_known(module, &sets, &known, hop)?;
    let Sent { record, serial, epoch } = ejection::sent(module.root, number)?;
    let hash = |which| {
        let (user, host) = request.uri_key(which, false).unwrap_or_default();
        let host = if which == UriOf::From { host } else { &[] };
        module.root.secret.word(&[user, host])
    };
    Some(([record, serial, epoch], [hash(UriOf::From), hash(UriOf::Request)]))
}

/// In [`Branch::told`]: it rang; all is told.
const RANG: u8 = 1;
const ALL: u8 = 2;

fn seen(branches: &Branches, branch: &Branch, end: End) -> Seen {
    let answered = || branches.all.iter().any(|one| (200..300).contains(&one.code));
    match end {
        _ if branch.code > 0 => Seen::of_code(branch.code, branch.rang, branch.wait),
        _ if branch.rang => Seen::Rang,
        End::None => Seen::Nothing,
        // A branch that others made needless.
        End::Silent if answered() => Seen::GivenUp,
        End::Lost | End::Silent if !branches.cancelled => Seen::Failed(0),
        End::Lost | End::Silent | End::Other => Seen::GivenUp,
    }
}

fn came(branches: &mut Branches, over: bool, end: &dyn Fn(usize) -> End) {
    let Some(module) = module() else { return };
    let (Some(rules), Some(sets)) = (module.conf.ejection, module.sets()) else { return };
    let ours = |(number, branch): (usize, &Branch)| {
        let to = branch.to?;
        Some((number, to, seen(branches, branch, end(number))))
    };
    let ours: Vec<_> = branches.all.iter().enumerate().filter_map(ours).collect();
    let to: Vec<u32> = ours.iter().map(|(_, [record, ..], _)| *record).collect();
    let what: Vec<Seen> = ours.iter().map(|(.., seen)| *seen).collect();
    for (place, (number, [record, serial, epoch], _)) in ours.iter().enumerate() {
        let Some(branch) = branches.all.get(*number).copied() else { continue };
        let Some(outcome) = verdict(&to, &what, place, over) else { continue };
        let told = if outcome == Outcome::Rang { RANG } else { ALL };
        if branch.told >= told {
            continue;
        }
        // All attempts at one destination are told as one.
        for (one, same) in ours.iter().map(|(number, [same, ..], _)| (*number, same)) {
            if same == record {
                branches.all.get_mut(one).into_iter().for_each(|one| one.told = told);
            }
        }
        let [caller, callee] = branches.who;
        let sent = Sent { record: *record, serial: *serial, epoch: *epoch };
        let code = if branch.code > 0 { branch.code } else { 408 };
        let said = (outcome, branch.told == RANG, People::of(caller, callee), code);
        ejection::told(module.root, &sets, &rules, sent, said, prober::now());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_choices_for_a_request_are_known_and_none_of_another() {
        let mut chosen = Chosen { request: 0, count: 0, records: [0; MOST] };
        assert_eq!(chosen.of(0), []);
        (0..40).for_each(|record| chosen.push(7, record));
        assert_eq!(chosen.of(7), (8..40).rev().collect::<Vec<_>>());
        assert_eq!(chosen.of(8), []);
        chosen.push(8, 3);
        assert_eq!((chosen.of(8), chosen.of(7)), (vec![3], vec![]));
    }
}
