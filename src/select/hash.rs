//! Algorithms 0, 1, 2, 3, 5 and 7: the same text goes to the same destination while that is usable.

use super::{Algorithm, Candidates, Choice, Draw, HashedText, Needs, Refusal, usable_from};
use xxhash_rust::xxh3::xxh3_64;

/// Chooses by the hash of a text.
pub struct ByHash(pub HashedText);

impl Algorithm for ByHash {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::Hash(self.0)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, draw)
    }
}

/// Chooses by the hash of a text, or in turn for a message without it.
pub struct ByHashOrTurn(pub HashedText);

impl Algorithm for ByHashOrTurn {
    fn needs(&self, _: &dyn Candidates) -> Needs {
        Needs::HashOrTurn(self.0)
    }

    fn choose(&self, pool: &dyn Candidates, draw: Draw) -> Result<Choice, Refusal> {
        usable_from(pool, draw)
    }
}

/// The hash of a text of a message, as the algorithm that hashes such texts wants it.
pub fn of_text(kind: HashedText, text: &[u8]) -> u32 {
    match kind {
        // The stock module's is the same for many texts of one length: it adds their words.
        HashedText::Key => xxh3_64(text) as u32,
        _ => stock(text, &[]),
    }
}

/// The hash of the stock module over up to two texts, bit for bit: operators move over with live traffic, and a key must
/// keep its destination.
///
/// Four bytes at a time as one big-endian number, the rest of each text as one shorter number; a byte above 127 counts
/// as negative (the stock module adds C `char`s). Never 0.
pub fn stock(first: &[u8], second: &[u8]) -> u32 {
    let word =
        |bytes: &[u8]| bytes.iter().fold(0u32, |word, &byte| (word << 8).wrapping_add(byte as i8 as u32));
    let mix = |word: u32| word ^ (word >> 3);
    let text = |bytes: &[u8]| {
        let words = bytes.chunks_exact(4);
        let rest = mix(word(words.remainder()));
        words.fold(rest, |sum, four| sum.wrapping_add(mix(word(four))))
    };
    let sum = text(first).wrapping_add(text(second));
    let hash = sum.wrapping_add(sum >> 11).wrapping_add((sum >> 13).wrapping_add(sum >> 23));
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::select::tests::{at, number, sparing, usable};

    #[test]
    fn the_position_is_the_hash_modulo_the_field() {
        let set = usable(&[true; 5]);
        for hash in 0..20 {
            for algorithm in [0, 1, 2, 3, 5, 7] {
                assert_eq!(at(algorithm, &set, number(hash)), Ok(hash as usize % 5));
                assert_eq!(at(algorithm, &set, sparing(hash)), Ok(hash as usize % 4));
            }
        }
    }

    #[test]
    fn an_unusable_one_gives_its_share_to_the_next() {
        assert_eq!(at(0, &usable(&[true, false, false, true]), number(1)), Ok(3));
        assert_eq!(at(0, &usable(&[false, false, true]), sparing(1)), Ok(2));
        assert_eq!(at(0, &usable(&[false; 3]), number(0)), Err(Refusal::NoneActive));
        assert_eq!(at(0, &usable(&[]), number(0)), Err(Refusal::NoSet));
    }
}
