//! Algorithm 11: in proportion to relative weights, less for a destination that is congested.
//!
//! With `cc=1` in its attributes a destination's share is its `weight` less a point for each millisecond by which it is
//! slower than usual. When all of a set have `cc=1` and nothing is left of any of their shares, the calls are spread in
//! inverse proportion to how much slower each has become. Manual of the stock module, `ds_select_dst`, algorithm 11.

use super::weight::in_proportion;
use super::{Algorithm, Choice, Draw, Needs, Pool, Refusal, Tickets};

/// Chooses in proportion to relative weights.
pub struct RelativeWeight;

/// Keeps the precision of a division.
const SCALE: u64 = 16;

/// The share of a position before all are congested.
fn share(pool: &dyn Pool, at: usize) -> u64 {
    match pool.congestion(at) {
        Some(milliseconds) if pool.weight(at) > 0 => pool.weight(at).saturating_sub(milliseconds).into(),
        _ => pool.rweight(at).into(),
    }
}

/// The congestion of all together, if there are several and nothing is left of any share.
fn total(pool: &dyn Pool, in_play: &dyn Fn(usize) -> bool) -> Option<u64> {
    let (mut sum, mut count) = (0, 0);
    for at in (0..pool.len()).filter(|&at| in_play(at)) {
        let milliseconds = pool.congestion(at).filter(|_| pool.weight(at) > 0 && share(pool, at) == 0)?;
        sum += u64::from(milliseconds);
        count += 1;
    }
    (count > 1).then_some(sum)
}

impl Algorithm for RelativeWeight {
    fn needs(&self, _: &dyn Pool) -> Needs {
        Needs::Ticket(Tickets::RelativeWeight)
    }

    fn choose(&self, pool: &dyn Pool, draw: Draw) -> Result<Choice, Refusal> {
        let field = draw.field_of(pool)?;
        let in_play = |at: usize| at < field && pool.usable(at);
        match total(pool, &in_play) {
            None => in_proportion(pool, draw, field, &in_play, &|at| share(pool, at)),
            Some(total) => {
                let congestion = |at| u64::from(pool.congestion(at).unwrap_or(0).max(1));
                in_proportion(pool, draw, field, &in_play, &|at| total * SCALE / congestion(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::select::tests::{Dest, Set, at, number};

    fn counts(rows: &[(u32, u32)], runs: u64) -> Vec<u32> {
        let row = |&(weight, congestion): &(u32, u32)| Dest { weight, congestion, ..Dest::default() };
        let set = Set(rows.iter().map(row).collect());
        let mut counts = vec![0; rows.len()];
        (0..runs).for_each(|n| counts[at(11, &set, number(n)).unwrap()] += 1);
        counts
    }

    #[test]
    fn congestion_takes_a_point_for_each_millisecond() {
        // Weight 50 with 30 ms and with none; without congestion control the relative weight counts.
        assert_eq!(counts(&[(50, 31), (50, 1)], 70), [20, 50]);
        assert_eq!(counts(&[(50, 31), (50, 0)], 70), [20, 50]);
        assert_eq!(counts(&[(50, 200), (50, 1)], 70), [0, 70]);
    }

    #[test]
    fn when_all_are_congested_the_least_congested_gets_most() {
        // 400 ms together: shares of 400 × 16 / 100 and 400 × 16 / 300.
        assert_eq!(counts(&[(10, 101), (10, 301)], 85), [64, 21]);
    }
}
