//! What differs between releases of Kamailio and shows in their headers. Each fact is a `cfg` of the module and its tests;
//! no code asks for a version number. `docs/releases.md` says which release has which.

/// Where a fact shows.
pub enum Sign {
    /// A word in what bindgen made of the headers.
    Bindings(&'static str),
}

/// A name for `cfg` and where it shows.
pub struct Fact {
    pub cfg: &'static str,
    pub sign: Sign,
}

/// All that the code asks for.
pub const FACTS: &[Fact] = &[
    // A number in an xavp is an `int`; else it is a `long`.
    Fact { cfg: "xavp_int", sign: Sign::Bindings("SR_XTYPE_INT") },
];

/// Whether this text has this word, not a longer one.
pub fn has_word(text: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text.get(..at).and_then(|text| text.chars().next_back());
        let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}
