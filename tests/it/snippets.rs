//! Runs what the README and the docs tell a reader to write and to type, word for word.
//!
//! Changed are only: the folders in `mpath`, paths in `/etc/kamailio`, `/var/lib` and the address of the server's own socket, the
//! addresses of gateways, and in front of a configuration `listen` and `jsonrpcs` (and `ctl`), by which a test reaches the server; and
//! one test waits less long for a gateway that says nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::host;
use crate::support::net;
use crate::support::server_config::dispatcher_so;
use crate::support::transports::Http;
use crate::support::{Agent, Call, Gateways, Kamailio, eventually};

const SOON: Duration = Duration::from_secs(10);

/// A fenced block of a page.
#[derive(Debug, Clone)]
struct Snippet {
    page: PathBuf,
    kind: String,
    text: String,
}

/// README, and each page in docs and its folders.
fn pages() -> Vec<PathBuf> {
    fn inside(folder: &Path, into: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder of docs") {
            let path = entry.expect("an entry of docs").path();
            if path.is_dir() {
                inside(&path, into);
            } else if path.extension().is_some_and(|end| end == "md") {
                into.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = Vec::new();
    inside(&root.join("docs"), &mut pages);
    pages.sort();
    pages.insert(0, root.join("README.md"));
    pages
}

fn snippets() -> Vec<Snippet> {
    let mut all = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let parts: Vec<_> = text.split("\n```").collect();
        assert!(parts.len() % 2 == 1, "{} has a fence that is not closed", page.display());
        for part in parts.iter().skip(1).step_by(2) {
            let (kind, text) = part.split_once('\n').expect("a kind and a text");
            all.push(Snippet { page: page.clone(), kind: kind.into(), text: format!("{text}\n") });
        }
    }
    all
}

fn of_kind(kind: &str) -> Vec<Snippet> {
    snippets().into_iter().filter(|one| one.kind == kind).collect()
}

/// README's first configuration and its list file.
fn first() -> (String, String) {
    (of_kind("kamailio").remove(0).text, of_kind("list").remove(0).text)
}

/// The list with these gateways in the place of its addresses.
fn with_gateways(list: &str, gateways: &Gateways) -> String {
    let mut list = list.to_owned();
    for (at, address) in ["192.0.2.15:5060", "192.0.2.16:5060", "192.0.2.17:5060"].into_iter().enumerate() {
        assert!(list.contains(address), "{list}");
        list = list.replace(address, &gateways.address(at).to_string());
    }
    list
}

/// The configuration in a file, with what the top of this page says.
fn written(dir: &Path, config: &str, more: &str) -> PathBuf {
    const FOLDER: &str = "/usr/local/lib/kamailio/dispatcher-rs/";
    const LIST: &str = "\"/etc/kamailio/dispatcher.list\"";
    assert!(config.contains(FOLDER) && config.contains(LIST), "{config}");
    const MODULES: &str = "/usr/lib/x86_64-linux-gnu/kamailio/modules/";
    fs::copy(dispatcher_so(), dir.join("dispatcher.so")).expect("a copy of the module");
    let config = config.replace(FOLDER, &format!("{}/", dir.display())).replace(LIST, "DISPATCHER_LIST");
    let config = config.replace(MODULES, &format!("{}/", host::folder()));
    let before = format!(
        "#!KAMAILIO\nmpath=\"{}/\"\nlisten=LISTEN_ADDR\nauto_aliases=no\ndebug=2\nchildren=2\n{more}\n\
         loadmodule \"jsonrpcs.so\"\nloadmodule \"kex.so\"\n\
         modparam(\"jsonrpcs\", \"transport\", 4)\nmodparam(\"jsonrpcs\", \"dgram_socket\", RPC_SOCKET)\n",
        host::folder()
    );
    let file = dir.join("kamailio.cfg");
    fs::write(&file, before + &config).expect("a file");
    file
}

fn start(gateways: &Gateways, behind: &str) -> (Kamailio, tempfile::TempDir) {
    let (config, list) = first();
    let dir = tempfile::tempdir().expect("a folder");
    let file = written(dir.path(), &(config + behind), "");
    (Kamailio::builder().file(file).list(with_gateways(&list, gateways)).start(), dir)
}

/// What is no configuration, list or command: a picture, or what a server says.
const SHOWN: &str = "text";

#[test]
fn every_snippet_of_the_pages_is_of_a_kind_that_is_run_here() {
    for one in snippets() {
        assert!(["kamailio", "list", "sh", SHOWN].contains(&one.kind.as_str()), "{one:?}");
    }
    let counts = ["kamailio", "list", "sh"].map(|kind| of_kind(kind).len());
    assert!(counts.iter().zip([90, 15, 15]).all(|(count, least)| *count >= least), "{counts:?}");
}

/// Configurations that may serve together: a whole one, or one that loads modules, is alone; the parts of a page are together, as
/// long as none has a route that is there.
fn together() -> Vec<(PathBuf, Vec<String>)> {
    let mut all: Vec<(PathBuf, Vec<String>)> = Vec::new();
    let routes = |text: &str| -> Vec<String> {
        text.lines().filter(|line| line.contains("route[")).map(|line| line.trim().to_owned()).collect()
    };
    for one in of_kind("kamailio") {
        let alone =
            |text: &str| ["loadmodule", "mpath", "request_route"].iter().any(|word| text.contains(word));
        let fits = |(page, texts): &&mut (PathBuf, Vec<String>)| {
            let there: Vec<_> = texts.iter().flat_map(|text| routes(text)).collect();
            *page == one.page
                && !texts.iter().any(|text| alone(text))
                && !routes(&one.text).iter().any(|route| there.contains(route))
        };
        match all.iter_mut().filter(|_| !alone(&one.text)).find(fits) {
            Some((_, texts)) => texts.push(one.text),
            None => all.push((one.page, vec![one.text])),
        }
    }
    all
}

/// Every configuration of every page, whole or in part, serves.
#[test]
fn every_configuration_that_a_page_shows_starts() {
    let all = together();
    assert!(all.len() > 8, "{} servers", all.len());
    for (page, texts) in all {
        println!("{}:\n{}", page.display(), texts.join("\n"));
        let (file, _dir) = around(&texts);
        let list = of_kind("list").remove(0).text.replace("192.0.2.", "127.0.2.");
        let server = Kamailio::builder().file(file).tcp().list(list).start();
        let version = server.rpc("dispatcher.version", serde_json::json!([])).unwrap();
        assert!(version["DESTINATIONS"].as_i64() > Some(0), "{version}");
        server.stop();
    }
}

/// A configuration around these: settings in front, lines of a route in a route, and a routing if there is none.
fn around(texts: &[String]) -> (PathBuf, tempfile::TempDir) {
    const SETTINGS: [&str; 5] = ["loadmodule", "modparam", "mpath", "tcp_", "listen="];
    const UP: &str = "if (is_method(\"OPTIONS\")) { sl_send_reply(\"200\", \"OK\"); exit; }";
    let dir = tempfile::tempdir().expect("a folder");
    let here = format!("{}/", dir.path().display());
    fs::copy(dispatcher_so(), dir.path().join("dispatcher.so")).expect("a copy of the module");
    let tables = dir.path().join("dbtext");
    fs::create_dir(&tables).expect("a folder");
    let columns = "setid(int) destination(string) flags(int) priority(int) attrs(string)";
    for (table, text) in [
        ("version", "table_name(string) table_version(int)\ndispatcher:4\n".to_owned()),
        ("dispatcher", format!("{columns}\n100:sip\\:192.0.2.15\\:5060:0:0:duid=1\n")),
    ] {
        fs::write(tables.join(table), text).expect("a table");
    }
    let own = net::free_port(net::address());
    let (mut loads, mut params, mut routes) = (String::new(), String::new(), String::new());
    for (at, text) in texts.iter().enumerate() {
        let (settings, lines): (Vec<&str>, Vec<&str>) =
            text.lines().partition(|line| SETTINGS.iter().any(|word| line.starts_with(word)));
        for line in settings {
            let to = if line.starts_with("modparam") { &mut params } else { &mut loads };
            to.push_str(&format!("{line}\n"));
        }
        let lines = lines.join("\n");
        let first = |line: &str| line.split([' ', '[']).next().is_some_and(|word| word.ends_with("route"));
        let is_routing = lines.lines().any(first);
        // Nothing but a word about where it goes.
        if lines.lines().all(|line| line.is_empty() || line.starts_with("# ")) {
            continue;
        }
        routes += &if is_routing { lines } else { format!("route[SHOWN_{at}] {{\n{lines}\n}}") };
        routes += "\n";
    }
    // Debian's own, of the file that a part belongs to.
    if routes.contains("route(RELAY)") && !routes.contains("route[RELAY]") {
        routes += "route[RELAY] {\nif (!t_relay()) sl_reply_error();\nexit;\n}\n";
    }
    if !routes.contains("request_route") {
        routes += "request_route {\n}\n";
    }
    let ours = "loadmodule \"dispatcher.so\"\nmodparam(\"dispatcher\", \"list_file\", DISPATCHER_LIST)\n";
    if !loads.contains("dispatcher.so") {
        loads += ours;
    }
    let base = ["jsonrpcs", "kex", "pv", "tm", "tmx", "sl", "rr", "maxfwd", "textops", "siputils", "xlog"];
    let base = base.iter().filter(|name| !loads.contains(&format!("\"{name}.so\"")));
    // tmx comes after tm.
    let base = base.filter(|name| **name != "tmx" || !loads.contains("\"tm.so\""));
    let base: String = base.map(|name| format!("loadmodule \"{name}.so\"\n")).collect();
    let mut text = format!("{base}{loads}{params}{routes}")
        .replace("request_route {", &format!("request_route {{\n{UP}"));
    for (written, instead) in [
        ("/usr/local/lib/kamailio/dispatcher-rs/", here.clone()),
        ("/usr/lib/x86_64-linux-gnu/kamailio/dispatcher-rs/", here.clone()),
        ("/usr/lib/x86_64-linux-gnu/kamailio/modules/", format!("{}/", host::folder())),
        ("\"/etc/kamailio/dispatcher.list\"", "DISPATCHER_LIST".into()),
        ("/etc/kamailio/", here.clone()),
        ("/var/lib/kamailio/", here.clone()),
        ("udp:192.0.2.1:5060", format!("udp:{own}")),
        ("tcp:192.0.2.1:8080", format!("tcp:{own}")),
        // A probe from a loopback socket to anywhere else is a fault of the network that the core calls critical.
        ("192.0.2.", "127.0.2.".into()),
    ] {
        text = text.replace(written, &instead);
    }
    let text = format!(
        "#!KAMAILIO\nmpath=\"{here}:{}/\"\nlisten=LISTEN_ADDR\nlisten=udp:{own} name \"media\"\n#!ifdef TCP_ADDR\nlisten=TCP_ADDR\n#!endif\n\
         auto_aliases=no\ndebug=2\nchildren=1\n{text}\n\
         modparam(\"jsonrpcs\", \"transport\", 4)\nmodparam(\"jsonrpcs\", \"dgram_socket\", RPC_SOCKET)\n",
        host::folder()
    );
    let file = dir.path().join("kamailio.cfg");
    fs::write(&file, text).expect("a file");
    (file, dir)
}

/// Every line of every list file loads, without a finding that the page does not show.
#[test]
fn every_list_that_a_page_shows_loads_with_no_finding_but_those_shown() {
    for one in of_kind("list") {
        let own = net::free_port(net::address());
        let list = one.text.replace("udp:192.0.2.1:5060", &format!("udp:{own}"));
        let sockets = format!("listen=udp:{own} name \"media\"");
        let lines = list.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).count();
        let server = Kamailio::builder().globals(&sockets).list(list).start();
        let page = fs::read_to_string(&one.page).expect("a page");
        for line in server.log_lines("dispatcher.list:").iter().filter(|line| line.contains("WARNING")) {
            let finding = line.split_once("dispatcher.list:").and_then(|(_, rest)| rest.split_once(": "));
            let (_, finding) = finding.expect("a place and a finding");
            assert!(page.contains(finding), "{}: {line}", one.page.display());
        }
        assert!(server.log_lines("ERROR: dispatcher").is_empty(), "{}: {}", one.page.display(), one.text);
        assert_eq!(server.list().len(), lines, "{}: {}", one.page.display(), one.text);
        server.stop();
    }
}

/// INVITE to the server, answer, ACK along the route set.
fn place(agent: &mut Agent, call: &mut Call) -> u16 {
    agent.send(&call.invite());
    let answer = agent.answer(call, "INVITE");
    if answer.status() == Some(200) {
        call.learn(&answer);
        agent.send_on(&call.ack(&answer));
    } else {
        agent.send(&call.ack(&answer));
    }
    answer.status().unwrap()
}

#[test]
fn first_configuration_spreads_calls_evenly_and_releases_each_at_its_bye_from_either_side() {
    let gateways = Gateways::answering(3, 200);
    let (mut server, _dir) = start(&gateways, "");
    let mut agent = server.agent();
    let mut calls: Vec<_> = (0..9).map(|_| agent.call()).collect();
    for call in &mut calls {
        assert_eq!(place(&mut agent, call), 200);
    }
    let loads: Vec<_> = server.list().iter().map(|one| one.load).collect();
    assert_eq!(loads, [Some(3); 3]);
    assert!(gateways.await_total("ACK", 9, SOON), "{:?}", gateways.counts("ACK"));
    for (at, call) in calls.iter_mut().enumerate() {
        if at % 2 == 0 {
            agent.send_on(&call.bye());
            assert_eq!(agent.answer(call, "BYE").status(), Some(200));
        } else {
            gateways.hang_up(&call.id);
            let bye = agent.receive_where(SOON, |m| m.method() == Some("BYE") && m.call_id() == call.id);
            agent.reply(&bye.expect("the gateway's BYE"), 200);
        }
        // A followed BYE counts at the end of its script, which may come after the BYE is here.
        eventually("the call is released", SOON, || server.total_load() == 8 - at as i64);
    }
    let audit = server.rpc("dispatcher.load_audit", serde_json::json!([])).unwrap();
    assert_eq!((audit["CALLS"].as_i64(), audit["DRIFT"].as_i64()), (Some(0), Some(0)));
    server.assert_healthy();
    server.stop();
}

#[test]
fn first_configuration_releases_what_is_cancelled_refused_and_never_answered() {
    let ringing = Gateways::ringing(3);
    let (server, _dir) = start(&ringing, "");
    let mut agent = server.agent();
    let mut call = agent.call();
    agent.ring(&mut call);
    assert_eq!(server.total_load(), 1);
    assert_eq!(agent.cancel(&mut call), 487);
    assert_eq!(server.total_load(), 0);
    server.stop();

    let busy = Gateways::answering(3, 486);
    let (server, _dir) = start(&busy, "");
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(place(&mut agent, &mut call), 486);
    assert_eq!(server.total_load(), 0);
    server.stop();

    let silent = Gateways::start(3, |_, _| Vec::new());
    let quick = "modparam(\"tm\", \"fr_timer\", 500)\n";
    let (server, _dir) = start(&silent, quick);
    let mut agent = server.agent();
    let mut call = agent.call();
    assert_eq!(place(&mut agent, &mut call), 408);
    assert_eq!(server.total_load(), 0);
    server.stop();
}

#[test]
fn list_files_of_readme_and_example_load_without_a_finding() {
    let (_, list) = first();
    let example = include_str!("../../kamailio.cfg.example");
    let in_comment =
        example.lines().filter_map(|line| line.strip_prefix("#   ")).filter(|line| line.contains("sip:1"));
    let in_comment: Vec<_> = in_comment.collect();
    assert_eq!(in_comment.len(), 3, "{in_comment:?}");
    for list in [list, in_comment.join("\n") + "\n"] {
        let server = Kamailio::builder().list(list.as_str()).start();
        let all = server.list();
        assert!(all.len() == 3 && all.iter().all(|one| one.set == 100 && one.duid.len() == 4), "{all:?}");
        assert!(
            server.log_lines("dispatcher.list:").is_empty(),
            "{:?}",
            server.log_lines("dispatcher.list:")
        );
        server.stop();
    }
}

#[test]
fn monitoring_configuration_answers_prometheus() {
    let gateways = Gateways::answering(3, 200);
    let (config, list) = first();
    let monitoring =
        of_kind("kamailio").into_iter().find(|one| one.text.contains("xhttp.so")).expect("one").text;
    let dir = tempfile::tempdir().expect("a folder");
    let file = written(dir.path(), &(config + &monitoring), "#!ifdef TCP_ADDR\nlisten=TCP_ADDR\n#!endif\n");
    let server = Kamailio::builder().file(file).tcp().list(with_gateways(&list, &gateways)).start();
    let (status, body) = Http::ask(server.address(), "/metrics", "").answer();
    let text = String::from_utf8(body).unwrap();
    let up = text.lines().filter(|line| line.starts_with("kamailio_dispatcher_destination_up{")).count();
    assert_eq!((status, up), (200, 3), "{text}");
    assert_eq!(Http::ask(server.address(), "/other", "").answer().0, 404);
    server.stop();
}

#[test]
fn status_page_of_its_page_is_shown_to_one_machine_at_one_port() {
    let gateways = Gateways::answering(3, 200);
    let (config, list) = first();
    let page =
        of_kind("kamailio").into_iter().find(|one| one.page.ends_with("status-page.md")).expect("one").text;
    let own = net::free_port(net::address());
    let config = config.replace("request_route {", "request_route {\n    if ($Rp == 8080) exit;");
    let config = (config + &page)
        .replace("192.0.2.1:8080", &own.to_string())
        .replace("8080", &own.port().to_string())
        .replace("192.0.2.100", "127.0.0.1");
    let dir = tempfile::tempdir().expect("a folder");
    let file = written(dir.path(), &config, "#!ifdef TCP_ADDR\nlisten=TCP_ADDR\n#!endif\n");
    let server = Kamailio::builder().file(file).tcp().list(with_gateways(&list, &gateways)).start();
    // What a loopback client comes from by itself is the machine that may.
    let (status, body) = Http::ask(own, "/status", "").answer();
    let text = String::from_utf8(body).unwrap();
    assert_eq!((status, text.matches("sip:").count()), (200, 3), "{text}");
    assert_eq!(Http::ask(own, "/other", "").answer().0, 404);
    assert_eq!(Http::ask(server.address(), "/status", "").answer().0, 403, "the SIP port");
    let (done, text) = run("curl", &["-sS", "--interface", "127.0.0.2", &format!("http://{own}/status")]);
    assert!(done && text == "not from here\n", "another machine: {text}");
    // SIP by TCP at that port finds nobody.
    let mut agent = Agent::connect(own);
    agent.send(&agent.call().invite());
    assert!(agent.receive_where(Duration::from_millis(500), |_| true).is_none(), "it is answered");
    assert_eq!(server.total_load(), 0);
    server.stop();
}

/// Everything that a reader is told to type: lines of shell blocks, and commands in backquotes.
fn commands() -> Vec<(PathBuf, String)> {
    let mut all: Vec<_> = of_kind("sh")
        .into_iter()
        .flat_map(|one| one.text.lines().map(|line| (one.page.clone(), line.to_owned())).collect::<Vec<_>>())
        .collect();
    for page in pages() {
        let text = fs::read_to_string(&page).expect("a page");
        let quoted = text.split("\n```").step_by(2).flat_map(|prose| prose.split('`').skip(1).step_by(2));
        let commands = quoted.filter(|text| text.starts_with("kamcmd ") || text.starts_with("make "));
        all.extend(commands.map(|command| (page.clone(), command.to_owned())));
    }
    let without_comment = |line: String| line.split(" # ").next().unwrap_or_default().trim().to_owned();
    all.into_iter()
        .map(|(page, line)| (page, without_comment(line)))
        .filter(|(_, line)| !line.is_empty())
        .collect()
}

/// What changes a whole system, or needs a database; `packaging/start-test.sh`, `packaging/deb-test.sh` and `tests/check.rs` run
/// most of it.
const OF_A_SYSTEM: [&str; 13] = [
    ".",
    "apt-get",
    "curl",
    "install",
    "systemctl",
    "chown",
    "chmod",
    "mv",
    "kamailio",
    "psql",
    "mysql",
    "sqlite3",
    "dispatcher-check",
];

#[test]
fn every_command_that_a_page_shows_can_be_given() {
    let gateways = Gateways::answering(3, 200);
    let (_, list) = first();
    let binrpc = "modparam(\"ctl\", \"binrpc\", \"unixs:RUN_DIR/ctl\")";
    // A drain without an end needs to know of calls.
    let counts = "modparam(\"dispatcher\", \"ds_load_auto\", 1)";
    let server = Kamailio::builder().list(list).module("ctl").modparam(binrpc).modparam(counts).start();
    let socket = format!("unixs:{}/ctl", server.run_dir().display());
    let mut seen = Vec::new();
    for (page, line) in commands() {
        seen.push(line.split(' ').take(2).collect::<Vec<_>>().join(" "));
        if OF_A_SYSTEM.iter().any(|program| line.starts_with(&format!("{program} "))) {
            continue;
        }
        let (status, output) = if let Some(arguments) = line.strip_prefix("kamcmd ") {
            run("sh", &["-c", &format!("{} -s {socket} {arguments}", host::kamcmd_path().display())])
        } else {
            // What it would do: that the target is there.
            let targets = line
                .strip_prefix("make ")
                .unwrap_or_else(|| panic!("{}: nobody runs '{line}'", page.display()));
            run("make", &[&["-n"][..], &targets.split(' ').collect::<Vec<_>>()].concat())
        };
        assert!(status && !output.contains("error:"), "{}: {line}\n{output}", page.display());
    }
    for expected in ["make demo", "make test", "make install", "kamcmd dispatcher.version", "kamcmd --"] {
        assert!(seen.iter().any(|one| one == expected), "{expected}: {seen:?}");
    }
    drop(gateways);
    server.stop();
}

/// Whether the program ended well, and what it said.
fn run(program: &str, arguments: &[&str]) -> (bool, String) {
    let top = env!("CARGO_MANIFEST_DIR");
    let output = Command::new(program).args(arguments).current_dir(top).output().expect("it is installed");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}
