//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(10);

/// Asks until `condition` holds or `deadline` has passed; says whether it held.
pub fn until(deadline: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + deadline;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= end {
            return false;
        }
        std::thread::sleep(STEP);
    }
}

/// As [`until`], and fails the test with `what` was waited for.
#[track_caller]
pub fn eventually(what: &str, deadline: Duration, condition: impl FnMut() -> bool) {
    assert!(until(deadline, condition), "not within {deadline:?}: {what}");
}
