//! Algorithm 6: any.

use super::{Algorithm, Choice, Draw, Needs, Pool, Refusal, usable_from};

/// Chooses by chance.
pub struct Random;

impl Algorithm for Random {
    fn needs(&self) -> Needs {
        Needs::Random
    }

    fn choose(&self, pool: &dyn Pool, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, draw)
    }
}
