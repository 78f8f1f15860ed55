//! What the build reads of a server: its modules, its flags, the defines of its source tree.
#![cfg(not(loom))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::path::Path;
use std::process::Command;

#[allow(dead_code)] // the tests look at the names
#[path = "../kamailio-headers/facts.rs"]
mod facts;
#[allow(dead_code)] // the build asks the server, these tests do not
#[path = "../kamailio-headers/server.rs"]
mod server;
#[path = "../kamailio-headers/stock_module.rs"]
mod stock_module;

use stock_module::{differing, of_file, of_folder};

/// A shared library with what the loader looks at, in this file.
fn module(at: &Path, version: &str, flags: &str) {
    let source = at.with_extension("c");
    let text = format!("char *module_version = \"{version}\";\nchar *module_flags = \"{flags}\";\n");
    fs::write(&source, text).unwrap();
    let done = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(at).arg(&source).status().unwrap();
    assert!(done.success());
    fs::remove_file(source).unwrap();
}

const VERSION: &str = "kamailio 7.8.9 (x86_64/linux)";

#[test]
fn module_says_its_version_and_flags_without_being_loaded() {
    let dir = tempfile::tempdir().unwrap();
    module(&dir.path().join("pv.so"), VERSION, "USE_TCP, USE_TLS");
    let stamp = of_file(&dir.path().join("pv.so")).unwrap().unwrap();
    assert_eq!((stamp.version.as_str(), stamp.flags.as_str()), (VERSION, "USE_TCP, USE_TLS"));
}

#[test]
fn server_of_this_build_has_modules_that_say_what_ours_says() {
    let (stamp, _) = of_folder(Path::new(env!("KAMAILIO_FOLDER"))).unwrap();
    let about = Command::new(env!("KAMAILIO_PROGRAM")).arg("-v").output().unwrap();
    let about = String::from_utf8_lossy(&about.stdout).into_owned();
    assert!(about.contains(&stamp.version), "{stamp:?}: {about}");
    // What is compiled into the modules is in what the program prints; a program may print more.
    for flag in stamp.flags.split(", ") {
        assert!(about.contains(flag), "{flag}: {about}");
    }
}

#[test]
fn modules_that_disagree_are_refused_with_their_names_and_the_flag() {
    let dir = tempfile::tempdir().unwrap();
    module(&dir.path().join("a.so"), VERSION, "USE_TCP, SHM_MMAP");
    module(&dir.path().join("b.so"), VERSION, "USE_TCP, SHM_MMAP, FAST_LOCK-ADAPTIVE_WAIT");
    let error = of_folder(dir.path()).unwrap_err().to_string();
    for word in ["a.so", "b.so", "only the second has FAST_LOCK-ADAPTIVE_WAIT"] {
        assert!(error.contains(word), "{error}");
    }
    assert!(!error.contains('\n'), "one line: {error}");
}

#[test]
fn modules_in_folders_of_their_own_count_and_ours_and_other_files_do_not() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("pv")).unwrap();
    module(&dir.path().join("pv/pv.so"), VERSION, "USE_TCP");
    module(&dir.path().join("dispatcher.so"), VERSION, "OF, AN, OLD, BUILD");
    fs::write(dir.path().join("notes.so"), "no library").unwrap();
    fs::write(dir.path().join("pv/pv.c"), "").unwrap();
    let (stamp, by) = of_folder(dir.path()).unwrap();
    assert_eq!((stamp.flags.as_str(), by), ("USE_TCP", dir.path().join("pv/pv.so")));
}

#[test]
fn folder_without_modules_is_refused_with_what_to_set() {
    let dir = tempfile::tempdir().unwrap();
    for folder in [dir.path().to_path_buf(), dir.path().join("nowhere")] {
        let error = of_folder(&folder).unwrap_err().to_string();
        assert!(error.contains("KAMAILIO_MODULES="), "{error}");
        assert!(error.contains(folder.to_str().unwrap()), "{error}");
    }
}

#[test]
fn flags_that_differ_are_named() {
    assert_eq!(differing("A, B", "A, B"), None);
    assert_eq!(differing("A, B, C", "A, C").unwrap(), "only the first has B");
    assert_eq!(differing("A, C", "A, B, C").unwrap(), "only the second has B");
    assert_eq!(differing("A, B", "A, BB").unwrap(), "only the first has B; only the second has BB");
}

#[test]
fn help_of_a_server_names_its_folders() {
    let help = "    -f file      Configuration file (default: /usr/local/etc/kamailio/kamailio.cfg)\n\
                \x20   -L path      Modules search path (default: /usr/lib/x/modules/:/other)\n";
    let found = server::Defaults::read(help);
    assert_eq!(found.config.as_deref(), Some("/usr/local/etc/kamailio/kamailio.cfg"));
    assert_eq!(found.modules.as_deref(), Some("/usr/lib/x/modules"));
    assert_eq!(server::Defaults::read("nothing"), server::Defaults::default());
}

#[test]
fn word_of_a_header_is_a_whole_word() {
    assert!(facts::has_word("pub const SR_XTYPE_INT: u32", "SR_XTYPE_INT"));
    assert!(!facts::has_word("pub const SR_XTYPE_INTS: u32", "SR_XTYPE_INT"));
    assert!(!facts::has_word("pub const OLD_SR_XTYPE_INT: u32", "SR_XTYPE_INT"));
}

/// The code asks for facts, and each fact that it asks for is in the table, and each in the table is asked for.
#[test]
fn facts_are_those_that_the_code_asks_for() {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut text, mut folders) = (String::new(), vec![top.join("src"), top.join("tests/it")]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                text.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let releases = fs::read_to_string(top.join("docs/releases.md")).unwrap();
    for fact in facts::FACTS {
        assert!(facts::has_word(&text, fact.cfg), "nobody asks for {}", fact.cfg);
        assert!(facts::has_word(&releases, fact.cfg), "docs/releases.md does not tell of {}", fact.cfg);
    }
    for version in ["VERSIONVAL", "OPENSER_VERSION", "KAMAILIO_VERSION"] {
        assert!(!text.contains(version), "{version}: ask for a fact");
    }
}
