//! B01: what got a 250 survives kill -9.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE};
use crate::support::port::Port;
use crate::support::world::World;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::Instant;

const MAILS: usize = 2_000;
const CLIENTS: usize = 20;

/// Mails that got their 250, by name; the count wakes whoever waits.
#[derive(Default)]
struct Acknowledged {
    names: Mutex<Vec<String>>,
    more: Condvar,
}

impl Acknowledged {
    fn add(&self, name: String) {
        self.names.lock().unwrap().push(name);
        self.more.notify_all();
    }

    fn wait_for(&self, count: usize) {
        let ends = Instant::now() + PATIENCE * 2;
        let mut names = self.names.lock().unwrap();
        while names.len() < count {
            let left = ends.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{count} expected, {} acknowledged", names.len());
            names = self.more.wait_timeout(names, left).unwrap().0;
        }
    }
}

/// Sends mails until all are acknowledged, over as many connections as that takes.
fn send_all(address: SocketAddr, next: &AtomicUsize, acknowledged: &Acknowledged) {
    let mut client = None;
    let mut mine = None;
    let ends = Instant::now() + PATIENCE * 2;
    loop {
        assert!(Instant::now() < ends, "the daemon did not come back");
        let Some(number) = mine.take().or_else(|| take(next)) else { return };
        let name = format!("mail-{number}");
        match try_send(&mut client, address, &name) {
            Ok(()) => acknowledged.add(name),
            Err(_) => {
                // Killed in between: the same mail again, as a real program would.
                client = None;
                mine = Some(number);
                std::thread::yield_now();
            }
        }
    }
}

fn take(next: &AtomicUsize) -> Option<usize> {
    let number = next.fetch_add(1, Ordering::Relaxed);
    (number < MAILS).then_some(number)
}

fn try_send(client: &mut Option<Client>, address: SocketAddr, name: &str) -> std::io::Result<()> {
    let client = match client {
        Some(client) => client,
        None => client.insert(Client::hello(address)?),
    };
    let body = format!(
        "From: erp@contoso.com\r\nSubject: {name}\r\nMessage-ID: <{name}@test>\r\n\r\n{}\r\n",
        "x".repeat(2_000)
    );
    let reply = client.mail("erp@contoso.com", "ann@example.org", &body)?;
    if reply.starts_with("250") { Ok(()) } else { Err(std::io::Error::other(reply)) }
}

#[test]
fn b01_kill_9_under_a_load_of_2000_mails_loses_nothing_acknowledged() {
    let world = World::new();
    let port = Port::hold();
    let listener = format!("[[listener]]\naddress = \"{port}\"\n");
    let config = world.config(&format!("{listener}[queue]\nschedule = [\"1s\"]\n"));
    let address = port.address();
    let start = || world.start(&config).run();
    let mut daemon = start();
    let (next, acknowledged) = (AtomicUsize::new(0), Acknowledged::default());
    let mut uncertain = HashSet::new();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| send_all(address, &next, &acknowledged));
        }
        for count in [400, 900, 1_500] {
            acknowledged.wait_for(count);
            daemon.signal("KILL");
            daemon.wait();
            daemon = start();
            uncertain.extend(recovered_uncertain(&daemon));
        }
        acknowledged.wait_for(MAILS);
    });
    let names = acknowledged.names.lock().unwrap().clone();
    assert_eq!(names.len(), MAILS);
    check(&world, &names, &uncertain);
    assert!(daemon.stop().success(), "{}", daemon.log.text());
}

/// The entries that the start found in the one window where a mail may be sent twice.
fn recovered_uncertain(daemon: &Daemon) -> Vec<String> {
    // Each has its line before this one; READY may be read before the log is.
    daemon.log.wait_for("the queue is open");
    let text = daemon.log.text();
    let lines = text.lines().filter(|line| line.contains("uncertain: it may have been delivered"));
    let id = |line: &str| Some(line.split("\"id\":\"").nth(1)?.split('"').next()?.to_owned());
    lines.map(|line| id(line).expect("each line names its mail")).collect()
}

/// Every acknowledged mail is there; only mails that were uncertain are there twice.
fn check(world: &World, names: &[String], uncertain: &HashSet<String>) {
    let ends = Instant::now() + PATIENCE;
    let counts = loop {
        let mut counts: HashMap<String, usize> = HashMap::new();
        let messages = world.sandbox.messages();
        for message in &messages {
            *counts.entry(subject(&message.raw)).or_default() += 1;
        }
        if names.iter().all(|name| counts.contains_key(name)) {
            break counts;
        }
        let lost = names.iter().filter(|name| !counts.contains_key(*name)).count();
        assert!(Instant::now() < ends, "{lost} acknowledged mails are lost");
        // At least one more is to come.
        world.messages(messages.len() + 1);
    };
    // A mail whose 250 was cut off by the kill is sent again by its client: a double of the client's own
    // making, with another queue id. Only the same queue id twice is ours.
    let mut ids: HashMap<String, usize> = HashMap::new();
    for message in world.sandbox.messages() {
        *ids.entry(queue_id(&message.raw)).or_default() += 1;
    }
    let doubles: Vec<_> = ids.iter().filter(|(_, count)| **count > 1).map(|(id, _)| id).collect();
    eprintln!(
        "{} mails, {} delivered, lost 0, double {}, uncertain {}",
        names.len(),
        counts.values().sum::<usize>(),
        doubles.len(),
        uncertain.len()
    );
    for id in doubles {
        assert!(uncertain.contains(id), "{id} was sent twice and was not uncertain");
        assert!(ids[id] <= 4, "{id} was sent {} times with three kills", ids[id]);
    }
}

fn subject(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or("").to_owned()
}

fn queue_id(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let at = text.find(" id ").expect("our Received") + 4;
    text[at..at + 16].to_owned()
}
