//! Algorithm 4: round robin. And 64: round robin that skips a destination as often as its overload control asks for (RFC 7339).

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, first_from, usable_from};

/// Chooses the next one.
pub struct RoundRobin;

impl Algorithm for RoundRobin {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Turn
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, draw)
    }
}

/// Chooses the next one that overload control does not take out this time.
pub struct RoundRobinLessOverload;

impl Algorithm for RoundRobinLessOverload {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Turn
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        // Each is asked once a selection: asking counts.
        first_from(pool, draw, |at| !pool.overloaded(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{Dest, Set, at, number, usable};

    #[test]
    fn the_turn_is_the_position_and_skips_what_is_not_usable() {
        let set = usable(&[true, false, true]);
        assert_eq!([0, 1, 2, 3].map(|turn| at(4, &set, number(turn))), [Ok(0), Ok(2), Ok(2), Ok(0)]);
    }

    #[test]
    fn overload_control_gives_the_turn_to_the_next() {
        let set = Set([true, false, true].map(|overloaded| Dest { overloaded, ..Dest::default() }).to_vec());
        assert_eq!(at(64, &set, number(0)), Ok(1));
        assert_eq!(at(64, &Set(set.0[..1].to_vec()), number(0)), Err(Refusal::NoneActive));
    }
}
