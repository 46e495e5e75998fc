//! What the machine contributes: the file, the host name, the user, the usual directories.
//!
//! The only place of this module, with `secrets`, that touches files. Variables come from the list it
//! is given, never from the process.

use super::check::Surroundings;
use super::problem::{Place, Problem};
use super::secrets;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Why the file was not read.
pub(super) enum Unread {
    /// It does not exist.
    Absent,
    /// Another reason, in words.
    Failed(String),
}

impl Unread {
    /// As a problem of the file `name`.
    pub fn problem(self, name: &str) -> Problem {
        let (what, remedy) = match self {
            Self::Absent => ("does not exist".to_owned(), "write it, or name another"),
            Self::Failed(why) => (format!("cannot be read ({why})"), "name a file we may read"),
        };
        let key = "configuration".to_owned();
        Problem { place: Place::File(name.to_owned()), key, what, remedy: remedy.to_owned() }
    }
}

/// Reads the configuration file.
pub(super) fn read_file(path: &Path) -> Result<Zeroizing<String>, Unread> {
    match std::fs::read(path) {
        Ok(octets) => match String::from_utf8(octets) {
            Ok(text) => Ok(text.into()),
            Err(error) => {
                let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
                let line = 1 + good.iter().filter(|octet| **octet == b'\n').count();
                Err(Unread::Failed(format!("line {line} is not UTF-8")))
            }
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Unread::Absent),
        Err(error) => Err(Unread::Failed(error.kind().to_string())),
    }
}

/// A doubt where the file itself holds secrets and everybody may read it.
pub(super) fn shown_to_others(path: &Path, text: &str) -> Option<Problem> {
    let mode = std::fs::metadata(path).ok()?.permissions().mode() & 0o777;
    let holds = |line: &str| {
        let key = line.split('=').next().unwrap_or_default().trim();
        ["client_secret", "refresh_token", "password"].contains(&key)
    };
    (mode & 0o007 != 0 && text.lines().any(holds)).then(|| Problem {
        place: Place::File(path.display().to_string()),
        key: "configuration".to_owned(),
        what: format!("holds secrets and can be read by everybody (mode {mode:03o})"),
        remedy: format!("chmod 600 {}, or use keys ending in _file", path.display()),
    })
}

/// The machine as one configuration sees it.
pub(super) struct Machine {
    base: PathBuf,
    credentials: Option<PathBuf>,
    state_dir: PathBuf,
    user: u32,
}

impl Machine {
    /// For a configuration file of that name.
    pub fn new(file: &str, variables: &[(String, String)]) -> Self {
        let variable = |name: &str| {
            let found = variables.iter().rev().find(|(key, _)| key == name);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        // the directory of our process belongs to the user in effect
        let user = std::fs::metadata("/proc/self").map_or(0, |about| about.uid());
        let home = variable("HOME").filter(|_| user != 0);
        // systemd parts several state directories by colons
        let state = variable("STATE_DIRECTORY").and_then(|list| list.split(':').next());
        let state_dir = match (state, home) {
            (Some(state), _) => PathBuf::from(state),
            (None, Some(home)) => Path::new(home).join(".local/state/submitd"),
            (None, None) => PathBuf::from("/var/lib/submitd"),
        };
        Self {
            base: Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default(),
            credentials: variable("CREDENTIALS_DIRECTORY").map(PathBuf::from),
            state_dir,
            user,
        }
    }

    /// Lends what a check needs.
    pub fn look<T>(&self, see: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        see(&Surroundings {
            base: self.base.clone(),
            hostname: hostname(),
            state_dir: self.state_dir.clone(),
            read_secret: &|path| {
                secrets::read(path, &self.base, self.credentials.as_deref(), self.user)
            },
            readable: &|path| match std::fs::File::open(path) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.kind().to_string()),
            },
        })
    }
}

/// The machine's name; `localhost` where it has none that could stand in EHLO.
fn hostname() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"))
        .unwrap_or_default();
    let name = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match !name.is_empty() && name != "(none)" && name.chars().all(fits) && !name.starts_with('.') {
        true => name.to_owned(),
        false => "localhost".to_owned(),
    }
}
