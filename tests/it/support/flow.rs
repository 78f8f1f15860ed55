//! What goes over the wire between named addresses, as a sequence diagram.

use std::collections::HashSet;
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::FromRawFd;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use super::message::Message;

/// One datagram that arrived on this machine.
struct Packet {
    from: SocketAddr,
    to: SocketAddr,
    message: Message,
}

enum Line {
    Packet(Packet),
    Note(String),
}

/// The datagrams of this machine. Floods of other tests pass here, too: without somebody who reads them all the time, the kernel's
/// buffer is full within a second.
struct Wire {
    socket: File,
    read: Vec<Vec<u8>>,
}

impl Wire {
    fn read(&mut self) {
        let mut buffer = vec![0; 65_536];
        while let Ok(length) = self.socket.read(&mut buffer) {
            self.read.push(buffer[..length].to_vec());
        }
    }

    /// Reads until nobody wants it any more.
    fn keep_reading(wire: &Weak<Mutex<Wire>>) {
        while let Some(wire) = wire.upgrade() {
            wire.lock().expect("a reader").read();
            drop(wire);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Records SIP by UDP from when it is made. The kernel gives a copy of each datagram before its receiver gets it: what a
/// test has received is here, and what caused it is before it.
pub struct Flow {
    wire: Arc<Mutex<Wire>>,
    lines: Vec<Line>,
    seen: HashSet<Vec<u8>>,
}

impl Flow {
    pub fn record() -> Flow {
        // SAFETY: plain numbers.
        let fd = unsafe {
            libc::socket(
                libc::AF_INET,
                libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
                libc::IPPROTO_UDP,
            )
        };
        assert!(fd >= 0, "the tests run as root: {}", std::io::Error::last_os_error());
        let room: libc::c_int = 32 << 20;
        // SAFETY: an open socket, which nobody else has, and a number with its size.
        let socket = unsafe {
            let size = size_of::<libc::c_int>() as libc::socklen_t;
            libc::setsockopt(fd, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, (&raw const room).cast(), size);
            File::from_raw_fd(fd)
        };
        let wire = Arc::new(Mutex::new(Wire { socket, read: Vec::new() }));
        let reader = Arc::downgrade(&wire);
        std::thread::spawn(move || Wire::keep_reading(&reader));
        Flow { wire, lines: Vec::new(), seen: HashSet::new() }
    }

    /// Takes what has arrived. Other tests have traffic, too: only these addresses count. A message that is sent again, because
    /// a busy machine answers late, is there once.
    fn drain(&mut self, among: &[SocketAddr]) {
        let read = {
            let mut wire = self.wire.lock().expect("a reader");
            wire.read();
            std::mem::take(&mut wire.read)
        };
        for datagram in &read {
            let header = usize::from(datagram[0] & 15) * 4;
            let (ip, udp) = datagram.split_at(header);
            let address = |at: usize, port: usize| {
                let ip: [u8; 4] = ip[at..at + 4].try_into().unwrap();
                SocketAddr::from((Ipv4Addr::from(ip), u16::from_be_bytes([udp[port], udp[port + 1]])))
            };
            let (from, to) = (address(12, 0), address(16, 2));
            let Some(message) = Message::parse(&udp[8..]) else { continue };
            if among.contains(&from) && among.contains(&to) && self.seen.insert(udp.to_vec()) {
                self.lines.push(Line::Packet(Packet { from, to, message }));
            }
        }
    }

    /// Says something below the last message of these addresses that begins so.
    #[track_caller]
    pub fn note(&mut self, among: &[SocketAddr], below: &str, text: impl Into<String>) {
        self.drain(among);
        let begins =
            |line: &Line| matches!(line, Line::Packet(one) if label(&one.message).starts_with(below));
        let at = self.lines.iter().rposition(begins).unwrap_or_else(|| panic!("no {below}"));
        self.lines.insert(at + 1, Line::Note(text.into()));
    }

    /// The picture: who stands in which place, from left to right, and what the picture is of.
    pub fn picture(mut self, title: &str, who: &[(SocketAddr, &str)]) -> String {
        const MARGIN: usize = 90;
        const ROW: usize = 34;
        let among: Vec<_> = who.iter().map(|(address, _)| *address).collect();
        self.drain(&among);
        let gap = if who.len() < 3 { 320 } else { 230 };
        let width = 2 * MARGIN + gap * (who.len() - 1);
        let place =
            |address: SocketAddr| MARGIN + gap * among.iter().position(|one| *one == address).unwrap();
        let (top, height) = (58, 58 + ROW * self.lines.len() + 24);
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
             font-size=\"13\" role=\"img\" aria-label=\"{title}\">\n{STYLE}\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
        );
        for (address, name) in who {
            let x = place(*address);
            let _ = writeln!(svg, "<path class=\"life\" d=\"M{x} 44V{}\"/>", height - 12);
            let _ = writeln!(
                svg,
                "<rect class=\"who\" x=\"{}\" y=\"14\" width=\"120\" height=\"30\" rx=\"6\"/>",
                x - 60
            );
            let _ = writeln!(svg, "<text x=\"{x}\" y=\"34\" font-weight=\"bold\">{name}</text>");
        }
        for (row, line) in self.lines.iter().enumerate() {
            let y = top + ROW * row + 24;
            match line {
                Line::Packet(one) => {
                    let (from, to) = (place(one.from), place(one.to));
                    let (tip, back) = if to > from { (to - 9, to) } else { (to + 9, to) };
                    let _ = writeln!(svg, "<path class=\"wire\" d=\"M{from} {y}H{tip}\"/>");
                    let (above, below) = (y - 4, y + 4);
                    let _ = writeln!(svg, "<path class=\"tip\" d=\"M{back} {y}L{tip} {above}V{below}Z\"/>");
                    let x = (from + to) / 2;
                    let _ = writeln!(
                        svg,
                        "<text class=\"say\" x=\"{x}\" y=\"{}\">{}</text>",
                        y - 6,
                        label(&one.message)
                    );
                }
                Line::Note(text) => {
                    let x = place(among[among.len().min(2) - 1]);
                    let wide = text.chars().count() * 7 + 24;
                    let (left, up) = (x.saturating_sub(wide / 2), y - 16);
                    let _ = writeln!(
                        svg,
                        "<rect class=\"note\" x=\"{left}\" y=\"{up}\" width=\"{wide}\" height=\"22\" rx=\"4\"/>"
                    );
                    let _ = writeln!(svg, "<text x=\"{x}\" y=\"{}\">{text}</text>", y - 1);
                }
            }
        }
        svg + "</svg>\n"
    }

    /// Leaves out what comes behind the last message that begins so, and its note.
    pub fn until(&mut self, among: &[SocketAddr], last: &str) {
        self.drain(among);
        let begins = |line: &Line| matches!(line, Line::Packet(one) if label(&one.message).starts_with(last));
        let at = self.lines.iter().rposition(begins).unwrap_or_else(|| panic!("no {last}"));
        let noted = matches!(self.lines.get(at + 1), Some(Line::Note(_)));
        self.lines.truncate(at + 1 + usize::from(noted));
    }
}

/// Light and dark, as the reader's system.
const STYLE: &str = "<style>.paper{fill:#fff}.life{stroke:#9ab;stroke-dasharray:4 4}.who{fill:#eef3f8;stroke:#567}\
    .wire{fill:none;stroke:#2a7ab0;stroke-width:1.5}.tip{fill:#2a7ab0}.note{fill:#fdf6dc;stroke:#b9a25a}\
    text{fill:#223;text-anchor:middle}.say{paint-order:stroke;stroke:#fff;stroke-width:4}\
    @media(prefers-color-scheme:dark){.paper{fill:#15191e}.who{fill:#25303b}.note{fill:#3a341f}text{fill:#dde}.say{stroke:#15191e}}</style>\n";

/// What a line of the picture says of a message: nothing that is another in each run.
fn label(message: &Message) -> String {
    match message.status() {
        Some(status) => {
            let reason = message.start.splitn(3, ' ').nth(2).unwrap_or_default();
            let reason = reason.split(" -- ").next().unwrap_or_default();
            format!("{status} {reason} ({})", message.cseq().1)
        }
        None => {
            let route = if message.header("Route").is_some() { ", Route: Kamailio" } else { "" };
            format!("{}{route}", message.method().unwrap_or_default())
        }
    }
}
