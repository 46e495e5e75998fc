//! The admin socket: who may use it, what it shows, and that mail does not need it.

use crate::support::client::Client;
use crate::support::command::Said;
use crate::support::daemon::{Start, binary};
use crate::support::mails;
use crate::support::overheard::Trail;
use crate::support::world::World;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use submitd::sandbox::Faults;
use submitd::sandbox::faults::{Aadsts, Fault, ReplyText, Stage};

fn open_to_all(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn status_reaches_the_daemon_over_a_socket_of_its_own_user() {
    let world = World::new();
    let mut daemon = world.daemon();
    let socket = world.path().join("state/admin.sock");
    let about = std::fs::symlink_metadata(&socket).expect("the socket");
    assert!(about.file_type().is_socket());
    assert_eq!(about.permissions().mode() & 0o777, 0o600);
    assert_eq!(about.uid(), std::fs::metadata(world.path()).unwrap().uid());

    daemon.log.wait_for("token obtained");
    let said = world.submitd(&["status", "--json"]).good();
    let status = &said.json()[0];
    assert_eq!(status["verdict"], "good");
    assert_eq!(status["process"], daemon.child.id());
    assert_eq!(status["listeners"][0], daemon.address().to_string());
    assert_eq!(status["accounts"][0]["token"]["condition"], "active");
    assert_eq!(status["lanes"][0]["accounts"][0], "erp");
    let text = world.submitd(&["status"]).good().out;
    assert!(text.contains("erp      erp@contoso.com  good, ends in 59m  sends\n"), "{text}");
    assert!(text.contains("queue: 0 mails, 0 B\n"), "{text}");

    assert!(daemon.stop().success());
    assert!(!socket.exists(), "the socket goes with the daemon");
    let down = world.submitd(&["status"]);
    assert_eq!(down.code, Some(69));
    assert!(down.err.contains("the daemon is not running"), "{}", down.err);
}

#[test]
fn a_socket_of_a_killed_daemon_is_replaced_and_a_live_one_is_not() {
    let world = World::new();
    let mut killed = world.daemon();
    let socket = world.path().join("state/admin.sock");
    killed.signal("KILL");
    killed.wait();
    assert!(socket.exists(), "nobody took it away");
    assert_eq!(world.submitd(&["status"]).code, Some(69));

    let living = world.daemon();
    let process = || world.submitd(&["status", "--json"]).good().json()[0]["process"].clone();
    assert_eq!(process(), living.child.id());

    // A second daemon with a state of its own that was told the same socket: it takes mail all the same.
    let other = tempfile::TempDir::with_prefix("submitd-test-").unwrap();
    let _trail = Trail::of(other.path());
    let admin = format!("{}\n[admin]\nsocket = \"{}\"\n", World::listener(""), socket.display());
    let text = world.config(&admin).replacen("/state\"", "/state-two\"", 1);
    let second = Start::new(other.path(), &text).run();
    second.log.wait_for("the socket is taken");
    assert_eq!(process(), living.child.id(), "the first one still answers");
    let reply = Client::submit(second.address(), &["ann@example.org"], "without-admin");
    assert!(reply.starts_with("250"), "{reply}");
    world.messages(1);
}

/// `submitd` as user and group 65534.
fn as_nobody(world: &World, words: &[&str]) -> Said {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(binary()).arg("--config").arg(world.path().join("submitd.toml")).args(words);
    let said = Said::by(&mut command);
    assert!(!said.err.contains("setpriv:"), "this test needs root: {}", said.err);
    said
}

#[test]
fn other_users_are_refused_until_a_reload_lets_their_group_in() {
    let world = World::new();
    let socket = world.path().join("admin.sock");
    let config = |admin: &str| {
        world.config(&format!(
            "{}\n[admin]\nsocket = \"{}\"\n{admin}",
            World::listener(""),
            socket.display()
        ))
    };
    let mut daemon = world.start(&config("")).run();
    open_to_all(world.path(), 0o755);
    let file = world.path().join("submitd.toml");
    open_to_all(&file, 0o644);

    // The kernel refuses, since the socket has mode 0600.
    for words in [&["status"][..], &["queue", "list"], &["account", "list"]] {
        let said = as_nobody(&world, words);
        assert_eq!(said.code, Some(77), "{said:?}");
        assert!(said.err.contains("only root, the daemon's own user and the group"), "{said:?}");
    }
    // Somebody opened the file: then we refuse.
    open_to_all(&socket, 0o666);
    let said = as_nobody(&world, &["queue", "remove", "--all"]);
    assert_eq!(said.code, Some(77), "{said:?}");
    assert!(said.err.contains("user 65534 may not use this socket"), "{said:?}");
    daemon.log.wait_for("refused at the admin socket");

    std::fs::write(&file, config("group = \"65534\"\n")).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    let about = std::fs::symlink_metadata(&socket).unwrap();
    assert_eq!((about.permissions().mode() & 0o777, about.gid()), (0o660, 65534));
    as_nobody(&world, &["status"]).good();

    // A group that nobody knows: the log says so, and mail goes on.
    std::fs::write(&file, config("group = \"no-such-group\"\n")).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("there is no group");
    assert!(!socket.exists());
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "without-admin");
    assert!(reply.starts_with("250"), "{reply}");

    std::fs::write(&file, config("").replace(&format!("\"{}\"", socket.display()), "\"off\""))
        .unwrap();
    daemon.signal("HUP");
    // The line of the first reload stands there, too: what the command says is waited for.
    daemon.wait_state("RELOADING=1");
    daemon.wait_state("READY=1");
    let said = world.submitd(&["status"]);
    assert_eq!(said.code, Some(69));
    assert!(said.err.contains("[admin] socket is \"off\""), "{said:?}");
}

#[test]
fn status_ends_with_2_where_an_account_needs_a_person() {
    let world = World::new();
    let error = Some(Fault::always(Aadsts(7_000_222)));
    world.faults(|faults| faults.token.error = error);
    let daemon = world.daemon();
    daemon.log.wait_for("AADSTS7000222");
    let said = world.submitd(&["status"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.out.contains("A person is needed:\n  account erp: no token: "), "{}", said.out);
    assert!(said.out.contains("    -> "), "{}", said.out);

    let said = world.submitd(&["status", "--json"]);
    assert_eq!(said.code, Some(2));
    let status = &said.json()[0];
    assert_eq!(status["verdict"], "needs_person");
    assert_eq!(status["needs"][0]["subject"], "account erp");
    assert_eq!(status["accounts"][0]["token"]["condition"], "failed");
    assert_eq!(status["accounts"][0]["token"]["error"]["class"], "administrator");

    let text = world.submitd(&["account", "show", "erp"]).good().out;
    assert!(text.contains("last error:") && text.contains("remedy:"), "{text}");
    let accounts = world.submitd(&["account", "list", "--json"]).good().json();
    assert_eq!((accounts.len(), &accounts[0]["grant"]), (1, &"client_credentials".into()));
    assert_eq!(world.submitd(&["account", "show", "hr"]).code, Some(1));
}

#[test]
fn accounts_are_shown_without_a_daemon_and_no_secret_with_them() {
    let world = World::new();
    std::fs::write(world.path().join("submitd.toml"), world.config("")).unwrap();
    let said = world.submitd(&["account", "list"]).good();
    assert!(said.err.contains("the daemon is not running"), "{said:?}");
    assert!(said.out.contains("erp@contoso.com  client_credentials  localhost:"), "{said:?}");
    let options = submitd::sandbox::Options::default();
    let shown = world.submitd(&["account", "show", "erp", "--json"]).good();
    assert_eq!(shown.json()[0]["token"], serde_json::Value::Null);
    assert!(!shown.out.contains(options.client_secret.expose()), "{shown:?}");
}

#[test]
fn b19_who_does_not_read_at_the_admin_socket_holds_up_neither_reload_nor_stop() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let mut daemon = world.daemon();
    let mut client = Client::hello(daemon.address()).unwrap();
    let text = String::from_utf8(mails::large("large", 4_000_000)).unwrap();
    let reply = client.mail("erp@contoso.com", "ann@example.org", &text).unwrap();
    let id = reply.split(' ').next_back().unwrap().to_owned();
    let ask = |socket: &Path, path: &str, end: &str| {
        let mut stream = UnixStream::connect(socket).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: submitd\r\n{end}").unwrap();
        stream
    };
    // More than the kernel holds.
    let unread = |socket: &Path| {
        let mut stream = ask(socket, &format!("/v1/queue/{id}/message"), "\r\n");
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(status, *b"HTTP/1.1 200");
        stream
    };
    let socket = world.path().join("state/admin.sock");
    let _unread = unread(&socket);
    // And a question that is never finished.
    let _half = ask(&socket, "/v1/status", "");
    let config = std::fs::read_to_string(world.path().join("submitd.toml")).unwrap();
    let other = world.path().join("other.sock");
    let moved = format!("{config}[admin]\nsocket = \"{}\"\n", other.display());
    std::fs::write(world.path().join("submitd.toml"), moved).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    world.submitd(&["status"]).good();
    let _again = (unread(&other), ask(&other, "/v1/status", ""));
    world.faults(|_| {});
    world.messages(1);
    assert!(daemon.stop().success(), "{}", daemon.log.text());
}

#[test]
fn a_crowded_upstream_shows_as_fewer_slots_and_why() {
    let world = World::new();
    let busy = ReplyText::new("451 4.7.500 Server busy. Please try again later").unwrap();
    let mut faults = Faults::default();
    faults.smtp.replies.insert(Stage::Mail, Fault::times(busy, 1));
    world.sandbox.set_faults(faults);
    let daemon = world.start(&world.config_with(&World::listener(""), "connections = 3\n")).run();
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "crowded");
    assert!(reply.starts_with("250"), "{reply}");
    daemon.log.wait_for("the upstream is crowded");
    // It is no need of a person: it passes.
    let said = world.submitd(&["status", "--json"]).good();
    let lane = &said.json()[0]["lanes"][0];
    assert_eq!((&lane["slots"], &lane["slots_configured"]), (&2.into(), &3.into()), "{lane}");
    assert!(lane["slowed"].as_str().is_some_and(|why| !why.is_empty()), "{lane}");
}
