//! aiosmtpd, a server in Python, with STARTTLS and XOAUTH2 and a token endpoint of its own.

use crate::support::authority::Authority;
use crate::support::daemon::{Log, Start};
use crate::support::overheard::Trail;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

const PYTHON: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/venv/bin/python");
const SCRIPT: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/support/servers/with_aiosmtpd.py");

/// A running one; it ends when this is dropped.
pub struct Aiosmtpd {
    child: Child,
    _trail: Trail,
    dir: TempDir,
    config: String,
    /// What it says as things happen.
    pub log: Log,
}

/// A mail it took.
pub struct Taken {
    pub sender: String,
    pub recipients: Vec<String>,
    pub raw: Vec<u8>,
}

impl Aiosmtpd {
    /// Starts it; the first so many tokens are given out but not taken.
    pub fn start(refused_tokens: u32) -> Self {
        let dir = TempDir::with_prefix("submitd-aiosmtpd-").unwrap();
        let files = Authority::make(dir.path());
        let mut child = Command::new(PYTHON)
            .arg(SCRIPT)
            .arg(dir.path())
            .arg(&files.certificate)
            .arg(&files.key)
            .arg(refused_tokens.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            // Its complaints about connections that we cut.
            .stderr(std::fs::File::create(dir.path().join("stderr")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("{PYTHON}: {error}; run scripts/install-test-tools"));
        let log = Log::default();
        log.follow(child.stdout.take().unwrap());
        let ready = log.wait_for("ready ");
        let ports: Vec<u16> = ready.split(' ').filter_map(|word| word.parse().ok()).collect();
        let token_url = format!("http://127.0.0.1:{}/token", ports[1]);
        let config = super::config(dir.path(), &files.authority, ports[0], &token_url);
        Self { child, _trail: Trail::of(dir.path()), dir, config, log }
    }

    /// A daemon that sends through it.
    pub fn daemon(&self) -> Start<'_> {
        Start::new(self.dir.path(), &self.config)
    }

    /// The same with a listener in direct mode.
    pub fn direct(&self) -> Start<'_> {
        let config = self.config.replace("[[listener]]\n", "[[listener]]\nmode = \"direct\"\n");
        Start::new(self.dir.path(), &config)
    }

    pub fn config(&self) -> &str {
        &self.config
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Waits for the mail of this number, counted from 1.
    pub fn mail(&self, number: usize) -> Taken {
        let line = format!("mail {number}");
        self.log
            .wait_until(|lines| lines.contains(&line).then_some(()))
            .unwrap_or_else(|| panic!("no {line}; it said:\n{}", self.log.text()));
        self.read(number)
    }

    /// All mails it took so far.
    pub fn mails(&self) -> Vec<Taken> {
        let files = std::fs::read_dir(self.dir.path()).unwrap();
        let number = |file: std::fs::DirEntry| -> Option<usize> {
            file.file_name().to_str()?.strip_suffix(".txt")?.parse().ok()
        };
        files.filter_map(|file| number(file.unwrap())).map(|number| self.read(number)).collect()
    }

    fn read(&self, number: usize) -> Taken {
        let file = |ending: &str| self.dir.path().join(format!("{number}.{ending}"));
        let envelope = std::fs::read_to_string(file("txt")).unwrap();
        let mut lines = envelope.lines().map(str::to_owned);
        let sender = lines.next().unwrap();
        Taken { sender, recipients: lines.collect(), raw: std::fs::read(file("eml")).unwrap() }
    }
}

impl Drop for Aiosmtpd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
