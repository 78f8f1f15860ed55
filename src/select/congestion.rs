//! Algorithm 11: in proportion to relative weights, less for a destination that is congested.
//!
//! With `cc=1` in its attributes a destination's share is its `weight` less a point for each millisecond by which it is
//! slower than usual. When all of a set have `cc=1` and nothing is left of any of their shares, the calls are spread in
//! inverse proportion to how much slower each has become. Manual of the stock module, `ds_select_dst`, algorithm 11.

use super::weight::{Share, Weigher, equal_but_slow, in_proportion};
use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, Tickets};

/// Chooses in proportion to relative weights.
pub struct RelativeWeight;

/// Keeps the precision of a division.
const SCALE: u64 = 16;

/// The congestion that counts at this position, in milliseconds.
fn congestion(pool: &dyn Candidates, at: usize) -> Option<u32> {
    pool.congestion(at).filter(|_| pool.weight(at) > 0)
}

impl Weigher for RelativeWeight {
    fn row(&self) -> Tickets {
        Tickets::RelativeWeight
    }

    fn share(&self, pool: &dyn Candidates, at: usize) -> u64 {
        let share = match congestion(pool, at) {
            Some(milliseconds) => pool.weight(at).saturating_sub(milliseconds),
            None => pool.rweight(at),
        };
        u64::from(share) * u64::from(pool.pace(at))
    }

    fn instead(&self, pool: &dyn Candidates, field: usize) -> Option<Vec<Share>> {
        let usable = (0..field).filter(|&at| pool.usable(at));
        let all: Option<Vec<_>> = usable.map(|at| Some((at, congestion(pool, at)?))).collect();
        let Some(all) = all else { return equal_but_slow(pool, 0, field) };
        let total: u64 = all.iter().map(|(_, congestion)| u64::from(*congestion)).sum();
        let inverse = |&(at, congestion): &(usize, u32)| Share {
            at,
            of: total * SCALE / u64::from(congestion.max(1)) * u64::from(pool.pace(at)),
        };
        (all.len() > 1).then(|| all.iter().map(inverse).collect())
    }
}

impl Algorithm for RelativeWeight {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Ticket(Tickets::RelativeWeight)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        in_proportion(pool, draw, self)
    }

    fn weigher(&self) -> Option<&dyn Weigher> {
        Some(self)
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
