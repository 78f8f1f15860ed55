//! Algorithm 13: the destinations with the highest priority after latency take turns.
//!
//! A destination whose latency in milliseconds is above its priority loses a point of priority for each time that the priority goes
//! into the latency: priority 30 and 91 ms make 27. Manual of the stock module, `ds_select_dst`, algorithm 13.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Positions, Refusal, spared};
use core::cmp::Reverse;

/// Chooses by priority less latency.
pub struct ByLatency;

/// The priority of a destination with this latency. Never below 1 for one that had a priority.
pub fn adjusted(priority: i32, latency: u32) -> i32 {
    let latency = i64::from(latency);
    if priority <= 0 || latency <= i64::from(priority) {
        return priority;
    }
    let handicap = i32::try_from(latency / i64::from(priority)).unwrap_or(i32::MAX);
    priority.saturating_sub(handicap).max(1)
}

/// [`Candidates::by_latency`] by looking at all of them. Each is looked at once: what probes measure changes while a selection
/// runs, and a sort by what changes under it has no order.
pub fn sorted(pool: &(impl Candidates + ?Sized), field: usize, turn: usize, most: usize) -> Positions {
    let usable = (turn..field).chain(0..turn.min(field)).filter(|&at| pool.usable(at));
    let mut order: Vec<_> = usable.map(|at| (at, adjusted(pool.priority(at), pool.latency(at)))).collect();
    order.sort_by_key(|&(_, adjusted)| Reverse(adjusted));
    order.into_iter().map(|(at, _)| at).take(most).collect()
}

/// Those of the field, see [`Candidates::by_latency`].
fn in_turn(pool: &dyn Candidates, draw: Draw, most: usize) -> Positions {
    let field = draw.field(pool.len());
    pool.by_latency(field, (draw.number % field.max(1) as u64) as usize, most)
}

impl Algorithm for ByLatency {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Turn
    }

    /// As things are then.
    fn next(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        self.choose(pool, draw)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        draw.field_of(pool)?;
        let best = in_turn(pool, draw, 1).first().copied();
        best.map_or_else(|| spared(pool, draw), |at| Ok(Choice::at(at)))
    }

    fn alternatives(&self, pool: &dyn Candidates, chosen: usize, draw: Draw, most: usize) -> Vec<usize> {
        if most == 0 {
            return Vec::new();
        }
        let spared = draw.field(pool.len())..pool.len();
        // The chosen one may be among them.
        let best = in_turn(pool, draw, most.saturating_add(1));
        best.into_iter().chain(spared).filter(|&at| at != chosen).take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{Dest, Set, at, number};

    /// The example of the manual: priority 30, estimated latencies 21, 91, 61, 19, 32, 0, 201.
    #[test]
    fn the_example_of_the_manual() {
        let latencies = [21, 91, 61, 19, 32, 0, 201];
        let set = Set(latencies.map(|latency| Dest { priority: 30, latency, ..Dest::default() }).to_vec());
        assert_eq!(latencies.map(|latency| adjusted(30, latency)), [30, 27, 28, 30, 29, 30, 24]);
        let turns: Vec<_> = (0..7).map(|turn| at(13, &set, number(turn)).unwrap()).collect();
        assert_eq!(turns, [0, 3, 3, 3, 5, 5, 0]);
        assert_eq!(ByLatency.alternatives(&set, 0, number(0), 9), [3, 5, 4, 2, 1, 6]);
    }

    #[test]
    fn one_with_a_priority_keeps_at_least_a_point() {
        let set = Set(vec![Dest { priority: 2, latency: 1000, ..Dest::default() }, Dest::default()]);
        assert_eq!(at(13, &set, number(1)), Ok(0));
    }
}
