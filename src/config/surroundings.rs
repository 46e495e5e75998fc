//! What the machine contributes: the file, the host name, the user, the usual directories.
//!
//! The only place of this module, with `secrets` and `certificate`, that touches files. Variables come from the list it
//! is given, never from the process.

use super::certificate::Identity;
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
    runtime_dir: Option<PathBuf>,
    user: u32,
    offered: Vec<(String, String)>,
}

/// What hosts set for a program that runs on them: its identity.
const OFFERED: [&str; 7] = [
    "AZURE_AUTHORITY_HOST",
    "AZURE_CLIENT_ID",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_TENANT_ID",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "IDENTITY_SERVER_THUMBPRINT",
];

impl Machine {
    /// For a configuration file of that name.
    pub fn new(file: &str, variables: &[(String, String)]) -> Self {
        // the directory of our process belongs to the user in effect
        let user = std::fs::metadata("/proc/self").map_or(0, |about| about.uid());
        Self {
            base: Path::new(file).parent().map(Path::to_path_buf).unwrap_or_default(),
            credentials: variable(variables, "CREDENTIALS_DIRECTORY").map(PathBuf::from),
            state_dir: usual_state(variables, user),
            runtime_dir: directory(variables, "RUNTIME_DIRECTORY"),
            user,
            offered: OFFERED
                .iter()
                .filter_map(|name| {
                    Some(((*name).to_owned(), variable(variables, name)?.to_owned()))
                })
                .collect(),
        }
    }

    /// Lends what a check needs.
    pub fn look<T>(&self, see: impl FnOnce(&Surroundings<'_>) -> T) -> T {
        see(&Surroundings {
            base: self.base.clone(),
            now: std::time::SystemTime::now(),
            hostname: hostname(),
            state_dir: self.state_dir.clone(),
            runtime_dir: self.runtime_dir.clone(),
            read_secret: &|path| {
                secrets::read(path, &self.base, self.credentials.as_deref(), self.user)
            },
            find_file: &|path, secrecy| {
                let credentials = self.credentials.as_deref();
                secrets::find(path, secrecy, &self.base, credentials, self.user)
            },
            variable: &|name| variable(&self.offered, name).map(str::to_owned),
            readable: &|path| match std::fs::File::open(path) {
                Ok(_) => Ok(()),
                Err(error) => Err(error.kind().to_string()),
            },
            read_text: &|path| {
                std::fs::read_to_string(path).map_err(|error| error.kind().to_string())
            },
            identity: &|certificate, key| {
                let files = (certificate, key);
                let credentials = self.credentials.as_deref();
                let identity = Identity::new(files, &self.base, credentials, self.user);
                identity.read().map(|_| identity)
            },
        })
    }
}

/// A variable that is set and not empty.
fn variable<'v>(variables: &'v [(String, String)], name: &str) -> Option<&'v str> {
    let found = variables.iter().rev().find(|(key, _)| key == name);
    found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
}

/// A directory that systemd gives us; it parts several by colons.
fn directory(variables: &[(String, String)], name: &str) -> Option<PathBuf> {
    variable(variables, name).and_then(|list| list.split(':').next()).map(PathBuf::from)
}

/// Where state lives unless the configuration says so.
fn usual_state(variables: &[(String, String)], user: u32) -> PathBuf {
    let state = directory(variables, "STATE_DIRECTORY");
    match (state, variable(variables, "HOME").filter(|_| user != 0)) {
        (Some(state), _) => state,
        (None, Some(home)) => Path::new(home).join(".local/state/submitd"),
        (None, None) => PathBuf::from("/var/lib/submitd"),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn refused(path: &Path) -> String {
        let problems = Config::load(Some(path), std::iter::empty()).err();
        problems.map(|problems| problems.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_problem() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("submitd.toml");
        let name = path.display();
        assert_eq!(
            refused(&path),
            format!("{name}: configuration: does not exist; write it, or name another")
        );
        std::fs::write(&path, b"# one\n# \xff").expect("write");
        assert_eq!(
            refused(&path),
            format!(
                "{name}: configuration: cannot be read (line 2 is not UTF-8); name a file we may read"
            )
        );
        assert!(refused(directory.path()).contains("cannot be read"));
    }

    #[test]
    fn a_file_with_secrets_that_everybody_may_read_is_a_warning() {
        let directory = tempfile::tempdir().expect("directory");
        let path = directory.path().join("submitd.toml");
        std::fs::write(&path, "").expect("write");
        for (mode, text, is_warned) in [
            (0o644, "client_secret = \"x\"", true),
            (0o600, "client_secret = \"x\"", false),
            (0o640, "  password=\"x\"", false),
            (0o604, "  password=\"x\"", true),
            (0o644, "client_secret_file = \"x\"", false),
        ] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("chmod");
            assert_eq!(shown_to_others(&path, text).is_some(), is_warned, "{mode:o} {text}");
        }
    }

    #[test]
    fn state_lives_where_systemd_says_or_by_user() {
        let state = |variables: &[(&str, &str)], user: u32| {
            let variables: Vec<(String, String)> =
                variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
            usual_state(&variables, user)
        };
        for (variables, user, expected) in [
            (&[("STATE_DIRECTORY", "/var/lib/a:/var/lib/b"), ("HOME", "/h")][..], 7, "/var/lib/a"),
            (&[("HOME", "/h")], 7, "/h/.local/state/submitd"),
            (&[("HOME", "/root")], 0, "/var/lib/submitd"),
            (&[("STATE_DIRECTORY", "")], 7, "/var/lib/submitd"),
        ] {
            assert_eq!(state(variables, user), PathBuf::from(expected));
        }
    }
}
