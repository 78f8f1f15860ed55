//! `event_route[dispatcher:dst-up]`, `event_route[dispatcher:dst-down]`, `event_route[dispatcher:dst-drained]`, and `event_callback` in
//! their place.

use super::Module;
use crate::health::event::DestinationEvent;
use crate::host::event::{self, Handler};
use crate::host::log;
use crate::service::health::set_state::Told;
use core::ffi::CStr;
use parking_lot::Mutex;

/// The handlers of the events.
pub struct Handlers {
    up: Option<Handler>,
    down: Option<Handler>,
    drained: Option<Handler>,
}

const UP: &CStr = c"dispatcher:dst-up";
const DOWN: &CStr = c"dispatcher:dst-down";
const DRAINED: &CStr = c"dispatcher:dst-drained";

impl Handlers {
    /// Those that the configuration has.
    pub fn find(function: &[u8]) -> Self {
        let [up, down, drained] = [UP, DOWN, DRAINED].map(|event| Handler::find(event, function));
        Self { up, down, drained }
    }
}

/// The events that this process handles, one inside the other; the last is the one for `$dsv(…)`.
static CURRENT: Mutex<Vec<Told>> = Mutex::new(Vec::new());

/// How deep events may nest: an event route may change a state and so cause another event.
const DEPTH: usize = 8;

/// What `show` makes of the event that this process handles, if it handles one.
pub fn current<T>(show: impl FnOnce(&Told) -> T) -> Option<T> {
    CURRENT.lock().last().map(show)
}

/// An event that is handled until this is dropped.
struct Handled;

impl Drop for Handled {
    fn drop(&mut self) {
        CURRENT.lock().pop();
    }
}

/// Tells the configuration, from a process of the module's own: what the routes leave behind is forgotten.
pub fn tell_all(module: &Module, events: Vec<Told>) {
    if events.is_empty() {
        return;
    }
    events.into_iter().for_each(|told| tell(module, told));
    event::forget();
}

/// Tells the configuration. Without a pin or a lock: an event route may do anything.
pub fn tell(module: &Module, told: Told) {
    let (event, handler) = match told.event {
        DestinationEvent::Up => (UP, &module.handlers.up),
        DestinationEvent::Down => (DOWN, &module.handlers.down),
        DestinationEvent::Drained => (DRAINED, &module.handlers.drained),
    };
    let Some(handler) = handler else { return };
    let uri = told.uri.clone();
    let depth = {
        let mut current = CURRENT.lock();
        current.push(told);
        current.len()
    };
    let _handled = Handled;
    if depth > DEPTH {
        log::error(format_args!(
            "an event route makes the event that it handles, {depth} deep: not run again"
        ));
    } else if !handler.run(event, &uri) {
        let (event, uri) = (event.to_string_lossy(), uri.escape_ascii());
        log::error(format_args!("the event {event} cannot be handled for {uri}"));
    }
}
