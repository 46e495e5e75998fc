//! The admin socket: who may use it, what it shows, and that mail does not need it.

use crate::support::daemon::{Start, binary};
use crate::support::world::World;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Command, Output};

/// What a command said and how it ended.
fn submitd(config: &Path, words: &[&str]) -> Output {
    Command::new(binary()).arg("--config").arg(config).args(words).output().expect("the binary")
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}

#[test]
fn status_reaches_the_daemon_over_a_socket_of_its_own_user() {
    let world = World::new();
    let mut daemon = world.daemon();
    let config = world.path().join("submitd.toml");
    let socket = world.path().join("state/admin.sock");
    let about = std::fs::symlink_metadata(&socket).expect("the socket");
    assert!(about.file_type().is_socket());
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert_eq!(about.uid(), std::fs::metadata(world.path()).unwrap().uid());

    let shown = submitd(&config, &["status", "--json"]);
    assert_eq!(shown.status.code(), Some(0), "{}", text(&shown.stderr));
    let status: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(status["process"], daemon.child.id());
    assert_eq!(status["listeners"][0], daemon.address().to_string());

    assert!(daemon.stop().success());
    assert!(!socket.exists(), "the socket goes with the daemon");
    let down = submitd(&config, &["status"]);
    assert_eq!(down.status.code(), Some(69));
    assert!(text(&down.stderr).contains("the daemon is not running"), "{}", text(&down.stderr));
}

#[test]
fn a_socket_of_a_killed_daemon_is_replaced_and_a_live_one_is_not() {
    let world = World::new();
    let mut killed = world.daemon();
    let socket = world.path().join("state/admin.sock");
    killed.signal("KILL");
    killed.wait();
    assert!(socket.exists(), "nobody took it away");
    let config = world.path().join("submitd.toml");
    assert_eq!(submitd(&config, &["status"]).status.code(), Some(69));

    let living = world.daemon();
    assert_eq!(submitd(&config, &["status"]).status.code(), Some(0));

    // A second daemon with a state of its own that was told the same socket: it takes mail all the same.
    let other = tempfile::TempDir::with_prefix("submitd-test-").unwrap();
    let admin = format!("{}\n[admin]\nsocket = \"{}\"\n", World::listener(""), socket.display());
    let text_of = world.config(&admin).replacen("/state\"", "/state-two\"", 1);
    let second = Start::new(other.path(), &text_of).run();
    second.log.wait_for("the socket is taken");
    let shown = submitd(&config, &["status", "--json"]);
    let status: serde_json::Value = serde_json::from_slice(&shown.stdout).expect("JSON");
    assert_eq!(status["process"], living.child.id(), "the first one still answers");
}
