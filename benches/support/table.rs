//! Rows as a table: on the terminal as they are measured, and in the page.

use super::figures::{BEFORE, COPY, OURS, Row, STOCK, Summary};
use super::machine;
use super::numbers::{number, whole};

/// The number of an algorithm and what the manual calls it.
pub fn algorithm(number: u32) -> String {
    let name = match number {
        0 => "hash of Call-ID",
        4 => "round robin",
        8 => "priority",
        9 => "weight",
        10 => "call load",
        11 => "relative weight",
        12 => "parallel",
        13 => "latency",
        14 => "round robin by priority",
        15 => "priority and weight",
        64 => "overload control",
        100 => "relative load",
        101 => "consistent hash",
        _ => "",
    };
    format!("{number} {name}").trim_end().to_owned()
}

/// A ratio of two subjects, where the row has both.
const RATIOS: [(&str, &str); 3] = [(STOCK, OURS), (COPY, OURS), (BEFORE, OURS)];

/// Columns by their heads, and each row as its cells.
pub struct Table {
    pub heads: Vec<String>,
    pub cells: Vec<Vec<String>>,
}

impl Table {
    /// `size` is what the sizes are of; nothing hides the column.
    pub fn of(rows: &[Row], size: &str) -> Table {
        let any = |has: fn(&Row) -> bool| rows.iter().any(has);
        let (allocators, algorithms) =
            (any(|row| !row.allocator.is_empty()), any(|row| row.algorithm.is_some()));
        let mut who: Vec<&str> = Vec::new();
        for (name, _) in rows.iter().flat_map(|row| &row.figures) {
            if !who.contains(&name.as_str()) {
                who.push(name);
            }
        }
        let ratios: Vec<_> = RATIOS.iter().filter(|(a, b)| who.contains(a) && who.contains(b)).collect();
        let mut heads: Vec<String> = Vec::new();
        if allocators {
            heads.extend(["Kamailio".into(), "allocator".into()]);
        }
        heads.push("what".into());
        if algorithms {
            heads.push("algorithm".into());
        }
        if !size.is_empty() {
            heads.push(size.into());
        }
        // Of what was measured once the best is all there is.
        let once = |name: &str| {
            rows.iter()
                .filter_map(|row| row.of(name))
                .all(|summary| summary.best.to_bits() == summary.median.to_bits())
        };
        for name in &who {
            heads.push((*name).into());
            heads.extend((!once(name)).then(|| "median".into()));
        }
        for (a, b) in &ratios {
            heads.extend([format!("{a} ÷ {b}"), "median".into()]);
        }
        let cells = rows.iter().map(|row| {
            let mut cells = Vec::new();
            if allocators {
                let release = if row.allocator.is_empty() { "" } else { machine::release() };
                cells.extend([release.to_owned(), row.allocator.clone()]);
            }
            cells.push(row.case.clone());
            if algorithms {
                cells.push(row.algorithm.map_or_else(String::new, algorithm));
            }
            if !size.is_empty() {
                cells.push(whole(row.size));
            }
            let both = |summary: Option<Summary>| {
                summary.map_or_else(|| ["–".into(), "–".into()], |s| [number(s.best), number(s.median)])
            };
            for name in &who {
                let [best, median] = both(row.of(name));
                cells.push(best);
                cells.extend((!once(name)).then_some(median));
            }
            for (a, b) in &ratios {
                let ratio = row
                    .of(a)
                    .zip(row.of(b))
                    .map(|(a, b)| Summary { best: a.best / b.best, median: a.median / b.median });
                cells.extend(both(ratio));
            }
            cells
        });
        let cells = cells.collect();
        Table { heads, cells }
    }

    /// How many of the columns from the left are words.
    fn words(&self) -> usize {
        let known = ["Kamailio", "allocator", "what", "algorithm"];
        self.heads.iter().take_while(|head| known.contains(&head.as_str())).count()
    }

    pub fn text(&self) -> String {
        let all = || [&self.heads].into_iter().chain(&self.cells);
        let width = |at: usize| all().map(|cells| cells[at].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.heads.len()).map(width).collect();
        let words = self.words();
        let line = |cells: &Vec<String>| {
            let cells = cells.iter().zip(&widths).enumerate();
            let cell = |(at, (cell, &width)): (usize, (&String, &usize))| match at < words {
                true => format!("{cell:<width$}"),
                false => format!("{cell:>width$}"),
            };
            format!("{}\n", cells.map(cell).collect::<Vec<_>>().join("  ").trim_end())
        };
        all().map(line).collect()
    }

    pub fn markdown(&self) -> String {
        let words = self.words();
        let line = |cells: &Vec<String>| format!("| {} |\n", cells.join(" | "));
        let rule = |at| if at < words { "---" } else { "--:" };
        let rules: Vec<_> = (0..self.heads.len()).map(rule).collect();
        let rows: String = self.cells.iter().map(line).collect();
        format!("{}|{}|\n{rows}", line(&self.heads), rules.join("|"))
    }
}
