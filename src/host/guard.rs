//! The one place where a panic stops. It never crosses into the host, whose frames cannot unwind.

use super::log;
use std::panic::{self, AssertUnwindSafe};

/// Runs `body`; if it panics, returns `failure`. The place and the message were logged by then ([`report_panics`]).
#[inline(always)] // the way into the module; what a call brings stays in registers
pub fn guard<T>(failure: T, body: impl FnOnce() -> T) -> T {
    // Unwind safety: locks are released on the way out, and shared state is changed by single stores, so the worst that
    // is left behind is one call miscounted, which `dispatcher.load_audit` shows.
    panic::catch_unwind(AssertUnwindSafe(body)).unwrap_or(failure)
}

/// Sends panics to the host's log. Once, before the fork.
pub fn report_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(String::new, |place| format!(" at {place}"));
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text =
            text.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
        log::critical(format_args!("BUG: the module failed{place}: {text}"));
    }));
}
