//! Calls that count themselves (`ds_load_auto`): what their messages say, without a word in the script.
//!
//! Timeline: the server's callbacks around the routes see a reply before its route, and a request when its script has ended. The
//! transaction of the first INVITE tells its failure and its CANCEL; that of a re-INVITE, that nobody answers.

use super::load::{goes_on, refuses};
use super::tracking::{about, failures, failures_of, news, of_request, report, short, told};
use crate::context::{Module, module};
use crate::host::clock;
use crate::host::hooks::routes;
use crate::host::message::{Kind, Message, Method};
use crate::host::transaction::{self, Ended, Follower, Reply};
use crate::load::key::Key;
use crate::load::{About, Event, Timer};
use crate::service::routing::call_count;

/// Has the server tell of replies as well (`ds_load_auto`). Once, before the fork, when all modules are initialised.
pub fn begin() -> Result<(), &'static str> {
    transaction::follow(Follower { failed, cancelled, matters, timed_out, made })?;
    routes::tell_replies(reply_came)
}

/// Whether the call that this request starts counts where it goes, whatever the algorithm.
pub fn counts_all(module: &Module, msg: &Message) -> bool {
    module.conf.load_auto && !msg.in_dialog()
}

/// The key of the call of this message, if that is known.
fn known(module: &Module, msg: &Message) -> Option<Key> {
    let key = module.root.secret.call(msg.call_id()?);
    (!call_count::get(module.root, &key).is_empty()).then_some(key)
}

/// Reports what a message says of its call, if that is known.
fn follow(
    module: &Module,
    msg: &Message,
    event: Event,
    about: impl FnOnce() -> About,
    timer: impl FnOnce() -> Timer,
) {
    let Some(key) = known(module, msg) else { return };
    let about = about();
    let news = news(module, msg, event, about, timer());
    // A BYE is told when its script has ended, and when its answer comes.
    told(match event {
        Event::Ended => call_count::report_again(module.root, &key, &news),
        _ => call_count::report_failed(module.root, &key, &news, failures(module, msg, about)).map(|_| ()),
    });
}

/// The script for a request has ended: what the request says of its call, if it was sent on. One that the script has refused or
/// dropped says nothing, or anybody could end the calls of others.
pub fn request_ended(module: &Module, msg: &Message) {
    let transaction = transaction::current().is_some();
    let is_of_call = |kind: &Kind| match kind {
        Kind::Request(Method::Bye) => true,
        Kind::Request(Method::Cancel) => !transaction,
        // The 2xx that it acknowledges has just been told.
        Kind::Request(Method::Ack) => false,
        _ => msg.in_dialog(),
    };
    let Some(event) = msg.kind().filter(is_of_call).and_then(goes_on) else { return };
    let sent_on = match event {
        _ if !transaction => msg.was_forwarded(),
        // Where nobody can be reached, the session is over as well (RFC 3261 section 15.1.1).
        Event::Ended => transaction::has_tried(),
        _ => transaction::has_sent(),
    };
    if sent_on {
        follow(module, msg, event, || About::Request, || Timer::Same);
    }
}

/// A transaction begins: a re-INVITE that nobody answers ends its call.
fn matters(request: &Message) -> bool {
    let may_end = request.kind() == Some(Kind::Request(Method::Invite)) && request.in_dialog();
    may_end && module().is_some_and(|module| known(module, request).is_some())
}

fn timed_out(request: &Message) {
    if let Some(module) = module() {
        follow(module, request, Event::Lost, || About::OtherTransaction, || Timer::Same);
    }
}

/// A reply comes. `tm` has not dealt with it, and its routes have not run.
fn reply_came(reply: &Message) {
    let (Some(module), Some(kind)) = (module(), reply.kind()) else { return };
    let answers_bye = matches!(kind, Kind::Reply(Method::Bye, 200..));
    if answers_bye && transaction::of_reply(reply) != Reply::None {
        // So it was sent on. Here its worker may not be there yet, and the caller has the answer in a moment.
        return follow(module, reply, Event::Ended, || About::OtherTransaction, || Timer::Same);
    }
    let Some(event) = goes_on(kind).or_else(|| refuses(kind)) else { return };
    if matches!(event, Event::Lost | Event::Ended | Event::Gone) && is_of_nothing(module, reply) {
        return;
    }
    follow(module, reply, event, || about(kind, reply), || session_timer(module, kind, reply));
}

/// Whether a reply answers nothing that the server has sent, in a call that goes by transactions. Anybody can make one.
fn is_of_nothing(module: &Module, reply: &Message) -> bool {
    let by_transactions = |key| call_count::get(module.root, &key).legs().iter().any(|leg| leg.is_watched());
    transaction::of_reply(reply) == Reply::None && known(module, reply).is_some_and(by_transactions)
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

/// All branches have failed: none counts any more.
fn failed(one: &Ended<'_>) {
    let Some((module, key, invite)) = of_request(&one.request) else { return };
    let how = (|_| true, failures_of(module, one.outcomes()));
    told(call_count::given_up(module.root, &key, short(one.transaction), invite, how));
}

/// Of the INVITEs of a call, a CANCEL is for one (RFC 3261 section 9.2).
fn cancelled(one: &Ended<'_>) {
    let Some((module, key, invite)) = of_request(&one.request) else { return };
    told(call_count::transaction_cancelled(module.root, &key, short(one.transaction), invite));
}

/// The server makes a request: a BYE of its own ends the call.
fn made(request: &Message) {
    let Some(module) = module().filter(|_| request.kind() == Some(Kind::Request(Method::Bye))) else {
        return;
    };
    report(module, request, Event::Ended, About::Request, Timer::Same);
}
