//! strace(1) at a running daemon: a named system call fails, or ends the process where it stands.

use super::daemon::{Daemon, binary};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// A trap that is laid. Dropped, it is taken away and the daemon goes on.
pub struct Trap {
    strace: Child,
}

impl Trap {
    /// Lays it at the system calls `calls` (`pwrite64,fdatasync`), of the file `path` only where one is
    /// given; `what` is strace's injection: `signal=SIGKILL`, `error=EIO:when=1`.
    pub fn lay(daemon: &Daemon, path: Option<&Path>, calls: &str, what: &str) -> Self {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-p", &daemon.child.id().to_string()]);
        command.args(["-e", &format!("trace={calls}"), "-e", &format!("inject={calls}:{what}")]);
        if let Some(path) = path {
            command.arg("-P").arg(path);
        }
        let mut strace = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace(1) is needed: scripts/install-test-tools");
        let mut said = BufReader::new(strace.stderr.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        while line.contains("Requested path") {
            line.clear();
            said.read_line(&mut line).unwrap();
        }
        assert!(line.contains("attached"), "strace cannot attach: {line}");
        // It goes on talking of threads that come and go; a closed pipe would end it.
        std::thread::spawn(move || said.lines().map_while(Result::ok).for_each(drop));
        Self { strace }
    }
}

/// Our program, not yet started, with a trap laid from its beginning: see [`Trap::lay`].
pub fn struck(calls: &str, what: &str) -> Command {
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
    command.args(["-e", &format!("inject={calls}:{what}")]).arg(binary());
    command
}

impl Drop for Trap {
    fn drop(&mut self) {
        // SIGINT lets it take itself off; SIGKILL would leave threads stopped.
        let _ = Command::new("kill").args(["-s", "INT", &self.strace.id().to_string()]).status();
        let _ = self.strace.wait();
    }
}
