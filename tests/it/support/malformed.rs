//! Replies that are none, or not quite.

use super::message::Message;

/// Each is made from the 200 that would have been right.
///
/// For tm of Kamailio 5.6 `OtherCseq`, `LongCseq` and `OtherCallId` are answers, over UDP also `NoEnd`, `LongBody`
/// and `Huge`: it looks at the branch, the method in CSeq and the code. The others it has never seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Malformed {
    /// Not SIP at all.
    Garbage,
    /// Zeros only.
    Zeros,
    /// `SIP/2.0 2` and no more.
    CutInStatusLine,
    /// Ends in the middle of a header.
    CutInHeaders,
    /// Without the empty line at the end.
    NoEnd,
    /// A status line and no header.
    NoHeaders,
    /// `2OO`, with letters.
    LettersForCode,
    /// `200000`.
    LongCode,
    /// Code 42. Not among [`Malformed::ALL`]: tm calls it critical, whoever has sent the request.
    LowCode,
    /// Code 999.
    HighCode,
    /// Another version of SIP.
    Version,
    NoVia,
    /// A transaction that nobody knows.
    OtherBranch,
    /// The number is another one.
    OtherCseq,
    /// As if an INVITE had been answered.
    OtherMethod,
    NoCseq,
    /// Above what fits a number of 32 bits.
    LongCseq,
    OtherCallId,
    /// Says that there is a body, and there is none.
    LongBody,
    /// Sixty thousand bytes of a header that nobody needs.
    Huge,
}

impl Malformed {
    pub const ALL: [Malformed; 19] = [
        Malformed::Garbage,
        Malformed::Zeros,
        Malformed::CutInStatusLine,
        Malformed::CutInHeaders,
        Malformed::NoEnd,
        Malformed::NoHeaders,
        Malformed::LettersForCode,
        Malformed::LongCode,
        Malformed::HighCode,
        Malformed::Version,
        Malformed::NoVia,
        Malformed::OtherBranch,
        Malformed::OtherCseq,
        Malformed::OtherMethod,
        Malformed::NoCseq,
        Malformed::LongCseq,
        Malformed::OtherCallId,
        Malformed::LongBody,
        Malformed::Huge,
    ];

    /// The bytes on the wire in the place of `right`.
    pub fn bytes(self, right: &Message) -> Vec<u8> {
        let number = right.cseq().0;
        let method = right.cseq().1;
        match self {
            Malformed::Garbage => (0..400_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
            Malformed::Zeros => vec![0; 200],
            Malformed::CutInStatusLine => b"SIP/2.0 2".to_vec(),
            Malformed::CutInHeaders => cut(right, "Call-ID"),
            Malformed::NoEnd => right.bytes().trim_ascii_end().to_vec(),
            Malformed::NoHeaders => b"SIP/2.0 200 OK\r\n\r\n".to_vec(),
            Malformed::LettersForCode => start(right, "SIP/2.0 2OO OK"),
            Malformed::LongCode => start(right, "SIP/2.0 200000 OK"),
            Malformed::LowCode => start(right, "SIP/2.0 042 Low"),
            Malformed::HighCode => start(right, "SIP/2.0 999 High"),
            Malformed::Version => start(right, "SIP/7.0 200 OK"),
            Malformed::NoVia => without(right, "Via").bytes(),
            Malformed::OtherBranch => {
                let via = right.header("Via").unwrap_or_default().replace(";branch=", ";branch=z9hG4bKother");
                replaced(right, "Via", &via)
            }
            Malformed::OtherCseq => replaced(right, "CSeq", &format!("{} {method}", number.wrapping_add(7))),
            Malformed::OtherMethod => replaced(right, "CSeq", &format!("{number} INVITE")),
            Malformed::NoCseq => without(right, "CSeq").bytes(),
            Malformed::LongCseq => replaced(right, "CSeq", &format!("99999999999999999999 {method}")),
            Malformed::OtherCallId => replaced(right, "Call-ID", "nobody-has-this-one"),
            Malformed::LongBody => {
                let text = String::from_utf8_lossy(&right.bytes()).into_owned();
                text.replace("Content-Length: 0", "Content-Length: 4000").into_bytes()
            }
            Malformed::Huge => right.clone().with("X-Huge", "h".repeat(60_000)).bytes(),
        }
    }
}

fn start(right: &Message, line: &str) -> Vec<u8> {
    Message { start: line.into(), ..right.clone() }.bytes()
}

fn without(right: &Message, name: &str) -> Message {
    let mut reply = right.clone();
    reply.headers.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    reply
}

/// In its place: the order of headers is not what is wrong.
fn replaced(right: &Message, name: &str, value: &str) -> Vec<u8> {
    let mut reply = right.clone();
    for (_, v) in reply.headers.iter_mut().filter(|(n, _)| n.eq_ignore_ascii_case(name)) {
        *v = value.into();
    }
    reply.bytes()
}

/// Everything before the end of this header's name.
fn cut(right: &Message, name: &str) -> Vec<u8> {
    let text = String::from_utf8_lossy(&right.bytes()).into_owned();
    let end = text.find(name).map_or(text.len() / 2, |at| at + name.len());
    text.get(..end).unwrap_or_default().as_bytes().to_vec()
}
