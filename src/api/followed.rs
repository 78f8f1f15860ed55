//! Calls that count themselves (`ds_load_auto`): what their messages say, without a word in the script.
//!
//! Timeline: the transaction of the first INVITE tells its final replies, its failure and its CANCEL; that of a BYE, that it is sent
//! on. What has no transaction, and replies inside the dialog, are seen by the server's callbacks around the routes.

use super::load::{goes_on, refuses};
use super::tracking::{about, of_request, report, short, short_branch, told};
use crate::context::{Module, module};
use crate::host::clock;
use crate::host::hooks::routes;
use crate::host::message::{Kind, Message, Method};
use crate::host::transaction::{self, Ended, Follower, Replied};
use crate::load::{About, Event, News, Tags, Timer};
use crate::service::routing::call_count;

/// Has the server tell of replies as well (`ds_load_auto`). Once, before the fork, when all modules are initialised.
pub fn begin() -> Result<(), &'static str> {
    transaction::follow(Follower {
        replied,
        failed,
        cancelled,
        matters,
        sent_on: request_sent_on,
        timed_out,
        made,
    })?;
    routes::tell_replies(reply_came)
}

/// Whether the call that this request starts counts where it goes, whatever the algorithm.
pub fn counts_all(module: &Module, msg: &Message) -> bool {
    module.conf.load_auto && !msg.in_dialog()
}

/// The script for a request has ended: what the request says of its call, if it was sent on. One that the script has refused or
/// dropped says nothing, or anybody could end the calls of others. A BYE that has a transaction was told with that.
pub fn request_ended(module: &Module, msg: &Message) {
    let transaction = transaction::current().is_some();
    let is_of_call = |kind: &Kind| match kind {
        Kind::Request(Method::Bye | Method::Cancel) => !transaction,
        _ => msg.in_dialog(),
    };
    let Some(event) = msg.kind().filter(is_of_call).and_then(goes_on) else { return };
    let sent_on = if transaction { transaction::has_sent() } else { msg.was_forwarded() };
    if sent_on {
        report(module, msg, event, About::Request, Timer::Same);
    }
}

/// Whether a call is known by this message's Call-ID.
fn is_known(module: &Module, msg: &Message) -> bool {
    let known = |call_id| !call_count::get(module.root, &module.root.secret.call(call_id)).is_empty();
    msg.call_id().is_some_and(known)
}

/// A transaction begins: a BYE may end its call, a re-INVITE that nobody answers, too.
fn matters(request: &Message) -> bool {
    let may_end = |kind| match kind {
        Kind::Request(Method::Bye) => true,
        Kind::Request(Method::Invite) => request.in_dialog(),
        _ => false,
    };
    request.kind().is_some_and(may_end) && module().is_some_and(|module| is_known(module, request))
}

fn request_sent_on(request: &Message) {
    if let (Some(module), Some(Kind::Request(Method::Bye))) = (module(), request.kind()) {
        report(module, request, Event::Ended, About::Request, Timer::Same);
    }
}

fn timed_out(request: &Message) {
    if let (Some(module), Some(Kind::Request(Method::Invite))) = (module(), request.kind()) {
        report(module, request, Event::Lost, About::OtherTransaction, Timer::Same);
    }
}

/// A reply comes. What answers the first INVITE of a call is told with its transaction; without one, and inside the dialog, it is
/// told here.
fn reply_came(reply: &Message) {
    let (Some(module), Some(kind)) = (module(), reply.kind()) else { return };
    let Some(event) = goes_on(kind).or_else(|| refuses(kind)) else { return };
    if !is_known(module, reply) {
        return;
    }
    let about = about(kind, reply);
    if !matches!(about, About::Branch(_)) {
        report(module, reply, event, about, session_timer(module, kind, reply));
    }
}

/// What a reply says of its dialog's session timer: a 2xx to what refreshes one (RFC 4028 section 7.2).
fn session_timer(module: &Module, kind: Kind, reply: &Message) -> Timer {
    match kind {
        Kind::Reply(Method::Invite | Method::Update, 200..300) => {
            module.conf.expiry.session(reply.session_expires(), clock::seconds())
        }
        _ => Timer::Same,
    }
}

/// A final reply on a branch of a transaction that is watched.
fn replied(one: &Replied<'_>) {
    let kind = Kind::Reply(Method::Invite, one.code);
    let event = if one.code < 300 { Event::Answered } else { Event::Refused };
    if let Some(module) = module() {
        let about = About::Branch(short_branch(one.branch));
        report(module, one.reply, event, about, session_timer(module, kind, one.reply));
    }
}

/// All branches have failed: none counts any more.
fn failed(one: &Ended<'_>) {
    let Some((module, key, invite)) = of_request(&one.request) else { return };
    told(call_count::given_up(module.root, &key, short(one.transaction), invite.now, |_| true));
}

fn cancelled(cancel: &Message) {
    let Some(module) = module() else { return };
    report(module, cancel, Event::Cancelled, About::Request, Timer::Same);
}

/// The server makes a request: a BYE of its own ends the call.
fn made(request: &[u8]) {
    let Some(module) = module().filter(|_| request.starts_with(b"BYE ")) else { return };
    let header = |name: &[u8]| {
        let mut lines = request.split(|&byte| byte == b'\n');
        let value = lines.find_map(|line| {
            let (start, value) = line.split_at_checked(name.len())?;
            start.eq_ignore_ascii_case(name).then_some(value)
        });
        value.unwrap_or_default().trim_ascii()
    };
    let tag = |value: &[u8]| {
        let mut parameters =
            value.rsplit(|&byte| byte == b'>').next().unwrap_or_default().split(|&byte| byte == b';');
        let tag = parameters.find_map(|one| one.trim_ascii().strip_prefix(b"tag="));
        module.root.secret.tag(tag.unwrap_or_default())
    };
    let (call_id, to, from) = (header(b"Call-ID:"), header(b"To:"), header(b"From:"));
    let tags = Tags { to: tag(to), from: tag(from) };
    let news =
        News { event: Event::Ended, about: About::Request, tags, now: clock::seconds(), timer: Timer::Same };
    told(call_count::report(module.root, &module.root.secret.call(call_id), &news));
}
