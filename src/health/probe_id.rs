//! The id of a probe under way: one word that goes through the host's transaction and comes back with the answer.

/// Bits of the record's number.
const NUMBER: u32 = 26;
/// Bits of the probe's serial number.
const SERIAL: u32 = 12;
/// Bits of the time.
const TIME: u32 = 64 - NUMBER - SERIAL;

/// Probes of one destination that may be under way at the same time.
pub const MOST_UNDER_WAY: u64 = 60;

/// A probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProbeId {
    /// Number of the record of the destination.
    pub record: u32,
    /// The probe's number at this record; later probes have higher ones, around.
    serial: u16,
    /// When it was sent, in eighths of a millisecond, cut.
    sent: u32,
}

impl ProbeId {
    /// As one word; `None` if the record's number is too large for it.
    pub fn pack(self) -> Option<u64> {
        (self.record < 1 << NUMBER).then(|| {
            u64::from(self.record)
                | u64::from(self.serial) << NUMBER
                | u64::from(self.sent) << (NUMBER + SERIAL)
        })
    }

    /// From the word.
    pub fn unpack(word: u64) -> Self {
        let part = |from: u32, bits: u32| ((word >> from) & ((1 << bits) - 1)) as u32;
        Self {
            record: part(0, NUMBER),
            serial: part(NUMBER, SERIAL) as u16,
            sent: part(NUMBER + SERIAL, TIME),
        }
    }

    /// Milliseconds since it was sent; `now` in microseconds. Right for two hours.
    pub fn age(self, now: u64) -> f64 {
        f64::from(eighths(now).wrapping_sub(self.sent) & ((1 << TIME) - 1)) / 8.0
    }
}

/// From one to the other, where that is later by an hour at most or earlier by an hour at most: negative if it is earlier.
fn between(from: u32, to: u32) -> i32 {
    (to.wrapping_sub(from) << (32 - TIME)) as i32 >> (32 - TIME)
}

/// How far back ids are told apart by their time, in eighths of a millisecond: half an hour.
const FAR: u32 = 1 << (TIME - 2);

fn eighths(micros: u64) -> u32 {
    (micros / 125) as u32 & ((1 << TIME) - 1)
}

/// The probes of one destination that wait for an answer: the last 64 at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    last: u16,
    /// The time before which none of them was sent, in eighths of a millisecond. So an answer to a probe of the record's previous
    /// owner, whose probes had the same serial numbers, does not match.
    since: u32,
    /// Bit `n` for the probe `n` before the last.
    open: u64,
}

impl Waiting {
    /// A new probe.
    pub fn begin(&mut self, record: u32, now: u64) -> ProbeId {
        self.last = (self.last + 1) & ((1 << SERIAL) - 1);
        let sent = eighths(now);
        if self.open == 0 {
            self.since = sent;
        } else if !(0..=FAR as i32).contains(&between(self.since, sent)) {
            self.since = sent.wrapping_sub(FAR) & ((1 << TIME) - 1);
        }
        self.open = self.open << 1 | 1;
        ProbeId { record, serial: self.last, sent }
    }

    /// Ends a probe. False if it is over already, or was given up.
    pub fn end(&mut self, ticket: ProbeId) -> bool {
        let back = self.last.wrapping_sub(ticket.serial) & ((1 << SERIAL) - 1);
        let bit = 1u64.checked_shl(back.into()).unwrap_or(0);
        let is_open = self.open & bit != 0 && between(self.since, ticket.sent) >= 0;
        if is_open {
            self.open &= !bit;
        }
        is_open
    }

    /// Whether any is under way.
    pub fn is_any(&self) -> bool {
        self.open != 0
    }

    /// From now on answers to the probes under way are ignored.
    pub fn give_up(&mut self) {
        self.open = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_probe_ends_once() {
        let mut waiting = Waiting::default();
        let (first, second) = (waiting.begin(7, 0), waiting.begin(7, 0));
        assert!(waiting.end(first));
        assert!(!waiting.end(first));
        assert!(waiting.end(second));
        let third = waiting.begin(7, 0);
        waiting.give_up();
        assert!(!waiting.end(third));
    }

    #[test]
    fn an_answer_that_is_older_than_64_probes_or_a_full_turn_means_nothing() {
        let mut waiting = Waiting::default();
        let old = waiting.begin(1, 0);
        (0..64).for_each(|_| {
            waiting.begin(1, 0);
        });
        assert!(!waiting.end(old));
    }

    #[test]
    fn an_answer_to_a_probe_of_whoever_had_the_number_before_means_nothing() {
        let old = [10, 20].map(|seconds| seconds * 1_000_000).map(|now| Waiting::default().begin(7, now));
        let mut waiting = Waiting::default();
        let new = waiting.begin(7, 20_000_125);
        assert_eq!(old.map(|ticket| waiting.end(ticket)), [false, false]);
        assert!(waiting.end(new));
    }

    #[test]
    fn probes_end_however_long_an_earlier_one_waits_for_its_answer() {
        let mut waiting = Waiting::default();
        waiting.begin(7, 0);
        for minute in 1..60u64 {
            let ticket = waiting.begin(7, minute * 7 * 60_000_000);
            assert!(waiting.end(ticket), "in minute {}", minute * 7);
        }
    }

    proptest! {
        #[test]
        fn a_ticket_is_the_same_after_the_way(record in 0u32..1 << 26, probes in 1u32..9000, now in 0u64..1 << 60) {
            let mut waiting = Waiting::default();
            (1..probes).for_each(|_| {
                waiting.begin(record, now);
            });
            let ticket = waiting.begin(record, now);
            prop_assert_eq!(ProbeId::unpack(ticket.pack().unwrap()), ticket);
            prop_assert!((ticket.age(now + 1_500_000) - 1500.0).abs() <= 0.2);
        }
    }
}
