//! What a request has tried so far, and by which rules it may go on: all that lean failover (`ds_lean_failover`) remembers of
//! a selection.
//!
//! A destination is remembered by its record and the record's serial number, not by its position: the set may be another
//! one when the request comes back. The position says only where to go on if the destination is gone by then.

use smallvec::SmallVec;

/// A set with the algorithm to choose in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the two numbers
pub struct Rule {
    pub set: i32,
    pub algorithm: i32,
}

/// A destination that was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// The number of its record.
    pub record: u32,
    /// The record's serial number.
    pub serial: u32,
}

/// The attempts of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempts {
    /// The rule of the destination in use, then those that come after it.
    rules: SmallVec<[Rule; 2]>,
    /// The position of the destination in use at the time when it was chosen.
    at: u32,
    /// How many more there may be; [`NO_LIMIT`] is no limit.
    left: u32,
    /// In their order; the last one is the destination in use.
    tried: SmallVec<[Tried; 2]>,
}

/// Attempts as a text: long enough for those of most requests, without an allocation.
pub type WrittenAttempts = SmallVec<[u8; 96]>;

/// Attempts without a limit.
pub const NO_LIMIT: u32 = u32::MAX;

impl Attempts {
    /// The first attempt, by the first of these rules. `limit` counts it.
    pub fn first(rules: impl Iterator<Item = Rule>, limit: u32, one: Tried, at: usize) -> Self {
        let left = if limit == NO_LIMIT { NO_LIMIT } else { limit.saturating_sub(1) };
        Self { rules: rules.collect(), at: at as u32, left, tried: SmallVec::from_slice(&[one]) }
    }

    /// The attempts of a selection that comes on top of an earlier one for the same request: what that left comes after it, as far
    /// as it is of other rules. If the request `was_sent`, the destination that was in use has been tried.
    pub fn on_top_of(mut self, mut earlier: Self, was_sent: bool) -> Self {
        let unsent = if was_sent { None } else { earlier.tried.pop() };
        if earlier.tried.is_empty() && earlier.rules == self.rules {
            return self;
        }
        earlier.rules.retain(|rule| !self.rules.contains(rule));
        if !earlier.rules.is_empty() {
            let more = earlier.left.saturating_add(unsent.map_or(0, |_| 1));
            self.left = self.left.saturating_add(more);
        }
        self.rules.append(&mut earlier.rules);
        earlier.tried.retain(|one| !self.tried.contains(one));
        earlier.tried.append(&mut self.tried);
        Self { tried: earlier.tried, ..self }
    }

    /// The destination in use.
    pub fn in_use(&self) -> Option<Tried> {
        self.tried.last().copied()
    }

    /// The position that it had when it was chosen.
    pub fn at(&self) -> usize {
        self.at as usize
    }

    /// All that were tried.
    pub fn tried(&self) -> &[Tried] {
        &self.tried
    }

    /// The rules by which the request may go on: the first is that of the destination in use.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// How many more attempts the limit allows.
    pub fn left(&self) -> u32 {
        self.left
    }

    /// One more attempt, by the rule at this place; those before it are over.
    pub fn go_on(&mut self, rule: usize, one: Tried, at: usize) {
        self.rules.drain(..rule.min(self.rules.len()));
        if self.left != NO_LIMIT {
            self.left = self.left.saturating_sub(1);
        }
        self.at = at as u32;
        self.tried.push(one);
    }

    /// As a text: `left;at;set=algorithm,…;record.serial,…`. Without a limit `left` is empty.
    pub fn write(&self) -> WrittenAttempts {
        let mut all = WrittenAttempts::new();
        let text = &mut all;
        if self.left != NO_LIMIT {
            digits(text, self.left);
        }
        text.push(b';');
        digits(text, self.at);
        for (before, Rule { set, algorithm }) in separators().zip(&self.rules) {
            text.push(before);
            signed(text, *set);
            text.push(b'=');
            signed(text, *algorithm);
        }
        for (before, Tried { record, serial }) in separators().zip(&self.tried) {
            text.push(before);
            digits(text, *record);
            text.push(b'.');
            digits(text, *serial);
        }
        all
    }

    /// Reads what [`Attempts::write`] wrote.
    pub fn read(text: &[u8]) -> Option<Self> {
        let mut parts = core::str::from_utf8(text).ok()?.split(';');
        let (left, at) = (parts.next()?, parts.next()?);
        let left = if left.is_empty() { NO_LIMIT } else { left.parse().ok()? };
        let rule = |text: &str| {
            let (set, algorithm) = text.split_once('=')?;
            Some(Rule { set: set.parse().ok()?, algorithm: algorithm.parse().ok()? })
        };
        let tried = |text: &str| {
            let (record, serial) = text.split_once('.')?;
            Some(Tried { record: record.parse().ok()?, serial: serial.parse().ok()? })
        };
        let rules: Option<_> = parts.next()?.split(',').map(rule).collect();
        let tried: Option<_> = parts.next()?.split(',').map(tried).collect();
        Some(Self { rules: rules?, at: at.parse().ok()?, left, tried: tried? })
    }
}

/// What stands before each member of a part.
fn separators() -> impl Iterator<Item = u8> {
    core::iter::once(b';').chain(core::iter::repeat(b','))
}

/// Most numbers here are short, so digit by digit is the fastest way.
fn digits(text: &mut WrittenAttempts, number: u32) {
    if number > 9 {
        digits(text, number / 10);
    }
    text.push(b'0' + (number % 10) as u8);
}

fn signed(text: &mut WrittenAttempts, number: i32) {
    if number < 0 {
        text.push(b'-');
    }
    digits(text, number.unsigned_abs());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_first_attempt_in_words() {
        let rule = Rule { set: 100, algorithm: 10 };
        let mut one = Attempts::first([rule].into_iter(), NO_LIMIT, Tried { record: 7, serial: 31 }, 3);
        assert_eq!(one.write().as_slice(), b";3;100=10;7.31");
        one.go_on(0, Tried { record: 9, serial: 2 }, 4);
        assert_eq!(one.write().as_slice(), b";4;100=10;7.31,9.2");
    }

    #[test]
    fn a_limit_counts_the_first_and_ends_at_zero() {
        let rules = [Rule { set: -1, algorithm: 4 }, Rule { set: 2, algorithm: 8 }];
        let (one, other) = (Tried { record: 1, serial: 1 }, Tried { record: 2, serial: 2 });
        let mut attempts = Attempts::first(rules.into_iter(), 2, one, 0);
        assert_eq!(attempts.left(), 1);
        attempts.go_on(1, other, 5);
        assert_eq!((attempts.left(), attempts.rules()), (0, &rules[1..]));
        assert_eq!(attempts.write().as_slice(), b"0;5;2=8;1.1,2.2");
    }

    #[test]
    fn a_second_selection_goes_on_to_what_the_first_left() {
        let rule = |set| Rule { set, algorithm: 10 };
        let one = |record| Tried { record, serial: 1 };
        let first = || Attempts::first([rule(1), rule(2)].into_iter(), 3, one(1), 0);
        let second = || Attempts::first([rule(2), rule(3)].into_iter(), 4, one(2), 7);
        // In the request route the first destination was only chosen; in a failure route it was tried.
        for (was_sent, left, tried) in [(false, 6, &[one(2)][..]), (true, 5, &[one(1), one(2)])] {
            let both = second().on_top_of(first(), was_sent);
            assert_eq!(both.rules(), [rule(2), rule(3), rule(1)]);
            assert_eq!((both.left(), both.tried(), both.at()), (left, tried, 7));
        }
        // The same rules once more are no more than that.
        let again = first().on_top_of(first(), false);
        assert_eq!(again, first());
    }

    #[test]
    fn what_a_script_may_have_put_there_is_no_attempt() {
        for text in ["", ";", "1;2;3;4", ";1;1=2;", ";1;;1.1", "x;1;1=2;1.1", ";1;1=2;1.1.1", ";-1;1=2;1.1"] {
            assert_eq!(Attempts::read(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(
            rules in prop::collection::vec(any::<(i32, i32)>(), 1..5), limit: u32, at: u32,
            tried in prop::collection::vec(any::<(u32, u32)>(), 1..9),
        ) {
            let rules = rules.into_iter().map(|(set, algorithm)| Rule { set, algorithm });
            let mut all = tried.into_iter().map(|(record, serial)| Tried { record, serial });
            let mut attempts = Attempts::first(rules, limit, all.next().unwrap(), at as usize);
            all.for_each(|one| attempts.go_on(0, one, 3));
            prop_assert_eq!(Attempts::read(&attempts.write()), Some(attempts));
        }
    }
}
