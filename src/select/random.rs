//! Algorithm 6: a random usable destination, each with the same probability.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, spared};

/// Chooses by chance.
pub struct Random;

impl Algorithm for Random {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Random
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        let field = draw.field_of(pool)?;
        pool.nth_usable(field, draw.number).map_or_else(|| spared(pool, draw), |at| Ok(Choice::at(at)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{at, number, sparing, usable};

    #[test]
    fn each_usable_one_has_the_same_share_of_numbers() {
        let set = usable(&[true, false, true, true]);
        let picks: Vec<_> = (0..6).map(|random| at(6, &set, number(random)).unwrap()).collect();
        assert_eq!(picks, [0, 2, 3, 0, 2, 3]);
        assert_eq!(at(6, &usable(&[false, true]), sparing(5)), Ok(1));
        assert_eq!(at(6, &usable(&[false, false]), sparing(5)), Err(Refusal::NoneActive));
    }
}
