//! The daemon as systemd starts it at the first connection, by `systemd-socket-activate`.

use super::daemon::{Log, binary};
use super::overheard;
use super::world::World;
use std::process::{Child, Command, Stdio};

/// Waiting, or running once somebody came.
pub struct Activated(Child);

impl Activated {
    /// With this configuration, at this address or path.
    pub fn start(world: &World, listen: &str, config: &str) -> Self {
        let file = world.path().join("submitd.toml");
        std::fs::write(&file, config).unwrap();
        let mut command = Command::new("systemd-socket-activate");
        overheard::loud(&mut command);
        let mut child = command
            .args(["--listen", listen])
            .arg(binary())
            .args(["run", "--config"])
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .expect("systemd-socket-activate is needed: run scripts/install-test-tools");
        let log = Log::default();
        log.follow(child.stderr.take().unwrap());
        overheard::log(world.path(), "the activated daemon's log", &log, &[]);
        Self(child)
    }

    /// SIGTERM, and a good end.
    pub fn stop(mut self) {
        // systemd-socket-activate has become the daemon by exec: its id is the daemon's.
        let killed = Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status();
        assert!(killed.unwrap().success());
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
