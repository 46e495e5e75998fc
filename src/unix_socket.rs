//! A Unix socket and its file.
//!
//! It promises that a file is replaced only where it is a socket nobody listens on, that nobody can connect
//! before mode and group are what they shall be, and that the file goes with its listener.

use std::io::{Error, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;

/// Connections the kernel holds for us while we are busy or restarting.
const BACKLOG: i32 = 1024;
/// What stands behind the name until the socket is as it shall be.
const FRESH: &str = ".new";
/// The longest path that can be bound: `sun_path` has 108 octets, one of them ends it, and the name has to
/// be a little longer for a moment (unix(7)).
pub const LONGEST_PATH: usize = 108 - 1 - FRESH.len();

/// Listens on `path` with this mode, and for this group where one is named. Needs the runtime.
///
/// # Errors
/// `AddrInUse` where somebody listens there, `AlreadyExists` where the file is no socket, and what the
/// system says.
pub fn bind(
    path: &Path,
    mode: u32,
    group: Option<u32>,
) -> std::io::Result<(UnixListener, SocketFile)> {
    if path.as_os_str().len() > LONGEST_PATH {
        let what = format!("the path is longer than {LONGEST_PATH} octets");
        return Err(Error::new(ErrorKind::InvalidFilename, what));
    }
    check_free(path)?;
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(FRESH);
    let fresh = PathBuf::from(fresh);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&socket2::SockAddr::unix(&fresh)?)?;
    let made = SocketFile::of(fresh)?;
    // Where it is right already nothing is asked for: a hardened unit may not change owners at all.
    if group.is_some_and(|group| made.group != group) {
        std::os::unix::fs::lchown(&made.path, None, group)?;
    }
    std::fs::set_permissions(&made.path, PermissionsExt::from_mode(mode))?;
    // Until here the kernel refuses every connection, whatever the mode was.
    socket.listen(BACKLOG)?;
    let listener = UnixListener::from_std(socket.into())?;
    Ok((listener, made.renamed(path)?))
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
    group: u32,
}

impl SocketFile {
    fn of(path: PathBuf) -> std::io::Result<Self> {
        let about = std::fs::symlink_metadata(&path)?;
        Ok(Self { path, inode: about.ino(), group: about.gid() })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> std::io::Result<(UnixListener, SocketFile)> {
        bind(path, 0o622, None)
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
        let (listener, file) = first;
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
    async fn a_path_that_the_kernel_could_not_hold_is_refused_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let name = |length: usize| path.join("x".repeat(length - path.as_os_str().len() - 1));
        let error = open(&name(LONGEST_PATH + 1)).unwrap_err();
        assert_eq!(error.to_string(), "the path is longer than 103 octets");
        drop(open(&name(LONGEST_PATH)).unwrap());
        assert_eq!(std::fs::read_dir(path).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn a_door_that_closes_late_leaves_its_successors_socket_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("smtp.sock");
        let first = open(&path).unwrap();
        let file = SocketFile { path: path.clone(), inode: 0, group: 0 };
        drop(file);
        assert!(path.exists(), "the inode is another's");
        drop(first);
        assert!(!path.exists());
    }
}
