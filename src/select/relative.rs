//! What algorithm 100 compares: loads relative to capacities.

/// What a destination may have beside the others of its set: its `maxload`, or its `weight` where not all of them have a `maxload`.
/// Without a weight it is 1.
pub const fn capacity(all_limited: bool, maxload: u32, weight: u32) -> u32 {
    match (all_limited, weight) {
        (true, _) => maxload,
        (false, 0) => 1,
        (false, weight) => weight,
    }
}

/// `load ÷ capacity` as a number of 31 bits that has the same order: equal ratios are equal, and ratios of numbers up to 4 096 that
/// differ are told apart.
pub fn relative(load: u32, capacity: u32) -> u32 {
    // The bits of numbers that are not negative have the order of the numbers.
    ((f64::from(load) / f64::from(capacity.max(1))) as f32).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ratios_keep_their_order(one in (0u32..4_096, 1u32..4_096), other in (0u32..4_096, 1u32..4_096)) {
            let exact = (one.0 * other.1).cmp(&(other.0 * one.1));
            prop_assert_eq!(relative(one.0, one.1).cmp(&relative(other.0, other.1)), exact);
        }

        #[test]
        fn no_ratio_is_out_of_order_or_too_long(load: u32, more: u32, capacity: u32) {
            prop_assert!(relative(load, capacity) <= relative(load.saturating_add(more), capacity));
            prop_assert!(relative(load, capacity) < 1 << 31);
        }
    }

    #[test]
    fn a_weight_counts_where_not_all_have_a_limit() {
        assert_eq!([capacity(true, 50, 3), capacity(false, 50, 3), capacity(false, 50, 0)], [50, 3, 1]);
    }
}
