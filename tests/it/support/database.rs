//! Databases with the tables that the distribution ships, each with its own data folder and, where it has one, a server of its
//! own on a free port.

use std::cell::Cell;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::child::ChildGuard;
use super::net;
use super::wait::until;

const PATIENCE: Duration = Duration::from_secs(60);
/// Where the packages put the statements that make the tables.
const SCHEMAS: &str = "/usr/share/kamailio";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Text,
    MariaDb,
    Postgres,
}

/// A database with an empty table `dispatcher`.
pub struct Database {
    engine: Engine,
    dir: TempDir,
    port: u16,
    server: Option<ChildGuard>,
    changes: Cell<u64>,
}

impl Database {
    #[track_caller]
    pub fn start(engine: Engine) -> Database {
        let dir = tempfile::Builder::new().prefix("database-").tempdir().expect("a data folder");
        let port = match net::free_port(std::net::Ipv4Addr::LOCALHOST) {
            address if matches!(engine, Engine::MariaDb | Engine::Postgres) => address.port(),
            _ => 0,
        };
        let mut database = Database { engine, dir, port, server: None, changes: Cell::new(0) };
        database.make();
        database.serve();
        database.make_tables();
        database
    }

    /// The module that Kamailio needs for it.
    pub fn module(&self) -> &'static str {
        match self.engine {
            Engine::Sqlite => "db_sqlite",
            Engine::Text => "db_text",
            Engine::MariaDb => "db_mysql",
            Engine::Postgres => "db_postgres",
        }
    }

    /// What its module needs: `db_text` would keep what it read first.
    pub fn modparam(&self) -> &'static str {
        if self.engine == Engine::Text { "modparam(\"db_text\", \"db_mode\", 1)" } else { "" }
    }

    pub fn url(&self) -> String {
        let (dir, port) = (self.dir.path().display(), self.port);
        match self.engine {
            Engine::Sqlite => format!("sqlite:///{dir}/kamailio.db"),
            Engine::Text => format!("text://{dir}"),
            Engine::MariaDb => format!("mysql://kamailio:secret@127.0.0.1:{port}/kamailio"),
            Engine::Postgres => format!("postgres://kamailio:secret@127.0.0.1:{port}/kamailio"),
        }
    }

    /// Replaces all rows at once: set id, destination, flags, priority, attributes.
    #[track_caller]
    pub fn rows(&self, rows: &[(i64, &str, i64, i64, &str)]) {
        if self.engine == Engine::Text {
            let row = |(at, (set, uri, flags, priority, attrs)): (usize, &(i64, &str, i64, i64, &str))| {
                let escaped = |text: &str| text.replace('\\', "\\\\").replace(':', "\\:");
                format!("{at}:{set}:{}:{flags}:{priority}:{}:\n", escaped(uri), escaped(attrs))
            };
            let rows: String = rows.iter().enumerate().map(row).collect();
            let file = self.dir.path().join("dispatcher");
            let text = std::fs::read_to_string(&file).expect("the table");
            // The shipped table allows no empty text.
            let head = text.lines().next().unwrap_or_default().replace("(string) ", "(string,null) ");
            std::fs::write(&file, format!("{head}\n{rows}")).expect("the table can be written");
            // It looks at the time of the last change, in whole seconds.
            self.changes.set(self.changes.get() + 1);
            let later = SystemTime::now() + Duration::from_secs(self.changes.get());
            let table = std::fs::File::options().write(true).open(&file).expect("the table");
            table.set_modified(later).expect("its time can be set");
            return;
        }
        let row = |(set, uri, flags, priority, attrs): &(i64, &str, i64, i64, &str)| {
            let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
            let (uri, attrs) = (quoted(uri), quoted(attrs));
            format!(
                "INSERT INTO dispatcher (setid, destination, flags, priority, attrs) \
                 VALUES ({set}, {uri}, {flags}, {priority}, {attrs});\n"
            )
        };
        let inserts: String = rows.iter().map(row).collect();
        self.run(&format!("BEGIN;\nDELETE FROM dispatcher;\n{inserts}COMMIT;\n"));
    }

    /// Runs statements; they must succeed.
    #[track_caller]
    pub fn run(&self, sql: &str) {
        self.ask(sql);
    }

    /// What statements say, a row on a line; they must succeed.
    #[track_caller]
    pub fn ask(&self, sql: &str) -> String {
        let mut client = self.client();
        client.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = client.spawn().expect("the database's client can be run");
        let mut input = child.stdin.take().expect("its input");
        std::io::Write::write_all(&mut input, sql.as_bytes()).expect("the client reads");
        drop(input);
        let output = child.wait_with_output().expect("the client ends");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{errors}\nof {sql:.1000}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// A connection that runs these statements and keeps what locks they take until the guard goes, or the server. They are
    /// in force on return.
    #[track_caller]
    pub fn hold(&self, sql: &str) -> ChildGuard {
        let mut client = self.client();
        let sleeps = match self.engine {
            Engine::Sqlite | Engine::Text => panic!("it has no server"),
            Engine::MariaDb => {
                client.arg(format!("--execute={sql}; SELECT SLEEP(1000)"));
                "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User sleep'"
            }
            Engine::Postgres => {
                client.args(["-c", sql, "-c", "SELECT pg_sleep(1000)"]);
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            }
        };
        client.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = ChildGuard::spawn(&mut client).expect("the database's client can be run");
        assert!(until(PATIENCE, || self.ask(sleeps) == "1"), "not in force: {sql}");
        guard
    }

    fn client(&self) -> Command {
        let dir = self.dir.path();
        match self.engine {
            Engine::Sqlite => command("sqlite3", &["-bail", &path(dir, "kamailio.db")]),
            Engine::Text => panic!("db_text has no client"),
            Engine::MariaDb => {
                let socket = format!("--socket={}", path(dir, "socket"));
                let options = ["--no-defaults", &socket, "--user=root", "--batch", "--skip-column-names"];
                command("mariadb", &[&options[..], &["kamailio"]].concat())
            }
            Engine::Postgres => {
                let port = self.port.to_string();
                let options = ["-h", "127.0.0.1", "-p", &port, "-U", "kamailio"];
                let mut client =
                    command("psql", &[&options[..], &["-qAt", "-v", "ON_ERROR_STOP=1", "kamailio"]].concat());
                client.env("PGPASSWORD", "secret");
                client
            }
        }
    }

    /// Makes what a server needs before it can start.
    fn make(&self) {
        let dir = self.dir.path();
        match self.engine {
            Engine::Sqlite => {}
            Engine::Text => {
                for table in ["version", "dispatcher"] {
                    let from = format!("{SCHEMAS}/dbtext/kamailio/{table}");
                    std::fs::copy(&from, dir.join(table)).unwrap_or_else(|error| panic!("{from}: {error}"));
                }
            }
            Engine::MariaDb => {
                let data = format!("--datadir={}", path(dir, "data"));
                let options = ["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"];
                let mut install =
                    command("mariadb-install-db", &[&options[..], &[&data, "--user=root"]].concat());
                succeed(with_own_temporaries(&mut install, dir));
            }
            Engine::Postgres => {
                let data = path(dir, "data");
                succeed(command("chown", &["postgres", &dir.display().to_string()]));
                let initdb = postgres_program("initdb");
                let mut initdb = command(&initdb, &["-D", &data, "--auth=trust", "--no-sync", "-E", "UTF8"]);
                succeed(as_postgres(&mut initdb));
            }
        }
    }

    /// Starts the server, where there is one, and waits until it answers.
    #[track_caller]
    pub fn serve(&mut self) {
        let dir = self.dir.path();
        let port = self.port.to_string();
        let (mut server, mut ready) = match self.engine {
            Engine::Sqlite | Engine::Text => return,
            Engine::MariaDb => {
                let of = |name: &str, file: &str| format!("--{name}={}", path(dir, file));
                let (data, socket, pid) =
                    (of("datadir", "data"), of("socket", "socket"), of("pid-file", "pid"));
                let port = format!("--port={port}");
                let own = ["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--skip-log-bin"];
                let mut server = command("mariadbd", &[&own[..], &[&data, &socket, &pid, &port]].concat());
                with_own_temporaries(&mut server, dir);
                (server, command("mariadb-admin", &["--no-defaults", &socket, "--user=root", "ping"]))
            }
            Engine::Postgres => {
                let (data, sockets) = (path(dir, "data"), dir.display().to_string());
                let options = ["-D", &data, "-p", &port, "-h", "127.0.0.1", "-k", &sockets, "-F"];
                let mut server = command(&postgres_program("postgres"), &options);
                as_postgres(&mut server);
                (server, command("pg_isready", &["-h", "127.0.0.1", "-p", &port, "-q"]))
            }
        };
        server.stdout(Stdio::null()).stderr(Stdio::null());
        self.server = Some(ChildGuard::spawn(&mut server).expect("the database server can be started"));
        ready.stdout(Stdio::null()).stderr(Stdio::null());
        let answers = || ready.status().is_ok_and(|status| status.success());
        assert!(until(PATIENCE, answers), "{:?} is not ready", self.engine);
    }

    /// Ends the server at once with all its processes, as a crash does.
    pub fn kill(&mut self) {
        let Some(mut server) = self.server.take() else { return };
        // PostgreSQL gives each of its processes a group of its own. It is held, so that it replaces none, and that the ids
        // stay theirs.
        server.signal(libc::SIGSTOP);
        let pid = server.pid();
        let children =
            std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|child| child.parse().ok()) {
            // SAFETY: kill takes no pointers.
            unsafe { libc::kill(child, libc::SIGKILL) };
        }
        server.kill();
    }

    fn make_tables(&self) {
        let schema = |folder: &str, file: &str| {
            let path = format!("{SCHEMAS}/{folder}/{file}-create.sql");
            std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        let tables = |folder: &str| schema(folder, "standard") + &schema(folder, "dispatcher");
        match self.engine {
            Engine::Text => {}
            Engine::Sqlite => self.run(&tables("db_sqlite")),
            Engine::MariaDb => {
                let socket = format!("--socket={}", path(self.dir.path(), "socket"));
                let make = "CREATE DATABASE kamailio; CREATE USER kamailio@'%' IDENTIFIED BY 'secret'; \
                            GRANT ALL ON kamailio.* TO kamailio@'%'";
                succeed(command("mariadb", &["--no-defaults", &socket, "--user=root", "-e", make]));
                self.run(&tables("mysql"));
            }
            Engine::Postgres => {
                let port = self.port.to_string();
                let admin = ["-h", "127.0.0.1", "-p", &port, "-U", "postgres", "-q"];
                for make in
                    ["CREATE USER kamailio PASSWORD 'secret'", "CREATE DATABASE kamailio OWNER kamailio"]
                {
                    succeed(command("psql", &[&admin[..], &["-c", make]].concat()));
                }
                self.run(&tables("postgres"));
            }
        }
    }
}

fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments);
    command
}

fn path(dir: &Path, file: &str) -> String {
    dir.join(file).display().to_string()
}

#[track_caller]
fn succeed(mut command: impl std::borrow::BorrowMut<Command>) {
    let command = command.borrow_mut();
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}{errors}", String::from_utf8_lossy(&output.stdout));
}

/// A server that starts removes what it takes for its own left-overs, and thereby the tables that another has in the same
/// folder.
fn with_own_temporaries<'a>(command: &'a mut Command, dir: &Path) -> &'a mut Command {
    command.env("TMPDIR", dir)
}

/// The newest version that is installed; its folder is not in PATH.
#[track_caller]
fn postgres_program(name: &str) -> String {
    let versions = std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed");
    let mut programs: Vec<PathBuf> =
        versions.flatten().map(|version| version.path().join("bin").join(name)).collect();
    programs.sort();
    programs.pop().expect("a version of PostgreSQL").display().to_string()
}

/// The server refuses to run as root.
fn as_postgres(command: &mut Command) -> &mut Command {
    let users = std::fs::read_to_string("/etc/passwd").expect("the users");
    let user = users.lines().find(|line| line.starts_with("postgres:")).expect("a user postgres");
    let mut ids = user.split(':').skip(2).map(|id| id.parse().expect("a number"));
    let (uid, gid) = (ids.next().expect("a user id"), ids.next().expect("a group id"));
    command.uid(uid).gid(gid).current_dir("/")
}
