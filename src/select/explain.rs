//! What would be chosen, and why not the others: over a copy of a set's state at one moment, so that the explanation and the choice
//! rest on the same values.
//!
//! `dispatcher.explain` makes the copy of what serves, the program `dispatcher-check` of what a list file says.

use std::borrow::Cow;

use super::weight::FULL_PACE;
use super::{CONSISTENT, Candidates, Draw, HashedText, Inputs, OVERLOAD, Refusal, algorithm, is_full, limit};

/// Whether calls may go to a destination, and if not, why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum State {
    /// They may.
    Usable,
    /// It does not answer, or a script or an operator said so.
    Inactive,
    /// An operator disabled it. Nothing is known of a position behind the end.
    #[default]
    Disabled,
    /// Its name has not been resolved yet.
    Unresolved,
    /// Somebody drains it, or has drained it.
    Drained,
    /// Calls failed there.
    Ejected,
}

/// What was seen of one destination.
#[derive(Debug, Clone, Copy, Default)]
#[allow(missing_docs)] // what `Candidates` says of each
pub struct Seen {
    pub state: State,
    pub load: u32,
    pub penalty: u32,
    pub maxload: u32,
    pub shared_full: bool,
    /// Of a call with priority: how many calls beyond `maxload` it finds room for. Nothing of any other call.
    pub beyond: Option<u32>,
    /// How many such calls the capacity has room for beyond its limit.
    pub shared_reserve: u32,
    /// The capacity has room for such a call only.
    pub shared_beyond: bool,
    pub identity: u64,
    pub over_rate: bool,
    pub shared_over_rate: bool,
    pub slow: Option<u32>,
    pub waits: u64,
    pub has_its_share: bool,
    pub last_chosen: u64,
    pub priority: i32,
    pub weight: u32,
    pub rweight: u32,
    pub latency: u32,
    pub congestion: Option<u32>,
    pub overloaded: bool,
}

impl Seen {
    /// Whether a limit on new calls keeps it out: its own, or that of the capacity that it shares.
    fn is_over_rate(&self) -> bool {
        self.over_rate || self.shared_over_rate
    }

    /// How many calls it may have, by a call that may have priority.
    fn limit(&self) -> u32 {
        limit(self.maxload, self.beyond.unwrap_or(0), self.beyond.is_some())
    }

    /// What a reserve does for a call with priority where that was told; empty where nothing is to be told of it. `counts`: the algorithm keeps
    /// limits.
    pub fn of_reserve(&self, told: Why, counts: bool) -> &'static str {
        match (told, self.beyond) {
            (Why::Chosen, Some(_)) if counts && is_full(self.load, self.maxload) => ", by its reserve",
            (Why::Chosen, Some(_)) if counts && self.shared_beyond => ", by the reserve of its capacity",
            (Why::Full, Some(0)) => ", and has no reserve",
            (Why::SharedFull, Some(_)) if self.shared_reserve == 0 => ", and has no reserve",
            (Why::Full | Why::SharedFull, Some(_)) => ", its reserve too",
            _ => "",
        }
    }
}

/// What was seen of each destination of a set, in its order.
#[derive(Debug, Clone, Default)]
pub struct Still(pub Vec<Seen>);

impl Still {
    fn at(&self, at: usize) -> Seen {
        self.0.get(at).copied().unwrap_or_default()
    }
}

impl Candidates for Still {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn usable(&self, at: usize) -> bool {
        let one = self.at(at);
        one.state == State::Usable && !one.is_over_rate()
    }
    fn load(&self, at: usize) -> u32 {
        self.at(at).load
    }
    fn penalty(&self, at: usize) -> u32 {
        self.at(at).penalty
    }
    fn maxload(&self, at: usize) -> u32 {
        self.at(at).maxload
    }
    fn limit(&self, at: usize) -> u32 {
        self.at(at).limit()
    }
    fn is_shared_full(&self, at: usize) -> bool {
        self.at(at).shared_full
    }
    fn identity(&self, at: usize) -> u64 {
        self.at(at).identity
    }
    fn pace(&self, at: usize) -> u32 {
        self.at(at).slow.unwrap_or(FULL_PACE)
    }
    fn has_slow(&self) -> bool {
        self.0.iter().any(|one| one.slow.is_some())
    }
    fn has_shares(&self) -> bool {
        self.0.iter().any(|one| one.has_its_share)
    }
    fn has_its_share(&self, at: usize) -> bool {
        self.at(at).has_its_share
    }
    fn waits(&self, at: usize) -> u64 {
        self.at(at).waits
    }
    fn last_chosen(&self, at: usize) -> u64 {
        self.at(at).last_chosen
    }
    fn priority(&self, at: usize) -> i32 {
        self.at(at).priority
    }
    fn weight(&self, at: usize) -> u32 {
        self.at(at).weight
    }
    fn rweight(&self, at: usize) -> u32 {
        self.at(at).rweight
    }
    fn latency(&self, at: usize) -> u32 {
        self.at(at).latency
    }
    fn congestion(&self, at: usize) -> Option<u32> {
        self.at(at).congestion
    }
    fn overloaded(&self, at: usize) -> bool {
        self.at(at).overloaded
    }
}

/// Why nothing can be said.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// There is no algorithm of this number.
    NoAlgorithm,
    /// It hashes this text, and none is given.
    NoText(HashedText),
}

/// Why a destination would be chosen or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It would be chosen.
    Chosen,
    /// It does not answer, or a script or an operator said so.
    Inactive,
    /// Its name has not been resolved yet.
    Unresolved,
    /// An operator disabled it.
    Disabled,
    /// Somebody drains it, or has drained it.
    Drained,
    /// Calls failed there.
    Ejected,
    /// It has all the calls that it may have, and the algorithm counts.
    Full,
    /// So has the capacity that it shares with others.
    SharedFull,
    /// It has had all new calls for now that its rate allows.
    OverRate,
    /// So has the capacity that it shares with others.
    SharedOverRate,
    /// It came back, or was added, not long ago, and has had its part for now.
    SlowStart,
    /// It has all the calls of its share, and the hash keeps to shares.
    OverShare,
    /// Overload control leaves it out this time.
    Overloaded,
    /// It is kept for when no other is left.
    Spared,
    /// Another one comes first.
    NotItsTurn,
}

/// Words about a capacity begin with this, and then comes its name.
const OF_CAPACITY: &str = "capacity ";

impl Why {
    /// In words, where it shares a capacity of this name.
    pub fn told(self, capacity: Option<&[u8]>) -> Cow<'static, str> {
        let named = self.words().strip_prefix(OF_CAPACITY).zip(capacity);
        match named {
            Some((rest, name)) => Cow::Owned(format!("{OF_CAPACITY}{} {rest}", name.escape_ascii())),
            None => Cow::Borrowed(self.words()),
        }
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Inactive => "inactive",
            Self::Unresolved => "its name has not been resolved yet",
            Self::Disabled => "disabled",
            Self::Drained => "drained",
            Self::Ejected => "ejected",
            Self::Full => "full",
            Self::SharedFull => "capacity full",
            Self::OverRate => "over its rate",
            Self::SharedOverRate => "capacity over its rate",
            Self::SlowStart => "in slow start",
            Self::OverShare => "has its share of calls",
            Self::Overloaded => "left out by overload control",
            Self::Spared => "kept for when no other is left",
            Self::NotItsTurn => "another one comes first",
        }
    }
}

/// The position that would be chosen, or why there is none.
pub type Chosen = Result<usize, Refusal>;

/// What would be chosen, and what becomes of each destination of the set, by position. With `spare_last` (`use_default`) the last one
/// is kept for when no other is left.
pub fn explain(
    number: i32,
    pool: &Still,
    inputs: &mut impl Inputs,
    spare_last: bool,
) -> Result<(Chosen, Vec<Why>), NoAnswer> {
    let choosing = algorithm(number).ok_or(NoAnswer::NoAlgorithm)?;
    let drawn = choosing.needs(pool).number(inputs).map_err(NoAnswer::NoText)?;
    let draw = Draw { number: drawn, spare_last };
    let drained = || pool.0.iter().any(|one| one.state == State::Drained);
    let over_rate =
        |one: &Seen| one.state == State::Usable && one.is_over_rate() && !is_full(one.load, one.maxload);
    let over_rate = || pool.0.iter().any(over_rate);
    let chosen = choosing.choose(pool, draw).map(|choice| choice.at).map_err(|refusal| match refusal {
        Refusal::NoneActive | Refusal::NoRoom if over_rate() => Refusal::OverRate,
        Refusal::NoneActive if drained() => Refusal::Drained,
        refusal => refusal,
    });
    let field = draw.field(pool.len());
    let why = |at: usize| match pool.at(at).state {
        _ if chosen == Ok(at) => Why::Chosen,
        State::Inactive => Why::Inactive,
        State::Disabled => Why::Disabled,
        State::Unresolved => Why::Unresolved,
        State::Drained => Why::Drained,
        State::Ejected => Why::Ejected,
        State::Usable if choosing.counts().is_some() && pool.is_full(at) => {
            let seen = pool.at(at);
            if is_full(seen.load, seen.limit()) { Why::Full } else { Why::SharedFull }
        }
        State::Usable if pool.at(at).over_rate => Why::OverRate,
        State::Usable if pool.at(at).shared_over_rate => Why::SharedOverRate,
        State::Usable if number == OVERLOAD && pool.overloaded(at) => Why::Overloaded,
        State::Usable if number == CONSISTENT && pool.has_its_share(at) => Why::OverShare,
        State::Usable if at >= field => Why::Spared,
        State::Usable if choosing.counts().is_some() && pool.waits(at) > 0 => Why::SlowStart,
        State::Usable if choosing.weigher().is_some() && pool.pace(at) < FULL_PACE => Why::SlowStart,
        State::Usable => Why::NotItsTurn,
    };
    Ok((chosen, (0..pool.len()).map(why).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::{CALL_LOAD, Tickets};

    struct First;
    impl Inputs for First {
        fn hash(&mut self, _: HashedText) -> Option<u32> {
            None
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

    #[test]
    fn a_call_with_priority_is_told_what_reserves_do() {
        let own = |load, maxload, beyond| Seen { load, maxload, beyond, ..usable() };
        let shared =
            |shared_full, shared_reserve, beyond| Seen { shared_full, shared_reserve, beyond, ..usable() };
        let told = |all: &[Seen], algorithm| {
            let pool = Still(all.to_vec());
            let (_, whys) = explain(algorithm, &pool, &mut First, false).unwrap();
            let counts = super::super::measure(algorithm).is_some();
            let told = |(why, seen): (&Why, &Seen)| {
                why.told(Some(b"c")).into_owned() + seen.of_reserve(*why, counts)
            };
            whys.iter().zip(all).map(told).collect::<Vec<_>>()
        };
        let all = [own(2, 2, Some(1)), own(3, 3, Some(0)), own(9, 8, Some(1)), shared(true, 0, Some(0))];
        let (none, too) = (", and has no reserve", ", its reserve too");
        let full = |rest: &str| format!("full{rest}");
        let expected =
            ["chosen, by its reserve".into(), full(none), full(too), format!("capacity c full{none}")];
        assert_eq!(told(&all, CALL_LOAD), expected);
        let beyond = Seen { shared_beyond: true, ..shared(false, 5, Some(0)) };
        let expected = ["chosen, by the reserve of its capacity".into(), format!("capacity c full{too}")];
        assert_eq!(told(&[beyond, shared(true, 5, Some(0))], CALL_LOAD), expected);
        // Nothing is told of reserves for another call, or where limits do not matter.
        assert_eq!(told(&[own(2, 2, None), own(0, 0, None)], CALL_LOAD), ["full", "chosen"]);
        assert_eq!(told(&[own(2, 2, Some(1))], 8), ["chosen"]);
    }

    fn usable() -> Seen {
        Seen { state: State::Usable, ..Seen::default() }
    }

    #[test]
    fn each_that_is_not_chosen_has_its_reason() {
        let seen = |state, load, maxload| Seen { state, load, maxload, ..Seen::default() };
        let pool = Still(vec![
            seen(State::Usable, 2, 2),
            seen(State::Inactive, 0, 0),
            seen(State::Disabled, 0, 0),
            seen(State::Unresolved, 0, 0),
            seen(State::Usable, 0, 0),
            seen(State::Usable, 1, 0),
            seen(State::Usable, 0, 0),
        ]);
        let (chosen, why) = explain(CALL_LOAD, &pool, &mut First, true).unwrap();
        assert_eq!(chosen, Ok(4));
        assert_eq!(
            why,
            [
                Why::Full,
                Why::Inactive,
                Why::Disabled,
                Why::Unresolved,
                Why::Chosen,
                Why::NotItsTurn,
                Why::Spared
            ]
        );
        let drained = Still(vec![seen(State::Inactive, 0, 0), seen(State::Drained, 1, 0)]);
        for algorithm in [CALL_LOAD, 4, 8] {
            let (chosen, why) = explain(algorithm, &drained, &mut First, false).unwrap();
            assert_eq!((chosen, why), (Err(Refusal::Drained), vec![Why::Inactive, Why::Drained]));
        }
        let over = |load, maxload| Seen { over_rate: true, ..seen(State::Usable, load, maxload) };
        let rated = Still(vec![seen(State::Inactive, 0, 0), over(0, 0), over(1, 2)]);
        for algorithm in [CALL_LOAD, 4, 8] {
            let (chosen, why) = explain(algorithm, &rated, &mut First, false).unwrap();
            assert_eq!(
                (chosen, why),
                (Err(Refusal::OverRate), vec![Why::Inactive, Why::OverRate, Why::OverRate])
            );
        }
        let rated = Still(vec![over(0, 0), seen(State::Usable, 2, 2), over(2, 2)]);
        let (chosen, why) = explain(CALL_LOAD, &rated, &mut First, false).unwrap();
        assert_eq!((chosen, why), (Err(Refusal::OverRate), vec![Why::OverRate, Why::Full, Why::Full]));
        assert_eq!(explain(4, &rated, &mut First, false).unwrap().0, Ok(1));
        let shared = Seen { shared_over_rate: true, ..seen(State::Usable, 0, 0) };
        for algorithm in [CALL_LOAD, 4, 8] {
            let found = explain(algorithm, &Still(vec![shared]), &mut First, false).unwrap();
            assert_eq!(found, (Err(Refusal::OverRate), vec![Why::SharedOverRate]));
        }
        assert_eq!(Why::SharedOverRate.told(Some(b"a")), "capacity a over its rate");
        // Who waits for its turn gets the call where no other has room.
        let slow =
            |load, maxload, waits| Seen { slow: Some(10), waits, ..seen(State::Usable, load, maxload) };
        let started = Still(vec![slow(0, 0, 7), seen(State::Usable, 3, 0), slow(1, 0, 0)]);
        let (chosen, why) = explain(CALL_LOAD, &started, &mut First, false).unwrap();
        assert_eq!((chosen, why), (Ok(2), vec![Why::SlowStart, Why::NotItsTurn, Why::Chosen]));
        let started = Still(vec![slow(0, 0, 7), seen(State::Usable, 3, 3), slow(2, 0, 6)]);
        assert_eq!(explain(CALL_LOAD, &started, &mut First, false).unwrap().0, Ok(2), "its turn is sooner");
        let started = Still(vec![slow(0, 0, 7), seen(State::Usable, 3, 3)]);
        assert_eq!(explain(CALL_LOAD, &started, &mut First, false).unwrap().0, Ok(0));
        assert_eq!(explain(9, &started, &mut First, false).unwrap().0, Ok(0));
        assert_eq!(explain(4, &started, &mut First, true).unwrap().1, [Why::Chosen, Why::Spared]);
        let told = [Why::Full, Why::SharedFull].map(|why| why.told(Some(b"a b")));
        assert_eq!(
            (told, Why::SharedFull.told(None)),
            (["full".into(), "capacity a b full".into()], "capacity full".into())
        );
        assert_eq!(explain(77, &pool, &mut First, false), Err(NoAnswer::NoAlgorithm));
        assert_eq!(explain(0, &pool, &mut First, false), Err(NoAnswer::NoText(HashedText::CallId)));
    }
}
