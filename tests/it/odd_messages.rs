//! Requests of all shapes that a proxy meets, the same ones in each run.

use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::Message;

/// Numbers that look random and are the same in each run.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(0x2545_f491_4f6c_dd1d ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }
}

const USERS: &[&str] = &[
    "",
    "alice",
    "ALICE",
    "+4930123456",
    "a%20b",
    "%61lice",
    "al:secret",
    "*97",
    "+1-212;phone-context=example.com",
    "-_.!~*'()&=+$,?/",
];
const HOSTS: &[&str] = &[
    "example.com",
    "Example.COM",
    "h",
    "192.0.2.7",
    "[2001:db8::1]",
    "[2001:DB8::1]",
    "a.rather.long.name.of.a.host.example.org",
];
const PORTS: &[&str] = &["", "", ":5060", ":5061", ":5070", ":05060", ":1"];
const PARAMETERS: &[&str] = &[
    "",
    "",
    ";transport=tcp",
    ";transport=TLS;lr",
    ";user=phone",
    ";maddr=192.0.2.9;method=INVITE",
    ";x=%41?Subject=s",
];
const WITHOUT_HOST: &[&str] = &[
    "tel:+4930123456",
    "tel:7042;phone-context=example.com",
    "TEL:+1-212-555-0100",
    "tels:+49301",
    "urn:service:sos",
];
const AUTH_USERS: &[&str] =
    &["bob", "bob@example.com", "Bob", " bob ", "", "with \\\"quotes\\\"", "a-longer-user-name"];

/// A SIP URI, or one in eight times a tel URI.
fn uri(random: &mut Random) -> String {
    if random.below(8) == 0 {
        return random.of(WITHOUT_HOST).to_owned();
    }
    let (scheme, user, host) =
        (random.of(&["sip", "sips", "SIP", "SipS"]), random.of(USERS), random.of(HOSTS));
    let at = if user.is_empty() { "" } else { "@" };
    format!("{scheme}:{user}{at}{host}{}{}", random.of(PORTS), random.of(PARAMETERS))
}

fn name_addr(random: &mut Random) -> String {
    let name = random.of(&["", "Al ", "\"A. <B>\" ", "  "]);
    format!("{name}<{}>", uri(random))
}

fn credentials(random: &mut Random) -> String {
    let user = random.of(AUTH_USERS);
    let answer = "0123456789abcdef0123456789abcdef";
    format!("Digest username=\"{user}\", realm=\"r\", nonce=\"n\", uri=\"sip:h\", response=\"{answer}\"")
}

/// Odd lengths, with letters of one, two and three bytes.
fn call_id(random: &mut Random, number: u32) -> String {
    let letter = |random: &mut Random| match random.below(6) {
        0 => char::from_u32(0x80 + random.below(0x700) as u32),
        1 => char::from_u32(0x800 + random.below(0x5000) as u32),
        _ => char::from_u32(0x30 + random.below(10) as u32),
    };
    let length = random.below(50);
    format!("{number}-{}@h", (0..length).filter_map(|_| letter(random)).collect::<String>())
}

/// A number that no other request in this process has for its CSeq.
fn number() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A request with nothing odd about it.
pub fn plain(method: &str) -> Message {
    plain_to(method, "sip:callee@example.com")
}

/// The same with another request URI.
pub fn plain_to(method: &str, uri: &str) -> Message {
    let number = number();
    request(method, uri, number)
        .with("From", "<sip:caller@example.com>;tag=f")
        .with("To", "<sip:callee@example.com>")
        .with("Call-ID", format!("plain-{number}"))
}

fn request(method: &str, uri: &str, number: u32) -> Message {
    Message::request(method, uri)
        .with("Via", format!("SIP/2.0/UDP 192.0.2.99;rport;branch=z9hG4bK{number}"))
        .with("CSeq", format!("{number} {method}"))
        .with("Max-Forwards", "70")
}

/// A request of odd parts.
pub fn odd(random: &mut Random, seed: u32) -> Message {
    let method = random.of(&["INVITE", "INVITE", "MESSAGE", "SUBSCRIBE"]);
    // The host reads no tels URI; as a request URI that is a matter of its own, see the differences.
    let uri = Some(uri(random)).filter(|uri| !uri.starts_with("tels:")).unwrap_or("tel:1".into());
    let mut message = request(method, &uri, number())
        .with("From", format!("{};tag=f", name_addr(random)))
        .with("To", name_addr(random))
        .with("Call-ID", call_id(random, seed))
        .with("Key", random.of(&["", " ", "k", "a key", "4711", "ключ"]));
    if random.below(2) == 0 {
        message = message.with("Authorization", credentials(random));
    }
    if random.below(3) == 0 {
        message = message.with("Proxy-Authorization", credentials(random));
    }
    message
}
