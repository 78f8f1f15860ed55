//! A database server that is killed in the middle of a reload.
//!
//! The tests do not rely on timing. The module's table is a view of another one that takes a lock for one of its rows. Another
//! connection holds that lock, or a whole table, so the query comes to this point and no further; the server itself tells
//! when it has. Rows before that one are on their way, for the servers send them as they find them.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::database::{Database, Engine};
use crate::support::rpc::read_list;
use crate::support::transports::by_fifo;
use crate::support::{Agent, Call, Gateways, Kamailio, eventually};

const ROWS: usize = 20_000;
const PATIENCE: Duration = Duration::from_secs(60);

const ROUTE: &str = r#"
request_route {
    if (is_method("ACK")) exit;
    if (is_method("BYE")) { ds_load_update(); sl_send_reply("200", "OK"); exit; }
    if (!ds_select_dst("100", "10")) { sl_send_reply("404", "No destination"); exit; }
    t_relay();
}
onreply_route { if (status =~ "2[0-9][0-9]") ds_load_update(); }
"#;

/// How far the reload comes.
#[derive(Debug, Clone, Copy)]
enum Until {
    /// It asks for the version of the table.
    Version,
    /// It asks for the rows and has none.
    Query,
    /// It has those before this one.
    Row(usize),
}

/// What one server calls what all have.
struct Words {
    param: &'static str,
    /// `{row}` is the row at which the view waits.
    view: &'static str,
    lock_table: &'static str,
    lock_row: &'static str,
    /// How many queries wait for a lock.
    waiting: &'static str,
    /// What the log says of it, one of these.
    lost: &'static [&'static str],
}

const MARIADB: Words = Words {
    // It gives up after two seconds, else.
    param: "modparam(\"db_mysql\", \"timeout_interval\", 60)",
    view: "IF(id = {row} AND GET_LOCK('row', 1000) IS NULL, '', attrs)",
    lock_table: "LOCK TABLES {table} WRITE",
    lock_row: "SELECT GET_LOCK('row', 0)",
    waiting: "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'kamailio' \
              AND state IN ('Waiting for table metadata lock', 'User lock')",
    // db_mysql tries to connect again where it has no row yet. Where it has some it says nothing and gives a result without
    // rows and columns, as db_sqlite does for an empty table: the module has to tell one from the other.
    lost: &["ERROR: db_mysql", "the connection was lost"],
};

const POSTGRES: Words = Words {
    param: "",
    view: "CASE WHEN id = {row} THEN CASE WHEN pg_advisory_lock(7) IS NULL THEN '' ELSE attrs END ELSE attrs END",
    lock_table: "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE",
    lock_row: "SELECT pg_advisory_lock(7)",
    waiting: "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    lost: &["server closed the connection unexpectedly"],
};

/// Attributes by URI.
type Rows = HashMap<String, String>;

/// As many destinations in set 1, other ones each time, and the gateways in set 100.
fn rows(gateways: &Gateways, generation: usize) -> Vec<(usize, String, String)> {
    let row = |n: usize| match n.checked_sub(2) {
        None => (100, gateways.uri(n), format!("duid=gw{n};generation={generation}")),
        Some(n) => {
            let attrs = format!("duid=d{n};generation={generation};note={:0400}", n * generation);
            (1, format!("sip:127.{generation}.{}.{}", n / 250, n % 250 + 1), attrs)
        }
    };
    (0..ROWS).map(row).collect()
}

#[track_caller]
fn write(database: &Database, rows: &[(usize, String, String)]) {
    let mut sql = String::from("TRUNCATE TABLE gateways;\n");
    for (at, chunk) in rows.chunks(1000).enumerate() {
        let value = |(n, (set, uri, attrs)): (usize, &(usize, String, String))| {
            format!("({}, {set}, '{uri}', 0, 0, '{attrs}')", at * 1000 + n)
        };
        let values: Vec<String> = chunk.iter().enumerate().map(value).collect();
        sql += &format!("INSERT INTO gateways VALUES {};\n", values.join(", "));
    }
    database.run(&sql);
}

fn make_table(database: &Database) {
    database.run(
        "DROP TABLE dispatcher;
         CREATE TABLE gateways (id INTEGER PRIMARY KEY, setid INTEGER, destination VARCHAR(192), flags INTEGER,
                                priority INTEGER, attrs VARCHAR(1024));",
    );
}

#[track_caller]
fn wait_at(database: &Database, words: &Words, row: usize) {
    let attrs = words.view.replace("{row}", &row.to_string());
    database.run(&format!(
        "CREATE OR REPLACE VIEW dispatcher AS \
         SELECT setid, destination, flags, priority, {attrs} AS attrs FROM gateways;"
    ));
}

/// By another transport than that of the reload, whose process waits; and what it answers may be large.
#[track_caller]
fn ask(server: &Kamailio, method: &str, params: Value) -> Value {
    let dir = server.run_dir();
    let mut answer = by_fifo(&dir.join("fifo"), dir, method, params);
    assert!(answer.get("error").is_none(), "{method}: {answer}");
    answer["result"].take()
}

/// In parts: jsonrpcs takes seconds to put twenty thousand into one answer.
fn list(server: &Kamailio) -> Vec<Value> {
    const PART: usize = 1000;
    let parts = (0..ROWS).step_by(PART).map(|from| json!(["", 1, from, PART]));
    parts.chain([json!(["", 100])]).map(|part| ask(server, "dispatcher.list", part)).collect()
}

#[track_caller]
fn up(agent: &mut Agent) -> Call {
    let mut call = agent.call();
    assert_eq!(agent.place(&mut call).status(), Some(200));
    call
}

#[track_caller]
fn assert_mirrors(server: &Kamailio, rows: &[(usize, String, String)]) {
    let due: Rows = rows.iter().map(|(_, uri, attrs)| (uri.clone(), attrs.clone())).collect();
    let found = list(server);
    let found: Rows = found.iter().flat_map(read_list).map(|one| (one.uri, one.attrs)).collect();
    assert_eq!(found.len(), due.len());
    assert!(found == due, "the table is not what serves");
}

#[track_caller]
fn killed_server_takes_nothing_along(engine: Engine, words: &Words) {
    let gateways = Gateways::answering(2, 200);
    let mut database = Database::start(engine);
    make_table(&database);
    write(&database, &rows(&gateways, 0));
    wait_at(&database, words, 0);
    let params = format!(
        "modparam(\"dispatcher\", \"db_url\", \"{}\")\n{}\n\
         modparam(\"jsonrpcs\", \"transport\", 6)\nmodparam(\"jsonrpcs\", \"fifo_name\", \"RUN_DIR/fifo\")\n\
         modparam(\"jsonrpcs\", \"fifo_reply_dir\", \"RUN_DIR/\")",
        database.url(),
        words.param
    );
    let builder = Kamailio::builder().module(database.module()).modparam(&params).route(ROUTE);
    // db_postgres has the whole table in private memory while it is read: 8 MB is enough for 7781 rows of this size.
    let mut server = builder.workers(2).pkg_megabytes(64).start();
    assert_mirrors(&server, &rows(&gateways, 0));
    let mut agent = server.agent();
    let mut calls = Vec::new();

    let instants =
        [Until::Version, Until::Query, Until::Row(2_000), Until::Row(10_000), Until::Row(ROWS - 1)];
    for (at, instant) in instants.into_iter().enumerate() {
        let (row, hold) = match instant {
            Until::Version => (0, words.lock_table.replace("{table}", "version")),
            Until::Query => (0, words.lock_table.replace("{table}", "gateways")),
            Until::Row(row) => (row, words.lock_row.to_owned()),
        };
        wait_at(&database, words, row);
        let holder = database.hold(&hold);
        let rpc = server.rpc_handle();
        let reload = std::thread::spawn(move || rpc.call_within(PATIENCE, "dispatcher.reload", json!([])));
        eventually("the reload waits in the server", PATIENCE, || database.ask(words.waiting) == "1");

        // Meanwhile there are calls, and an operator's word.
        calls.push(up(&mut agent));
        let state = ["ip", "d", "a", "t", "dp"][at];
        ask(&server, "dispatcher.set_state", json!([state, 1, "all"]));
        let before = list(&server);
        assert!(!reload.is_finished(), "{instant:?}");
        let reasons = || words.lost.iter().map(|lost| server.log_lines(lost).len()).sum::<usize>();
        let before_it = reasons();
        database.kill();
        let error = reload.join().unwrap().unwrap_err();
        let told = match instant {
            Until::Version => "its version cannot be read from the table 'version'",
            _ => "the table cannot be read",
        };
        let told = format!("Reload Failed: table dispatcher: {told}");
        assert!(error.code == 500 && error.message.starts_with(&told), "{instant:?}: {error:?}");
        assert!(reasons() > before_it, "{instant:?}: no reason in {}", server.log());
        assert!(list(&server) == before, "{instant:?}: what serves has changed");
        calls.push(up(&mut agent));
        server.assert_healthy();

        drop(holder);
        database.serve();
        let generation = at + 1;
        write(&database, &rows(&gateways, generation));
        let rpc = server.rpc_handle();
        rpc.call_within(PATIENCE, "dispatcher.reload", json!([])).unwrap();
        assert_mirrors(&server, &rows(&gateways, generation));
        let audit = ask(&server, "dispatcher.load_audit", json!([]));
        assert_eq!((&audit["DRIFT"], &audit["CALLS"]), (&json!(0), &json!(calls.len())), "{instant:?}");
    }
    calls.iter_mut().for_each(|call| assert_eq!(agent.hang_up(call), 200));
    assert_eq!(ask(&server, "dispatcher.load_audit", json!([]))["CALLS"], json!(0));
    server.assert_healthy();
    server.stop();
}

#[test]
fn mariadb_killed_in_the_middle_of_a_reload_takes_nothing_along() {
    killed_server_takes_nothing_along(Engine::MariaDb, &MARIADB);
}

#[test]
fn postgres_killed_in_the_middle_of_a_reload_takes_nothing_along() {
    killed_server_takes_nothing_along(Engine::Postgres, &POSTGRES);
}
