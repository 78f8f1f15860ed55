//! Hooks into what the host does by itself: routes that begin and end, the choice of a socket to send from, the end of the server.

pub mod routes;
pub mod send_socket;
pub mod stop;
