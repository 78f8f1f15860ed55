//! A child process with a resolv.conf of its own.

use std::ffi::{CStr, CString};
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Core settings with which tests of names are quick, and TTLs mean what they say.
///
/// No second server, no search list and one attempt of one second, the shortest there is: a name whose server
/// says nothing costs a second for each type asked for. No AAAA queries after an A that failed. What failed is not
/// remembered (the server's default is a minute). A TTL is kept from 0 seconds on, and counted from when the answer
/// came; in Kamailio's own cache, which never looks at /etc/hosts.
///
/// They come before a test's own settings, which may say otherwise.
pub const QUICK_DNS: &str = "dns_retr_time=1\ndns_retr_no=1\ndns_servers_no=1\ndns_use_search_list=no\n\
                             dns_try_ipv6=no\ndns_try_naptr=no\nuse_dns_cache=on\ndns_cache_min_ttl=0\n\
                             dns_cache_negative_ttl=0\n";

const SYSTEMS: &CStr = c"/etc/resolv.conf";

/// What is missing when such a child cannot be started.
pub const NEEDS: &str = "kamailio with a resolv.conf of its own: that takes a mount namespace (root, or \
                         CAP_SYS_ADMIN in a container), and /etc/resolv.conf to be a file that can be mounted over";

/// Writes a resolv.conf that names this server only.
pub fn write_resolv_conf(dir: &Path, server: Ipv4Addr) -> PathBuf {
    let file = dir.join("resolv.conf");
    let text = format!("nameserver {server}\noptions timeout:1 attempts:1\n");
    std::fs::write(&file, text).expect("a resolv.conf in the run directory");
    file
}

/// Lets the child see `file` as /etc/resolv.conf. Nobody else does, and it is undone when the child and its own
/// children have ended.
pub fn use_resolv_conf(command: &mut Command, file: &Path) {
    let file = CString::new(file.as_os_str().as_bytes()).expect("a path without a zero byte");
    // SAFETY: between fork and exec only unshare and mount are called, which are plain system calls; what they
    // point at was made before the fork and belongs to the closure, or lives for ever.
    unsafe {
        command.pre_exec(move || {
            done(libc::unshare(libc::CLONE_NEWNS))?;
            // Else a system whose mounts are shared, as systemd has them, would get ours as well.
            let (none, kind) = (std::ptr::null(), std::ptr::null());
            done(libc::mount(none, c"/".as_ptr(), kind, libc::MS_REC | libc::MS_PRIVATE, std::ptr::null()))?;
            done(libc::mount(file.as_ptr(), SYSTEMS.as_ptr(), kind, libc::MS_BIND, std::ptr::null()))
        });
    }
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
