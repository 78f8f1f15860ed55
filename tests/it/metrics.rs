//! Figures of destinations: by HTTP, by RPC, and as a real Prometheus stores them.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use crate::support::child::ChildGuard;
use crate::support::server_config::Builder;
use crate::support::{Gateways, Kamailio, eventually};

const PATIENCE: Duration = Duration::from_secs(30);
const PREFIX: &str = "kamailio_dispatcher_destination_";
/// Of each destination.
const FIGURES: usize = 12;

const ROUTE: &str = r#"
request_route {
    if (is_method("ACK")) { t_relay(); exit; }
    if (is_method("BYE")) { ds_load_update(); sl_send_reply("200", "OK"); exit; }
    if (!ds_select_dst("1", "10")) { sl_send_reply("404", "No destination"); exit; }
    t_on_failure("NEXT");
    t_relay();
}
onreply_route { if (status =~ "2[0-9][0-9]") ds_load_update(); }
failure_route[NEXT] { if (ds_next_dst()) { t_on_failure("NEXT"); t_relay(); } else { ds_load_unset(); } }
event_route[xhttp:request] {
    if ($hu == "/counters") { prom_dispatch(); exit; }
    if ($hu == "/metrics") { ds_prometheus(); exit; }
    if ($hu == "/metrics/2") { ds_prometheus("2"); exit; }
    xhttp_reply("404", "Not Found", "text/plain", "");
}
"#;

fn builder(list: &str) -> Builder {
    Kamailio::builder()
        .list(list)
        .tcp()
        .module("xhttp")
        .module("xhttp_prom")
        .globals("tcp_accept_no_cl=yes\n")
        .modparam(
            "modparam(\"xhttp_prom\", \"xhttp_prom_stats\", \"dispatcher:\")\n\
             modparam(\"dispatcher\", \"flags\", 2)\n",
        )
        .route(ROUTE)
}

/// The body of the answer to a GET.
#[track_caller]
pub fn get(server: &Kamailio, path: &str) -> String {
    let mut stream = TcpStream::connect(server.address()).expect("a TCP listen");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: kamailio\r\nContent-Length: 0\r\n\r\n").unwrap();
    let (mut answer, mut part) = (Vec::new(), [0; 65536]);
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.expect("a length").trim().parse().unwrap() {
                assert!(head.starts_with("HTTP/1.1 200"), "{head}");
                return body.to_owned();
            }
        }
        let len = stream.read(&mut part).expect("the rest of the answer");
        assert!(len > 0, "the answer ends early: {text}");
        answer.extend(&part[..len]);
    }
}

/// The samples of destinations in a text: name and labels, value.
fn samples(text: &str) -> HashMap<String, u64> {
    all_samples(text).into_iter().filter(|(name, _)| name.starts_with(PREFIX)).collect()
}

/// Those of the module as a whole.
fn of_module(text: &str) -> HashMap<String, u64> {
    all_samples(text).into_iter().filter(|(name, _)| !name.starts_with(PREFIX)).collect()
}

/// Latencies are as RPC tells them, in milliseconds.
fn all_samples(text: &str) -> HashMap<String, u64> {
    let sample = |line: &str| {
        let (name, value) = line.rsplit_once(' ').unwrap();
        match value.parse::<f64>().unwrap() {
            seconds if name.contains("_latency_seconds{") => {
                (name.replace("_seconds{", "_milliseconds{"), (seconds * 1000.0).round() as u64)
            }
            number => (name.to_owned(), number as u64),
        }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(sample).collect()
}

/// What RPC says, in the form of [`samples`].
fn by_rpc(server: &Kamailio, which: Value) -> HashMap<String, u64> {
    let stats = server.rpc("dispatcher.stats", which).unwrap();
    let mut samples = HashMap::new();
    for one in stats.as_array().expect("an array") {
        let label = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
        let (set, uri, duid) = (&one["SET"], label("URI"), label("DUID"));
        for (name, value) in one.as_object().unwrap() {
            if let (Some(value), false) = (value.as_u64(), name == "SET") {
                let name = name.to_lowercase();
                samples.insert(
                    format!("{PREFIX}{name}{{set=\"{set}\",uri=\"{uri}\",duid=\"{duid}\",socket=\"\"}}"),
                    value,
                );
            }
        }
    }
    samples
}

#[test]
fn every_destination_has_its_series_from_the_start_and_loses_it_when_it_is_removed() {
    let server = builder("1 sip:127.0.1.1 0 0 duid=a;maxload=5\n2 sip:127.0.2.1 4\n").start();
    let all = samples(&get(&server, "/metrics"));
    assert_eq!(all.len(), 2 * FIGURES);
    assert_eq!(all, by_rpc(&server, json!([])));
    let of = |name: &str, labels: &str| all[&format!("{PREFIX}{name}{{{labels},socket=\"\"}}")];
    let (first, second) =
        ("set=\"1\",uri=\"sip:127.0.1.1\",duid=\"a\"", "set=\"2\",uri=\"sip:127.0.2.1\",duid=\"\"");
    assert_eq!((of("up", first), of("maxload", first), of("disabled", first)), (1, 5, 0));
    assert_eq!((of("up", second), of("disabled", second)), (0, 1));
    server.rpc("dispatcher.drain", json!([1, "a", 3600])).unwrap();
    let all = samples(&get(&server, "/metrics"));
    let of = |name: &str, labels: &str| all[&format!("{PREFIX}{name}{{{labels},socket=\"\"}}")];
    assert_eq!((of("up", first), of("disabled", first), of("draining", first)), (0, 0, 1));
    assert_eq!(of("draining", second), 0);

    server.write_list("2 sip:127.0.2.1 4\n3 sip:127.0.3.1\n");
    server.rpc("dispatcher.reload", json!([])).unwrap();
    let text = get(&server, "/metrics");
    assert!(!text.contains("127.0.1.1") && text.contains("127.0.3.1"), "{text}");
    assert_eq!(samples(&text), by_rpc(&server, json!([])));
    let one = samples(&get(&server, "/metrics/2"));
    assert!(one.len() == FIGURES && one.keys().all(|name| name.contains("set=\"2\"")), "{one:?}");
    server.stop();
}

/// With the private memory that a process has by default, 8 MB: the server holds an answer twice.
#[test]
fn thousands_are_scraped_at_once_and_read_by_rpc_in_parts() {
    const COUNT: usize = 2000;
    const PART: usize = 90;
    let list: String =
        (0..COUNT).map(|n| format!("1 sip:127.1.{}.{}:5060 0 0 duid=gw{n}\n", n / 250, n % 250)).collect();
    let mut server = builder(&list).globals("tcp_conn_wq_max=16777216\n").start();
    let text = get(&server, "/metrics");
    let scraped = samples(&text);
    assert_eq!(scraped.len(), COUNT * FIGURES, "{} bytes", text.len());
    let mut read = HashMap::new();
    for from in (0..COUNT).step_by(PART) {
        read.extend(by_rpc(&server, json!([1, from, PART])));
    }
    assert_eq!(scraped, read);

    let part = |from: usize, count: usize| {
        let audit = server.rpc("dispatcher.load_audit", json!([from, count])).unwrap();
        let all = audit["DESTINATIONS"].as_array().unwrap();
        let name = |one: &Value| one["DEST"]["NAME"].as_str().unwrap().to_owned();
        (audit["DRIFT"].clone(), all.iter().map(name).collect::<Vec<_>>())
    };
    let mut names: Vec<_> = (0..COUNT).step_by(500).flat_map(|from| part(from, 500).1).collect();
    assert_eq!(part(COUNT - 1, 9), (json!(0), names[COUNT - 1..].to_vec()));
    names.sort();
    let mut due: Vec<_> = (0..COUNT).map(|n| format!("gw{n}")).collect();
    due.sort();
    assert_eq!(names, due);
    server.assert_healthy();
    server.stop();
}

#[test]
fn calls_that_are_placed_sent_on_and_refused_are_counted_where_they_belong() {
    let good = Gateways::answering(1, 200);
    let bad = Gateways::answering(1, 480);
    let list =
        format!("1 {} 0 9 duid=bad;maxload=2\n1 {} 0 0 duid=good;maxload=2\n", bad.uri(0), good.uri(0));
    let mut server = builder(&list).start();
    let mut agent = server.agent();
    let mut place = || {
        let mut call = agent.call();
        agent.place(&mut call).status()
    };
    let answers = [place(), place(), place()];
    // The first of two equal ones fails and hands on; the second too; then the good one is full, and the bad one fails.
    assert_eq!(answers, [Some(200), Some(200), Some(480)]);
    let stats = server.rpc("dispatcher.stats", json!([1])).unwrap();
    let of = |duid: &str, name: &str| {
        stats.as_array().unwrap().iter().find(|one| one["DUID"] == json!(duid)).map(|one| one[name].clone())
    };
    assert_eq!((of("good", "LOAD"), of("bad", "LOAD")), (Some(json!(2)), Some(json!(0))));
    assert_eq!(of("good", "SELECTED_TOTAL"), Some(json!(2)));
    let of_bad = (of("bad", "SELECTED_TOTAL"), of("bad", "FAILED_OVER_TOTAL"));
    assert_eq!(of_bad, (Some(json!(3)), Some(json!(2))), "the last one had nowhere else to go");
    server.rpc("dispatcher.set_state", json!(["d", 1, bad.uri(0)])).unwrap();
    assert_eq!(place(), Some(404));
    let stats = server.rpc("dispatcher.stats", json!([1])).unwrap();
    let refused = |duid: &str| {
        let one = stats.as_array().unwrap().iter().find(|one| one["DUID"] == json!(duid)).unwrap();
        one["REFUSED_TOTAL"].clone()
    };
    assert_eq!((refused("good"), refused("bad")), (json!(1), json!(0)));
    assert!(get(&server, "/counters").contains("kamailio_dispatcher_placed "), "the server's counters");
    let of_last_audit = || {
        let all = of_module(&get(&server, "/metrics"));
        ["drift", "misplaced", "timestamp_seconds"]
            .map(|name| all[&format!("kamailio_dispatcher_last_audit_{name}")])
    };
    assert_eq!(of_last_audit(), [0; 3], "there was none");
    let placed = of_module(&get(&server, "/metrics"))["kamailio_dispatcher_placed_total"];
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let before = now();
    let audit = server.rpc("dispatcher.load_audit", json!([])).unwrap();
    assert_eq!(json!(placed), audit["PLACED"]);
    let [drift, misplaced, time] = of_last_audit();
    assert_eq!((json!(drift), json!(misplaced)), (audit["DRIFT"].clone(), audit["MISPLACED"].clone()));
    assert!((before..=now()).contains(&time), "{time} after {before}");
    server.assert_healthy();
    server.stop();
}

/// A Prometheus with its own data folder on a free port.
struct Prometheus {
    address: SocketAddr,
    _server: ChildGuard,
    _dir: tempfile::TempDir,
}

impl Prometheus {
    #[track_caller]
    fn scraping(target: SocketAddr) -> Prometheus {
        let dir = tempfile::Builder::new().prefix("prometheus-").tempdir().expect("a data folder");
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
        let config = include_str!("../../docs/prometheus/prometheus.yml")
            .replace("192.0.2.1:5060", &target.to_string())
            .replace("15s", "1s");
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("the configuration");
        let rules = include_str!("../../docs/prometheus/rules.yml");
        std::fs::write(dir.path().join("rules.yml"), rules).expect("the rules");
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = ChildGuard::spawn(&mut command).expect("prometheus is installed");
        Prometheus { address, _server: server, _dir: dir }
    }

    /// The values of a metric by the destination's URI; none while there is no answer.
    fn values(&self, metric: &str) -> HashMap<String, u64> {
        let answer = || {
            let mut stream = TcpStream::connect(self.address).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).ok()?;
            write!(stream, "GET /api/v1/query?query={metric} HTTP/1.0\r\n\r\n").ok()?;
            let mut text = String::new();
            stream.read_to_string(&mut text).ok()?;
            serde_json::from_str::<Value>(text.split_once("\r\n\r\n")?.1).ok()
        };
        let answer = answer().unwrap_or_default();
        let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        let value = |row: &Value| {
            let value = row["value"][1].as_str()?.parse().ok()?;
            Some((row["metric"]["uri"].as_str().unwrap_or_default().to_owned(), value))
        };
        rows.iter().filter_map(value).collect()
    }
}

#[test]
fn a_real_prometheus_stores_what_rpc_says() {
    let gateways = Gateways::answering(3, 200);
    let server = builder(&gateways.list(1, "maxload=7")).start();
    let prometheus = Prometheus::scraping(server.address());
    let mut agent = server.agent();
    for _ in 0..8 {
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(200));
    }
    server.rpc("dispatcher.set_state", json!(["d", 1, gateways.uri(2)])).unwrap();
    for name in ["up", "load", "maxload", "selected_total", "disabled"] {
        let stats = server.rpc("dispatcher.stats", json!([])).unwrap();
        let due: HashMap<String, u64> = stats
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["URI"].as_str().unwrap().into(), one[name.to_uppercase()].as_u64().unwrap()))
            .collect();
        assert_eq!(due.len(), 3);
        let metric = format!("{PREFIX}{name}");
        eventually(&format!("{metric}: {due:?}"), PATIENCE, || prometheus.values(&metric) == due);
    }
    eventually("the module's counters", PATIENCE, || {
        prometheus.values("kamailio_dispatcher_placed_total").values().eq([&8])
    });
    server.stop();
}

const BY_HAND: &str = r#"
request_route {
    if (!is_method("INVITE")) exit;
    if (!ds_select("1", "4")) { sl_send_reply("404", "No destination"); exit; }
    ds_set_dst();
    sl_send_reply("480", "Not really sent");
}
"#;

#[test]
fn request_that_a_script_sends_by_hand_is_counted_once_and_a_list_is_no_request() {
    let list = "1 sip:127.0.1.1\n1 sip:127.0.1.2\n";
    let flags = "modparam(\"dispatcher\", \"flags\", 2)";
    let server = Kamailio::builder().list(list).modparam(flags).route(BY_HAND).start();
    let mut agent = server.agent();
    for _ in 0..4 {
        let mut call = agent.call();
        assert_eq!(agent.place(&mut call).status(), Some(480));
    }
    let stats = server.rpc("dispatcher.stats", json!([])).unwrap();
    let selected: Vec<_> =
        stats.as_array().unwrap().iter().map(|one| one["SELECTED_TOTAL"].clone()).collect();
    assert_eq!(selected, [json!(2), json!(2)]);
    server.stop();
}

/// Each alert with a destination in it, on figures that a real server gave.
#[test]
fn rules_of_the_package_see_a_gateway_that_is_down_on_a_real_prometheus() {
    let gateways = Gateways::answering(2, 200);
    let list = gateways.list(1, "maxload=8") + "1 sip:127.0.9.1 1 0 maxload=8\n1 sip:127.0.9.2 4\n";
    let server = builder(&list).start();
    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..4).map(|_| agent.call()).collect();
    for call in &mut calls {
        assert_eq!(agent.place(call).status(), Some(200));
    }
    let prometheus = Prometheus::scraping(server.address());
    for (series, due) in [
        ("set:kamailio_dispatcher_destination_up:sum", 2),
        ("set:kamailio_dispatcher_destination_enabled:sum", 3),
        ("set:kamailio_dispatcher_destination_load:sum", 4),
        ("4*set:kamailio_dispatcher_destination_load:ratio_maxload", 1),
    ] {
        let due = HashMap::from([(String::new(), due)]);
        eventually(&format!("{series}: {due:?}"), PATIENCE, || prometheus.values(series) == due);
    }
    // It waits its minute; no other alert has anything to say.
    let due = HashMap::from([("sip:127.0.9.1".to_owned(), 1)]);
    eventually("the alert", PATIENCE, || prometheus.values("ALERTS") == due);
    server.stop();
}

#[test]
fn each_rule_fires_when_it_should_and_else_not() {
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/prometheus/rules_test.yml");
    let output = Command::new("promtool").args(["test", "rules", tests]).output().expect("promtool");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&[output.stdout, output.stderr].concat()));
}

/// What `promtool check metrics` says of a text: whether it is content, and its words.
#[track_caller]
fn checked(text: &str) -> (bool, String) {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("prometheus is installed");
    child.stdin.take().expect("its input").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    let words = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&words).into_owned())
}

#[test]
fn promtool_finds_nothing_to_say_against_the_metrics() {
    let gateways = Gateways::answering(2, 200);
    let list = gateways.list(1, "maxload=7;latency=12") + "2 sip:127.0.2.1 4\n";
    let server = builder(&list).modparam("modparam(\"dispatcher\", \"ds_ping_latency_stats\", 1)").start();
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(200));
    for path in ["/metrics", "/metrics/2"] {
        let text = get(&server, path);
        let (content, words) = checked(&text);
        assert!(content && words.is_empty(), "{path}: {words}\n{text}");
    }
    let text = get(&server, "/metrics");
    assert!(
        text.lines().any(|line| line.contains("_latency_seconds{") && line.ends_with(" 0.012")),
        "{text}"
    );
    assert_eq!(samples(&text), by_rpc(&server, json!([])));
    // Refusals are by set and cause: four of each set, and those of sets that there are not.
    assert_eq!(of_module(&text).len(), 8 + 3 + 2 * 4 + 1, "{text}");
    // The server's way to show counters gives no help texts: why ours are in our own text as well.
    let (content, words) = checked(&get(&server, "/counters"));
    assert!(!content && words.lines().all(|line| line.ends_with("no help text")), "{words}");
    server.stop();
}

#[test]
fn labels_of_any_bytes_are_read_by_a_real_prometheus_and_are_different_ones() {
    let server = builder("").start();
    let mut list = b"1 sip:127.0.1.1 0 0 duid=a\\b\n1 sip:127.0.1.2 0 0 duid=\"q'\"\n".to_vec();
    for byte in [0xfe, 0xff, 0xc3] {
        list.extend([&b"1 sip:u"[..], &[byte], b"@127.0.1.3 0 0 duid=", &[byte], b"\n"].concat());
    }
    list.extend("1 sip:ü@127.0.1.4 0 0 duid='say\"ü\"'\n".bytes());
    std::fs::write(server.list_file(), list).unwrap();
    server.rpc("dispatcher.reload", json!([])).unwrap();
    let text = get(&server, "/metrics");
    for labels in [
        r#"uri="sip:127.0.1.1",duid="a\\b""#,
        r#"uri="sip:127.0.1.2",duid="q'""#,
        r#"uri="sip:u\\xfe@127.0.1.3",duid="\\xfe""#,
        r#"uri="sip:u\\xff@127.0.1.3",duid="\\xff""#,
        r#"uri="sip:u\\xc3@127.0.1.3",duid="\\xc3""#,
        r#"uri="sip:ü@127.0.1.4",duid="say\"ü\"""#,
    ] {
        let line = format!("{PREFIX}up{{set=\"1\",{labels},socket=\"\"}} 1\n");
        assert!(text.contains(&line), "{line} in {text}");
    }
    let prometheus = Prometheus::scraping(server.address());
    let uris =
        ["127.0.1.1", "127.0.1.2", "u\\xfe@127.0.1.3", "u\\xff@127.0.1.3", "u\\xc3@127.0.1.3", "ü@127.0.1.4"];
    let due = uris.map(|uri| (format!("sip:{uri}"), 1)).into();
    eventually(&format!("{due:?}"), PATIENCE, || prometheus.values(&format!("{PREFIX}up")) == due);
    server.stop();
}
