//! Files of secrets.
//!
//! It promises that a secret others may read is refused, that a line break at the end does not count,
//! and that no error holds any of the text.

use super::value::Wrong;
use crate::secret::Secret;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// More octets than any token or password has.
const LONGEST: u64 = 64 << 10;

/// Whether others may read a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrecy {
    /// A secret: the mode counts.
    Private,
    /// Public, or guarded by whoever lays it out.
    Public,
}

/// A file that is read at each use, because somebody renews it. The rules for its mode hold each time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretFile {
    path: PathBuf,
    own: Option<u32>,
}

impl SecretFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What stands in it, 64 KB at most. Blocks for the disk.
    ///
    /// # Errors
    /// What is wrong and what to do, in one line that holds nothing of the content.
    pub fn read(&self) -> Result<Zeroizing<Vec<u8>>, String> {
        self.octets().map_err(|Wrong { what, remedy, .. }| format!("{what}; {remedy}"))
    }

    /// A file whose mode does not count.
    pub fn unguarded(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), own: None }
    }

    fn octets(&self) -> Result<Zeroizing<Vec<u8>>, Wrong> {
        octets(&self.path, self.own)
    }
}

/// Where a file is: relative to `base`; where it is relative, a systemd credential of that file name
/// comes first. `own` is the user we run as.
fn locate(path: &Path, base: &Path, credentials: Option<&Path>, own: u32) -> SecretFile {
    match credential(path, credentials) {
        // systemd guards the directory; under User= the file's group bits show an ACL's mask
        Some(path) => SecretFile { path, own: None },
        None => SecretFile { path: base.join(path), own: Some(own) },
    }
}

/// Finds a file that is read at each use, and what is wrong with it now.
pub(super) fn find(
    path: &Path,
    secrecy: Secrecy,
    base: &Path,
    credentials: Option<&Path>,
    own: u32,
) -> (SecretFile, Option<Wrong>) {
    let mut file = locate(path, base, credentials, own);
    file.own = file.own.filter(|_| secrecy == Secrecy::Private);
    let wrong = file.octets().err();
    (file, wrong)
}

/// Reads a secret that stands alone in its file.
pub(super) fn read(
    path: &Path,
    base: &Path,
    credentials: Option<&Path>,
    own: u32,
) -> Result<Secret, Wrong> {
    let file = locate(path, base, credentials, own);
    text(&file.path, &file.octets()?)
}

/// The credential of systemd that stands in for a relative path, where there is one.
pub(super) fn credential(path: &Path, credentials: Option<&Path>) -> Option<PathBuf> {
    let name = path.file_name().filter(|_| path.is_relative())?;
    credentials.map(|directory| directory.join(name)).filter(|path| path.exists())
}

/// Permission bits that a secret's file must not have, by its owner and the user we run as.
///
/// Of another's file the group bit may be our only way in, root:submitd 640; and root, who runs `check`
/// and `send` by hand, must not be told that this very layout is wrong.
pub(super) fn forbidden(owner: u32, own: u32) -> u32 {
    if owner == own && own != 0 { 0o077 } else { 0o037 }
}

fn octets(path: &Path, own: Option<u32>) -> Result<Zeroizing<Vec<u8>>, Wrong> {
    let shown = path.display();
    let unread = |error: std::io::Error| unread(path, &error);
    let file = std::fs::File::open(path).map_err(unread)?;
    let about = file.metadata().map_err(unread)?;
    if about.is_dir() {
        return Err(Wrong::new(format!("{shown} is a directory"), "name a file"));
    }
    if let Some(own) = own.filter(|_| about.is_file()) {
        let mode = about.permissions().mode() & 0o777;
        if mode & forbidden(about.uid(), own) != 0 {
            let what = format!("{shown} can be read or written by others (mode {mode:03o})");
            return Err(Wrong::new(what, format!("chmod 600 {shown}")));
        }
    }
    let mut octets = Zeroizing::new(Vec::new());
    file.take(LONGEST + 1).read_to_end(&mut octets).map_err(unread)?;
    if octets.len() as u64 > LONGEST {
        return Err(Wrong::new(format!("{shown} is larger than 64 KB"), "name the right file"));
    }
    Ok(octets)
}

fn text(path: &Path, octets: &[u8]) -> Result<Secret, Wrong> {
    let shown = path.display();
    let text = std::str::from_utf8(octets).ok().filter(|text| !text.contains('\0'));
    let Some(text) = text else {
        let remedy = "save it as UTF-8 (Windows editors may write UTF-16)";
        return Err(Wrong::new(format!("{shown} is not UTF-8 text"), remedy));
    };
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() {
        return Err(Wrong::new(format!("{shown} is empty"), "write the secret into it"));
    }
    if text.contains(char::is_control) {
        let what = format!("{shown} holds more than one line or a control character");
        return Err(Wrong::new(what, "write the secret alone, on one line"));
    }
    Ok(Secret::new(text))
}

/// People paste the secret itself where its file's name belongs, so a name that leads nowhere is not
/// repeated.
fn unread(path: &Path, error: &std::io::Error) -> Wrong {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::PermissionDenied => Wrong::new(
            format!("{} may not be read by us", path.display()),
            format!("let the user submitd runs as own it: chown submitd {}", path.display()),
        ),
        ErrorKind::NotFound => Wrong::new(
            match path.parent().unwrap_or(Path::new("/")) {
                here if here.as_os_str().is_empty() => {
                    "names a file that does not exist in \".\"".to_owned()
                }
                directory if directory.is_dir() => {
                    format!("names a file that does not exist in {:?}", directory.display())
                }
                // Base64 may hold slashes: this too may be a piece of a secret.
                _ => "names a file in a directory that does not exist".to_owned(),
            },
            "write the secret into that file, with mode 600",
        ),
        kind => Wrong::new(format!("names a file that cannot be read ({kind})"), "name another"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &[u8], mode: u32) -> (tempfile::TempDir, Result<Secret, Wrong>) {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("erp.secret");
        std::fs::write(&path, text).expect("write");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("chmod");
        let own = std::fs::metadata(&path).expect("metadata").uid();
        let secret = read(Path::new("erp.secret"), directory.path(), None, own);
        (directory, secret)
    }

    #[test]
    fn takes_what_editors_and_shells_write() {
        for text in ["hunter2", "hunter2\n", "hunter2\r\n", "\u{feff}hunter2\n"] {
            let (_directory, secret) = written(text.as_bytes(), 0o600);
            assert!(secret.is_ok_and(|secret| secret.expose() == "hunter2"), "{text:?}");
        }
    }

    #[test]
    fn refuses_with_a_remedy_and_without_the_text() {
        for (text, mode, what, remedy) in [
            (&b"hunter2"[..], 0o644, "by others (mode 644)", "chmod 600"),
            (b"hunter2", 0o660, "by others (mode 660)", "chmod 600"),
            (b"hunter2", 0o602, "by others (mode 602)", "chmod 600"),
            (b"", 0o600, "is empty", "write the secret"),
            (b" \n", 0o600, "is empty", "write the secret"),
            (b"hunter2\nhunter3\n", 0o600, "more than one line", "alone"),
            (b"h\0u\0n\0t\0e\0r\x002\0", 0o600, "not UTF-8", "UTF-16"),
            (b"\xff\xfeh\0", 0o600, "not UTF-8", "UTF-16"),
        ] {
            let (_directory, secret) = written(text, mode);
            let wrong = secret.expect_err(what);
            assert!(wrong.what.contains(what), "{}", wrong.what);
            assert!(wrong.remedy.contains(remedy), "{}", wrong.remedy);
            assert!(!format!("{}{}", wrong.what, wrong.remedy).contains("hunter"));
        }
    }

    #[test]
    fn group_may_read_what_is_roots_only() {
        for (owner, own, mode, is_taken) in [
            (1000, 1000, 0o600, true),
            (1000, 1000, 0o640, false),
            (0, 995, 0o640, true), // the service reads root:submitd 640
            (0, 0, 0o640, true),   // and root, by hand, the same file
            (0, 0, 0o660, false),
            (0, 995, 0o644, false),
        ] {
            assert_eq!(mode & forbidden(owner, own) == 0, is_taken, "{owner} {own} {mode:o}");
        }
    }

    #[test]
    fn anothers_file_may_be_readable_by_our_group() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("erp.secret");
        std::fs::write(&path, "hunter2").expect("write");
        let another = std::fs::metadata(&path).expect("metadata").uid() + 1;
        for (mode, is_taken) in [(0o640, true), (0o660, false), (0o644, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("chmod");
            assert_eq!(read(&path, Path::new("/"), None, another).is_ok(), is_taken, "{mode:o}");
        }
    }

    #[test]
    fn a_credential_comes_before_a_file_beside_the_configuration() {
        let (beside, credentials) =
            (tempfile::tempdir().expect("base"), tempfile::tempdir().expect("credentials"));
        std::fs::write(credentials.path().join("erp.secret"), "from systemd").expect("write");
        let path = Path::new("secrets/erp.secret");
        let secret = read(path, beside.path(), Some(credentials.path()), 0);
        assert!(secret.is_ok_and(|secret| secret.expose() == "from systemd"));
        let absolute = beside.path().join("erp.secret");
        assert!(read(&absolute, beside.path(), Some(credentials.path()), 0).is_err());
    }
}
