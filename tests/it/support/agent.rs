//! A caller that a test drives one message at a time.
//!
//! [`Call`] makes the requests of one call and learns the dialog from the answers; [`Agent`] is the socket, or connection. For
//! the usual steps the agent has words ([`Agent::place`], [`Agent::hang_up`], [`Agent::cancel`]); for the unusual
//! ones send what the call makes, as often and in whatever order the test wants.

use std::collections::VecDeque;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::message::Message;
use super::net;
use super::over::Over;
use super::stream::Stream;

static NEXT: AtomicU32 = AtomicU32::new(1);

/// Enough for a worker on a busy machine and for one round of time-outs in tm.
const PATIENCE: Duration = Duration::from_secs(8);

/// A word nobody has used in this process.
pub fn token() -> String {
    format!("{:x}z{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// One call: what its requests have in common, and the dialog once there is one.
#[derive(Debug, Clone)]
pub struct Call {
    pub id: String,
    /// The request URI before a dialog exists.
    pub uri: String,
    pub from_tag: String,
    pub to_tag: Option<String>,
    /// CSeq and branch of the last INVITE: its ACK and CANCEL carry them again.
    pub cseq: u32,
    pub branch: String,
    /// Headers put on each request, as they are.
    pub extra: Vec<(String, String)>,
    target: Option<String>,
    routes: Vec<String>,
    /// Host and port by which it says that the caller is reached.
    at: String,
    over: Over,
}

impl Call {
    /// An INVITE with a new CSeq and branch; inside the dialog once there is one. For a retransmission send the
    /// same message again.
    pub fn invite(&mut self) -> Message {
        self.cseq += 1;
        self.branch = format!("z9hG4bK{}", token());
        self.request("INVITE", self.cseq, &self.branch)
    }

    /// The ACK of a 2xx, or of a refusal, which belongs to the INVITE's transaction.
    pub fn ack(&self, answer: &Message) -> Message {
        if answer.status().is_some_and(|s| s < 300) {
            return self.request("ACK", self.cseq, &format!("z9hG4bK{}", token()));
        }
        let mut ack = self.bare("ACK", &self.uri, self.cseq, &self.branch);
        set(&mut ack, "To", answer.header("To").unwrap_or_default());
        ack
    }

    pub fn cancel(&self) -> Message {
        self.bare("CANCEL", &self.uri, self.cseq, &self.branch)
    }

    pub fn bye(&mut self) -> Message {
        self.within("BYE")
    }

    pub fn update(&mut self) -> Message {
        self.within("UPDATE")
    }

    /// Any other request with a new CSeq and branch.
    pub fn within(&mut self, method: &str) -> Message {
        self.cseq += 1;
        self.request(method, self.cseq, &format!("z9hG4bK{}", token()))
    }

    /// Takes the dialog from a 2xx (or 18x with a tag) to the INVITE.
    pub fn learn(&mut self, answer: &Message) {
        self.to_tag = answer.tag("To").map(str::to_owned);
        self.target = answer.contact().map(str::to_owned);
        self.routes = answer.values("Record-Route").map(str::to_owned).collect();
        self.routes.reverse();
    }

    /// The requests of the dialog go by this route only: their proxy is elsewhere now.
    pub fn route_by(&mut self, route: &str) {
        self.routes = vec![route.to_owned()];
    }

    /// The Contact of the other side, once there is a dialog.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    fn request(&self, method: &str, cseq: u32, branch: &str) -> Message {
        let mut request = self.bare(method, self.target.as_deref().unwrap_or(&self.uri), cseq, branch);
        for route in &self.routes {
            request = request.with("Route", route.as_str());
        }
        request
    }

    fn bare(&self, method: &str, uri: &str, cseq: u32, branch: &str) -> Message {
        let to = match &self.to_tag {
            Some(tag) if method != "CANCEL" => format!("<{}>;tag={tag}", self.uri),
            _ => format!("<{}>", self.uri),
        };
        let (transport, parameter) = (self.over.in_via(), self.over.parameter());
        let mut request = Message::request(method, uri)
            .with("Via", format!("SIP/2.0/{transport} {};branch={branch}", self.at))
            .with("From", format!("<sip:caller@{}>;tag={}", self.at, self.from_tag))
            .with("To", to)
            .with("Call-ID", self.id.as_str())
            .with("CSeq", format!("{cseq} {method}"))
            .with("Contact", format!("<sip:caller@{}{parameter}>", self.at))
            .with("Max-Forwards", "70");
        request.headers.extend(self.extra.iter().cloned());
        request
    }
}

fn set(message: &mut Message, name: &str, value: &str) {
    for (_, v) in message.headers.iter_mut().filter(|(n, _)| n == name) {
        *v = value.to_owned();
    }
}

/// How an agent and its server are connected.
enum Link {
    Udp(UdpSocket),
    Stream(Stream),
}

pub struct Agent {
    link: Link,
    over: Over,
    /// Host and port by which it says that it is reached.
    at: String,
    server: SocketAddr,
    /// What arrived while something else was awaited.
    waiting: VecDeque<Message>,
}

impl Agent {
    /// On an address of its own, sending to `server`. Of IPv6 there is only one for all.
    pub fn bind(server: SocketAddr) -> Agent {
        let socket = match server {
            SocketAddr::V4(_) => net::socket(),
            SocketAddr::V6(_) => UdpSocket::bind("[::1]:0").expect("a port on ::1"),
        };
        let at = socket.local_addr().expect("the address just bound").to_string();
        Agent { link: Link::Udp(socket), over: Over::Udp, at, server, waiting: VecDeque::new() }
    }

    /// On one connection of TCP, that all its calls take.
    pub fn connect(server: SocketAddr) -> Agent {
        let stream = TcpStream::connect(server).expect("a TCP listen");
        let at = stream.local_addr().expect("a connection").to_string();
        Agent {
            link: Link::Stream(Stream::tcp(stream)),
            over: Over::Tcp,
            at,
            server,
            waiting: VecDeque::new(),
        }
    }

    /// On a connection of this transport to an address where the server listens for it, whose certificate must be one of the file
    /// `trusted`. As in a browser, nothing says where the caller is: it is reached on its connection (RFC 7118 section 5).
    #[track_caller]
    pub fn by(over: Over, server: SocketAddr, trusted: &Path) -> Agent {
        let tcp = || Stream::tcp(TcpStream::connect(server).expect("a TCP listen"));
        let stream = match over {
            Over::Tcp => tcp(),
            Over::Tls => Stream::tls(server, trusted),
            Over::WebSocket => tcp().websocket(server),
            Over::SecureWebSocket => Stream::tls(server, trusted).websocket(server),
            Over::Udp => panic!("UDP has no connection"),
        };
        let at = format!("{}.invalid", token());
        Agent { link: Link::Stream(stream), over, at, server, waiting: VecDeque::new() }
    }

    /// Sends to this server from now on, if it is one of UDP.
    pub fn turn_to(&mut self, server: SocketAddr) {
        self.server = server;
    }

    pub fn local(&self) -> SocketAddr {
        self.at.parse().expect("an agent with an address")
    }

    /// The URI by which it is reached.
    pub fn uri(&self) -> String {
        format!("sip:caller@{}{}", self.at, self.over.parameter())
    }

    /// A new call with a Call-ID of its own.
    pub fn call(&self) -> Call {
        self.call_with_id(&token())
    }

    pub fn call_with_id(&self, id: &str) -> Call {
        Call {
            id: id.into(),
            uri: format!("sip:callee@{}", self.server),
            from_tag: token(),
            to_tag: None,
            cseq: 0,
            branch: String::new(),
            extra: Vec::new(),
            target: None,
            routes: Vec::new(),
            at: self.at.clone(),
            over: self.over,
        }
    }

    pub fn send(&self, message: &Message) {
        self.send_bytes(&message.bytes());
    }

    pub fn send_bytes(&self, bytes: &[u8]) {
        match &self.link {
            Link::Udp(socket) => {
                socket.send_to(bytes, self.server).expect("a datagram to the server");
            }
            Link::Stream(stream) => stream.send(bytes),
        }
    }

    /// Sends a request to where RFC 3261 says, which need not be the server. UDP only.
    #[track_caller]
    pub fn send_on(&self, request: &Message) {
        let Link::Udp(socket) = &self.link else { panic!("a connection leads to one server") };
        socket.send_to(&request.bytes(), request.next_hop()).expect("a datagram");
    }

    /// The next message, of whatever call.
    pub fn receive(&mut self, timeout: Duration) -> Option<Message> {
        self.receive_where(timeout, |_| true)
    }

    /// What has arrived next; none if that is no message, or not a whole one yet.
    fn next_arrival(&mut self, timeout: Duration) -> Option<Message> {
        let timeout = timeout.max(Duration::from_millis(1));
        match &mut self.link {
            Link::Udp(socket) => {
                let mut buffer = vec![0; 65_536];
                socket.set_read_timeout(Some(timeout)).ok()?;
                let length = socket.recv(&mut buffer).ok()?;
                Message::parse(buffer.get(..length)?)
            }
            Link::Stream(stream) => stream.next_arrival(timeout),
        }
    }

    /// Drops what arrived while something else was awaited.
    pub fn forget_waiting(&mut self) {
        self.waiting.clear();
    }

    /// The first message that fits; the others stay for later.
    pub fn receive_where(
        &mut self,
        timeout: Duration,
        mut fits: impl FnMut(&Message) -> bool,
    ) -> Option<Message> {
        if let Some(at) = self.waiting.iter().position(&mut fits) {
            return self.waiting.remove(at);
        }
        let end = Instant::now() + timeout;
        loop {
            let left = end.checked_duration_since(Instant::now())?;
            match self.next_arrival(left) {
                Some(message) if fits(&message) => return Some(message),
                Some(message) => self.waiting.push_back(message),
                None => {}
            }
        }
    }

    /// A reply to `method` of this call's last CSeq, with a status in `statuses`.
    #[track_caller]
    pub fn reply_to(
        &mut self,
        call: &Call,
        method: &str,
        statuses: std::ops::RangeInclusive<u16>,
    ) -> Message {
        let wanted = (call.cseq, method);
        let found = self.receive_where(PATIENCE, |m| {
            let fits = m.status().is_some_and(|s| statuses.contains(&s));
            fits && m.call_id() == call.id && m.cseq() == wanted
        });
        found.unwrap_or_else(|| {
            let starts: Vec<_> = self.waiting.iter().rev().take(10).map(|message| &message.start).collect();
            panic!("no {statuses:?} to {wanted:?} of {:.40}; the last to arrive: {starts:?}", call.id)
        })
    }

    /// The final answer to the call's last request of this method.
    #[track_caller]
    pub fn answer(&mut self, call: &Call, method: &str) -> Message {
        self.reply_to(call, method, 200..=699)
    }

    /// INVITE, final answer, ACK. Gives the answer.
    #[track_caller]
    pub fn place(&mut self, call: &mut Call) -> Message {
        self.send(&call.invite());
        self.settle(call)
    }

    /// Awaits the final answer to an INVITE already sent, and acknowledges it.
    #[track_caller]
    pub fn settle(&mut self, call: &mut Call) -> Message {
        let answer = self.answer(call, "INVITE");
        if answer.status().is_some_and(|s| s < 300) {
            call.learn(&answer);
        }
        self.send(&call.ack(&answer));
        answer
    }

    /// INVITE, and back when it rings.
    #[track_caller]
    pub fn ring(&mut self, call: &mut Call) -> Message {
        self.send(&call.invite());
        self.reply_to(call, "INVITE", 180..=189)
    }

    /// BYE and its answer.
    #[track_caller]
    pub fn hang_up(&mut self, call: &mut Call) -> u16 {
        self.send(&call.bye());
        self.answer(call, "BYE").status().unwrap_or(0)
    }

    /// CANCEL, its answer, the INVITE's answer, ACK. Gives the status of the INVITE: 487, or 200 if they crossed.
    #[track_caller]
    pub fn cancel(&mut self, call: &mut Call) -> u16 {
        self.send(&call.cancel());
        self.answer(call, "CANCEL");
        self.settle(call).status().unwrap_or(0)
    }

    /// Answers a request that arrived here.
    pub fn reply(&self, request: &Message, status: u16) {
        let contact = format!("<{}>", self.uri());
        self.send(&request.reply(status, "agent").with("Contact", contact));
    }

    /// Whether the server answers an OPTIONS at all within `wait`.
    pub fn options_answered(&mut self, wait: Duration) -> bool {
        let mut call = self.call();
        call.uri = format!("sip:ready@{}", self.server);
        self.send(&call.within("OPTIONS"));
        let wanted = call.id.clone();
        self.receive_where(wait, |m| m.status().is_some() && m.call_id() == wanted).is_some()
    }
}
