//! Questions to a server by its other transports: JSON-RPC through named pipes and by HTTP, binary RPC with `kamcmd`.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::agent::token;
use super::host;
use super::wait::until;

/// A busy machine, and an answer of 86 MB.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks by the pipe `fifo`; the server answers into another one, in the folder `replies`.
#[track_caller]
pub fn by_fifo(fifo: &Path, replies: &Path, method: &str, params: Value) -> Value {
    let name = format!("reply-{}", token());
    let own = replies.join(&name);
    make_pipe(&own);
    let open = |path: &Path, writes: bool| {
        File::options().read(!writes).write(writes).custom_flags(libc::O_NONBLOCK).open(path)
    };
    let mut answer = open(&own, false).expect("the pipe just made");
    let question =
        json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params, "reply_name": name });
    // Nobody reads there until its process is up.
    assert!(until(PATIENCE, || open(fifo, true)
        .is_ok_and(|mut server| server.write_all(format!("{question}\n").as_bytes()).is_ok())));
    let text = read_pipe(&mut answer);
    drop(std::fs::remove_file(&own));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{error}: {} bytes", text.len()))
}

fn make_pipe(at: &Path) {
    let path = std::ffi::CString::new(at.to_str().expect("a path of text")).expect("no zero in it");
    // SAFETY: a text with an end, for the time of the call.
    let made = unsafe { libc::mkfifo(path.as_ptr(), 0o600) };
    assert_eq!(made, 0, "{}: {}", at.display(), std::io::Error::last_os_error());
}

/// Until the writer closes it; before it has opened it there is nothing to read, and no end either.
#[track_caller]
fn read_pipe(pipe: &mut File) -> Vec<u8> {
    let end = Instant::now() + PATIENCE;
    let mut text = Vec::new();
    let mut part = vec![0; 1 << 20];
    while Instant::now() < end {
        let mut poll = libc::pollfd { fd: pipe.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one struct, borrowed for the call.
        if unsafe { libc::poll(&raw mut poll, 1, 100) } <= 0 {
            continue;
        }
        match pipe.read(&mut part) {
            Ok(0) => return text,
            Ok(length) => text.extend_from_slice(&part[..length]),
            Err(_) => {}
        }
    }
    panic!("no answer, or no end of it: {} bytes", text.len());
}

/// An HTTP request on a connection of its own.
pub struct Http(TcpStream);

impl Http {
    /// `POST` with a body where there is one, else `GET`.
    #[track_caller]
    pub fn ask(server: SocketAddr, path: &str, body: &str) -> Http {
        let mut stream = TcpStream::connect(server).expect("a TCP listen");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let method = if body.is_empty() { "GET" } else { "POST" };
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: kamailio\r\nContent-Length: {length}\r\n\r\n{body}"
        )
        .expect("the server takes it");
        Http(stream)
    }

    /// Status and body of the answer.
    #[track_caller]
    pub fn answer(mut self) -> (u16, Vec<u8>) {
        let (mut text, mut part) = (Vec::new(), vec![0; 1 << 20]);
        let mut whole = None;
        loop {
            let end = text.windows(4).position(|four| four == b"\r\n\r\n");
            if let (None, Some(end)) = (whole, end) {
                let head = String::from_utf8_lossy(&text[..end]).into_owned();
                let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
                let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
                let length: usize = length.expect("a length").trim().parse().expect("a number");
                whole = Some((status.expect("a status"), end + 4, length));
            }
            if let Some((status, from, _)) = whole.filter(|(_, from, length)| text.len() >= from + length) {
                return (status, text.split_off(from));
            }
            let length = self.0.read(&mut part).expect("the rest of the answer");
            assert!(length > 0, "the answer ends after {} bytes", text.len());
            text.extend_from_slice(&part[..length]);
        }
    }
}

/// Output and errors of one `kamcmd` that is given these commands, one a line. `socket` is as it takes it: `unixs:/path`,
/// `unixd:/path`, `tcp:host:port`, `udp:host:port`.
#[track_caller]
pub fn kamcmd(socket: &str, dir: &Path, commands: &str) -> (String, String) {
    let mut command = Command::new(host::kamcmd_path());
    command.args(["-D", dir.to_str().expect("a path of text"), "-s", socket]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("kamcmd is installed");
    let mut input = child.stdin.take().expect("its input");
    let commands = commands.to_owned();
    let feed = std::thread::spawn(move || input.write_all(commands.as_bytes()));
    // Where a server cannot answer it waits for ever.
    let (id, (over, is_over)) = (child.id(), mpsc::channel::<()>());
    let guard = std::thread::spawn(move || {
        let late = is_over.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout);
        // SAFETY: a child of this process that nobody has waited for yet.
        late.then(|| unsafe { libc::kill(id as libc::pid_t, libc::SIGKILL) })
    });
    let output = child.wait_with_output().expect("it ends");
    drop(over);
    assert_eq!(guard.join().expect("no panic there"), None, "kamcmd had no answer within {PATIENCE:?}");
    // One that gives up reads no more.
    let _ = feed.join().expect("no panic there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}
