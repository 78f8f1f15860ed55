//! `ds_load_update` and `ds_load_unset`: what a message says about the call that it belongs to.

use super::tracking;
use crate::context::module;
use crate::host::log;
use crate::host::message::{Kind, Message, Method};
use crate::host::script::{Values, Verdict};
use crate::load::{Event, Timer};

/// `ds_load_update()`: a BYE or CANCEL releases the call, a 2xx to its INVITE confirms it, anything else shows that it
/// is still there.
pub fn load_update(msg: &mut Message, _: &Values<'_>) -> Verdict {
    report("ds_load_update", msg, goes_on)
}

/// What a message says that goes its usual way.
pub(super) fn goes_on(kind: Kind) -> Option<Event> {
    match kind {
        Kind::Request(Method::Bye) => Some(Event::Ended),
        Kind::Request(Method::Cancel) => Some(Event::Cancelled),
        Kind::Request(_) => Some(Event::Seen),
        Kind::Reply(Method::Invite, 200..300) => Some(Event::Answered),
        Kind::Reply(Method::Bye | Method::Cancel, _) => None,
        Kind::Reply(_, 200..300) => Some(Event::Seen),
        Kind::Reply(..) => None,
    }
}

/// What a reply says that refuses a request.
pub(super) fn refuses(kind: Kind) -> Option<Event> {
    match kind {
        Kind::Reply(Method::Invite, 408 | 481) => Some(Event::Lost),
        Kind::Reply(Method::Invite, 300..) => Some(Event::Refused),
        Kind::Reply(Method::Bye, 481) => Some(Event::Ended),
        Kind::Reply(Method::Update | Method::Info, 481) => Some(Event::Gone),
        _ => None,
    }
}

/// `ds_load_unset()`: releases the call, unless the message shows that it goes on.
///
/// A reply that refuses a re-INVITE, or a request inside the dialog, leaves the call up; one that says that the dialog
/// is gone does not (RFC 3261 section 12.2.1.2).
pub fn load_unset(msg: &mut Message, _: &Values<'_>) -> Verdict {
    let in_dialog = msg.in_dialog();
    let event = |kind| match kind {
        Kind::Request(Method::Invite) if in_dialog => Some(Event::Refused),
        Kind::Request(Method::Cancel) => Some(Event::Cancelled),
        Kind::Request(_) => Some(Event::Unset),
        Kind::Reply(Method::Invite, 200..300) => Some(Event::Unset),
        reply => refuses(reply),
    };
    report("ds_load_unset", msg, event)
}

fn report(function: &str, msg: &Message, event: impl Fn(Kind) -> Option<Event>) -> Verdict {
    let Some(module) = module() else { return Verdict::FALSE };
    let (Some(kind), Some(_)) = (msg.kind(), msg.call_id()) else {
        log::error(format_args!("{function}: the message has no readable Call-ID or CSeq"));
        return Verdict::FALSE;
    };
    // Where calls are followed, the script's word changes nothing: what it says too early (of a BYE that it then refuses) must
    // not count.
    if let Some(event) = event(kind).filter(|_| !module.conf.load_auto) {
        tracking::report(module, msg, event, tracking::about(kind, msg), Timer::Same);
    }
    Verdict::True
}
