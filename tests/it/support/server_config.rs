//! The configuration of a test server: made here around a test's own routing, or a given file.

use super::counting::Counting;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::dns::Dns;
use super::host::{self, kamailio};
use super::net;
use super::over::Over;
use super::resolver::{QUICK_DNS, write_resolv_conf};
use super::server::Kamailio;

const MODULES: &[&str] =
    &["jsonrpcs", "kex", "corex", "pv", "sl", "rr", "maxfwd", "textops", "siputils", "xlog", "cfgutils"];
const TRANSACTIONS: [&str; 2] = ["tm", "tmx"];

/// The stock module counts no calls without.
const STOCK_NEEDS: &str = "modparam(\"dispatcher\", \"ds_hash_size\", 8)\n";

/// What the command line needs.
pub(super) struct Config {
    pub file: PathBuf,
    pub address: SocketAddr,
    pub rpc_udp: Option<SocketAddr>,
    pub shm_megabytes: u32,
    pub pkg_megabytes: u32,
    pub allocator: &'static str,
    pub resolv_conf: Option<PathBuf>,
    pub defines: Vec<String>,
}

pub struct Builder {
    workers: u32,
    list: String,
    modparams: String,
    globals: String,
    modules: Vec<String>,
    route: String,
    debug: u32,
    stock: bool,
    module: Option<PathBuf>,
    tcp: bool,
    tm: Tm,
    rpc_udp: Option<SocketAddr>,
    resolver: Option<Ipv4Addr>,
    shm_megabytes: u32,
    pkg_megabytes: u32,
    allocator: &'static str,
    defines: Vec<String>,
    file: Option<PathBuf>,
    files: Vec<(String, String)>,
}

/// Where the transaction module is loaded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tm {
    Before,
    After,
    Never,
}

impl Default for Builder {
    fn default() -> Builder {
        Builder {
            workers: 1,
            list: String::new(),
            modparams: String::new(),
            globals: String::new(),
            modules: Vec::new(),
            route: "request_route {\n}\n".into(),
            debug: 2,
            stock: false,
            module: None,
            tcp: Over::now().is_tcp(),
            tm: Tm::Before,
            rpc_udp: None,
            resolver: None,
            shm_megabytes: 256,
            pkg_megabytes: 8,
            allocator: "qm",
            file: None,
            defines: Vec::new(),
            files: Vec::new(),
        }
    }
}

impl Builder {
    /// Workers of the one UDP socket, and of TCP where the test goes over that.
    pub fn workers(mut self, workers: u32) -> Builder {
        self.workers = workers;
        self
    }

    /// The text of the list file.
    pub fn list(mut self, list: impl Into<String>) -> Builder {
        self.list = list.into();
        self
    }

    /// `modparam` lines, added to those before.
    pub fn modparam(mut self, lines: &str) -> Builder {
        self.modparams.push_str(lines);
        self.modparams.push('\n');
        self
    }

    /// Core settings such as `max_while_loops=1000`.
    pub fn globals(mut self, lines: &str) -> Builder {
        self.globals.push_str(lines);
        self.globals.push('\n');
        self
    }

    /// One more module, by name without `.so`.
    pub fn module(mut self, name: &str) -> Builder {
        self.modules.push(name.into());
        self
    }

    /// Everything from `request_route {` on. An OPTIONS that asks whether the server is up never reaches it. Without
    /// any text there is no native routing: a script of another language answers that OPTIONS as well.
    pub fn route(mut self, text: &str) -> Builder {
        self.route = text.into();
        self
    }

    /// More routes behind those there are.
    pub fn more_route(mut self, text: &str) -> Builder {
        self.route.push_str(text);
        self
    }

    /// One more file in the run directory, such as a script of another language. RUN_DIR in the configuration's
    /// strings is that directory.
    pub fn with_file(mut self, name: &str, text: &str) -> Builder {
        self.files.push((name.into(), text.into()));
        self
    }

    /// 2 is informational, 3 says everything.
    pub fn debug(mut self, level: u32) -> Builder {
        self.debug = level;
        self
    }

    /// The distribution's dispatcher in the place of ours: the judge where both must do the same.
    pub fn stock(mut self) -> Builder {
        self.stock = true;
        self
    }

    /// The module of this file in the place of the one under test.
    pub fn module_at(mut self, file: impl Into<PathBuf>) -> Builder {
        self.module = Some(file.into());
        self
    }

    /// Listens on TCP as well, at the same port.
    pub fn tcp(mut self) -> Builder {
        self.tcp = true;
        self
    }

    /// Loads the transaction module, and all others, after the dispatcher.
    pub fn tm_after(mut self) -> Builder {
        self.tm = Tm::After;
        self
    }

    /// A server without transactions.
    pub fn without_tm(mut self) -> Builder {
        self.tm = Tm::Never;
        self
    }

    /// The datagrams of JSON-RPC go by UDP, not by a Unix socket.
    pub fn rpc_by_udp(mut self) -> Builder {
        self.rpc_udp = Some(net::free_port(net::address()));
        self
    }

    /// Asks this server for names and no other, quickly (see [`QUICK_DNS`]).
    pub fn dns(mut self, dns: &Dns) -> Builder {
        self.resolver = Some(dns.address());
        self
    }

    pub fn shm_megabytes(mut self, megabytes: u32) -> Builder {
        self.shm_megabytes = megabytes;
        self
    }

    /// Private memory of each process; Kamailio's own default is 8.
    pub fn pkg_megabytes(mut self, megabytes: u32) -> Builder {
        self.pkg_megabytes = megabytes;
        self
    }

    /// `fm`, Kamailio's fast allocator; else `qm`, which checks for overruns.
    pub fn fast_allocator(mut self) -> Builder {
        self.allocator = "fm";
        self
    }

    /// A complete configuration that takes DISPATCHER_MODULE, DISPATCHER_LIST, LISTEN_ADDR and RPC_SOCKET as
    /// defines, as it is; and TCP_ADDR after [`Builder::tcp`]. Of the rest above only the list and the command line's settings
    /// count then.
    pub fn file(mut self, file: impl Into<PathBuf>) -> Builder {
        self.file = Some(file.into());
        self
    }

    /// One more define for such a file, NAME=VALUE.
    pub fn define(mut self, define: String) -> Builder {
        self.defines.push(define);
        self
    }

    #[track_caller]
    pub fn start(self) -> Kamailio {
        let (config, run_dir) = self.write();
        Kamailio::start(&config, run_dir)
    }

    /// Starts a server that must not come up; gives its log.
    #[track_caller]
    pub fn refused(self) -> String {
        let (config, run_dir) = self.write();
        let mut command = kamailio(&config.file);
        command.args(["-DD", "-E", "-m", "64"]).arg("-Y").arg(run_dir.path());
        let output = command.output().expect("kamailio is installed");
        assert!(!output.status.success(), "kamailio ran and ended well");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// Lets Kamailio read the configuration and no more: whether it may start, what it says, and what it has read.
    #[track_caller]
    pub fn check(self) -> (bool, String, String) {
        let (config, run_dir) = self.write();
        let mut command = host::checker(&config.file);
        command.arg("-Y").arg(run_dir.path());
        let output = command.output().expect("kamailio is installed");
        let text = std::fs::read_to_string(&config.file).expect("the configuration can be read");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned(), text)
    }

    #[track_caller]
    fn write(self) -> (Config, TempDir) {
        let run_dir = tempfile::Builder::new().prefix("kamailio-").tempdir().expect("a run directory");
        let dir = run_dir.path().to_owned();
        let address = net::free_port(net::address());
        let list = dir.join("dispatcher.list");
        std::fs::write(&list, &self.list).expect("the list file can be written");
        for (name, text) in &self.files {
            std::fs::write(dir.join(name), text).expect("the file can be written");
        }
        let stock = self.stock || std::env::var_os("DISPATCHER_SO").is_some_and(|so| so == "stock");
        let module = match &self.module {
            Some(file) => file.display().to_string(),
            None if stock => host::stock_module().display().to_string(),
            None => dispatcher_so(),
        };
        let (file, defines) = match &self.file {
            Some(file) => (
                if stock { for_stock(file, &dir) } else { file.clone() },
                [
                    self.defines.clone(),
                    vec![
                        format!("{}_ADDR=tcp:{address}", if self.tcp { "TCP" } else { "NO_TCP" }),
                        format!("LISTEN_ADDR=udp:{address}"),
                        format!("DISPATCHER_MODULE=\"{module}\""),
                        format!("DISPATCHER_LIST=\"{}\"", list.display()),
                        format!("RPC_SOCKET=\"{}\"", dir.join("rpc").display()),
                    ],
                ]
                .concat(),
            ),
            None => {
                let file = dir.join("kamailio.cfg");
                std::fs::write(&file, self.text(&dir, address, &module, stock)).expect("the configuration");
                (file, Vec::new())
            }
        };
        let (shm_megabytes, pkg_megabytes) = (self.shm_megabytes, self.pkg_megabytes);
        let allocator = self.allocator;
        let resolv_conf = self.resolver.map(|server| write_resolv_conf(&dir, server));
        let rpc_udp = self.rpc_udp;
        (
            Config { file, address, rpc_udp, shm_megabytes, pkg_megabytes, allocator, resolv_conf, defines },
            run_dir,
        )
    }

    fn text(&self, dir: &Path, address: SocketAddr, dispatcher: &str, stock: bool) -> String {
        let dir = dir.display();
        let tcp = match (self.tcp, Over::now()) {
            (false, _) => "disable_tcp=yes".into(),
            // Room for the longest message that a datagram could carry.
            (true, Over::Tcp) => format!(
                "listen=tcp:{address}\ntcp_children={}\ntcp_rd_buf_size=131072\ntcp_conn_wq_max=4194304\n\
                 tcp_max_connections=4096",
                self.workers
            ),
            (true, _) => format!("listen=tcp:{address}"),
        };
        let rpc = self.rpc_udp.map_or_else(|| format!("{dir}/rpc"), |address| format!("udp:{address}"));
        let quick = self.resolver.map_or("", |_| QUICK_DNS);
        let limit = if cfg!(message_limit) { "msg_recv_max_size=65535\n" } else { "" };
        let mut text = format!(
            "#!KAMAILIO\n#!substdef \"!RUN_DIR!{dir}!g\"\n\
             debug={}\nchildren={}\nlisten=udp:{address}\n{tcp}\nauto_aliases=no\ndns=no\nrev_dns=no\n{limit}{quick}{}\n",
            self.debug, self.workers, self.globals
        );
        let transactions = TRANSACTIONS.iter().filter(|_| self.tm != Tm::Never);
        let mut modules: Vec<String> = transactions.map(|module| format!("{module}.so")).collect();
        let others = MODULES.iter().copied().chain(self.modules.iter().map(String::as_str));
        modules.extend(others.map(|module| format!("{module}.so")));
        modules.insert(if self.tm == Tm::After { 0 } else { modules.len() }, dispatcher.into());
        text.extend(modules.iter().map(|module| format!("loadmodule \"{module}\"\n")));
        text.push_str(&format!(
            "modparam(\"jsonrpcs\", \"transport\", 4)\n\
             modparam(\"jsonrpcs\", \"dgram_socket\", \"{rpc}\")\n\
             modparam(\"jsonrpcs\", \"pretty_format\", 0)\n\
             modparam(\"dispatcher\", \"list_file\", \"{dir}/dispatcher.list\")\n"
        ));
        if self.tm != Tm::Never {
            text.push_str(
                "modparam(\"tm\", \"fr_timer\", 2000)\nmodparam(\"tm\", \"fr_inv_timer\", 20000)\n",
            );
        }
        if stock {
            text.push_str(STOCK_NEEDS);
        }
        let counting = Counting::now();
        if counting.is_followed() && !stock {
            text.push_str("modparam(\"dispatcher\", \"ds_load_auto\", 1)\n");
        }
        text.push_str(&self.modparams);
        let ready = "request_route {\n\
                     \tif (is_method(\"OPTIONS\") && $rU == \"ready\") { sl_send_reply(\"200\", \"Ready\"); exit; }\n";
        if self.route.is_empty() {
            return text;
        }
        assert!(self.route.contains("request_route {"), "the routing has no `request_route {{`");
        text.push_str(&counting.routing(&self.route).replacen("request_route {", ready, 1));
        text.push('\n');
        text
    }
}

fn for_stock(file: &Path, dir: &Path) -> PathBuf {
    let text = std::fs::read_to_string(file).expect("the configuration can be read");
    let own = dir.join("kamailio.cfg");
    let text = text.replacen("request_route {", &format!("{STOCK_NEEDS}request_route {{"), 1);
    std::fs::write(&own, text).expect("the configuration");
    own
}

/// The module under test: what `make build` leaves, or DISPATCHER_SO (a path, or `stock`).
pub fn dispatcher_so() -> String {
    let path = match std::env::var_os("DISPATCHER_SO") {
        Some(path) => PathBuf::from(path),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("build/dispatcher.so"),
    };
    assert!(path.is_file(), "no module at {}: run `make build`", path.display());
    path.display().to_string()
}
