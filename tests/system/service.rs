//! What systemd sees: readiness, the watchdog, a socket that is already open.

use crate::support::activated::Activated;
use crate::support::client::Client;
use crate::support::daemon::PATIENCE;
use crate::support::port::Port;
use crate::support::world::World;
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
    let port = Port::hold();
    let address = port.address();
    let listener = format!("[[listener]]\naddress = \"{address}\"\n");
    let activated = Activated::start(&world, &address.to_string(), &world.config(&listener));
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
    activated.stop();
}
