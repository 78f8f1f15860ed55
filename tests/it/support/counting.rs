//! Who counts calls: the script, the module by itself (`ds_load_auto`), or both at once.
//!
//! A test of call load is written with the script's words. The same test holds where the module follows calls by itself: then
//! these words are taken out of its routing, or stay and must change nothing. Which way it is says the test's wrapper
//! ([`counted`]), else COUNTING in the environment.

use std::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Counting {
    /// `ds_load_update` and `ds_load_unset`.
    Script,
    /// `ds_load_auto`, and no word of counting in the script.
    Followed,
    /// `ds_load_auto`, in a script that counts.
    Both,
}

thread_local! {
    static NOW: Cell<Option<Counting>> = const { Cell::new(None) };
}

/// Runs a test whose servers count in this way.
pub fn counted(way: Counting, test: impl FnOnce()) {
    NOW.set(Some(way));
    test();
    NOW.set(None);
}

/// From here on the servers of this test count in the script.
pub fn in_script() {
    NOW.set(Some(Counting::Script));
}

impl Counting {
    pub fn now() -> Counting {
        let named = || match std::env::var("COUNTING").ok()?.as_str() {
            "script" => Some(Counting::Script),
            "followed" => Some(Counting::Followed),
            "both" => Some(Counting::Both),
            other => panic!("COUNTING: expected script, followed or both, found {other}"),
        };
        NOW.get().or_else(named).unwrap_or(Counting::Script)
    }

    pub fn is_followed(self) -> bool {
        self != Counting::Script
    }

    /// The routing as it is written for this way.
    pub fn routing(self, text: &str) -> String {
        match self {
            Counting::Followed => ["ds_load_update();", "ds_load_unset();"]
                .iter()
                .fold(text.to_owned(), |text, word| text.replace(word, "$var(none) = 0;")),
            Counting::Script | Counting::Both => text.to_owned(),
        }
    }
}
