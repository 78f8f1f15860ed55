//! The server that the module is built for, as it describes itself, and its modules.

use std::env;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::stock_module::{self, Stamp};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

pub struct Server {
    pub program: PathBuf,
    /// Where its modules are.
    pub modules: PathBuf,
    /// One of them, and what it says: all say the same.
    pub module: PathBuf,
    pub stamp: Stamp,
    /// Where it keeps its configuration.
    pub cfg_dir: String,
}

impl Server {
    /// Asks the program that `KAMAILIO` names, or `kamailio`, and the modules of its folder, or of `KAMAILIO_MODULES`.
    pub fn ask() -> Result<Self> {
        let name = env::var("KAMAILIO").unwrap_or_else(|_| "kamailio".into());
        let program = in_path(&name).ok_or_else(|| {
            format!("cannot run '{name}': install Kamailio with 'make deps' or set KAMAILIO= to its program")
        })?;
        let words = |option: &str| -> Result<String> {
            let output = Command::new(&program).arg(option).output();
            let output = output.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
            Ok(String::from_utf8_lossy(&output.stdout).into_owned()
                + &String::from_utf8_lossy(&output.stderr))
        };
        let (about, help) = (words("-v")?, words("-h")?);
        let defaults = Defaults::read(&help);
        let cfg = defaults.config.ok_or("'kamailio -h' names no default configuration file")?;
        let modules = match env::var_os("KAMAILIO_MODULES") {
            Some(folder) => PathBuf::from(folder),
            None => defaults.modules.ok_or("'kamailio -h' names no folder of modules")?.into(),
        };
        let (stamp, module) = stock_module::of_folder(&modules)?;
        // "version: kamailio 5.6.3 (x86_64/linux) <revision>"
        let version = about.lines().find_map(|line| line.strip_prefix("version: "));
        let version = version.ok_or_else(|| format!("'{name} -v' says no version:\n{about}"))?;
        if !version.starts_with(&stamp.version) {
            return Err(format!(
                "{} is {}, but the modules in {} are for {}",
                program.display(),
                version.trim_end(),
                modules.display(),
                stamp.version
            )
            .into());
        }
        Ok(Self { program, modules, module, stamp, cfg_dir: cfg.trim_end_matches("kamailio.cfg").into() })
    }
}

/// What `kamailio -h` names for what the command line does not.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Defaults {
    pub config: Option<String>,
    pub modules: Option<String>,
}

impl Defaults {
    pub fn read(help: &str) -> Self {
        let of = |line: &str| Some(line.split_once("(default: ")?.1.split(')').next()?.to_owned());
        let config = help.lines().filter_map(of).find(|path| path.ends_with("/kamailio.cfg"));
        let modules = help.lines().find(|line| line.contains("Modules search path")).and_then(of);
        // A list of folders, of which the first is the distribution's.
        let modules = modules.and_then(|path| Some(path.split(':').next()?.trim_end_matches('/').to_owned()));
        Self { config, modules }
    }
}

fn in_path(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Path::new(program).canonicalize().ok().filter(|path| path.is_file());
    }
    let folders = env::var_os("PATH")?;
    env::split_paths(&folders).map(|folder| folder.join(program)).find(|path| path.is_file())
}
