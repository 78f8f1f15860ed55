//! The shares by which weighted algorithms choose (see [`crate::select::weight`]), kept as sums: a choice does not walk over the set,
//! and a change of one destination is one change here.
//!
//! A choice reads the sums of its row of tickets without a lock. If a state or a congestion has changed since they were right, the
//! choice takes a lock and puts in the shares of the records that changed, which the [`Ranks`](super::Ranks) remember, or of all if
//! too many changed. A choice that comes meanwhile waits for it.

use super::kept::Kept;
use super::registry::Registry;
use super::set::{ROWS, Set};
use crate::select::prefix_sums::{Shape, Total, WIDTH, leaf};
use crate::select::weight::{Round, Share, Weigher};
use crate::select::{Candidates, Tickets};
use crate::shm::sheet::{Sheet, Words, WordsMut};
use crate::shm::{Alloc, Shared};

/// One tree of sums for each row of tickets of a set, in one generation.
pub struct Weights<A: Alloc> {
    rows: [Kept<A>; ROWS],
    shape: Shape,
}

// SAFETY: shared words with locks between processes.
unsafe impl<A: Alloc> Shared for Weights<A> {}

/// What is known of the sums.
#[derive(Clone, Copy, Default)]
struct Head {
    /// Changes of states so far when they were right, and one; 0 is that there are none.
    right: u64,
    /// How many positions were in play.
    field: usize,
    round: Round,
    /// What a slot of the ring is worth; 0 where each position has one slot, because no share is left.
    slot: u64,
    /// What lies before the first position in play.
    before: u64,
    /// Whether the shares depend on each other, so that one change changes all.
    instead: bool,
}

impl Head {
    const WORDS: usize = 7;
    /// Words before those of the sums: a cache line.
    const ROOM: usize = WIDTH;

    fn words(self) -> [u64; Self::WORDS] {
        let [sum, step] = self.round.words();
        [self.right, self.field as u64, sum, step, self.slot, self.before, self.instead.into()]
    }

    fn of_words([right, field, sum, step, slot, before, instead]: [u64; Self::WORDS]) -> Self {
        let round = Round::of_words([sum, step]);
        Self { right, field: field as usize, round, slot, before, instead: instead != 0 }
    }

    fn put(self, words: &WordsMut<'_>) {
        self.words().into_iter().enumerate().for_each(|(at, word)| words.put(at, word));
    }

    fn read(words: &Words<'_>) -> Self {
        Self::of_words(words.run(0))
    }

    /// Of those before the first in play, and of those in play.
    fn of(field: usize, before: Total, playing: Total) -> Self {
        let slots = playing.sum.checked_div(playing.divisor).unwrap_or(playing.count);
        let before = if playing.divisor == 0 { before.count } else { before.sum };
        Self { right: 0, field, round: Round::of(slots), slot: playing.divisor, before, instead: false }
    }

    /// The position at which the `n`th selection ends up.
    fn find(self, shape: &Shape, words: &Words<'_>, n: u64) -> Option<usize> {
        let slot = self.round.slot(n)?;
        let read = |at: usize| words.run(at);
        match self.slot {
            0 => shape.nth(self.before.wrapping_add(slot), &read),
            worth => shape.find(self.before.wrapping_add(slot.wrapping_mul(worth)), &read),
        }
    }
}

/// What a choice asks.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    /// The set as the algorithm sees it, with nothing left out.
    pub pool: &'a dyn Candidates,
    /// How the algorithm weighs.
    pub weigher: &'a dyn Weigher,
    /// How many positions may be chosen.
    pub field: usize,
}

impl Ask<'_> {
    fn leaf(&self, at: usize) -> u64 {
        leaf(self.pool.usable(at).then(|| self.weigher.share(self.pool, at)))
    }

    /// Which positions are in play, by the words of the sums: from the first of the tier on, if any is usable.
    fn playing(&self, shape: &Shape, read: &impl Fn(usize) -> [u64; WIDTH]) -> Option<usize> {
        let usable = shape.between(0, self.field, read).count;
        let last = shape.nth(usable.checked_sub(1)?, read)?;
        Some(self.weigher.first(self.pool, last))
    }

    /// The head that belongs to these words, which are not known to be right yet.
    fn head(&self, shape: &Shape, read: &impl Fn(usize) -> [u64; WIDTH]) -> Head {
        let first = self.playing(shape, read).unwrap_or(0);
        let (before, playing) = (shape.between(0, first, read), shape.between(first, self.field, read));
        Head::of(self.field, before, playing)
    }
}

impl<A: Alloc> Weights<A> {
    /// Of a set of so many destinations; no sums are known yet.
    pub fn new_in(len: usize, alloc: A) -> Self {
        Self { rows: core::array::from_fn(|_| Kept::new_in(alloc)), shape: Shape::new(len, Head::ROOM) }
    }

    /// How many positions the last choice with tickets of this row might choose; nothing if there was none.
    pub fn field(&self, row: Tickets) -> Option<usize> {
        let head = self.rows.get(row as usize)?.read(Head::read)?;
        (head.right > 0).then_some(head.field)
    }

    /// The position at which the `n`th selection ends up; nothing if there is no memory for the sums.
    pub fn at(&self, set: &Set<A>, registry: &Registry<A>, ask: Ask<'_>, n: u64) -> Option<Option<usize>> {
        let row = self.rows.get(ask.weigher.row() as usize)?;
        let shape = &self.shape;
        let renew = |sheet: &Sheet<A>| Sums { sheet, shape, ask }.renew(set, registry);
        row.look(shape.end(), set.ranks.changes(), renew, |words| {
            let head = Head::read(words);
            (head.field == ask.field).then(|| head.find(shape, words, n))
        })
    }
}

/// The words of a [`Head`] and then the sums of all positions, for who may write.
struct Sums<'a, A: Alloc> {
    sheet: &'a Sheet<A>,
    shape: &'a Shape,
    ask: Ask<'a>,
}

impl<A: Alloc> Sums<'_, A> {
    /// Makes the sums right, and says for how many changes of states they are.
    fn renew(&self, set: &Set<A>, registry: &Registry<A>) -> u64 {
        let Self { shape, ask, .. } = self;
        let head = self.sheet.read(Head::read);
        let (now, changed) = set.ranks.changed_since(head.map_or(0, |head| head.right.wrapping_sub(1)));
        let alone = head.is_some_and(|head| head.right > 0 && !head.instead);
        let mut head = match changed.filter(|_| alone) {
            Some(records) => {
                let place = |number| set.place_of(number, registry.record(number)?);
                let leaves =
                    records.into_iter().filter_map(place).map(|at| (at, ask.leaf(at))).collect::<Vec<_>>();
                self.put(|words| {
                    let read = |at: usize| words.run(at);
                    leaves
                        .iter()
                        .for_each(|(at, leaf)| shape.put(*at, *leaf, &read, &|at, word| words.put(at, word)));
                })
            }
            None => self.fill((0..set.len()).map(|at| ask.leaf(at))),
        };
        if let Some(shares) = (head.slot == 0).then(|| ask.weigher.instead(ask.pool, ask.field)).flatten() {
            let mut leaves = vec![0; set.len()];
            for Share { at, of } in shares {
                leaves.get_mut(at).into_iter().for_each(|place| *place = leaf(Some(of)));
            }
            head = Head { instead: true, ..self.fill(leaves.into_iter()) };
        }
        head.right = now.wrapping_add(1);
        self.sheet.edit(|words| head.put(words));
        now
    }

    fn fill(&self, leaves: impl Iterator<Item = u64>) -> Head {
        let all = self.shape.words_of(leaves);
        self.put(|words| (Head::ROOM..).zip(&all).for_each(|(at, word)| words.put(at, *word)))
    }

    /// Changes words of the sums, and gives the head that belongs to them. Nobody may use them until that is there.
    fn put(&self, change: impl FnOnce(&WordsMut<'_>)) -> Head {
        let mut head = Head::default();
        self.sheet.edit(|words| {
            head.put(words);
            change(words);
            head = self.ask.head(self.shape, &|at| words.run(at));
        });
        head
    }
}
