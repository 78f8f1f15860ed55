//! `ds_reload` and what an operator is told of a reload.

use super::source::ListFile;
use super::{Module, module};
use crate::dest::problem::{Problem, Severity};
use crate::host::message::Message;
use crate::host::script::{Values, Verdict};
use crate::host::{clock, log};
use crate::service::reload::{self, NotLoaded};
use core::fmt;
use std::path::Path;

/// Shows the first findings with the file's name; an operator with a thousand sees the rest in the log.
pub struct Findings<'a>(pub &'a Path, pub &'a [Problem]);

impl fmt::Display for Findings<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 5;
        for (at, problem) in self.1.iter().take(SHOWN).enumerate() {
            let gap = if at == 0 { "" } else { "; " };
            write!(f, "{gap}{}:{problem}", self.0.display())?;
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

/// Reads the file again; the log, and the answer, say what is wrong. On an error the serving sets stay.
pub fn again(module: &Module) -> Result<Vec<Problem>, String> {
    let (delta, now) = (module.conf.reload_delta, clock::seconds());
    told(module, reload::reload(module.root, &file(module), delta, now, module.keep()))
}

/// Reads the file for the first time.
pub fn first(module: &Module) -> Result<Vec<Problem>, String> {
    told(module, reload::first_load(module.root, &file(module)))
}

fn file(module: &Module) -> ListFile<'_> {
    ListFile { path: &module.conf.list_file, default_socket: module.default_socket, dns: module.conf.dns }
}

fn told(module: &Module, result: Result<Vec<Problem>, NotLoaded>) -> Result<Vec<Problem>, String> {
    let file = &module.conf.list_file;
    if let Ok(problems) | Err(NotLoaded::Nothing(problems)) = &result {
        for problem in problems {
            match problem.severity {
                Severity::Error => log::error(format_args!("{}:{problem}", file.display())),
                Severity::Warning => log::warning(format_args!("{}:{problem}", file.display())),
            }
        }
    }
    result.map_err(|error| {
        let text = match error {
            NotLoaded::TooSoon => "Ongoing reload".into(),
            NotLoaded::Unreadable(error) => format!("Reload Failed: {}: {error}", file.display()),
            NotLoaded::Nothing(problems) if problems.is_empty() => {
                format!("Reload Failed: {}: there is no destination in it", file.display())
            }
            NotLoaded::Nothing(problems) => {
                format!("Reload Failed: no line is right: {}", Findings(file, &problems))
            }
            NotLoaded::OutOfMemory(error) => format!("Reload Failed: {error}"),
        };
        log::error(format_args!("{text}"));
        text
    })
}
