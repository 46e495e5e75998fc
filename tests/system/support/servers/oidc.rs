//! oidc-provider, a certified identity provider in JavaScript.

use crate::support::daemon::Log;
use std::process::{Child, Command, Stdio};

const MODULES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/test-tools/node_modules");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/system/support/servers/oidc.mjs");

/// A running one; it ends when this is dropped.
pub struct Oidc {
    child: Child,
    /// `http://127.0.0.1:port`, which is its name too.
    pub issuer: String,
    /// What it says as things happen.
    pub log: Log,
}

impl Oidc {
    pub fn start() -> Self {
        let mut child = Command::new("node")
            .arg(SCRIPT)
            .env("NODE_MODULES", MODULES)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("node: {error}; run scripts/install-test-tools"));
        let log = Log::default();
        log.follow(child.stdout.take().unwrap());
        let ready = log.wait_for("ready ");
        let port = ready.trim_start_matches("ready ");
        Self { child, issuer: format!("http://127.0.0.1:{port}"), log }
    }
}

impl Drop for Oidc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
