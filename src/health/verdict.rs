//! What the attempts of one call say of the destinations that it went to.
//!
//! A failure counts against a destination if the call was taken elsewhere, or went nowhere else. One that repeats at another destination
//! counts against none: it may be the call's own.

use super::ejection::Outcome;

/// What is known of one attempt: a request that went to one destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// Nothing yet.
    Nothing,
    /// It rings there.
    Rang,
    /// It answered: it takes calls, or refuses this one for a reason that is not its own.
    Alive,
    /// It failed. The seconds of a Retry-After; 0 where there is none.
    Failed(u32),
    /// It was given up before anything was known.
    GivenUp,
}

impl Seen {
    /// From the code of a final reply, and whether it rang before.
    pub const fn of_code(code: u16, rang: bool, wait: u32) -> Self {
        match code {
            500..600 => Self::Failed(wait),
            408 if !rang => Self::Failed(0),
            _ => Self::Alive,
        }
    }
}

/// What is known of the destination of the attempt at this place, whatever the number of attempts there.
fn at_same(to: &[u32], seen: &[Seen], place: usize) -> Seen {
    let same = || to.iter().zip(seen).filter(|(one, _)| to.get(place) == Some(one)).map(|(_, seen)| *seen);
    let has = |wanted: Seen| same().any(|one| one == wanted);
    let failed = || same().find(|one| matches!(one, Seen::Failed(_)));
    match () {
        () if has(Seen::Alive) => Seen::Alive,
        () if has(Seen::Rang) => Seen::Rang,
        () if has(Seen::Nothing) => Seen::Nothing,
        () => failed().unwrap_or(Seen::GivenUp),
    }
}

/// What the attempt at this place says of its destination, if that can be said by now; `over`: nothing more comes. `to` is where each went,
/// `seen` what is known of each.
pub fn verdict(to: &[u32], seen: &[Seen], place: usize, over: bool) -> Option<Outcome> {
    let here = at_same(to, seen, place);
    let others =
        || (0..to.len()).filter(|other| to.get(*other) != to.get(place)).map(|at| at_same(to, seen, at));
    match here {
        Seen::Alive => Some(Outcome::Good),
        Seen::Rang => Some(Outcome::Rang),
        Seen::Failed(wait) => {
            let repeats = others().any(|other| matches!(other, Seen::Failed(_)));
            let taken = others().any(|other| matches!(other, Seen::Rang | Seen::Alive));
            if !repeats && taken {
                Some(Outcome::Failed { wait: (wait > 0).then_some(wait) })
            } else if !over {
                None
            } else if repeats || others().next().is_some() {
                Some(Outcome::Unknown)
            } else {
                Some(Outcome::Failed { wait: None })
            }
        }
        Seen::Nothing | Seen::GivenUp => over.then_some(Outcome::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAILED: Seen = Seen::Failed(0);
    const BAD: Option<Outcome> = Some(Outcome::Failed { wait: None });

    fn all(to: &[u32], seen: &[Seen], over: bool) -> Vec<Option<Outcome>> {
        (0..to.len()).map(|place| verdict(to, seen, place, over)).collect()
    }

    #[test]
    fn codes_of_the_gateway_fail_and_those_of_the_call_do_not() {
        for code in [500, 502, 503, 504, 599] {
            assert_eq!(Seen::of_code(code, true, 7), Seen::Failed(7), "{code}");
        }
        for code in [200, 302, 401, 403, 404, 480, 486, 487, 488, 600, 603] {
            assert_eq!(Seen::of_code(code, false, 0), Seen::Alive, "{code}");
        }
        assert_eq!([Seen::of_code(408, false, 0), Seen::of_code(408, true, 0)], [FAILED, Seen::Alive]);
    }

    #[test]
    fn a_failure_counts_where_the_next_takes_the_call_at_its_first_ring() {
        assert_eq!(all(&[1, 2], &[FAILED, Seen::Nothing], false), [None, None]);
        assert_eq!(all(&[1, 2], &[FAILED, Seen::Rang], false), [BAD, Some(Outcome::Rang)]);
        assert_eq!(all(&[1, 2], &[FAILED, Seen::Alive], true), [BAD, Some(Outcome::Good)]);
        let asked = Some(Outcome::Failed { wait: Some(9) });
        assert_eq!(all(&[1, 2], &[Seen::Failed(9), Seen::Alive], true), [asked, Some(Outcome::Good)]);
    }

    #[test]
    fn a_failure_that_repeats_counts_against_none_whatever_comes_after_it() {
        let none = Some(Outcome::Unknown);
        assert_eq!(all(&[1, 2], &[FAILED, FAILED], true), [none, none]);
        assert_eq!(all(&[1, 2, 3], &[FAILED, FAILED, Seen::Alive], false), [None, None, Some(Outcome::Good)]);
        assert_eq!(all(&[1, 2, 3], &[FAILED, FAILED, Seen::Alive], true), [none, none, Some(Outcome::Good)]);
    }

    #[test]
    fn a_failure_alone_counts_when_nothing_more_comes_but_a_retry_after_does_not() {
        assert_eq!(all(&[1], &[FAILED], false), [None]);
        assert_eq!(all(&[1], &[Seen::Failed(9)], true), [BAD]);
        assert_eq!(all(&[1, 2], &[FAILED, Seen::GivenUp], true), [Some(Outcome::Unknown); 2]);
    }

    #[test]
    fn one_destination_that_was_tried_twice_is_judged_once() {
        assert_eq!(all(&[1, 1], &[FAILED, Seen::Rang], false), [Some(Outcome::Rang); 2]);
        assert_eq!(all(&[1, 1], &[FAILED, FAILED], true), [BAD, BAD]);
        assert_eq!(all(&[1, 1], &[FAILED, Seen::Nothing], false), [None, None]);
    }
}
