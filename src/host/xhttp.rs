//! Answers to HTTP requests, through the server's module `xhttp`.

use super::message::Message;
use super::{ffi, text};
use std::sync::OnceLock;

static API: OnceLock<ffi::xhttp_api_t> = OnceLock::new();

/// Gets the functions of `xhttp`, if that is loaded. Once, in `mod_init`.
pub fn load() {
    let mut api = ffi::xhttp_api_t { reply: None };
    // SAFETY: the struct is ours to fill.
    if unsafe { ffi::shim_bind_xhttp(&raw mut api) } >= 0 {
        // A second call would find the same.
        let _ = API.set(api);
    }
}

/// Answers the request at hand; false if `xhttp` is not loaded or cannot.
pub fn reply(msg: &mut Message, kind: &str, body: &[u8]) -> bool {
    let Some(reply) = API.get().and_then(|api| api.reply) else { return false };
    let (mut reason, mut kind, mut body) = (text::lent(b"OK"), text::lent(kind.as_bytes()), text::lent(body));
    // SAFETY: the host only reads the texts, and copies what it keeps.
    unsafe { reply(msg.as_ptr(), 200, &raw mut reason, &raw mut kind, &raw mut body) >= 0 }
}
