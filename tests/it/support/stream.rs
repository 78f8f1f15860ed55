//! A caller's connection: TCP, or TLS by `openssl s_client`; with WebSocket (RFC 6455, RFC 7118) on it or without.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::child::ChildGuard;
use super::message::Message;
use super::sip_sockets::take_message;

/// What a handshake may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

pub struct Stream {
    to: RefCell<Box<dyn Write + Send>>,
    from: Receiver<Vec<u8>>,
    unread: Vec<u8>,
    websocket: bool,
    ends: Ends,
}

/// What ends with it.
enum Ends {
    Socket(TcpStream),
    Child(#[allow(dead_code)] ChildGuard), // its own guard
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Ends::Socket(socket) = &self.ends {
            drop(socket.shutdown(Shutdown::Both));
        }
    }
}

impl Stream {
    /// On TCP.
    pub fn tcp(stream: TcpStream) -> Stream {
        stream.set_nodelay(true).expect("a connection");
        let another = || stream.try_clone().expect("one more handle");
        Stream::of(another(), another(), Ends::Socket(another()))
    }

    /// On TLS, where the certificate of the server must be one of this file.
    #[track_caller]
    pub fn tls(server: SocketAddr, trusted: &Path) -> Stream {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-quiet", "-verify_return_error", "-connect", &server.to_string()]);
        command.arg("-CAfile").arg(trusted);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = ChildGuard::spawn(&mut command).expect("openssl can be run");
        let (to, from) = child.pipes();
        Stream::of(from, to, Ends::Child(child))
    }

    fn of(mut from: impl Read + Send + 'static, to: impl Write + Send + 'static, ends: Ends) -> Stream {
        let (arrived, receiver) = channel();
        std::thread::spawn(move || {
            let mut buffer = vec![0; 65_536];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if arrived.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        Stream { to: RefCell::new(Box::new(to)), from: receiver, unread: Vec::new(), websocket: false, ends }
    }

    /// The same, as a WebSocket that carries SIP.
    #[track_caller]
    pub fn websocket(mut self, server: SocketAddr) -> Stream {
        let asked = format!(
            "GET / HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Protocol: sip\r\nContent-Length: 0\r\n\r\n"
        );
        self.write(asked.as_bytes());
        let end = Instant::now() + PATIENCE;
        let head = loop {
            let head = self.unread.windows(4).position(|four| four == b"\r\n\r\n");
            if let Some(head) = head {
                break self.unread.drain(..head + 4).collect::<Vec<_>>();
            }
            let left = end.checked_duration_since(Instant::now()).expect("an answer to the handshake");
            self.read(left);
        };
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        // The answer to this key (RFC 6455 section 1.3).
        for word in
            ["101 ", "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo=", "sec-websocket-protocol: sip"]
        {
            assert!(head.contains(word), "no {word} in {head}");
        }
        self.websocket = true;
        self
    }

    pub fn send(&self, bytes: &[u8]) {
        if self.websocket { self.write(&frame(TEXT, bytes)) } else { self.write(bytes) }
    }

    fn write(&self, bytes: &[u8]) {
        let mut to = self.to.borrow_mut();
        to.write_all(bytes).and_then(|()| to.flush()).expect("an open connection");
    }

    fn read(&mut self, timeout: Duration) {
        match self.from.recv_timeout(timeout) {
            Ok(bytes) => self.unread.extend(bytes),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => panic!("the server has closed the connection"),
        }
    }

    /// What has arrived next; none if that is no message, or not a whole one yet.
    pub fn next_arrival(&mut self, timeout: Duration) -> Option<Message> {
        self.take().or_else(|| {
            self.read(timeout);
            self.take()
        })
    }

    fn take(&mut self) -> Option<Message> {
        if !self.websocket {
            return take_message(&mut self.unread);
        }
        loop {
            let (kind, payload) = take_frame(&mut self.unread)?;
            match kind {
                PING => self.write(&frame(PONG, &payload)),
                CLOSE => panic!("the server has closed the WebSocket"),
                _ => return Message::parse(&payload),
            }
        }
    }
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// A whole message of a client, which masks it (RFC 6455 section 5.2).
fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x3A, 0x51, 0xC7, 0x0E];
    let mut frame = vec![0x80 | kind];
    match payload.len() {
        length @ ..126 => frame.push(0x80 | length as u8),
        length => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(length).expect("a short message").to_be_bytes());
        }
    }
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// The first whole frame of a server, which masks nothing: its kind and its payload.
fn take_frame(unread: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let (kind, short) = (*unread.first()? & 0x0F, *unread.get(1)? & 0x7F);
    let (from, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes(unread.get(2..4)?.try_into().ok()?))),
        127 => (10, u64::from_be_bytes(unread.get(2..10)?.try_into().ok()?) as usize),
        length => (2, usize::from(length)),
    };
    let payload = unread.get(from..from + length)?.to_vec();
    unread.drain(..from + length);
    Some((kind, payload))
}
