//! Sockets: bound here or given by systemd, TCP and Unix.
//!
//! It promises that a Unix socket's file is replaced only where nobody listens on it, that it never stands
//! there with the wrong mode, and that it goes when its door closes.

use crate::config::ListenAddress;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
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
            ListenAddress::Unix(path) => unix(path, unix_mode),
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

/// Bound under another name, given its mode, and only then renamed: nobody finds it half made.
fn unix(path: &Path, mode: u32) -> std::io::Result<Socket> {
    check_free(path)?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(&fresh)?)?;
    let made = SocketFile::of(fresh)?;
    std::fs::set_permissions(&made.path, PermissionsExt::from_mode(mode))?;
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok(Socket::Unix(listener, Some(made.renamed(path)?)))
}

/// Only a socket nobody listens on may be replaced.
fn check_free(path: &Path) -> std::io::Result<()> {
    let about = match std::fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !about.file_type().is_socket() {
        return Err(ErrorKind::AlreadyExists.into());
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err(ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // A full backlog, or a socket we may not touch: somebody has it.
        Err(_) => Err(ErrorKind::AddrInUse.into()),
    }
}

/// The file of a Unix socket; goes with its door, unless another's stands there by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl SocketFile {
    fn of(path: PathBuf) -> std::io::Result<Self> {
        let inode = std::fs::symlink_metadata(&path)?.ino();
        Ok(Self { path, inode })
    }

    fn renamed(mut self, to: &Path) -> std::io::Result<Self> {
        std::fs::rename(&self.path, to)?;
        self.path = to.to_owned();
        Ok(self)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let about = std::fs::symlink_metadata(&self.path);
        if about.is_ok_and(|about| about.ino() == self.inode) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> std::io::Result<Socket> {
        Socket::open(&ListenAddress::Unix(path.to_owned()), 0o622, &mut Vec::new())
    }

    #[tokio::test]
    async fn a_unix_socket_has_its_mode_and_goes_with_its_door() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let socket = open(&path).unwrap();
        let mode = std::fs::symlink_metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o622);
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(socket);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn only_a_socket_that_nobody_listens_on_is_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let first = open(&path).unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::AddrInUse);
        std::os::unix::net::UnixStream::connect(&path).expect("the first still listens");
        // What a crash leaves: a socket without a listener.
        let Socket::Unix(listener, file) = first else { panic!("no Unix socket") };
        std::mem::forget(file);
        drop(listener);
        assert!(path.exists());
        let second = open(&path).expect("a stale socket is replaced");
        std::os::unix::net::UnixStream::connect(&path).unwrap();
        drop(second);
        std::fs::write(&path, "precious").unwrap();
        assert_eq!(open(&path).unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }

    #[tokio::test]
    async fn a_door_that_closes_late_leaves_its_successors_socket_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let first = open(&path).unwrap();
        let file = SocketFile { path: path.clone(), inode: 0 };
        drop(file);
        assert!(path.exists(), "the inode is another's");
        drop(first);
        assert!(!path.exists());
    }
}
