//! What our programs print in a test is kept, and at its end searched for every secret of that test.
//!
//! A [`Trail`] belongs to a directory: each world has one, and so has every other directory that a daemon is
//! started in. Whoever starts a program of ours says so here ([`log`], [`Heard`]); a daemon in a directory
//! without a trail is a mistake of the test and fails it. Secret is what the sandbox saw, what the configuration
//! and the private files beside it hold, and the key of the vault. Daemons are as talkative as can be, and the
//! libraries under them too, but for the tests named in [`QUIET`].

use super::daemon::Log;
use super::witness::Witness;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use submitd::sandbox::{Message, Options, Sandbox};

/// Tests whose daemons say only what their configuration asks for, by the beginning of their names, and why.
/// What they say is searched all the same.
const QUIET: [(&str, &str); 6] = [
    ("idle::", "the memory of a thousand idle clients is measured"),
    ("direct::twenty_of_25_mb", "the memory of twenty large mails is measured"),
    ("graph::b24_twenty_large", "the same"),
    ("many::b17_ten_thousand", "the time that ten thousand mails take is measured"),
    ("kills::", "load, and what is not written down is the sooner at risk"),
    ("power::", "the same"),
];

/// Keys of a configuration whose value is secret.
const KEYS: [&str; 5] =
    ["client_secret", "refresh_token", "password", "password_hash", "certificate_password"];

/// Parts of names of variables whose value is secret.
const VARIABLES: [&str; 5] = ["SECRET", "PASSWORD", "TOKEN", "KEY", "HEADER"];

/// What is shorter stands in a log by chance: user names, words of our own.
const SHORTEST: usize = 9;

/// A larger file holds no secret by itself.
const LARGEST: u64 = 64 * 1024;

/// What was heard in one directory.
#[derive(Default)]
struct Kept {
    logs: Vec<(String, Log)>,
    outputs: Vec<(String, Vec<u8>)>,
    secrets: BTreeSet<(String, String)>,
}

static TRAILS: Mutex<BTreeMap<PathBuf, Kept>> = Mutex::new(BTreeMap::new());

fn trails() -> MutexGuard<'static, BTreeMap<PathBuf, Kept>> {
    TRAILS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The trail of a directory. Dropped, it fails the test where a secret was heard.
pub struct Trail {
    dir: PathBuf,
}

impl Trail {
    /// Begins one.
    pub fn of(dir: &Path) -> Self {
        trails().insert(dir.to_owned(), Kept::default());
        Self { dir: dir.to_owned() }
    }

    /// What a sandbox was set up with, gave out and was shown is secret; what it took of our own mail is an
    /// output.
    pub fn sandbox(&self, sandbox: &Sandbox) {
        let ours = |mail: &Message| mail.text().contains("Auto-Submitted:");
        let mails = sandbox.messages().into_iter().filter(|mail| ours(mail));
        let mails = mails.map(|mail| ("a mail of ours".to_owned(), mail.raw.to_vec()));
        with(&self.dir, |kept| {
            kept.secrets_of(sandbox.options());
            for secret in sandbox.secrets() {
                kept.secret("what the sandbox gave out or was shown", secret.expose());
            }
            kept.outputs.extend(mails);
        });
    }
}

impl Drop for Trail {
    fn drop(&mut self) {
        look(&self.dir);
        let kept = trails().remove(&self.dir).unwrap_or_default();
        // A test that fails already says why; a second panic would end the process.
        if !std::thread::panicking() {
            kept.assert_clean();
        }
    }
}

impl Kept {
    fn secret(&mut self, label: &str, text: &str) {
        if text.len() >= SHORTEST {
            self.secrets.insert((label.to_owned(), text.to_owned()));
        }
    }

    fn variable(&mut self, name: &str, value: &str) {
        let is_secret = VARIABLES.iter().any(|part| name.contains(part)) && !name.contains("FILE");
        if is_secret {
            self.secret(&format!("${name}"), value);
        }
    }

    /// What a sandbox was set up with.
    fn secrets_of(&mut self, options: &Options) {
        let known = &options.identities;
        for (label, secret) in [
            ("the application's secret", &options.client_secret),
            ("the first refresh token", &options.refresh_token),
            ("everybody's password", &known.password),
            ("IDENTITY_HEADER", &known.identity_header),
        ] {
            self.secret(label, secret.expose());
        }
        for (label, key) in
            [("the application's key", &known.key), ("Google's key", &known.service_account_key)]
        {
            private_lines(key.expose()).for_each(|line| self.secret(label, line));
        }
    }

    fn assert_clean(self) {
        let mut witness = Witness::default();
        for (label, text) in &self.secrets {
            witness.secret(label, text);
        }
        for (name, octets) in self.outputs {
            witness.output(&name, octets);
        }
        for (name, log) in self.logs {
            witness.output(&name, log.all());
        }
        let found = witness.found();
        assert!(found.is_empty(), "secrets were shown:\n{}", found.join("\n"));
    }
}

/// The directory whose trail `path` belongs to.
fn trail_of(trails: &BTreeMap<PathBuf, Kept>, path: &Path) -> Option<PathBuf> {
    path.ancestors().find(|dir| trails.contains_key(*dir)).map(Path::to_owned)
}

fn with(path: &Path, see: impl FnOnce(&mut Kept)) {
    let mut trails = trails();
    let dir = trail_of(&trails, path);
    let kept = dir.and_then(|dir| trails.get_mut(&dir));
    see(kept.unwrap_or_else(|| panic!("{} has no trail: Trail::of", path.display())));
}

/// A program that was started in this directory, with these variables, writes this log.
pub fn log(dir: &Path, name: &str, log: &Log, variables: &[(String, String)]) {
    look(dir);
    with(dir, |kept| {
        variables.iter().for_each(|(name, value)| kept.variable(name, value));
        kept.logs.push((name.to_owned(), log.clone()));
    });
}

/// This was printed by a program that was started in this directory.
pub fn printed(dir: &Path, name: &str, octets: &[u8]) {
    with(dir, |kept| kept.outputs.push((name.to_owned(), octets.to_vec())));
}

/// Makes a daemon tell all it can, unless this test is one of [`QUIET`].
pub fn loud(command: &mut Command) {
    let test = std::thread::current();
    let test = test.name().unwrap_or_default();
    if !QUIET.iter().any(|(name, _)| test.starts_with(name)) {
        command.env("SUBMITD_LOG__LEVEL", "trace").env(submitd::observe::log::HEAR_LIBRARIES, "1");
    }
}

/// Notes the secrets that the files of a directory hold now: tests write them anew.
fn look(dir: &Path) {
    let mut found = Vec::new();
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in files.chain([dir.join("state/vault.key")]) {
        let Ok(about) = path.metadata() else { continue };
        if !about.is_file() || about.len() > LARGEST {
            continue;
        }
        let text = std::fs::read(&path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        if path.extension().is_some_and(|ending| ending == "toml") {
            found.extend(text.lines().filter_map(value).map(|value| (path.clone(), value)));
        } else if about.permissions().mode() & 0o077 == 0 {
            found.extend(private_lines(&text).map(|line| (path.clone(), line.to_owned())));
        }
    }
    with(dir, |kept| {
        for (path, text) in found {
            kept.secret(&format!("what {} holds", path.display()), &text);
        }
    });
}

/// Lines of a private file; those that frame PEM are known to everybody.
fn private_lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.starts_with("-----"))
}

/// The value of a line of a configuration whose key is secret.
fn value(line: &str) -> Option<String> {
    let (key, rest) = line.split_once('=')?;
    let text = rest.trim().strip_prefix('"')?;
    KEYS.contains(&key.trim()).then(|| text.split('"').next().unwrap_or_default().to_owned())
}

/// A command of ours that is run to its end.
pub trait Heard {
    /// Runs it and keeps what it prints.
    fn heard(&mut self) -> Output;

    /// The same for one that reads this. One that refuses its command line does not read.
    fn fed(&mut self, input: &[u8]) -> Output;
}

impl Heard for Command {
    fn heard(&mut self) -> Output {
        let output = self.output().unwrap_or_else(|error| missing(self, &error));
        keep(self, &output);
        output
    }

    fn fed(&mut self, input: &[u8]) -> Output {
        self.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.spawn().unwrap_or_else(|error| missing(self, &error));
        let _ = child.stdin.take().unwrap().write_all(input);
        let output = child.wait_with_output().unwrap();
        keep(self, &output);
        output
    }
}

fn missing(command: &Command, error: &std::io::Error) -> ! {
    panic!("{:?}: {error}; run scripts/install-test-tools", command.get_program())
}

/// Keeps what a command printed. It belongs to the trail that its words or variables lead to; where none does
/// it had no secrets but those that every sandbox has, and they are looked for at once.
pub fn keep(command: &Command, output: &Output) {
    let text = |text: &OsStr| text.to_string_lossy().into_owned();
    let words: Vec<String> = command.get_args().map(text).collect();
    let variables = command.get_envs().filter_map(|(name, value)| Some((text(name), text(value?))));
    let variables: Vec<(String, String)> = variables.collect();
    let program = text(command.get_program());
    let named = words.iter().chain(variables.iter().map(|(_, value)| value)).chain([&program]);
    let dir = named.filter_map(|text| trail_of(&trails(), Path::new(text))).next();

    let name = format!("submitd {}", words.join(" "));
    let printed = (name, [&output.stdout[..], &output.stderr[..]].concat());
    let Some(dir) = dir else {
        let mut kept = Kept { outputs: vec![printed], ..Kept::default() };
        kept.secrets_of(&Options::default());
        return kept.assert_clean();
    };
    look(&dir);
    with(&dir, |kept| {
        variables.iter().for_each(|(name, value)| kept.variable(name, value));
        kept.outputs.push(printed);
    });
}
