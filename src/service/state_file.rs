//! The state file (`ds_state_file`): which destinations an operator disabled, and after a clean shutdown the calls that are up, so
//! that they survive a restart.
//!
//! The file holds the secret of the keys, so that keys of calls stay valid; only the server may read it.
//! Layout, numbers in little-endian order: [`MAGIC`] with the number of the layout, a byte that is 1 after a clean shutdown,
//! the secret, the time of day in milliseconds (not in layout 1), the destinations (their count, then key, configured flags, flags
//! and drain (not in layouts 1 and 2) of each), the calls (their count, then what [`SavedCall::put`] writes), and an XXH3 hash of all that.

use crate::dest::Flags;
use crate::health::drain::Drain;
use crate::load::key::{Key, SECRET_LEN, checksum};
use crate::load::{Leg, Phase, Secret, Timer};
use crate::service::routing::call_count;
use crate::shm::Alloc;
use crate::shm::lock::LastAlive;
use crate::state::{Root, health::Report};
use core::fmt;
use std::collections::HashMap;

/// The beginning; the number of the layout and a line feed follow.
const MAGIC: &[u8] = b"kamailio dispatcher state ";
/// The layout that is written. Those from 1 on are read.
const LAYOUT: u8 = 3;

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// The server stopped cleanly, so the file has the calls that were up.
    clean: bool,
    secret: [u8; SECRET_LEN],
    /// When it was written, in milliseconds of the wall clock, where the file says that.
    wall: Option<u64>,
    destinations: Vec<SavedDestination>,
    calls: Vec<SavedCall>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SavedDestination {
    key: Key,
    configured: u32,
    flags: u32,
    /// Seconds that its drain has left, or [`NO_TIME`], with [`UNCOUNTED`].
    drain: u32,
}

/// A drain that has no end but that of the last call.
const NO_TIME: u32 = UNCOUNTED - 1;
/// Beside the seconds: calls are not counted there.
const UNCOUNTED: u32 = 1 << 31;

/// What is left of a drain.
fn left(drain: Option<Drain>, micros: u64) -> u32 {
    let Some(drain) = drain else { return 0 };
    let left = drain.left(micros).map_or(NO_TIME, |left| left.min(NO_TIME - 1));
    left | if drain.uncounted { UNCOUNTED } else { 0 }
}

/// The drain as it is `later` seconds after it was saved.
fn drain_back(saved: u32, micros: u64, later: u32) -> Drain {
    let left = Some(saved & !UNCOUNTED).filter(|left| *left != NO_TIME);
    Drain::begin(micros, left.map(|left| left.saturating_sub(later)), saved & UNCOUNTED != 0)
}

/// What time it is.
#[derive(Debug, Clone, Copy)]
pub struct Clocks {
    /// Seconds as the call table counts them.
    pub seconds: u32,
    /// Microseconds of a clock that only goes forward.
    pub micros: u64,
    /// Milliseconds of the wall clock.
    pub wall: u64,
}

/// Beside the phase: there was another dialog beside this one.
const FORKED: u8 = 4;
/// Beside the phase: a session timer says when it ends.
const TIMED: u8 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SavedCall {
    key: Key,
    destination: u32,
    /// The phase, with [`FORKED`] and [`TIMED`].
    phase: u8,
    /// Seconds since it was seen; with a session timer, until it ends.
    age: u32,
    /// What else is known of the leg ([`Leg::mark`]); not in layout 1.
    mark: u32,
}

impl SavedCall {
    fn put(&self, out: &mut Out) {
        out.key(self.key);
        out.number(self.destination);
        out.0.push(self.phase);
        out.number(self.age);
        out.number(self.mark);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (key, destination) = (from.key()?, from.number()?);
        let [phase] = from.array()?;
        let age = from.number()?;
        let mark = match from.layout {
            1 => 0,
            // A dialog was known by one of its tags then.
            2 if Phase::of_code(phase & !(FORKED | TIMED)) == Phase::Confirmed => from.number()? & 0xFFFF,
            _ => from.number()?,
        };
        Ok(Self { key, destination, phase, age, mark })
    }

    fn of(key: &Key, leg: &Leg, destination: u32, now: u32) -> Self {
        let age = if leg.is_timed() { leg.seen().wrapping_sub(now) } else { now.wrapping_sub(leg.seen()) };
        // What was noted a moment after `now` was read is new; what is over has no time left.
        let age = u32::try_from(age as i32).unwrap_or(0);
        let bit = |is_so: bool, bit: u8| if is_so { bit } else { 0 };
        let phase = leg.phase().code() | bit(leg.is_timed(), TIMED);
        Self { key: *key, destination, phase, age, mark: leg.mark() }
    }

    /// The leg to this record as it is `later` seconds after it was saved.
    fn back(&self, record: u32, now: u32, later: u32) -> Leg {
        let phase = Phase::of_code(self.phase & !(FORKED | TIMED));
        // Ages are compared as signed numbers: an older one is as old as can be.
        let age = self.age.saturating_add(later).min(i32::MAX as u32);
        let leg = Leg::restored(record, phase, now.wrapping_sub(age), self.mark);
        let end = now.wrapping_add(self.age.saturating_sub(later).min(i32::MAX as u32));
        if self.phase & TIMED != 0 { leg.heard(now, Timer::Ends(end)) } else { leg }
    }
}

/// Why a file cannot be used.
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

/// Which calls are written.
#[derive(Clone, Copy)]
pub enum WhichCalls<'a> {
    /// None: the server keeps running.
    Nothing,
    /// Those that are up, while the other processes still run: the server is about to stop.
    Living,
    /// All, after the other processes have ended.
    Left(&'a LastAlive),
}

/// The bytes of a file: the states, and the calls if the server stops. `None` if a process died while it held the lock of the
/// states.
pub fn save<A: Alloc>(root: &Root<A>, which: WhichCalls<'_>, now: Clocks) -> Option<Vec<u8>> {
    let Clocks { seconds: now, micros, wall } = now;
    let mut out = Out::begin(!matches!(which, WhichCalls::Nothing), root.secret.bytes(), wall);
    let alone = if let WhichCalls::Left(alone) = which { Some(alone) } else { None };
    let mut places = HashMap::new();
    out.counted(|out| {
        root.registry.for_each_key(alone, |key, number, record| {
            places.insert(number, places.len() as u32);
            let (configured, flags) = (record.configured().0, record.flags().0);
            SavedDestination { key: *key, configured, flags, drain: left(record.drained(), micros) }.put(out);
        })?;
        Some(places.len())
    })?;
    out.counted(|out| {
        let mut count = 0;
        let put = |key: &Key, leg: &Leg| {
            // No transaction survives a restart.
            let may_count = leg.is_up() || leg.is_open();
            if let Some(&destination) = places.get(&leg.record()).filter(|_| may_count) {
                SavedCall::of(key, leg, destination, now).put(out);
                count += 1;
            }
        };
        match which {
            WhichCalls::Nothing => {}
            WhichCalls::Living => root.calls.each_of_the_living(put),
            WhichCalls::Left(alone) => root.calls.each_left(alone, put),
        }
        Some(count)
    })?;
    Some(out.end())
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

/// Takes over the content of a file, after the first load and before the fork. If the source has other flags for a destination
/// than at that time, those of the source count.
pub fn restore<A: Alloc>(root: &Root<A>, saved: &Saved, now: Clocks) -> Restored {
    let Clocks { seconds: now, micros, wall } = now;
    let mut restored = Restored::default();
    let later = saved.wall.map_or(0, |then| wall.saturating_sub(then) / 1000);
    let later = u32::try_from(later).unwrap_or(u32::MAX);
    let numbers: Vec<_> = saved.destinations.iter().map(|one| root.registry.find(&one.key)).collect();
    for (one, number) in saved.destinations.iter().zip(&numbers) {
        let Some((number, record)) = number.and_then(|number| Some((number, root.registry.record(number)?)))
        else {
            continue;
        };
        let was = Flags(one.flags);
        let same = record.configured().0 == one.configured;
        let differs = was.has(Flags::DISABLED) != record.flags().has(Flags::DISABLED);
        let (disabled, drains) = (same && differs, was.has(Flags::DRAINING));
        if disabled {
            let state = Flags(was.0 & (Flags::DISABLED.0 | Flags::DRAINED.0));
            root.registry.change(number, wall, |flags, health| {
                health.last = Report::by_operator(was);
                Some((flags.without(Flags::STATES).with(state), 0))
            });
        }
        // No source says anything of a drain.
        if drains {
            root.registry.drain(number, wall, |_, flags, health| {
                health.drain = drain_back(one.drain, micros, later);
                Some(flags.with(Flags::DRAINING))
            });
            root.drains.turn(1);
        }
        restored.states += usize::from(disabled || drains);
    }
    for call in saved.calls.iter().filter(|_| saved.clean) {
        let number = numbers.get(call.destination as usize).copied().flatten();
        let Some(number) = number.filter(|number| root.registry.record(*number).is_some()) else {
            restored.lost += 1;
            continue;
        };
        let back = call.back(number, now, later);
        match call_count::restore(root, &call.key, back) {
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

    /// Whether it holds calls that count again.
    pub fn has_calls(&self) -> bool {
        self.clean && !self.calls.is_empty()
    }

    /// Says when the file was written, in milliseconds of the wall clock, if it does not say so itself.
    pub fn written_at(&mut self, wall: u64) {
        self.wall = self.wall.or(Some(wall));
    }

    /// Reads the bytes of a file.
    pub fn read(bytes: &[u8]) -> Result<Self, Damaged> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(Damaged::NotOurs)?;
        let (layout, rest) = match rest {
            [digit @ b'1'..=b'9', b'\n', rest @ ..] => (digit - b'0', rest),
            _ => return Err(Damaged::NotOurs),
        };
        if layout > LAYOUT {
            return Err(Damaged::NotOurs);
        }
        let mut from = Reader { rest, total: bytes.len(), layout };
        let [clean] = from.array()?;
        let secret = from.array()?;
        let wall = if layout == 1 { None } else { Some(u64::from_le_bytes(from.array()?)) };
        let count = from.number()?;
        let mut destinations = Vec::new();
        for _ in 0..count {
            let (key, configured, flags) = (from.key()?, from.number()?, from.number()?);
            let drain = if layout < 3 { 0 } else { from.number()? };
            destinations.push(SavedDestination { key, configured, flags, drain });
        }
        let count = from.number()?;
        let mut calls = Vec::new();
        for _ in 0..count {
            calls.push(SavedCall::read(&mut from)?);
        }
        let end = bytes.len() - from.rest.len();
        let sum = u64::from_le_bytes(from.array()?);
        let all = bytes.get(..end).unwrap_or_default();
        if sum != checksum(all) || !from.rest.is_empty() {
            return Err(Damaged::Changed);
        }
        Ok(Self { clean: clean == 1, secret, wall, destinations, calls })
    }
}

impl SavedDestination {
    fn put(&self, out: &mut Out) {
        out.key(self.key);
        out.number(self.configured);
        out.number(self.flags);
        out.number(self.drain);
    }
}

/// The bytes of a file as they are written.
struct Out(Vec<u8>);

impl Out {
    fn begin(clean: bool, secret: &[u8; SECRET_LEN], wall: u64) -> Self {
        let mut out = MAGIC.to_vec();
        out.extend([b'0' + LAYOUT, b'\n', clean.into()]);
        out.extend(secret);
        out.extend(wall.to_le_bytes());
        Self(out)
    }

    fn number(&mut self, number: u32) {
        self.0.extend(number.to_le_bytes());
    }

    fn key(&mut self, key: Key) {
        key.iter().for_each(|half| self.0.extend(half.to_le_bytes()));
    }

    /// Writes their count and what `put` writes of them.
    fn counted(&mut self, put: impl FnOnce(&mut Self) -> Option<usize>) -> Option<()> {
        let at = self.0.len();
        self.number(0);
        let count = put(self)? as u32;
        self.0.get_mut(at..at + size_of::<u32>())?.copy_from_slice(&count.to_le_bytes());
        Some(())
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend(checksum(&self.0).to_le_bytes());
        self.0
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
    layout: u8,
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
            wall: Some(1_700_000_000_000),
            destinations: vec![SavedDestination { key: [1, 2], configured: 8, flags: 4, drain: 0 }],
            calls: vec![SavedCall { key: [3, 4], destination: 0, phase: 1, age: 77, mark: 5 }],
        }
    }

    impl Saved {
        fn bytes(&self) -> Vec<u8> {
            let mut out = Out::begin(self.clean, &self.secret, self.wall.unwrap());
            out.counted(|out| {
                self.destinations.iter().for_each(|one| one.put(out));
                Some(self.destinations.len())
            });
            out.counted(|out| {
                self.calls.iter().for_each(|one| one.put(out));
                Some(self.calls.len())
            });
            out.end()
        }
    }

    #[test]
    fn a_file_is_read_as_it_was_written() {
        assert_eq!(Saved::read(&saved().bytes()), Ok(saved()));
    }

    /// As the first layout was written: without the time of day, and without what a call has since.
    #[test]
    fn a_file_of_the_first_layout_is_read() {
        let mut bytes = b"kamailio dispatcher state 1\n\x01".to_vec();
        bytes.extend(saved().secret);
        bytes.extend([1, 0, 0, 0]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0]);
        bytes.extend([1, 0, 0, 0]);
        bytes.extend([3, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 77, 0, 0, 0]);
        bytes.extend(checksum(&bytes).to_le_bytes());
        let mut read = Saved::read(&bytes).unwrap();
        let without_mark = vec![SavedCall { mark: 0, ..saved().calls[0] }];
        assert_eq!(read, Saved { wall: None, calls: without_mark.clone(), ..saved() });
        read.written_at(1_700_000_000_000);
        assert_eq!(read, Saved { calls: without_mark, ..saved() });
    }

    /// As the second layout was written: without drains.
    #[test]
    fn a_file_of_the_second_layout_is_read() {
        let mut bytes = b"kamailio dispatcher state 2\n\x01".to_vec();
        bytes.extend(saved().secret);
        bytes.extend(1_700_000_000_000u64.to_le_bytes());
        bytes.extend([1, 0, 0, 0]);
        bytes.extend([1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0]);
        bytes.extend([0; 4]);
        bytes.extend(checksum(&bytes).to_le_bytes());
        assert_eq!(Saved::read(&bytes), Ok(Saved { calls: Vec::new(), ..saved() }));
    }

    #[test]
    fn a_drain_goes_on_with_what_it_had_left_less_the_time_that_the_server_was_down() {
        const SECOND: u64 = 1_000_000;
        let back = |seconds, uncounted, later| {
            let saved = left(Some(Drain::begin(5 * SECOND, seconds, uncounted)), 15 * SECOND);
            let drain = drain_back(saved, 100 * SECOND, later);
            (drain.left(100 * SECOND), drain.uncounted)
        };
        assert_eq!(back(Some(60), false, 20), (Some(30), false));
        assert_eq!(back(Some(60), true, 0), (Some(50), true));
        assert_eq!(back(Some(60), false, 999), (Some(0), false));
        assert_eq!(back(Some(3), false, 0), (Some(0), false));
        assert_eq!(back(None, false, 999), (None, false));
        assert_eq!(back(Some(u32::MAX), false, 0).0, Some(NO_TIME - 1));
        assert_eq!(left(None, 0), 0);
    }

    #[test]
    fn a_file_that_was_cut_or_changed_is_told() {
        let bytes = saved().bytes();
        for end in MAGIC.len() + 2..bytes.len() {
            assert_eq!(Saved::read(&bytes[..end]), Err(Damaged::Short(end)), "{end}");
        }
        assert_eq!(Saved::read(b"nonsense"), Err(Damaged::NotOurs));
        assert_eq!(Saved::read(b"kamailio dispatcher state 4\n"), Err(Damaged::NotOurs));
        assert_eq!(Saved::read(&[&bytes[..], b"x"].concat()), Err(Damaged::Changed));
    }

    #[test]
    fn a_call_is_older_by_the_time_that_the_server_was_down_and_never_from_the_future() {
        let call = saved().calls[0];
        let back = |age| Leg::restored(7, Phase::Confirmed, age, 5);
        assert_eq!(call.back(7, 1000, 100), back(823));
        assert_eq!(call.back(7, 1000, u32::MAX), back(1000u32.wrapping_sub(i32::MAX as u32)));
        assert_eq!(SavedCall::of(&[3, 4], &back(1001), 0, 1000).age, 0);
        let up = back(923);
        assert_eq!(SavedCall::of(&[3, 4], &up.living(), 0, 1000).back(7, 1000, 0), up);
        // One with a session timer ends when it was to end.
        let timed = |end| up.heard(0, Timer::Ends(end));
        let saved = SavedCall::of(&[3, 4], &timed(1500), 0, 1000);
        assert_eq!((saved.age, saved.back(7, 90, 60)), (500, timed(530)));
        assert_eq!(saved.back(7, 90, 700), timed(90));
    }

    proptest! {
        #[test]
        fn no_changed_byte_goes_unnoticed(at in 0usize..400, bit in 0u8..8) {
            let mut bytes = saved().bytes();
            let len = bytes.len();
            bytes[at % len] ^= 1 << bit;
            prop_assert!(Saved::read(&bytes).is_err());
        }

        #[test]
        fn no_bytes_are_too_odd_to_be_read(layout in 0u8..5, bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let all = [MAGIC, &[b'0' + layout, b'\n'], &bytes].concat();
            prop_assert!(Saved::read(&all).is_err());
        }
    }
}
