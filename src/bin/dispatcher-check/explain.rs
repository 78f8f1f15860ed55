//! `--explain`: the choice that a server makes first when it has loaded the list, by the code of `dispatcher.explain`.

use crate::capacities::Shared;
use crate::source::Destination;
use dispatcher::dest::Flags;
use dispatcher::select::explain::{self, Chosen, NoAnswer, Seen, State, Still, Why};
use dispatcher::select::{self, HashedText, Inputs, Tickets, consistent, hash};
use std::borrow::Cow;

/// What was asked and what came out.
pub struct Explained {
    pub set: i32,
    pub algorithm: i32,
    pub key: Option<String>,
    pub chosen: Chosen,
    /// What becomes of each, in the order of the set.
    pub whys: Vec<Cow<'static, str>>,
    /// Calls that each has by the saved answer.
    pub loads: Vec<u32>,
}

/// Nothing was chosen before.
struct First<'a>(Option<&'a str>);

impl Inputs for First<'_> {
    fn hash(&mut self, text: HashedText) -> Option<u32> {
        self.0.map(|key| hash::of_text(text, key.as_bytes()))
    }
    fn turn(&mut self) -> u32 {
        0
    }
    fn ticket(&mut self, _: Tickets) -> u64 {
        0
    }
    fn random(&mut self) -> u64 {
        0
    }
}

/// A set as the algorithms see it, with the calls and the state of each by a saved answer.
pub fn still(set: &[Destination], served: &[(u32, Flags)]) -> Still {
    let seen = |(at, one): (usize, &Destination)| {
        let (load, flags) = served.get(at).copied().unwrap_or((0, one.flags));
        Seen {
            state: if flags.kept_out_by_drain() {
                State::Drained
            } else if flags.kept_out_by_ejection() {
                State::Ejected
            } else if flags.has(Flags::INACTIVE) {
                State::Inactive
            } else if flags.has(Flags::DISABLED) {
                State::Disabled
            } else {
                State::Usable
            },
            load,
            identity: consistent::identity(&one.attrs.duid, &one.uri),
            maxload: one.attrs.maxload,
            priority: one.priority,
            weight: one.attrs.weight,
            rweight: one.attrs.rweight,
            latency: one.attrs.latency,
            congestion: one.attrs.cc.then_some(0),
            ..Seen::default()
        }
    };
    Still(set.iter().enumerate().map(seen).collect())
}

/// What algorithm `algorithm` chooses, where capacities have so many calls; for a call that may have `priority`.
pub fn explain(
    set: &[Destination],
    served: &[(u32, Flags)],
    shared: &[Shared<'_>],
    (id, algorithm, key): (i32, i32, Option<&str>),
    (use_default, priority): (bool, bool),
) -> Result<Explained, String> {
    let mut pool = still(set, served);
    for (seen, one) in pool.0.iter_mut().zip(set) {
        seen.beyond = priority.then_some(one.reserve);
        if let Some(shared) = shared.iter().find(|shared| *shared.name == *one.capacity.name) {
            seen.shared_full = shared.is_full(priority);
            seen.shared_beyond = priority && shared.is_full(false) && !seen.shared_full;
            seen.shared_reserve = shared.reserve;
        }
    }
    let found = explain::explain(algorithm, &pool, &mut First(key), use_default);
    let (chosen, whys) = found.map_err(|error| match error {
        NoAnswer::NoAlgorithm => format!("--explain: there is no algorithm {algorithm}"),
        NoAnswer::NoText(text) => {
            format!("--explain: algorithm {algorithm} hashes the {}: give it as KEY", text.name())
        }
    })?;
    let counts = select::measure(algorithm).is_some();
    let told = |((why, one), seen): ((&Why, &Destination), &Seen)| {
        let reserve = seen.of_reserve(*why, counts);
        why.told(Some(&one.capacity.name)) + reserve
    };
    let whys = whys.iter().zip(set).zip(&pool.0).map(told).collect();
    let loads = pool.0.iter().map(|seen| seen.load).collect();
    Ok(Explained { set: id, algorithm, key: key.map(str::to_owned), chosen, whys, loads })
}
