//! The flags of a destination, with the numbers of the stock module.

/// State and options of a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Gets no calls because it does not answer.
    pub const INACTIVE: Self = Self(1);
    /// Gets calls, but has failed lately.
    pub const TRYING: Self = Self(2);
    /// Gets no calls because an operator said so.
    pub const DISABLED: Self = Self(4);
    /// Is probed.
    pub const PROBING: Self = Self(8);
    /// Its host name is not resolved when it is loaded.
    pub const NO_DNS: Self = Self(16);
    /// Is never probed.
    pub const NO_PING: Self = Self(32);
    /// Gets no calls because its name has not been resolved yet. Set by the module itself, and no number that a
    /// source can write; no change of state touches it.
    pub const UNRESOLVED: Self = Self(1 << 31);
    /// Gets no new calls, until it is empty or its time is over: somebody drains it. As for [`Flags::UNRESOLVED`], no change of state
    /// by probe or script touches it.
    pub const DRAINING: Self = Self(1 << 30);
    /// Beside [`Flags::DISABLED`]: it is disabled because its drain is over.
    pub const DRAINED: Self = Self(1 << 29);
    /// Gets no new calls for a moment, because it has had all that its rate allows. Only choices see it: it is no part of the state that
    /// a record shows.
    pub const OVER_RATE: Self = Self(1 << 28);
    /// The same because the capacity that it shares has had all that its rate allows.
    pub const OVER_SHARED_RATE: Self = Self(1 << 27);
    /// Over either rate.
    pub const OVER_ANY_RATE: Self = Self(Self::OVER_RATE.0 | Self::OVER_SHARED_RATE.0);
    /// Gets no new calls, because calls failed there: it is ejected. As for [`Flags::UNRESOLVED`], no answer to a probe touches it.
    pub const EJECTED: Self = Self(1 << 26);
    /// It was ejected, and only a few new calls may go there until they are known to be good. With [`Flags::EJECTED`] as well all of them
    /// are on their way.
    pub const ON_TRIAL: Self = Self(1 << 25);
    /// Both of it.
    pub const EJECTION: Self = Self(Self::EJECTED.0 | Self::ON_TRIAL.0);
    /// The bits that only the module itself sets.
    pub const OWN: Self = Self(
        Self::UNRESOLVED.0 | Self::DRAINING.0 | Self::DRAINED.0 | Self::OVER_ANY_RATE.0 | Self::EJECTION.0,
    );
    /// The bits that a change of state replaces.
    ///
    /// The stock module also counts [`Flags::NO_DNS`] and [`Flags::NO_PING`] to them and so forgets both with the first
    /// change.
    pub const STATES: Self = Self(1 | 2 | 4 | 8);

    /// Whether all bits of `other` are set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// With the bits of `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Without the bits of `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether new calls may go to it.
    pub const fn usable(self) -> bool {
        let out = Self::INACTIVE.0 | Self::DISABLED.0 | Self::UNRESOLVED.0;
        self.0 & (out | Self::DRAINING.0 | Self::OVER_ANY_RATE.0 | Self::EJECTED.0) == 0
    }

    /// Whether the calls that are up there may go on: usable, or kept from new calls by a drain or its ejection alone.
    pub const fn serves(self) -> bool {
        self.without(Self::DRAINING.with(Self::EJECTED)).usable()
    }

    /// Whether it would be usable if it were not ejected.
    pub const fn kept_out_by_ejection(self) -> bool {
        self.has(Self::EJECTED) && self.without(Self::EJECTED).usable()
    }

    /// Whether it takes part in its set as others do: usable, and not on trial.
    pub const fn in_service(self) -> bool {
        self.usable() && !self.has(Self::ON_TRIAL)
    }

    /// Whether it is ejected, or on trial.
    pub const fn in_ejection(self) -> bool {
        self.0 & Self::EJECTION.0 != 0
    }

    /// Whether it would be usable if nobody had drained it. A drain that is over keeps it out as before.
    pub const fn kept_out_by_drain(self) -> bool {
        let over = self.has(Self::DISABLED) && self.has(Self::DRAINED);
        let before = if over { self.without(Self::DISABLED) } else { self };
        before.serves() && (over || self.has(Self::DRAINING))
    }

    /// The letters of `dispatcher.list`: A, I, D or T, then P for probing, N for never, or X; then D for one that is being drained, or E for
    /// one that is ejected or on trial.
    pub fn letters(self) -> &'static str {
        let of = |all: [&'static str; 3], drained: [&'static str; 3], ejected: [&'static str; 3]| {
            let [probed, never, other] = match () {
                () if self.has(Self::DRAINING) => drained,
                () if self.in_ejection() => ejected,
                () => all,
            };
            if self.has(Self::PROBING) {
                probed
            } else if cfg!(stock_no_ping) && self.has(Self::NO_PING) {
                never
            } else {
                other
            }
        };
        if self.has(Self::INACTIVE) || self.has(Self::UNRESOLVED) && !self.has(Self::DISABLED) {
            of(["IP", "IN", "IX"], ["IPD", "IND", "IXD"], ["IPE", "INE", "IXE"])
        } else if self.has(Self::DISABLED) {
            of(["DP", "DN", "DX"], ["DPD", "DND", "DXD"], ["DPE", "DNE", "DXE"])
        } else if self.has(Self::TRYING) {
            of(["TP", "TN", "TX"], ["TPD", "TND", "TXD"], ["TPE", "TNE", "TXE"])
        } else {
            of(["AP", "AN", "AX"], ["APD", "AND", "AXD"], ["APE", "ANE", "AXE"])
        }
    }

    /// Reads the state argument of `ds_mark_dst`: any of `a i d t p`, in either case. `a` takes back those before it.
    pub fn from_mark(text: &[u8]) -> Option<Self> {
        text.iter().try_fold(Self::default(), |flags, letter| {
            Some(match letter.to_ascii_lowercase() {
                b'a' => Self::default(),
                b'i' => flags.with(Self::INACTIVE),
                b'd' => flags.with(Self::DISABLED),
                b't' => flags.with(Self::TRYING),
                b'p' => flags.with(Self::PROBING),
                _ => return None,
            })
        })
    }

    /// Reads the state argument of `dispatcher.set_state`: `a i d t` or `1 0 2 3`, the second letter `p` for probing
    /// (not with `d`).
    pub fn from_rpc(text: &[u8]) -> Option<Self> {
        let state = match text.first()?.to_ascii_lowercase() {
            b'a' | b'1' => Self::default(),
            b'i' | b'0' => Self::INACTIVE,
            b'd' | b'2' => return Some(Self::DISABLED),
            b't' | b'3' => Self::TRYING,
            _ => return None,
        };
        let probing = text.get(1).is_some_and(|letter| letter.eq_ignore_ascii_case(&b'p'));
        Some(if probing { state.with(Self::PROBING) } else { state })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_say_inactive_before_disabled_before_trying() {
        assert_eq!(Flags::default().letters(), "AX");
        assert_eq!(Flags(1 | 2 | 4 | 8).letters(), "IP");
        assert_eq!(Flags(2 | 4).letters(), "DX");
        assert_eq!(Flags(2 | 8).letters(), "TP");
        // A letter that tools of a server without it do not know.
        assert_eq!(Flags(32).letters(), if cfg!(stock_no_ping) { "AN" } else { "AX" });
        assert_eq!(Flags(4 | 32).letters(), if cfg!(stock_no_ping) { "DN" } else { "DX" });
        assert_eq!(Flags(8 | 32).letters(), "AP");
        let unresolved = [0, 2 | 8, 4].map(|flags| Flags(flags).with(Flags::UNRESOLVED));
        assert_eq!(unresolved.map(Flags::letters), ["IX", "IP", "DX"]);
        assert!(unresolved.iter().all(|flags| !flags.usable()));
    }

    #[test]
    fn one_that_is_drained_has_a_third_letter_and_gets_no_new_calls() {
        let drained = |flags: u32| Flags(flags).with(Flags::DRAINING);
        let letters = [0, 8, 1, 2 | 8, 4].map(|flags| drained(flags).letters());
        assert_eq!(letters, ["AXD", "APD", "IXD", "TPD", "DXD"]);
        assert_eq!([0, 2, 1, 4].map(|flags| drained(flags).usable()), [false; 4]);
        assert_eq!([0, 2, 1, 4].map(|flags| drained(flags).serves()), [true, true, false, false]);
        assert_eq!([0, 2, 1, 4].map(|flags| drained(flags).kept_out_by_drain()), [true, true, false, false]);
        let over = Flags::DISABLED.with(Flags::DRAINED);
        assert!(over.kept_out_by_drain() && !over.usable() && !over.serves() && over.letters() == "DX");
        assert!([0, 1, 2, 4].iter().all(|flags| !Flags(*flags).kept_out_by_drain()));
    }

    #[test]
    fn one_that_is_ejected_keeps_its_letters_and_its_calls_and_gets_no_new_ones() {
        let ejected = |flags: u32| Flags(flags).with(Flags::EJECTED);
        assert_eq!(
            [0, 8, 1, 2 | 8, 4].map(|flags| ejected(flags).letters()),
            ["AXE", "APE", "IXE", "TPE", "DXE"]
        );
        assert_eq!([0, 2, 1, 4].map(|flags| ejected(flags).usable()), [false; 4]);
        assert_eq!([0, 2, 1, 4].map(|flags| ejected(flags).serves()), [true, true, false, false]);
        assert_eq!(
            [0, 2, 1, 4].map(|flags| ejected(flags).kept_out_by_ejection()),
            [true, true, false, false]
        );
        assert!([0, 2, 1, 4].iter().all(|flags| !ejected(*flags).kept_out_by_drain()));
        let tried = Flags::ON_TRIAL;
        assert!(tried.usable() && !tried.in_service() && tried.letters() == "AXE");
        assert!(!tried.with(Flags::EJECTED).usable());
    }

    #[test]
    fn mark_takes_letters_in_any_case_and_refuses_others() {
        assert_eq!(Flags::from_mark(b"iP"), Some(Flags::INACTIVE.with(Flags::PROBING)));
        assert_eq!(Flags::from_mark(b"ia"), Some(Flags::default()));
        assert_eq!(Flags::from_mark(b"x"), None);
    }

    #[test]
    fn rpc_takes_letters_or_digits() {
        assert_eq!(Flags::from_rpc(b"ap"), Some(Flags::PROBING));
        assert_eq!(Flags::from_rpc(b"0p"), Some(Flags::INACTIVE.with(Flags::PROBING)));
        assert_eq!(Flags::from_rpc(b"dp"), Some(Flags::DISABLED));
        assert_eq!(Flags::from_rpc(b"z"), None);
        assert_eq!(Flags::from_rpc(b""), None);
    }
}
