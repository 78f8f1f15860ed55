//! Algorithm 13: the quick ones of high priority, in turn.
//!
//! A destination's priority is lowered by one point each time its latency is as high as its priority; the highest after
//! that take turns. Manual of the stock module, `ds_select_dst`, algorithm 13.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, spared};

/// Chooses by priority less latency.
pub struct Latency;

/// The priority after latency. Never below 1 for one that had a priority.
fn adjusted(pool: &dyn Candidates, at: usize) -> i32 {
    let (priority, latency) = (pool.priority(at), i64::from(pool.latency(at)));
    if priority <= 0 || latency <= i64::from(priority) {
        return priority;
    }
    let handicap = i32::try_from(latency / i64::from(priority)).unwrap_or(i32::MAX);
    priority.saturating_sub(handicap).max(1)
}

/// The usable ones of the field with their priorities after latency, in the order of turns. Each is looked at once: what
/// probes measure changes while a selection runs, and a sort by what changes under it has no order.
fn adjusted_in_turn(pool: &dyn Candidates, draw: Draw) -> impl Iterator<Item = (usize, i32)> {
    let field = draw.field(pool.len());
    let start = (draw.number % field.max(1) as u64) as usize;
    let usable = (start..field).chain(0..start).filter(|&at| pool.usable(at));
    usable.map(|at| (at, adjusted(pool, at)))
}

/// The usable ones of the field, the best first; among equals in the order of turns.
fn ranked(pool: &dyn Candidates, draw: Draw) -> Vec<usize> {
    let mut order: Vec<_> = adjusted_in_turn(pool, draw).collect();
    order.sort_by_key(|&(_, adjusted)| core::cmp::Reverse(adjusted));
    order.into_iter().map(|(at, _)| at).collect()
}

impl Algorithm for Latency {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Turn
    }

    /// As things are then.
    fn next(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        self.choose(pool, draw)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        draw.field_of(pool)?;
        let best = adjusted_in_turn(pool, draw).min_by_key(|&(_, adjusted)| core::cmp::Reverse(adjusted));
        best.map_or_else(|| spared(pool, draw), |(at, _)| Ok(Choice::at(at)))
    }

    fn alternatives(&self, pool: &dyn Candidates, chosen: usize, draw: Draw, most: usize) -> Vec<usize> {
        if most == 0 {
            return Vec::new();
        }
        let spared = draw.field(pool.len())..pool.len();
        ranked(pool, draw).into_iter().chain(spared).filter(|&at| at != chosen).take(most).collect()
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
        let adjusted: Vec<_> = (0..7).map(|at| adjusted(&set, at)).collect();
        assert_eq!(adjusted, [30, 27, 28, 30, 29, 30, 24]);
        let turns: Vec<_> = (0..7).map(|turn| at(13, &set, number(turn)).unwrap()).collect();
        assert_eq!(turns, [0, 3, 3, 3, 5, 5, 0]);
        assert_eq!(Latency.alternatives(&set, 0, number(0), 9), [3, 5, 4, 2, 1, 6]);
    }

    #[test]
    fn one_with_a_priority_keeps_at_least_a_point() {
        let set = Set(vec![Dest { priority: 2, latency: 1000, ..Dest::default() }, Dest::default()]);
        assert_eq!(at(13, &set, number(1)), Ok(0));
    }
}
