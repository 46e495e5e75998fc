//! Proxies of Debian's: tinyproxy for HTTP CONNECT, microsocks and Dante for SOCKS5.

use crate::support::daemon::PATIENCE;
use crate::support::port::Port;
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A running one; it ends when this is dropped.
pub struct Proxy {
    child: Child,
    _dir: TempDir,
    _held: Port,
    /// Where it listens on 127.0.0.1.
    pub port: u16,
}

impl Proxy {
    /// Connects to this port only, for whom has this login.
    pub fn tinyproxy(login: Option<(&str, &str)>, allowed: u16) -> Self {
        let login = login.map(|(user, password)| format!("BasicAuth {user} {password}\n"));
        Self::start("tinyproxy", &["-d", "-c"], |port| {
            format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\n\
                 ConnectPort {allowed}\n{}",
                login.unwrap_or_default()
            )
        })
    }

    /// Connects to anything, for this login.
    pub fn microsocks(user: &str, password: &str) -> Self {
        let port = Port::hold();
        let mut command = Command::new("microsocks");
        command.args(["-i", "127.0.0.1", "-p", &port.number().to_string()]);
        command.args(["-u", user, "-P", password]);
        Self::run(command, port, TempDir::new().unwrap())
    }

    /// Connects to this port only, for anybody.
    pub fn dante(allowed: u16) -> Self {
        Self::start("danted", &["-f"], |port| {
            format!(
                "internal: 127.0.0.1 port = {port}\nexternal: lo\nclientmethod: none\nsocksmethod: none\n\
                 user.privileged: root\nuser.unprivileged: nobody\nlogoutput: /dev/null\n\
                 client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n\
                 socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 port = {allowed} }}\n\
                 socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n"
            )
        })
    }

    fn start(program: &str, arguments: &[&str], config: impl FnOnce(u16) -> String) -> Self {
        let (dir, port) = (TempDir::with_prefix("submitd-proxy-").unwrap(), Port::hold());
        let file = dir.path().join("proxy.conf");
        std::fs::write(&file, config(port.number())).unwrap();
        let mut command = Command::new(program);
        command.args(arguments).arg(file);
        Self::run(command, port, dir)
    }

    fn run(mut command: Command, held: Port, dir: TempDir) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}; run scripts/install-test-tools"));
        let port = held.number();
        let mut proxy = Self { child, _dir: dir, _held: held, port };
        let ends = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = proxy.child.try_wait().unwrap();
            assert!(
                ended.is_none() && Instant::now() < ends,
                "{command:?} does not run: {ended:?}"
            );
            std::thread::park_timeout(Duration::from_millis(20));
        }
        proxy
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // Politely: Dante's children would outlive it.
        let _ = Command::new("kill").arg(self.child.id().to_string()).status();
        let _ = self.child.wait();
    }
}
