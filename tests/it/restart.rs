//! What survives a restart with `ds_state_file`.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::branches::{dialog, fork};
use crate::support::server_config::Builder;
use crate::support::{Gateways, Kamailio, eventually};

const SOON: std::time::Duration = std::time::Duration::from_secs(15);
const CALLS: usize = 1000;

const ROUTE: &str = r#"
request_route {
    if (is_method("ACK")) exit;
    if (is_method("BYE")) { ds_load_update(); sl_send_reply("200", "OK"); exit; }
    if (!ds_select_dst("1", "10")) { sl_send_reply("404", "No destination"); exit; }
    t_relay();
}
onreply_route { if (status =~ "2[0-9][0-9]") ds_load_update(); }
"#;

pub fn builder(list: &str, file: &Path) -> Builder {
    Kamailio::builder().list(list).modparam(&state_file(file)).route(ROUTE)
}

/// What names this state file.
pub fn state_file(file: &Path) -> String {
    format!("modparam(\"dispatcher\", \"ds_state_file\", \"{}\")", file.display())
}

pub fn folder() -> TempDir {
    tempfile::Builder::new().prefix("state-").tempdir().expect("a folder")
}

pub fn flags(server: &Kamailio) -> Vec<String> {
    server.list().into_iter().map(|one| one.flags).collect()
}

pub fn drift(server: &Kamailio) -> i64 {
    server.rpc("dispatcher.load_audit", json!([])).unwrap()["DRIFT"].as_i64().unwrap()
}

#[test]
fn a_thousand_calls_count_again_after_a_restart_and_their_byes_bring_them_to_zero() {
    let (dir, gateways) = (folder(), Gateways::answering(3, 200));
    let file = dir.path().join("state");
    let list = gateways.list(1, "");
    let server = builder(&list, &file).start();
    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..CALLS).map(|_| agent.call()).collect();
    calls.iter_mut().for_each(|call| assert_eq!(agent.place(call).status(), Some(200)));
    let loads =
        |server: &Kamailio| -> Vec<i64> { server.list().iter().map(|one| one.load.unwrap()).collect() };
    let before = loads(&server);
    assert_eq!(before.iter().sum::<i64>(), CALLS as i64);
    server.stop();
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600, "the secret is in it");

    let mut server = builder(&list, &file).start();
    assert_eq!((loads(&server), drift(&server)), (before, 0));
    let agent = server.agent();
    calls.iter_mut().for_each(|call| agent.send(&call.bye()));
    // A datagram may be lost: the second BYE of a call is no error.
    eventually("all have ended", SOON, || {
        calls.iter_mut().for_each(|call| agent.send(&call.bye()));
        server.total_load() == 0
    });
    assert_eq!(drift(&server), 0);
    server.assert_healthy();
    server.stop();
}

#[test]
fn each_dialog_of_a_forked_call_needs_its_bye_after_a_restart_too() {
    let (dir, gateways) = (folder(), Gateways::ringing(1));
    let file = dir.path().join("state");
    let list = gateways.list(1, "");
    let server = builder(&list, &file).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.ring(&mut call);
    let tags = ["ta", "tb", "tc"];
    tags.iter().for_each(|tag| fork(&gateways, 0, &server, &call, tag));
    let mut dialogs = tags.map(|tag| dialog(&mut agent, &call, tag));
    server.stop();

    let mut server = builder(&list, &file).start();
    agent.turn_to(server.address());
    for (left, dialog) in dialogs.iter_mut().enumerate().rev() {
        for _ in 0..2 {
            assert_eq!(agent.hang_up(dialog), 200);
            assert_eq!((server.total_load(), drift(&server)), (i64::from(left > 0), 0));
        }
    }
    server.assert_healthy();
    server.stop();
}

#[test]
fn what_an_operator_disabled_stays_so_after_a_restart_and_after_a_crash() {
    let dir = folder();
    let file = dir.path().join("state");
    let list = "1 sip:127.0.1.1 0 9\n1 sip:127.0.1.2 4 5\n1 sip:127.0.1.3 0 1\n";
    let server = builder(list, &file).start();
    let set = |server: &Kamailio, state: &str, uri: &str| {
        server.rpc("dispatcher.set_state", json!([state, 1, uri])).unwrap();
    };
    set(&server, "d", "sip:127.0.1.1");
    set(&server, "a", "sip:127.0.1.2");
    set(&server, "ip", "sip:127.0.1.3");
    server.stop();
    let server = builder(list, &file).start();
    assert_eq!(flags(&server), ["DX", "AX", "AX"], "what failed is found out anew");
    set(&server, "a", "sip:127.0.1.1");
    set(&server, "d", "sip:127.0.1.3");
    let before = std::fs::metadata(&file).unwrap().modified().unwrap();
    eventually("it is written", SOON, || std::fs::metadata(&file).unwrap().modified().unwrap() > before);
    server.crash();
    let server = builder(list, &file).start();
    assert_eq!(flags(&server), ["AX", "AX", "DX"]);
    server.stop();
    let server = builder(&list.replace("127.0.1.3 0", "127.0.1.3 2"), &file).start();
    assert_eq!(flags(&server), ["AX", "AX", "TX"], "a source that says something new counts");
    server.stop();
}

#[test]
fn calls_of_a_server_that_crashed_are_not_counted_again() {
    let (dir, gateways) = (folder(), Gateways::answering(1, 200));
    let file = dir.path().join("state");
    let list = gateways.list(1, "");
    let server = builder(&list, &file).start();
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(200));
    server.rpc("dispatcher.set_state", json!(["d", 1, "all"])).unwrap();
    eventually("it is written", SOON, || file.exists());
    server.crash();
    let server = builder(&list, &file).start();
    assert_eq!((server.total_load(), flags(&server)), (0, vec!["DX".to_owned()]));
    server.stop();
}

#[test]
fn damaged_file_is_told_and_kept_and_the_server_starts_without_it() {
    let dir = folder();
    let file = dir.path().join("state");
    let list = "1 sip:127.0.1.1\n";
    let server = builder(list, &file).start();
    server.rpc("dispatcher.set_state", json!(["d", 1, "all"])).unwrap();
    server.stop();
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    let server = builder(list, &file).start();
    assert_eq!(flags(&server), ["AX"]);
    let told =
        format!("it ends at byte {}, in the middle; nothing is restored, it is kept as", whole.len() / 2);
    assert_eq!(server.log_lines(&told).len(), 1, "{}", server.log());
    assert_eq!(std::fs::read(dir.path().join("state.damaged")).unwrap(), whole[..whole.len() / 2]);
    server.stop();
    assert!(std::fs::read(&file).unwrap().len() >= whole.len(), "a new one is written");
}

#[test]
fn file_that_cannot_be_written_is_told_once_and_the_old_one_stays() {
    let dir = folder();
    // A file system of some kilobytes that is full.
    let small = dir.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Mount::tmpfs(&small, "64k");
    let file = small.join("state");
    let list = "1 sip:127.0.1.1 0 9\n1 sip:127.0.1.2 0 1\n";
    let server = builder(list, &file).start();
    let set = |uri: &str| server.rpc("dispatcher.set_state", json!(["d", 1, uri])).unwrap();
    set("sip:127.0.1.1");
    eventually("it is written", SOON, || file.exists());
    let whole = std::fs::read(&file).unwrap();
    let filler = small.join("filler");
    let _ = std::fs::write(&filler, vec![0; 1 << 20]);
    set("sip:127.0.1.2");
    let fails = || server.log_lines("No space left on device (os error 28); it is as it was before");
    eventually("it fails", SOON, || !fails().is_empty());
    assert_eq!(std::fs::read(&file).unwrap(), whole);
    std::fs::remove_file(&filler).unwrap();
    eventually("it is written again", SOON, || std::fs::read(&file).unwrap() != whole);
    assert_eq!(fails().len(), 1, "told when it begins");
    server.stop();
    drop(mounted);
}

/// A small file system, for as long as it is kept. Needs root.
pub struct Mount(std::ffi::CString);

impl Mount {
    #[track_caller]
    fn tmpfs(at: &Path, size: &str) -> Mount {
        Mount::with_flags(at, size, 0)
    }

    /// One that nobody can write to.
    #[track_caller]
    pub fn read_only(at: &Path) -> Mount {
        Mount::with_flags(at, "64k", libc::MS_RDONLY)
    }

    #[track_caller]
    fn with_flags(at: &Path, size: &str, flags: libc::c_ulong) -> Mount {
        let text = |text: &str| std::ffi::CString::new(text).unwrap();
        let (kind, path, options) =
            (text("tmpfs"), text(at.to_str().unwrap()), text(&format!("size={size}")));
        // SAFETY: texts with an end, for the time of the call.
        let done = unsafe {
            libc::mount(kind.as_ptr(), path.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast())
        };
        assert_eq!(done, 0, "a tmpfs needs root: {}", std::io::Error::last_os_error());
        Mount(path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // SAFETY: our own mount; lazily, for a server may still have a file of it open.
        unsafe { libc::umount2(self.0.as_ptr(), libc::MNT_DETACH) };
    }
}
