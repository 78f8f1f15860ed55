//! A function in a route where it is not allowed keeps the server from starting, as with the stock module.

use crate::support::Kamailio;

/// Every function of the stock module.
const FUNCTIONS: &[&str] = &[
    r#"ds_select("1", "4")"#,
    r#"ds_select("1", "4", "2")"#,
    r#"ds_select_dst("1", "4")"#,
    r#"ds_select_dst("1", "4", "2")"#,
    r#"ds_select_domain("1", "4")"#,
    r#"ds_select_domain("1", "4", "2")"#,
    r#"ds_select_routes("1=4", "d")"#,
    r#"ds_select_routes("1=4", "d", "2")"#,
    "ds_next_dst()",
    "ds_next_domain()",
    "ds_set_dst()",
    "ds_set_domain()",
    "ds_mark_dst()",
    r#"ds_mark_dst("i")"#,
    "ds_is_from_list()",
    r#"ds_is_from_list("1")"#,
    r#"ds_is_from_list("1", "2")"#,
    r#"ds_is_from_list("1", "2", "sip:127.0.0.1")"#,
    r#"ds_list_exist("1")"#,
    r#"ds_list_exists("1")"#,
    "ds_load_unset()",
    "ds_load_update()",
    r#"ds_is_active("1")"#,
    r#"ds_is_active("1", "sip:127.0.0.1")"#,
    "ds_reload()",
];

/// Those that ours allows in more routes.
const WIDER: &[&str] = &[
    r#"ds_select("1", "4", "2")"#,
    r#"ds_select_routes("1=4", "d")"#,
    r#"ds_select_routes("1=4", "d", "2")"#,
    "ds_is_from_list()",
];

/// The functions that may not be called in this route: each stands on a line of its own, which the parser names.
fn refused(header: &str, stock: bool) -> Vec<&'static str> {
    const FIRST: &str = "# the functions";
    let lines: String = FUNCTIONS.iter().map(|call| format!("\n{call};")).collect();
    let route = format!("request_route {{\nexit;\n}}\n{FIRST}\n{header} {{ {lines}\n}}\n");
    let mut builder = Kamailio::builder().list("1 sip:127.0.0.1\n").route(&route);
    if stock {
        builder = builder.stock();
    }
    let (may_start, said, text) = builder.check();
    let first = text.lines().position(|line| line == FIRST).unwrap() + 3;
    let refused: Vec<&str> = std::iter::zip(first.., FUNCTIONS)
        .filter(|(line, _)| said.contains(&format!("line {line},")))
        .map(|(_, call)| *call)
        .collect();
    assert_eq!(may_start, refused.is_empty(), "{header}, refused {refused:?}: {said}");
    refused
}

#[track_caller]
fn as_in_the_stock_module(header: &str) -> usize {
    let (ours, mut stock) = (refused(header, false), refused(header, true));
    stock.retain(|call| !WIDER.contains(call));
    assert_eq!(ours, stock, "in {header}");
    ours.len()
}

#[test]
fn all_may_be_called_where_requests_are_routed() {
    assert_eq!(as_in_the_stock_module("route[MORE]"), 0);
    assert_eq!(as_in_the_stock_module("failure_route[F]"), 0);
    // A route for a request that the server makes itself.
    assert_eq!(as_in_the_stock_module("event_route[tm:local-request]"), 0);
}

#[test]
fn destination_may_not_be_changed_elsewhere() {
    for header in ["onreply_route[R]", "branch_route[B]", "onsend_route"] {
        assert!(as_in_the_stock_module(header) >= 8, "in {header}");
    }
}
