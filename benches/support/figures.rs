//! What was measured: rows of one group, kept as a file so that a group can be measured alone and the page made of all.

use super::turns::Times;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

/// The best of all turns and their median.
#[derive(Clone, Copy, Debug)]
pub struct Summary {
    pub best: f64,
    pub median: f64,
}

impl Summary {
    /// What `with` takes beyond `without`.
    pub fn beyond(with: &Times, without: &Times) -> Summary {
        Summary {
            best: (with.best() - without.best()).max(0.0),
            median: (with.median() - without.median()).max(0.0),
        }
    }

    pub fn times(self, factor: f64) -> Summary {
        Summary { best: self.best * factor, median: self.median * factor }
    }
}

impl From<&Times> for Summary {
    fn from(times: &Times) -> Summary {
        Summary { best: times.best(), median: times.median() }
    }
}

impl From<f64> for Summary {
    fn from(only: f64) -> Summary {
        Summary { best: only, median: only }
    }
}

/// Our module.
pub const OURS: &str = "ours";
/// The same module from a copy of its file, in a server of its own: what differs is noise.
pub const COPY: &str = "copy";
/// The module that the distribution ships.
pub const STOCK: &str = "stock";
/// An earlier build of ours, see [`super::modules`].
pub const BEFORE: &str = "before";

/// One thing that was measured, of one or more modules.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// Of the servers; empty where there was none.
    pub allocator: String,
    pub case: String,
    pub algorithm: Option<u32>,
    /// Destinations or calls.
    pub size: u64,
    /// Who, or what of it.
    pub figures: Vec<(String, Summary)>,
}

impl Row {
    pub fn new(allocator: &str, case: &str, algorithm: Option<u32>, size: impl TryInto<u64>) -> Row {
        let size = size.try_into().unwrap_or_default();
        Row { allocator: allocator.into(), case: case.into(), algorithm, size, figures: Vec::new() }
    }

    #[must_use]
    pub fn with(mut self, who: &str, summary: impl Into<Summary>) -> Row {
        self.figures.push((who.into(), summary.into()));
        self
    }

    pub fn of(&self, who: &str) -> Option<Summary> {
        self.figures.iter().find(|(name, _)| name == who).map(|(_, summary)| *summary)
    }
}

/// The rows of one group, and when, of what and where they were measured.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub when: String,
    /// Of the source.
    pub commit: String,
    pub machine: String,
    pub rows: Vec<Row>,
}

/// Where the figures of a group are kept.
fn file(group: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("benchmarks").join(format!("{group}.json"))
}

impl Figures {
    /// The figure of the row that is this, if it was measured.
    pub fn get(
        &self,
        allocator: &str,
        case: &str,
        algorithm: Option<u32>,
        size: u64,
        who: &str,
    ) -> Option<Summary> {
        let fits = |row: &&Row| {
            row.allocator == allocator && row.case == case && row.algorithm == algorithm && row.size == size
        };
        self.rows.iter().find(fits)?.of(who)
    }

    pub fn save(&self, group: &str) {
        let summary = |(who, summary): &(String, Summary)| json!([who, summary.best, summary.median]);
        let row = |row: &Row| {
            json!({
                "allocator": row.allocator, "case": row.case, "algorithm": row.algorithm, "size": row.size,
                "figures": row.figures.iter().map(summary).collect::<Vec<_>>(),
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        let all = json!({ "when": self.when, "commit": self.commit, "machine": self.machine, "rows": rows });
        let file = file(group);
        fs::create_dir_all(file.parent().expect("a folder")).expect("the folder of figures");
        fs::write(&file, format!("{all:#}\n")).expect("the file of figures");
    }

    /// The figures that the last run of this group has left.
    pub fn load(group: &str) -> Option<Figures> {
        let all: Value = serde_json::from_str(&fs::read_to_string(file(group)).ok()?).ok()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let summary =
            |entry: &Value| (text(&entry[0]), Summary { best: number(&entry[1]), median: number(&entry[2]) });
        let row = |row: &Value| Row {
            allocator: text(&row["allocator"]),
            case: text(&row["case"]),
            algorithm: row["algorithm"].as_u64().and_then(|number| number.try_into().ok()),
            size: row["size"].as_u64().unwrap_or_default(),
            figures: row["figures"].as_array().into_iter().flatten().map(summary).collect(),
        };
        let rows = all["rows"].as_array()?.iter().map(row).collect();
        let [when, commit, machine] = ["when", "commit", "machine"].map(|name| text(&all[name]));
        Some(Figures { when, commit, machine, rows })
    }
}
