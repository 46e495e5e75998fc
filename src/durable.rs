//! Write, fsync, rename, fsync the directory: the only code that does.
//!
//! It promises that after a crash at any point a file is either wholly the old one or wholly the
//! new one, and that it is the new one once the call has come back. It must not be used for files
//! that grow: everything is written anew.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Puts `contents` in the place of the file at `path`, with exactly these permission bits.
///
/// Blocks until the disk has it. A file left over by a crash bears the ending `.new` and is
/// overwritten by the next call. Errors are those of the file system; the old file then stands.
pub fn replace(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let fresh = beside(path);
    match std::fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let result = write_new(&fresh, contents, mode)
        .and_then(|()| std::fs::rename(&fresh, path))
        // Without this the new name itself may be lost with the power.
        .and_then(|()| File::open(directory)?.sync_all());
    if result.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    result
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

fn write_new(path: &Path, contents: &[u8], mode: u32) -> io::Result<()> {
    // create_new: a link that somebody laid there is never followed.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    // The umask may have taken bits away.
    file.set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.write_all(contents)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_with_the_mode_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        replace(&path, b"one", 0o600).unwrap();
        std::fs::write(beside(&path), b"left over").unwrap();
        replace(&path, b"two", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"two");
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_failure_leaves_the_old_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        std::fs::create_dir(&path).unwrap();
        assert!(replace(&path, b"two", 0o600).is_err());
        assert!(path.is_dir());
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
