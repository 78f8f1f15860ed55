//! A chunked copy-on-write list. It is never changed; a changed copy shares all runs but the changed ones with it. So a
//! change costs one run and the list of runs, however many items there are.
//!
//! Model: lists share the runs they own. A [`Draft`] is a list while it is changed, in the memory of one process: runs that
//! stay as they are, and opened ones, whose items can be moved.

use super::arc::Arc;
use super::slice::Slice;
use super::{Alloc, OutOfMemory, Shared};
use core::ops::Deref;

/// Items of a run, at most. To change one destination among thousands this many are copied.
const LONGEST: usize = 64;
/// A changed run that is shorter is joined with the next.
const SHORTEST: usize = LONGEST / 4;

/// A part of a sequence.
pub trait Run: Shared {
    /// How many items it has.
    fn len(&self) -> usize;
    /// Whether it has none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

struct RunStart<R: Shared, A: Alloc> {
    /// Position of the first item.
    start: usize,
    run: Arc<R, A>,
}

// SAFETY: a number and a shared owner.
unsafe impl<R: Shared, A: Alloc> Shared for RunStart<R, A> {}

/// Runs in their order; none is empty.
pub struct CowList<R: Run, A: Alloc> {
    places: RunStarts<R, A>,
    len: usize,
}

/// Most lists have one run, which is found without another pointer.
enum RunStarts<R: Run, A: Alloc> {
    One(RunStart<R, A>),
    Several(Slice<RunStart<R, A>, A>),
}

impl<R: Run, A: Alloc> Deref for RunStarts<R, A> {
    type Target = [RunStart<R, A>];
    fn deref(&self) -> &[RunStart<R, A>] {
        match self {
            Self::One(place) => core::slice::from_ref(place),
            Self::Several(places) => places,
        }
    }
}

// SAFETY: shared places and a number.
unsafe impl<R: Run, A: Alloc> Shared for CowList<R, A> {}

impl<R: Run, A: Alloc> CowList<R, A> {
    /// Of these runs, none of them empty.
    fn try_of_in(runs: Vec<Arc<R, A>>, alloc: A) -> Result<Self, OutOfMemory> {
        let mut len = 0;
        let place = |run: Arc<R, A>| {
            let start = len;
            len += run.len();
            RunStart { start, run }
        };
        let mut places: Vec<_> = runs.into_iter().map(place).collect();
        let places = match places.pop() {
            Some(one) if places.is_empty() => RunStarts::One(one),
            last => {
                places.extend(last);
                RunStarts::Several(Slice::try_from_vec_in(places, alloc)?)
            }
        };
        Ok(Self { places, len })
    }

    /// How many items it has.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The run with this item, and the position of the run's first.
    pub fn run_of(&self, at: usize) -> Option<(usize, &R)> {
        if at >= self.len {
            return None;
        }
        let places = match &self.places {
            RunStarts::One(place) => return Some((0, &*place.run)),
            RunStarts::Several(places) => places,
        };
        // Runs are of about the same length: mostly this is it.
        let guess = at * places.len() / self.len;
        let there = places.get(guess).filter(|place| place.start <= at && at - place.start < place.run.len());
        let search = || {
            let after = places.partition_point(|place| place.start <= at);
            places.get(after.checked_sub(1)?)
        };
        there.or_else(search).map(|place| (place.start, &*place.run))
    }

    /// The first run for which `pred` is false, with the position of its first item; those for which it is true come first.
    pub fn partition_point(&self, pred: impl Fn(&R) -> bool) -> Option<(usize, &R)> {
        let at = self.places.partition_point(|place| pred(&place.run));
        self.places.get(at).map(|place| (place.start, &*place.run))
    }

    /// All runs with the positions of their first items.
    pub fn runs(&self) -> impl DoubleEndedIterator<Item = (usize, &R)> + Clone {
        self.places.iter().map(|place| (place.start, &*place.run))
    }

    /// The runs that no other list shares. The caller makes sure that no copy is made meanwhile.
    pub fn own_runs(&self) -> impl Iterator<Item = &R> {
        self.places.iter().filter(|place| place.run.is_last()).map(|place| &*place.run)
    }
}

enum Piece<'g, R: Run, T, A: Alloc> {
    Kept(&'g Arc<R, A>),
    Open(Vec<T>),
}

impl<R: Run, T, A: Alloc> Piece<'_, R, T, A> {
    fn len(&self) -> usize {
        match self {
            Self::Kept(run) => run.len(),
            Self::Open(items) => items.len(),
        }
    }
}

/// A sequence while it is changed. `T` is an item out of its run.
pub struct Draft<'g, R: Run, T, A: Alloc> {
    pieces: Vec<Piece<'g, R, T, A>>,
    open: fn(&'g R) -> Vec<T>,
}

impl<'g, R: Run, T, A: Alloc> Draft<'g, R, T, A> {
    /// Exactly these items, each with its position in `before` if it was there. Runs of `before` whose items are all here, in the same
    /// order, are shared, each once.
    pub fn of(
        before: Option<&'g CowList<R, A>>,
        items: Vec<(Option<usize>, T)>,
        open: fn(&'g R) -> Vec<T>,
    ) -> Self {
        let places = before.map_or(&[][..], |sequence| &sequence.places);
        let mut left: Vec<_> = places.iter().map(Some).collect();
        let (mut pieces, mut opened) = (Vec::new(), Vec::new());
        let mut items = items.into_iter();
        while let Some((first, _)) = items.as_slice().first() {
            let run = first.and_then(|first| {
                let at = places.binary_search_by_key(&first, |place| place.start).ok()?;
                let left = left.get_mut(at)?;
                let len = left.as_ref()?.run.len();
                let stood = items.as_slice().iter().take(len).map(|(stood, _)| *stood);
                (first..first + len).map(Some).eq(stood).then(|| left.take())?
            });
            match run {
                Some(place) => {
                    if !opened.is_empty() {
                        pieces.push(Piece::Open(core::mem::take(&mut opened)));
                    }
                    pieces.push(Piece::Kept(&place.run));
                    items.by_ref().take(place.run.len()).for_each(drop);
                }
                None => opened.extend(items.next().map(|(_, item)| item)),
            }
        }
        if !opened.is_empty() {
            pieces.push(Piece::Open(opened));
        }
        Self { pieces, open }
    }

    /// Of a sequence as it is; `open` takes the items of a run out.
    pub fn from(before: Option<&'g CowList<R, A>>, open: fn(&'g R) -> Vec<T>) -> Self {
        let places = before.into_iter().flat_map(|sequence| sequence.places.iter());
        Self { pieces: places.map(|place| Piece::Kept(&place.run)).collect(), open }
    }

    /// Puts an item before the one at this position; at the end if there is none.
    pub fn insert(&mut self, at: usize, item: T) {
        let (piece, inside) = self.find(at);
        if self.pieces.is_empty() {
            self.pieces.push(Piece::Open(Vec::new()));
        }
        if let Some(items) = self.opened(piece) {
            items.insert(inside.min(items.len()), item);
        }
    }

    /// Takes an item out.
    pub fn remove(&mut self, at: usize) -> Option<T> {
        let (piece, inside) = self.find(at);
        let items = self.opened(piece)?;
        (inside < items.len()).then(|| items.remove(inside))
    }

    /// Puts an item in the place of another.
    pub fn replace(&mut self, at: usize, item: T) {
        let (piece, inside) = self.find(at);
        if let Some(there) = self.opened(piece).and_then(|items| items.get_mut(inside)) {
            *there = item;
        }
    }

    /// The piece with this position, and where in it; behind the last item the last piece.
    fn find(&self, at: usize) -> (usize, usize) {
        let mut rest = at;
        let last = self.pieces.len().saturating_sub(1);
        for (number, piece) in self.pieces.iter().enumerate() {
            if rest < piece.len() || number == last {
                return (number, rest);
            }
            rest -= piece.len();
        }
        (0, 0)
    }

    fn opened(&mut self, piece: usize) -> Option<&mut Vec<T>> {
        let open = self.open;
        let piece = self.pieces.get_mut(piece)?;
        if let Piece::Kept(run) = piece {
            *piece = Piece::Open(open(run));
        }
        match piece {
            Piece::Open(items) => Some(items),
            Piece::Kept(_) => None,
        }
    }

    /// Joins opened pieces that are too short with a neighbour.
    fn joined(mut self) -> Vec<Piece<'g, R, T, A>> {
        let mut at = 0;
        while at < self.pieces.len() {
            let short = matches!(self.pieces.get(at), Some(Piece::Open(items)) if items.len() < SHORTEST);
            // Its neighbour: the one after it, or before it if it is the last.
            let first = if at + 1 < self.pieces.len() { at } else { at.saturating_sub(1) };
            if !short || self.pieces.len() == 1 {
                at += 1;
                continue;
            }
            self.opened(first);
            self.opened(first + 1);
            if let Piece::Open(behind) = self.pieces.remove(first + 1) {
                if let Some(items) = self.opened(first) {
                    items.extend(behind);
                }
            }
            at = first + usize::from(first < at);
        }
        self.pieces
    }

    /// The changed sequence; `make` makes a run of each of the opened parts.
    pub fn finish(
        self,
        mut make: impl FnMut(Vec<T>) -> Result<R, OutOfMemory>,
        alloc: A,
    ) -> Result<CowList<R, A>, OutOfMemory> {
        let mut runs = Vec::new();
        for piece in self.joined() {
            match piece {
                Piece::Kept(run) => runs.push(run.clone()),
                Piece::Open(items) => {
                    let size = items.len().div_ceil(items.len().div_ceil(LONGEST).max(1)).max(1);
                    let mut items = items.into_iter().peekable();
                    while items.peek().is_some() {
                        runs.push(Arc::try_new_in(make(items.by_ref().take(size).collect())?, alloc)?);
                    }
                }
            }
        }
        CowList::try_of_in(runs, alloc)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::shm::Heap;
    use proptest::prelude::*;

    struct Numbers(Slice<u32, Heap>);

    // SAFETY: a shared slice.
    unsafe impl Shared for Numbers {}

    impl Run for Numbers {
        fn len(&self) -> usize {
            self.0.len()
        }
    }

    fn open(run: &Numbers) -> Vec<u32> {
        run.0.to_vec()
    }

    fn fresh(items: impl IntoIterator<Item = u32>) -> CowList<Numbers, Heap> {
        finished(Draft::of(None, items.into_iter().map(|item| (None, item)).collect(), open))
    }

    #[allow(clippy::unwrap_used)] // only tests use it
    fn finished(draft: Draft<'_, Numbers, u32, Heap>) -> CowList<Numbers, Heap> {
        draft.finish(|items| Slice::try_from_vec_in(items, Heap).map(Numbers), Heap).unwrap()
    }

    fn all(sequence: &CowList<Numbers, Heap>) -> Vec<u32> {
        sequence.runs().flat_map(|(_, run)| open(run)).collect()
    }

    fn assert_well_made(sequence: &CowList<Numbers, Heap>) {
        let mut next = 0;
        for (start, run) in sequence.runs() {
            assert_eq!(start, next);
            assert!((1..=LONGEST).contains(&run.len()));
            next += run.len();
        }
        assert_eq!(sequence.len(), next);
        for (at, item) in all(sequence).iter().enumerate() {
            let found = sequence.run_of(at).and_then(|(start, run)| run.0.get(at - start));
            assert_eq!(found, Some(item));
        }
        assert!(sequence.run_of(next).is_none());
    }

    proptest! {
        #[test]
        fn changes_are_those_of_a_vector(
            len in 0usize..300, changes in prop::collection::vec((0u8..5, 0usize..400), 0..60)
        ) {
            let mut model: Vec<u32> = (0..len as u32).collect();
            let mut sequence = fresh(model.clone());
            for (step, changes) in changes.chunks(3).enumerate() {
                let mut draft = Draft::from(Some(&sequence), open);
                for &(what, at) in changes {
                    let item = 1000 + step as u32;
                    match what {
                        0 | 1 => {
                            draft.insert(at, item);
                            model.insert(at.min(model.len()), item);
                        }
                        2 | 3 => {
                            let gone = (at < model.len()).then(|| model.remove(at));
                            prop_assert_eq!(draft.remove(at), gone);
                        }
                        _ => {
                            draft.replace(at, item);
                            if let Some(there) = model.get_mut(at) {
                                *there = item;
                            }
                        }
                    }
                }
                let changed = finished(draft);
                sequence = changed;
                assert_well_made(&sequence);
                prop_assert_eq!(all(&sequence), &model[..]);
            }
        }
    }

    proptest! {
        /// Pieces of what was there, in any order, some of them twice, with other items between them.
        #[test]
        fn what_stood_before_stands_again_in_its_new_order(
            len in 1usize..700, pieces in prop::collection::vec((0usize..700, 1usize..300, any::<bool>()), 0..8)
        ) {
            let before = fresh(0..len as u32);
            let mut items = Vec::new();
            for (start, count, other) in pieces {
                items.extend((start % len..len.min(start % len + count)).map(|at| (Some(at), at as u32)));
                items.extend(other.then_some((None, 1000)));
            }
            let model: Vec<_> = items.iter().map(|(_, item)| *item).collect();
            let after = finished(Draft::of(Some(&before), items, open));
            assert_well_made(&after);
            prop_assert_eq!(all(&after), model);
            for (_, run) in after.runs() {
                let times = after.runs().filter(|(_, other)| core::ptr::eq(*other, run)).count();
                prop_assert_eq!(times, 1);
            }
        }
    }

    #[test]
    fn runs_whose_items_stay_are_kept() {
        let before = fresh(0..640);
        let stood = |at: u32| (Some(at as usize), at);
        let kept = |items: Vec<_>| {
            let after = finished(Draft::of(Some(&before), items, open));
            after.runs().count() - after.own_runs().count()
        };
        assert_eq!(kept((0..640).map(stood).collect()), 10);
        // One in front, one gone in the fifth, one behind.
        let mut items: Vec<_> = (0..640).filter(|at| *at != 300).map(stood).collect();
        items.insert(0, (None, 1));
        items.push((None, 2));
        // The one in front is joined with the first run, the one behind with the last.
        assert_eq!(kept(items), 7);
        assert_eq!(kept((320..640).chain(0..320).map(stood).collect()), 10);
        assert_eq!(kept((0..640).chain(0..640).map(stood).collect()), 10);
    }

    #[test]
    fn a_change_shares_all_runs_but_its_own() {
        let before = fresh(0..6400);
        let mut draft = Draft::from(Some(&before), open);
        draft.insert(3210, 7);
        let after = finished(draft);
        assert_eq!(before.own_runs().count(), 1);
        assert_eq!(after.own_runs().count(), 2);
        drop(before);
        assert_eq!(after.own_runs().count(), 101);
    }

    #[test]
    fn runs_that_are_emptied_one_by_one_do_not_stay_short() {
        let mut sequence = fresh(0..640);
        while sequence.len() > 40 {
            let mut draft = Draft::from(Some(&sequence), open);
            draft.remove(sequence.len() / 2);
            sequence = finished(draft);
            let short = sequence.runs().filter(|(_, run)| run.len() < SHORTEST).count();
            assert!(short <= 1, "{short} short runs of {} items", sequence.len());
        }
    }
}
