//! What is wrong with the capacities that lines share: lines of one name may say different limits, or none.

use super::problem::shown;
use super::{Problem, SourcePosition};
use std::collections::BTreeMap;

/// A line that shares a capacity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share<'t> {
    /// Where it stands.
    pub place: SourcePosition,
    /// The name of the capacity.
    pub name: &'t [u8],
    /// How many calls it says that all together may have; 0 where it does not say.
    pub most: u32,
}

/// A warning for each line whose limit is not the smallest of its capacity, which is in effect; and for each capacity without a limit.
pub fn problems<'t>(lines: impl Iterator<Item = Share<'t>>) -> Vec<Problem> {
    let mut all = BTreeMap::<&[u8], Vec<Share<'t>>>::new();
    lines.for_each(|line| all.entry(line.name).or_default().push(line));
    let mut problems = Vec::new();
    for (name, mut lines) in all {
        lines.sort_by_key(|line| line.place);
        // One line may stand for many destinations.
        lines.dedup_by_key(|line| line.place);
        let said = lines.iter().filter(|line| line.most != 0);
        let Some(least) = said.clone().min_by_key(|line| (line.most, line.place)) else {
            let place = lines.first().map(|line| line.place);
            let text =
                format!("capacity={}: no line of it says a capacity_max, so it has no limit", shown(name));
            problems.extend(place.map(|place| Problem::warning(place, text)));
            continue;
        };
        for line in said.filter(|line| line.most != least.most) {
            let (name, other) = (shown(name), least.place.of_other());
            let text =
                format!("capacity={name}: capacity_max is {} here and {} {other}", line.most, least.most);
            let effect = format!("the smallest of all, {}, is in effect", least.most);
            problems.push(Problem::warning(line.place, format!("{text}: {effect}")));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_limit_counts_and_the_others_are_told() {
        let line = |at, name: &'static str, most| Share {
            place: SourcePosition::Line(at, 1),
            name: name.as_bytes(),
            most,
        };
        let lines = [line(4, "a", 30), line(1, "a", 10), line(2, "a", 0), line(3, "a", 10), line(5, "b", 7)];
        let told: Vec<_> = problems(lines.into_iter()).iter().map(ToString::to_string).collect();
        let text = "4:1: capacity='a': capacity_max is 30 here and 10 on line 1: the smallest of all, 10, is in effect (line loaded)";
        assert_eq!(told, [text]);
        let told = problems([line(2, "c", 0), line(3, "c", 0)].into_iter());
        assert_eq!((told.len(), told[0].place), (1, SourcePosition::Line(2, 1)));
        // One line that stands for many destinations is told once.
        assert_eq!(problems([line(1, "d", 3), line(2, "d", 4), line(2, "d", 4)].into_iter()).len(), 1);
    }
}
