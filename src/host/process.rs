//! Which process of the server this is, and how many there are.

use super::ffi;

/// This process's number, from 0.
pub fn number() -> usize {
    // SAFETY: written once, right after the fork, by the process itself.
    usize::try_from(unsafe { ffi::process_no }).unwrap_or(usize::MAX)
}

/// How many processes there will be. Not before all modules are initialised: the host aborts.
pub fn count() -> usize {
    // SAFETY: the caller of `child_init(PROC_INIT)` is past that point.
    usize::try_from(unsafe { ffi::get_max_procs() }).unwrap_or(1)
}

/// Whether the server takes its modules down: all other processes have ended, at whatever instruction they were, and the locks
/// that they held are held for ever.
pub fn is_going_down() -> bool {
    // SAFETY: no preconditions.
    unsafe { ffi::destroy_modules_phase() != 0 }
}

/// A number from the host's generator, which it seeds in each process.
pub fn random_number() -> u64 {
    // SAFETY: no preconditions.
    unsafe { ffi::shim_random() }.unsigned_abs()
}

/// Random bytes from the kernel.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the buffer has N bytes. Up to 256 bytes come whole or not at all.
    let got = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if usize::try_from(got) == Ok(N) { Ok(bytes) } else { Err(std::io::Error::last_os_error()) }
}

/// While this exists, signals that end this process are held back.
pub struct Unended(libc::sigset_t);

impl Unended {
    /// From now on.
    pub fn begin() -> Self {
        // SAFETY: sets of our own, of which zero is a valid one.
        unsafe {
            let (mut ends, mut before): (libc::sigset_t, libc::sigset_t) =
                (core::mem::zeroed(), core::mem::zeroed());
            libc::sigemptyset(&raw mut ends);
            libc::sigaddset(&raw mut ends, libc::SIGTERM);
            libc::sigaddset(&raw mut ends, libc::SIGINT);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const ends, &raw mut before);
            Self(before)
        }
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        // SAFETY: the set that `begin` found.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, core::ptr::null_mut()) };
    }
}
