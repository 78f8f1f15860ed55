//! Algorithm 10: the one with the fewest calls.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, around, is_full};

/// Chooses the least loaded.
///
/// Among equals, the one that was chosen longest ago: idle destinations share short calls evenly, and so does any group
/// of equals inside a set.
pub struct CallLoad;

impl Algorithm for CallLoad {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Nothing
    }

    fn counts(&self) -> bool {
        true
    }

    /// Those that are full are left out; when the call gets there, others may be.
    fn alternatives(&self, pool: &dyn Candidates, chosen: usize, draw: Draw, most: usize) -> Vec<usize> {
        around(pool, chosen, draw, usize::MAX)
            .into_iter()
            .filter(|&at| !pool.is_full(at))
            .take(most)
            .collect()
    }

    /// As things are then.
    fn next(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        self.choose(pool, draw)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        let field = draw.field_of(pool)?;
        match least_loaded(pool, 0..field) {
            Err(refusal) if field < pool.len() => {
                // Where one of all is full and none is better off, there is no room.
                least_loaded(pool, field..pool.len()).map_err(|other| refusal.max(other))
            }
            choice => choice,
        }
    }
}

/// The least loaded of these positions that is usable and has room.
pub fn least_loaded(
    pool: &dyn Candidates,
    positions: impl Iterator<Item = usize>,
) -> Result<Choice, Refusal> {
    let mut best: Option<(u32, u64, usize)> = None;
    let mut refusal = Refusal::NoneActive;
    for at in positions.filter(|&at| pool.usable(at)) {
        let load = pool.load(at);
        if is_full(load, pool.maxload(at)) {
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
    use crate::select::tests::{Dest, Set, at, number, sparing};

    fn dest(load: u32, maxload: u32, last_chosen: u64) -> Dest {
        Dest { load, maxload, last_chosen, ..Dest::default() }
    }

    const DOWN: Dest = Dest {
        down: true,
        load: 0,
        maxload: 0,
        last_chosen: 0,
        priority: 0,
        weight: 0,
        latency: 0,
        overloaded: false,
        congestion: 0,
    };

    #[test]
    fn the_least_loaded_with_room_is_chosen() {
        let set = Set(vec![dest(3, 0, 0), dest(1, 1, 0), dest(2, 0, 0), DOWN]);
        assert_eq!(at(10, &set, number(0)), Ok(2));
    }

    #[test]
    fn among_equals_the_one_chosen_longest_ago() {
        let set = Set(vec![dest(1, 0, 9), dest(1, 0, 4), dest(2, 0, 1), dest(1, 0, 5)]);
        assert_eq!(at(10, &set, number(0)), Ok(1));
    }

    #[test]
    fn full_and_inactive_are_told_apart() {
        assert_eq!(at(10, &Set(vec![dest(5, 5, 0), DOWN]), number(0)), Err(Refusal::NoRoom));
        assert_eq!(at(10, &Set(vec![DOWN]), number(0)), Err(Refusal::NoneActive));
        assert_eq!(at(10, &Set(vec![]), number(0)), Err(Refusal::NoSet));
    }

    #[test]
    fn the_spared_one_takes_over_when_all_others_are_full() {
        assert_eq!(at(10, &Set(vec![dest(1, 2, 0), dest(0, 0, 0)]), sparing(0)), Ok(0));
        assert_eq!(at(10, &Set(vec![dest(2, 2, 0), dest(9, 0, 0)]), sparing(0)), Ok(1));
    }
}
