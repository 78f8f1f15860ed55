//! What the change of a call does to the loads of its destinations.

use crate::load::Leg;
use crate::state::Shift;

/// What the change of a call does to each record. Those to which it goes come first, so that it counts somewhere all the time.
pub(super) fn shifts(
    before: &[Leg],
    after: &[Leg],
    (taken, left): (Option<u32>, &[u32]),
    mut each: impl FnMut(u32, Shift),
) {
    let mut one = |number: u32, before: Shift, after: Shift| {
        let taken = if taken == Some(number) { Shift::TAKE } else { Shift::default() };
        let mut shift = after.less(before).less(taken);
        shift.load += i32::from(left.contains(&number));
        if !shift.is_none() {
            each(number, shift);
        }
    };
    let of = |leg: &Leg| Shift { load: leg.counts().into(), legs: 1 };
    let none = Shift::default();
    // Nearly always.
    if before.len() <= 1 && after.len() <= 1 {
        let (before, after) = (before.first(), after.first());
        match (before, after) {
            (Some(before), Some(after)) if before.record() == after.record() => {
                one(after.record(), of(before), of(after));
            }
            _ => {
                after.into_iter().for_each(|leg| one(leg.record(), none, of(leg)));
                before.into_iter().for_each(|leg| one(leg.record(), of(leg), none));
            }
        }
        return;
    }
    let all = |legs: &[Leg], number: u32| {
        let named = legs.iter().filter(|leg| leg.record() == number).map(of);
        named.fold(none, |all, leg| Shift { load: all.load | leg.load, legs: all.legs + 1 })
    };
    let names = |legs: &[Leg], number: u32| legs.iter().any(|leg| leg.record() == number);
    let firsts = |legs: &'_ [Leg]| -> Vec<u32> {
        let is_first = |(at, leg): &(usize, &Leg)| !names(legs.get(..*at).unwrap_or_default(), leg.record());
        legs.iter().enumerate().filter(is_first).map(|(_, leg)| leg.record()).collect()
    };
    let left = firsts(before).into_iter().filter(|number| !names(after, *number));
    firsts(after)
        .into_iter()
        .chain(left)
        .for_each(|number| one(number, all(before, number), all(after, number)));
}
