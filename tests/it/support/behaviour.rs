//! What a [`Probed`](super::probed::Probed) gateway answers.

use std::time::Duration;

use super::malformed::Malformed;
use super::message::Message;

/// The answer to a probe. Other requests get a 200 at once, whatever is said here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    Answer(u16, &'static str),
    /// With any bytes for a reason phrase.
    Phrase(u16, &'static [u8]),
    Silent,
    Delay(Duration, u16),
    Malformed(Malformed),
}

impl Behaviour {
    pub(super) fn delay(self) -> Duration {
        if let Behaviour::Delay(delay, _) = self { delay } else { Duration::ZERO }
    }

    /// The bytes on the wire, if there is an answer.
    pub(super) fn reply(self, request: &Message) -> Option<Vec<u8>> {
        let right = |code| request.reply(code, "probed");
        match self {
            Behaviour::Answer(code, reason) => {
                Some(Message { start: format!("SIP/2.0 {code} {reason}"), ..right(code) }.bytes())
            }
            Behaviour::Phrase(code, phrase) => {
                let start = format!("SIP/2.0 {code} ").into_bytes();
                let bytes = right(code).bytes();
                let rest = bytes.iter().position(|&byte| byte == b'\r').unwrap_or(0);
                Some([&start, phrase, &bytes[rest..]].concat())
            }
            Behaviour::Silent => None,
            Behaviour::Delay(_, code) => Some(right(code).bytes()),
            Behaviour::Malformed(how) => Some(how.bytes(&right(200))),
        }
    }
}
