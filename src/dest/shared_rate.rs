//! The limit on new calls of a capacity, of which several lines may say the numbers.

use super::limits::usual_burst;

/// The smallest numbers that lines say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SmallestRate {
    /// Calls a second; 0 where no line says it.
    cps: u32,
    /// How many more may come at once; 0 where no line says it.
    burst: u32,
}

impl SmallestRate {
    /// A line says these; 0 is not said.
    pub fn take(&mut self, cps: u32, burst: u32) {
        self.cps = smaller(self.cps, cps);
        self.burst = smaller(self.burst, burst);
    }

    /// Calls a second and how many more may come at once, as they are in effect; both 0 without a limit.
    pub fn in_effect(self) -> (u32, u32) {
        match (self.cps, self.burst) {
            (0, _) => (0, 0),
            (cps, 0) => (cps, usual_burst(cps)),
            said => said,
        }
    }
}

/// The smaller one of those that are said.
fn smaller(one: u32, other: u32) -> u32 {
    if one == 0 || other == 0 { one.max(other) } else { one.min(other) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dest::Attrs;

    #[test]
    fn the_smallest_of_each_number_counts_and_a_fifth_is_the_usual_burst() {
        let of = |lines: &[(u32, u32)]| {
            let mut all = SmallestRate::default();
            lines.iter().for_each(|(cps, burst)| all.take(*cps, *burst));
            all.in_effect()
        };
        assert_eq!(
            [of(&[]), of(&[(0, 5)]), of(&[(50, 0)]), of(&[(3, 0)])],
            [(0, 0), (0, 0), (50, 10), (3, 1)]
        );
        assert_eq!([of(&[(50, 0), (20, 9)]), of(&[(0, 9), (50, 0), (0, 7)])], [(20, 9), (50, 7)]);
    }

    #[test]
    fn it_acts_beside_the_name_of_a_capacity_only_and_what_makes_no_sense_is_told() {
        let read = |text: &'static str| {
            let attrs = Attrs::parse(text.as_bytes(), true).unwrap();
            let told: Vec<_> =
                attrs.findings.iter().map(|it| format!("{} {}; {}", it.at, it.text, it.instead)).collect();
            ((attrs.limits.capacity_cps, attrs.limits.capacity_cps_burst), told)
        };
        assert_eq!(read("capacity=c;capacity_cps=50"), ((50, 0), vec![]));
        assert_eq!(read("capacity_cps_burst=7;capacity_cps=50;capacity=c"), ((50, 7), vec![]));
        assert_eq!(read("capacity=c;capacity_cps_burst=7"), ((0, 7), vec![]), "another line has the limit");
        let beside = "expected the name of a capacity beside it; it has no effect";
        assert_eq!(read("capacity_cps=5;cps=3"), ((0, 0), vec![format!("0 capacity_cps='5': {beside}")]));
        let whole = "expected a whole number from 1 to 2147483647";
        for (text, rate, told) in [
            (
                "capacity=c;capacity_cps=0",
                (0, 0),
                format!("11 capacity_cps='0': {whole}; no limit is in effect"),
            ),
            (
                "capacity=c;capacity_cps=9/s",
                (9, 0),
                format!("11 capacity_cps='9/s': {whole}; 9 is in effect, '/s' is ignored"),
            ),
            (
                "capacity=c;capacity_cps_burst=-1",
                (0, 0),
                format!("11 capacity_cps_burst='-1': {whole}; it is as if not there"),
            ),
        ] {
            assert_eq!(read(text), (rate, vec![told]), "{text}");
        }
        let attrs = Attrs::parse(b"capacity_cps=5;cps=3;maxload=9;maxload_reserve=2", true).unwrap();
        assert_eq!((attrs.limits.cps, attrs.limits.maxload_reserve), (3, 2), "what is its own stays");
        let off = Attrs::parse(b"capacity_cps=many", false).unwrap();
        assert_eq!((off.limits.capacity_cps, off.findings.len()), (0, 0));
    }
}
