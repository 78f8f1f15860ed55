//! The file that outlives a restart: read at start, written when an operator changed a state and at shutdown.
//!
//! Its folder may be one that others write to: no link is followed, and what is written has a name that nobody can guess until
//! it is whole.

use crate::conf::Conf;
use crate::context::Module;
use crate::host::{clock, log, process};
use crate::service::state_file::{self, Clocks, Saved, WhichCalls};
use crate::shm::lock::LastAlive;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What the file holds; nothing where there is none yet. A file that cannot be read, or means nothing, is told and left
/// where it is, under another name, and the server starts without it.
pub fn read(conf: &Conf) -> Option<Saved> {
    let file = conf.state_file.as_deref()?;
    let (bytes, wall) = match open(file) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            log::error(format_args!("ds_state_file {}: {error}; nothing is restored", file.display()));
            return None;
        }
    };
    let saved = Saved::read(&bytes).inspect_err(|damage| {
        let aside = beside(file, ".damaged");
        let kept = match fs::rename(file, &aside) {
            Ok(()) => format!("it is kept as {}", aside.display()),
            Err(error) => format!("it cannot be kept as {}: {error}", aside.display()),
        };
        log::error(format_args!("ds_state_file {}: {damage}; nothing is restored, {kept}", file.display()));
    });
    let mut saved = saved.ok()?;
    saved.written_at(wall);
    Some(saved)
}

/// The bytes of a file, and when it was written, in milliseconds of the wall clock.
fn open(file: &Path) -> io::Result<(Vec<u8>, u64)> {
    // Without a wait, should it be a pipe.
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let opened = OpenOptions::new().read(true).custom_flags(flags).open(file);
    let mut from = opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::other("it is a symbolic link, which is not followed"),
        _ => error,
    })?;
    let about = from.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        OPEN_TO_OTHERS.store(true, Ordering::Relaxed);
        log::warning(format_args!(
            "ds_state_file {}: others may open it (mode {:o}), though the secret of the call table is in it; \
             it is replaced by one with mode 600",
            file.display(),
            about.permissions().mode() & 0o777
        ));
    }
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes)?;
    Ok((bytes, u64::try_from(about.mtime()).unwrap_or(0).saturating_mul(1000)))
}

/// A file in the same folder.
fn beside(file: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(file);
    name.push(end);
    name.into()
}

/// Whether the file that was read has calls, and whether other users can read it.
static HAS_CALLS: AtomicBool = AtomicBool::new(false);
static OPEN_TO_OTHERS: AtomicBool = AtomicBool::new(false);

fn now() -> Clocks {
    Clocks { seconds: clock::seconds(), micros: clock::micros(), wall: clock::wall_millis() }
}

/// Takes over what was read. After the first loading, before the fork.
pub fn restore(module: &Module, saved: &Saved) {
    let done = state_file::restore(module.root, saved, now());
    HAS_CALLS.store(saved.has_calls(), Ordering::Relaxed);
    log::info(format_args!(
        "restored: {} states of operators, {} calls; {} calls of destinations that are gone",
        done.states, done.calls, done.lost
    ));
}

/// Sees to it that calls that count again are not read a second time, should the server crash. Tells where the file will not
/// be written. When the server is about to fork.
pub fn begin(module: &Module) {
    let Some(file) = module.conf.state_file.as_deref() else { return };
    if HAS_CALLS.load(Ordering::Relaxed) || OPEN_TO_OTHERS.load(Ordering::Relaxed) {
        return write(module, file, WhichCalls::Nothing).unwrap_or_else(|error| tell(file, &error));
    }
    let tried = new_file(file).and_then(|(new, _)| fs::remove_file(new));
    if let Err(error) = tried {
        log::error(format_args!(
            "ds_state_file {}: {error}: no file can be made in its folder, so nothing will outlive a restart",
            file.display()
        ));
    }
}

/// What the process that keeps the file up to date knows: the number of changes that are in it, when it tried last to write
/// it, in seconds, and whether that failed.
static WRITTEN: AtomicU64 = AtomicU64::new(0);
static TRIED: AtomicU32 = AtomicU32::new(0);
static FAILS: AtomicBool = AtomicBool::new(false);

/// Writes the states if an operator changed one, at most once a second. Not in a worker, where calls would wait.
pub fn keep_up(module: &Module) {
    let Some(file) = module.conf.state_file.as_deref() else { return };
    let (changes, now) = (module.root.admin_changes.get(), clock::seconds());
    if WRITTEN.load(Ordering::Relaxed) == changes || TRIED.swap(now, Ordering::Relaxed) == now {
        return;
    }
    let done = write(module, file, WhichCalls::Nothing);
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

/// Writes states and calls while the other processes still run. The host waits for each process after it has told them to end. If
/// one does not end, the host kills all of them and itself.
pub fn before_the_last(module: &Module) {
    if let Some(file) = module.conf.state_file.as_deref() {
        // What goes wrong is told when it is written for the last time.
        let _ = write(module, file, WhichCalls::Living);
    }
}

/// Writes states and calls, and says so: what the host does after that may never end.
pub fn last(module: &Module, alone: &LastAlive) {
    let Some(file) = module.conf.state_file.as_deref() else { return };
    match write(module, file, WhichCalls::Left(alone)) {
        Ok(()) => log::info(format_args!("ds_state_file {}: states and calls are written", file.display())),
        Err(error) => tell(file, &error),
    }
}

fn tell(file: &Path, error: &io::Error) {
    log::error(format_args!("ds_state_file {}: {error}; it is as it was before", file.display()));
}

fn write(module: &Module, file: &Path, kept: WhichCalls<'_>) -> io::Result<()> {
    let bytes = state_file::save(module.root, kept, now());
    replace(file, &bytes.ok_or_else(|| io::Error::other("a process has died at the states"))?)
}

/// A new file beside this one, that only the server's user may open.
fn new_file(file: &Path) -> io::Result<(PathBuf, File)> {
    let new = beside(file, &format!(".{:016x}.tmp", u64::from_ne_bytes(process::random()?)));
    // Whatever has this name already, a link too, is an error.
    let to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    Ok((new, to))
}

/// Replaces the old file by a new one in one step: a reader finds one of the two, complete.
fn replace(file: &Path, bytes: &[u8]) -> io::Result<()> {
    // The host ends a process at any instruction; a new file would be left behind.
    let _whole = process::Unended::begin();
    let (new, mut to) = new_file(file)?;
    let mut write = || {
        to.write_all(bytes)?;
        to.sync_all()?;
        fs::rename(&new, file)?;
        // The rename lasts when the folder is written.
        file.parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().inspect_err(|_| {
        // What is left of the new one is of no use. After the rename there is none.
        let _ = fs::remove_file(&new);
    })
}
