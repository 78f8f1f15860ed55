//! Algorithm 10: the one with the fewest calls; and 100: relative to what it may have.

use super::{
    Algorithm, Candidates, Choice, Draw, Measure, Needs, Refusal, around, capacity, is_full, relative,
};

/// Chooses the least loaded.
///
/// Among equals, the one that was chosen longest ago: idle destinations share short calls evenly, and so does any group
/// of equals inside a set.
pub struct LeastLoaded(pub Measure);

impl Algorithm for LeastLoaded {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Nothing
    }

    fn counts(&self) -> Option<Measure> {
        Some(self.0)
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
        match least_loaded(pool, self.0, 0..field) {
            Err(refusal) if field < pool.len() => {
                // Where one of all is full and none is better off, there is no room.
                least_loaded(pool, self.0, field..pool.len()).map_err(|other| refusal.max(other))
            }
            choice => choice,
        }
    }
}

/// The least loaded of these positions that is usable and has room.
pub fn least_loaded(
    pool: &dyn Candidates,
    measure: Measure,
    positions: impl Iterator<Item = usize>,
) -> Result<Choice, Refusal> {
    let all_limited = measure == Measure::Relative && (0..pool.len()).all(|at| pool.maxload(at) > 0);
    let measured = |load: u32, at: usize| match measure {
        Measure::Calls => load,
        Measure::Relative => relative(load, capacity(all_limited, pool.maxload(at), pool.weight(at))),
    };
    let mut best: Option<((u64, u32), u64, usize, u32)> = None;
    let mut refusal = Refusal::NoneActive;
    for at in positions.filter(|&at| pool.usable(at)) {
        let load = pool.load(at);
        if is_full(load, pool.limit(at)) || pool.is_shared_full(at) {
            refusal = Refusal::NoRoom;
            continue;
        }
        let measured = (pool.waits(at), measured(load.saturating_add(pool.penalty(at)), at));
        if best.is_none_or(|(least, ..)| measured <= least) {
            let candidate = (measured, pool.last_chosen(at), at, load);
            if best.is_none_or(|best| candidate < best) {
                best = Some(candidate);
            }
        }
    }
    best.map(|(_, _, at, load)| Choice { at, load }).ok_or(refusal)
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
        slower: 0,
        bound: 0,
    };

    #[test]
    fn the_least_loaded_with_room_is_chosen() {
        let set = Set(vec![dest(3, 0, 0), dest(1, 1, 0), dest(2, 0, 0), DOWN]);
        assert_eq!(at(10, &set, number(0)), Ok(2));
    }

    #[test]
    fn the_least_loaded_for_its_size_is_chosen() {
        let set = |limits: [u32; 3]| {
            let one = |load, weight, maxload| Dest { weight, ..dest(load, maxload, 0) };
            Set(vec![one(30, 1, limits[0]), one(60, 9, limits[1]), one(20, 0, limits[2])])
        };
        // By `maxload`: 30 %, 20 %, 40 %.
        assert_eq!(at(100, &set([100, 300, 50]), number(0)), Ok(1));
        // One has none, so by weight: 30, 6.7 and 20, though the limits would say 60 %, 100 %, 20 %.
        assert_eq!(at(100, &set([50, 61, 0]), number(0)), Ok(1));
        assert_eq!(at(100, &set([50, 60, 0]), number(0)), Ok(2), "the other is full");
        assert_eq!(at(100, &set([30, 60, 20]), number(0)), Err(Refusal::NoRoom));
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
