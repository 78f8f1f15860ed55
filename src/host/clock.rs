//! Time, the same in every process.

/// Seconds of a clock that only goes forward, cut to 32 bits: for differences.
pub fn seconds() -> u32 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is valid; this clock exists on every Linux, and a failure would leave 0.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut now) };
    now.tv_sec as u32
}
