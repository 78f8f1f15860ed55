//! Reading the list file, at start and by `ds_reload`.

use super::{Module, module};
use crate::dest::problem::{Problem, Severity, shown};
use crate::dest::{self, Entry, Flags, list};
use crate::host::message::Message;
use crate::host::script::{Args, Verdict};
use crate::host::{log, uri};
use crate::service::publish::{self, Located};
use crate::shm::OutOfMemory;
use core::fmt;
use std::path::Path;
use std::time::SystemTime;

/// Why the sets were not replaced.
#[derive(Debug)]
pub enum NotLoaded {
    /// The last reload was less than `reload_delta` ago.
    TooSoon,
    /// The file cannot be read.
    Unreadable(std::io::Error),
    /// No line of it is right.
    AllBad(Vec<Problem>),
    /// The pool is full.
    OutOfMemory(OutOfMemory),
}

/// What was loaded, and what not.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Lines with a finding.
    pub problems: Vec<Problem>,
}

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

impl NotLoaded {
    /// What an operator is told.
    pub fn text(&self, file: &Path) -> String {
        match self {
            Self::TooSoon => "Ongoing reload".into(),
            Self::Unreadable(error) => format!("Reload Failed: {}: {error}", file.display()),
            Self::AllBad(problems) => {
                format!("Reload Failed: no line is right: {}", Findings(file, problems))
            }
            Self::OutOfMemory(error) => format!("Reload Failed: {error}"),
        }
    }
}

/// `ds_reload()`.
pub fn ds_reload(_: &mut Message, _: &Args<'_>) -> Verdict {
    match module().map(reload) {
        Some(Ok(_)) => Verdict::True,
        _ => Verdict::FALSE,
    }
}

/// Reads the file again. On an error the serving sets stay as they are. The log says what is wrong.
pub fn reload(module: &Module) -> Result<Loaded, NotLoaded> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let mut last = module.root.reload.lock();
    let delta = module.conf.reload_delta;
    if delta > 0 && last.0 != 0 && last.0.saturating_add(delta) > now {
        log::error(format_args!("reload refused: the last one was less than reload_delta={delta} s ago"));
        return Err(NotLoaded::TooSoon);
    }
    last.0 = now;
    // The lock is held from reading to publishing: the last to read is the last to publish.
    let result = load(module, true);
    if let Err(error) = &result {
        log::error(format_args!("{}", error.text(&module.conf.list_file)));
    }
    result
}

/// Reads the file for the first time. A file without one right line starts a server without sets.
pub fn first_load(module: &Module) -> Result<Loaded, NotLoaded> {
    load(module, false)
}

fn load(module: &Module, keep_if_all_bad: bool) -> Result<Loaded, NotLoaded> {
    let file = &module.conf.list_file;
    let text = std::fs::read(file).map_err(NotLoaded::Unreadable)?;
    let (mut entries, mut problems) = list::parse(&text);
    problems.extend(dest::shared_duids(&entries));
    dest::arrange(&mut entries);
    let mut located = Vec::with_capacity(entries.len());
    for entry in entries {
        match locate(entry) {
            Ok(one) => located.push(one),
            Err(problem) => problems.push(problem),
        }
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    for problem in &problems {
        match problem.severity {
            Severity::Error => log::error(format_args!("{}:{problem}", file.display())),
            Severity::Warning => log::warning(format_args!("{}:{problem}", file.display())),
        }
    }
    if keep_if_all_bad && located.is_empty() && !problems.is_empty() {
        return Err(NotLoaded::AllBad(problems));
    }
    publish::publish(module.root, &located).map_err(NotLoaded::OutOfMemory)?;
    Ok(Loaded { problems })
}

/// Host names longer than this the host cannot look up.
const MAX_HOST: usize = 254;

/// Asks the host what it knows of an entry.
fn locate(mut entry: Entry) -> Result<Located, Problem> {
    let (line, column) = (entry.line, entry.column);
    let wrong = |text: String| Problem::error(line, column, text);
    let mut parsed = uri::parse(&entry.uri);
    if parsed.is_none() && !entry.uri.starts_with(b"sip:") {
        let with_scheme = [b"sip:", entry.uri.as_slice()].concat();
        parsed = uri::parse(&with_scheme);
        entry.uri = with_scheme;
    }
    let found = shown(&entry.uri);
    let parsed = parsed.ok_or_else(|| wrong(format!("{found} is no SIP URI")))?;
    let host = entry.uri.get(parsed.host.clone()).unwrap_or_default();
    if host.len() > MAX_HOST {
        return Err(wrong(format!("{found}: a host name has at most {MAX_HOST} characters")));
    }
    let attrs = &entry.attrs;
    let send_from = if !attrs.sockname.is_empty() {
        let name = shown(&attrs.sockname);
        Some(
            uri::socket_by_name(&attrs.sockname)
                .ok_or_else(|| wrong(format!("sockname={name}: no listen has that name")))?,
        )
    } else if !attrs.socket.is_empty() {
        let name = shown(&attrs.socket);
        let found = uri::socket_by_address(&attrs.socket);
        Some(found.ok_or_else(|| {
            wrong(format!("socket={name}: not a socket that the server listens on (proto:address:port)"))
        })?)
    } else {
        None
    };
    let address = if entry.flags.has(Flags::NO_DNS) {
        None
    } else {
        let name = shown(host);
        Some(uri::resolve(host).ok_or_else(|| {
            wrong(format!(
                "{name} does not resolve (flag 16 keeps a destination whose name is not looked up)"
            ))
        })?)
    };
    Ok(Located { host: parsed.host, port: parsed.port, proto: parsed.proto, address, send_from, entry })
}
