//! `submitd login`, running, with a person before it.

use super::daemon::{Log, PATIENCE, binary};
use super::{overheard, trap};
use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

/// The command under way.
pub struct Login {
    child: Child,
    /// What it prints.
    pub log: Log,
    /// What it complains of.
    pub errors: Log,
}

impl Login {
    /// `submitd login` with these words; no browser is opened.
    pub fn start(config: &Path, words: &[&str]) -> Self {
        Self::run(Command::new(binary()), config, words)
    }

    /// The same, killed when it puts what it wrote in its place.
    pub fn killed_at_rename(config: &Path, words: &[&str]) -> Self {
        Self::struck(config, words, "rename,renameat,renameat2", "signal=SIGKILL:when=1")
    }

    /// The same, and at these system calls happens what strace's injection says.
    pub fn struck(config: &Path, words: &[&str], calls: &str, what: &str) -> Self {
        Self::run(trap::struck(calls, what), config, words)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process under strace.
    pub fn traced(&self) -> u32 {
        let strace = self.child.id();
        let children = format!("/proc/{strace}/task/{strace}/children");
        std::fs::read_to_string(children).unwrap().trim().parse().unwrap()
    }

    fn run(mut command: Command, config: &Path, words: &[&str]) -> Self {
        let mut child = command
            .args(["login", "--no-open", "--config"])
            .arg(config)
            .args(words)
            .env_remove("SSH_CONNECTION")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (log, errors) = (Log::default(), Log::default());
        log.follow(child.stdout.take().unwrap());
        errors.follow(child.stderr.take().unwrap());
        let dir = config.parent().unwrap();
        overheard::log(dir, "what login prints", &log, &[]);
        overheard::log(dir, "what login complains of", &errors, &[]);
        Self { child, log, errors }
    }

    /// The address that a browser is to open.
    pub fn address(&self) -> String {
        self.log.wait_for("  http").trim().to_owned()
    }

    /// Where the browser will come back.
    pub fn redirect(&self) -> String {
        let url = url::Url::parse(&self.address()).unwrap();
        let found = url.query_pairs().find(|(name, _)| name == "redirect_uri");
        found.unwrap().1.into_owned()
    }

    /// Where to enter a code, and the code.
    pub fn code(&self) -> (String, String) {
        let line = self.log.wait_for("Open http");
        let place = line.split(' ').nth(1).unwrap().to_owned();
        let is_code = |line: &String| line.starts_with("  ") && line.len() > 6;
        let code = self
            .log
            .wait_until(|lines| lines.iter().find(|line| is_code(line)).cloned())
            .unwrap_or_else(|| panic!("no code: {}", self.log.text()));
        (place, code.trim().to_owned())
    }

    /// The person pastes a line.
    pub fn paste(&mut self, text: &str) {
        let stdin = self.child.stdin.as_mut().unwrap();
        stdin.write_all(format!("{text}\n").as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for the end; all that was said.
    pub fn wait(mut self) -> (ExitStatus, String) {
        let ends = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < ends, "did not end: {}", self.log.text());
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        };
        self.log.ended();
        self.errors.ended();
        let said = format!("{}\n{}", self.log.text(), self.errors.text());
        (status, said)
    }
}

impl Login {
    /// The same, after it ended well.
    pub fn good(self) -> String {
        let (status, said) = self.wait();
        assert!(status.success(), "{said}");
        said
    }

    /// The same, after it failed.
    pub fn failed(self) -> String {
        let (status, said) = self.wait();
        assert_eq!(status.code(), Some(1), "{said}");
        said
    }
}

impl Drop for Login {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
