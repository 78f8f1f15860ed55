//! As much SIP as the tests speak: start line, headers in order, body.

use std::fmt::Write as _;
use std::net::SocketAddr;

#[derive(Debug, Clone)]
pub struct Message {
    pub start: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Message {
    pub fn request(method: &str, uri: &str) -> Message {
        Message { start: format!("{method} {uri} SIP/2.0"), headers: Vec::new(), body: String::new() }
    }

    pub fn parse(datagram: &[u8]) -> Option<Message> {
        let text = String::from_utf8_lossy(datagram);
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.split("\r\n");
        let start = lines.next()?.to_owned();
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
            .collect();
        Some(Message { start, headers, body: body.to_owned() })
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Message {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The bytes on the wire; Content-Length is added here.
    pub fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{}\r\n", self.start);
        for (name, value) in &self.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        let _ = write!(text, "Content-Length: {}\r\n\r\n{}", self.body.len(), self.body);
        text.into_bytes()
    }

    /// The method of a request; none of a reply.
    pub fn method(&self) -> Option<&str> {
        let (method, _) = self.start.split_once(' ')?;
        (!method.starts_with("SIP/")).then_some(method)
    }

    /// The request URI.
    pub fn uri(&self) -> Option<&str> {
        self.method()?;
        self.start.split(' ').nth(1)
    }

    /// The code of a reply; none of a request.
    pub fn status(&self) -> Option<u16> {
        self.start.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str())
    }

    pub fn call_id(&self) -> &str {
        self.header("Call-ID").unwrap_or_default()
    }

    /// Number and method of CSeq.
    pub fn cseq(&self) -> (u32, &str) {
        let (number, method) = self.header("CSeq").and_then(|v| v.split_once(' ')).unwrap_or(("0", ""));
        (number.parse().unwrap_or(0), method.trim())
    }

    /// The tag of From or To.
    pub fn tag(&self, name: &str) -> Option<&str> {
        self.header(name)?.split(";tag=").nth(1)?.split(';').next()
    }

    /// The URI of Contact.
    pub fn contact(&self) -> Option<&str> {
        self.header("Contact")?.split_once('<')?.1.split_once('>').map(|(uri, _)| uri)
    }

    /// Where RFC 3261 sends a request: to the first Route, or where there is none, to the request URI (8.1.2, 12.2.1.1; all
    /// routes are loose).
    #[track_caller]
    pub fn next_hop(&self) -> SocketAddr {
        let uri = self.header("Route").or_else(|| self.uri()).expect("a request");
        let host =
            uri.split("sip:").nth(1).expect("a SIP URI").split([';', '>', '?']).next().unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        let address = host.parse().or_else(|_| format!("{host}:5060").parse());
        address.unwrap_or_else(|error| panic!("{uri} is no address: {error}"))
    }

    /// A reply that goes back the way this request came. `tag` is put on a To that has none.
    pub fn reply(&self, status: u16, tag: &str) -> Message {
        let mut reply = Message {
            start: format!("SIP/2.0 {status} {}", reason(status)),
            headers: Vec::new(),
            body: String::new(),
        };
        for (name, value) in &self.headers {
            let kept = ["Via", "From", "To", "Call-ID", "CSeq", "Record-Route"];
            if !kept.iter().any(|k| k.eq_ignore_ascii_case(name)) {
                continue;
            }
            let untagged = name.eq_ignore_ascii_case("To") && self.tag("To").is_none() && status > 100;
            let value = if untagged { format!("{value};tag={tag}") } else { value.clone() };
            reply.headers.push((name.clone(), value));
        }
        if let Some((_, header)) = CHALLENGES.iter().find(|(challenge, _)| *challenge == status) {
            reply = reply.with(header, "Digest realm=\"gateway\", nonce=\"0123456789abcdef\", algorithm=MD5");
        }
        reply
    }
}

const CHALLENGES: [(u16, &str); 2] = [(401, "WWW-Authenticate"), (407, "Proxy-Authenticate")];

fn reason(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        200 => "OK",
        407 => "Proxy Authentication Required",
        481 => "Call/Transaction Does Not Exist",
        486 => "Busy Here",
        487 => "Request Terminated",
        503 => "Service Unavailable",
        _ => "As The Test Says",
    }
}
