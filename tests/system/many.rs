//! Much at once: ten thousand mails in the queue at a start, a hundred from clients that come and go, and
//! accounts that are ill beside ten that are not.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE, Start};
use crate::support::dice::{self, Dice};
use crate::support::port::Port;
use crate::support::world::{RUNTIME, World};
use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};
use submitd::mail::{Address, BodyKind, Envelope, Id, Recipient};
use submitd::queue::{Queue, Settings, Submission};
use submitd::sandbox::{Limits, Mailbox, Options};

/// Octets of each mail that waits at a start.
const SIZE: usize = 2_000;
/// How many accept at once while the queue is filled; their mails share commits.
const AT_ONCE: usize = 200;

/// What a start costs.
#[derive(Debug)]
struct Cost {
    /// From the start of the process to the greeting.
    greeting: Duration,
    /// Resident octets when it is ready, with nothing sent yet.
    ready: usize,
}

/// The value of `name` in the process's status, in octets.
fn memory(daemon: &Daemon, name: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

/// Starts it and asks from the first moment on whether somebody answers.
fn start(start: Start<'_>, address: SocketAddr) -> (Daemon, Cost) {
    let begin = Instant::now();
    let greeted = std::thread::spawn(move || {
        let client = loop {
            match TcpStream::connect(address) {
                Ok(client) => break client,
                Err(_) if begin.elapsed() < PATIENCE => {
                    std::thread::park_timeout(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        };
        let mut greeting = String::new();
        BufReader::new(client).read_line(&mut greeting).unwrap();
        assert!(greeting.starts_with("220"), "{greeting}");
        begin.elapsed()
    });
    let daemon = start.run();
    let greeting = greeted.join().unwrap();
    let ready = memory(&daemon, "VmRSS:");
    (daemon, Cost { greeting, ready })
}

/// Puts `count` mails into the store, whose due times are `dues` milliseconds after a moment that has
/// passed; recipient `rN` has the due time `dues[N]`.
fn fill(dir: &Path, dues: &[u64]) {
    let queue = Queue::open(Settings {
        dir: dir.to_owned(),
        max_size: u64::MAX,
        reserve: 0,
        history: Duration::from_secs(3600),
        hold: Vec::new(),
    });
    let queue = queue.unwrap();
    let begin = SystemTime::now() - Duration::from_secs(3600);
    let numbers: Vec<usize> = (0..dues.len()).collect();
    RUNTIME.block_on(async {
        for some in numbers.chunks(AT_ONCE) {
            let mut tasks = Vec::new();
            for &number in some {
                let accepted = begin + Duration::from_millis(dues[number]);
                tasks.push(tokio::spawn(accept(queue.clone(), number, accepted)));
            }
            for task in tasks {
                task.await.unwrap();
            }
        }
        queue.close().await;
    });
}

async fn accept(queue: Queue, number: usize, accepted: SystemTime) {
    let id = Id::new(accepted, u32::try_from(number).unwrap());
    let mut body = queue.spool();
    let head =
        format!("From: erp@contoso.com\r\nSubject: {number}\r\nMessage-ID: <{id}@test>\r\n\r\n");
    let line = format!("{}\r\n", "x".repeat(76));
    body.write(format!("{head}{}", line.repeat(SIZE / 78)).as_bytes()).await.unwrap();
    let to = Address::parse(&format!("r{number}@example.org")).unwrap();
    let envelope = Envelope {
        sender: Some(Address::parse("erp@contoso.com").unwrap()),
        body: BodyKind::Undeclared,
        smtputf8: false,
        ret: None,
        envid: None,
        recipients: vec![Recipient::new(to)],
    };
    let body = body.finish().await.unwrap();
    let account = "erp".to_owned();
    let mail = Submission { id, account, envelope, body, accepted, is_bounce: false };
    queue.accept(mail).await.unwrap();
}

/// The numbers below `count` in an order of the dice.
fn shuffled(count: usize, dice: &mut Dice) -> Vec<u64> {
    let mut numbers: Vec<u64> = (0..count as u64).collect();
    for at in (1..count).rev() {
        numbers.swap(at, usize::try_from(dice.below(at as u64 + 1)).unwrap());
    }
    numbers
}

/// With QUEUED=100000 as many.
#[test]
#[ignore = "long; run by scripts/test with the release program"]
fn b17_ten_thousand_mails_queued_at_start_cost_no_time_and_leave_in_order_of_due_time() {
    let count = dice::number("QUEUED", 10_000);
    let limits = Limits { kept_messages: u32::MAX, kept_octets: u64::MAX, ..Limits::NONE };
    let world = World::with(Options { limits, ..Options::default() });
    world.faults(|faults| faults.token.hold = true);
    let port = Port::hold();
    let address = port.address();
    let listener = format!("[[listener]]\naddress = \"{address}\"\n");
    let upstream = "connections = 1\nmessages_per_minute = \"unlimited\"\n\
                    recipients_per_day = \"unlimited\"\n";
    let config = world.config_with(&listener, upstream).replace("\"debug\"", "\"warn\"");
    let (mut daemon, empty) = start(world.start(&config), address);
    assert!(daemon.stop().success());

    let dues = shuffled(count, &mut Dice::new(dice::seed()));
    fill(&world.path().join("state/queue"), &dues);
    let (mut daemon, full) = start(world.start(&config), address);
    println!("nothing queued: {empty:?}\n{count} mails queued: {full:?}");
    let bound = empty.greeting * 3 + Duration::from_secs(1);
    assert!(full.greeting < bound, "{:?} instead of {:?}", full.greeting, empty.greeting);
    assert!(full.ready < empty.ready + (8 << 20), "the queue lies in memory: {full:?}");

    let begin = Instant::now();
    world.faults(|_| {});
    // In steps, since the patience is that of a few thousand.
    (0..count).step_by(5_000).for_each(|some| drop(world.messages(some)));
    let messages = world.messages(count);
    let most = memory(&daemon, "VmHWM:");
    println!("delivered in {:?}, most memory {} kB", begin.elapsed(), most / 1024);
    assert!(most < empty.ready + (24 << 20), "{most} octets");
    let number = |to: &str| to[1..].split('@').next().unwrap().parse::<usize>().unwrap();
    let order: Vec<u64> =
        messages.iter().map(|message| dues[number(message.recipients()[0])]).collect();
    assert!(order.is_sorted(), "one connection takes them in order of due time");
    assert_eq!(order.len(), count);
    assert!(daemon.stop().success());
}

#[test]
fn b21_a_hundred_mails_of_twenty_one_shot_clients_go_through_three_connections_and_none_is_refused()
{
    let limits = Limits { connections: 3, ..Limits::NONE };
    let world = World::with(Options { limits, ..Options::default() });
    world.faults(|faults| faults.smtp.delay_ms = 20);
    let upstream = "connections = 3\nmessages_per_minute = \"unlimited\"\n";
    let mut daemon = world.start(&world.config_with(&World::listener(""), upstream)).run();
    let address = daemon.address();
    let begin = Instant::now();
    std::thread::scope(|scope| {
        for client in 0..20 {
            scope.spawn(move || {
                for mail in 0..5 {
                    let to = format!("c{client}-{mail}@example.org");
                    let reply = Client::submit(address, &[&to], &format!("{client}-{mail}"));
                    assert!(reply.starts_with("250"), "{to}: {reply}");
                }
            });
        }
    });
    let taken = begin.elapsed();
    let messages = world.messages(100);
    println!(
        "100 mails: all have their 250 after {taken:?}, delivered after {:?}",
        begin.elapsed()
    );
    let mut recipients: Vec<_> =
        messages.iter().flat_map(|message| message.recipients()).map(str::to_owned).collect();
    recipients.sort();
    recipients.dedup();
    assert_eq!((messages.len(), recipients.len()), (100, 100), "each once");
    let seen = world.sandbox.statistics();
    assert_eq!((seen.connection_refusals, seen.message_refusals), (0, 0), "{seen:?}");
    assert!(seen.max_open_connections <= 3, "{seen:?}");
    assert!(daemon.stop().success());
}

#[test]
fn b22_ten_good_accounts_do_not_notice_two_that_are_ill() {
    let names: Vec<String> = (0..10).map(|n| format!("good{n}")).collect();
    let ill = ["refused".to_owned(), "silent".to_owned()];
    let address = |name: &str| format!("{name}@contoso.com");
    let all = names.iter().chain(&ill);
    let world = World::with(Options {
        limits: Limits::NONE,
        mailboxes: all.clone().map(|name| Mailbox::new(address(name))).collect(),
        ..Options::default()
    });
    // Takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let config = world.config(&World::listener(""));
    let (head, account) = config.split_once("[[account]]").unwrap();
    let mut whole = head.to_owned();
    for name in all.clone() {
        let own = account.replace("\"erp\"", &format!("\"{name}\""));
        let mut own = own.replace("erp@contoso.com", &address(name));
        if name == "refused" {
            own = own.replace("client_secret = \"", "client_secret = \"wrong");
        }
        if name == "silent" {
            let port = |port: u16| format!("port = {port}\n");
            let sandbox = port(world.sandbox.smtp_addr().port());
            own = own.replace(&sandbox, &port(silent.local_addr().unwrap().port()));
        }
        whole += &format!("[[account]]{own}\n");
    }
    let daemon = world.start(&whole).run();
    let hand_in = |name: &str, mail: usize| {
        let mut client = Client::hello(daemon.address()).unwrap();
        let text = format!("From: {0}\r\nSubject: {mail}\r\n\r\nHello.\r\n", address(name));
        let reply = client.mail(&address(name), &format!("{name}@example.org"), &text).unwrap();
        assert!(reply.starts_with("250"), "{name}: {reply}");
    };
    // Those that are ill come first and have more.
    for mail in 0..20 {
        ill.iter().for_each(|name| hand_in(name, mail));
    }
    daemon.log.wait_for("account paused, its mail is kept");
    let _held = silent.accept().unwrap();
    for mail in 0..10 {
        names.iter().for_each(|name| hand_in(name, mail));
    }
    let mut counts: HashMap<String, usize> = HashMap::new();
    for message in world.messages(100) {
        assert_eq!(
            format!("{}@example.org", message.mailbox.split('@').next().unwrap()),
            message.recipients()[0]
        );
        *counts.entry(message.mailbox.clone()).or_default() += 1;
    }
    assert_eq!(counts.len(), 10, "{counts:?}");
    assert!(counts.values().all(|count| *count == 10), "{counts:?}");
    assert_eq!(world.sandbox.statistics().login_failures, 0);
}

#[test]
fn b20_a_hundred_reloads_under_load_good_broken_and_changed_drop_no_session_and_no_mail() {
    let world = World::new();
    let good = world.config(&World::listener("max_message_size = \"1 MB\""));
    let changed = good.replace("1 MB", "2 MB");
    let broken = good.replace("mailbox =", "mailbocks =");
    let mut daemon = world.start(&good).run();
    let (address, file) = (daemon.address(), world.path().join("submitd.toml"));
    let sent = AtomicUsize::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (sent, is_over) = (&sent, &is_over);
            scope.spawn(move || {
                // One session through all of it.
                let mut session = Client::hello(address).unwrap();
                while !is_over.load(Ordering::Relaxed) {
                    let number = sent.fetch_add(1, Ordering::Relaxed);
                    let text = format!("From: erp@contoso.com\r\nSubject: {number}\r\n\r\nx\r\n");
                    let to = format!("r{number}@example.org");
                    let reply = session.mail("erp@contoso.com", &to, &text).unwrap();
                    assert!(reply.starts_with("250"), "client {client}: {reply}");
                }
            });
        }
        for round in 0..100 {
            std::fs::write(&file, [&good, &broken, &changed][round % 3]).unwrap();
            daemon.signal("HUP");
            daemon.wait_state("READY=1");
        }
        is_over.store(true, Ordering::Relaxed);
    });
    let count = sent.into_inner();
    let messages = world.messages(count);
    let mut recipients: Vec<_> =
        messages.iter().map(|message| message.recipients()[0].to_owned()).collect();
    recipients.sort();
    recipients.dedup();
    println!("{count} mails in four sessions over 100 reloads");
    assert_eq!((messages.len(), recipients.len()), (count, count), "each once");
    let said = daemon.log.text();
    assert!(said.matches("configuration reloaded").count() >= 60, "{said}");
    assert!(said.matches("mailbocks").count() >= 30, "{said}");
    assert!(daemon.stop().success());
}
