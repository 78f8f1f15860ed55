//! A TCP endpoint at which nobody ever gets through: a connection attempt is neither accepted nor refused.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::net;

/// An attempt that takes this long on the loopback interface hangs.
const HANGS: Duration = Duration::from_millis(300);

/// More than any kernel takes beyond the queue's length of 0; Linux takes one.
const AT_MOST: usize = 16;

/// The listener's queue is full of our own connections, and the kernel drops the SYN of any other: the client
/// sends it again after one second, three, seven and so on for two minutes.
pub struct BlackHole {
    listener: TcpListener,
    local: SocketAddr,
    queue: Vec<TcpStream>,
}

impl BlackHole {
    /// On an address of its own. Fails the test if a connection gets through all the same.
    pub fn start() -> BlackHole {
        let listener = TcpListener::bind((net::address(), 0)).expect("a port on a loopback address");
        let local = listener.local_addr().expect("the address just bound");
        // SAFETY: listen takes no pointers. On a socket that listens already it changes the queue's length.
        let listening = unsafe { libc::listen(listener.as_raw_fd(), 0) };
        assert_eq!(listening, 0, "listen: {}", io::Error::last_os_error());
        let mut queue = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&local, HANGS) {
            queue.push(stream);
            assert!(queue.len() < AT_MOST, "{local} takes any number of connections");
        }
        let hole = BlackHole { listener, local, queue };
        assert!(hole.hangs(), "{local} refuses connections");
        hole
    }

    pub fn local(&self) -> SocketAddr {
        self.local
    }

    pub fn uri(&self) -> String {
        format!("sip:{};transport=tcp", self.local)
    }

    /// Whether a connection attempt is without an answer for a while.
    pub fn hangs(&self) -> bool {
        let attempt = TcpStream::connect_timeout(&self.local, HANGS);
        attempt.is_err_and(|e| e.kind() == io::ErrorKind::TimedOut)
    }
}
