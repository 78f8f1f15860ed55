//! Algorithm 11: in proportion to relative weights, less for a destination that is congested.
//!
//! With `cc=1` in its attributes a destination's share is its `weight` less a point for each millisecond by which it is
//! slower than usual. When all of a set have `cc=1` and nothing is left of any of their shares, the calls are spread in
//! inverse proportion to how much slower each has become. Manual of the stock module, `ds_select_dst`, algorithm 11.

use super::weight::{Share, in_proportion};
use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, Tickets};

/// Chooses in proportion to relative weights.
pub struct RelativeWeight;

/// Keeps the precision of a division.
const SCALE: u64 = 16;

/// What a position is worth at the moment at which it is looked at.
struct Worth {
    at: usize,
    share: u64,
    /// Its congestion in milliseconds, if that is what its share is of.
    congestion: Option<u32>,
}

impl Worth {
    fn of(pool: &dyn Candidates, at: usize) -> Self {
        let weight = pool.weight(at);
        let congestion = pool.congestion(at).filter(|_| weight > 0);
        let share = match congestion {
            Some(milliseconds) => weight.saturating_sub(milliseconds),
            None => pool.rweight(at),
        };
        Self { at, share: share.into(), congestion }
    }
}

/// The congestion of all together, if there are several and nothing is left of any share.
fn total(all: &[Worth]) -> Option<u64> {
    let congestion = |one: &Worth| one.congestion.filter(|_| one.share == 0).map(u64::from);
    if all.len() > 1 { all.iter().map(congestion).sum() } else { None }
}

impl Algorithm for RelativeWeight {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Ticket(Tickets::RelativeWeight)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        in_proportion(pool, draw, Tickets::RelativeWeight, &|field| {
            let usable = (0..field).filter(|&at| pool.usable(at));
            let all: Vec<_> = usable.map(|at| Worth::of(pool, at)).collect();
            let total = total(&all);
            let share = |one: &Worth| {
                let inverse = |total| total * SCALE / u64::from(one.congestion.unwrap_or(0).max(1));
                Share { at: one.at, of: total.map_or(one.share, inverse) }
            };
            all.iter().map(share).collect()
        })
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
