//! `event_route[dispatcher:dst-up]`, `event_route[dispatcher:dst-down]`, and `event_callback` in their place.

use super::Module;
use crate::health::event::Event;
use crate::host::event::Handler;
use crate::host::log;
use crate::service::states::Told;
use core::ffi::CStr;
use parking_lot::Mutex;

/// Who handles the events.
pub struct Handlers {
    up: Option<Handler>,
    down: Option<Handler>,
}

const UP: &CStr = c"dispatcher:dst-up";
const DOWN: &CStr = c"dispatcher:dst-down";

impl Handlers {
    /// Those that the configuration has.
    pub fn find(function: &[u8]) -> Self {
        Self { up: Handler::find(UP, function), down: Handler::find(DOWN, function) }
    }
}

/// The event that this process handles, for `$dsv(…)`; one inside the other the inner one.
static CURRENT: Mutex<Option<Told>> = Mutex::new(None);

/// What `show` makes of the event that this process handles, if it handles one.
pub fn current<T>(show: impl FnOnce(&Told) -> T) -> Option<T> {
    CURRENT.lock().as_ref().map(show)
}

/// Tells the configuration. Without a pin or a lock: an event route may do anything.
pub fn tell(module: &Module, told: Told) {
    let (event, handler) = match told.event {
        Event::Up => (UP, &module.handlers.up),
        Event::Down => (DOWN, &module.handlers.down),
    };
    let Some(handler) = handler else { return };
    let uri = told.uri.clone();
    let outer = CURRENT.lock().replace(told);
    if !handler.run(event, &uri) {
        log::error(format_args!("the event {event:?} cannot be handled for {}", uri.escape_ascii()));
    }
    *CURRENT.lock() = outer;
}
