//! Where it is kept what a request has tried (`ds_lean_failover`): 1, in its one xavp record; 2, in this process until the
//! request has a transaction, and with that from then on.

use super::list::{self, Listed};
use crate::conf::Failover;
use crate::context::{Module, module};
use crate::host::mem::Pool;
use crate::host::message::Message;
use crate::host::{attached, transaction, xavp};
use crate::select::attempts::Attempts;
use crate::service::routing::failover;
use crate::state::{Generation, Set};
use parking_lot::Mutex;

/// The host has no memory.
#[derive(Debug)]
pub struct NoMemory;

/// The attempts of the request that this process handles, as long as it has no transaction.
struct Here {
    /// Its number in this process.
    request: u32,
    attempts: Attempts,
    counted: bool,
}

static HERE: Mutex<Option<Here>> = Mutex::new(None);

/// Follows requests into their transactions, where that is wanted. Once, before the fork.
pub fn follow(module: &Module) -> Result<(), &'static str> {
    if module.conf.failover == Failover::Transaction { attached::on_new(moves) } else { Ok(()) }
}

/// The attempts of the request at hand.
pub fn of(module: &Module, msg: &Message) -> Option<Attempts> {
    match module.conf.failover {
        Failover::Off | Failover::List => None,
        Failover::Record => {
            let list = xavp::List::of(&module.conf.xavp_dst);
            Attempts::read(list.front()?.text(list::TRIED)?)
        }
        Failover::Transaction => here(msg, |here| here.attempts.clone())
            .or_else(|| attached::with(|bytes| Attempts::read(part(bytes, ATTEMPTS)?))?),
    }
}

fn here<T>(msg: &Message, read: impl FnOnce(&Here) -> T) -> Option<T> {
    if attached::has_transaction() {
        return None;
    }
    HERE.lock().as_ref().filter(|here| here.request == msg.id()).map(read)
}

/// Keeps those of a new selection, on top of what an earlier one has left.
pub fn begin(module: &Module, msg: &Message, new: Attempts, listed: &Listed<'_>) -> Result<(), NoMemory> {
    // What this process keeps is taken, not copied: it is replaced.
    let taken = HERE.lock().take_if(|here| here.request == msg.id() && !attached::has_transaction());
    let attempts = match taken.map(|here| here.attempts).or_else(|| of(module, msg)) {
        Some(earlier) => new.on_top_of(earlier, transaction::failed(msg).is_some()),
        None => new,
    };
    keep(module, msg, attempts, listed)
}

/// Keeps them. The destination in use is at this position.
pub fn keep(module: &Module, msg: &Message, attempts: Attempts, listed: &Listed<'_>) -> Result<(), NoMemory> {
    match module.conf.failover {
        Failover::Off | Failover::List => Ok(()),
        Failover::Record => {
            let mut before = xavp::List::of(&module.conf.xavp_dst);
            while before.remove_front() {}
            let mut list = xavp::Writer::new(&module.xavp_dst);
            list::add(&mut list, &module.conf, listed, Some(&attempts.write())).map_err(|_| NoMemory)
        }
        Failover::Transaction if attached::has_transaction() => {
            let bytes = bytes(&attempts, Some((listed.set, listed.at)), listed.counted.is_some());
            attached::put(msg, &bytes).map_err(|_| NoMemory)
        }
        Failover::Transaction => {
            *HERE.lock() = Some(Here { request: msg.id(), attempts, counted: listed.counted.is_some() });
            Ok(())
        }
    }
}

/// No destination is left: nothing is in use.
pub fn forget(module: &Module, msg: &Message) {
    match module.conf.failover {
        Failover::Off | Failover::List => {}
        Failover::Record => {
            xavp::List::of(&module.conf.xavp_dst).remove_front();
        }
        // Without memory for no bytes the old ones stay: they say that all was tried.
        Failover::Transaction if attached::has_transaction() => drop(attached::put(msg, &[])),
        Failover::Transaction => *HERE.lock() = None,
    }
}

/// Gives what is kept here to the transaction of this request, which was just made.
fn moves(msg: &Message) -> Option<Vec<u8>> {
    let here = HERE.lock().take_if(|here| here.request == msg.id())?;
    let module = module()?;
    let sets = module.sets()?;
    Some(bytes(&here.attempts, failover::in_use(module.root, &sets, &here.attempts), here.counted))
}

/// The parts of the bytes, in their order.
const ATTEMPTS: usize = 0;
const URI: usize = 1;
const ATTRS: usize = 2;
const DSTID: usize = 3;

/// The attempts with the texts of the destination in use, which may be gone when somebody asks.
fn bytes(attempts: &Attempts, in_use: Option<(&Set<Pool>, usize)>, counted: bool) -> Vec<u8> {
    let written = attempts.write();
    let one = in_use.and_then(|(set, at)| set.get(at));
    let dstid = one.filter(|_| counted).map(list::dstid);
    let texts = [
        written.as_slice(),
        one.map_or(&[], |one| one.text(one.uri)),
        one.map_or(&[], |one| one.text(one.body)),
        dstid.unwrap_or_default(),
    ];
    let mut bytes = Vec::with_capacity(texts.iter().map(|text| 4 + text.len()).sum());
    for text in texts {
        bytes.extend_from_slice(&(text.len() as u32).to_ne_bytes());
        bytes.extend_from_slice(text);
    }
    bytes
}

fn part(bytes: &[u8], number: usize) -> Option<&[u8]> {
    let mut rest = bytes;
    for _ in 0..number {
        rest = split(rest)?.1;
    }
    Some(split(rest)?.0)
}

/// The first text, and what comes after it.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_ne_bytes(*len) as usize)
}

/// What is known of the destination in use.
#[derive(Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // the names of the xavp's fields
pub struct InUse {
    pub uri: Vec<u8>,
    pub attrs: Vec<u8>,
    pub dstid: Vec<u8>,
    pub grp: Option<i32>,
}

/// The destination in use, with its texts.
pub fn in_use(module: &Module, msg: &Message) -> Option<InUse> {
    match module.conf.failover {
        Failover::Off => None,
        Failover::List | Failover::Record => {
            let list = xavp::List::of(&module.conf.xavp_dst);
            let front = list.front()?;
            let text = |name: &[u8]| front.text(name).unwrap_or_default().to_vec();
            Some(InUse {
                uri: text(b"uri"),
                attrs: text(b"attrs"),
                dstid: text(b"dstid"),
                grp: front.int(b"grp"),
            })
        }
        Failover::Transaction => here(msg, |here| of_here(module, here)).flatten().or_else(|| {
            attached::with(|bytes| {
                let text = |number| part(bytes, number).unwrap_or_default().to_vec();
                let grp = Attempts::read(part(bytes, ATTEMPTS)?)?.rules().first()?.set;
                Some(InUse { uri: text(URI), attrs: text(ATTRS), dstid: text(DSTID), grp: Some(grp) })
            })?
        }),
    }
}

fn of_here(module: &Module, here: &Here) -> Option<InUse> {
    let sets = module.sets()?;
    let (set, at) = failover::in_use(module.root, &sets, &here.attempts)?;
    let one = set.get(at)?;
    let dstid = if here.counted { list::dstid(one) } else { &[] };
    let (uri, attrs) = (one.text(one.uri).to_vec(), one.text(one.body).to_vec());
    Some(InUse { uri, attrs, dstid: dstid.to_vec(), grp: Some(set.id) })
}

/// How many more destinations may be tried.
pub fn left(module: &Module, msg: &Message) -> Option<usize> {
    match module.conf.failover {
        Failover::Off => None,
        Failover::List => xavp::List::of(&module.conf.xavp_dst).records().count().checked_sub(1),
        Failover::Record | Failover::Transaction => {
            let attempts = of(module, msg)?;
            let sets = module.sets()?;
            Some(failover::left(module.root, &sets, &attempts, module.has_priority(msg)))
        }
    }
}

/// The destination in use, where it is in the sets that serve.
pub fn place<'g>(
    module: &Module,
    msg: &Message,
    sets: &'g Generation<Pool>,
) -> Option<(&'g Set<Pool>, usize)> {
    if module.conf.failover == Failover::List {
        let list = xavp::List::of(&module.conf.xavp_dst);
        let front = list.front()?;
        let set = sets.set(front.int(b"grp")?)?;
        return Some((set, list::position(set, &front, 0)?));
    }
    failover::in_use(module.root, sets, &of(module, msg)?)
}
