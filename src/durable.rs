//! Write, fsync, rename, fsync the directory: the only code that does.
//!
//! It promises that a name appears only with its whole content behind it, and that after a return
//! without error both survive a power cut. Files are 0600, directories 0700. After a failed fsync the
//! file is removed and the failure told: the kernel forgets which pages it could not write, so a
//! second fsync of the same file would lie. Everything here blocks; keep it off the async threads.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A file that is being written under a name that does not count yet. Dropped, it is removed.
#[derive(Debug)]
pub struct Draft {
    file: File,
    path: PathBuf,
    synced: bool,
}

impl Draft {
    /// Makes the file; the name must be free and in the directory of the later target.
    ///
    /// # Errors
    /// What the file system says.
    pub fn create(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        let draft = Self { file, path, synced: false };
        give_to_owner(&draft.file, &draft.path)?;
        Ok(draft)
    }

    /// Where the octets lie until then.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends octets.
    ///
    /// # Errors
    /// What the file system says; the draft is of no use then.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.synced = false;
        self.file.write_all(octets)
    }

    /// Makes the content durable, under the name that does not count yet.
    ///
    /// # Errors
    /// What the file system says; never ask again, drop the draft.
    pub fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = true;
        Ok(())
    }

    /// Gives the content its name, in place of what bore it before; both are durable on return.
    ///
    /// # Errors
    /// What the file system says. Where the directory could not be synced the name may stand.
    pub fn place(mut self, target: &Path) -> io::Result<()> {
        if !self.synced {
            self.sync()?;
        }
        fs::rename(&self.path, target)?;
        // Nothing bears the old name now, so that the drop finds nothing to remove.
        self.path = PathBuf::new();
        sync_name(target)
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Writes a small file as a whole, in place of the old one; durable on return. A reader sees the old
/// content or the new one, never a part.
///
/// # Errors
/// What the file system says; the old file stands then, unless only the directory failed to sync.
pub fn replace(target: &Path, octets: &[u8]) -> io::Result<()> {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let path = target.with_file_name(name);
    // A process with our number may have died here before.
    match fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut draft = Draft::create(path)?;
    draft.write(octets)?;
    draft.place(target)
}

/// Holds this lock until the file is dropped; waits for whoever holds it, also in other processes.
///
/// # Errors
/// What the file system says.
pub fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    // Not through a link: root must not be led to a file that is not its business.
    options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
    let file = match options.clone().create_new(true).open(path) {
        Ok(file) => {
            give_to_owner(&file, path)?;
            file
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => options.open(path)?,
        Err(error) => return Err(error),
    };
    file.lock()?;
    Ok(file)
}

/// What root writes into somebody's directory is that somebody's: `login` by root must not leave files
/// that the daemon cannot read. Only for a file that was just made.
fn give_to_owner(file: &File, path: &Path) -> io::Result<()> {
    let own = file.metadata()?;
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => fs::metadata(dir)?,
        _ => fs::metadata(".")?,
    };
    if own.uid() == 0 && dir.uid() != 0 {
        std::os::unix::fs::fchown(file, Some(dir.uid()), Some(dir.gid()))?;
    }
    Ok(())
}

/// Makes a directory with 0700, and those above it; an existing one of ours is closed to others.
///
/// # Errors
/// What the file system says.
pub fn make_dir(path: &Path) -> io::Result<()> {
    make_missing(path)?;
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o077 != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    Ok(())
}

/// Makes what is missing, from the top down; each name is durable before the next one is made below it.
fn make_missing(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    if let Some(above) = path.parent().filter(|above| !above.as_os_str().is_empty()) {
        make_missing(above)?;
    }
    fs::DirBuilder::new().mode(0o700).create(path)?;
    sync_name(path)
}

/// Makes the name `path` durable in its directory.
///
/// # Errors
/// What the file system says.
pub fn sync_name(path: &Path) -> io::Result<()> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn replace_works_as_a_whole_and_leaves_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("token");
        fs::write(dir.path().join(format!("token.{}.new", std::process::id())), "stale").unwrap();
        for text in ["old", "new and longer", ""] {
            replace(&target, text.as_bytes()).unwrap();
            assert_eq!(fs::read_to_string(&target).unwrap(), text);
        }
        assert_eq!(names(dir.path()), ["token"]);
        assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_draft_dropped_leaves_nothing_and_a_placed_one_only_its_target() {
        let dir = tempfile::tempdir().unwrap();
        let mut draft = Draft::create(dir.path().join("a.part")).unwrap();
        draft.write(b"half").unwrap();
        drop(draft);
        assert_eq!(names(dir.path()), [""; 0]);

        let mut draft = Draft::create(dir.path().join("b.part")).unwrap();
        draft.write(b"whole").unwrap();
        draft.sync().unwrap();
        draft.place(&dir.path().join("b")).unwrap();
        assert_eq!(names(dir.path()), ["b"]);
        assert_eq!(fs::read(dir.path().join("b")).unwrap(), b"whole");
    }

    #[test]
    fn a_draft_that_cannot_be_placed_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let draft = Draft::create(dir.path().join("a.part")).unwrap();
        assert!(draft.place(&dir.path().join("gone/a")).is_err());
        assert_eq!(names(dir.path()), [""; 0]);
    }

    #[test]
    fn directories_are_closed_to_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        make_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        make_dir(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}
