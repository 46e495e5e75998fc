//! The real binary in a directory of its own. Ready is what it says to NOTIFY_SOCKET: no sleeping.

use super::overheard;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up. Never waited out where the thing happens.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What a running daemon wrote to its log. What libraries under it chatter is kept, but no line to wait for.
#[derive(Clone, Default)]
pub struct Log {
    lines: Arc<(Mutex<Vec<String>>, Condvar)>,
    chatter: Arc<Mutex<Vec<u8>>>,
    readers: Arc<Mutex<Vec<std::thread::JoinHandle<()>>>>,
}

impl Log {
    /// Reads lines from here until it ends.
    pub fn follow(&self, from: impl std::io::Read + Send + 'static) {
        let (lines, chatter) = (self.lines.clone(), self.chatter.clone());
        let reader = std::thread::spawn(move || {
            for octets in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&octets);
                if is_chatter(&line) {
                    chatter.lock().unwrap().extend([&octets[..], b"\n"].concat());
                    continue;
                }
                lines.0.lock().unwrap().push(line.trim_end_matches('\r').to_owned());
                lines.1.notify_all();
            }
        });
        self.readers.lock().unwrap().push(reader);
    }

    /// Waits until the writer has ended and all of it is here.
    pub fn ended(&self) {
        for reader in self.readers.lock().unwrap().drain(..) {
            reader.join().unwrap();
        }
    }

    /// The first line that holds `text`, waiting for it.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_until(|lines| lines.iter().find(|line| line.contains(text)).cloned())
            .unwrap_or_else(|| panic!("log never said {text:?}; it said:\n{}", self.text()))
    }

    /// Waits until `look` finds something.
    pub fn wait_until<T>(&self, look: impl Fn(&[String]) -> Option<T>) -> Option<T> {
        let ends = Instant::now() + PATIENCE;
        let mut lines = self.lines.0.lock().unwrap();
        loop {
            if let Some(found) = look(&lines) {
                return Some(found);
            }
            let left = ends.checked_duration_since(Instant::now())?;
            lines = self.lines.1.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All lines.
    pub fn text(&self) -> String {
        self.lines.0.lock().unwrap().join("\n")
    }

    /// All that was written, the chatter too, after the writer has ended. One that lives on, because a child
    /// of it does, is not waited for longer than [`PATIENCE`].
    pub fn all(&self) -> Vec<u8> {
        let ends = Instant::now() + PATIENCE;
        let is_over = |reader: &std::thread::JoinHandle<()>| reader.is_finished();
        while !self.readers.lock().unwrap().iter().all(is_over) && Instant::now() < ends {
            std::thread::park_timeout(Duration::from_millis(5));
        }
        [self.text().as_bytes(), b"\n", &self.chatter.lock().unwrap()].concat()
    }
}

/// Whether a line is a library's and nothing urgent: only the search for secrets hears it.
fn is_chatter(line: &str) -> bool {
    let of = |level: &str| line.contains(&format!("\"level\":\"{level}\""));
    line.contains("\"target\":\"")
        && !line.contains("\"target\":\"submitd")
        && ["TRACE", "DEBUG", "INFO"].into_iter().any(of)
}

/// The daemon.
pub struct Daemon {
    pub child: Child,
    pub log: Log,
    pub addresses: Vec<SocketAddr>,
    notify: UnixDatagram,
}

/// How to start it.
pub struct Start<'a> {
    pub dir: &'a Path,
    pub config: PathBuf,
    pub environment: Vec<(String, String)>,
    /// Put in front: `strace -f …`, `faketime …`.
    pub wrapper: Vec<String>,
}

impl<'a> Start<'a> {
    /// With this text as its configuration.
    pub fn new(dir: &'a Path, config: &str) -> Self {
        let file = dir.join("submitd.toml");
        std::fs::write(&file, config).unwrap();
        Self { dir, config: file, environment: Vec::new(), wrapper: Vec::new() }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// The command, not yet started, and the socket it reports to.
    pub fn command(&self) -> (Command, UnixDatagram) {
        let socket = self.dir.join("notify");
        let _ = std::fs::remove_file(&socket);
        let notify = UnixDatagram::bind(&socket).unwrap();
        notify.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut words = self.wrapper.clone();
        words.push(binary().display().to_string());
        let mut command = Command::new(&words[0]);
        overheard::loud(&mut command);
        command
            .args(&words[1..])
            .args(["run", "--config"])
            .arg(&self.config)
            .env("NOTIFY_SOCKET", &socket)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        (command, notify)
    }

    /// Starts it and waits until it is ready.
    pub fn run(self) -> Daemon {
        let mut daemon = self.begin();
        daemon.addresses = daemon.wait_ready();
        daemon
    }

    /// Starts it.
    pub fn begin(self) -> Daemon {
        let (mut command, notify) = self.command();
        let mut child = command.spawn().unwrap();
        let log = Log::default();
        log.follow(child.stderr.take().unwrap());
        overheard::log(self.dir, "the daemon's log", &log, &self.environment);
        Daemon { child, log, addresses: Vec::new(), notify }
    }
}

impl Daemon {
    /// Waits for READY=1 and reads the addresses from STATUS=.
    pub fn wait_ready(&mut self) -> Vec<SocketAddr> {
        let state = self.wait_state("READY=1");
        let status = state.lines().find_map(|line| line.strip_prefix("STATUS=")).unwrap_or("");
        let listening = status.strip_prefix("listening on ").unwrap_or("");
        let listening = listening.split(';').next().unwrap_or("");
        listening.split(", ").filter_map(|address| address.parse().ok()).collect()
    }

    /// Waits for a message to the service manager that holds `text`.
    pub fn wait_state(&mut self, text: &str) -> String {
        let ends = Instant::now() + PATIENCE;
        self.notify.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let mut octets = [0; 4096];
        loop {
            if let Ok(count) = self.notify.recv(&mut octets) {
                let message = String::from_utf8_lossy(&octets[..count]).into_owned();
                if message.contains(text) {
                    return message;
                }
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < ends,
                "no {text}; ended: {ended:?}; log:\n{}",
                self.log.text()
            );
        }
    }

    /// The first address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    pub fn port(&self) -> u16 {
        self.address().port()
    }

    /// Sends a signal by its name: `TERM`, `HUP`, `KILL`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .expect("kill(1) is needed: package procps");
        assert!(status.success());
    }

    /// Waits for the end.
    pub fn wait(&mut self) -> ExitStatus {
        let ends = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < ends, "did not end; log:\n{}", self.log.text());
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// SIGTERM, and the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The binary under test.
pub fn binary() -> PathBuf {
    match std::env::var_os("TESTED_SUBMITD") {
        Some(path) => path.into(),
        None => env!("CARGO_BIN_EXE_submitd").into(),
    }
}
