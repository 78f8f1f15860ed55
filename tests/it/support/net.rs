//! Loopback addresses nobody else has: all of 127.0.0.0/8 is local.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A loopback address that no other caller in this process has had, nor (as good as) one in another process:
/// each process id has a thousand to itself.
pub fn address() -> Ipv4Addr {
    let first = std::process::id().wrapping_mul(1024);
    loop {
        let n = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        // 127.1.0.0 and up, so that 127.0.0.1 and its neighbours stay with those who expect them.
        let [_, b, c, d] = (0x1_0000 + n % 0xFE_0000).to_be_bytes();
        if d != 0 && d != 255 {
            return Ipv4Addr::new(127, b, c, d);
        }
    }
}

/// A UDP socket on an address of its own, with room for what arrives while its owner has no turn: loopback drops what does
/// not fit.
pub fn socket() -> UdpSocket {
    let room: libc::c_int = 16 << 20;
    let socket = UdpSocket::bind((address(), 0)).expect("a port on a loopback address");
    let size = size_of::<libc::c_int>() as libc::socklen_t;
    for option in [libc::SO_RCVBUF, libc::SO_RCVBUFFORCE] {
        // SAFETY: an open socket and a number with its size. Without the right to force it the limit of the system holds.
        unsafe {
            let fd = std::os::fd::AsRawFd::as_raw_fd(&socket);
            libc::setsockopt(fd, libc::SOL_SOCKET, option, (&raw const room).cast(), size);
        }
    }
    socket
}

/// A UDP port that was free on `ip` a moment ago. The address is ours alone, so it still is.
pub fn free_port(ip: Ipv4Addr) -> SocketAddr {
    let socket = UdpSocket::bind((ip, 0)).expect("a port on a loopback address");
    socket.local_addr().expect("the address just bound")
}

/// Whether some process has a UDP socket at exactly this IPv4 address. Asks the kernel: to try and bind it would
/// take it from the process that is about to.
pub fn is_bound(address: SocketAddr) -> bool {
    let SocketAddr::V4(address) = address else { return false };
    // As the kernel writes it: the address as a number of this machine's byte order, the port as a plain one.
    let number = u32::from_ne_bytes(address.ip().octets());
    let row = format!(" {number:08X}:{:04X} ", address.port());
    std::fs::read_to_string("/proc/net/udp").is_ok_and(|sockets| sockets.contains(&row))
}
