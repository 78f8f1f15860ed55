//! The live picture: redrawn in place on a terminal, one plain line a second elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use super::{DUIDS, SHARE};

/// One gateway as it is now.
pub struct Row {
    pub load: i64,
    pub calls: usize,
    pub state: String,
}

pub struct Picture {
    terminal: bool,
    began: Instant,
    drawn: Option<Instant>,
}

/// The longest bar, at twice the share.
const WIDTH: usize = 40;

impl Picture {
    pub fn new() -> Picture {
        Picture { terminal: std::io::stdout().is_terminal(), began: Instant::now(), drawn: None }
    }

    pub fn draw(&mut self, phase: &str, rows: &[Row]) {
        let step = Duration::from_millis(if self.terminal { 200 } else { 1000 });
        if self.drawn.is_some_and(|at| at.elapsed() < step) {
            return;
        }
        let seconds = self.began.elapsed().as_secs();
        let mut text = String::new();
        if self.terminal {
            if self.drawn.is_some() {
                text.push_str(&format!("\x1b[{}A", rows.len() + 2)); // back up over the last picture
            }
            text.push_str(&format!("\x1b[K {seconds:>2} s  {phase}\n\x1b[K\n"));
            for (duid, row) in DUIDS.iter().zip(rows) {
                let bar = bar(row.load);
                text.push_str(&format!(
                    "\x1b[K {duid}  {bar:<WIDTH$} {:>3}   {:>4} calls   {}\n",
                    row.load, row.calls, row.state
                ));
            }
        } else {
            text.push_str(&format!("{seconds:>3} s  {phase:<24}"));
            for (duid, row) in DUIDS.iter().zip(rows) {
                text.push_str(&format!(
                    "  {duid}: {:>2} up, {:>3} calls, {:<8}",
                    row.load, row.calls, row.state
                ));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        let mut out = std::io::stdout().lock();
        drop(out.write_all(text.as_bytes()).and_then(|()| out.flush())); // nobody looks: the run goes on
        self.drawn = Some(Instant::now());
    }
}

fn bar(load: i64) -> String {
    let full = usize::try_from(load * WIDTH as i64 / (2 * SHARE)).unwrap_or(0);
    "█".repeat(full.min(WIDTH))
}
