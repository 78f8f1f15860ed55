//! Calls of `KSR.dispatcher.*`, in text that Lua and Python read alike, and what they give. `D` is the table.

/// Expressions and what they give.
pub type Told<'a> = &'a [(&'a str, &'a str)];

const FIRST: (&str, &str) = ("KSR.pv.gete('$du')", "sip:127.0.0.11:5060");
const SECOND: (&str, &str) = ("KSR.pv.gete('$du')", "sip:127.0.0.12:5060");
const FIRST_DOMAIN: (&str, &str) = ("KSR.pv.gete('$ru')", "sip:callee@127.0.0.11:5060");
const SECOND_DOMAIN: (&str, &str) = ("KSR.pv.gete('$ru')", "sip:callee@127.0.0.12:5060");

/// A request each.
pub const MATCHES: &[Told<'_>] = &[
    &[("D.ds_select(100, 8)", "1"), ("KSR.pv.gete('$du')", ""), ("D.ds_set_dst()", "1"), FIRST],
    &[("D.ds_select_limit(100, 8, 1)", "1"), ("D.ds_set_dst()", "1"), ("D.ds_next_dst()", "-1")],
    &[("D.ds_select_dst(100, 8)", "1"), FIRST, ("D.ds_next_dst()", "1"), SECOND, ("D.ds_next_dst()", "-1")],
    &[("D.ds_select_dst_limit(100, 8, 1)", "1"), FIRST, ("D.ds_next_dst()", "-1"), FIRST],
    &[("D.ds_select_domain(100, 8)", "1"), FIRST_DOMAIN, ("D.ds_next_domain()", "1"), SECOND_DOMAIN],
    &[("D.ds_select_domain_limit(100, 8, 1)", "1"), FIRST_DOMAIN, ("D.ds_next_domain()", "-1")],
    &[("D.ds_select(100, 8)", "1"), ("D.ds_set_domain()", "1"), FIRST_DOMAIN],
    &[("D.ds_select_routes('200=8;100=8', 'd')", "1"), FIRST, ("D.ds_next_dst()", "1"), SECOND],
    &[("D.ds_select_routes_limit('100=8;200=4', '0', 1)", "1"), FIRST, ("D.ds_next_dst()", "-1")],
    &[
        ("D.ds_select_dst(100, 8)", "1"),
        ("D.ds_mark_dst()", "1"),
        ("D.ds_is_active_uri(100, KSR.pv.get('$du'))", "-1"),
    ],
    &[("D.ds_mark_addr('a', 100, 'sip:127.0.0.11:5060')", "1"), ("D.ds_select_dst(100, 8)", "1"), FIRST],
    &[
        ("D.ds_select_dst(100, 8)", "1"),
        ("D.ds_mark_dst_state('d')", "1"),
        ("D.ds_select_dst(100, 8)", "1"),
        SECOND,
    ],
    &[("D.ds_mark_addr('a', 100, 'sip:127.0.0.11:5060')", "1"), ("D.ds_is_active(100)", "1")],
    &[("D.ds_is_active_uri(100, 'sip:127.0.0.11:5060')", "1"), ("D.ds_list_exists(200)", "1")],
    &[
        ("D.ds_drain_seconds(200, 'gw2', 3600)", "1"),
        ("D.ds_is_active_uri(200, 'sip:127.0.0.13:5060')", "-1"),
        ("D.ds_drain_seconds(200, 'all', 3600)", "1"),
        ("D.ds_undrain(200, 'gw2')", "1"),
    ],
    &[
        ("D.ds_is_from_lists()", "1"),
        ("D.ds_is_from_list(300)", "1"),
        ("D.ds_is_from_list_mode(300, 2)", "1"),
    ],
    &[("D.ds_is_from_list_uri(100, 0, 'sip:127.0.0.12:5060')", "1"), ("D.ds_is_from_list(-1)", "1")],
    &[("D.ds_dsg_fetch(100)", "1"), ("KSR.pv.get('$dsg(count)')", "2"), ("KSR.pv.get('$dsg(active)')", "2")],
    &[
        ("D.ds_oc_set_attrs(100, 'sip:127.0.0.11:5060', 40, 60000, 7)", "1"),
        ("D.ds_dsg_fetch_uri(100, 'sip:127.0.0.11:5060')", "1"),
        ("KSR.pv.get('$dsg(ocrate)')", "40"),
        ("KSR.pv.get('$dsg(ocseq)')", "7"),
    ],
];

/// Sent by the stranger.
pub const NO_MATCHES: &[Told<'_>] = &[
    &[("D.ds_select(999, 8)", "-2"), ("D.ds_select(200, 8)", "-3"), ("D.ds_select_limit(999, 8, 1)", "-2")],
    &[("D.ds_select_dst(999, 8)", "-2"), ("D.ds_select_dst(200, 8)", "-3"), ("D.ds_select_dst(-1, 8)", "-2")],
    &[("D.ds_select_dst_limit(999, 8, 1)", "-2"), ("D.ds_select_domain(999, 8)", "-2")],
    &[("D.ds_select_domain_limit(200, 8, 1)", "-3"), ("KSR.pv.gete('$du')", "")],
    &[("D.ds_select_routes('999=8;200=8', 'd')", "-3"), ("D.ds_select_routes_limit('999=8', 'd', 2)", "-2")],
    &[("D.ds_next_dst()", "-1"), ("D.ds_next_domain()", "-1"), ("D.ds_set_dst()", "-1")],
    &[("D.ds_set_domain()", "-1"), ("D.ds_mark_dst()", "-1"), ("D.ds_mark_dst_state('i')", "-1")],
    &[
        ("D.ds_mark_addr('i', 999, 'sip:127.0.0.11:5060')", "-1"),
        ("D.ds_mark_addr('i', 100, 'sip:gone')", "-1"),
    ],
    &[
        ("D.ds_is_from_lists()", "-1"),
        ("D.ds_is_from_list(300)", "-1"),
        ("D.ds_is_from_list_mode(300, 3)", "-1"),
    ],
    &[("D.ds_is_from_list_uri(100, 0, 'sip:127.0.0.99:5060')", "-1"), ("D.ds_is_from_list(999)", "-1")],
    &[
        ("D.ds_is_active(200)", "-1"),
        ("D.ds_is_active(999)", "-1"),
        ("D.ds_is_active_uri(100, 'sip:gone')", "-1"),
    ],
    &[("D.ds_list_exists(999)", "-1"), ("D.ds_list_exists(-1)", "-1")],
    &[
        ("D.ds_drain(999, 'gw0')", "-1"),
        ("D.ds_drain(100, 'sip:gone')", "-1"),
        ("D.ds_drain(100, 'gw0')", "-2"),
        ("D.ds_drain_seconds(100, 'gw9', 60)", "-1"),
        ("D.ds_undrain(999, 'gw0')", "-1"),
        ("D.ds_undrain(100, 'gw9')", "-1"),
    ],
    &[("D.ds_dsg_fetch(999)", "1"), ("KSR.pv.gete('$dsg(count)')", "")],
    &[
        ("D.ds_oc_set_attrs(999, 'sip:127.0.0.11:5060', 40, 60000, 8)", "-1"),
        ("D.ds_oc_set_attrs(100, 'sip:gone', 40, 60000, 8)", "-2"),
        ("D.ds_oc_set_attrs(100, 'sip:127.0.0.11:5060', 50, 60000, 7)", "-2"),
    ],
];

/// Lua makes 0 of a text where a number is expected, and there is no set 0.
pub const BAD: &[&str] = &[
    "D.ds_select('x', 8)",
    "D.ds_select_limit('x', 8, 1)",
    "D.ds_select_dst('x', 8)",
    "D.ds_select_dst_limit('x', 8, 1)",
    "D.ds_select_domain('x', 8)",
    "D.ds_select_domain_limit('x', 8, 1)",
    "D.ds_select_routes(100, 8)",
    "D.ds_select_routes('', 'd')",
    "D.ds_select_routes('100=8', '')",
    "D.ds_select_routes_limit('x=8', 'd', 1)",
    "D.ds_mark_dst_state(7)",
    "D.ds_mark_dst_state('nonsense')",
    "D.ds_mark_addr('i', 'x', 'sip:127.0.0.11:5060')",
    "D.ds_mark_addr('nonsense', 100, 'sip:127.0.0.11:5060')",
    "D.ds_is_from_list('x')",
    "D.ds_is_from_list_mode('x', 0)",
    "D.ds_is_from_list_uri(100, 0, 'nonsense')",
    "D.ds_is_active('x')",
    "D.ds_is_active_uri('x', 'sip:127.0.0.11:5060')",
    "D.ds_list_exists('x')",
    "D.ds_drain('x', 'gw0')",
    "D.ds_undrain('x', 'gw0')",
    "D.ds_drain_seconds(100, 'gw0', -1)",
    "D.ds_oc_set_attrs('x', 'sip:127.0.0.11:5060', 1, 1, 9)",
];

/// Every function that takes arguments, with one too few and with none.
pub const TOO_FEW: &[(&str, &[&str])] = &[
    ("ds_select", &["", "100"]),
    ("ds_select_limit", &["", "100, 8"]),
    ("ds_select_dst", &["", "100"]),
    ("ds_select_dst_limit", &["", "100, 8"]),
    ("ds_select_domain", &["", "100"]),
    ("ds_select_domain_limit", &["", "100, 8"]),
    ("ds_select_routes", &["", "'100=8'"]),
    ("ds_select_routes_limit", &["", "'100=8', 'd'"]),
    ("ds_mark_dst_state", &[""]),
    ("ds_mark_addr", &["", "'i', 100"]),
    ("ds_is_from_list", &[""]),
    ("ds_is_from_list_mode", &["", "300"]),
    ("ds_is_from_list_uri", &["", "100, 0"]),
    ("ds_drain", &["", "100"]),
    ("ds_undrain", &["", "100"]),
    ("ds_drain_seconds", &["", "100, 'gw0'"]),
    ("ds_is_active", &[""]),
    ("ds_is_active_uri", &["", "100"]),
    ("ds_list_exists", &[""]),
    ("ds_dsg_fetch", &[""]),
    ("ds_dsg_fetch_uri", &["", "100"]),
    ("ds_oc_set_attrs", &["", "100, 'sip:127.0.0.11:5060', 1, 1"]),
];
