//! A process that is stopped (SIGSTOP) in the middle of a read keeps what it may be reading from being freed, until it goes on.

use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Kamailio, eventually, until};

const DESTINATIONS: usize = 3_000;
const RELOADS: usize = 100;
const SOON: Duration = Duration::from_secs(30);
/// What is given back goes once a second, a part at a time.
const BACK: Duration = Duration::from_secs(60);

/// The worker looks itself up again and again, finds nothing, and so writes nothing: a worker that writes an xavp holds the lock of
/// the host's memory, and keeps every reload waiting.
const READ: &str = r#"
request_route {
	$var(end) = $TV(sn) + 5;
	while ($TV(sn) < $var(end)) { ds_is_from_list("1"); }
	sl_send_reply("200", "OK");
}
"#;

/// Destinations that no other turn has.
fn list(turn: usize) -> String {
    (0..DESTINATIONS).map(|n| format!("1 sip:10.{turn}.{}.{}:5060\n", n / 250 + 1, n % 250 + 1)).collect()
}

/// One process of the server, stopped until this is dropped.
struct Stopped(i64);

impl Stopped {
    /// Stopped in the module's own code, not in that of the script.
    #[track_caller]
    fn inside_the_module(pid: i64) -> Stopped {
        let module = module(pid);
        let inside = || {
            let stopped = Stopped::new(pid);
            module.contains(&next_instruction(pid)).then_some(stopped)
        };
        let end = Instant::now() + SOON;
        std::iter::repeat_with(inside)
            .take_while(|_| Instant::now() < end)
            .flatten()
            .next()
            .expect("stopped in the module")
    }

    #[track_caller]
    fn new(pid: i64) -> Stopped {
        // SAFETY: takes no pointers; the server is our child, and so alive or not yet reaped.
        unsafe { libc::kill(pid as libc::pid_t, libc::SIGSTOP) };
        let stopped = Stopped(pid);
        eventually("it stops", SOON, || stat(pid)[0] == "T");
        stopped
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::kill(self.0 as libc::pid_t, libc::SIGCONT) };
    }
}

/// What the kernel says of a process, from its state on.
fn stat(pid: i64) -> Vec<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit(") ").next().unwrap().split(' ').map(str::to_owned).collect()
}

/// Where the code of the module lies in a process.
fn module(pid: i64) -> Range<u64> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let code = maps
        .lines()
        .find(|map| map.contains(" r-xp ") && map.ends_with("dispatcher.so"))
        .expect("the module's code");
    let (start, end) = code.split_once(' ').unwrap().0.split_once('-').unwrap();
    number(start)..number(end)
}

/// The address of what a stopped process does next.
fn next_instruction(pid: i64) -> u64 {
    let registers = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap();
    number(registers.trim_end().rsplit(" 0x").next().unwrap())
}

fn number(hexadecimal: &str) -> u64 {
    u64::from_str_radix(hexadecimal, 16).unwrap()
}

/// The time that it has run in its own code, in hundredths of a second.
fn ran(pid: i64) -> u64 {
    stat(pid)[11].parse().unwrap()
}

#[track_caller]
fn used(server: &Kamailio) -> i64 {
    server.rpc("core.shmmem", json!([])).unwrap()["real_used"].as_i64().unwrap()
}

#[test]
fn what_reloads_leave_while_a_worker_is_stopped_inside_a_read_is_free_when_it_goes_on() {
    let mut server = Kamailio::builder()
        .workers(1)
        .shm_megabytes(512)
        .list(list(0))
        .globals("max_while_loops=1000000000")
        .route(READ)
        .start();
    let rpc = server.rpc_handle();
    let worker = rpc.processes().into_iter().find(|(_, what)| what.contains("udp receiver")).unwrap().0;
    let mut agent = server.agent();
    let before = used(&server);
    let mut turn = 0;
    // A part of the module's code is outside its reads.
    let (stopped, call, peak) = (0..20)
        .find_map(|_| {
            let mut call = agent.call();
            let idle = ran(worker);
            agent.send(&call.within("MESSAGE"));
            eventually("the worker reads", SOON, || ran(worker) > idle + 5);
            let stopped = Stopped::inside_the_module(worker);
            for _ in 0..RELOADS {
                turn = turn % 250 + 1;
                server.write_list(&list(turn));
                rpc.call("dispatcher.reload", json!([])).unwrap();
            }
            let peak = used(&server);
            println!("{peak} after {before}");
            (peak > 10 * before).then_some((stopped, call, peak))
        })
        .expect("stopped inside a read");
    let goes_on = Instant::now();
    drop(stopped);
    assert_eq!(agent.answer(&call, "MESSAGE").status(), Some(200));
    let mut now = peak;
    let back = until(BACK, || {
        now = used(&server);
        now < before + before / 10
    });
    println!("{before} before, {peak} at the end of the reloads, {now} {:?} later", goes_on.elapsed());
    assert!(back, "{before} before, {peak} at the end of the reloads, {now} now");
    server.assert_healthy();
    assert_eq!(server.rpc("dispatcher.load_audit", json!([0, 1])).unwrap()["DRIFT"], 0);
    server.stop();
}
