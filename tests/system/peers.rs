//! B04, B16: peers that refuse, reset, swallow and drip, by real sockets; clocks that jump. The mail waits,
//! its program never does, and it goes out once.

use crate::support::breaker;
use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::mails;
use crate::support::port::Port;
use crate::support::world::World;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};
use submitd::queue::{Filter, open_read_only};
use submitd::sandbox::Faults;
use submitd::sandbox::faults::{Fault, ReplyText, Stage};

const QUICK: &str = "[queue]\nschedule = [\"1s\"]\nuncertain_pause = \"1s\"\n";

/// A daemon whose upstream is this port of ours, and not yet the sandbox.
fn sending_to(world: &World, port: u16) -> Daemon {
    let upstream = "connect_timeout = \"1s\"\nidle_timeout = \"0s\"\n";
    let config = world.config_with(&format!("{}{QUICK}", World::listener("")), upstream);
    let sandbox = format!("port = {}\n", world.sandbox.smtp_addr().port());
    world.start(&config.replace(&sandbox, &format!("port = {port}\n"))).run()
}

fn submit(daemon: &Daemon, subject: &str) {
    let reply = Client::submit(daemon.address(), &["ann@example.org"], subject);
    assert!(reply.starts_with("250"), "{subject}: {reply}");
}

#[test]
fn b04_a_port_that_is_closed_is_tried_again_until_somebody_listens() {
    let world = World::new();
    let port = Port::hold();
    let daemon = sending_to(&world, port.number());
    submit(&daemon, "refused");
    daemon.log.wait_for("Connection refused");
    breaker::serve(
        TcpListener::bind(port.address()).unwrap(),
        world.sandbox.smtp_addr(),
        breaker::Limits::default(),
    );
    assert_eq!(world.messages(1).len(), 1);
    assert!(daemon.log.text().contains("\"attempts\":"), "{}", daemon.log.text());
}

#[test]
fn b04_a_port_that_swallows_connections_is_given_up_in_time_and_tried_again() {
    let world = World::new();
    let (listener, fillers) = breaker::black_hole();
    let daemon = sending_to(&world, listener.local_addr().unwrap().port());
    submit(&daemon, "swallowed");
    daemon.log.wait_for("connecting: no answer in time");
    drop(fillers);
    breaker::serve(listener, world.sandbox.smtp_addr(), breaker::Limits::default());
    assert_eq!(world.messages(1).len(), 1);
}

#[test]
fn b04_a_reset_anywhere_before_the_dot_costs_a_try_and_the_mail_goes_out_once_and_whole() {
    let world = World::new();
    let mail = mails::large("reset", 10_000_000);
    // Before EHLO, in it, in the handshake, in the login, in the body: at 10, 50 and 99 of a hundred.
    let places = vec![0, 10, 200, 2_000, 1_000_000, 5_000_000, 9_900_000];
    let limits = Arc::new(Mutex::new(places));
    let listener = breaker::narrow();
    let port = listener.local_addr().unwrap().port();
    breaker::serve(listener, world.sandbox.smtp_addr(), limits.clone());
    let mut daemon = sending_to(&world, port);
    let mut client = Client::hello(daemon.address()).unwrap();
    let text = String::from_utf8(mail.clone()).unwrap().replace("\r\n.", "\r\n..");
    let reply = client.mail("erp@contoso.com", "ann@example.org", &text).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let messages = world.messages(1);
    mails::assert_same(mails::without_our_received(&messages[0].raw), &mail, "reset");
    assert!(limits.lock().unwrap().is_empty(), "each was met");
    assert!(daemon.stop().success());
    assert_eq!(world.sandbox.messages().len(), 1);
    // Of the last per cent the daemon cannot know: its kernel may have held the dot when the reset came.
    let log = daemon.log.text();
    assert!(log.matches("possibly delivered").count() <= 1, "{log}");
}

#[test]
fn b04_answers_that_drip_are_read_to_their_end() {
    let world = World::new();
    world.faults(|faults| faults.smtp.slow_octets_us = 5_000);
    let daemon = world.start(&world.config(&format!("{}{QUICK}", World::listener("")))).run();
    submit(&daemon, "drip");
    assert_eq!(world.messages(1).len(), 1);
    assert_eq!(world.sandbox.statistics().connections, 1, "no answer was given up");
}

/// A daemon whose wall clock is set by a file while its monotonic one goes on: that is what a correction
/// of the clock looks like, and to a process a suspended machine too.
struct Clock {
    file: std::path::PathBuf,
}

impl Clock {
    fn set(&self, ahead: &str) {
        std::fs::write(&self.file, ahead).unwrap();
    }
}

fn with_clock(world: &World) -> (Daemon, Clock) {
    let clock = Clock { file: world.path().join("clock") };
    clock.set("+0");
    let upstream = "idle_timeout = \"0s\"\n";
    let config = world.config_with(&format!("{}{QUICK}", World::listener("")), upstream);
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";
    let library = library.replace("x86_64", std::env::consts::ARCH);
    let there = std::path::Path::new(&library).exists();
    assert!(there, "{library} is needed: scripts/install-test-tools");
    let start = world
        .start(&config)
        .with("LD_PRELOAD", &library)
        .with("FAKETIME_TIMESTAMP_FILE", clock.file.to_str().unwrap())
        .with("FAKETIME_NO_CACHE", "1")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with("DONT_FAKE_MONOTONIC", "1");
    (start.run(), clock)
}

#[test]
fn b16_a_clock_that_jumps_ahead_renews_the_token_once_and_makes_no_storm() {
    let world = World::new();
    let (daemon, clock) = with_clock(&world);
    submit(&daemon, "before");
    world.messages(1);
    // The machine slept for two hours; the token lives for one.
    daemon.signal("STOP");
    clock.set("+7200");
    daemon.signal("CONT");
    for number in 2..6 {
        submit(&daemon, "after");
        world.messages(number);
    }
    let seen = world.sandbox.statistics();
    assert_eq!((seen.token_requests, seen.login_failures), (2, 0), "{seen:?}");
    assert_eq!(seen.mail_commands, 5, "{seen:?}");
}

#[test]
fn b16_a_clock_that_is_set_back_leaves_no_mail_in_the_future() {
    let world = World::new();
    let (daemon, clock) = with_clock(&world);
    clock.set("+7200");
    let busy = |faults: &mut Faults| {
        let words = ReplyText::new("451 4.7.500 Server busy").unwrap();
        faults.smtp.replies = [(Stage::Mail, Fault::always(words))].into();
    };
    world.faults(busy);
    submit(&daemon, "deferred");
    daemon.log.wait_for("stays queued");
    let queue = open_read_only(&world.path().join("state/queue")).unwrap();
    let entry = queue.list(&Filter::default()).unwrap().remove(0);
    let ahead = entry.due.duration_since(SystemTime::now()).unwrap();
    assert!(ahead > Duration::from_secs(3600), "{entry:?}");
    clock.set("+0");
    world.faults(|_| {});
    assert_eq!(world.messages(1).len(), 1, "due two hours ahead, and found");
    submit(&daemon, "next");
    assert_eq!(world.messages(2).len(), 2);
    let seen = world.sandbox.statistics();
    assert!(seen.mail_commands < 20 && seen.token_requests <= 2, "a storm: {seen:?}");
}
