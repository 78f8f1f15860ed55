//! A child process that does not outlive its guard, nor the thread that started it.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus};
use std::time::Duration;

use super::wait::until;

pub struct ChildGuard {
    child: Child,
    status: Option<ExitStatus>,
}

impl ChildGuard {
    /// Starts `command` as the leader of a process group of its own.
    pub fn spawn(command: &mut Command) -> io::Result<ChildGuard> {
        command.process_group(0);
        // A test run that is killed runs no destructors; its own group would keep the child from the terminal's
        // Ctrl-C as well.
        // SAFETY: between fork and exec only prctl is called, which is a plain system call.
        unsafe {
            command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) {
                0 => Ok(()),
                _ => Err(io::Error::last_os_error()),
            });
        }
        Ok(ChildGuard { child: command.spawn()?, status: None })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Its input and its output, where it was started with both as pipes. Once.
    pub fn pipes(&mut self) -> (ChildStdin, ChildStdout) {
        (self.child.stdin.take().expect("its input"), self.child.stdout.take().expect("its output"))
    }

    /// The exit status, if it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = self.child.try_wait().ok().flatten();
        }
        self.status
    }

    pub fn signal(&mut self, signal: i32) {
        if self.ended().is_none() {
            // SAFETY: kill takes no pointers; the child is not reaped yet, so the id is still its own.
            unsafe { libc::kill(self.child.id() as libc::pid_t, signal) };
        }
    }

    pub fn wait(&mut self, deadline: Duration) -> Option<ExitStatus> {
        until(deadline, || self.ended().is_some());
        self.status
    }

    /// Ends the child with its whole group, at once.
    pub fn kill(&mut self) {
        if self.ended().is_none() {
            // SAFETY: as in `signal`; the group is the child's, made in `spawn`.
            unsafe { libc::kill(-(self.child.id() as libc::pid_t), libc::SIGKILL) };
            self.status = self.child.wait().ok();
        }
    }
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.kill();
    }
}
