//! A call, leg by leg: where it was sent, and where it is not any more.
//!
//! A call counts at a destination exactly while a leg of it that may still be answered, or was answered, went there:
//! however many legs it has there, once.

use super::failures::Failures;
use super::leg::{self, Branch, Dialog, Leg, MAX_MORE, Phase, Transaction, Way};

/// The request for which a destination is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Invite {
    /// Its number among those of its call: see [`Invite::number`].
    pub number: u16,
    /// The transaction whose branches have all failed, in a failure route.
    pub failed: Option<Failed>,
    /// Seconds, as the call table counts them.
    pub now: u32,
}

/// A transaction whose branches have all failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Which it is.
    pub transaction: Transaction,
    /// Those of its branches that their gateways have failed.
    pub failures: Failures,
}

/// Bits of the CSeq number in the number of an INVITE.
const CSEQ_BITS: u32 = 4;

impl Invite {
    /// A short number of an INVITE among those of its call: 4 bits of its CSeq number and 12 of a hash of its From-tag. INVITEs of one caller
    /// differ in the first, most by 1; a fork before this server may send some with tags of its own, which differ in the second.
    pub const fn number(cseq: u32, from_tag: u16) -> u16 {
        from_tag << CSEQ_BITS | cseq as u16 & ((1 << CSEQ_BITS) - 1)
    }

    /// Whether the INVITE of this number may have a From-tag of this hash.
    pub(super) const fn is_from(number: u16, tag: u16) -> bool {
        number >> CSEQ_BITS == (tag << CSEQ_BITS) >> CSEQ_BITS
    }

    /// The failures of gateways that it comes back for.
    pub fn failures(self) -> Failures {
        self.failed.map_or(Failures::NONE, |failed| failed.failures)
    }

    /// Whether a leg is of another INVITE of the same caller.
    fn is_after(self, leg: Leg) -> bool {
        leg.number() != self.number && leg.number() >> CSEQ_BITS == self.number >> CSEQ_BITS
    }
}

/// What becomes of a choice that was not sent on a branch, when the script has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsent {
    /// It went nowhere.
    Forgotten,
    /// It was sent all the same, without a transaction that we watch.
    Forwarded,
    /// The same; to the destination of this record, or to none of ours.
    ForwardedTo(Option<u32>),
    /// It is not this script's: another one made it, for a copy of the request.
    OfAnother,
}

/// Legs of a call, at most.
pub(super) const MOST: usize = MAX_MORE + 1;

/// Legs that a call has room for in itself: nearly all calls.
const FEW: usize = 2;

/// A call: its legs in the order in which they were chosen. One without any is not known.
#[derive(Debug, Default)]
pub struct Call {
    len: usize,
    few: [Leg; FEW],
    /// All of them, where there are more, or were.
    many: Option<Box<[Leg; MOST]>>,
}

impl Clone for Call {
    #[inline]
    fn clone(&self) -> Self {
        match (self.legs(), &self.many) {
            ([leg], None) => Self::of_one(*leg),
            (_, many) => Self { many: many.clone(), ..*self },
        }
    }
}

impl PartialEq for Call {
    fn eq(&self, other: &Self) -> bool {
        self.legs() == other.legs()
    }
}

impl Call {
    /// A call with these legs; legs beyond the maximum are left out.
    pub fn of(legs: impl IntoIterator<Item = Leg>) -> Self {
        let mut call = Self::default();
        legs.into_iter().take(MOST).for_each(|leg| call.push(leg));
        call
    }

    /// One with this leg.
    #[inline]
    pub fn of_one(leg: Leg) -> Self {
        Self { len: 1, few: [leg, Leg::default()], many: None }
    }

    /// Its legs.
    #[inline]
    pub fn legs(&self) -> &[Leg] {
        let room = self.many.as_ref().map_or(&self.few[..], |many| &many[..]);
        room.get(..self.len).unwrap_or_default()
    }

    #[inline]
    pub(super) fn legs_mut(&mut self) -> &mut [Leg] {
        let room = self.many.as_mut().map_or(&mut self.few[..], |many| &mut many[..]);
        room.get_mut(..self.len).unwrap_or_default()
    }

    /// Whether nothing is known of it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The records that its legs name, leg by leg.
    pub fn records(&self) -> impl Iterator<Item = u32> + '_ {
        self.legs().iter().map(|leg| leg.record())
    }

    /// The records of the destinations at which it counts, each once.
    pub fn counted(&self) -> impl Iterator<Item = u32> + '_ {
        leg::counted(self.legs())
    }

    /// The records of the destinations to which the transaction has sent it that has failed.
    pub fn sent_before(&self, invite: Invite) -> impl Iterator<Item = u32> + '_ {
        let is_of =
            move |leg: &&Leg| invite.failed.is_some_and(|one| leg.is_of(one.transaction, invite.number));
        self.legs().iter().filter(is_of).map(|leg| leg.record())
    }

    /// Whether it counts at the destination of this record.
    pub fn counts_at(&self, record: u32) -> bool {
        self.legs().iter().any(|leg| leg.counts() && leg.record() == record)
    }

    /// Whether it counts anywhere.
    pub fn counts(&self) -> bool {
        leg::any_counts(self.legs())
    }

    /// Keeps the legs for which `keep` says so; it may change them. Whether any went.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut Leg) -> bool) -> bool {
        let legs = self.legs_mut();
        let (len, mut kept) = (legs.len(), 0);
        for at in 0..len {
            let Some(leg) = legs.get_mut(at) else { break };
            if keep(leg) {
                if kept < at {
                    legs.swap(kept, at);
                }
                kept += 1;
            }
        }
        self.len = kept;
        kept < len
    }

    /// Adds a leg.
    pub fn push(&mut self, leg: Leg) {
        if self.len == MOST {
            // The one that means least: what does not count, else what is not answered, else the oldest.
            let least = self.legs().iter().position(|leg| !leg.counts());
            let least = least.or_else(|| self.legs().iter().position(|leg| leg.is_open())).unwrap_or(0);
            self.legs_mut().get_mut(least..).into_iter().for_each(|legs| legs.rotate_left(1));
            self.len -= 1;
        }
        if self.len == FEW && self.many.is_none() {
            let mut many = Box::new([Leg::default(); MOST]);
            many.iter_mut().zip(self.few).for_each(|(place, leg)| *place = leg);
            self.many = Some(many);
        }
        self.len += 1;
        self.legs_mut().last_mut().into_iter().for_each(|place| *place = leg);
    }

    /// A destination was chosen for it. What was chosen before and not sent is forgotten; legs of the transaction that
    /// failed, and those of an earlier INVITE of the same caller, may at most be answered late.
    pub fn choose(&mut self, record: u32, invite: Invite) {
        self.leave(invite);
        self.push(Leg::new(record, Way::Ahead, invite.number, invite.now));
    }

    /// It goes on, and to no destination of ours: as [`Call::choose`], without a choice.
    pub fn leave(&mut self, invite: Invite) {
        let Invite { number, failed, now } = invite;
        self.retain(|leg| !leg.is_open() || leg.is_watched());
        for leg in self.legs_mut().iter_mut().filter(|leg| leg.phase() == Phase::Early) {
            let over = match failed {
                Some(failed) => leg.is_of(failed.transaction, number),
                // The same INVITE on two ways (a spiral, a fork before this server) has one number.
                None => invite.is_after(*leg),
            };
            if over {
                *leg = leg.released(now);
            }
        }
    }

    /// The INVITE comes again and stays at this destination, where it counts. Whether a choice of its own was made for it.
    pub fn stay(&mut self, record: u32, invite: Invite) -> bool {
        let unsent =
            |leg: &&mut Leg| leg.phase() == Phase::Early && !leg.is_watched() && leg.record() == record;
        let found = self.legs_mut().iter_mut().find(unsent);
        let own = found.is_none();
        match found {
            Some(leg) => *leg = leg.seen_at(invite.now),
            None => self.choose(record, invite),
        }
        own
    }

    /// Its request goes out to the destination of this record on this branch.
    pub fn sent(&mut self, record: u32, branch: Branch, invite: Invite) {
        // One that was answered there may be of an earlier INVITE.
        if self.legs().iter().any(|leg| leg.is_open() && leg.is_on(branch, invite.number)) {
            return;
        }
        let chosen = |leg: &&mut Leg| leg.is_open() && !leg.is_watched() && leg.record() == record;
        let leg = Leg::new(record, Way::On(branch), invite.number, invite.now);
        match self.legs_mut().iter_mut().find(chosen) {
            Some(place) => *place = leg,
            None => self.push(leg),
        }
    }

    /// The script for an INVITE has ended: what becomes of a choice that it did not send. Its legs on branches that could not be
    /// sent are forgotten (`is_alive` says which can be answered). Legs of another INVITE of the call stay, though their branches
    /// may have the same short numbers.
    pub fn script_ended(&mut self, number: u16, unsent: Unsent, is_alive: impl Fn(Branch) -> bool) {
        self.retain(|leg| match leg.way() {
            // Answered before the script that sent it has ended.
            Way::Ahead if leg.is_up() => match unsent {
                Unsent::ForwardedTo(Some(record)) => {
                    *leg = leg.at(record).going(Way::Unwatched);
                    true
                }
                Unsent::ForwardedTo(None) => false,
                Unsent::Forwarded | Unsent::Forgotten | Unsent::OfAnother => true,
            },
            _ if !leg.is_open() || leg.number() != number => true,
            Way::Ahead => match unsent {
                Unsent::Forgotten | Unsent::ForwardedTo(None) => false,
                Unsent::Forwarded => {
                    *leg = leg.going(Way::Unwatched);
                    true
                }
                Unsent::ForwardedTo(Some(record)) => {
                    *leg = leg.at(record).going(Way::Unwatched);
                    true
                }
                Unsent::OfAnother => true,
            },
            Way::On(branch) => is_alive(branch),
            Way::Unwatched => true,
        });
    }

    /// Branches of a transaction that were given up, or refused: their legs count no more. They may still be answered.
    pub fn given_up(&mut self, transaction: Transaction, invite: Invite, is_over: impl Fn(Branch) -> bool) {
        let of_it = |leg: &&mut Leg| leg.phase() == Phase::Early && leg.is_of(transaction, invite.number);
        for leg in self.legs_mut().iter_mut().filter(of_it) {
            if matches!(leg.way(), Way::On(branch) if is_over(branch)) {
                *leg = leg.released(invite.now);
            }
        }
    }

    /// The caller has cancelled the request of this transaction: its legs count no more, nor does what was chosen for it and not sent.
    /// They may still be answered. False if that comes too late to mean anything.
    pub fn transaction_cancelled(&mut self, transaction: Transaction, invite: Invite) -> bool {
        let is_of = |leg: &Leg| match leg.way() {
            Way::On(_) => leg.is_of(transaction, invite.number),
            Way::Ahead | Way::Unwatched => leg.number() == invite.number,
        };
        let mut fits = false;
        for leg in self.legs_mut().iter_mut().filter(|leg| leg.phase() == Phase::Early && is_of(leg)) {
            *leg = leg.released(invite.now);
            fits = true;
        }
        fits
    }

    /// A transaction is gone, whose request was this INVITE: no leg of it will be answered any more, and what was chosen for
    /// it is not sent any more. One that was answered, though nobody said so, is up. What is over is forgotten.
    pub fn transaction_ended(
        &mut self,
        transaction: Transaction,
        invite: Invite,
        answered: impl Fn(Branch) -> bool,
    ) {
        self.retain(|leg| match leg.way() {
            Way::On(branch) if leg.is_open() && leg.is_of(transaction, invite.number) => {
                let up = leg.phase() == Phase::Early && answered(branch);
                if up {
                    *leg = leg.confirmed(Dialog::UNKNOWN, invite.now);
                }
                up
            }
            Way::On(_) if leg.is_of(transaction, invite.number) => {
                *leg = leg.settled();
                leg.is_up()
            }
            Way::Ahead => !leg.is_open() || leg.number() != invite.number,
            Way::On(_) | Way::Unwatched => true,
        });
    }
}
