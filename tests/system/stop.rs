//! SIGTERM drains, a second one does not wait, SIGHUP changes all or nothing.

use crate::support::client::Client;
use crate::support::mails;
use crate::support::world::World;
use std::process::Command;
use submitd::sandbox::Faults;

#[test]
fn b19_sigterm_lets_mail_that_has_begun_finish_and_exits_0() {
    let world = World::new();
    let mut daemon = world.daemon();
    let mut idle = Client::hello(daemon.address()).unwrap();
    let mut busy = Client::hello(daemon.address()).unwrap();
    busy.say("MAIL FROM:<erp@contoso.com>").unwrap();
    busy.say("RCPT TO:<ann@example.org>").unwrap();
    assert!(busy.say("DATA").unwrap().starts_with("354"));
    busy.write(b"From: erp@contoso.com\r\n\r\n").unwrap();
    daemon.signal("TERM");
    assert!(idle.reply().unwrap().starts_with("421 4.3.2"));
    busy.write(b"ended\r\n.\r\n").unwrap();
    assert!(busy.reply().unwrap().starts_with("250 2.0.0"));
    assert!(busy.reply().unwrap().starts_with("421 4.3.2"));
    assert!(daemon.wait().success(), "{}", daemon.log.text());
    // Delivered before the end or by the next start, but not lost.
    let _next = world.daemon();
    assert_eq!(world.messages(1)[0].recipients(), ["ann@example.org"]);
}

#[test]
fn b19_a_drain_ends_at_its_bound_and_the_mail_stays_queued() {
    let world = World::new();
    let mut faults = Faults::default();
    faults.smtp.hold_dot = true;
    world.sandbox.set_faults(faults);
    let config = world.config(&format!("drain_timeout = \"1s\"\n{}", World::listener("")));
    let mut daemon = world.start(&config).run();
    submit(&daemon, "held");
    daemon.log.wait_for("delivering");
    assert_eq!(daemon.stop().code(), Some(1), "work was cut off");
    world.sandbox.set_faults(Faults::default());
    let _next = world.daemon();
    assert!(!world.messages(1).is_empty());
}

#[test]
fn b19_a_second_sigterm_exits_at_once() {
    let world = World::new();
    let mut faults = Faults::default();
    faults.smtp.hold_dot = true;
    world.sandbox.set_faults(faults);
    let config = world.config(&format!("drain_timeout = \"1h\"\n{}", World::listener("")));
    let mut daemon = world.start(&config).run();
    submit(&daemon, "held");
    daemon.log.wait_for("delivering");
    daemon.signal("TERM");
    daemon.log.wait_for("a second signal exits at once");
    daemon.signal("TERM");
    assert_eq!(daemon.wait().code(), Some(1));
}

#[test]
fn b19_a_start_that_hangs_can_be_stopped() {
    let world = World::new();
    // Nobody ever writes the key that it waits for.
    let pipe = world.path().join("key");
    assert!(Command::new("mkfifo").args(["-m", "600"]).arg(&pipe).status().unwrap().success());
    let account = "mailbox = \"erp@contoso.com\"\ngrant = \"refresh_token\"\nrefresh_token = \"x\"\n\
                   tenant = \"contoso.onmicrosoft.com\"\n\
                   client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"";
    let config = world.account(account, "");
    let start = world.start(&config).with("SUBMITD_VAULT_KEY_FILE", pipe.to_str().unwrap());
    let mut daemon = start.begin();
    daemon.log.wait_for("the queue is open");
    assert_eq!(daemon.stop().code(), Some(0), "nothing was begun: {}", daemon.log.text());
}

#[test]
fn b20_sighup_changes_all_or_nothing_and_drops_no_session() {
    let world = World::new();
    let good = world.config(&World::listener("max_message_size = \"1 MB\""));
    let mut daemon = world.start(&good).run();
    let mut old = Client::hello(daemon.address()).unwrap();
    let size = |daemon: &crate::support::daemon::Daemon| {
        let mut client = Client::connect(daemon.address()).unwrap();
        client.reply().unwrap();
        let reply = client.say("EHLO client").unwrap();
        let line = reply.lines().find(|line| line.contains("SIZE ")).unwrap().to_owned();
        line.split(' ').next_back().unwrap().to_owned()
    };
    assert_eq!(size(&daemon), "1048576");
    let file = world.path().join("submitd.toml");
    // A broken one: nothing changes, every mistake is told.
    let broken = good.replace("1 MB", "2 MB").replace("mailbox =", "mailbocks =");
    std::fs::write(&file, broken).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("mailbocks");
    daemon.wait_state("READY=1");
    assert_eq!(size(&daemon), "1048576");
    // One that cannot be bound: nothing changes.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let second = format!("[[listener]]\naddress = \"{}\"\n", taken.local_addr().unwrap());
    let listeners = format!("{}{second}", World::listener("max_message_size = \"3 MB\""));
    std::fs::write(&file, world.config(&listeners)).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("the port is taken");
    daemon.wait_state("READY=1");
    assert_eq!(size(&daemon), "1048576");
    // A good one: the same socket, the new settings.
    std::fs::write(&file, good.replace("1 MB", "4 MB")).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    daemon.wait_state("READY=1");
    assert_eq!(size(&daemon), "4194304");
    // The session that was open all the time still works.
    let body = String::from_utf8(mails::plain("old session")).unwrap();
    let reply = old.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.messages(1).len(), 1);
    assert!(daemon.stop().success());
}

fn submit(daemon: &crate::support::daemon::Daemon, subject: &str) {
    let body = String::from_utf8(mails::plain(subject)).unwrap();
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail("erp@contoso.com", "ann@example.org", &body).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
}
