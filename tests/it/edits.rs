//! Destinations added, removed and marked by RPC, beside the stock module.

use serde_json::{Value, json};

use crate::stock_rpc::sets_in_order;
use crate::support::{Kamailio, RpcError, host};

const LIST: &str = "\
    1 sip:127.0.1.1:5060 0 5 duid=a;maxload=5\n\
    1 sip:127.0.1.2:5060 8 5 duid=b\n\
    1 sip:127.0.1.3:5060 0 9\n\
    7 sip:127.0.7.1:5060 2 0 duid=seven;weight=50\n";

fn start() -> [Kamailio; 2] {
    [
        Kamailio::builder().list(LIST).start(),
        Kamailio::builder()
            .list(LIST)
            .stock()
            .modparam("modparam(\"dispatcher\", \"reload_delta\", 0)")
            .start(),
    ]
}

/// Sets in the order of their ids, destinations of equal priority in any: the stock module turns them around with each change.
fn listed(server: &Kamailio) -> Result<Value, RpcError> {
    let mut list = server.rpc("dispatcher.list", json!([]))?;
    sets_in_order(&mut list);
    for record in list["RECORDS"].as_array_mut().expect("an array of sets") {
        let targets = record["SET"]["TARGETS"].as_array_mut().expect("an array of destinations");
        for target in targets.iter_mut() {
            let fields = target["DEST"].as_object_mut().expect("a destination");
            // Of equals, which comes first differs.
            fields.remove("IDX");
            // Each change drops P from all, where it drops it at all.
            let letters = fields["FLAGS"].as_str().map(host::unprobed);
            fields["FLAGS"] = json!(letters);
        }
        targets.sort_by_key(|target| {
            let field = |name: &str| target["DEST"][name].clone();
            (-field("PRIORITY").as_i64().unwrap_or(0), field("URI").to_string())
        });
    }
    Ok(list)
}

#[test]
fn answers_and_sets_are_the_same_after_each_of_forty_commands() {
    let servers = start();
    let add = "dispatcher.add";
    let remove = "dispatcher.remove";
    let duid = "dispatcher.set_duid_state";
    let mut calls = vec![
        (add, json!([1, "sip:127.0.1.4:5060"])),
        (add, json!([1, "sip:127.0.1.5:5061;transport=tcp", 8])),
        (add, json!([1, "sip:127.0.1.6:5060", 2, 7])),
        (add, json!([1, "sip:127.0.1.7:5060", 0, 9, "duid=x;maxload=7;weight=20;rweight=3"])),
        (add, json!([9, "sip:127.0.9.1:5060", 1, 0, "duid=nine"])),
        (add, json!([0, "sip:127.0.0.8:5060"])),
        (remove, json!([0, "sip:127.0.0.8:5060"])),
        (remove, json!([1, "sip:127.0.1.4:5060"])),
        (remove, json!([9, "sip:127.0.9.1:5060"])),
        (remove, json!([1, "sip:127.0.1.6:5060"])),
        ("dispatcher.ping_active", json!([])),
        ("dispatcher.ping_active", json!([0])),
        ("dispatcher.ping_active", json!([])),
        ("dispatcher.ping_active", json!([7])),
        ("dispatcher.ping_active", json!([1])),
        (add, json!([7, "sip:127.0.7.2:5060", 4, 3])),
        ("dispatcher.set_state", json!(["ip", 7, "sip:127.0.7.2:5060"])),
        (remove, json!([7, "sip:127.0.7.1:5060"])),
        ("dispatcher.reload", json!([])),
    ];
    for state in ["a", "ip", "d", "tp", "2", "x", ""] {
        calls.extend([
            (duid, json!([state, 1, "a"])),
            (duid, json!([state, 1, "B"])),
            (duid, json!([state, 1, "nobody"])),
        ]);
    }
    calls.extend([(duid, json!(["a", 77, "a"])), (duid, json!(["ip", 7, "all"]))]);
    assert!(calls.len() > 40);
    for (method, params) in calls {
        let [ours, stock] = servers.each_ref().map(|server| server.rpc(method, params.clone()));
        assert_eq!(ours, stock, "{method} {params}");
        let [ours, stock] = servers.each_ref().map(listed);
        assert_eq!(ours, stock, "the list after {method} {params}");
    }
    servers.into_iter().for_each(|server| drop(server.stop()));
}

#[test]
fn hashes_are_the_same_for_any_key() {
    let servers = start();
    for (slots, first, second) in [
        (0, "alice", Some("server.com")),
        (4, "bob", Some("server.com")),
        (7, "bob", Some("server.com:5070")),
        (3, "a-call-id@192.0.2.1", None),
        (-3, "x", None),
        (1, "", Some("")),
    ] {
        let params = second.map_or(json!([slots, first]), |second| json!([slots, first, second]));
        let [ours, stock] = servers.each_ref().map(|server| server.rpc("dispatcher.hash", params.clone()));
        assert_eq!(ours, stock, "{params}");
    }
    servers.into_iter().for_each(|server| drop(server.stop()));
}

/// The stock module says Ok to all of these, and does nothing.
#[test]
fn what_cannot_be_added_or_removed_is_told_and_changes_nothing() {
    let server = Kamailio::builder().list(LIST).start();
    let before = listed(&server).unwrap();
    for (method, params, told) in [
        ("add", json!([1, "nonsense@@"]), "no SIP URI with a host"),
        (
            "add",
            json!([1, "sip:127.0.1.9", 0, 0, "duid=a;x='y"]),
            "attrs, byte 8: 'x=\\'y': the quote is not closed",
        ),
        ("add", json!([1, "sip:127.0.1.9", 0, 0, "socket=udp:192.0.2.1:5"]), "not a socket"),
        ("remove", json!([1, "sip:127.0.1.99"]), "no such destination"),
        ("remove", json!([77, "sip:127.0.1.1:5060"]), "no such destination"),
    ] {
        let error = server.rpc(&format!("dispatcher.{method}"), params.clone()).unwrap_err();
        assert!(error.code == 500 && error.message.contains(told), "{method} {params}: {error:?}");
        assert_eq!(listed(&server).unwrap(), before);
    }
    server.stop();
}

#[test]
fn changes_keep_counts_and_states_and_last_until_the_next_reload() {
    let server = Kamailio::builder().list(LIST).start();
    server.rpc("dispatcher.set_state", json!(["ip", 1, "sip:127.0.1.1:5060"])).unwrap();
    server.rpc("dispatcher.add", json!([1, "sip:127.0.1.9:5060", 0, 5])).unwrap();
    let flags = |uri: &str| server.list().into_iter().find(|one| one.uri == uri).map(|one| one.flags);
    assert_eq!(flags("sip:127.0.1.1:5060").as_deref(), Some("IP"));
    assert_eq!(flags("sip:127.0.1.9:5060").as_deref(), Some("AX"));
    server.rpc("dispatcher.reload", json!([])).unwrap();
    assert_eq!(flags("sip:127.0.1.1:5060").as_deref(), Some("IP"));
    assert_eq!(flags("sip:127.0.1.9:5060"), None);
    server.stop();
}

#[test]
fn reload_delta_holds_for_changes_too() {
    let server =
        Kamailio::builder().list(LIST).modparam("modparam(\"dispatcher\", \"reload_delta\", 3600)").start();
    server.rpc("dispatcher.add", json!([1, "sip:127.0.1.9"])).unwrap();
    for (method, params) in [
        ("dispatcher.add", json!([1, "sip:127.0.1.10"])),
        ("dispatcher.remove", json!([1, "sip:127.0.1.9"])),
        ("dispatcher.reload", json!([])),
    ] {
        let error = server.rpc(method, params).unwrap_err();
        assert_eq!((error.code, &*error.message), (500, "Ongoing reload"), "{method}");
    }
    server.stop();
}

#[test]
fn overload_control_of_a_set_is_listed() {
    let server = Kamailio::builder()
        .list("1 sip:127.0.1.1:5060 0 3 ocmin=20;ocmax=90;ocrate=25\n1 sip:127.0.1.2\n")
        .start();
    let list = server.rpc("dispatcher.oclist", json!([1])).unwrap();
    let first = &list[0];
    for (name, value) in
        [("group", 1), ("flags", 0), ("priority", 3), ("ocmin", 20), ("ocmax", 90), ("ocrate", 25)]
    {
        assert_eq!(first[name], json!(value), "{name}");
    }
    assert_eq!((&first["uri"], list.as_array().map(Vec::len)), (&json!("sip:127.0.1.1:5060"), Some(2)));
    assert_eq!(server.rpc("dispatcher.oclist", json!([2])).unwrap_err().code, 404);
    server.stop();
}

#[test]
fn destination_is_changed_and_keeps_its_state() {
    let server = Kamailio::builder().list(LIST).start();
    server.rpc("dispatcher.set_state", json!(["ip", 1, "sip:127.0.1.1:5060"])).unwrap();
    let update = |params: Value| server.rpc("dispatcher.update", params).map_err(|error| error.message);
    let one = || server.list().into_iter().find(|one| one.uri == "sip:127.0.1.1:5060").unwrap();
    let ok = json!("Ok. Dispatcher destination updated.");
    assert_eq!(update(json!([1, "sip:127.0.1.1:5060", -1, -1, "duid=a;maxload=77"])), Ok(ok.clone()));
    assert_eq!((one().flags.as_str(), one().attrs.as_str()), ("IP", "duid=a;maxload=77"));
    assert_eq!(update(json!([1, "sip:127.0.1.1:5060", -1, 99])), Ok(ok.clone()));
    assert_eq!((server.list()[0].uri.as_str(), one().flags.as_str()), ("sip:127.0.1.1:5060", "IP"));
    assert_eq!(update(json!([1, "sip:127.0.1.1:5060", 2])), Ok(ok));
    assert_eq!((one().flags.as_str(), one().attrs.as_str()), ("TX", "duid=a;maxload=77"));
    for (params, told) in [
        (json!([1, "sip:127.0.1.1:5060", -1, -1, "duid=other"]), "the duid must stay the same"),
        (json!([1, "sip:127.0.1.1:5060", -2]), "flags -2"),
        (json!([1, "sip:127.0.1.1:5060", -1, -1, "duid=a;x='y"]), "attrs, byte 8"),
        (json!([1, "sip:127.0.1.99"]), "no such destination"),
        (json!([1]), "Usage: dispatcher.update set uri "),
    ] {
        let error = update(params).unwrap_err();
        assert!(error.contains(told), "{told}: {error}");
    }
    server.stop();
}

#[test]
fn one_set_or_a_part_of_it_is_listed() {
    let server = Kamailio::builder().list(LIST).start();
    let list = |params: Value| server.rpc("dispatcher.list", params);
    let uris = |answer: &Value| -> Vec<String> {
        let targets = answer["RECORDS"][0]["SET"]["TARGETS"].as_array().cloned().unwrap_or_default();
        targets.iter().map(|target| target["DEST"]["URI"].as_str().unwrap().to_owned()).collect()
    };
    let all = list(json!(["short", 1])).unwrap();
    assert_eq!((&all["NRSETS"], &all["RECORDS"][0]["SET"]["SIZE"]), (&json!(2), &json!(3)));
    let set = uris(&all);
    assert_eq!(set.len(), 3);
    for from in 0..4 {
        let part = list(json!(["short", 1, from, 2])).unwrap();
        let due: Vec<_> = set.iter().skip(from).take(2).cloned().collect();
        assert_eq!(uris(&part), due, "from {from}");
    }
    assert_eq!(list(json!(["full", 99])).unwrap_err().code, 404);
    server.stop();
}
