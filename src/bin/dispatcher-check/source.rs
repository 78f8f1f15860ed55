//! Reads a list as the module does, with the module's own code; what only a server knows is left out.

use crate::Failed;
use dispatcher::dest::attrs::AttrValues;
use dispatcher::dest::compare::{Listed, shared};
use dispatcher::dest::limits::Reserve;
use dispatcher::dest::location::{self, Reader};
use dispatcher::dest::problem::{self, Problem};
use dispatcher::dest::row::{Columns, Value};
use dispatcher::dest::{
    Entry, Flags, Severity, SourceLine, SourcePosition, arranged, capacity, limits, list,
};
use std::io::Read;
use std::ops::Range;
use std::path::Path;

/// A destination that would serve.
#[derive(Debug, Clone)]
pub struct Destination {
    pub place: SourcePosition,
    pub set: i32,
    pub uri: Vec<u8>,
    pub flags: Flags,
    pub priority: i32,
    pub attrs: AttrValues<Vec<u8>>,
    /// Local socket of probes.
    pub ping_socket: Vec<u8>,
    /// How many calls with priority it takes beyond its `maxload`.
    pub reserve: u32,
    /// New calls a second, and how many more at once; both 0 without a limit.
    pub rate: (u32, u32),
    /// The capacity that it shares.
    pub capacity: Capacity,
    /// Names of attributes that act with `ds_limits` only, which is not set.
    pub unused: Vec<&'static str>,
    /// Where its attributes stand in their line.
    pub attrs_column: usize,
    /// Its host is a name.
    pub named: bool,
}

/// What a line says of the capacity that its destination shares.
#[derive(Debug, Clone)]
pub struct Capacity {
    /// Its name; empty where it shares none.
    pub name: Vec<u8>,
    /// How many calls all together may have; 0 where the line does not say.
    pub most: u32,
    /// And how many with priority beyond that.
    pub reserve: Option<Reserve>,
    /// How many new calls a second they may have, and how many more at once; 0 where the line does not say.
    pub rate: (u32, u32),
}

impl Destination {
    /// For a comparison; `calls` is how many it has.
    pub fn listed(&self) -> Listed<'_> {
        Listed {
            set: self.set,
            uri: self.uri.as_slice().into(),
            duid: self.attrs.duid.as_slice().into(),
            socket: self.attrs.local_socket(Vec::as_slice).into(),
            flags: Some(self.flags),
            priority: self.priority,
            body: self.attrs.body.as_slice().into(),
            maxload: self.attrs.maxload,
            calls: 0,
        }
    }
}

/// A list, read and checked.
pub struct Checked {
    /// Its name.
    pub file: String,
    /// The text of a list file; empty for rows.
    pub text: Vec<u8>,
    /// Lines of the file in which its rows begin; empty for a list file.
    pub rows: Vec<u64>,
    /// What would serve, in the order in which sets hold it.
    pub destinations: Vec<Destination>,
    /// Findings in the order of the file.
    pub problems: Vec<Problem>,
    /// Lines or rows, those with errors too.
    pub count: usize,
}

impl Checked {
    /// Where something stands: file, line, and column, or the row in the place of it.
    pub fn place(&self, place: SourcePosition) -> (usize, Option<usize>) {
        match place {
            SourcePosition::Line(line, column) => (line, Some(column)),
            SourcePosition::Row(row) => {
                let line = row.checked_sub(1).and_then(|at| self.rows.get(at)).copied().unwrap_or(0);
                (usize::try_from(line).unwrap_or(usize::MAX), None)
            }
        }
    }

    /// The same as compilers write it.
    pub fn shown(&self, place: SourcePosition) -> String {
        match (self.place(place), place) {
            ((line, Some(column)), _) => format!("{}:{line}:{column}", self.file),
            ((line, None), place) => format!("{}:{line}: {place}", self.file),
        }
    }

    /// Findings of this severity.
    pub fn found(&self, severity: Severity) -> usize {
        self.problems.iter().filter(|problem| problem.severity == severity).count()
    }

    /// The sets, each with its id.
    pub fn sets(&self) -> impl Iterator<Item = (i32, &[Destination])> {
        let sets = self.destinations.chunk_by(|one, next| one.set == next.set);
        sets.filter_map(|set| Some((set.first()?.set, set)))
    }
}

/// How a list is read.
#[derive(Clone, Copy)]
pub struct How<'a> {
    /// It holds rows, whatever its name.
    pub csv: bool,
    /// `ds_db_extra_attrs`.
    pub extra_attrs: &'a str,
    /// `ds_load_mode` 1.
    pub strict: bool,
    /// `ds_limits` 1.
    pub limits: bool,
}

/// The bytes of a file; `-` is the standard input.
pub fn bytes(file: &Path) -> Result<Vec<u8>, Failed> {
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().read_to_end(&mut bytes).map(drop)
    } else {
        std::fs::read(file).map(|read| bytes = read)
    };
    read.map_err(|error| Failed::Unreadable(format!("{}: {error}", file.display())))?;
    Ok(bytes)
}

/// Whether a file of this name holds rows.
fn is_of_rows(file: &Path) -> bool {
    file.extension().is_some_and(|end| end.eq_ignore_ascii_case("csv") || end.eq_ignore_ascii_case("tsv"))
}

/// Reads and checks a list.
pub fn check(file: &Path, text: Vec<u8>, how: How<'_>) -> Result<Checked, Failed> {
    let name = file.display().to_string();
    if !how.csv && !is_of_rows(file) {
        let (lines, problems) = list::parse(&text);
        let (destinations, problems, count) = checked(&lines, problems, how);
        return Ok(Checked { file: name, destinations, problems, count, rows: Vec::new(), text });
    }
    let (lines, problems, rows) =
        read_rows(&text, how.extra_attrs).map_err(|why| Failed::Unclear(format!("{name}: {why}")))?;
    let (destinations, problems, count) = checked(&lines, problems, how);
    Ok(Checked { file: name, destinations, problems, count, rows, text: Vec::new() })
}

/// The URI is read without a server.
const READER: Reader<'static, Range<usize>> =
    Reader { parse: &location::host_in, host: Range::clone, is_host: &location::is_host };

/// What serves of these lines, what is wrong with them, and how many there are: the steps of a reload, without a server to ask.
fn checked(
    lines: &[SourceLine<'_>],
    mut problems: Vec<Problem>,
    How { strict, limits, .. }: How<'_>,
) -> (Vec<Destination>, Vec<Problem>, usize) {
    let count = lines.len() + problem::lost(&problems);
    let mut destinations = Vec::with_capacity(lines.len());
    for line in arranged(lines) {
        match line.entry(limits).and_then(|entry| located(entry, strict)) {
            Ok((entry, named)) => {
                problems.extend(entry.findings.iter().cloned());
                destinations.push(Destination {
                    place: entry.place,
                    set: entry.set,
                    uri: entry.uri.to_vec(),
                    flags: entry.flags,
                    priority: entry.priority,
                    attrs: entry.attrs.values.map(|text| text.to_vec()),
                    ping_socket: entry.attrs.ping_socket.to_vec(),
                    reserve: entry.attrs.limits.maxload_reserve,
                    rate: (entry.attrs.limits.cps, entry.attrs.limits.cps_burst),
                    capacity: Capacity {
                        name: entry.attrs.limits.capacity.to_vec(),
                        most: entry.attrs.limits.capacity_max,
                        reserve: entry.attrs.limits.capacity_reserve,
                        rate: (entry.attrs.limits.capacity_cps, entry.attrs.limits.capacity_cps_burst),
                    },
                    unused: limits::unused(entry.attrs.unused).collect(),
                    attrs_column: line.attrs_column,
                    named,
                });
            }
            Err(problem) => problems.push(problem),
        }
    }
    if strict {
        problems.iter_mut().for_each(Problem::be_strict);
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            destinations.clear();
        }
    }
    let lines: Vec<_> = destinations.iter().map(|one| (one.place, one.listed())).collect();
    problems.extend(shared(&lines));
    drop(lines);
    let sharing = destinations.iter().filter(|one| !one.capacity.name.is_empty());
    problems.extend(capacity::problems(sharing.map(|one| capacity::Share {
        place: one.place,
        name: &one.capacity.name,
        most: one.capacity.most,
        reserve: one.capacity.reserve,
        cps: one.capacity.rate.0,
        burst: one.capacity.rate.1,
    })));
    (destinations, problem::arranged(problems), count)
}

/// The entry, and whether its host is a name.
fn located<'t>(mut entry: Entry<'t>, strict: bool) -> Result<(Entry<'t>, bool), Problem> {
    let host = READER.locate(&mut entry)?;
    READER.check_senders(&mut entry, strict)?;
    let named = !location::is_address(entry.uri.get(host).unwrap_or_default());
    Ok((entry, named))
}

/// The columns of the table, in the order in which the module reads them.
const COLUMNS: [&str; 5] = ["setid", "destination", "flags", "priority", "attrs"];

type Rows = (Vec<SourceLine<'static>>, Vec<Problem>, Vec<u64>);

/// Reads rows as database clients print them: a line with the names of the columns, then values parted by commas, tabulators or
/// semicolons.
fn read_rows(text: &[u8], extra: &str) -> Result<Rows, String> {
    let header = text.split(|&byte| byte == b'\n').next().unwrap_or_default();
    let delimiter = [b'\t', b',', b';', b'|'].into_iter().find(|byte| header.contains(byte)).unwrap_or(b',');
    let mut reader = csv::ReaderBuilder::new().delimiter(delimiter).flexible(true).from_reader(text);
    let header = reader.byte_headers().map_err(|error| error.to_string())?.clone();
    let place = |name: &[u8]| header.iter().position(|given| given.trim_ascii().eq_ignore_ascii_case(name));
    for name in ["setid", "destination"] {
        if place(name.as_bytes()).is_none() {
            let found =
                header.iter().map(|name| name.escape_ascii().to_string()).collect::<Vec<_>>().join(", ");
            return Err(format!(
                "no column '{name}' in its first line ({found}): expected the names setid, destination, flags, priority, attrs"
            ));
        }
    }
    let (extra, told) =
        Columns::parse_extra(extra.as_bytes()).map_err(|why| format!("--extra-attrs: {why}"))?;
    if let Some(told) = told {
        return Err(format!("--extra-attrs: {told}"));
    }
    if let Some((_, column)) = extra.iter().find(|(_, column)| place(column).is_none()) {
        return Err(format!("--extra-attrs: no column '{}' in its first line", column.escape_ascii()));
    }
    let columns = Columns { names: COLUMNS.map(|name| name.as_bytes().to_vec()).to_vec(), extra };
    let places: Vec<_> = columns.all().into_iter().map(place).collect();
    let (mut rows, mut problems, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for (at, record) in reader.byte_records().enumerate() {
        let record = record.map_err(|error| error.to_string())?;
        lines.push(record.position().map_or(0, csv::Position::line));
        let value = |place: &Option<usize>| match place.and_then(|place| record.get(place)) {
            // As mysql and psql write it.
            None | Some(b"" | b"NULL" | b"\\N") => Value::Null,
            Some(text) => Value::Text(text),
        };
        let values: Vec<_> = places.iter().map(value).collect();
        match columns.read(at + 1, &values, &mut problems) {
            Ok(row) => rows.push(row),
            Err(problem) => problems.push(problem),
        }
    }
    Ok((rows, problems, lines))
}
