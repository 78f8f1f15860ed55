//! What differs between releases of Kamailio and shows in their headers. Each fact is a `cfg` of the module and its tests;
//! no code asks for a version number. `docs/releases.md` says which release has which.

/// Where a fact shows.
pub enum Sign {
    /// A word in what bindgen made of the headers.
    Bindings(&'static str),
    /// A word in a file of the tree: a header where that tells, else the stock module's source.
    Tree(&'static str, &'static str),
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
    // Longer datagrams than a setting says are dropped.
    Fact { cfg: "message_limit", sign: Sign::Tree("core/globals.h", "ksr_msg_recv_max_size") },
    // A reply that comes when `tm` has answered the caller finds no transaction, though that lives.
    Fact {
        cfg: "tm_forgets_answered",
        sign: Sign::Tree("modules/tm/t_lookup.h", "TM_REPLY_MATCHING_ACTIVE"),
    },
    // Limits of overload control are attributes, and `dispatcher.list` shows them.
    Fact { cfg: "stock_overload", sign: Sign::Tree("modules/dispatcher/dispatch.h", "ocmin") },
    // Flag 32, the letter N.
    Fact { cfg: "stock_no_ping", sign: Sign::Tree("modules/dispatcher/dispatch.h", "DS_NOPING_DST") },
    // `dispatcher.list` shows how many probes failed or came back in a row.
    Fact { cfg: "stock_probing_count", sign: Sign::Tree("modules/dispatcher/dispatch.h", "probing_count") },
    // `dispatcher.list` shows the position in the set and an internal unique id.
    Fact { cfg: "stock_iuid", sign: Sign::Tree("modules/dispatcher/dispatch.h", "suid") },
    // `dispatcher.list` shows the socket of probes.
    Fact { cfg: "stock_ping_socket", sign: Sign::Tree("modules/dispatcher/dispatch.h", "ping_socket") },
    // A failover record has the position in the set.
    Fact { cfg: "stock_dstidx", sign: Sign::Tree("modules/dispatcher/dispatch.h", "ds_xavp_dst_dstidx") },
    // A URI without transport has one all the same (RFC 3263 section 4.1).
    Fact {
        cfg: "stock_default_transport",
        sign: Sign::Tree("modules/dispatcher/dispatch.c", "dp->proto = PROTO_UDP"),
    },
    // Without probing the flag that asks for it is dropped.
    Fact {
        cfg: "stock_drops_probing",
        sign: Sign::Tree("modules/dispatcher/dispatch.c", "tm module not loaded, disabling probing"),
    },
    // A reload of the stock module waits for readers of the list before; a reader that it forgot stops it for ever.
    Fact {
        cfg: "stock_waits_for_readers",
        sign: Sign::Tree("modules/dispatcher/dispatch.c", "ds_wait_free_list"),
    },
    // A parameter says whether a reload keeps latencies; it does not unless it is told.
    Fact {
        cfg: "stock_retain_latency",
        sign: Sign::Tree("modules/dispatcher/dispatcher.c", "\"ds_retain_latency_stats\""),
    },
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
