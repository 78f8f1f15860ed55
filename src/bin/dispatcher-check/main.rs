//! `dispatcher-check`: reads a list file, or rows of a table as CSV, as the module reads them, and tells what is wrong with it, which
//! sets would serve, what changes, and what the stock module would do.
//!
//! Model: [`source`] reads and checks with the module's own code (`dispatcher::dest`), [`saved`] reads what is compared, [`sets`],
//! [`explain`] and [`stock`] derive what is asked for, and [`text`] or [`json`] shows all of it.
//!
//! Not here: sockets of a server and the DNS. `dispatcher.check` asks a running server about these.
#![forbid(unsafe_code)]

mod arguments;
mod capacities;
mod explain;
mod json;
mod notes;
mod report;
mod saved;
mod script;
mod sets;
mod source;
mod stock;
mod text;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use arguments::{Asked, Options};

/// The command line makes no sense (`EX_USAGE`).
const USAGE: u8 = 64;
/// What is to be compared, or the rows, cannot be understood (`EX_DATAERR`).
const BAD_DATA: u8 = 65;
/// A file cannot be read (`EX_NOINPUT`).
const NO_INPUT: u8 = 66;

/// Why there is no report.
pub enum Failed {
    /// A file cannot be read, and why.
    Unreadable(String),
    /// What stands in it cannot be understood.
    Unclear(String),
    /// What is asked for makes no sense.
    Usage(String),
}

fn main() -> ExitCode {
    let options = match arguments::read() {
        Ok(Asked::Report(options)) => options,
        Ok(Asked::Completions(shell)) => {
            return written(&arguments::completions(shell)).unwrap_or(ExitCode::SUCCESS);
        }
        Err(error) => {
            let wrong = error.use_stderr();
            return if error.print().is_ok() && !wrong { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match run(&options) {
        Ok((shown, code)) => written(shown.as_bytes()).unwrap_or_else(|| ExitCode::from(code)),
        Err(failed) => {
            let (code, why) = match failed {
                Failed::Unreadable(why) => (NO_INPUT, why),
                Failed::Unclear(why) => (BAD_DATA, why),
                Failed::Usage(why) => (USAGE, why),
            };
            let _ = writeln!(io::stderr(), "dispatcher-check: {why}");
            ExitCode::from(code)
        }
    }
}

/// Writes to the standard output. Whoever reads it may have seen enough (`| head`): that is no error of ours.
fn written(bytes: &[u8]) -> Option<ExitCode> {
    let done = io::stdout().write_all(bytes).and_then(|()| io::stdout().flush());
    done.err().filter(|error| error.kind() != io::ErrorKind::BrokenPipe).map(|_| ExitCode::from(NO_INPUT))
}

fn run(options: &Options) -> Result<(String, u8), Failed> {
    let report = report::Report::make(options)?;
    let colour = match options.colour {
        arguments::Colour::Always => true,
        arguments::Colour::Never => false,
        arguments::Colour::Auto => {
            io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty())
        }
    };
    let shown = if options.json { json::show(&report) } else { text::show(&report, options.quiet, colour) };
    Ok((shown, report.exit_code()))
}
