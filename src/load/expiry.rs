//! How long a call counts if its end is never seen.

use super::{Leg, Phase, Timer};

/// Seconds until a leg of a call is dropped, by phase; 0 is never.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expiry {
    /// `ds_hash_initexpire`: from the INVITE, while no 2xx was seen.
    pub early: u32,
    /// `ds_hash_expire`: from when the call was last seen, after a 2xx.
    pub confirmed: u32,
}

/// How long a released leg is remembered for a 2xx that crosses its CANCEL: 64 × T1, after which the client
/// considers the transaction cancelled (RFC 3261 section 9.1).
pub const CROSSING: u32 = 32;

/// The least time of a session (RFC 4028 section 4): what says less is taken as this.
const LEAST_SESSION: u32 = 90;
/// What a session is given beyond its time, for a BYE that is on its way: 64 × T1.
const GRACE: u32 = 32;

impl Expiry {
    /// What a `Session-Expires` of so many seconds in a 2xx that came `now` says of a call. It counts at least as long as a
    /// session must last, and no longer than a call of which nothing is heard; a little more, since the BYE follows its end.
    pub fn session(&self, seconds: Option<u32>, now: u32) -> Timer {
        let Some(seconds) = seconds else { return Timer::Off };
        let most = if self.confirmed == 0 { i32::MAX as u32 - GRACE } else { self.confirmed };
        Timer::Ends(now.wrapping_add(seconds.max(LEAST_SESSION).min(most) + GRACE))
    }

    /// Whether `leg` is to be dropped at `now` (seconds of a clock that only goes forward, and may wrap).
    pub fn is_due(&self, leg: Leg, now: u32) -> bool {
        if leg.is_timed() {
            return now.wrapping_sub(leg.seen()) as i32 > 0;
        }
        let limit = match leg.phase() {
            Phase::Early => self.early,
            Phase::Confirmed => self.confirmed,
            Phase::Released | Phase::Over => CROSSING,
        };
        // Signed, because a worker may note a call a moment after the sweep read its clock. More than the limit, because
        // a call noted late in one second and looked at early in another is not to go too soon.
        let age = now.wrapping_sub(leg.seen()) as i32;
        limit != 0 && u32::try_from(age).is_ok_and(|age| age > limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::leg::{Dialog, Way};

    const DIALOG: Dialog = Dialog::of(7, 0);

    fn leg(seen: u32) -> Leg {
        Leg::new(3, Way::Ahead, 1, seen)
    }

    #[test]
    fn each_phase_has_its_own_time_and_zero_is_never() {
        let expiry = Expiry { early: 60, confirmed: 7200 };
        let early = leg(100);
        assert!(!expiry.is_due(early, 160));
        assert!(expiry.is_due(early, 161));
        let up = early.confirmed(DIALOG, 150);
        assert!(!expiry.is_due(up, 7350));
        assert!(expiry.is_due(up, 7351));
        let gone = early.released(110);
        assert!(!expiry.is_due(gone, 142));
        assert!(expiry.is_due(gone, 143));
        assert!(!Expiry { early: 0, confirmed: 0 }.is_due(up, 1_000_000));
    }

    #[test]
    fn a_session_timer_sets_its_own_end_within_limits() {
        let expiry = Expiry { early: 60, confirmed: 7200 };
        let up = |seconds| leg(100).confirmed(DIALOG, 100).heard(100, expiry.session(seconds, 100));
        for (seconds, lasts) in
            [(Some(1800), 1832), (Some(0), 122), (Some(90), 122), (Some(86_400), 7232), (None, 7200)]
        {
            let leg = up(seconds);
            assert!(!expiry.is_due(leg, 100 + lasts) && expiry.is_due(leg, 101 + lasts), "{seconds:?}");
        }
        assert!(
            !expiry.is_due(up(Some(1800)).seen_at(5000), 1932),
            "what is no refresh leaves the timer as it is"
        );
        assert!(expiry.is_due(up(Some(1800)).seen_at(5000), 1933));
        let endless = Expiry { early: 0, confirmed: 0 };
        let up = leg(100).confirmed(DIALOG, 100);
        assert!(endless.is_due(up.heard(100, endless.session(Some(1800), 100)), 1933));
        assert!(!endless.is_due(up.heard(100, endless.session(Some(u32::MAX), 100)), 1_000_000));
    }

    #[test]
    fn a_call_noted_after_the_sweep_began_stays() {
        let expiry = Expiry { early: 60, confirmed: 7200 };
        assert!(!expiry.is_due(leg(1001), 1000));
        assert!(!expiry.is_due(leg(2), u32::MAX));
    }

    #[test]
    fn the_clock_may_wrap() {
        let expiry = Expiry { early: 60, confirmed: 0 };
        let call = leg(u32::MAX - 10);
        assert!(!expiry.is_due(call, 20));
        assert!(expiry.is_due(call, 60));
    }
}
