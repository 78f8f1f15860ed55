//! The layering that `src/lib.rs` draws, asserted: which folder may name which.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::path::{Path, PathBuf};

/// A folder (or file) of `src` and what it may name besides itself.
const MAY_NAME: &[(&str, &[&str])] = &[
    ("dest", &[]),
    ("select", &[]),
    ("load", &[]),
    ("health", &["dest"]),
    ("shm", &[]),
    ("conf", &["dest", "load", "health"]),
    ("state", &["shm", "dest", "load", "health", "select"]),
    ("service", &["state", "shm", "dest", "select", "load", "health"]),
    ("host", &["shm"]),
    ("context", &["host", "service", "state", "shm", "dest", "select", "load", "health", "conf"]),
    ("workers", &["context", "host", "service", "state", "shm", "dest", "select", "load", "health", "conf"]),
    (
        "api",
        &[
            "workers", "context", "host", "service", "state", "shm", "dest", "select", "load", "health",
            "conf",
        ],
    ),
    (
        "lifecycle",
        &[
            "api", "workers", "context", "host", "service", "state", "shm", "dest", "select", "load",
            "health", "conf",
        ],
    ),
    ("module", &["lifecycle", "api", "host", "conf"]),
];

const PURE: &[&str] = &["dest", "select", "load", "health"];

fn sources(at: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(at).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|end| end == "rs") {
            into.push(path);
        }
    }
}

/// Each source file with the layer that it belongs to and its text without comments.
fn files() -> Vec<(PathBuf, String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    let split = |path: PathBuf| {
        let inside = path.strip_prefix(&src).unwrap();
        let layer = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_string();
        let text = fs::read_to_string(&path).unwrap();
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        (inside.to_path_buf(), layer, code.join("\n"))
    };
    let all: Vec<_> = paths.into_iter().map(split).collect();
    assert!(all.len() > 40, "only {} source files found", all.len());
    all
}

/// The first names of all paths that begin with `crate::`, those in braces too.
fn named(code: &str) -> Vec<String> {
    let word =
        |text: &str| text.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    code.split("crate::")
        .skip(1)
        .flat_map(|rest| match rest.strip_prefix('{') {
            Some(group) => group.split('}').next().unwrap().split(',').map(word).collect(),
            None => vec![word(rest)],
        })
        .filter(|name: &String| !name.is_empty())
        .collect()
}

#[test]
fn each_layer_names_only_those_below_it() {
    for (path, layer, code) in files() {
        if layer == "lib" || layer == "bin" {
            continue;
        }
        let (_, allowed) = MAY_NAME
            .iter()
            .find(|(name, _)| *name == layer)
            .unwrap_or_else(|| panic!("{} is in no layer: give it one here", path.display()));
        for name in named(&code) {
            let macro_of_the_host =
                name.ends_with("_function") || name.ends_with("_command") || name == "argument";
            let macro_of_the_host = macro_of_the_host || name.ends_with("_variable");
            assert!(
                name == layer
                    || macro_of_the_host && ["host", "module"].contains(&layer.as_str())
                    || allowed.contains(&name.as_str()),
                "{} names crate::{name}, which {layer} may not",
                path.display()
            );
        }
    }
}

/// It runs without a server: a word of the host would not link.
#[test]
fn the_program_names_only_pure_folders() {
    let mut named_any = false;
    for (path, layer, code) in files() {
        if layer != "bin" {
            continue;
        }
        for name in named(&code.replace("crate::", "").replace("dispatcher::", "crate::")) {
            assert!(PURE.contains(&name.as_str()), "{} names dispatcher::{name}", path.display());
            named_any = true;
        }
    }
    assert!(named_any, "the program names nothing of the module");
}

/// The files of `service/sets` that this text names.
fn named_sets(code: &str) -> Vec<String> {
    let part = |rest: &str| rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    let mut all: Vec<String> = Vec::new();
    for rest in code.split("crate::service::sets::").skip(1) {
        match rest.strip_prefix('{') {
            Some(group) => all.extend(group.split('}').next().unwrap().split(',').map(str::trim).map(part)),
            None => all.push(part(rest)),
        }
    }
    all
}

#[test]
fn the_steps_of_a_reload_import_one_another_in_one_direction() {
    let mut imports: Vec<(String, Vec<String>)> = Vec::new();
    for (path, _, code) in files() {
        if path.starts_with("service/sets") && !path.ends_with("mod.rs") {
            imports.push((path.file_stem().unwrap().to_str().unwrap().to_owned(), named_sets(&code)));
        }
    }
    assert!(imports.iter().any(|(file, names)| file == "load" && names.iter().any(|name| name == "commit")));
    // What imports nothing that is left is taken away, until nothing is left, or a circle.
    while !imports.is_empty() {
        let left: Vec<String> = imports.iter().map(|(file, _)| file.clone()).collect();
        imports.retain(|(file, names)| names.iter().any(|name| name != file && left.contains(name)));
        assert!(imports.len() < left.len(), "these files import one another in a circle: {left:?}");
    }
}

#[test]
fn pure_folders_forbid_unsafe_code() {
    for (path, layer, code) in files() {
        if PURE.contains(&layer.as_str()) && path.ends_with("mod.rs") {
            assert!(code.contains("#![forbid(unsafe_code)]"), "{}", path.display());
        }
    }
}

#[test]
fn only_the_host_and_the_export_table_speak_c() {
    for (path, layer, code) in files() {
        let speaks = code.contains("extern \"C\"");
        assert!(!speaks || ["host", "module"].contains(&layer.as_str()), "{}", path.display());
    }
}

#[test]
fn a_file_is_one_idea() {
    for (path, _, code) in files() {
        let lines = code.lines().count();
        assert!(lines <= 500, "{} has {lines} lines of code", path.display());
    }
}

#[test]
fn the_top_level_holds_what_it_must_and_nothing_of_kamailio() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in [
        "Cargo.toml",
        "build.rs",
        "src",
        "kamailio-headers",
        "kamailio.cfg.example",
        "tests",
        "Makefile",
        "README.md",
        "LICENSE",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "docs/SUMMARY.md",
    ] {
        assert!(top.join(name).exists(), "{name} is missing");
    }
    let ignored = fs::read_to_string(top.join(".gitignore")).unwrap();
    assert!(ignored.lines().any(|line| line == "/kamailio-headers/source/"));
}
