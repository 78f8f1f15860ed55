//! What a module of the server says of itself, read from the file: the loader compares exactly these two texts with its own.
//! Loading it is no way: its symbols are the server's.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, RelocationTarget};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The version and the flags that a module was compiled with.
#[derive(Debug, PartialEq, Eq)]
pub struct Stamp {
    pub version: String,
    pub flags: String,
}

/// What all modules in this folder say, and one file that says so. Two that disagree are an error.
pub fn of_folder(folder: &Path) -> Result<(Stamp, PathBuf)> {
    let hint = "set KAMAILIO_MODULES= to the folder with the server's modules";
    let mut files = Vec::new();
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}; {hint}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        // Before `make install` each module is in a folder of its own.
        let inner = path.file_name().map(|name| path.join(name).with_extension("so"));
        let file = if path.is_dir() { inner.unwrap_or_default() } else { path };
        // Ours may be in the place of the stock one, and may be of another build.
        let ours = file.file_name().is_some_and(|name| name == "dispatcher.so");
        if file.extension().is_some_and(|end| end == "so") && file.is_file() && !ours {
            files.push(file);
        }
    }
    files.sort();
    let mut found: Option<(Stamp, PathBuf)> = None;
    for file in files {
        let Some(stamp) = of_file(&file)? else { continue };
        match &found {
            None => found = Some((stamp, file)),
            Some((first, by)) if *first != stamp => {
                return Err(format!(
                    "modules of the server disagree: {} was built for {}, {} for {}{}",
                    by.display(),
                    first.version,
                    file.display(),
                    stamp.version,
                    differing(&first.flags, &stamp.flags)
                        .map_or_else(String::new, |flags| format!(" ({flags})")),
                )
                .into());
            }
            Some(_) => {}
        }
    }
    found.ok_or_else(|| format!("no module of Kamailio in {}: {hint}", folder.display()).into())
}

/// What this file says; nothing, if it is no module of Kamailio.
pub fn of_file(path: &Path) -> Result<Option<Stamp>> {
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let Ok(file) = object::File::parse(&*bytes) else { return Ok(None) };
    Ok(match (text(&file, "module_version"), text(&file, "module_flags")) {
        (Some(version), Some(flags)) => Some(Stamp { version, flags }),
        _ => None,
    })
}

/// The text that a pointer of this name will point to once the file is loaded.
fn text(file: &object::File<'_>, name: &str) -> Option<String> {
    let symbol = file.dynamic_symbols().find(|symbol| symbol.name() == Ok(name))?;
    let place = symbol.address();
    let relocated =
        file.dynamic_relocations()?.find(|(at, _)| *at == place).map(|(_, relocation)| relocation);
    let target = match relocated {
        // Without an addend of its own it is where the pointer will be.
        Some(relocation) if relocation.has_implicit_addend() => pointer(file, place)?,
        Some(relocation) => {
            let base = match relocation.target() {
                RelocationTarget::Symbol(index) => {
                    use object::ObjectSymbolTable;
                    file.dynamic_symbol_table()?.symbol_by_index(index).ok()?.address()
                }
                _ => 0,
            };
            base.wrapping_add_signed(relocation.addend())
        }
        None => pointer(file, place)?,
    };
    let bytes = at(file, target)?;
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(bytes.get(..end)?).into_owned())
}

fn pointer(file: &object::File<'_>, place: u64) -> Option<u64> {
    let bytes = at(file, place)?;
    let little = file.is_little_endian();
    if file.is_64() {
        let bytes = bytes.first_chunk()?;
        Some(if little { u64::from_le_bytes(*bytes) } else { u64::from_be_bytes(*bytes) })
    } else {
        let bytes = bytes.first_chunk()?;
        Some(u64::from(if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) }))
    }
}

/// What is loaded at this address, to the end of its segment, or of its section where there are no segments.
fn at<'f>(file: &object::File<'f>, address: u64) -> Option<&'f [u8]> {
    let inside = |start: u64, data: &'f [u8]| {
        let from = usize::try_from(address.checked_sub(start)?).ok()?;
        data.get(from..).filter(|rest| !rest.is_empty())
    };
    let mut segments = file.segments();
    let segment = segments.find_map(|segment| inside(segment.address(), segment.data().ok()?));
    segment.or_else(|| file.sections().find_map(|section| inside(section.address(), section.data().ok()?)))
}

/// The flags that one of two lists has and the other has not; nothing, if there is none.
pub fn differing(first: &str, second: &str) -> Option<String> {
    let split = |flags: &str| -> Vec<String> { flags.split(", ").map(str::to_owned).collect() };
    let (first, second) = (split(first), split(second));
    let only = |these: &[String], those: &[String]| {
        let only: Vec<_> = these.iter().filter(|flag| !those.contains(flag)).cloned().collect();
        only.join(", ")
    };
    match (only(&first, &second), only(&second, &first)) {
        (a, b) if a.is_empty() && b.is_empty() => None,
        (a, b) if b.is_empty() => Some(format!("only the first has {a}")),
        (a, b) if a.is_empty() => Some(format!("only the second has {b}")),
        (a, b) => Some(format!("only the first has {a}; only the second has {b}")),
    }
}
