//! The server that the module was built for: its program, its tools and its modules. `KAMAILIO=`, `KAMAILIO_SRC=` and
//! `KAMAILIO_MODULES=` choose it when anything is built.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The server's program with this configuration. Modules come from its own folder, wherever that is. A configuration that names the
/// folder is left alone: what the command line says takes the place of all that its `mpath` says.
#[track_caller]
pub fn kamailio(config: &Path) -> Command {
    let mut command = Command::new(env!("KAMAILIO_PROGRAM"));
    let text = std::fs::read_to_string(config).expect("the configuration can be read");
    if !text.lines().any(|line| line.starts_with("mpath=") && line.contains(folder())) {
        command.args(["-L", folder()]);
    }
    command.arg("-f").arg(config);
    command
}

/// It checks a configuration to its end, whatever is wrong in it. Some stop at the first error unless they are told.
#[track_caller]
pub fn checker(config: &Path) -> Command {
    let help = Command::new(env!("KAMAILIO_PROGRAM")).arg("-h").output().expect("kamailio is installed");
    let mut command = kamailio(config);
    command.args(["-c", "-E"]);
    if String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).contains("--all-errors") {
        command.arg("--all-errors");
    }
    command
}

/// Its first words of itself: `kamailio 5.6.3 (x86_64/linux)`.
#[track_caller]
pub fn version() -> String {
    let output = Command::new(env!("KAMAILIO_PROGRAM")).arg("-v").output().expect("kamailio is installed");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("version: ")).expect("a version");
    format!("{})", line.split_once(')').expect("a system").0)
}

/// The folder of its modules.
pub fn folder() -> &'static str {
    env!("KAMAILIO_FOLDER")
}

/// Whether its folder has this module.
pub fn has_module(name: &str) -> bool {
    let folder = Path::new(folder());
    let file = format!("{name}.so");
    folder.join(&file).is_file() || folder.join(name).join(file).is_file()
}

/// Whether its folder lacks one of these modules. A test that needs them is skipped then, and a line says so, which the test runner
/// does not keep to itself.
pub fn lacks(modules: &[&str]) -> bool {
    let missing: Vec<_> =
        modules.iter().filter(|name| !has_module(name)).map(|name| format!("{name}.so")).collect();
    if !missing.is_empty() {
        let (thread, missing) = (std::thread::current(), missing.join(", "));
        let test = thread.name().unwrap_or("a test");
        let line = format!("{test}: SKIPPED, this server has no {missing}\n");
        std::io::stderr().write_all(line.as_bytes()).expect("the terminal takes it");
    }
    !missing.is_empty()
}

/// The same of those that a configuration loads.
#[track_caller]
pub fn lacks_some_of(config: &Path) -> bool {
    let text = std::fs::read_to_string(config).expect("the configuration can be read");
    let named =
        text.lines().filter_map(|line| line.trim().strip_prefix("loadmodule \"")?.strip_suffix(".so\""));
    let modules: Vec<_> = named.collect();
    assert!(modules.contains(&"tm"), "{}: {modules:?}", config.display());
    lacks(&modules)
}

/// The letters of a destination that asks to be probed, where nothing is: some servers drop that flag.
pub fn unprobed(letters: &str) -> String {
    if cfg!(stock_drops_probing) { letters.replace('P', "X") } else { letters.into() }
}

/// Where its own dispatcher is.
pub fn stock_module() -> PathBuf {
    let folder = Path::new(folder());
    let (installed, built) = (folder.join("dispatcher.so"), folder.join("dispatcher/dispatcher.so"));
    if installed.is_file() { installed } else { built }
}

/// The client of its binary RPC: beside it, or where it is in the tree that it was built in, or anywhere.
pub fn kamcmd_path() -> PathBuf {
    let folder = Path::new(env!("KAMAILIO_PROGRAM")).parent().expect("the program is in a folder");
    let near = ["kamcmd", "../utils/kamcmd/kamcmd"].map(|path| folder.join(path));
    near.into_iter().find(|path| path.is_file()).unwrap_or_else(|| "kamcmd".into())
}
