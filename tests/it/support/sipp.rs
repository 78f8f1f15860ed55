//! SIPp with a scenario file, as a caller or as a gateway.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::child::ChildGuard;
use super::net;
use super::wait::until;

static NEXT: AtomicU32 = AtomicU32::new(1);

const BIND: Duration = Duration::from_secs(10);

/// One SIPp, ended by its guard.
pub struct Sipp {
    child: ChildGuard,
    name: String,
    local: SocketAddr,
    errors: PathBuf,
    screen: PathBuf,
    log: PathBuf,
}

/// What may be said about a run; SIPp's own defaults otherwise.
pub struct Run<'a> {
    scenario: &'a Path,
    dir: &'a Path,
    local: SocketAddr,
    arguments: Vec<String>,
}

impl<'a> Run<'a> {
    /// `dir` gets the logs. The address is new unless [`Run::at`] says which.
    pub fn new(scenario: &'a Path, dir: &'a Path) -> Run<'a> {
        Run { scenario, dir, local: net::free_port(net::address()), arguments: Vec::new() }
    }

    pub fn at(mut self, local: SocketAddr) -> Run<'a> {
        self.local = local;
        self
    }

    /// A caller: to `server`, `user` in the request URI, `calls` in all, `rate` a second, at most `limit` at once.
    pub fn caller(self, server: SocketAddr, user: &str, calls: u32, rate: u32, limit: u32) -> Run<'a> {
        let (calls, rate, limit) = (calls.to_string(), rate.to_string(), limit.to_string());
        self.arg(&server.to_string())
            .arg("-s")
            .arg(user)
            .arg("-m")
            .arg(&calls)
            .arg("-r")
            .arg(&rate)
            .arg("-l")
            .arg(&limit)
    }

    /// Any other argument of SIPp.
    pub fn arg(mut self, argument: &str) -> Run<'a> {
        self.arguments.push(argument.into());
        self
    }

    /// `[name]` in the scenario.
    pub fn key(self, name: &str, value: &str) -> Run<'a> {
        self.arg("-key").arg(name).arg(value)
    }

    #[track_caller]
    pub fn start(self) -> Sipp {
        let stem = self.scenario.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = format!("{stem}.{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let path = |what: &str| self.dir.join(format!("{name}.{what}"));
        let (errors, screen, log) = (path("errors"), path("screen"), path("log"));
        let (ip, port) = (self.local.ip().to_string(), self.local.port().to_string());
        let output = File::create(&screen).expect("a file in the run directory");
        let mut command = Command::new("sipp");
        command.arg("-sf").arg(self.scenario).args(&self.arguments).args(["-nostdin", "-t", "u1"]);
        // Its control and media ports are fixed numbers: on an address of its own they meet nobody.
        command.args(["-i", &ip, "-p", &port, "-ci", &ip, "-mi", &ip]);
        command.arg("-trace_err").arg("-error_file").arg(&errors);
        command.arg("-trace_logs").arg("-log_file").arg(&log);
        command.current_dir(self.dir).stdin(std::process::Stdio::null());
        command.stdout(output.try_clone().expect("a second handle")).stderr(output);
        let child = ChildGuard::spawn(&mut command).expect("sipp is installed (package sip-tester)");
        let mut sipp = Sipp { child, name, local: self.local, errors, screen, log };
        let bound = until(BIND, || net::is_bound(self.local) || sipp.ended().is_some());
        assert!(bound, "sipp has no socket: {}", sipp.complaints());
        sipp
    }
}

impl Sipp {
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Lines that `<log>` actions of the scenario have written so far.
    pub fn log_lines(&self) -> Vec<String> {
        read(&self.log).lines().map(str::to_owned).collect()
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.ended()
    }

    /// No new calls; it ends when those that are up have ended.
    pub fn no_more_calls(&mut self) {
        self.child.signal(libc::SIGUSR1);
    }

    /// At once, as a machine that loses power.
    pub fn kill(&mut self) {
        self.child.kill();
    }

    /// What it complained about, and the end of its screen.
    pub fn complaints(&self) -> String {
        let screen = read(&self.screen);
        let lines: Vec<&str> = screen.lines().collect();
        let tail = lines.get(lines.len().saturating_sub(50)..).unwrap_or_default().join("\n");
        let mut errors = read(&self.errors);
        errors.truncate(errors.char_indices().nth(6000).map_or(errors.len(), |(at, _)| at));
        format!("{}\n{errors}\n{tail}", self.name)
    }

    /// Waits until its calls are over. SIPp says 0 when each went as the scenario has it, 99 when there was none.
    pub fn wait(&mut self, deadline: Duration) -> Result<(), String> {
        match self.child.wait(deadline).map(|status| status.code()) {
            Some(Some(0)) => Ok(()),
            ended => Err(format!("sipp {ended:?} after {deadline:?}: {}", self.complaints())),
        }
    }

    /// As [`Sipp::wait`], and fails the test.
    #[track_caller]
    pub fn finish(mut self, deadline: Duration) {
        let began = Instant::now();
        if let Err(e) = self.wait(deadline) {
            panic!("after {:?}: {e}", began.elapsed());
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}
