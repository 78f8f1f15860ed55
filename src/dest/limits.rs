//! Attributes that limit more than `maxload` does. They act with parameter `ds_limits` only: scripts may use such words for themselves.

/// Limits beside `maxload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits<'t> {
    /// The capacity that the destination shares with all others that name it; empty is none.
    pub capacity: &'t [u8],
    /// Calls at the same time that all of those may have together; 0 is not said.
    pub capacity_max: u32,
}

/// The names of these attributes.
pub const NAMES: [&str; 2] = ["capacity", "capacity_max"];

/// The names of those that were seen and do not act: a bit for each, in the order of [`NAMES`].
pub fn unused(bits: u32) -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().enumerate().filter(move |(at, _)| bits & 1 << at != 0).map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dest::Attrs;

    #[test]
    fn a_capacity_acts_only_where_further_limits_do() {
        let limits = |text: &'static str| Attrs::parse(text.as_bytes(), true).unwrap().limits;
        let shared =
            |capacity: &'static str, capacity_max| Limits { capacity: capacity.as_bytes(), capacity_max };
        assert_eq!(limits("capacity=trunk;capacity_max=30"), shared("trunk", 30));
        assert_eq!(limits("Capacity='a b'"), shared("a b", 0));
        let most = |text: &str| {
            let attrs = Attrs::parse(text.as_bytes(), true).unwrap();
            (attrs.limits.capacity_max, attrs.findings[0].instead.clone())
        };
        assert_eq!(most("capacity_max=30"), (0, "it has no effect".to_owned()));
        assert_eq!(most("capacity=c;capacity_max=-1"), (0, "no limit is in effect".to_owned()));
        let off = Attrs::parse(b"capacity=trunk;capacity_max=many;maxload=3", false).unwrap();
        assert_eq!((off.limits, off.maxload, off.findings.len()), (shared("", 0), 3, 0));
        assert_eq!(unused(off.unused).collect::<Vec<_>>(), ["capacity", "capacity_max"]);
        assert_eq!(unused(Attrs::parse(b"capacity=x", true).unwrap().unused).count(), 0);
    }
}
