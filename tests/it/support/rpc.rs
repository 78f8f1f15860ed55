//! JSON-RPC to a server over the datagram socket of its `jsonrpcs` module, a Unix socket or one of UDP.
//!
//! One answer is one datagram. It carries `dispatcher.list` of about eight hundred destinations; above that the
//! server's send buffer is full and the call times out.

use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::net;

static NEXT: AtomicU32 = AtomicU32::new(1);

const TIMEOUT: Duration = Duration::from_secs(40);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RpcError {
    /// The server's code, or 0 when it did not answer.
    pub code: i64,
    pub message: String,
}

/// One destination of `dispatcher.list`.
#[derive(Debug, Clone)]
pub struct Destination {
    pub set: i64,
    pub uri: String,
    pub flags: String,
    pub priority: i64,
    pub attrs: String,
    pub duid: String,
    /// RUNTIME.DLGLOAD
    pub load: Option<i64>,
    /// The whole DEST, for what is not above.
    pub raw: Value,
}

/// Where a server listens. Clone it into as many threads as you like.
#[derive(Debug, Clone)]
pub struct Rpc {
    server: Server,
    run_dir: PathBuf,
}

#[derive(Debug, Clone)]
enum Server {
    Unix(PathBuf),
    Udp(SocketAddr),
}

impl Rpc {
    /// The server's socket is `rpc` in its run directory, or this address of UDP.
    pub fn new(run_dir: &Path, udp: Option<SocketAddr>) -> Rpc {
        let server = udp.map_or_else(|| Server::Unix(run_dir.join("rpc")), Server::Udp);
        Rpc { server, run_dir: run_dir.into() }
    }

    pub fn call(&self, method: &str, params: Value) -> Result<Value, RpcError> {
        self.call_within(TIMEOUT, method, params)
    }

    pub fn call_within(&self, timeout: Duration, method: &str, params: Value) -> Result<Value, RpcError> {
        read_answer(&self.ask(timeout, method, params)?)
    }

    /// The whole answer as it came, for the order of its fields.
    pub fn raw(&self, method: &str, params: Value) -> Result<String, RpcError> {
        self.ask(TIMEOUT, method, params).map(|answer| String::from_utf8_lossy(&answer).into_owned())
    }

    fn ask(&self, timeout: Duration, method: &str, params: Value) -> Result<Vec<u8>, RpcError> {
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        let request = request.to_string();
        let answer = match &self.server {
            Server::Udp(server) => exchange_by_udp(*server, request.as_bytes(), timeout),
            Server::Unix(server) => {
                let own = self.run_dir.join(format!("rpc.{id}"));
                let answer = exchange(&own, server, request.as_bytes(), timeout);
                drop(std::fs::remove_file(&own));
                answer
            }
        };
        answer.map_err(|e| RpcError { code: 0, message: format!("{method}: {e}") })
    }

    pub fn list(&self) -> Result<Vec<Destination>, RpcError> {
        Ok(read_list(&self.call("dispatcher.list", json!([]))?))
    }

    /// The recorded load of the first destination with this `duid`.
    #[track_caller]
    pub fn load_of(&self, duid: &str) -> i64 {
        let list = self.list().unwrap_or_else(|e| panic!("dispatcher.list: {e:?}"));
        let found = list.iter().find(|d| d.duid == duid);
        found.and_then(|d| d.load).unwrap_or_else(|| panic!("no load of {duid} in {list:?}"))
    }

    #[track_caller]
    pub fn total_load(&self) -> i64 {
        let list = self.list().unwrap_or_else(|e| panic!("dispatcher.list: {e:?}"));
        list.iter().filter_map(|d| d.load).sum()
    }

    /// Bytes of shared memory in use, without the allocator's own.
    #[track_caller]
    pub fn shm_used(&self) -> i64 {
        let answer = self.call("core.shmmem", json!([])).unwrap_or_else(|e| panic!("core.shmmem: {e:?}"));
        answer["used"].as_i64().expect("core.shmmem has used")
    }

    /// Whether there are `count` processes and each has come to its `child_init`, where kex measures its
    /// memory. (The process id in that table is no sign: whoever asks fills it in.)
    pub fn all_up(&self, count: usize, timeout: Duration) -> bool {
        let rows = |method| match self.call_within(timeout, method, json!([])) {
            Ok(Value::Array(rows)) => rows,
            _ => Vec::new(),
        };
        let up = rows("pkg.stats").iter().filter(|row| row["used"].as_i64() > Some(0)).count();
        up >= count && up >= rows("core.psx").len()
    }

    /// Process id and description of each process.
    #[track_caller]
    pub fn processes(&self) -> Vec<(i64, String)> {
        let answer = self.call("core.psx", json!([])).unwrap_or_else(|e| panic!("core.psx: {e:?}"));
        let rows = answer.as_array().map_or(&[][..], Vec::as_slice);
        rows.iter().map(|row| (row["PID"].as_i64().unwrap_or(0), text(&row["DSC"]))).collect()
    }
}

fn exchange(own: &Path, server: &Path, request: &[u8], timeout: Duration) -> std::io::Result<Vec<u8>> {
    let socket = UnixDatagram::bind(own)?;
    socket.set_read_timeout(Some(timeout))?;
    socket.set_write_timeout(Some(timeout))?;
    socket.send_to(request, server)?;
    let mut answer = vec![0; 1 << 20];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn exchange_by_udp(server: SocketAddr, request: &[u8], timeout: Duration) -> std::io::Result<Vec<u8>> {
    let socket = net::socket();
    socket.set_read_timeout(Some(timeout))?;
    socket.send_to(request, server)?;
    let mut answer = vec![0; 1 << 16];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}

fn read_answer(bytes: &[u8]) -> Result<Value, RpcError> {
    let mut answer: Value = serde_json::from_slice(bytes)
        .map_err(|e| RpcError { code: 0, message: format!("{e}: {}", String::from_utf8_lossy(bytes)) })?;
    if let Some(error) = answer.get("error") {
        return Err(RpcError { code: error["code"].as_i64().unwrap_or(0), message: text(&error["message"]) });
    }
    Ok(answer["result"].take())
}

/// The destinations of an answer to `dispatcher.list`.
pub fn read_list(answer: &Value) -> Vec<Destination> {
    let mut list = Vec::new();
    for record in answer["RECORDS"].as_array().into_iter().flatten() {
        let set = &record["SET"];
        for target in set["TARGETS"].as_array().into_iter().flatten() {
            let dest = &target["DEST"];
            list.push(Destination {
                set: set["ID"].as_i64().unwrap_or(-1),
                uri: text(&dest["URI"]),
                flags: text(&dest["FLAGS"]),
                priority: dest["PRIORITY"].as_i64().unwrap_or(-1),
                attrs: text(&dest["ATTRS"]["BODY"]),
                duid: text(&dest["ATTRS"]["DUID"]),
                load: dest["RUNTIME"]["DLGLOAD"].as_i64(),
                raw: dest.clone(),
            });
        }
    }
    list
}

/// A string as it is, another value as its JSON; none is empty.
fn text(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
