//! What all processes have from before the fork: the parameters, the shared state, and the sockets and variables that the
//! parameters name.
//!
//! `api` and `workers` share it. Beside it is what both need of the host and the parameters together: the source of destinations,
//! look-ups in the DNS, and events for scripts.

pub mod event;
pub mod lookup;
pub mod source;

use crate::conf::{Conf, Finding, Flag};
use crate::dest::ReplyCodes;
use crate::health::mark::Thresholds;
use crate::host::message::{self, Message};
use crate::host::variable::{Format, Settable};
use crate::host::xavp::Name;
use crate::host::{clock, log, mem::Pool, process, runtime, uri};
use crate::service::health::dns as names_service;
use crate::service::health::probe;
use crate::shm::Foreign;
use crate::shm::snapshot::Pin;
use crate::state::{Generation, Root};
use event::Handlers;
use once_cell::sync::OnceCell;
use parking_lot::Mutex;
use std::sync::Arc;

/// What every process knows from before the fork.
pub struct Module {
    /// The parameters.
    pub conf: Conf,
    /// The shared state.
    pub root: &'static Root<Pool>,
    /// `xavp_dst`.
    pub xavp_dst: Name,
    /// `xavp_ctx`.
    pub xavp_ctx: Name,
    /// `hash_pvar`, read.
    pub hash_pvar: Option<Format>,
    /// `setid_pvname`, read.
    pub setid_variable: Option<Settable>,
    /// `attrs_pvname`, read.
    pub attrs_variable: Option<Settable>,
    /// The socket to send from where a destination names none.
    pub default_socket: Option<Foreign>,
    /// The socket to send probes from where a destination names none.
    pub ping_socket: Option<Foreign>,
    /// When the server started, in seconds, and its first process.
    pub origin: (u64, u32),
    /// What names are looked up for.
    pub name_rules: names_service::NameRules,
    /// The handlers of events.
    pub handlers: Handlers,
    /// `ds_priority_flag`, by number.
    priority_flag: Option<u32>,
}

static MODULE: OnceCell<Module> = OnceCell::new();

/// Sets the module up. Once, in `mod_init`.
pub fn set_up(module: Module) -> Result<(), &'static str> {
    MODULE.set(module).map_err(|_| "the module is initialised twice")
}

/// The module, once it is set up. The host calls nothing before that.
pub fn module() -> Option<&'static Module> {
    MODULE.get()
}

/// The current thresholds: how many reports in a row change a state.
pub fn thresholds() -> Thresholds {
    let [failures, replies] = runtime::ints().map(|count| u32::try_from(count).unwrap_or(1));
    Thresholds { failures, replies }
}

/// What an operator may change while the server runs, as in the stock module.
pub fn declare_settings(conf: &Conf) -> Result<(), &'static str> {
    let count = |count: u32| i32::try_from(count).unwrap_or(i32::MAX);
    let ints = [
        runtime::Int {
            name: c"probing_threshold",
            about: c"Failures in a row until a trying destination is inactive.",
            value: count(conf.probing_threshold),
        },
        runtime::Int {
            name: c"inactive_threshold",
            about: c"Replies in a row until an inactive destination is active.",
            value: count(conf.inactive_threshold),
        },
    ];
    let text = runtime::Text {
        name: c"ping_reply_codes",
        about: c"Replies to probes that are good besides 2xx.",
        // As in the stock module, what makes no sense has no effect.
        accepts: |codes| {
            for (text, instead) in ReplyCodes::read(codes).1 {
                log::warning(format_args!("ping_reply_codes: {text}; {instead}"));
            }
            true
        },
    };
    runtime::declare(c"dispatcher", ints, text, &conf.reply_codes)
}

/// `ping_reply_codes` as this process read it last, with its text.
static REPLY_CODES: Mutex<Option<(Vec<u8>, Arc<ReplyCodes>)>> = Mutex::new(None);

/// The setting `ping_reply_codes`. It is read again only when its text has changed.
fn reply_codes() -> Arc<ReplyCodes> {
    runtime::with_text(|text| {
        let mut last = REPLY_CODES.lock();
        match &*last {
            Some((read, codes)) if read == text => codes.clone(),
            _ => last.insert((text.to_vec(), Arc::new(ReplyCodes::read(text).0))).1.clone(),
        }
    })
}

impl Module {
    /// Finds the sockets and variables that the parameters name; the error says which is missing first.
    pub fn new(mut conf: Conf, root: &'static Root<Pool>) -> Result<Self, String> {
        let mut findings = conf.check_addresses(source::sends_to);
        findings.extend(conf.check_flag(message::flag_number));
        findings.iter().for_each(|finding| log::warning(format_args!("{finding}")));
        fn named<T>(
            name: &'static str,
            text: &[u8],
            read: fn(&[u8]) -> Option<T>,
            expected: &str,
        ) -> Result<Option<T>, String> {
            if text.is_empty() {
                return Ok(None);
            }
            read(text).map(Some).ok_or_else(|| Finding::text(name, text, expected).to_string())
        }
        let settable = "a variable that can be set";
        let address = "a socket that the server listens on (proto:address:port)";
        let sockname = named(
            "ds_default_sockname",
            &conf.default_sockname,
            uri::socket_by_name,
            "the name of a listen",
        )?;
        let socket = match sockname {
            Some(socket) => Some(socket),
            None => named("ds_default_socket", &conf.default_socket, uri::socket_by_address, address)?,
        };
        let ping_socket = match &conf.probing {
            Some(probing) => named("ds_ping_socket", &probing.socket, uri::socket_by_address, address)?,
            None => None,
        };
        Ok(Self {
            xavp_dst: Name::chosen(&conf.xavp_dst),
            xavp_ctx: Name::chosen(&conf.xavp_ctx),
            hash_pvar: named("hash_pvar", &conf.hash_pvar, Format::parse, "a text with variables")?,
            setid_variable: named("setid_pvname", &conf.setid_pvname, Settable::parse, settable)?,
            attrs_variable: named("attrs_pvname", &conf.attrs_pvname, Settable::parse, settable)?,
            default_socket: socket,
            ping_socket,
            origin: (clock::wall_millis() / 1000, std::process::id()),
            name_rules: names_service::NameRules {
                addresses: conf.dns.on,
                all: conf.dns.match_all,
                refresh: conf.dns.refresh.map(|seconds| u64::from(seconds) * 1_000_000),
                hold: conf.dns.hold.map(|seconds| u64::from(seconds) * 1_000_000),
                probing: conf
                    .probing
                    .as_ref()
                    .map(|probing| (conf.probing_mode, u64::from(probing.interval) * 1_000_000)),
                events: conf.events,
            },
            handlers: Handlers::find(&conf.event_callback),
            priority_flag: match conf.priority_flag {
                Some(Flag::Number(flag)) => Some(flag),
                Some(Flag::Name(_)) | None => None,
            },
            conf,
            root,
        })
    }

    /// Whether the call of this request may use reserves.
    pub fn has_priority(&self, msg: &Message) -> bool {
        self.priority_flag.is_some_and(|flag| msg.has_flag(flag))
    }

    /// The sets that serve now, for as long as the pin is held.
    pub fn sets(&self) -> Option<Pin<'static, Generation<Pool>>> {
        self.root
            .sets
            .pin(process::number())
            .inspect_err(|error| {
                log::critical(format_args!("BUG: the destination sets cannot be read: {error:?}"))
            })
            .ok()
    }

    /// The current rules of probing.
    pub fn probe_rules(&self) -> probe::ProbeRules {
        let codes = reply_codes();
        let (mode, events, alpha) = (self.conf.probing_mode, self.conf.events, self.conf.latency_alpha);
        probe::ProbeRules { mode, thresholds: thresholds(), codes, events, alpha }
    }
}
