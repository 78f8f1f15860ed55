//! What the run has shown, and whether that is what was promised.
//!
//! # Why the spread is at most one
//!
//! The callers keep [`LIMIT`] calls up, no more: each has a fixed number of slots and fills one as soon as it is
//! free. [`LIMIT`] is three times [`SHARE`]. A balancer that counts exactly and sends each new call where the count
//! is lowest therefore never puts a gateway above its share: before a call is placed at most `LIMIT - 1` are up,
//! so the lowest has at most `SHARE - 1`. This holds however long each call lasts and however it ends. A count that
//! leaks, or a choice by turns or by chance, breaks it within seconds, as the calls are of all lengths.
//!
//! So two things are asked of each sample of the steady phase. No gateway is above its share. And when the house is
//! full (all calls up but one at most) the spread is one at most: loads of `SHARE` at most that add up to
//! `LIMIT - 1` cannot be further apart. A sample with fewer calls up was taken between the end of some calls
//! and the start of the next; its spread is nobody's choice and does not count. Nothing here needs
//! `dispatcher.list` to read the three loads at one instant: each single load is bounded.

use super::{DUIDS, LIMIT, SHARE};

/// Loads in the order of [`DUIDS`].
pub type Loads = [i64; DUIDS.len()];

#[derive(Default)]
pub struct Steady {
    pub samples: u32,
    /// Samples with a full house.
    pub full: u32,
    /// The widest spread in those.
    pub spread: i64,
    /// The highest load of a gateway in any.
    pub highest: i64,
}

impl Steady {
    pub fn add(&mut self, loads: &Loads) {
        let (lowest, highest) = loads.iter().fold((i64::MAX, 0), |(l, h), n| (l.min(*n), h.max(*n)));
        self.samples += 1;
        self.highest = self.highest.max(highest);
        if loads.iter().sum::<i64>() >= LIMIT - 1 {
            self.full += 1;
            self.spread = self.spread.max(highest - lowest);
        }
    }
}

/// The calls of one gateway by what became of them.
#[derive(Default, Clone, Copy)]
pub struct Fates {
    pub answered: usize,
    pub busy: usize,
    pub cancelled: usize,
}

impl Fates {
    pub fn count(lines: &[String]) -> Fates {
        let of = |fate: &str| lines.iter().filter(|line| line.contains(fate)).count();
        Fates { answered: of("answered"), busy: of("busy"), cancelled: of("cancelled") }
    }

    pub fn plus(self, other: Fates) -> Fates {
        Fates {
            answered: self.answered + other.answered,
            busy: self.busy + other.busy,
            cancelled: self.cancelled + other.cancelled,
        }
    }

    pub fn total(self) -> usize {
        self.answered + self.busy + self.cancelled
    }
}

pub struct Outcome {
    pub steady: Steady,
    pub fates: [Fates; DUIDS.len()],
    pub highest: Loads,
    pub left: Loads,
    pub failed_over: usize,
    /// Calls that the restarted gateway got after its return.
    pub after_restart: usize,
    /// What SIPp or the server complained about.
    pub complaints: Vec<String>,
}

impl Outcome {
    pub fn print(&self) {
        println!("\n gateway   calls  answered  busy  cancelled  highest load  load left");
        for (n, duid) in DUIDS.iter().enumerate() {
            let f = self.fates[n];
            println!(
                " {duid:<7} {:>7} {:>9} {:>5} {:>10} {:>13} {:>10}",
                f.total(),
                f.answered,
                f.busy,
                f.cancelled,
                self.highest[n],
                self.left[n]
            );
        }
        let all = self.all();
        println!(
            " {:<7} {:>7} {:>9} {:>5} {:>10} {:>13} {:>10}",
            "all",
            all.total(),
            all.answered,
            all.busy,
            all.cancelled,
            "",
            self.left.iter().sum::<i64>()
        );
        let steady = &self.steady;
        println!(
            "\n spread in the steady phase   {} (full house in {} samples of {})",
            steady.spread, steady.full, steady.samples
        );
        println!(" calls that failed over       {}", self.failed_over);
        println!(" calls after the restart      {} on the restarted gateway", self.after_restart);
    }

    /// What was promised and is not so.
    pub fn broken_promises(&self) -> Vec<String> {
        let (all, steady) = (self.all(), &self.steady);
        let promises = [
            (steady.spread <= 1, format!("spread {} in the steady phase", steady.spread)),
            (
                steady.highest <= SHARE,
                format!("{} calls on one gateway, above its share of {SHARE}", steady.highest),
            ),
            (
                steady.full >= 20,
                format!("a full house in {} samples of {} only", steady.full, steady.samples),
            ),
            (self.left.iter().all(|left| *left == 0), format!("load left: {:?}", self.left)),
            (all.total() >= 300, format!("{} calls only", all.total())),
            (all.answered > 0 && all.busy > 0 && all.cancelled > 0, "not every fate has happened".to_owned()),
            (self.failed_over > 0, "no call has failed over".to_owned()),
            (self.after_restart > 0, "the restarted gateway got no call".to_owned()),
        ];
        let broken = promises.into_iter().filter(|(kept, _)| !kept).map(|(_, what)| what);
        broken.chain(self.complaints.iter().cloned()).collect()
    }

    fn all(&self) -> Fates {
        self.fates.iter().fold(Fates::default(), |sum, fates| sum.plus(*fates))
    }
}
