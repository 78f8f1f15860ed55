//! Destinations from a real database, beside the stock module.

use serde_json::{Value, json};

use crate::stock_rpc::sets_in_order;
use crate::support::database::{Database, Engine};
use crate::support::server_config::Builder;
use crate::support::{Kamailio, host};

type Row<'a> = (i64, &'a str, i64, i64, &'a str);

const ROWS: [Row<'_>; 5] = [
    (1, "sip:127.0.1.1:5060", 0, 0, "duid=a;maxload=5"),
    (1, "sip:127.0.1.2:5060;transport=tcp", 8, 7, ""),
    (1, "sip:127.0.1.3", 0, 7, "weight=50;note=x-y"),
    (30, "sip:127.0.30.1:5060", 1, 0, "duid=thirty;"),
    (2, "sips:127.0.2.1", 2, 1, "my=it's"),
];

fn builder(database: &Database) -> Builder {
    let params =
        format!("modparam(\"dispatcher\", \"db_url\", \"{}\")\n{}", database.url(), database.modparam());
    Kamailio::builder().module(database.module()).modparam(&params)
}

/// The whole list, sets in the order of their ids.
fn listed(server: &Kamailio) -> Value {
    let mut list = server.rpc("dispatcher.list", json!([])).unwrap();
    sets_in_order(&mut list);
    list
}

fn uris(server: &Kamailio) -> Vec<String> {
    server.list().into_iter().map(|one| one.uri).collect()
}

fn reload(server: &Kamailio) -> Result<String, String> {
    let answer = server.rpc("dispatcher.reload", json!([]));
    answer.map(|text| text.as_str().unwrap_or_default().to_owned()).map_err(|error| error.message)
}

/// A table is read as the stock module reads it, a reload mirrors it, and what is wrong with a row is told.
#[track_caller]
fn table_is_mirrored(engine: Engine) {
    let database = Database::start(engine);
    database.rows(&ROWS);
    let [mut ours, stock] = [builder(&database), builder(&database).stock()].map(Builder::start);
    assert_eq!(listed(&ours), listed(&stock));
    assert_eq!(uris(&ours).len(), 5);

    database.rows(&ROWS[2..]);
    assert_eq!(reload(&ours).unwrap(), "Ok. Dispatcher successfully reloaded.");
    assert_eq!(listed(&ours)["NRSETS"], json!(3));
    let wrong = [
        (4, "sip:127.0.4.1", 0, 0, "obproxy=sip:p>"),
        (4, "nonsense@@", 0, 0, ""),
        (4, "sip:127.0.4.2 x", 0, 0, ""),
        (4, "sip:127.0.4.3", 0, 0, "maxload=9"),
    ];
    database.rows(&wrong);
    let answer = reload(&ours).unwrap();
    for told in [
        "row 1: (set 4, 'sip:127.0.4.1') attributes: obproxy='sip:p>'",
        "row 2: ",
        "row 3: ",
        "a blank at byte 14",
    ] {
        assert!(answer.contains(told), "{told}: {answer}");
    }
    assert_eq!(uris(&ours), ["sip:127.0.4.3"]);
    database.rows(&[]);
    reload(&ours).unwrap();
    assert_eq!(ours.rpc("dispatcher.list", json!([])).unwrap_err().message, "No Destination Sets");
    ours.assert_healthy();
    ours.stop();
    stock.stop();
}

#[test]
fn sqlite_is_mirrored() {
    table_is_mirrored(Engine::Sqlite);
}

#[test]
fn db_text_is_mirrored() {
    table_is_mirrored(Engine::Text);
}

#[test]
fn mariadb_is_mirrored() {
    table_is_mirrored(Engine::MariaDb);
}

#[test]
fn postgres_is_mirrored() {
    table_is_mirrored(Engine::Postgres);
}

#[test]
fn one_wrong_row_of_twenty_thousand_is_named_and_the_others_load() {
    const ROWS: usize = 20_000;
    const WRONG: usize = 12_345;
    let uris: Vec<String> = (0..ROWS).map(|n| format!("sip:127.1.{}.{}:5060", n / 250, n % 250)).collect();
    let attrs = |n: usize| if n == WRONG { "obproxy=sip:p>" } else { "weight=1" };
    let rows: Vec<_> = uris.iter().enumerate().map(|(n, uri)| (1, uri.as_str(), 0, 0, attrs(n))).collect();
    let database = Database::start(Engine::Sqlite);
    database.rows(&rows[..10]);
    let server = builder(&database).pkg_megabytes(64).start();
    database.rows(&rows);
    let answer = reload(&server).unwrap();
    let told = format!("row {}: (set 1, '{}') attributes: obproxy='sip:p>'", WRONG + 1, uris[WRONG]);
    assert!(answer.contains(&told), "{answer}");
    assert_eq!(server.log_lines(&told).len(), 1);
    let size = || {
        server.rpc("dispatcher.list", json!(["short", 1, 0, 1])).unwrap()["RECORDS"][0]["SET"]["SIZE"].clone()
    };
    assert_eq!(size(), json!(ROWS - 1));
    server.stop();
}

/// What served before serves on, and a later reload is as good as any.
#[track_caller]
fn server_may_go_and_come_back(engine: Engine) {
    let mut database = Database::start(engine);
    database.rows(&ROWS);
    let server = builder(&database).start();
    let before = listed(&server);
    database.kill();
    let error = reload(&server).unwrap_err();
    assert_eq!(error, "Reload Failed: table dispatcher: cannot connect, see the log");
    assert_eq!(listed(&server), before);
    database.serve();
    database.rows(&ROWS[..1]);
    reload(&server).unwrap();
    assert_eq!(uris(&server), ["sip:127.0.1.1:5060"]);
    server.stop();
}

#[test]
fn mariadb_may_go_and_come_back() {
    server_may_go_and_come_back(Engine::MariaDb);
}

#[test]
fn postgres_may_go_and_come_back() {
    server_may_go_and_come_back(Engine::Postgres);
}

#[test]
fn table_and_columns_may_have_other_names_and_further_columns_become_attributes() {
    let database = Database::start(Engine::Sqlite);
    database.run(
        "CREATE TABLE gateways (a INTEGER, b TEXT, c INTEGER, d INTEGER, e TEXT, sock TEXT, prefix INTEGER);
         INSERT INTO gateways VALUES (1, 'sip:127.0.1.1', 8, 3, 'duid=a', NULL, 49), (1, 'sip:127.0.1.2', NULL, NULL, NULL, NULL, NULL);
         INSERT INTO version (table_name, table_version) VALUES ('gateways', 4);",
    );
    let names = [("setid", "a"), ("destination", "b"), ("flags", "c"), ("priority", "d"), ("attrs", "e")];
    let columns: String = names
        .map(|(name, column)| format!("modparam(\"dispatcher\", \"{name}_col\", \"{column}\")\n"))
        .concat();
    let server = builder(&database)
        .modparam(&columns)
        .modparam("modparam(\"dispatcher\", \"table_name\", \"gateways\")")
        .modparam("modparam(\"dispatcher\", \"ds_db_extra_attrs\", \"socket=sock;pref=prefix\")")
        .modparam("modparam(\"dispatcher\", \"ds_attrs_none\", 1)")
        .start();
    let list = listed(&server);
    let targets = &list["RECORDS"][0]["SET"]["TARGETS"];
    let field = |at: usize, name: &str| targets[at]["DEST"][name].clone();
    assert_eq!((field(0, "FLAGS"), field(0, "PRIORITY")), (json!(host::unprobed("AP")), json!(3)));
    assert_eq!(field(0, "ATTRS")["BODY"], json!("duid=a;pref=49"));
    assert_eq!(field(1, "ATTRS")["BODY"], json!("none=yes"));
    server.stop();
}

#[test]
fn older_tables_have_fewer_columns_and_unknown_ones_stop_the_start() {
    let database = Database::start(Engine::Sqlite);
    database.run(
        "DROP TABLE dispatcher; CREATE TABLE dispatcher (setid INTEGER, destination TEXT);
         INSERT INTO dispatcher VALUES (1, 'sip:127.0.1.1');
         UPDATE version SET table_version = 1 WHERE table_name = 'dispatcher';",
    );
    let server = builder(&database).start();
    assert_eq!(uris(&server), ["sip:127.0.1.1"]);
    server.stop();
    database.run("UPDATE version SET table_version = 5 WHERE table_name = 'dispatcher';");
    let log = builder(&database).refused();
    assert!(log.contains("table dispatcher: its version is 5, expected one from 1 to 4"), "{log}");
}

#[test]
fn table_that_loses_a_column_or_a_strict_load_with_a_wrong_row_leaves_what_serves() {
    let database = Database::start(Engine::Sqlite);
    database.rows(&ROWS);
    let server = builder(&database).modparam("modparam(\"dispatcher\", \"ds_load_mode\", 1)").start();
    let before = listed(&server);
    database.rows(&[ROWS[0], (4, "sip:127.0.4.1", 0, 0, "maxload=no")]);
    let error = reload(&server).unwrap_err();
    assert!(
        error.starts_with("nothing loaded: 1 of 2 rows has errors and ds_load_mode is 1, the first: table dispatcher, row 2: (set 4"),
        "{error}"
    );
    assert_eq!(listed(&server), before);
    database.run("ALTER TABLE dispatcher DROP COLUMN attrs;");
    assert!(reload(&server).unwrap_err().contains("table dispatcher: the table cannot be read"));
    assert_eq!(listed(&server), before);
    server.stop();
}

#[test]
fn database_without_its_module_stops_the_start() {
    let url = "modparam(\"dispatcher\", \"db_url\", \"mysql://a:b@127.0.0.1/c\")";
    let log = Kamailio::builder().modparam(url).refused();
    assert!(log.contains("db_url is set, but the module for this database is not loaded"), "{log}");
}
