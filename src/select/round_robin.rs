//! Algorithm 4: each in its turn.

use super::{Algorithm, Choice, Draw, Needs, Pool, Refusal, usable_from};

/// Chooses the next one.
pub struct RoundRobin;

impl Algorithm for RoundRobin {
    fn needs(&self) -> Needs {
        Needs::Turn
    }

    fn choose(&self, pool: &dyn Pool, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, draw.turn as usize, draw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{at, usable};

    #[test]
    fn the_turn_is_the_position_and_skips_what_is_not_usable() {
        let set = usable(&[true, false, true]);
        let turns: Vec<_> = (0..4).map(|turn| at(4, &set, Draw { turn, ..Draw::default() })).collect();
        assert_eq!(turns, [Ok(0), Ok(2), Ok(2), Ok(0)]);
    }
}
