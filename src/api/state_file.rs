//! The file that outlives a restart: read at start, written when an operator changed a state and at shutdown.

use super::Module;
use crate::conf::Conf;
use crate::host::{clock, log};
use crate::service::state_file::{self, Saved};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What the file holds; nothing where there is none yet. A file that cannot be read, or means nothing, is told and left
/// where it is, under another name, and the server starts without it.
pub fn read(conf: &Conf) -> Option<Saved> {
    let file = conf.state_file.as_deref()?;
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            log::error(format_args!("ds_state_file {}: {error}", file.display()));
            return None;
        }
    };
    Saved::read(&bytes)
        .inspect_err(|damage| {
            let aside = file.with_extension("damaged");
            let kept = match fs::rename(file, &aside) {
                Ok(()) => format!("it is kept as {}", aside.display()),
                Err(error) => format!("it cannot be kept as {}: {error}", aside.display()),
            };
            log::error(format_args!(
                "ds_state_file {}: {damage}; nothing is restored, {kept}",
                file.display()
            ));
        })
        .ok()
}

/// Takes over what was read. After the first loading, before the fork.
pub fn restore(module: &Module, saved: &Saved) {
    let done = state_file::restore(module.root, saved, clock::seconds(), clock::wall_millis());
    log::info(format_args!(
        "restored: {} states of operators, {} calls; {} calls of destinations that are gone",
        done.states, done.calls, done.lost
    ));
}

/// What the process that keeps the file up to date knows: the number of changes that are in it, when it tried last to write
/// it, in seconds, and whether that failed.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static TRIED: AtomicU32 = AtomicU32::new(0);
static FAILS: AtomicBool = AtomicBool::new(false);

/// Writes the states if an operator changed one, once a second at most. In a process where nobody waits.
pub fn keep_up(module: &Module) {
    let Some(file) = module.conf.state_file.as_deref() else { return };
    let (changes, now) = (module.root.admin_changes.get(), clock::seconds());
    if WRITTEN.load(Ordering::Relaxed) == changes || TRIED.swap(now, Ordering::Relaxed) == now {
        return;
    }
    let done = write(module, file, false);
    // Told when it begins; it is tried again until it is done.
    match (&done, FAILS.swap(done.is_err(), Ordering::Relaxed)) {
        (Err(error), false) => tell(file, error),
        (Ok(()), true) => log::info(format_args!("ds_state_file {}: written again", file.display())),
        _ => {}
    }
    if done.is_ok() {
        WRITTEN.store(changes, Ordering::Relaxed);
    }
}

/// Writes states and calls. When all other processes have ended.
pub fn last(module: &Module) {
    if let Some(file) = module.conf.state_file.as_deref() {
        write(module, file, true).unwrap_or_else(|error| tell(file, &error));
    }
}

fn tell(file: &Path, error: &io::Error) {
    log::error(format_args!("ds_state_file {}: {error}; it is as it was before", file.display()));
}

fn write(module: &Module, file: &Path, with_calls: bool) -> io::Result<()> {
    let save = |with_calls| state_file::save(module.root, with_calls, clock::seconds());
    let bytes = save(with_calls).or_else(|| {
        log::error(format_args!("a process has died at the call table: the calls are not written"));
        save(false)
    });
    replace(file, &bytes.ok_or_else(|| io::Error::other("a process has died at the states"))?)
}

/// Puts a new file in the place of the old one, as one step: a reader finds either, whole.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = file.with_extension("new");
    let write = || {
        // The secret of the keys is in it.
        let mut to = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        to.write_all(bytes)?;
        to.sync_all()?;
        fs::rename(&new, file)?;
        // The rename lasts when the folder is written.
        file.parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().inspect_err(|_| {
        // What is left of the new one is of no use; if it cannot be removed either, the next one replaces it.
        let _ = fs::remove_file(&new);
    })
}
