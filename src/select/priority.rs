//! Algorithm 8: always the first of the set, which is in the order of priority. Its use is serial forking.

use super::{Algorithm, Candidates, Choice, Draw, Needs, Refusal, usable_from};

/// Chooses the first one.
pub struct Priority;

impl Algorithm for Priority {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Nothing
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, Draw { number: 0, ..draw })
    }
}

#[cfg(test)]
mod tests {
    use crate::select::tests::{at, number, usable};

    #[test]
    fn the_first_usable_one_gets_all() {
        assert_eq!(at(8, &usable(&[true, true]), number(1)), Ok(0));
        assert_eq!(at(8, &usable(&[false, true]), number(0)), Ok(1));
    }
}
