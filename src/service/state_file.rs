//! What outlives a restart (`ds_state_file`): what an operator disabled, and after a clean shutdown the calls that are up.
//!
//! The file holds the secret of the keys, so that the calls' keys mean the same afterwards; it is for the server's eyes only.
//! Layout, numbers in little-endian order: [`MAGIC`], a byte that is 1 after a clean shutdown, the secret, the destinations
//! (their number, then key, flags as configured, flags), the calls (their number, then key, number of the destination,
//! phase, seconds since it was seen), and a hash of all that (XXH3).

use super::calls;
use crate::dest::Flags;
use crate::load::key::{Key, SECRET_LEN, checksum};
use crate::load::{Leg, Phase, Secret};
use crate::shm::Alloc;
use crate::shm::lock::lock_of_the_living;
use crate::state::{Root, health::Report};
use core::fmt;
use std::collections::HashMap;

/// The beginning, with the number of the layout.
const MAGIC: &[u8] = b"kamailio dispatcher state 1\n";

/// What a file held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The server ended as it should: the calls are those that were up.
    clean: bool,
    secret: [u8; SECRET_LEN],
    destinations: Vec<Destination>,
    calls: Vec<SavedCall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Destination {
    key: Key,
    configured: u32,
    flags: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SavedCall {
    key: Key,
    destination: u32,
    phase: u8,
    age: u32,
}

/// Why a file means nothing.
#[derive(Debug, PartialEq, Eq)]
pub enum Damaged {
    /// It begins with something else.
    NotOurs,
    /// It ends early, at this byte.
    Short(usize),
    /// Something in it was changed.
    Changed,
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOurs => write!(f, "it is no state file of this version"),
            Self::Short(at) => write!(f, "it ends at byte {at}, in the middle"),
            Self::Changed => write!(f, "its checksum is wrong"),
        }
    }
}

/// The bytes of a file. With `calls`, for a clean shutdown; `None` if somebody died with a lock in his hand.
///
/// `now` in seconds as the call table counts them.
pub fn save<A: Alloc>(root: &Root<A>, with_calls: bool, now: u32) -> Option<Vec<u8>> {
    let mut destinations = Vec::new();
    let mut places = HashMap::new();
    root.registry.for_each_key(|key, number| {
        if let Some(record) = root.registry.record(number) {
            places.insert(number, destinations.len() as u32);
            let (configured, flags) = (record.configured().0, record.flags().0);
            destinations.push(Destination { key: *key, configured, flags });
        }
    })?;
    let mut calls = Vec::new();
    for shard in root.calls.shards().iter().filter(|_| with_calls) {
        lock_of_the_living(shard)?.for_each_leg(|key, leg| {
            if let Some(&destination) = places.get(&leg.record()) {
                let (phase, age) = (phase_number(leg.phase()), now.wrapping_sub(leg.seen()));
                calls.push(SavedCall { key: *key, destination, phase, age });
            }
        });
    }
    Some(Saved { clean: with_calls, secret: *root.secret.bytes(), destinations, calls }.bytes())
}

const fn phase_number(phase: Phase) -> u8 {
    match phase {
        Phase::Early => 0,
        Phase::Confirmed => 1,
        Phase::Released => 2,
    }
}

/// What a restart took over.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Destinations whose state is an operator's.
    pub states: usize,
    /// Calls that count again.
    pub calls: usize,
    /// Calls whose destination is not configured any more.
    pub lost: usize,
}

/// Takes over what a file held. After the first loading, before the fork. The source counts for the state of a destination
/// whose flags it has changed.
pub fn restore<A: Alloc>(root: &Root<A>, saved: &Saved, now: u32, wall: u64) -> Restored {
    let mut restored = Restored::default();
    let numbers: Vec<_> = saved.destinations.iter().map(|one| root.registry.find(&one.key)).collect();
    for (one, number) in saved.destinations.iter().zip(&numbers) {
        let Some(record) = number.and_then(|number| root.registry.record(number)) else { continue };
        let (was, is) = (Flags(one.flags), record.flags());
        let differs = was.has(Flags::DISABLED) != is.has(Flags::DISABLED);
        if record.configured().0 == one.configured && differs {
            record.change(wall, |flags, health| {
                let plain = flags.without(Flags::STATES);
                health.last = Report::by_operator(was);
                Some((if was.has(Flags::DISABLED) { plain.with(Flags::DISABLED) } else { plain }, 0))
            });
            restored.states += 1;
        }
    }
    for call in saved.calls.iter().filter(|_| saved.clean) {
        let number = numbers.get(call.destination as usize).copied().flatten();
        let Some(number) = number.filter(|number| root.registry.record(*number).is_some()) else {
            restored.lost += 1;
            continue;
        };
        let phase = match call.phase {
            0 => Phase::Early,
            1 => Phase::Confirmed,
            _ => Phase::Released,
        };
        let back = Leg::restored(number, phase, now.wrapping_sub(call.age), 0);
        match calls::restore(root, &call.key, back) {
            Ok(counts) => restored.calls += usize::from(counts),
            Err(_) => restored.lost += 1,
        }
    }
    restored
}

impl Saved {
    /// The secret of the keys.
    pub fn secret(&self) -> Secret {
        Secret::new(self.secret)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.push(self.clean.into());
        out.extend(self.secret);
        let key = |out: &mut Vec<u8>, key: Key| key.iter().for_each(|half| out.extend(half.to_le_bytes()));
        out.extend((self.destinations.len() as u32).to_le_bytes());
        for one in &self.destinations {
            key(&mut out, one.key);
            out.extend(one.configured.to_le_bytes());
            out.extend(one.flags.to_le_bytes());
        }
        out.extend((self.calls.len() as u32).to_le_bytes());
        for call in &self.calls {
            key(&mut out, call.key);
            out.extend(call.destination.to_le_bytes());
            out.push(call.phase);
            out.extend(call.age.to_le_bytes());
        }
        out.extend(checksum(&out).to_le_bytes());
        out
    }

    /// Reads the bytes of a file.
    pub fn read(bytes: &[u8]) -> Result<Self, Damaged> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Damaged::NotOurs)?;
        let mut from = Reader { rest, total: bytes.len() };
        let [clean] = from.array()?;
        let secret = from.array()?;
        let count = u32::from_le_bytes(from.array()?);
        let mut destinations = Vec::new();
        for _ in 0..count {
            let (key, configured, flags) = (from.key()?, from.number()?, from.number()?);
            destinations.push(Destination { key, configured, flags });
        }
        let count = from.number()?;
        let mut calls = Vec::new();
        for _ in 0..count {
            let (key, destination) = (from.key()?, from.number()?);
            let [phase] = from.array()?;
            calls.push(SavedCall { key, destination, phase, age: from.number()? });
        }
        let end = bytes.len() - from.rest.len();
        let sum = u64::from_le_bytes(from.array()?);
        let all = bytes.get(..end).unwrap_or_default();
        if sum != checksum(all) || !from.rest.is_empty() {
            return Err(Damaged::Changed);
        }
        Ok(Self { clean: clean == 1, secret, destinations, calls })
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Damaged> {
        let (first, rest) = self.rest.split_first_chunk().ok_or(Damaged::Short(self.total))?;
        self.rest = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u32, Damaged> {
        self.array().map(u32::from_le_bytes)
    }

    fn key(&mut self) -> Result<Key, Damaged> {
        Ok([u64::from_le_bytes(self.array()?), u64::from_le_bytes(self.array()?)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn saved() -> Saved {
        Saved {
            clean: true,
            secret: core::array::from_fn(|at| at as u8),
            destinations: vec![Destination { key: [1, 2], configured: 8, flags: 4 }],
            calls: vec![SavedCall { key: [3, 4], destination: 0, phase: 1, age: 77 }],
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        assert_eq!(Saved::read(&saved().bytes()), Ok(saved()));
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_told() {
        let bytes = saved().bytes();
        for end in MAGIC.len()..bytes.len() {
            assert_eq!(Saved::read(&bytes[..end]), Err(Damaged::Short(end)), "{end}");
        }
        assert_eq!(Saved::read(b"nonsense"), Err(Damaged::NotOurs));
        assert_eq!(Saved::read(&[&bytes[..], b"x"].concat()), Err(Damaged::Changed));
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(at in 0usize..300, bit in 0u8..8) {
            let mut bytes = saved().bytes();
            let len = bytes.len();
            bytes[at % len] ^= 1 << bit;
            prop_assert!(Saved::read(&bytes).is_err());
        }
    }
}
