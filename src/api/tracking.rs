//! Where a call is, as far as the server tells: which branch went to which destination, what a script chose and did not send,
//! and the end of its transactions. `ds_load_update` and `ds_load_unset` tell the rest, or `followed` does.

use super::next_hop;
use crate::context::{Module, module};
use crate::host::message::{Kind, Message, Method};
use crate::host::transaction::{self, Ended, Request, Sent, SentOn, Unwatched, Watcher};
use crate::host::{clock, hooks::routes, log};
use crate::load::failures::is_failure;
use crate::load::key::Key;
use crate::load::{About, Branch, Event, Failed, Failures, Invite, News, Tags, Timer, Transaction, Unsent};
use crate::service::routing::{call_count, penalty};
use crate::shm::OutOfMemory;
use parking_lot::Mutex;
use std::sync::OnceLock;

/// A call for which a script of this process has chosen a destination, or sent the request, and has not ended yet.
struct Open {
    /// The number of the request.
    request: u32,
    key: Key,
    /// Its number, as the call table has it.
    number: u16,
    /// It has chosen for itself: a copy of the request, in another process, may have chosen before.
    own: bool,
    /// No transaction tells where the request goes.
    unwatched: bool,
    /// The branches that it made.
    branches: Vec<Branch>,
}

/// Scripts that run inside one another, at most.
const NESTED: usize = 4;

/// One as a rule; one more where a script runs inside another.
static OPEN: Mutex<Vec<Open>> = Mutex::new(Vec::new());

/// Who else wants to know that the script for a request has ended.
static THEN: OnceLock<fn(&Module, &Message)> = OnceLock::new();

/// Asks the server to tell; `then` is told after us when a script has ended. Once, before the fork, when all modules are
/// initialised.
pub fn begin(then: Option<fn(&Module, &Message)>) -> Result<(), &'static str> {
    if let Some(then) = then {
        THEN.set(then).map_err(|_| "the end of scripts is told twice")?;
    }
    transaction::tell(Watcher { sent, sent_on, ended })?;
    routes::tell(script_ended)
}

/// A transaction and a branch as the call table has them.
pub(super) fn short(transaction: transaction::Transaction) -> Transaction {
    Transaction::of(transaction.index, transaction.label)
}

pub(super) fn short_branch(branch: transaction::Branch) -> Branch {
    Branch::of(short(branch.transaction), branch.number)
}

/// Which legs of its call a message is about: a reply to an INVITE is about the one on whose branch it came, a request in a
/// failure route about those that failed.
pub fn about(kind: Kind, msg: &Message) -> About {
    match kind {
        Kind::Request(_) => {
            let failed = |one| About::Failed(short(one), number_of(msg));
            transaction::failed(msg).map_or(About::Request, failed)
        }
        Kind::Reply(Method::Invite, _) => match transaction::of_reply(msg) {
            transaction::Reply::On(branch, request) => {
                About::Branch(short_branch(branch), number(request.cseq_number, request.from_tag))
            }
            transaction::Reply::Unwatched => About::OtherTransaction,
            transaction::Reply::None => {
                transaction::late_branch(msg).map_or(About::NoTransaction, About::Late)
            }
        },
        Kind::Reply(..) => About::OtherTransaction,
    }
}

/// Reports what a message says of its call.
pub fn report(module: &Module, msg: &Message, event: Event, about: About, timer: Timer) {
    let Some(call_id) = msg.call_id() else { return };
    let key = module.root.secret.call(call_id);
    let news = news(module, msg, event, about, timer);
    told(call_count::report_failed(module.root, &key, &news, failures(module, msg, about)));
}

/// The gateways that have failed the INVITE of this message, as far as it says. Where failed calls do not weigh, nobody looks.
pub(super) fn failures(module: &Module, msg: &Message, about: About) -> Failures {
    if !penalty::is_on(module.root) {
        return Failures::NONE;
    }
    match (about, msg.kind()) {
        (About::Failed(..), _) => Failures::of(transaction::outcomes()),
        (About::Branch(branch, _), Some(Kind::Reply(Method::Invite, status))) => {
            let number = branch.number();
            Failures::of([(number, status, transaction::was_heard(number))].into_iter())
        }
        (About::NoTransaction, Some(Kind::Reply(Method::Invite, status))) if is_failure(status, false) => {
            Failures::UNWATCHED
        }
        _ => Failures::NONE,
    }
}

/// Those of these branches.
pub(super) fn failures_of(module: &Module, branches: impl Iterator<Item = transaction::Outcome>) -> Failures {
    if penalty::is_on(module.root) { Failures::of(branches) } else { Failures::NONE }
}

/// What a message says of its call, as the call table wants it.
pub(super) fn news(module: &Module, msg: &Message, event: Event, about: About, timer: Timer) -> News {
    let tags = if event.is_of_a_dialog() { tags(module, msg) } else { Tags::default() };
    News { event, about, tags, now: clock::seconds(), timer }
}

/// What the call table wants to know of the request at hand.
pub fn invite(msg: &Message) -> Invite {
    let failed = transaction::failed(msg).map(|one| Failed {
        transaction: short(one),
        failures: module().map_or(Failures::NONE, |module| failures_of(module, transaction::outcomes())),
    });
    Invite { failed, ..plain(number_of(msg)) }
}

/// The same of an INVITE with this number, of which nothing is chosen now.
fn plain(number: u16) -> Invite {
    Invite { number, now: clock::seconds(), ..Invite::default() }
}

fn number_of(msg: &Message) -> u16 {
    number(msg.cseq_number(), msg.from_tag())
}

/// The number of an INVITE, as the call table has it. Its CSeq number has 32 bits (RFC 3261 section 8.1.1.5).
fn number(cseq_number: &[u8], from_tag: &[u8]) -> u16 {
    let add =
        |number: u32, digit: &u8| number.wrapping_mul(10).wrapping_add(u32::from(digit.wrapping_sub(b'0')));
    let tag = module().map_or(0, |module| module.root.secret.tag(from_tag));
    Invite::number(cseq_number.trim_ascii().iter().fold(0, add), tag)
}

/// The tags of a message, as the call table has them.
fn tags(module: &Module, msg: &Message) -> Tags {
    let hash = |tag: &[u8]| module.root.secret.tag(tag);
    Tags { to: hash(msg.to_tag()), from: hash(msg.from_tag()) }
}

/// The request at hand goes to the destination of this record, where its call counts: from now on its branches are watched.
/// `own` says that the script has chosen for this request, and not only found what was chosen for a copy of it.
pub fn chosen(module: &Module, msg: &Message, key: Key, record: u32, own: bool) {
    let unwatched = transaction::watch(msg, record) == Err(Unwatched::NoMemory);
    if unwatched {
        log::error(format_args!(
            "selection: the host has no memory to watch the transaction: the call counts where it was sent last"
        ));
    }
    open(module, msg, key, |one| {
        one.own |= own;
        one.unwatched |= unwatched;
    });
}

/// Notes something of a script that has not ended.
fn open(module: &Module, msg: &Message, key: Key, note: impl FnOnce(&mut Open)) {
    let request = msg.id();
    let mut all = OPEN.lock();
    let at = all.iter().position(|one| one.key == key && one.request == request).unwrap_or(all.len());
    if at == all.len() {
        let number = number_of(msg);
        all.push(Open { request, key, number, own: false, unwatched: false, branches: Vec::new() });
    }
    if let Some(one) = all.get_mut(at) {
        note(one);
    }
    // A script whose end nobody tells (an event route, say) leaves what it chose behind.
    let stale = if all.len() > NESTED { Some(all.remove(0)) } else { None };
    drop(all);
    if let Some(one) = stale.filter(|one| one.own) {
        told_end(module, &one, Unsent::Forwarded, |_| true);
    }
}

/// Tells the call table that a script has ended. A branch that could not be sent is one that its gateway has failed.
fn told_end(module: &Module, one: &Open, unsent: Unsent, is_alive: impl Fn(Branch) -> bool) {
    let lost = one.branches.iter().filter(|branch| !is_alive(**branch));
    let failures = failures_of(module, lost.map(|branch| (branch.number(), 408, false)));
    told(call_count::script_ended(module.root, &one.key, plain(one.number), unsent, (is_alive, failures)));
}

/// Writes an error that keeps a call from being followed.
pub fn told<T>(result: Result<T, OutOfMemory>) -> Option<T> {
    result.inspect_err(|error| log::error(format_args!("a call is not followed: {error}"))).ok()
}

fn script_ended(msg: &mut Message) {
    let Some(module) = module() else { return };
    let request = msg.id();
    let next = || {
        let mut all = OPEN.lock();
        let at = all.iter().position(|one| one.request == request)?;
        Some(all.swap_remove(at))
    };
    if transaction::is_continued() {
        // What an earlier part of the script chose, in this process or another.
        if let Some(call_id) = msg.call_id() {
            open(module, msg, module.root.secret.call(call_id), |one| one.own = true);
        }
    }
    while let Some(one) = next() {
        if transaction::is_suspended() {
            continue; // another script goes on with it, or the end of the transaction clears up
        }
        let unsent = match transaction::current() {
            _ if !one.own => Unsent::OfAnother,
            Some(_) if one.unwatched && transaction::is_relayed() => Unsent::Forwarded,
            None if msg.was_forwarded() => forwarded(module, &one.key, msg),
            _ => Unsent::Forgotten,
        };
        // Only of its own branches does this process know that sending them is over. Those of one request are of one transaction,
        // and the call table asks only for those of this INVITE: there a short number names one branch (see `Transaction`).
        let is_alive =
            |branch: Branch| !one.branches.contains(&branch) || transaction::was_sent(branch.number());
        told_end(module, &one, unsent, is_alive);
    }
    if let Some(then) = THEN.get() {
        then(module, msg);
    }
}

/// What becomes of the choice for a request that `forward()` has sent: the script may have set `$du` to something else.
fn forwarded(module: &Module, key: &Key, msg: &Message) -> Unsent {
    let Some(sets) = module.sets() else { return Unsent::Forwarded };
    let call = call_count::get(module.root, key);
    Unsent::ForwardedTo(next_hop::of_forwarded(module, &sets, &call, msg))
}

/// The module, the key of the call of this request, and the request as the call table has it.
pub(super) fn of_request(request: &Request<'_>) -> Option<(&'static Module, Key, Invite)> {
    let module = module().filter(|_| !request.call_id.is_empty())?;
    let invite = plain(number(request.cseq_number, request.from_tag));
    Some((module, module.root.secret.call(request.call_id), invite))
}

fn ended(one: &Ended<'_>) {
    let Some((module, key, invite)) = of_request(&one.request) else { return };
    let answered = |branch: Branch| one.was_answered(branch.number());
    let how = (answered, failures_of(module, one.outcomes()));
    told(call_count::transaction_ended(module.root, &key, short(one.transaction), invite, how));
}

/// One more branch to a destination, at another of its addresses.
fn sent_on(one: &SentOn<'_>) {
    let Some((module, key, invite)) = of_request(&one.request) else { return };
    let earlier = short_branch(one.earlier);
    let call = call_count::get(module.root, &key);
    // Of a branch that was refused nothing is left.
    let leg = call.legs().iter().find(|leg| leg.is_on(earlier, invite.number));
    let record = leg.map(|leg| leg.record()).or(one.noted);
    if let Some((record, sets)) = record.zip(module.sets()) {
        told(call_count::sent(module.root, &sets, &key, record, short_branch(one.branch), invite));
    }
}

fn sent(branch: &Sent<'_>) -> bool {
    let request = &branch.request;
    let (Some(module), Some(call_id)) = (module(), request.call_id()) else { return false };
    let (key, invite) = (module.root.secret.call(call_id), invite(request));
    // The first branch has none before it.
    if module.conf.load_auto && branch.branch.number > 0 {
        let transaction = short(branch.branch.transaction);
        let failed = |one: Branch| branch.has_failed(one.number());
        let how = (failed, failures_of(module, branch.outcomes()));
        told(call_count::given_up(module.root, &key, transaction, invite, how));
    }
    let sets = module.sets();
    let call = call_count::get(module.root, &key);
    let record = sets.as_ref().and_then(|sets| next_hop::of_branch(module, sets, &call, branch));
    open(module, request, key, |one| one.branches.push(short_branch(branch.branch)));
    if let Some((record, sets)) = record.zip(sets.as_ref()) {
        branch.note(record);
        told(call_count::sent(module.root, sets, &key, record, short_branch(branch.branch), invite));
    }
    record.is_some()
}
