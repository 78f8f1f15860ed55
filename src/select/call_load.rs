//! Algorithm 10: the one with the fewest calls.

use super::{Algorithm, Choice, Draw, Needs, Pool, Refusal};

/// Chooses the least loaded.
///
/// Among equals, the one that was chosen longest ago: idle destinations share short calls evenly, and so does any group
/// of equals inside a set.
pub struct CallLoad;

impl Algorithm for CallLoad {
    fn needs(&self) -> Needs {
        Needs::Nothing
    }

    fn counts(&self) -> bool {
        true
    }

    fn choose(&self, pool: &dyn Pool, draw: Draw) -> Result<Choice, Refusal> {
        let field = draw.field(pool.len());
        if field == 0 {
            return Err(Refusal::NoSet);
        }
        match least_loaded(pool, 0..field) {
            Err(_) if field < pool.len() => least_loaded(pool, field..pool.len()),
            choice => choice,
        }
    }
}

/// The least loaded of these positions that is usable and has room.
pub fn least_loaded(pool: &dyn Pool, positions: impl Iterator<Item = usize>) -> Result<Choice, Refusal> {
    let mut best: Option<(u32, u64, usize)> = None;
    let mut refusal = Refusal::NoneActive;
    for at in positions.filter(|&at| pool.usable(at)) {
        let (load, maxload) = (pool.load(at), pool.maxload(at));
        if maxload != 0 && load >= maxload {
            refusal = Refusal::NoRoom;
            continue;
        }
        if best.is_none_or(|(least, _, _)| load <= least) {
            let candidate = (load, pool.last_chosen(at), at);
            if best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
    }
    best.map(|(load, _, at)| Choice { at, load }).ok_or(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{Set, at};

    #[test]
    fn the_least_loaded_with_room_is_chosen() {
        let set = Set(vec![(true, 3, 0, 0), (true, 1, 1, 0), (true, 2, 0, 0), (false, 0, 0, 0)]);
        assert_eq!(at(10, &set, Draw::default()), Ok(2));
    }

    #[test]
    fn among_equals_the_one_chosen_longest_ago() {
        let set = Set(vec![(true, 1, 0, 9), (true, 1, 0, 4), (true, 2, 0, 1), (true, 1, 0, 5)]);
        assert_eq!(at(10, &set, Draw::default()), Ok(1));
    }

    #[test]
    fn full_and_inactive_are_told_apart() {
        assert_eq!(
            at(10, &Set(vec![(true, 5, 5, 0), (false, 0, 0, 0)]), Draw::default()),
            Err(Refusal::NoRoom)
        );
        assert_eq!(at(10, &Set(vec![(false, 0, 0, 0)]), Draw::default()), Err(Refusal::NoneActive));
        assert_eq!(at(10, &Set(vec![]), Draw::default()), Err(Refusal::NoSet));
    }

    #[test]
    fn the_spared_one_takes_over_when_all_others_are_full() {
        let draw = Draw { spare_last: true, ..Draw::default() };
        assert_eq!(at(10, &Set(vec![(true, 1, 2, 0), (true, 0, 0, 0)]), draw), Ok(0));
        assert_eq!(at(10, &Set(vec![(true, 2, 2, 0), (true, 9, 0, 0)]), draw), Ok(1));
    }
}
