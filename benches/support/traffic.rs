//! Both ends of calls in one thread and on one socket: the caller, and all gateways, whatever their address.
//!
//! The socket has one port at every address of this machine, so a set of any size leads to it. Messages are put together from
//! text without more parsing than is needed, so that the server is what keeps a core busy.

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;

/// What is lost here is a fault of the measurement.
const PATIENCE: Duration = Duration::from_secs(10);

pub struct Ends {
    socket: UdpSocket,
    port: u16,
    /// Calls begun so far: their Call-IDs are numbers.
    begun: u64,
    /// Calls that have not ended, and whether they were answered. Where the machine has no time for us a message comes again.
    open: HashMap<String, bool>,
    buffer: Vec<u8>,
}

impl Ends {
    pub fn bind() -> Ends {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port at all addresses");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket that waits");
        let port = socket.local_addr().expect("the address just bound").port();
        Ends { socket, port, begun: 0, open: HashMap::new(), buffer: vec![0; 65_536] }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A set of this many gateways, all of them here.
    pub fn gateways(&self, set: u32, count: usize) -> String {
        let line = |n: usize| {
            format!("{set} sip:127.200.{}.{}:{} 0 0 duid=gw{n}\n", n / 250, n % 250 + 1, self.port)
        };
        (0..count).map(line).collect()
    }

    pub fn send(&self, server: SocketAddr, text: &str) {
        self.socket.send_to(text.as_bytes(), server).expect("a datagram to the server");
    }

    /// What has arrived next.
    pub fn receive(&mut self) -> (String, SocketAddr) {
        let (length, from) = self.socket.recv_from(&mut self.buffer).expect("a message in time");
        (String::from_utf8_lossy(&self.buffer[..length]).into_owned(), from)
    }

    /// Asks whether the server is up and awaits its answer, behind everything else that it was sent.
    pub fn ready(&mut self, server: SocketAddr) {
        self.begun += 1;
        let call = format!("ready{}", self.begun);
        let start = format!("OPTIONS sip:ready@{server} SIP/2.0");
        self.send(server, &self.message(&start, "", &call, "1 OPTIONS", ""));
        let (text, _) = self.receive();
        assert!(text.starts_with("SIP/2.0 200"), "not ready:\n{text}");
    }

    /// A request or the head of a reply, with what all messages of a call have.
    pub fn message(&self, start: &str, to_tag: &str, call: &str, cseq: &str, more: &str) -> String {
        let port = self.port;
        format!(
            "{start}\r\nVia: SIP/2.0/UDP 127.0.0.1:{port};branch=z9hG4bK{call}{}\r\n\
             From: <sip:caller@127.0.0.1:{port}>;tag=f{call}\r\nTo: <sip:callee@127.0.0.1>{to_tag}\r\nCall-ID: {call}\r\n\
             CSeq: {cseq}\r\nMax-Forwards: 70\r\nContact: <sip:caller@127.0.0.1:{port}>\r\n{more}Content-Length: 0\r\n\r\n",
            cseq.replace(' ', "")
        )
    }

    /// So many whole calls through the server, some of them at once: INVITE, 200, ACK, BYE, 200. The script sees `user` in the
    /// request URI.
    pub fn calls(&mut self, server: SocketAddr, user: &str, count: usize, at_once: usize) {
        let (mut waiting, mut ended) = (count, 0);
        for _ in 0..at_once.min(count) {
            waiting -= 1;
            self.invite(server, user);
        }
        while ended < count {
            let (text, from) = self.receive();
            let reply = text.strip_prefix("SIP/2.0 ");
            let call = header(&text, "Call-ID");
            match (reply, text.split(' ').next().unwrap_or_default()) {
                (None, "INVITE" | "BYE") => self.answer(&text, from),
                (None, "ACK") => {}
                (Some(reply), _) if reply.starts_with("100") => {}
                (Some(reply), _) if reply.starts_with("200") && header(&text, "CSeq").ends_with("INVITE") => {
                    if self.open.get(call) == Some(&false) {
                        self.open.insert(call.into(), true);
                        self.answered(server, &text);
                    }
                }
                (Some(reply), _) if reply.starts_with("200") => {
                    let first = self.open.remove(call).is_some();
                    ended += usize::from(first);
                    if first && waiting > 0 {
                        waiting -= 1;
                        self.invite(server, user);
                    }
                }
                _ => panic!("{user}: this arrived:\n{text}"),
            }
        }
    }

    fn invite(&mut self, server: SocketAddr, user: &str) {
        self.begun += 1;
        // As long as a UUID.
        let call = format!("{:08x}-0000-4000-8000-{:012x}", self.port, self.begun);
        let invite = self.message(&format!("INVITE sip:{user}@{server} SIP/2.0"), "", &call, "1 INVITE", "");
        self.send(server, &invite);
        self.open.insert(call, false);
    }

    /// The gateway's 200.
    fn answer(&self, request: &str, from: SocketAddr) {
        let mut reply = String::from("SIP/2.0 200 OK\r\n");
        for line in request.split("\r\n").skip(1) {
            let kept = ["Via:", "Record-Route:", "From:", "Call-ID:", "CSeq:"];
            if kept.iter().any(|name| line.starts_with(name)) {
                reply.extend([line, "\r\n"]);
            } else if line.starts_with("To:") {
                let tag = if line.contains(";tag=") { "" } else { ";tag=gw" };
                reply.extend([line, tag, "\r\n"]);
            }
        }
        // Where the BYE goes: at which of the addresses is no matter. Its user is the one that was called.
        let user = request.split(['@', ' ']).nth(1).unwrap_or_default();
        reply.push_str(&format!("Contact: <{user}@127.200.0.1:{}>\r\nContent-Length: 0\r\n\r\n", self.port));
        self.socket.send_to(reply.as_bytes(), from).expect("a datagram to the server");
    }

    /// The caller's ACK, and its BYE at once.
    fn answered(&self, server: SocketAddr, reply: &str) {
        let target = header(reply, "Contact").trim_matches(['<', '>']);
        let route = format!("Route: {}\r\n", header(reply, "Record-Route"));
        let call = header(reply, "Call-ID");
        for (method, cseq) in [("ACK", "1 ACK"), ("BYE", "2 BYE")] {
            let start = format!("{method} {target} SIP/2.0");
            self.send(server, &self.message(&start, ";tag=gw", call, cseq, &route));
        }
    }
}

/// The value of the first header of this name.
fn header<'t>(text: &'t str, name: &str) -> &'t str {
    let value = text.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_default()
}
