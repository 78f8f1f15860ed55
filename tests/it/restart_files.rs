//! The state file in a folder where other users write too, and when the server dies at a bad moment.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use dispatcher::load::key::checksum;
use serde_json::json;

use crate::restart::{Mount, builder, drift, flags, folder};
use crate::support::{Call, Gateways, Kamailio, eventually, host};

const SOON: Duration = Duration::from_secs(15);
const LIST: &str = "1 sip:127.0.1.1 0 9\n1 sip:127.0.1.2 0 1\n";

fn disable(server: &Kamailio, uri: &str) {
    server.rpc("dispatcher.set_state", json!(["d", 1, uri])).unwrap();
}

fn mode(file: &Path) -> u32 {
    std::fs::symlink_metadata(file).unwrap().permissions().mode() & 0o777
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn place(server: &Kamailio, count: usize) -> Vec<Call> {
    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..count).map(|_| agent.call()).collect();
    calls.iter_mut().for_each(|call| assert_eq!(agent.place(call).status(), Some(200)));
    calls
}

fn count(server: &Kamailio, name: &str) -> i64 {
    server.rpc("dispatcher.load_audit", json!([0, 1])).unwrap()[name].as_i64().unwrap()
}

/// Ends calls that another server began; its own agent cannot, for it sends to where that one listened.
#[track_caller]
fn end_all(server: &Kamailio, calls: &mut [Call]) {
    let (agent, left) = (server.agent(), count(server, "CALLS") - calls.len() as i64);
    assert!(left >= 0, "{left}");
    // A datagram may be lost: the second BYE of a call is no error.
    eventually("all have ended", SOON, || {
        calls.iter_mut().for_each(|call| agent.send(&call.bye()));
        count(server, "CALLS") == left
    });
}

#[test]
fn links_that_others_planted_are_not_followed() {
    let dir = folder();
    let (file, secret) = (dir.path().join("state"), dir.path().join("precious"));
    for planted in ["state.new", "state.tmp", "state.damaged"] {
        symlink(&secret, dir.path().join(planted)).unwrap();
    }
    std::fs::write(&secret, "precious").unwrap();
    let server = builder(LIST, &file).start();
    disable(&server, "sip:127.0.1.1");
    eventually("it is written", SOON, || file.exists());
    server.stop();
    // The file itself is a link: it is not read, and its place is taken by a file.
    std::fs::rename(&file, dir.path().join("elsewhere")).unwrap();
    symlink(dir.path().join("elsewhere"), &file).unwrap();
    let before = std::fs::read(dir.path().join("elsewhere")).unwrap();
    let server = builder(LIST, &file).start();
    assert_eq!(
        server.log_lines("it is a symbolic link, which is not followed; nothing is restored").len(),
        1
    );
    assert_eq!(flags(&server), ["AX", "AX"]);
    server.stop();
    assert!(std::fs::symlink_metadata(&file).unwrap().is_file());
    assert_eq!(std::fs::read(dir.path().join("elsewhere")).unwrap(), before);
    assert_eq!(std::fs::read(&secret).unwrap(), b"precious");
    assert_eq!(
        names(dir.path()),
        ["elsewhere", "precious", "state", "state.damaged", "state.new", "state.tmp"],
        "nothing is left behind"
    );
}

#[test]
fn file_that_others_may_read_is_told_and_replaced_at_start() {
    let dir = folder();
    let file = dir.path().join("state");
    let server = builder(LIST, &file).start();
    disable(&server, "sip:127.0.1.1");
    server.stop();
    std::fs::set_permissions(&file, PermissionsExt::from_mode(0o666)).unwrap();
    let server = builder(LIST, &file).start();
    assert_eq!(mode(&file), 0o600);
    assert_eq!(server.log_lines("others may open it (mode 666)").len(), 1, "{}", server.log());
    assert_eq!(flags(&server), ["DX", "AX"]);
    server.stop();
    assert_eq!(mode(&file), 0o600);
}

#[test]
fn servers_whose_files_have_like_names_keep_their_own() {
    let dir = folder();
    let files = ["a.1", "a.2", "a.new", "a.tmp"].map(|name| dir.path().join(name));
    let other = "1 sip:127.0.1.1 0 9\n1 sip:127.0.1.2 0 8\n1 sip:127.0.1.3 0 7\n1 sip:127.0.1.4 0 6\n";
    let start = || files.each_ref().map(|file| builder(other, file).start());
    let servers = start();
    // All at the same time, again and again.
    for (state, rounds) in [("d", 5), ("a", 5)] {
        for _ in 0..rounds {
            for (at, server) in servers.iter().enumerate() {
                let uri = format!("sip:127.0.1.{}", at + 1);
                server.rpc("dispatcher.set_state", json!([state, 1, uri])).unwrap();
            }
        }
    }
    for (at, server) in servers.iter().enumerate() {
        disable(server, &format!("sip:127.0.1.{}", at + 1));
    }
    servers.into_iter().for_each(|server| drop(server.stop()));
    assert_eq!(names(dir.path()), ["a.1", "a.2", "a.new", "a.tmp"]);
    for (at, server) in start().into_iter().enumerate() {
        let disabled: Vec<_> = flags(&server).iter().map(|flags| flags == "DX").collect();
        assert_eq!(disabled, [0, 1, 2, 3].map(|own| own == at), "{:?}", files[at]);
        server.stop();
    }
}

/// The process that keeps the file ends while it writes it.
#[test]
fn a_stop_in_the_middle_of_a_write_leaves_no_other_file() {
    for _ in 0..10 {
        let dir = folder();
        let server = builder(LIST, &dir.path().join("state")).start();
        let processes = server.rpc_handle().processes();
        let (writer, _) = processes.iter().find(|(_, name)| name == "Dispatcher names").unwrap();
        disable(&server, "sip:127.0.1.1");
        while names(dir.path()).is_empty() {}
        // SAFETY: kill takes no pointers.
        unsafe { libc::kill(*writer as libc::pid_t, libc::SIGTERM) };
        server.stop_by_itself();
        assert_eq!(names(dir.path()), ["state"]);
    }
}

#[test]
fn folder_that_cannot_be_written_is_told_at_start() {
    let dir = folder();
    let read_only = dir.path().join("read-only");
    std::fs::create_dir(&read_only).unwrap();
    let mounted = Mount::read_only(&read_only);
    for (folder, why) in
        [(read_only.clone(), "Read-only file system"), (dir.path().join("none"), "No such file")]
    {
        let file = folder.join("state");
        let server = builder(LIST, &file).start();
        let told = server.log_lines(&format!("ds_state_file {}: {why}", file.display()));
        assert_eq!(told.len(), 1, "{}", server.log());
        assert!(told[0].contains("nothing will outlive a restart"), "{told:?}");
        server.stop();
    }
    drop(mounted);
}

#[test]
fn calls_that_ended_do_not_come_back_when_the_server_crashes_after_a_restart() {
    let (dir, gateways) = (folder(), Gateways::answering(1, 200));
    let file = dir.path().join("state");
    let list = gateways.list(1, "");
    let server = builder(&list, &file).start();
    let mut calls = place(&server, 50);
    server.stop();
    let server = builder(&list, &file).start();
    assert_eq!(server.total_load(), 50);
    end_all(&server, &mut calls);
    server.crash();
    let server = builder(&list, &file).start();
    assert_eq!((server.total_load(), drift(&server)), (0, 0));
    server.stop();
}

#[test]
fn time_that_the_server_was_down_counts_for_the_age_of_its_calls() {
    let (dir, gateways) = (folder(), Gateways::answering(1, 200));
    let file = dir.path().join("state");
    let list = gateways.list(1, "");
    let server = builder(&list, &file).start();
    let mut calls = place(&server, 5);
    server.stop();
    let whole = std::fs::read(&file).unwrap();
    let checked =
        || builder(&list, &file).modparam("modparam(\"dispatcher\", \"ds_hash_check_interval\", 1)");
    // As if it had been stopped two hours and a second ago: `ds_hash_expire` is two hours.
    let wall = b"kamailio dispatcher state 2\n".len() + 1 + 192;
    let mut long_ago = whole.clone();
    let then = u64::from_le_bytes(whole[wall..wall + 8].try_into().unwrap()) - 7_201_000;
    long_ago[wall..wall + 8].copy_from_slice(&then.to_le_bytes());
    let end = whole.len() - 8;
    let sum = checksum(&long_ago[..end]);
    long_ago[end..].copy_from_slice(&sum.to_le_bytes());
    std::fs::write(&file, long_ago).unwrap();
    let server = checked().start();
    eventually("they expire", SOON, || count(&server, "EXPIRED") == 5);
    assert_eq!(server.total_load(), 0);
    server.crash();
    // As it was, they go on.
    std::fs::write(&file, whole).unwrap();
    let server = checked().start();
    assert_eq!(server.total_load(), 5);
    end_all(&server, &mut calls);
    assert_eq!(count(&server, "EXPIRED"), 0);
    server.stop();
}

/// A server that stops frees its transactions after the call table is written.
#[test]
fn ringing_calls_outlive_a_stop_wherever_tm_is_loaded() {
    for tm_after in [false, true] {
        let (dir, gateways) = (folder(), Gateways::ringing(1));
        let (file, list) = (dir.path().join("state"), gateways.list(1, ""));
        let start = || {
            let builder = builder(&list, &file);
            if tm_after { builder.tm_after().start() } else { builder.start() }
        };
        let server = start();
        let mut agent = server.agent();
        for _ in 0..20 {
            let mut call = agent.call();
            agent.send(&call.invite());
            assert_eq!(agent.reply_to(&call, "INVITE", 180..=699).status(), Some(180));
        }
        assert_eq!(server.total_load(), 20);
        server.stop();
        let server = start();
        assert_eq!((server.total_load(), drift(&server)), (20, 0), "tm after the module: {tm_after}");
        server.stop();
    }
}

/// The server waits a minute for each process, and kills itself with the last ones; a supervisor may do so before.
#[test]
fn calls_outlive_a_stop_in_which_a_worker_never_ends() {
    let (dir, gateways) = (folder(), Gateways::answering(1, 200));
    let (file, list) = (dir.path().join("state"), gateways.list(1, ""));
    let mut server = builder(&list, &file).workers(2).start();
    let mut calls = place(&server, 20);
    let worker = *children(server.pid()).first().unwrap();
    // SAFETY: kill takes no pointers.
    unsafe { libc::kill(worker, libc::SIGSTOP) };
    // The first process forgets a signal that comes while it looks at another: here at that one of its children was stopped.
    eventually("all others have ended", SOON, || {
        server.terminate();
        children(server.pid()) == [worker]
    });
    server.crash();
    let server = builder(&list, &file).start();
    assert_eq!((server.total_load(), drift(&server)), (20, 0));
    end_all(&server, &mut calls);
    server.stop();
}

fn children(process: u32) -> Vec<libc::pid_t> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    children.split_whitespace().map(|child| child.parse().unwrap()).collect()
}

/// The module `tm` may wait for ever for a lock with which a worker has ended; here Lua does not come to its end, each time.
#[test]
fn calls_outlive_a_stop_in_which_another_module_never_ends() {
    const TRAP: &str = r#"
local function spring() io.stderr:write("trapped\n") while true do end end
if newproxy then trap = newproxy(true) getmetatable(trap).__gc = spring
else trap = setmetatable({}, { __gc = spring }) end
"#;
    if host::lacks(&["app_lua"]) {
        return;
    }
    let (dir, gateways) = (folder(), Gateways::answering(1, 200));
    let (file, list) = (dir.path().join("state"), gateways.list(1, ""));
    let start = || {
        let builder = builder(&list, &file).tm_after().module("app_lua").with_file("trap.lua", TRAP);
        builder.modparam("modparam(\"app_lua\", \"load\", \"RUN_DIR/trap.lua\")").start()
    };
    let mut server = start();
    let mut calls = place(&server, 20);
    server.terminate();
    eventually("it hangs", SOON, || server.log().contains("trapped"));
    server.crash();
    let server = builder(&list, &file).start();
    assert_eq!((server.total_load(), drift(&server)), (20, 0));
    end_all(&server, &mut calls);
    server.stop();
}

/// Is true from when this is dropped.
struct Raised<'a>(&'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Ends a server this often in the middle of calls that come and go, and starts it again; the calls that were up before are
/// there each time.
fn stops_under_traffic_keep_all_calls(destinations: usize, rounds: usize) {
    const STABLE: usize = 300;
    let dir = folder();
    let file = dir.path().join("state");
    let gateways = Gateways::answering(4, 200);
    let written = gateways.list(1, "");
    let hosts: Vec<_> =
        written.lines().map(|line| line.split_once("sip:").unwrap().1.split(' ').next().unwrap()).collect();
    let list: String =
        (0..destinations).map(|n| format!("1 sip:u{n}@{}\n", hosts[n % hosts.len()])).collect();
    let start = || builder(&list, &file).workers(8).start();
    let mut server = start();
    let mut agent = server.agent();
    let mut stable: Vec<Call> = (0..STABLE).map(|_| agent.call()).collect();
    for call in &mut stable {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    let mut hung = 0;
    for round in 0..rounds {
        let (stop, ended) = (AtomicBool::new(false), AtomicU32::new(0));
        std::thread::scope(|scope| {
            // However this ends: a failure must not wait for traffic that goes on for ever.
            let _over = Raised(&stop);
            for _ in 0..4 {
                let mut agent = server.agent();
                let (stop, ended) = (&stop, &ended);
                scope.spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let mut calls: Vec<_> = (0..20).map(|_| agent.call()).collect();
                        calls.iter_mut().for_each(|call| agent.send(&call.invite()));
                        while agent.receive(Duration::from_millis(1)).is_some() {}
                        calls.iter_mut().for_each(|call| agent.send(&call.bye()));
                        ended.fetch_add(20, Ordering::Relaxed);
                    }
                });
            }
            eventually("there is traffic", SOON, || ended.load(Ordering::Relaxed) > 200 + 10 * round as u32);
            if !server.stop_or_kill("states and calls are written") {
                hung += 1;
                eprintln!("stop {round}: the server hung when all was written, and was killed");
            }
        });
        server = start();
        let restored = server.log_lines("restored: ");
        let number = |line: &String| line.split(" operators, ").nth(1)?.split(' ').next()?.parse().ok();
        let restored: usize = restored.iter().find_map(number).unwrap_or(0);
        assert!(restored >= STABLE, "{restored} calls after stop {round}");
        assert_eq!(count(&server, "DRIFT"), 0);
    }
    // About one of a hundred does.
    assert!(hung <= 2 + rounds / 10, "{hung} of {rounds} stops hung");
    // All of the first ones are known still.
    end_all(&server, &mut stable);
    server.stop();
}

#[test]
fn stops_under_traffic_keep_all_calls_at_twenty_destinations() {
    stops_under_traffic_keep_all_calls(20, rounds(5));
}

#[test]
fn stops_under_traffic_keep_all_calls_at_ten_thousand_destinations() {
    stops_under_traffic_keep_all_calls(10_000, rounds(3));
}

/// As many as STOPS says, to look more closely.
fn rounds(usual: usize) -> usize {
    std::env::var("STOPS").ok().and_then(|stops| stops.parse().ok()).unwrap_or(usual)
}
