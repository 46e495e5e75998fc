//! A thousand clients that only sit there cost little, and others are served meanwhile.

use crate::support::daemon::Daemon;
use crate::support::talk::{self, Pair, Secure, Talk};
use crate::support::world::World;
use std::io::{ErrorKind, Read};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const IDLE: usize = 1_000;
/// Octets of memory for one idle client outside TLS.
const MOST: usize = 10 * 1024;

/// Room for a thousand connections in this process.
fn raise_own_limit() {
    let own = std::process::id().to_string();
    let raised = Command::new("prlimit").args(["--pid", &own, "--nofile=8192:"]).status();
    assert!(raised.expect("prlimit is needed: package util-linux").success());
}

fn daemon(world: &World, keys: &str) -> Daemon {
    let keys = format!("max_connections = 5000\nsession_timeout = \"1h\"\n{keys}");
    let mut start = world.start(&world.config(&World::listener(&keys)).replace("debug", "info"));
    start.wrapper = vec!["prlimit".to_owned(), "--nofile=8192".to_owned()];
    start.run()
}

/// Resident octets of a process.
fn resident(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

fn hello<S: std::io::Read + std::io::Write>(client: &mut Talk<S>) {
    assert!(client.reply().unwrap().starts_with("220 "));
    assert!(client.say("EHLO client").starts_with("250"));
}

fn idle(daemon: &Daemon, count: usize) -> Vec<Talk<TcpStream>> {
    let mut clients: Vec<_> = (0..count).map(|_| talk::tcp(daemon.address())).collect();
    clients.iter_mut().for_each(hello);
    clients
}

/// What each of `IDLE` more clients costs, once the daemon has seen some and a mail went through.
fn measure(world: &World, daemon: &Daemon) -> (Vec<Talk<TcpStream>>, usize) {
    let mut first = idle(daemon, 50);
    first[0].mail("warm");
    world.messages(1);
    drop(first);
    let before = resident(daemon);
    let clients = idle(daemon, IDLE);
    let each = resident(daemon).saturating_sub(before) / IDLE;
    println!("{IDLE} idle clients: {each} octets each, {} kB in all", resident(daemon) / 1024);
    (clients, each)
}

/// Twenty others send ten mails each; `sent` mails were there before.
fn twenty_send(world: &World, daemon: &Daemon, sent: usize) {
    std::thread::scope(|scope| {
        for sender in 0..20 {
            let address = daemon.address();
            scope.spawn(move || {
                let mut client = talk::tcp(address);
                client.reply().unwrap();
                for mail in 0..10 {
                    client.mail(&format!("mail {mail} of {sender}"));
                }
            });
        }
    });
    assert_eq!(world.messages(sent + 200).len(), sent + 200);
}

#[test]
fn a18_a_thousand_idle_clients_cost_little_and_keep_nobody_waiting() {
    raise_own_limit();
    let world = World::new();
    let daemon = daemon(&world, "");
    let (mut clients, each) = measure(&world, &daemon);
    assert!(each < MOST, "{each} octets for each idle client");
    twenty_send(&world, &daemon, 1);
    for client in &mut clients {
        assert!(client.say("NOOP").starts_with("250"));
    }
}

#[test]
fn a18_idle_clients_inside_tls() {
    let world = World::new();
    let pair = Pair::new();
    pair.write(world.path());
    let daemon = daemon(&world, &talk::tls("implicit"));
    let connect = |count: usize| -> Vec<Talk<Secure>> {
        let client = |_| {
            let mut client = talk::implicit(daemon.address(), &[&pair]).unwrap();
            hello(&mut client);
            client
        };
        (0..count).map(client).collect()
    };
    drop(connect(20));
    let before = resident(&daemon);
    let clients = connect(100);
    let each = resident(&daemon).saturating_sub(before) / clients.len();
    println!("{} idle clients inside TLS: {each} octets each", clients.len());
    assert!(each < 10 * MOST, "{each} octets for each idle client inside TLS");
}

/// Long: nothing may be said to the idle ones for a minute.
#[test]
#[ignore = "takes a minute; run by scripts/test with the release program"]
fn a18_a_thousand_idle_clients_are_held_for_a_minute() {
    raise_own_limit();
    let world = World::new();
    let daemon = daemon(&world, "");
    let (mut clients, each) = measure(&world, &daemon);
    assert!(each < MOST, "{each} octets for each idle client");
    let mut one = clients[0].stream().try_clone().unwrap();
    let mut rounds = 0;
    let ends = Instant::now() + Duration::from_secs(60);
    while let left = ends.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        twenty_send(&world, &daemon, 1 + rounds * 200);
        rounds += 1;
        one.set_read_timeout(Some(left.min(Duration::from_secs(10)))).unwrap();
        let silence = one.read(&mut [0]).unwrap_err().kind();
        assert_eq!(silence, ErrorKind::WouldBlock);
    }
    println!("{} mails were sent meanwhile", rounds * 200);
    for client in &mut clients {
        assert!(client.say("NOOP").starts_with("250"));
    }
    println!("after a minute {} kB in all", resident(&daemon) / 1024);
}
