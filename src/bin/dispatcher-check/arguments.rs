//! The command line.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use clap_complete::Shell;
use std::path::PathBuf;

/// What is asked for.
pub enum Asked {
    /// A report.
    Report(Box<Options>),
    /// A script that completes the command line in this shell.
    Completions(Shell),
}

/// When the report has colours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

/// How a report is made.
pub struct Options {
    /// The list, or `-`.
    pub file: PathBuf,
    /// It holds rows, whatever its name.
    pub csv: bool,
    /// `ds_db_extra_attrs`.
    pub extra_attrs: String,
    /// `ds_load_mode` 1.
    pub strict: bool,
    /// `ds_limits` 1.
    pub limits: bool,
    /// `use_default`.
    pub use_default: bool,
    /// The call to explain has priority.
    pub priority: bool,
    /// What it is compared with.
    pub diff: Option<PathBuf>,
    /// Set, algorithm, and the text that is hashed.
    pub explain: Option<(i32, i32, Option<String>)>,
    /// Tell what the stock module would do.
    pub stock: bool,
    /// The configuration that uses the list.
    pub cfg: Option<PathBuf>,
    /// Only what is wrong.
    pub quiet: bool,
    /// JSON, not text.
    pub json: bool,
    pub colour: Colour,
}

const EXIT_CODES: &str = "\
Exit codes: 0 nothing found, 1 warnings, 2 errors (a line is not loaded),
64 wrong command line, 65 a file cannot be understood, 66 a file cannot be read.

Sockets and host names are the server's: `kamcmd dispatcher.check` asks a running one.";

fn command() -> Command {
    let path = |arg: Arg| arg.value_parser(value_parser!(PathBuf)).value_hint(clap::ValueHint::FilePath);
    let switch = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("dispatcher-check")
        .version(concat!(env!("CARGO_PKG_VERSION"), " for ", env!("KAMAILIO_RELEASE")))
        .about("Checks a list of destinations before Kamailio's dispatcher (Rust) loads it")
        .after_help(EXIT_CODES)
        .arg(
            path(Arg::new("file"))
                .value_name("FILE")
                .required_unless_present("completions")
                .help("List file, or rows with a header as a database client prints them (.csv, .tsv); - reads the standard input"),
        )
        .arg(path(Arg::new("diff").short('d').long("diff")).value_name("OLD").help(
            "Compare with an older list, or with a saved answer of `dispatcher.list full` (JSON or as kamcmd prints it)",
        ))
        .arg(
            Arg::new("explain")
                .short('e')
                .long("explain")
                .num_args(2..=3)
                .allow_negative_numbers(true)
                .value_names(["SET", "ALG", "KEY"])
                .help("Tell which destination algorithm ALG chooses first; KEY is the text that it hashes. FILE comes before it"),
        )
        .arg(switch("stock", "Tell what the stock module reads otherwise, and what rolling back means").short('s'))
        .arg(
            path(Arg::new("cfg").long("cfg"))
                .value_name("KAMAILIO.CFG")
                .requires("stock")
                .help("With --stock: the configuration whose algorithms, functions and parameters are looked at"),
        )
        .arg(switch("csv", "FILE holds rows, whatever its name"))
        .arg(
            Arg::new("extra-attrs")
                .long("extra-attrs")
                .value_name("ATTR=COLUMN;...")
                .default_value("")
                .hide_default_value(true)
                .help("Columns that are added to the attributes, as the parameter ds_db_extra_attrs"),
        )
        .arg(switch("strict", "As with ds_load_mode 1: one wrong line keeps all from being loaded"))
        .arg(switch("limits", "As with ds_limits 1: attributes that limit more than maxload does act"))
        .arg(switch("use-default", "As with use_default 1: the last of a set is kept for when no other is left"))
        .arg(switch("priority", "For --explain: the call has priority, and may use reserves").requires("explain"))
        .arg(switch("quiet", "Show only what is wrong, and what was asked for").short('q'))
        .arg(
            Arg::new("format")
                .long("format")
                .value_name("FORMAT")
                .value_parser(PossibleValuesParser::new(["text", "json"]))
                .default_value("text")
                .help("Form of the report"),
        )
        .arg(
            Arg::new("color")
                .long("color")
                .value_name("WHEN")
                .value_parser(PossibleValuesParser::new(["auto", "always", "never"]))
                .default_value("auto")
                .help("Colours; auto is on a terminal, unless NO_COLOR is set"),
        )
        .arg(
            Arg::new("completions")
                .long("completions")
                .value_name("SHELL")
                .value_parser(value_parser!(Shell))
                .exclusive(true)
                .help("Print a script that completes this command line"),
        )
}

/// Reads the command line.
pub fn read() -> Result<Asked, clap::Error> {
    asked(command().try_get_matches()?)
}

fn asked(found: ArgMatches) -> Result<Asked, clap::Error> {
    if let Some(shell) = found.get_one::<Shell>("completions") {
        return Ok(Asked::Completions(*shell));
    }
    let path = |name: &str| found.get_one::<PathBuf>(name).cloned();
    let is = |name: &str, value: &str| found.get_one::<String>(name).is_some_and(|given| given == value);
    let explain: Option<Vec<&String>> = found.get_many("explain").map(Iterator::collect);
    let explain = match explain.as_deref() {
        None => None,
        Some([set, algorithm, key @ ..]) => {
            let number = |text: &str, name: &str| {
                let wrong = || format!("--explain: {name} '{text}': expected a whole number\n");
                text.parse().map_err(|_| command().error(clap::error::ErrorKind::ValueValidation, wrong()))
            };
            let key = key.first().map(|key| key.to_string());
            Some((number(set, "SET")?, number(algorithm, "ALG")?, key))
        }
        Some(_) => None,
    };
    Ok(Asked::Report(Box::new(Options {
        file: path("file").unwrap_or_default(),
        csv: found.get_flag("csv"),
        extra_attrs: found.get_one("extra-attrs").cloned().unwrap_or_default(),
        strict: found.get_flag("strict"),
        limits: found.get_flag("limits"),
        use_default: found.get_flag("use-default"),
        priority: found.get_flag("priority"),
        diff: path("diff"),
        explain,
        stock: found.get_flag("stock"),
        cfg: path("cfg"),
        quiet: found.get_flag("quiet"),
        json: is("format", "json"),
        colour: match () {
            () if is("color", "always") => Colour::Always,
            () if is("color", "never") => Colour::Never,
            () => Colour::Auto,
        },
    })))
}

/// The script for this shell.
pub fn completions(shell: Shell) -> Vec<u8> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command(), "dispatcher-check", &mut script);
    script
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent_and_completes_in_each_shell() {
        command().debug_assert();
        for shell in [Shell::Bash, Shell::Zsh] {
            let script = String::from_utf8(completions(shell)).unwrap();
            for option in ["--explain", "--diff", "--stock", "--format"] {
                assert!(script.contains(option), "{shell}: {option}");
            }
        }
    }
}
