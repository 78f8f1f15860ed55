//! Algorithm 12: parallel forking. The first usable destination gets the request itself, each other one a branch.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, usable_from};

/// Chooses the first one; the alternatives are the other branches.
pub struct Parallel;

impl Algorithm for Parallel {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Nothing
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, Draw { number: 0, ..draw })
    }

    /// All usable ones: parallel forking spares none.
    fn alternatives(&self, pool: &dyn Candidates, chosen: usize, _: Draw, most: usize) -> Vec<usize> {
        let mut all = Vec::new();
        pool.add_usable(chosen + 1..pool.len(), most, &mut all);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{number, usable};

    #[test]
    fn all_usable_ones_get_a_branch() {
        let set = usable(&[false, true, false, true, true]);
        let chosen = Parallel.choose(&set, number(0)).unwrap().at;
        assert_eq!((chosen, Parallel.alternatives(&set, chosen, number(0), 9)), (1, vec![3, 4]));
    }
}
