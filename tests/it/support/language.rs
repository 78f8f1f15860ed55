//! In which language a test's routing is written. A test of call load has it in the native one; that it holds with the same routing
//! in another says the test's wrapper ([`written_in`]).

use std::cell::Cell;

use super::counting::Counting;
use super::host;
use super::server_config::Builder;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    Native,
    Lua,
    Python,
}

thread_local! {
    static NOW: Cell<Language> = const { Cell::new(Language::Native) };
}

/// Runs a test whose routing by call load is in this language.
pub fn written_in(language: Language, test: impl FnOnce()) {
    if language.is_missing() {
        return;
    }
    NOW.set(language);
    test();
    NOW.set(Language::Native);
}

/// A script in Python whose class has these methods. The host asks `mod_init` for an object of it.
pub fn python(methods: &str) -> String {
    let head = "import KSR\n\ndef mod_init():\n    return Script()\n\nclass Script:\n";
    format!("{head}    def child_init(self, rank):\n        return 0\n{methods}")
}

impl Language {
    /// Whether this server does not know it, as a line says: the test is skipped.
    pub fn is_missing(self) -> bool {
        match self {
            Language::Native => false,
            Language::Lua => host::lacks(&["app_lua"]),
            Language::Python => host::lacks(&["app_python3"]),
        }
    }

    pub fn now() -> Language {
        NOW.get()
    }

    /// The server with this script. Where the module follows calls, the script's words of counting are taken out of it.
    pub fn script(self, builder: Builder, text: &str) -> Builder {
        let (engine, module, file, nothing) = match self {
            Language::Native => return builder.route(text),
            Language::Lua => ("lua", "app_lua", "script.lua", "do end"),
            Language::Python => ("python", "app_python3", "script.py", "pass"),
        };
        let mut text = text.to_owned();
        if Counting::now() == Counting::Followed {
            for word in ["KSR.dispatcher.ds_load_update()", "KSR.dispatcher.ds_load_unset()"] {
                text = text.replace(word, nothing);
            }
        }
        builder.module(module).with_file(file, &text).route("").modparam(&format!(
            "modparam(\"{module}\", \"load\", \"RUN_DIR/{file}\")\n\
             kemi.onsend_route_callback=\"none\"\ncfgengine \"{engine}\""
        ))
    }
}
