//! The sets as they would serve: each destination's share of the calls by weight.

use crate::source::Destination;

/// Share for algorithms 9 and 15, or 11.
#[derive(Clone, Copy)]
pub enum By {
    Weight,
    RelativeWeight,
}

impl By {
    /// What a destination has for it.
    pub fn of(self, one: &Destination) -> u32 {
        match self {
            Self::Weight => one.attrs.weight,
            Self::RelativeWeight => one.attrs.rweight,
        }
    }
}

/// The share of each destination of a set, in percent, while all that the file has up are up. `None` where none has a weight: all
/// are equal then.
pub fn shares(set: &[Destination], by: By) -> Option<Vec<f64>> {
    if set.iter().all(|one| by.of(one) == 0) {
        return None;
    }
    let up: Vec<_> = set.iter().map(|one| one.flags.usable()).collect();
    let of = |(one, up): (&Destination, &bool)| if *up { u64::from(by.of(one)) } else { 0 };
    let all: Vec<_> = set.iter().zip(&up).map(of).collect();
    let (sum, count) = (all.iter().sum::<u64>(), up.iter().filter(|up| **up).count());
    let share = |(own, up): (&u64, &bool)| match (sum, up) {
        (_, false) => 0.0,
        (0, true) => 100.0 / count as f64,
        (sum, true) => 100.0 * *own as f64 / sum as f64,
    };
    Some(all.iter().zip(&up).map(share).collect())
}

/// A percentage as it is shown: without a fraction where it has none.
pub fn percent(share: f64) -> String {
    let tenths = (share * 10.0).round();
    if tenths % 10.0 == 0.0 { format!("{:.0}%", tenths / 10.0) } else { format!("{:.1}%", tenths / 10.0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::still;
    use crate::source::{How, check};
    use dispatcher::select::{Draw, algorithm};
    use std::path::Path;

    /// What is shown as a share is what the algorithm gives over as many selections as the weights sum up to.
    #[test]
    fn shares_are_what_the_algorithms_give() {
        let text = "1 sip:192.0.2.1 0 0 weight=5;rweight=1\n1 sip:192.0.2.2 0 0 weight=3\n1 sip:192.0.2.3 1 0 weight=9\n\
                    1 sip:192.0.2.4 0 0 rweight=7\n";
        let how = How { csv: false, extra_attrs: "", strict: false, limits: false };
        let Ok(list) = check(Path::new("list"), text.into(), how) else { panic!() };
        for (by, number) in [(By::Weight, 9), (By::RelativeWeight, 11)] {
            let (pool, mut counts) = (still(&list.destinations, &[]), [0; 4]);
            for number_drawn in 0..800 {
                let draw = Draw { number: number_drawn, spare_last: false };
                counts[algorithm(number).unwrap().choose(&pool, draw).unwrap().at] += 1;
            }
            let counted: Vec<f64> = counts.iter().map(|&count| f64::from(count) / 8.0).collect();
            assert_eq!(shares(&list.destinations, by).unwrap(), counted, "algorithm {number}");
        }
    }

    #[test]
    fn percentages_are_short() {
        assert_eq!([100.0, 33.333_33, 0.0, 12.5].map(percent), ["100%", "33.3%", "0%", "12.5%"]);
    }
}
