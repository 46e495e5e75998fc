//! A port that stays ours while nobody listens on it: for a daemon that must come back where it was, for
//! programs that cannot choose a port themselves, for an address at which nobody is.

use socket2::{Domain, Socket, Type};
use std::fmt;
use std::net::SocketAddr;

/// A port of 127.0.0.1, until it is dropped.
pub struct Port {
    address: SocketAddr,
    /// Bound and not listening, with SO_REUSEADDR: a server, which says SO_REUSEADDR too, may listen on it,
    /// and the system gives it to nobody who asks for any port.
    _held: Socket,
}

impl Port {
    pub fn hold() -> Self {
        let held = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        held.set_reuse_address(true).unwrap();
        held.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let address = held.local_addr().unwrap().as_socket().unwrap();
        Self { address, _held: held }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn number(&self) -> u16 {
        self.address.port()
    }
}

/// As an address.
impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}
