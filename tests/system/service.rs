//! What systemd sees: readiness, the watchdog, a socket that is already open.

use crate::support::client::Client;
use crate::support::daemon::{Log, PATIENCE, binary};
use crate::support::overheard;
use crate::support::world::World;
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::Instant;

#[test]
fn it_reports_ready_with_its_addresses_feeds_the_watchdog_and_says_it_stops() {
    let world = World::new();
    let config = world.config(&World::listener(""));
    let mut daemon = world.start(&config).with("WATCHDOG_USEC", "400000").run();
    assert_eq!(daemon.addresses.len(), 1);
    for _ in 0..3 {
        daemon.wait_state("WATCHDOG=1");
    }
    daemon.signal("HUP");
    daemon.wait_state("RELOADING=1");
    daemon.wait_state("READY=1");
    daemon.signal("TERM");
    daemon.wait_state("STOPPING=1");
    assert!(daemon.wait().success());
}

#[test]
fn socket_activation_takes_the_socket_that_systemd_opened() {
    let world = World::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = free.local_addr().unwrap();
    drop(free);
    let file = world.path().join("submitd.toml");
    let listener = format!("[[listener]]\naddress = \"{address}\"\n");
    std::fs::write(&file, world.config(&listener)).unwrap();
    let mut activate = Command::new("systemd-socket-activate");
    overheard::loud(&mut activate);
    let mut activated = activate
        .args(["--listen", &address.to_string()])
        .arg(binary())
        .args(["run", "--config"])
        .arg(&file)
        .stderr(Stdio::piped())
        .spawn()
        .expect("systemd-socket-activate is needed: run scripts/install-test-tools");
    let log = Log::default();
    log.follow(activated.stderr.take().unwrap());
    overheard::log(world.path(), "the activated daemon's log", &log, &[]);
    // The first connection starts the daemon; it waits in the backlog until then.
    let ends = Instant::now() + PATIENCE;
    let mut client = loop {
        match Client::connect(address) {
            Ok(client) => break client,
            Err(error) => assert!(Instant::now() < ends, "{error}"),
        }
        std::thread::yield_now();
    };
    assert!(client.reply().unwrap().starts_with("220 "));
    client.say("EHLO client").unwrap();
    let reply = client
        .mail("erp@contoso.com", "ann@example.org", "From: erp@contoso.com\r\n\r\nx\r\n")
        .unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    assert_eq!(world.messages(1).len(), 1);
    // systemd-socket-activate has become the daemon by exec: its id is the daemon's.
    let killed = Command::new("kill").args(["-s", "TERM", &activated.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert!(activated.wait().unwrap().success());
}
