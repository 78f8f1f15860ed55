//! Algorithm 14: round robin if all destinations of the set have one priority, else always the first usable one.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, usable_from};

/// Round robin if all have one priority above 0, else serial.
pub struct TurnOrFirst;

/// All of one priority above 0. The set is in the order of priority, so first and last say it for all.
fn are_equals(pool: &dyn Candidates) -> bool {
    let last = pool.len().saturating_sub(1);
    !pool.is_empty() && pool.priority(0) > 0 && pool.priority(0) == pool.priority(last)
}

impl Algorithm for TurnOrFirst {
    /// A ranked set keeps its turn for round robin.
    fn needs(&self, pool: &dyn Candidates) -> Needs {
        if are_equals(pool) { Needs::Turn } else { Needs::Nothing }
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, if are_equals(pool) { draw } else { Draw { number: 0, ..draw } })
    }
}

#[cfg(test)]
mod tests {
    use crate::select::tests::{Dest, Set, at, number};

    fn set(priorities: [i32; 3]) -> Set {
        Set(priorities.map(|priority| Dest { priority, ..Dest::default() }).to_vec())
    }

    #[test]
    fn equals_take_turns_and_ranked_ones_do_not() {
        assert_eq!([0, 1, 2].map(|turn| at(14, &set([5, 5, 5]), number(turn))), [Ok(0), Ok(1), Ok(2)]);
        assert_eq!([0, 1, 2].map(|turn| at(14, &set([5, 5, 4]), number(turn))), [Ok(0), Ok(0), Ok(0)]);
        assert_eq!(at(14, &set([0, 0, 0]), number(1)), Ok(0));
    }
}
