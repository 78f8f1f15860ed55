//! By which transport the SIP of a test goes. A test of call load is written without a word of it; over which it runs says the
//! test's wrapper ([`over`]).

use std::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Over {
    Udp,
    /// Callers, server and gateways: an agent is one connection, a gateway takes and makes as many as it needs.
    Tcp,
    /// Callers only, as the two that follow.
    Tls,
    WebSocket,
    SecureWebSocket,
}

thread_local! {
    static NOW: Cell<Over> = const { Cell::new(Over::Udp) };
}

/// Runs a test whose servers, agents and gateways use this transport.
pub fn over(transport: Over, test: impl FnOnce()) {
    NOW.set(transport);
    test();
    NOW.set(Over::Udp);
}

impl Over {
    pub fn now() -> Over {
        NOW.get()
    }

    pub fn is_tcp(self) -> bool {
        self == Over::Tcp
    }

    /// As Via has it.
    pub fn in_via(self) -> &'static str {
        match self {
            Over::Udp => "UDP",
            Over::Tcp => "TCP",
            Over::Tls => "TLS",
            Over::WebSocket => "WS",
            Over::SecureWebSocket => "WSS",
        }
    }

    /// As a socket of the configuration and a name of DNS have it.
    pub fn name(self) -> &'static str {
        if self.is_tcp() { "tcp" } else { "udp" }
    }

    /// Behind a URI that leads there by this transport.
    pub fn parameter(self) -> &'static str {
        match self {
            Over::Udp => "",
            Over::Tcp => ";transport=tcp",
            Over::Tls => ";transport=tls",
            Over::WebSocket | Over::SecureWebSocket => ";transport=ws",
        }
    }
}
