//! A Kamailio in a run directory of its own, ended and cleaned up by its guard.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::agent::Agent;
use super::child::ChildGuard;
use super::host::kamailio;
use super::over::Over;
use super::resolver;
use super::rpc::{Destination, Rpc, RpcError};
use super::server_config::{Builder, Config};

const START: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(10);
const STOP: Duration = Duration::from_secs(15);

/// What a healthy log never says.
const ALARMS: &[&str] = &["exited by a signal", "CRITICAL:", "BUG:"];

/// Except that the main process of TCP calls it critical when the others have ended before it, and that some servers count how
/// long TCP takes in an end that they call critical.
const NO_ALARM: &[&str] = &["receive_fd(): EOF", "tcp_timer_check_connections(): message processing timeout"];

pub struct Kamailio {
    child: ChildGuard,
    address: SocketAddr,
    over: Over,
    rpc: Rpc,
    run_dir: TempDir,
}

impl Kamailio {
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(super) fn start(config: &Config, run_dir: TempDir) -> Kamailio {
        let dir = run_dir.path();
        let log = File::create(dir.join("log")).expect("a log file in the run directory");
        let mut command = kamailio(&config.file);
        command.args(["-DD", "-E", "-m", &config.shm_megabytes.to_string()]);
        command.args(["-M", &config.pkg_megabytes.to_string()]);
        command.args(["-x", config.allocator]).arg("-Y").arg(dir).arg("-w").arg(dir);
        for define in &config.defines {
            command.args(["-A", define]);
        }
        command.stdout(log.try_clone().expect("a second handle")).stderr(log);
        let mut needs = "kamailio is installed";
        if let Some(file) = &config.resolv_conf {
            resolver::use_resolv_conf(&mut command, file);
            needs = resolver::NEEDS;
        }
        let child = ChildGuard::spawn(&mut command).unwrap_or_else(|e| panic!("{needs}: {e}"));
        let rpc = Rpc::new(dir, config.rpc_udp);
        let mut server = Kamailio { child, address: config.address, over: Over::now(), rpc, run_dir };
        server.wait_ready();
        server
    }

    /// Ready is: a worker answers SIP, and every process has come up. A process that has not run yet when the
    /// server is ended misses its SIGTERM (the handler takes it for the main process), and the server waits for
    /// it for a minute.
    fn wait_ready(&mut self) {
        let end = Instant::now() + START;
        let mut probe = Agent::bind(self.address);
        let (mut all_up, mut sip) = (false, false);
        while !(all_up && sip) {
            let ended = self.child.ended();
            assert!(
                ended.is_none() && Instant::now() < end,
                "kamailio not ready (ended: {ended:?}, every process up: {all_up}, sip: {sip}):\n{}",
                self.log()
            );
            let wait = Duration::from_millis(50);
            sip = sip || probe.options_answered(wait);
            all_up = all_up || self.processes_announced().is_some_and(|count| self.rpc.all_up(count, wait));
            if sip && !all_up {
                std::thread::sleep(STEP);
            }
        }
    }

    /// How many processes the server says it will have, at least.
    fn processes_announced(&self) -> Option<usize> {
        let log = self.log();
        let (_, count) = log.split_once("processes (at least): ")?;
        count.split(' ').next()?.parse().ok()
    }

    /// Where it listens for SIP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub fn run_dir(&self) -> &Path {
        self.run_dir.path()
    }

    pub fn list_file(&self) -> PathBuf {
        self.run_dir().join("dispatcher.list")
    }

    /// Replaces the list file; a reload is the caller's business.
    pub fn write_list(&self, list: &str) {
        std::fs::write(self.list_file(), list).expect("the list file can be written");
    }

    /// An agent on an address of its own that sends to this server, or on a connection of its own where the test goes over TCP.
    pub fn agent(&self) -> Agent {
        match self.over {
            Over::Udp => Agent::bind(self.address),
            _ => Agent::connect(self.address),
        }
    }

    /// An agent on a connection of its own to this server.
    pub fn tcp_agent(&self) -> Agent {
        Agent::connect(self.address)
    }

    /// A handle for other threads.
    pub fn rpc_handle(&self) -> Rpc {
        self.rpc.clone()
    }

    pub fn rpc(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.rpc.call(method, params)
    }

    #[track_caller]
    pub fn list(&self) -> Vec<Destination> {
        self.rpc.list().unwrap_or_else(|e| panic!("dispatcher.list: {e:?}"))
    }

    #[track_caller]
    pub fn load_of(&self, duid: &str) -> i64 {
        self.rpc.load_of(duid)
    }

    #[track_caller]
    pub fn total_load(&self) -> i64 {
        self.rpc.total_load()
    }

    #[track_caller]
    pub fn shm_used(&self) -> i64 {
        self.rpc.shm_used()
    }

    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.run_dir().join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub fn log_lines(&self, pattern: &str) -> Vec<String> {
        self.log().lines().filter(|line| line.contains(pattern)).map(str::to_owned).collect()
    }

    /// Whether any process has died or raised an alarm so far.
    #[track_caller]
    pub fn assert_healthy(&mut self) {
        let ended = self.child.ended();
        assert!(ended.is_none(), "kamailio has ended, {ended:?}:\n{}", self.log());
        assert_no_alarm(&self.log());
    }

    /// Ends the server and asserts that it ended well; gives its whole log.
    #[track_caller]
    pub fn stop(mut self) -> String {
        let status = self.end();
        if status.is_none() && self.hangs_by_itself() {
            let log = self.log();
            println!("kamailio hung while it took its own modules down");
            assert_no_alarm(&log);
            return log;
        }
        self.ended_well(status)
    }

    /// Whether only its first process is left, in which this module has nothing to do: without `ds_state_file` it has no function for
    /// the end. There `tm` may wait for ever for the lock of the timers, with which a worker has ended.
    fn hangs_by_itself(&self) -> bool {
        let pid = self.pid();
        let arguments = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let file = arguments.split('\0').skip_while(|argument| *argument != "-f").nth(1);
        let config = std::fs::read_to_string(file.unwrap_or_default());
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let (Ok(config), Ok(children)) = (config, children) else { return false };
        let is_gone = |child: &str| {
            let stat = std::fs::read_to_string(format!("/proc/{child}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.trim_start().starts_with('Z'))
        };
        !config.contains("ds_state_file") && children.split_whitespace().all(is_gone)
    }

    /// Ends the server as a supervisor does, which kills what does not end in time. Says whether it ended by itself. Under traffic
    /// Kamailio may not: `tm` waits for the lock of the timers, and a worker may have ended with it. That is after the module has
    /// said that it is done.
    #[track_caller]
    pub fn stop_or_kill(mut self, done: &str) -> bool {
        let status = self.end();
        if status.is_some() {
            self.ended_well(status);
            return true;
        }
        assert!(!self.log_lines(done).is_empty(), "no '{done}' before it hung:\n{}", self.log());
        self.crash();
        false
    }

    fn end(&mut self) -> Option<ExitStatus> {
        self.assert_healthy();
        self.terminate();
        self.child.wait(STOP)
    }

    #[track_caller]
    fn ended_well(&self, status: Option<ExitStatus>) -> String {
        let log = self.log();
        assert_eq!(status.and_then(|s| s.code()), Some(0), "kamailio ended with {status:?}:\n{log}");
        assert_no_alarm(&log);
        log
    }
}

#[track_caller]
fn assert_no_alarm(log: &str) {
    let alarm = |line: &&str| {
        ALARMS.iter().any(|alarm| line.contains(alarm)) && !NO_ALARM.iter().any(|word| line.contains(word))
    };
    let found = log.lines().find(alarm);
    assert!(found.is_none(), "the log says {found:?}:\n{log}");
}

impl Kamailio {
    /// Waits until it has ended without being asked.
    #[track_caller]
    pub fn stop_by_itself(mut self) {
        assert!(self.child.wait(STOP).is_some(), "it goes on:\n{}", self.log());
    }

    /// Asks it to end, and waits for nothing.
    pub fn terminate(&mut self) {
        self.child.signal(libc::SIGTERM);
    }

    /// Ends it with all its processes at once, as a loss of power does.
    pub fn crash(mut self) {
        self.child.kill();
    }
}

impl Drop for Kamailio {
    fn drop(&mut self) {
        self.child.signal(libc::SIGTERM);
        self.child.wait(STOP);
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<_> = log.lines().collect();
            let tail = lines.get(lines.len().saturating_sub(60)..).unwrap_or_default();
            eprintln!("---- the end of kamailio's log\n{}\n----", tail.join("\n"));
        }
    }
}
