//! B01: killed at a named point, no acknowledged mail is lost, and only one whose fate was unknown is
//! sent twice.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::mails;
use crate::support::trap::Trap;
use crate::support::world::World;
use std::path::PathBuf;
use submitd::sandbox::Options;

/// What a start said of mail whose fate the kill hid.
const UNCERTAIN: &str = "uncertain: it may have been delivered before the crash";

fn config(world: &World) -> String {
    world.config(&format!("{}[queue]\nschedule = [\"1s\"]\n", World::listener("")))
}

fn start(world: &World) -> Daemon {
    world.start(&config(world)).run()
}

fn queue_log(world: &World) -> PathBuf {
    world.path().join("state/queue/queue.db-wal")
}

/// A start without faults; how many entries it found uncertain.
fn restart(world: &World) -> (Daemon, usize) {
    world.faults(|_| {});
    let daemon = start(world);
    daemon.log.wait_for("the queue is open");
    let found = daemon.log.text().matches(UNCERTAIN).count();
    (daemon, found)
}

/// Sends one more mail and waits until it and `count` others have come; gives the subjects of those.
fn arrived(world: &World, daemon: &Daemon, count: usize) -> Vec<String> {
    let reply = Client::submit(daemon.address(), &["last@example.org"], "last");
    assert!(reply.starts_with("250"), "{reply}");
    let messages = world.messages(count + 1);
    let subject = |text: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        line.unwrap_or_default().to_owned()
    };
    let subjects = messages.iter().map(|message| subject(&message.text()));
    subjects.filter(|subject| subject != "last").collect()
}

/// A client that has said all but the end of its mail.
fn at_the_dot(daemon: &Daemon, subject: &str) -> Client {
    let mut client = Client::hello(daemon.address()).unwrap();
    for command in ["MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>", "DATA"] {
        client.say(command).unwrap();
    }
    client.write(&mails::plain(subject)).unwrap();
    client
}

#[test]
fn b01_killed_before_the_row_is_durable_no_250_was_said() {
    for calls in ["pwrite64", "fdatasync,fsync"] {
        let world = World::new();
        world.faults(|faults| faults.token.hold = true);
        let mut daemon = start(&world);
        let mut client = at_the_dot(&daemon, "before");
        let _trap = Trap::lay(&daemon, Some(&queue_log(&world)), calls, "signal=SIGKILL:when=1");
        client.write(b".\r\n").unwrap();
        assert!(client.reply().is_err(), "{calls}: a 250 for what was not durable");
        daemon.wait();
        let (daemon, uncertain) = restart(&world);
        assert_eq!(uncertain, 0, "{calls}");
        // The kernel may have kept what was not synced; once at most in any case.
        let seen = arrived(&world, &daemon, 0);
        assert!(seen.len() <= 1, "{calls}: {seen:?}");
    }
}

#[test]
fn b01_killed_between_the_row_and_the_250_the_mail_goes_out_once() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let mut daemon = start(&world);
    // From here on nothing is written to any socket but the 250.
    world.until("no token was asked for", |seen| seen.token_requests == 1);
    let mut client = at_the_dot(&daemon, "between");
    let _trap = Trap::lay(&daemon, None, "sendto,sendmsg,writev", "signal=SIGKILL:when=1");
    client.write(b".\r\n").unwrap();
    assert!(client.reply().is_err(), "the 250 came through the trap");
    daemon.wait();
    let (daemon, uncertain) = restart(&world);
    assert_eq!(uncertain, 0);
    assert_eq!(arrived(&world, &daemon, 1), ["between"]);
}

#[test]
fn b01_killed_after_the_250_while_the_token_is_fetched_the_mail_goes_out_once() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let mut daemon = start(&world);
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "after");
    assert!(reply.starts_with("250"), "{reply}");
    world.until("no token was asked for", |seen| seen.token_requests == 1);
    daemon.signal("KILL");
    daemon.wait();
    let (daemon, uncertain) = restart(&world);
    assert_eq!(uncertain, 0);
    assert_eq!(arrived(&world, &daemon, 1), ["after"]);
}

#[test]
fn b01_killed_in_the_middle_of_the_body_the_mail_goes_out_once_and_whole() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let mut daemon = start(&world);
    let mut client = Client::hello(daemon.address()).unwrap();
    let sent = mails::large("large", 25_000_000);
    for command in ["MAIL FROM:<erp@contoso.com>", "RCPT TO:<ann@example.org>", "DATA"] {
        client.say(command).unwrap();
    }
    client
        .write(&String::from_utf8(sent.clone()).unwrap().replace("\r\n.", "\r\n..").into_bytes())
        .unwrap();
    let reply = {
        client.write(b".\r\n").unwrap();
        client.reply().unwrap()
    };
    let id = reply.split(' ').next_back().unwrap();
    let body = world.path().join("state/queue/body").join(id);
    assert!(body.exists(), "{reply}");
    // The fiftieth stretch of about four hundred.
    let _trap = Trap::lay(&daemon, Some(&body), "pread64", "signal=SIGKILL:when=50");
    world.faults(|_| {});
    daemon.wait();
    assert_eq!(world.sandbox.messages().len(), 0);
    let (mut daemon, uncertain) = restart(&world);
    assert_eq!(uncertain, 0, "the dot was not sent");
    assert_eq!(arrived(&world, &daemon, 1), ["large"]);
    let messages = world.sandbox.messages();
    let arrived = messages.iter().find(|message| message.size > 1_000_000).unwrap();
    mails::assert_same(mails::without_our_received(&arrived.raw), &sent, "large");
    assert!(daemon.stop().success());
    assert!(!body.exists(), "its file went with it");
}

#[test]
fn b01_killed_after_the_dot_the_mail_is_uncertain_and_goes_out_twice_at_most() {
    let world = World::new();
    world.faults(|faults| faults.smtp.hold_dot = true);
    let mut daemon = start(&world);
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "dot");
    assert!(reply.starts_with("250"), "{reply}");
    world.until("no dot came", |seen| seen.bodies == 1);
    daemon.signal("KILL");
    daemon.wait();
    let (daemon, uncertain) = restart(&world);
    assert_eq!(uncertain, 1);
    let seen = arrived(&world, &daemon, 1);
    assert!(seen.iter().all(|subject| subject == "dot") && seen.len() <= 2, "{seen:?}");
}

#[test]
fn b01_killed_between_the_upstream_s_250_and_the_note_the_mail_is_uncertain() {
    let world = World::new();
    world.faults(|faults| faults.smtp.hold_dot = true);
    let mut daemon = start(&world);
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "noted");
    assert!(reply.starts_with("250"), "{reply}");
    world.until("no dot came", |seen| seen.bodies == 1);
    let _trap = Trap::lay(&daemon, Some(&queue_log(&world)), "pwrite64", "signal=SIGKILL:when=1");
    world.faults(|_| {});
    daemon.wait();
    assert_eq!(world.messages(1).len(), 1, "the upstream took it");
    let (daemon, uncertain) = restart(&world);
    assert_eq!(uncertain, 1);
    assert_eq!(arrived(&world, &daemon, 2), ["noted", "noted"]);
    let messages = world.sandbox.messages();
    let noted = messages.iter().filter(|message| message.recipients() == ["ann@example.org"]);
    let ids: Vec<_> = noted.map(|message| message.message_id.as_str()).collect();
    assert_eq!(ids[0], ids[1], "the same Message-ID both times");
}

#[test]
fn b01_a_mail_of_unknown_fate_is_held_over_any_number_of_starts_where_that_is_wanted() {
    let world = World::new();
    world.faults(|faults| faults.smtp.hold_dot = true);
    let hold = config(&world).replace("grant =", "on_uncertain = \"hold\"\ngrant =");
    let mut daemon = world.start(&hold).run();
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "held");
    assert!(reply.starts_with("250"), "{reply}");
    world.until("no dot came", |seen| seen.bodies == 1);
    daemon.signal("KILL");
    daemon.wait();
    world.faults(|_| {});
    for _ in 0..2 {
        // Killed before it could send anything: the next start knows no less.
        world.faults(|faults| faults.token.hold = true);
        let mut daemon = world.start(&hold).run();
        daemon.signal("KILL");
        daemon.wait();
    }
    world.faults(|_| {});
    let daemon = world.start(&hold).run();
    let seen = arrived(&world, &daemon, 0);
    assert!(seen.len() <= 1, "held, not sent again: {seen:?}");
    let queue = submitd::queue::open_read_only(&world.path().join("state/queue")).unwrap();
    let held = queue.list(&submitd::queue::Filter::default()).unwrap();
    let held = held.iter().find(|entry| entry.state == submitd::queue::State::Held).unwrap();
    assert!(held.uncertain);
}

#[test]
fn b15_killed_before_the_refresh_token_that_came_back_is_stored_the_old_one_serves() {
    let world = World::new();
    let seed = Options::default();
    let keys = config(&world);
    let secret = format!("client_secret = \"{}\"", seed.client_secret.expose());
    let keys = keys.replace("\"client_credentials\"", "\"refresh_token\"");
    let keys = keys.replace(&seed.client_id, &seed.public_client_id);
    let refresh = format!("refresh_token = \"{}\"", seed.refresh_token.expose());
    let keys = keys.replace(&secret, &refresh);
    world.faults(|faults| faults.token.hold = true);
    let mut daemon = world.start(&keys).run();
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "rotated");
    assert!(reply.starts_with("250"), "{reply}");
    world.until("no token was asked for", |seen| seen.token_requests == 1);
    let store = world.path().join("state/tokens");
    let draft = world.path().join(format!("state/tokens.{}.new", daemon.child.id()));
    let renames = "rename,renameat,renameat2";
    let trap = Trap::lay(&daemon, Some(&draft), renames, "signal=SIGKILL:when=1");
    world.faults(|_| {});
    daemon.wait();
    drop(trap);
    let seen = world.sandbox.statistics();
    assert_eq!((seen.tokens, seen.logins), (1, 0), "given out, and not used before it was stored");
    let mut daemon = world.start(&keys).run();
    assert_eq!(arrived(&world, &daemon, 1), ["rotated"]);
    assert!(daemon.stop().success());
    assert!(store.exists(), "and the next one is stored");
}
