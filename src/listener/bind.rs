//! Sockets: bound here or given by systemd, TCP and Unix.
//!
//! It promises that what systemd gave is used before anything is bound. How a Unix socket's file comes and
//! goes is said in `unix_socket`.

use crate::config::ListenAddress;
use crate::unix_socket::{self, SocketFile};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};

/// Connections the kernel holds for us while we are busy or restarting.
const BACKLOG: i32 = 1024;

/// An address could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("listener {address}: {}", explain(.address, .error))]
pub struct BindError {
    /// Which.
    pub address: ListenAddress,
    /// Why.
    pub error: std::io::Error,
}

fn explain(address: &ListenAddress, error: &std::io::Error) -> String {
    let is_unix = matches!(address, ListenAddress::Unix(_));
    let words = match (error.kind(), is_unix) {
        (ErrorKind::AddrInUse, false) => {
            "the port is taken; another submitd or mail server may run: see `ss -ltnp`"
        }
        (ErrorKind::AddrInUse, true) => {
            "the socket is taken; another submitd may run: see `ss -lxp`"
        }
        (ErrorKind::PermissionDenied, false) => {
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE or socket activation"
        }
        (ErrorKind::PermissionDenied, true) => "we may not write its directory",
        (ErrorKind::NotFound, true) => {
            "its directory does not exist; systemd makes one with RuntimeDirectory="
        }
        (ErrorKind::AlreadyExists, true) => "there is a file of this name that is no socket",
        _ => return error.to_string(),
    };
    words.to_owned()
}

/// A listening socket of systemd's (sd_listen_fds(3)).
#[derive(Debug)]
pub enum Inherited {
    /// IPv4 or IPv6.
    Tcp(std::net::TcpListener),
    /// A Unix socket.
    Unix(std::os::unix::net::UnixListener),
}

impl Inherited {
    /// Where it listens; none for a Unix socket without a path.
    pub fn address(&self) -> Option<ListenAddress> {
        match self {
            Self::Tcp(socket) => socket.local_addr().ok().map(ListenAddress::Tcp),
            Self::Unix(socket) => {
                let path = socket.local_addr().ok()?.as_pathname()?.to_owned();
                Some(ListenAddress::Unix(path))
            }
        }
    }

    fn into_socket(self) -> std::io::Result<Socket> {
        match self {
            Self::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                TcpListener::from_std(socket).map(Socket::Tcp)
            }
            Self::Unix(socket) => {
                socket.set_nonblocking(true)?;
                // Its file is systemd's: it stays when we go.
                Ok(Socket::Unix(UnixListener::from_std(socket)?, None))
            }
        }
    }
}

/// A socket that listens.
#[derive(Debug)]
pub enum Socket {
    /// IPv4 or IPv6.
    Tcp(TcpListener),
    /// A Unix socket, and its file where that is ours.
    Unix(UnixListener, Option<SocketFile>),
}

/// What came in.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Connection for S {}

impl Socket {
    /// The one systemd gave for this address, or a new one.
    pub fn open(
        address: &ListenAddress,
        unix_mode: u32,
        inherited: &mut Vec<Inherited>,
    ) -> std::io::Result<Self> {
        if let Some(given) = inherited.iter().position(|it| it.address().as_ref() == Some(address))
        {
            return inherited.swap_remove(given).into_socket();
        }
        match address {
            ListenAddress::Tcp(address) => tcp(*address).map(Self::Tcp),
            ListenAddress::Unix(path) => {
                let (listener, file) = unix_socket::bind(path, unix_mode, None)?;
                Ok(Self::Unix(listener, Some(file)))
            }
        }
    }

    /// Whether it is a Unix socket whose file is ours, not systemd's.
    pub fn has_own_file(&self) -> bool {
        matches!(self, Self::Unix(_, Some(_)))
    }

    /// Where it listens, with the port that the system chose.
    pub fn bound(&self, address: &ListenAddress) -> ListenAddress {
        match self {
            Self::Tcp(listener) => match listener.local_addr() {
                Ok(bound) => ListenAddress::Tcp(bound),
                Err(_) => address.clone(),
            },
            Self::Unix(..) => address.clone(),
        }
    }
}

fn tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let domain = socket2::Domain::for_address(address);
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Gives the file of an open Unix socket another mode.
pub fn change_mode(address: &ListenAddress, mode: u32) {
    let ListenAddress::Unix(path) = address else { return };
    if let Err(error) = std::fs::set_permissions(path, PermissionsExt::from_mode(mode)) {
        tracing::error!(%address, %error, "unix_mode cannot be changed");
    }
}

/// `localhost` stands for both loopbacks; a machine without IPv6 has only one.
pub fn is_missing_ipv6(
    address: &ListenAddress,
    others: &[SocketAddr],
    error: &std::io::Error,
) -> bool {
    let ListenAddress::Tcp(SocketAddr::V6(address)) = address else { return false };
    IpAddr::V6(*address.ip()).is_loopback()
        && others.iter().any(SocketAddr::is_ipv4)
        && (error.kind() == ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(EAFNOSUPPORT))
}

/// Linux: address family not supported by protocol.
const EAFNOSUPPORT: i32 = 97;
