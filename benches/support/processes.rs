//! The processes of a server: the processor time they take, and on which core they run.

use crate::servers::Kamailio;
use std::fs;

/// Those that do the server's work: all but the one that answers our questions.
pub fn working(server: &Kamailio) -> Vec<i64> {
    let all = server.rpc_handle().processes();
    all.into_iter().filter(|(_, what)| !what.contains("JSONRPCS")).map(|(pid, _)| pid).collect()
}

/// Those that read SIP from the socket.
pub fn workers(server: &Kamailio) -> Vec<i64> {
    let all = server.rpc_handle().processes();
    all.into_iter().filter(|(_, what)| what.contains("udp receiver")).map(|(pid, _)| pid).collect()
}

/// Nanoseconds of processor time that these have taken so far.
pub fn processor_time(processes: &[i64]) -> f64 {
    processes.iter().map(|pid| time_of(*pid)).sum()
}

fn time_of(pid: i64) -> f64 {
    let first = |text: String| text.split(' ').next().and_then(|word| word.parse::<f64>().ok());
    let exact = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok().and_then(first);
    exact.unwrap_or_else(|| ticks_of(pid))
}

/// Where the kernel counts no nanoseconds: ticks of a hundredth of a second.
fn ticks_of(pid: i64) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit(") ").next().unwrap_or_default().split(' ');
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() * 1e7
}

/// Keeps a process on one core.
pub fn pin(pid: i64, core: usize) {
    // SAFETY: a set of cores is plain bits, zero is one without any; the pointer is to that set and its size is told. A process
    // that is gone, or a core that there is not, is refused and changes nothing.
    unsafe {
        let mut cores: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(core, &mut cores);
        libc::sched_setaffinity(pid as libc::pid_t, size_of::<libc::cpu_set_t>(), &cores);
    }
}
