//! How many instructions the module's own part of a selection takes: what [`crate::choices`] measures in time, by a measure that
//! does not depend on the machine's mood.
//!
//! The program starts itself once for each size under `valgrind --tool=callgrind`, which counts inside [`counted`] only and
//! writes a part for each time that it returns.

use crate::Group;
use crate::choices::{ALGORITHMS, CASE, SIZES, lines, one, root};
use crate::support::figures::{Figures, Row};
use crate::support::plot::{Plot, Shape};
use dispatcher::shm::Heap;
use dispatcher::state::Root;
use std::fs;
use std::process::Command;

pub const GROUP: Group = Group {
    name: "instructions",
    title: "Instructions of the module's own part",
    unit: "instructions",
    size: "destinations",
    about: "The same as above under `valgrind --tool=callgrind`, by one worker: instructions of one selection, the mean of 200. They \
            are the same on each machine of this kind and show how the work grows with the set.",
    measure,
    plots,
};

/// The argument by which the program starts itself; a size follows.
pub const COUNTED: &str = "counted";
/// Selections that are counted, and others before them.
const ROUNDS: u32 = 200;
pub const WHO: &str = "instructions";

/// What callgrind counts; it knows this function by its name.
#[inline(never)]
fn counted(root: &Root<Heap>, algorithm: u32) {
    (0..ROUNDS).for_each(|round| one(root, 0, algorithm, round));
}

/// What the program does under callgrind: each algorithm once, in order, after a first round that is not counted.
pub fn count(size: u32) {
    let root = root(size);
    for algorithm in ALGORITHMS {
        (0..ROUNDS).for_each(|round| one(&root, 0, algorithm, round));
        counted(&root, algorithm);
    }
}

fn measure() -> Vec<Row> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: valgrind is not installed");
        return Vec::new();
    }
    let mut rows = Vec::new();
    for size in SIZES {
        for (algorithm, count) in ALGORITHMS.into_iter().zip(counts(size)) {
            rows.push(Row::new("", CASE, Some(algorithm), size).with(WHO, count / f64::from(ROUNDS)));
        }
    }
    rows
}

/// Instructions of each algorithm's rounds.
fn counts(size: u32) -> Vec<f64> {
    let function = concat!(module_path!(), "::counted");
    let folder = tempfile::tempdir().expect("a folder");
    let output = Command::new("valgrind")
        .args([
            "--tool=callgrind",
            &format!("--toggle-collect={function}"),
            &format!("--dump-after={function}"),
        ])
        .arg(format!("--callgrind-out-file={}", folder.path().join("out").display()))
        .arg(std::env::current_exe().expect("this program"))
        .args([COUNTED, &size.to_string()])
        .output()
        .expect("valgrind runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let part = |at: usize| {
        let text = fs::read_to_string(folder.path().join(format!("out.{}", at + 1)))
            .expect("a part for each algorithm");
        let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("totals");
        totals.trim().parse().expect("a number")
    };
    (0..ALGORITHMS.len()).map(part).collect()
}

fn plots(figures: &Figures) -> Vec<Plot> {
    let series = lines(figures, [WHO, ""]);
    vec![Plot {
        file: "instructions".into(),
        title: "Instructions of the module's own part of a selection".into(),
        shape: Shape::Lines { x: "destinations in the set".into(), y: "instructions".into(), series },
    }]
}
