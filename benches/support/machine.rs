//! What was measured on: the machine, the server, the time, the source.

use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use crate::servers::host;

/// What a command prints; nothing where there is no such command.
fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// The server's release, such as 5.6.3.
pub fn release() -> &'static str {
    static RELEASE: OnceLock<String> = OnceLock::new();
    RELEASE.get_or_init(|| {
        // "kamailio 5.6.3 (x86_64/linux)"
        host::version().split_whitespace().nth(1).unwrap_or("?").to_owned()
    })
}

/// Processor, cores, memory, kernel, and how busy it was.
pub fn machine() -> String {
    let line = |file: &str, name: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let found = text.lines().find(|line| line.starts_with(name)).and_then(|line| line.split_once(':'));
        found.map_or_else(|| "?".into(), |(_, value)| value.trim().to_owned())
    };
    let kilobytes = line("/proc/meminfo", "MemTotal");
    let gigabytes = kilobytes.trim_end_matches(" kB").parse::<f64>().unwrap_or(f64::NAN) / f64::from(1 << 20);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "{}, {} cores, {gigabytes:.0} GB, Linux {}; load average at the start {}",
        line("/proc/cpuinfo", "model name"),
        cores(),
        said("uname", &["-r"]).split('-').next().unwrap_or_default(),
        load.split(' ').next().unwrap_or("?")
    )
}

pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The time in UTC.
pub fn now() -> String {
    said("date", &["-u", "+%Y-%m-%d %H:%M UTC"])
}

/// The commit that is measured.
pub fn commit() -> String {
    said("git", &["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--dirty"])
}
