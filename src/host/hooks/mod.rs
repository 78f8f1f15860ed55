//! Hooks into what the host does by itself: the end of a script, the choice of a socket to send from, the end of the server.

pub mod script_end;
pub mod send_socket;
pub mod stop;
