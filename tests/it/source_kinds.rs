//! A source of destinations, a file or a table, that is edited while the server runs.

use std::collections::BTreeMap;
use std::fs;

use crate::source_model::Row;
use crate::support::database::{Database, Engine};
use crate::support::server_config::Builder;
use crate::support::{Gateways, Kamailio};

pub enum Source {
    File,
    Table(Database),
}

impl Source {
    /// Of that engine, or a file, and with these rows in it: the server is told where it is.
    #[track_caller]
    pub fn new(
        engine: Option<Engine>,
        builder: Builder,
        gateways: &Gateways,
        rows: &BTreeMap<usize, Row>,
    ) -> (Source, Builder) {
        let Some(engine) = engine else { return (Source::File, builder.list(lines(gateways, rows))) };
        let database = Database::start(engine);
        fill(&database, gateways, rows);
        let url = format!("modparam(\"dispatcher\", \"db_url\", \"{}\")", database.url());
        let builder = builder.module(database.module()).modparam(&url).modparam(database.modparam());
        (Source::Table(database), builder)
    }

    /// Replaces all that is in it. Who reads a file meanwhile finds the old one or the new one.
    #[track_caller]
    pub fn write(&self, server: &Kamailio, gateways: &Gateways, rows: &BTreeMap<usize, Row>) {
        match self {
            Source::File => {
                let (file, next) = (server.list_file(), server.run_dir().join("next"));
                fs::write(&next, lines(gateways, rows)).expect("a file in the run directory");
                fs::rename(&next, &file).expect("the list file can be replaced");
            }
            Source::Table(database) => fill(database, gateways, rows),
        }
    }
}

fn lines(gateways: &Gateways, rows: &BTreeMap<usize, Row>) -> String {
    let line = |(&n, Row { flags, priority, attrs }): (&usize, &Row)| {
        format!("100 {} {flags} {priority} {attrs}\n", gateways.uri(n))
    };
    rows.iter().map(line).collect()
}

fn fill(database: &Database, gateways: &Gateways, rows: &BTreeMap<usize, Row>) {
    let uris: Vec<String> = rows.keys().map(|&n| gateways.uri(n)).collect();
    let mut all = Vec::new();
    for (uri, Row { flags, priority, attrs }) in uris.iter().zip(rows.values()) {
        all.push((100, uri.as_str(), *flags, *priority, attrs.as_str()));
    }
    database.rows(&all);
}
