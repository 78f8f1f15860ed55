//! The page `docs/benchmarks.md` and its plots, made of the figures of all groups.

use super::figures::Figures;
use super::machine;
use super::numbers::number;
use super::plot::Plot;
use super::table::Table;
use crate::bars::{Measured, bars};
use crate::{Group, selection};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const HOW: &str = "\
- Servers of both modules run at the same time on this machine, each in its own Kamailio, with the same list and the same script, and \
are measured in turn, there and back; the best of all turns and their median count. Ratios are stock ÷ ours: more is better for ours.
- `fm` is Kamailio's fast allocator, `qm` its default in Debian, which checks for overruns. Each server of the script loops \
and of the relayed calls is aged first: its memory has free blocks of many sizes, as after some traffic. While it has none, `qm` takes half as long again \
for a call, or does not, by what the start left.
- `copy` is our module again, from a copy of its file in one more server. How far it is from ours is the noise of the row.
- A figure of one machine is worth little on another; ratios and counts of instructions travel better.
";

/// Writes the page of what was measured last, of each group.
pub fn write(groups: &[Group]) {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let folder = docs.join("benchmarks");
    drop(fs::remove_dir_all(&folder));
    fs::create_dir_all(&folder).expect("a folder for plots");
    let measured = groups.iter().filter_map(|group| Some((group.name, Figures::load(group.name)?))).collect();
    let measured = Measured(measured);
    let mut page = head(&measured);
    page.push_str(&judged(&measured));
    for group in groups {
        let _ = writeln!(page, "## {}\n\n{} Figures are {}.\n", group.title, group.about, group.unit);
        let Some(figures) = measured.0.get(group.name) else {
            page.push_str("Not measured.\n\n");
            continue;
        };
        for plot in (group.plots)(figures).iter().filter(|plot| !plot.is_empty()) {
            let Plot { file, title, .. } = plot;
            fs::write(folder.join(format!("{file}.svg")), plot.svg()).expect("a plot");
            let _ = writeln!(page, "![{title}](benchmarks/{file}.svg)\n");
        }
        let table = Table::of(&figures.rows, group.size).markdown();
        let _ = writeln!(
            page,
            "{table}\n`make bench ONLY={}`: {}, at {}.\n",
            group.name, figures.when, figures.commit
        );
    }
    let file = docs.join("benchmarks.md");
    fs::write(&file, page.trim_end().to_owned() + "\n").expect("the page");
    println!("docs/benchmarks.md and docs/benchmarks/*.svg are written");
}

fn head(measured: &Measured) -> String {
    let mut page = String::from(
        "# Benchmarks\n\nWritten by `make bench`: change the code in `benches/`, not this page.\n\n",
    );
    let mut machines: Vec<&str> = measured.0.values().map(|figures| figures.machine.as_str()).collect();
    machines.dedup();
    let _ = writeln!(
        page,
        "Kamailio {}, dispatcher (Rust) {}. {}.\n\n{HOW}",
        machine::release(),
        env!("CARGO_PKG_VERSION"),
        machines.first().unwrap_or(&"?")
    );
    let noise = measured.0.get(selection::GROUP.name).and_then(selection::noise);
    if let Some([half, worst]) = noise {
        let (half, worst) = (number(half * 100.0), number(worst * 100.0));
        let _ = writeln!(
            page,
            "Of the copies in the script one half is within {half} %, and the worst is {worst} % off.\n"
        );
    }
    page
}

/// Each bar and whether it holds.
fn judged(measured: &Measured) -> String {
    let mut page = String::from("## Bars\n\n| what | bar | measured | holds |\n|---|---|---|---|\n");
    let mut why = String::new();
    for bar in bars() {
        let judged = bar.judge(measured);
        let holds = judged.holds.map_or("not measured", |holds| if holds { "yes" } else { "**no**" });
        let _ = writeln!(page, "| {} | {} | {} | {holds} |", judged.what, judged.bar, judged.measured);
        if !judged.made_of.is_empty() {
            let _ = writeln!(why, "- {}: {}.", judged.what, judged.made_of);
        }
    }
    if !why.is_empty() {
        let _ = writeln!(page, "\nWhat the figures are made of where a bar does not hold:\n\n{why}");
    }
    page.push('\n');
    page
}
