//! A sandbox and a daemon that sends through it.

use super::daemon::{Daemon, PATIENCE, Start};
use super::overheard::Trail;
use std::path::Path;
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime};
use submitd::queue::{Filter, State, open_read_only};
use submitd::sandbox::{Faults, Limits, Message, Options, Sandbox, Statistics};
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// The runtime of all sandboxes of this process.
pub static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    let _ = rustls::crypto::ring::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// A sandbox, a directory, and what it takes to start a daemon. At its end nothing may have shown a secret.
pub struct World {
    trail: Trail,
    pub sandbox: Sandbox,
    dir: TempDir,
}

impl World {
    /// With Exchange's limits taken off.
    pub fn new() -> Self {
        Self::with(Options { limits: Limits::NONE, ..Options::default() })
    }

    pub fn with(options: Options) -> Self {
        let sandbox = RUNTIME.block_on(Sandbox::start(options)).unwrap();
        let dir = TempDir::with_prefix("submitd-test-").unwrap();
        std::fs::write(dir.path().join("sandbox-ca.pem"), sandbox.ca_pem()).unwrap();
        Self { trail: Trail::of(dir.path()), sandbox, dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The smallest configuration for this sandbox on a free port, unlimited, with `more` keys on top.
    pub fn config(&self, more: &str) -> String {
        self.config_with(more, "connections = \"unlimited\"\nmessages_per_minute = \"unlimited\"\nrecipients_per_day = \"unlimited\"\n")
    }

    /// The same with these keys in `[account.upstream]`.
    pub fn config_with(&self, more: &str, upstream: &str) -> String {
        format!(
            "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n{more}\n\
             [log]\nformat = \"json\"\nlevel = \"debug\"\n\
             [[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n\
             grant = \"client_credentials\"\ntenant = \"contoso.onmicrosoft.com\"\n\
             client_id = \"{id}\"\nclient_secret = \"{secret}\"\n\
             [account.upstream]\nhost = \"localhost\"\nport = {port}\n\
             ca_file = \"{dir}/sandbox-ca.pem\"\n{upstream}\
             [account.oauth]\ntoken_url = \"{url}\"\n",
            dir = self.path().display(),
            id = Options::default().client_id,
            secret = Options::default().client_secret.expose(),
            port = self.sandbox.smtp_addr().port(),
            url = self.sandbox.token_url(),
        )
    }

    /// A configuration of the account `erp` with these keys, and these in `[account.oauth]`.
    pub fn account(&self, keys: &str, oauth: &str) -> String {
        format!(
            "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n[queue]\nschedule = [\"1s\"]\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\n[log]\nformat = \"json\"\nlevel = \"trace\"\n\
             [[account]]\nname = \"erp\"\n{keys}\n\
             [account.upstream]\nhost = \"localhost\"\nport = {port}\n\
             ca_file = \"{dir}/sandbox-ca.pem\"\n\
             [account.oauth]\n{oauth}\n",
            dir = self.path().display(),
            port = self.sandbox.smtp_addr().port(),
        )
    }

    /// One listener on a free port with these further keys.
    pub fn listener(keys: &str) -> String {
        format!("[[listener]]\naddress = \"127.0.0.1:0\"\n{keys}\n")
    }

    /// A daemon with the smallest configuration.
    pub fn daemon(&self) -> Daemon {
        self.start(&self.config(&Self::listener(""))).run()
    }

    pub fn start(&self, config: &str) -> Start<'_> {
        Start::new(self.path(), config)
    }

    /// Sets what goes wrong from now on.
    pub fn faults(&self, set: impl FnOnce(&mut Faults)) {
        let mut faults = Faults::default();
        set(&mut faults);
        self.sandbox.set_faults(faults);
    }

    /// Waits until the sandbox has counted so.
    pub fn until(&self, what: &str, so: impl FnMut(&Statistics) -> bool) {
        RUNTIME
            .block_on(async { tokio::time::timeout(PATIENCE, self.sandbox.wait_until(so)).await })
            .unwrap_or_else(|_| panic!("{what}: {:?}", self.sandbox.statistics()));
    }

    /// The only mail of the queue is of unknown fate, and waits some minutes before it is sent again.
    pub fn uncertain(&self, daemon: &Daemon) {
        daemon.log.wait_for("possibly delivered");
        let queue = open_read_only(&self.path().join("state/queue")).unwrap();
        let ends = Instant::now() + PATIENCE;
        let entry = loop {
            let entry = queue.list(&Filter::default()).unwrap().remove(0);
            if entry.state == State::Queued {
                break entry;
            }
            assert!(Instant::now() < ends, "{entry:?}");
        };
        assert!(entry.uncertain);
        let wait = entry.due.duration_since(SystemTime::now()).unwrap();
        assert!(wait > Duration::from_secs(200), "{wait:?}");
    }

    /// Waits until the sandbox has taken `count` mails and gives them in order.
    pub fn messages(&self, count: usize) -> Vec<std::sync::Arc<Message>> {
        self.messages_within(count, PATIENCE * 2)
    }

    /// The same, with another patience.
    pub fn messages_within(&self, count: usize, most: Duration) -> Vec<std::sync::Arc<Message>> {
        RUNTIME
            .block_on(async {
                tokio::time::timeout(most, self.sandbox.wait_for_messages(count as u64)).await
            })
            .unwrap_or_else(|_| {
                panic!("{count} mails expected, {} came", self.sandbox.messages().len())
            });
        self.sandbox.messages()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.trail.sandbox(&self.sandbox);
    }
}
