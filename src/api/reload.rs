//! `ds_reload` and what an operator is told of a reload.

use crate::context::source::Destinations;
use crate::context::{Module, module};
use crate::dest::limits;
use crate::dest::problem::{Problem, Severity, share};
use crate::host::message::Message;
use crate::host::script::{Values, Verdict};
use crate::host::{clock, log};
use crate::service::sets::check::{self, Checked};
use crate::service::sets::load::{self, NotLoaded, Policy};
use crate::state::Keep;
use core::cell::{Cell, OnceCell};
use core::fmt;

/// Shows the first findings with the source's name; an operator with a thousand sees the rest in the log.
pub struct Findings<'a>(pub &'a Module, pub &'a [Problem]);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        let source = Destinations::name(&self.0.conf);
        for (at, problem) in self.1.iter().take(SHOWN).enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            write!(f, "{gap}{source}{problem}")?;
        }
        match self.1.len().saturating_sub(SHOWN) {
            0 => Ok(()),
            more => write!(f, "; and {more} more, see the log"),
        }
    }
}

/// `ds_reload()`.
pub fn ds_reload(_: &mut Message, _: &Values<'_>) -> Verdict {
    match module().map(again) {
        Some(Ok(_)) => Verdict::True,
        _ => Verdict::FALSE,
    }
}

/// Reads the source again; the log, and the answer, say what is wrong. On an error the serving sets stay.
pub fn again(module: &Module) -> Result<Vec<Problem>, String> {
    let (delta, now) = (module.conf.reload_delta, clock::seconds());
    let source = source(module);
    let done = load::reload(module.root, &source, delta, now, policy(module));
    tell_unused(&source);
    told(module, done).map_err(|error| {
        let text = match error {
            NotLoaded::TooSoon => "Ongoing reload".into(),
            NotLoaded::Unreadable(error) => format!("Reload Failed: {error}"),
            NotLoaded::Wrong(problems, count) => nothing_loaded(module, &problems, count),
            NotLoaded::OutOfMemory(error) => format!("Reload Failed: {error}"),
        };
        log::error(format_args!("{text}"));
        text
    })
}

/// What reading the source again would do. Nothing is logged and nothing changes.
pub fn dry_run(module: &Module) -> Result<Checked, String> {
    check::check(module.root, &source(module), policy(module), || module.sets()).map_err(
        |error| match error {
            NotLoaded::Unreadable(error) => error,
            NotLoaded::OutOfMemory(error) => error.to_string(),
            NotLoaded::TooSoon | NotLoaded::Wrong(..) => "nothing checked".into(),
        },
    )
}

/// Reads the source for the first time.
pub fn first(module: &Module) -> Result<Vec<Problem>, String> {
    let source = source(module);
    let done = load::first_load(module.root, &source, policy(module));
    tell_unused(&source);
    told(module, done).map_err(|error| match error {
        NotLoaded::TooSoon => "nothing loaded".into(),
        NotLoaded::Unreadable(error) => format!("no destinations to start with: {error}"),
        NotLoaded::Wrong(problems, count) => nothing_loaded(module, &problems, count),
        NotLoaded::OutOfMemory(error) => format!("nothing loaded: {error}"),
    })
}

/// What keeps all of a source from being loaded.
fn nothing_loaded(module: &Module, problems: &[Problem], count: usize) -> String {
    let share = share(problems, count);
    let strict = if module.conf.strict { " and ds_load_mode is 1" } else { "" };
    let first = problems.iter().find(|problem| problem.severity == Severity::Error);
    let source = Destinations::name(&module.conf);
    let first = first.map_or_else(String::new, |first| format!(", the first: {source}{first}"));
    format!("nothing loaded: {share}{strict}{first}")
}

/// Where this module's destinations come from.
pub fn source(module: &Module) -> Destinations<'_> {
    let (ipv4, unused) = (OnceCell::new(), Cell::new(0));
    Destinations { conf: &module.conf, default_socket: module.default_socket, ipv4, unused }
}

fn policy(module: &Module) -> Policy {
    let conf = &module.conf;
    let keep = Keep { state: conf.retain_state, latency: conf.retain_latency };
    Policy { strict: conf.strict, attrs_none: conf.attrs_none, limits: conf.limits, keep }
}

/// Says which attributes would limit calls if `ds_limits` said so.
fn tell_unused(source: &Destinations<'_>) {
    let names: Vec<_> = limits::unused(source.unused.get()).collect();
    if !names.is_empty() {
        let names = names.join(", ");
        log::info(format_args!("without ds_limits these attributes are only text for the script: {names}"));
    }
}

/// Logs what is wrong with the source.
fn told(module: &Module, result: Result<Vec<Problem>, NotLoaded>) -> Result<Vec<Problem>, NotLoaded> {
    let source = Destinations::name(&module.conf);
    if let Ok(problems) | Err(NotLoaded::Wrong(problems, _)) = &result {
        for problem in problems {
            match problem.severity {
                Severity::Error => log::error(format_args!("{source}{problem}")),
                Severity::Warning => log::warning(format_args!("{source}{problem}")),
            }
        }
    }
    if result.is_ok() && module.sets().is_some_and(|sets| sets.sets.is_empty()) {
        let source = Destinations::source_name(&module.conf);
        log::warning(format_args!("{source}: there is no destination in it"));
    }
    result
}
