//! Overload control: a destination asks to be left out of some of its selections (RFC 7339, loss algorithm).

/// Whether the `n`th selection leaves out a destination that asks to be left out of `percent` of them: exactly so many of
/// any hundred in a row, evenly spaced.
pub fn leaves_out(n: u32, percent: u32) -> bool {
    let percent = percent.min(100);
    (n % 100) * percent % 100 < percent
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_selections_leave_out_the_percentage() {
        for percent in [0, 1, 30, 50, 99, 100] {
            for from in [0, 7, 93] {
                let out = (from..from + 100).filter(|&n| leaves_out(n, percent)).count();
                assert_eq!(out, percent as usize);
            }
        }
        assert_eq!((0..4).map(|n| leaves_out(n, 50)).collect::<Vec<_>>(), [true, false, true, false]);
    }
}
