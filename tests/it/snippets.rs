//! Runs what the README and the docs tell a reader to write and to type, word for word.
//!
//! Changed are only: the folder of the module in `mpath`, the path of the list file, the addresses of gateways, and in front
//! of a configuration `listen` and `jsonrpcs` (and `ctl`), by which a test reaches the server; and one test waits less long
//! for a gateway that says nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::support::host;
use crate::support::net;
use crate::support::server_config::dispatcher_so;
use crate::support::transports::Http;
use crate::support::{Agent, Call, Gateways, Kamailio};

const SOON: Duration = Duration::from_secs(10);

/// A fenced block of a page.
#[derive(Debug, Clone)]
struct Snippet {
    page: PathBuf,
    kind: String,
    text: String,
}

/// README, and each page in docs.
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let docs = fs::read_dir(root.join("docs")).expect("the folder docs");
    let docs = docs.map(|entry| entry.expect("an entry of docs").path());
    let mut pages: Vec<_> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
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

#[test]
fn every_snippet_of_the_pages_is_of_a_kind_that_is_run_here() {
    for one in snippets() {
        assert!(["kamailio", "list", "sh"].contains(&one.kind.as_str()), "{one:?}");
    }
    assert_eq!((of_kind("kamailio").len(), of_kind("list").len(), of_kind("sh").len()), (3, 1, 2));
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
        assert_eq!(server.total_load(), 8 - at as i64);
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
    let monitoring = of_kind("kamailio").remove(1).text;
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
    let shows_it = |one: &Snippet| one.text.contains("ds_status_page");
    let page = of_kind("kamailio").into_iter().find(shows_it).expect("its configuration").text;
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

#[test]
fn every_command_that_a_page_shows_can_be_given() {
    let gateways = Gateways::answering(3, 200);
    let (_, list) = first();
    let binrpc = "modparam(\"ctl\", \"binrpc\", \"unixs:RUN_DIR/ctl\")";
    let server = Kamailio::builder().list(list).module("ctl").modparam(binrpc).start();
    let socket = format!("unixs:{}/ctl", server.run_dir().display());
    let mut seen = Vec::new();
    for (page, line) in commands() {
        seen.push(line.split(' ').take(2).collect::<Vec<_>>().join(" "));
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
