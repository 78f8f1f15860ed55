//! RPC beside the stock module's: tools read these answers.

use serde_json::{Value, json};

use crate::support::{Kamailio, RpcError};

const LIST: &str = "\
    # a comment\n\
    30 sip:127.0.30.1:5060 0 0 duid=a;maxload=5;weight=20;rweight=3;note=x\n\
    2  sip:127.0.2.1:5061;transport=tcp 1 7\n\
    2  sip:127.0.2.2 8 9 weight=50;\n\
    2  sip:127.0.2.3:5062 2 9 duid=b;my=y;obproxy=sip:127.0.0.7\n\
    100 sip:127.0.2.5:5070 0 0 duid=six\n\
    100 sips:127.0.2.4 16\n";

/// The stock module counts, and shows, no load without; it is started with it.
const LOAD_EVERYWHERE: &str = r#"modparam("dispatcher", "ds_hash_size", 8)"#;

struct Pair {
    ours: Kamailio,
    stock: Kamailio,
}

impl Pair {
    fn start() -> Pair {
        Pair {
            ours: Kamailio::builder().list(LIST).modparam(LOAD_EVERYWHERE).start(),
            stock: Kamailio::builder().list(LIST).stock().start(),
        }
    }

    /// Asks both, asserts that they answer the same after `tidy`, and gives the answer.
    #[track_caller]
    fn same(&self, method: &str, params: &Value, tidy: fn(&mut Value)) -> Result<Value, RpcError> {
        let ask = |server: &Kamailio| {
            server.rpc(method, params.clone()).map(|mut answer| {
                tidy(&mut answer);
                answer
            })
        };
        let (ours, stock) = (ask(&self.ours), ask(&self.stock));
        assert!(ours == stock, "{method} {params}:\n{}", difference(&ours, &stock));
        ours
    }

    #[track_caller]
    fn same_list(&self, params: &Value) {
        self.same("dispatcher.list", params, sets_in_order).unwrap();
    }

    fn stop(self) {
        self.ours.stop();
        // The stock one may end as it likes: it logs CRITICAL when it lists a destination without an address.
    }
}

/// The lines that only one of both has.
fn difference(ours: &Result<Value, RpcError>, stock: &Result<Value, RpcError>) -> String {
    let [ours, stock] = [ours, stock].map(|answer| format!("{answer:#?}"));
    let only = |who: &str, these: &str, others: &str| -> String {
        let lines = these.lines().filter(|line| !others.lines().any(|other| other == *line));
        lines.map(|line| format!("{who}: {}\n", line.trim())).collect()
    };
    only("ours", &ours, &stock) + &only("stock", &stock, &ours) + &format!("in {ours}")
}

/// The order of sets, ids, and `HEALTH` in the full form are the differences between both lists.
pub fn sets_in_order(answer: &mut Value) {
    let Some(records) = answer["RECORDS"].as_array_mut() else { return };
    records.sort_by_key(|record| record["SET"]["ID"].as_i64());
    for record in records {
        for target in record["SET"]["TARGETS"].as_array_mut().into_iter().flatten() {
            let fields = target["DEST"].as_object_mut().expect("a destination");
            fields.remove("HEALTH");
            // Each server has ids of its own, in one form.
            let id = fields.remove("IUID");
            let parts = id.as_ref().and_then(Value::as_str).map(|id| id.split('-').count());
            assert_eq!(parts, cfg!(stock_iuid).then_some(5), "{id:?}");
        }
    }
}

#[test]
fn list_is_the_same_plain_short_and_full() {
    let pair = Pair::start();
    for params in [json!([]), json!(["short"]), json!(["full"]), json!(["FULL"]), json!(["what"])] {
        pair.same_list(&params);
    }
    pair.stop();
}

#[test]
fn fields_come_in_the_same_order() {
    let pair = Pair::start();
    let names = |server: &Kamailio| {
        let text = server.rpc_handle().raw("dispatcher.list", json!(["full"])).unwrap();
        let (_, from) = text.split_once("sip:127.0.30.1").unwrap();
        let (these, _) = from.split_once("DLGLOAD").unwrap();
        field_names(these)
    };
    assert!(names(&pair.ours).len() >= 18);
    assert_eq!(names(&pair.ours), names(&pair.stock));
    pair.stop();
}

/// As the stock module does without `ds_hash_size`. Nobody has to set it for loads here, so the other lists show them anyway.
#[test]
fn short_list_has_no_load_unless_a_hash_size_is_set() {
    let ours = Kamailio::builder().list(LIST).start();
    let loads = |params: Value| {
        let list = ours.rpc("dispatcher.list", params).unwrap();
        let all = crate::support::rpc::read_list(&list);
        assert_eq!(all.len(), 6);
        all.iter().filter(|one| one.load.is_some()).count()
    };
    assert_eq!([json!(["short"]), json!([]), json!(["full"])].map(loads), [0, 6, 6]);
    ours.stop();
}

/// The words before a colon, in their order.
fn field_names(json: &str) -> Vec<String> {
    let words: Vec<&str> = json.split('"').collect();
    let is_name = |pair: &&[&str]| pair[1].trim_start().starts_with(':');
    words.windows(2).filter(is_name).map(|pair| pair[0].to_owned()).collect()
}

#[test]
fn set_state_says_and_does_the_same() {
    let pair = Pair::start();
    for state in ["a", "i", "d", "t", "ip", "ap", "tp", "dp", "1", "0", "2", "3", "0p", "A", "IP", "x", ""] {
        for (set, uri) in [(2, "sip:127.0.2.2"), (2, "all"), (2, "sip:nobody"), (100, "sip:127.0.2.5:5070")] {
            drop(pair.same("dispatcher.set_state", &json!([state, set, uri]), |_| {}));
            pair.same_list(&json!([]));
        }
    }
    pair.stop();
}

#[test]
fn all_of_a_set_that_is_not_there_is_an_error_only_here() {
    let pair = Pair::start();
    let ask = |server: &Kamailio| server.rpc("dispatcher.set_state", json!(["i", 3, "all"]));
    assert!(ask(&pair.stock).is_ok());
    assert_eq!(ask(&pair.ours).unwrap_err().message, "State Update Failed");
    pair.stop();
}

#[test]
fn reload_says_the_same() {
    let pair = Pair::start();
    assert!(pair.same("dispatcher.reload", &json!([]), |_| {}).is_ok());
    pair.same_list(&json!([]));
    pair.stop();
}

/// Fields and letters of each release, as its stock module has them; ids are unique, and stay through a reload.
#[test]
fn list_has_what_the_stock_module_of_the_release_has() {
    let list =
        "1 sip:127.0.1.1:5060 32 9 duid=a;ocmin=20;ocmax=90;ocrate=25;ping_socket=SOCKET\n1 sip:127.0.1.2\n";
    let start = |stock: bool| {
        let socket = crate::support::net::free_port(crate::support::net::address());
        let builder = Kamailio::builder().globals(&format!("listen=udp:{socket}"));
        let builder =
            builder.list(list.replace("SOCKET", &format!("udp:{socket}"))).modparam(LOAD_EVERYWHERE);
        let server = if stock { builder.stock() } else { builder }.start();
        let told = server.rpc("dispatcher.list", json!(["full"])).unwrap();
        (
            server,
            serde_json::from_str::<Value>(&told.to_string().replace(&socket.to_string(), "SOCKET")).unwrap(),
        )
    };
    let [(ours, mut one), (stock, mut other)] = [false, true].map(start);
    let dest = |at: usize, of: &Value| of["RECORDS"][0]["SET"]["TARGETS"][at]["DEST"].clone();
    let [first, second] = [0, 1].map(|at| dest(at, &one));
    assert_eq!(first["FLAGS"], json!(if cfg!(stock_no_ping) { "AN" } else { "AX" }));
    let limits = cfg!(stock_overload).then(|| [json!(20), json!(90)]);
    let there = |of: &Value, name: &str| of["ATTRS"].get(name).cloned();
    assert_eq!(there(&first, "OCMIN").zip(there(&first, "OCMAX")).map(|(a, b)| [a, b]), limits);
    assert_eq!(first.get("OCRATE"), cfg!(stock_overload).then(|| json!(25)).as_ref());
    assert_eq!(second.get("ATTRS").is_some(), cfg!(stock_overload), "shown where there are none");
    assert_eq!(there(&first, "PROBING_COUNT"), cfg!(stock_probing_count).then(|| json!(0)));
    assert_eq!(there(&first, "PING_SOCKET"), cfg!(stock_ping_socket).then(|| json!("udp:SOCKET")));
    assert_eq!(second.get("IDX"), cfg!(stock_iuid).then(|| json!(1)).as_ref());
    let ids = [first, second].map(|of| of.get("IUID").cloned());
    assert_eq!(ids[0] != ids[1], cfg!(stock_iuid), "{ids:?}");
    ours.rpc("dispatcher.reload", json!([])).unwrap();
    let again = ours.rpc("dispatcher.list", json!(["full"])).unwrap();
    assert_eq!(ids, [0, 1].map(|at| dest(at, &again).get("IUID").cloned()));
    sets_in_order(&mut one);
    sets_in_order(&mut other);
    assert!(one == other, "{}", difference(&Ok(one), &Ok(other)));
    ours.stop();
    stock.stop();
}
