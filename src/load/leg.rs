//! One leg of a call: a request that was sent, or is about to be, to one destination.

/// Where a leg is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Chosen or sent, not answered yet. Counts.
    Early,
    /// Answered with 2xx. Counts.
    Confirmed,
    /// Does not count, but may still be answered.
    Released,
    /// Its dialog is over. Does not count; while its transaction lives, a further user agent may answer on its branch.
    Over,
}

impl Phase {
    /// The number that stands for it in the call table and in a state file.
    pub const fn code(self) -> u8 {
        match self {
            Self::Early => 0,
            Self::Confirmed => 1,
            Self::Released => 2,
            Self::Over => 3,
        }
    }

    /// The phase of this number; for one that stands for none, the one that does not count.
    pub const fn of_code(code: u8) -> Self {
        match code {
            0 => Self::Early,
            1 => Self::Confirmed,
            3 => Self::Over,
            _ => Self::Released,
        }
    }
}

/// A transaction of the server, as a short number of 11 bits. With the number of its INVITE ([`Leg::is_on`]) it names one
/// transaction of a call: the server derives the index from the Call-ID and the CSeq number, and numbers the transactions of one
/// index with consecutive labels. So two for one INVITE have different short numbers, unless 2 047 others of that index began
/// between them, and two that have the same short number are for INVITEs with different CSeq numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transaction(u16);

const BRANCH_BITS: u32 = 5;
const TRANSACTION_BITS: u32 = 16 - BRANCH_BITS;

impl Transaction {
    /// From the server's index and label of the transaction.
    pub const fn of(index: u32, label: u32) -> Self {
        let start = index.wrapping_mul(0x9E37_79B1) >> (32 - TRANSACTION_BITS);
        Self((start.wrapping_add(label) & ((1 << TRANSACTION_BITS) - 1)) as u16)
    }
}

/// A branch of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Branch(u16);

impl Branch {
    /// The branch of this number; the server has at most 31.
    pub const fn of(transaction: Transaction, number: u16) -> Self {
        let number = if number < 30 { number + 1 } else { 31 };
        Self(transaction.0 << BRANCH_BITS | number)
    }

    /// Its transaction.
    pub const fn transaction(self) -> Transaction {
        Transaction(self.0 >> BRANCH_BITS)
    }

    /// Its number in the transaction.
    pub const fn number(self) -> u16 {
        (self.0 & ((1 << BRANCH_BITS) - 1)) - 1
    }
}

/// A dialog of a call, by a hash of both its tags: each side has its own in From, so their order tells nothing. 0 is none known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialog(u16);

impl Dialog {
    /// None that is known.
    pub const UNKNOWN: Self = Self(0);

    /// From the hashes of its tags.
    pub const fn of(one: u16, other: u16) -> Self {
        let (less, more) = if one < other { (one, other) } else { (other, one) };
        let word = ((less as u32) << 16 | more as u32).wrapping_mul(0x9E37_79B1) >> 16;
        Self(if word == 0 { 1 } else { word as u16 })
    }
}

/// What a message says of the session timer of its dialog (RFC 4028).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Timer {
    /// Nothing.
    #[default]
    Same,
    /// There is none.
    Off,
    /// The session ends at this second, unless it is refreshed.
    Ends(u32),
}

/// How far the request of a leg has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// A destination was chosen; the script has not sent the request yet.
    Ahead,
    /// It was sent without a transaction that the module watches. All replies of the call count for it.
    Unwatched,
    /// It went out on this branch.
    On(Branch),
}

/// No branch has this word or the next, since in both the lower bits, one more than a branch's number, are 0.
const UNWATCHED: u16 = 0;
const AHEAD: u16 = 1 << BRANCH_BITS;

/// A leg in twelve bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leg {
    /// From the lowest bit: the record of its destination, whether it has a session timer, in the first leg how many more the
    /// call has, whether its transaction lives still, the phase.
    place: u32,
    /// When its time to expire began; with a session timer, when it ends.
    seen: u32,
    /// In the low half how far the request has come; in the high half the number of the INVITE, and after the answer what
    /// names its dialog.
    mark: u32,
}

const RECORD_BITS: u32 = 24;
const TIMED: u32 = 1 << RECORD_BITS;
const MORE_SHIFT: u32 = RECORD_BITS + 1;
const MORE_BITS: u32 = 4;
const LIVES: u32 = 1 << (MORE_SHIFT + MORE_BITS);
const PHASE_SHIFT: u32 = MORE_SHIFT + MORE_BITS + 1;
const MORE: u32 = ((1 << MORE_BITS) - 1) << MORE_SHIFT;
/// Largest number of a record that a leg can name.
pub const MAX_RECORD: u32 = (1 << RECORD_BITS) - 1;
/// Legs that a call can have beside the first.
pub const MAX_MORE: usize = (1 << MORE_BITS) - 1;

impl Leg {
    /// A leg to the destination of `record`, chosen at `now` for the INVITE with this number
    /// ([`Invite::number`](super::Invite::number)).
    pub const fn new(record: u32, way: Way, invite: u16, now: u32) -> Self {
        let leg = Self { place: record & MAX_RECORD, seen: now, mark: (invite as u32) << 16 };
        leg.going(way)
    }

    /// A leg from before a restart, which no transaction survives.
    pub const fn restored(record: u32, phase: Phase, seen: u32, mark: u32) -> Self {
        let leg = Self { place: record & MAX_RECORD, seen, mark };
        leg.going(Way::Unwatched).in_phase(phase)
    }

    /// The record of its destination.
    pub const fn record(self) -> u32 {
        self.place & MAX_RECORD
    }

    /// Its phase.
    pub const fn phase(self) -> Phase {
        Phase::of_code((self.place >> PHASE_SHIFT) as u8)
    }

    /// When its time to expire began, in seconds; with a session timer ([`Leg::is_timed`]), when it ends.
    pub const fn seen(self) -> u32 {
        self.seen
    }

    /// The further data of a leg, for the state file.
    pub const fn mark(self) -> u32 {
        self.mark
    }

    /// Whether it counts for its destination.
    pub const fn counts(self) -> bool {
        matches!(self.phase(), Phase::Early | Phase::Confirmed)
    }

    /// Whether it may still be answered for the first time.
    pub const fn is_open(self) -> bool {
        matches!(self.phase(), Phase::Early | Phase::Released)
    }

    /// Whether it was answered and its dialog is not over.
    pub const fn is_up(self) -> bool {
        matches!(self.phase(), Phase::Confirmed)
    }

    /// Whether it was answered in this dialog.
    pub const fn is_in(self, dialog: Dialog) -> bool {
        !self.is_open() && self.tag() != 0 && self.tag() == dialog.0
    }

    /// How far its request has come.
    pub const fn way(self) -> Way {
        match self.mark as u16 {
            UNWATCHED => Way::Unwatched,
            AHEAD => Way::Ahead,
            branch => Way::On(Branch(branch)),
        }
    }

    /// Whether its request went out on a branch that we watch.
    pub const fn is_watched(self) -> bool {
        matches!(self.way(), Way::On(_))
    }

    /// Whether its request, the INVITE with this number, went out on this branch. The branch alone does not tell: those of
    /// two INVITEs of a call may have the same short number.
    pub fn is_on(self, branch: Branch, number: u16) -> bool {
        self.way() == Way::On(branch) && self.may_have(number)
    }

    /// The same of a branch of this transaction.
    pub fn is_of(self, transaction: Transaction, number: u16) -> bool {
        matches!(self.way(), Way::On(branch) if branch.transaction() == transaction) && self.may_have(number)
    }

    /// Of one that was answered the number is not known any more.
    fn may_have(self, number: u16) -> bool {
        !self.is_open() || self.number() == number
    }

    /// What names the dialog that its answer made; 0 while there is none, or none is known.
    const fn tag(self) -> u16 {
        if self.is_open() { 0 } else { (self.mark >> 16) as u16 }
    }

    /// Whether its dialog, or that which was, is known by name.
    pub const fn is_named(self) -> bool {
        self.tag() != 0
    }

    /// The number of its INVITE; 0 once it was answered.
    pub const fn number(self) -> u16 {
        if self.is_open() { (self.mark >> 16) as u16 } else { 0 }
    }

    const fn in_phase(self, phase: Phase) -> Self {
        let bits = (phase.code() as u32) << PHASE_SHIFT;
        Self { place: self.place & (MAX_RECORD | MORE | LIVES) | bits, ..self }
    }

    /// The same to the destination of another record.
    pub const fn at(self, record: u32) -> Self {
        Self { place: self.place & !MAX_RECORD | record & MAX_RECORD, ..self }
    }

    /// The same on another way.
    pub const fn going(self, way: Way) -> Self {
        let word = match way {
            Way::Unwatched => UNWATCHED,
            Way::Ahead => AHEAD,
            Way::On(branch) => branch.0,
        };
        Self { mark: self.mark & !0xFFFF | word as u32, ..self }
    }

    /// The same, answered in this dialog.
    pub const fn confirmed(self, dialog: Dialog, now: u32) -> Self {
        let leg = self.in_phase(Phase::Confirmed);
        Self { seen: now, mark: leg.mark & 0xFFFF | (dialog.0 as u32) << 16, ..leg }
    }

    /// The same, whose dialog is over.
    pub const fn over(self, now: u32) -> Self {
        Self { seen: now, ..self.in_phase(Phase::Over) }
    }

    /// Whether its transaction lives, as far as is known: further user agents may answer on its branch.
    pub const fn lives(self) -> bool {
        self.place & LIVES != 0
    }

    /// The same, answered in a transaction that lives.
    pub const fn living(self) -> Self {
        Self { place: self.place | LIVES, ..self }
    }

    /// The same, whose transaction is gone.
    pub const fn settled(self) -> Self {
        Self { place: self.place & !LIVES, ..self }
    }

    /// The same, not counting any more; it may still be answered. Its short memory begins.
    pub const fn released(self, now: u32) -> Self {
        Self { seen: now, ..self.in_phase(Phase::Released) }
    }

    /// The same, seen now. The end that a session timer sets stays.
    pub const fn seen_at(self, now: u32) -> Self {
        if self.is_timed() { self } else { Self { seen: now, ..self } }
    }

    /// Whether a session timer says when it ends (RFC 4028).
    pub const fn is_timed(self) -> bool {
        self.place & TIMED != 0
    }

    /// The same, heard of now; `timer` is what that says of its session timer.
    pub const fn heard(self, now: u32, timer: Timer) -> Self {
        match timer {
            Timer::Same => self.seen_at(now),
            Timer::Off => Self { place: self.place & !TIMED, seen: now, ..self },
            Timer::Ends(end) => Self { place: self.place | TIMED, seen: end, ..self },
        }
    }

    /// How many more legs the call has, in its first.
    pub const fn more(self) -> usize {
        ((self.place & MORE) >> MORE_SHIFT) as usize
    }

    /// The first leg of a call that has so many more.
    pub const fn with_more(self, more: usize) -> Self {
        let more = if more > MAX_MORE { MAX_MORE } else { more };
        Self { place: self.place & !MORE | (more as u32) << MORE_SHIFT, ..self }
    }
}

/// The records of the destinations at which a call with these legs counts, each once.
pub fn counted(legs: &[Leg]) -> impl Iterator<Item = u32> + '_ {
    let first = move |(at, leg): &(usize, &Leg)| {
        let before = legs.get(..*at).unwrap_or_default();
        leg.counts() && !before.iter().any(|other| other.counts() && other.record() == leg.record())
    };
    legs.iter().enumerate().filter(first).map(|(_, leg)| leg.record())
}

/// Whether a call with these legs was answered by the destination of this record.
pub fn is_confirmed_at(legs: &[Leg], record: u32) -> bool {
    legs.iter().any(|leg| leg.is_up() && leg.record() == record)
}

/// Whether a call with these legs counts nowhere, and may be answered.
pub fn is_released(legs: &[Leg]) -> bool {
    !any_counts(legs) && legs.iter().any(|leg| leg.is_open())
}

/// Whether a call with these legs counts anywhere.
pub fn any_counts(legs: &[Leg]) -> bool {
    legs.iter().any(|leg| leg.counts())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_leg_holds_what_it_was_given(
            record in 0..=MAX_RECORD, more in 0..=MAX_MORE, cseq: u16, tag: u16, now: u32, index: u32, label: u32,
            number in 0u16..31,
        ) {
            let branch = Branch::of(Transaction::of(index, label), number);
            prop_assert_eq!(branch.transaction(), Transaction::of(index, label));
            for way in [Way::Ahead, Way::Unwatched, Way::On(branch)] {
                let leg = Leg::new(record, way, cseq, now).with_more(more);
                let seen = (leg.record(), leg.more(), leg.way(), leg.number(), leg.seen(), leg.phase());
                prop_assert_eq!(seen, (record, more, way, cseq, now, Phase::Early));
                let dialog = Dialog::of(tag, cseq);
                let up = leg.confirmed(dialog, now);
                let seen = (up.record(), up.more(), up.way(), up.is_in(dialog), up.number(), up.phase());
                prop_assert_eq!(seen, (record, more, way, true, 0, Phase::Confirmed));
                let timed = up.heard(now, Timer::Ends(77));
                prop_assert_eq!((timed.record(), timed.more(), timed.phase()), (record, more, Phase::Confirmed));
                prop_assert_eq!((timed.is_timed(), timed.seen(), timed.seen_at(now)), (true, 77, timed));
                prop_assert_eq!(timed.heard(now, Timer::Off), up);
                prop_assert!(!timed.released(now).is_timed());
                let gone = leg.released(now);
                prop_assert_eq!((gone.record(), gone.number(), gone.phase()), (record, cseq, Phase::Released));
                let lives = up.living();
                prop_assert_eq!((lives.record(), lives.more(), lives.phase()), (record, more, Phase::Confirmed));
                prop_assert!(lives.lives() && !up.lives());
                prop_assert_eq!(lives.settled(), up);
                let over = timed.living().over(now);
                prop_assert_eq!((over.record(), over.more(), over.way()), (record, more, way));
                prop_assert!(over.is_in(dialog) && !over.counts() && !over.is_open() && !over.is_timed());
            }
        }
    }

    /// Those of one INVITE (a spiral, a fork before this server) follow one another at one index.
    #[test]
    fn branches_of_the_transactions_of_one_invite_differ() {
        let first_labels = [0, 1_234_567, u32::MAX - 900];
        for (index, first) in first_labels.into_iter().flat_map(|first| [(0, first), (65_535, first)]) {
            let transactions = (0..2_048).map(|at| Transaction::of(index, first.wrapping_add(at)));
            let branches = transactions.flat_map(|one| (0..31).map(move |number| Branch::of(one, number).0));
            let all: std::collections::HashSet<u16> = branches.collect();
            assert_eq!(all.len(), 2_048 * 31, "index {index}, from label {first}");
            assert!(!all.contains(&AHEAD) && !all.contains(&UNWATCHED));
        }
    }
}
