//! The key of a call or of a destination: a 128-bit hash with a secret, so that an attacker cannot construct collisions.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_secret, xxh3_128_with_secret};

/// Bytes of a secret; XXH3 needs at least 136, its own has 192.
pub const SECRET_LEN: usize = 192;

/// A 128-bit hash in two halves.
pub type Key = [u64; 2];

/// Chosen once before the fork, the same in every process.
#[derive(Clone, Copy)]
pub struct Secret([u8; SECRET_LEN]);

impl Secret {
    /// From random bytes.
    pub const fn new(random: [u8; SECRET_LEN]) -> Self {
        Self(random)
    }

    /// The key of a Call-ID. Call-IDs are compared byte for byte (RFC 3261 section 8.1.1.4).
    pub fn call(&self, call_id: &[u8]) -> Key {
        halves(xxh3_128_with_secret(call_id, &self.0))
    }

    /// A short hash of a tag; 0 where there is none.
    pub fn tag(&self, tag: &[u8]) -> u16 {
        if tag.is_empty() { 0 } else { (xxh3_64_with_secret(tag, &self.0) as u16).max(1) }
    }

    /// The key of a destination in a set: `duid` where it has one, else its URI and the socket it is reached through.
    /// Letters count the same in either case, as the stock module compares both.
    pub fn destination(&self, set: i32, duid: &[u8], uri: &[u8], socket: &[u8]) -> Key {
        let set = set.to_ne_bytes();
        // The zero is a byte that no URI holds, so that the border cannot be shifted.
        let mut text = match duid {
            [] => [&set, &b"u"[..], uri, b"\0", socket].concat(),
            duid => [&set, &b"d"[..], duid].concat(),
        };
        text.get_mut(set.len()..).unwrap_or_default().make_ascii_lowercase();
        halves(xxh3_128_with_secret(&text, &self.0))
    }

    /// The bytes that it was made from.
    pub const fn bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }

    /// A hash of several texts.
    pub fn word(&self, texts: &[&[u8]]) -> u64 {
        let mut all = Vec::with_capacity(texts.iter().map(|text| text.len() + size_of::<usize>()).sum());
        for text in texts {
            all.extend_from_slice(&text.len().to_ne_bytes());
            all.extend_from_slice(text);
        }
        xxh3_64_with_secret(&all, &self.0)
    }
}

/// A hash that finds damage; anybody can make it.
pub fn checksum(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

fn halves(hash: u128) -> Key {
    [hash as u64, (hash >> 64) as u64]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uneven on purpose: XXH3 combines parts of the secret by XOR, so one made of equal bytes is no secret.
    fn secret(seed: u8) -> Secret {
        Secret::new(core::array::from_fn(|at| (at as u8).wrapping_mul(seed).rotate_left(3) ^ seed))
    }

    #[test]
    fn the_secret_decides_the_key() {
        let (one, other) = (secret(37), secret(91));
        assert_ne!(one.call(b"a@b"), other.call(b"a@b"));
        assert_eq!(one.call(b"a@b"), one.call(b"a@b"));
        assert_ne!(one.call(b"a@b"), one.call(b"A@b"));
        assert_ne!(one.call(&[b'x'; 65536]), one.call(&[b'x'; 65535]));
    }

    #[test]
    fn identity_is_the_duid_or_the_uri_with_its_socket() {
        let secret = secret(37);
        let uri = b"sip:10.0.0.1";
        assert_eq!(secret.destination(1, b"Gw", uri, b""), secret.destination(1, b"gW", b"sip:other", b"x"));
        assert_ne!(secret.destination(1, b"gw", uri, b""), secret.destination(2, b"gw", uri, b""));
        assert_ne!(secret.destination(1, b"", uri, b"a"), secret.destination(1, b"", uri, b"b"));
        assert_eq!(secret.destination(1, b"", b"SIP:10.0.0.1", b"a"), secret.destination(1, b"", uri, b"A"));
    }
}
