//! SIP over UDP, and TCP at the same port, for one thread that serves any number of destinations.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use super::message::Message;

/// Two thousand requests that arrive at once fit; what does not is lost, as on any UDP socket.
const RECEIVE_BUFFER: libc::c_int = 8 << 20;

/// Where a message came from, and where its reply goes: over TCP on the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Peer {
    Udp(SocketAddr),
    Tcp(SocketAddr),
}

impl Peer {
    pub fn address(self) -> SocketAddr {
        match self {
            Peer::Udp(address) | Peer::Tcp(address) => address,
        }
    }
}

pub struct Arrived {
    pub at: Instant,
    pub message: Message,
    pub peer: Peer,
}

struct Connection {
    stream: TcpStream,
    peer: SocketAddr,
    unread: Vec<u8>,
    open: bool,
}

pub struct SipSockets {
    udp: UdpSocket,
    listener: Option<TcpListener>,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
}

impl SipSockets {
    /// Port 0 is one that the kernel chooses, the same for both.
    pub fn bind(address: SocketAddr, tcp: bool) -> io::Result<SipSockets> {
        let udp = UdpSocket::bind(address)?;
        enlarge(&udp);
        SipSockets::with(udp, tcp)
    }

    /// On this socket, and TCP at its port.
    pub fn with(udp: UdpSocket, tcp: bool) -> io::Result<SipSockets> {
        udp.set_nonblocking(true)?;
        let listener = match tcp {
            true => Some(TcpListener::bind(udp.local_addr()?)?),
            false => None,
        };
        if let Some(listener) = &listener {
            listener.set_nonblocking(true)?;
        }
        Ok(SipSockets { udp, listener, connections: Vec::new(), buffer: vec![0; 65_536] })
    }

    pub fn local(&self) -> io::Result<SocketAddr> {
        self.udp.local_addr()
    }

    /// Everything that has arrived; waits for the first no longer than `wait`.
    pub fn receive(&mut self, wait: Duration) -> Vec<Arrived> {
        await_any(self.handles(), wait);
        self.arrived()
    }

    /// What can be waited on.
    pub fn handles(&self) -> impl Iterator<Item = RawFd> {
        let connections = self.connections.iter().map(|c| c.stream.as_raw_fd());
        let listener = self.listener.iter().map(AsRawFd::as_raw_fd);
        [self.udp.as_raw_fd()].into_iter().chain(listener).chain(connections)
    }

    /// Everything that has arrived; waits for nothing.
    pub fn arrived(&mut self) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        while let Ok((length, from)) = self.udp.recv_from(&mut self.buffer) {
            let at = Instant::now();
            let message = Message::parse(self.buffer.get(..length).unwrap_or_default());
            arrived.extend(message.map(|message| Arrived { at, message, peer: Peer::Udp(from) }));
        }
        while let Some(Ok((stream, peer))) = self.listener.as_ref().map(TcpListener::accept) {
            if stream.set_nonblocking(true).is_ok() {
                self.connections.push(Connection { stream, peer, unread: Vec::new(), open: true });
            }
        }
        for connection in &mut self.connections {
            connection.read(&mut self.buffer);
            while let Some(message) = take_message(&mut connection.unread) {
                arrived.push(Arrived { at: Instant::now(), message, peer: Peer::Tcp(connection.peer) });
            }
        }
        self.connections.retain(|connection| connection.open);
        arrived
    }

    /// Sends where a server listens: on a connection that it has made, or on a new one, if `to` is of TCP.
    pub fn send_to(&mut self, to: Peer, bytes: &[u8]) -> io::Result<()> {
        let Peer::Tcp(to) = to else { return self.udp.send_to(bytes, to.address()).map(drop) };
        let open = self.connections.iter().find(|c| c.peer == to || c.peer.ip() == to.ip());
        let peer = match open {
            Some(connection) => connection.peer,
            None => {
                let stream = TcpStream::connect(to)?;
                stream.set_nonblocking(true)?;
                self.connections.push(Connection { stream, peer: to, unread: Vec::new(), open: true });
                to
            }
        };
        self.send(Peer::Tcp(peer), bytes);
        Ok(())
    }

    /// A peer that has gone gets nothing.
    pub fn send(&mut self, peer: Peer, bytes: &[u8]) {
        match peer {
            Peer::Udp(address) => drop(self.udp.send_to(bytes, address)),
            Peer::Tcp(address) => {
                let connection = self.connections.iter_mut().find(|c| c.peer == address);
                drop(connection.map(|connection| connection.stream.write_all(bytes)));
            }
        }
    }
}

impl Connection {
    fn read(&mut self, buffer: &mut [u8]) {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => self.open = false,
                Ok(length) => {
                    self.unread.extend_from_slice(buffer.get(..length).unwrap_or_default());
                    continue;
                }
                Err(e) => self.open &= e.kind() == io::ErrorKind::WouldBlock,
            }
            return;
        }
    }
}

/// The first whole message of a stream, without the empty lines that keep a connection open.
pub(super) fn take_message(unread: &mut Vec<u8>) -> Option<Message> {
    let idle = unread.iter().take_while(|byte| b"\r\n".contains(byte)).count();
    unread.drain(..idle);
    let head = unread.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let length = Message::parse(unread.get(..head)?)?.header("Content-Length").map_or(0, |v| {
        v.parse().unwrap_or(0) // not a length that the stream could be read on by
    });
    let whole = unread.get(..head + length)?.to_vec();
    unread.drain(..head + length);
    Message::parse(&whole)
}

/// Waits until something can be read from one of these, no longer than `wait`.
pub fn await_any(sockets: impl Iterator<Item = RawFd>, wait: Duration) {
    let poll = |fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut polls: Vec<libc::pollfd> = sockets.map(poll).collect();
    let wait = wait.as_millis().clamp(1, 1000) as libc::c_int;
    // SAFETY: the pointer and the count are those of one vector of pollfd, borrowed for the call.
    unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, wait) };
}

/// As far as the system lets us: only root gets more than net.core.rmem_max.
fn enlarge(socket: &UdpSocket) {
    let size = RECEIVE_BUFFER;
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        // SAFETY: the value is an int that outlives the call, and the length is its own.
        unsafe {
            let length = size_of_val(&size) as libc::socklen_t;
            libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, (&raw const size).cast(), length);
        }
    }
}
