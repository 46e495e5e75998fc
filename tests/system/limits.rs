//! The limits of one mailbox: its pace, its day, the recipients and the size of a mail, and who goes first.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::world::World;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use submitd::sandbox::faults::{Fault, ReplyText, Stage};
use submitd::sandbox::{Excess, Limits, Mailbox, Message, Options};

fn submit(daemon: &Daemon, to: &[&str]) {
    let reply = Client::submit(daemon.address(), to, "limits");
    assert!(reply.starts_with("250"), "{reply}");
}

/// A world with these limits, whose two mailboxes may send as anybody.
fn world(limits: Limits) -> World {
    let mailbox = |address: &str| Mailbox { send_as: vec!["*".into()], ..Mailbox::new(address) };
    let mailboxes = vec![mailbox("erp@contoso.com"), mailbox("desk@contoso.com")];
    World::with(Options { limits, mailboxes, ..Options::default() })
}

/// The account `desk` beside `erp`, for mail from that mailbox.
fn with_desk(config: &str, upstream: &str) -> String {
    let (head, account) = config.split_once("[[account]]").unwrap();
    let desk = account
        .replace("\"erp\"", "\"desk\"")
        .replace("erp@contoso.com", "desk@contoso.com")
        .replace(upstream, "");
    format!("{head}[[account]]{account}[[account]]{desk}")
}

/// Milliseconds of the day at which a mail came.
fn arrival(message: &Message) -> i64 {
    let time = message.received.split_once('T').unwrap().1.trim_end_matches('Z');
    let mut seconds = 0.0;
    for part in time.split(':') {
        seconds = seconds * 60.0 + part.parse::<f64>().unwrap();
    }
    (seconds * 1000.0) as i64
}

#[test]
fn b21_thirty_flow_at_once_and_the_rest_follows_at_thirty_a_minute() {
    // The sandbox refuses what comes faster than Exchange takes it, but for one: our count begins when a mail has
    // its turn, the server's when it says MAIL, and a token that is held lies between.
    let limits = Limits { messages_per_minute: 31, excess: Excess::Refuse, ..Limits::EXCHANGE };
    let world = world(limits);
    world.faults(|faults| faults.token.hold = true);
    let daemon = world.start(&world.config_with(&World::listener(""), "")).run();
    submit(&daemon, &["ann@example.org"]);
    // The first has its turn: from here on it counts.
    world.until("a token is asked for", |seen| seen.token_requests == 1);
    let midnight = 86_400_000;
    let begin = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64 % midnight;
    for _ in 1..33 {
        submit(&daemon, &["ann@example.org"]);
    }
    world.faults(|_| {});
    let came: Vec<i64> = world.messages(33).iter().map(|message| arrival(message)).collect();
    let between = |begin: i64, index: usize| (came[index] - begin).rem_euclid(midnight);
    assert!(between(came[0], 29) < 2_000, "thirty at once: {came:?}");
    for (index, wanted) in [(30, 2_000), (31, 4_000), (32, 6_000)] {
        // We saw that it began a little later than it did.
        let came = between(begin, index) + 500;
        assert!(came >= wanted, "{index}: {came} ms");
    }
    let seen = world.sandbox.statistics();
    assert_eq!((seen.messages, seen.message_refusals, seen.connection_refusals), (33, 0, 0));
    assert!(seen.max_open_connections <= 3, "{seen:?}");
}

#[test]
fn b21_a_used_up_day_waits_says_so_and_survives_kill_9_and_a_reload() {
    let world = world(Limits::NONE);
    let upstream = "recipients_per_day = 3\n";
    let config =
        with_desk(&world.config_with(&World::listener("account = \"erp\""), upstream), upstream);
    let mut daemon = world.start(&config).run();
    submit(&daemon, &["ann@example.org", "bob@example.org"]);
    submit(&daemon, &["carl@example.org"]);
    world.messages(2);
    submit(&daemon, &["dora@example.org"]);
    let line = daemon.log.wait_for("account waits, its mail is kept");
    assert!(
        line.contains("3 recipients in 24 hours") && line.contains("recipients_per_day"),
        "{line}"
    );
    daemon.signal("KILL");
    daemon.wait();

    let mut daemon = world.start(&config).run();
    daemon.log.wait_for("account waits, its mail is kept");
    let mut client = Client::hello(daemon.address()).unwrap();
    let text = "From: desk@contoso.com\r\n\r\nfree\r\n";
    let reply = client.mail("desk@contoso.com", "eve@example.org", text).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let messages = world.messages(3);
    assert_eq!(messages[2].mailbox, "desk@contoso.com", "another mailbox has a day of its own");
    assert_eq!(
        daemon.log.text().matches("account waits, its mail is kept").count(),
        1,
        "told once"
    );

    let raised = config.replacen(upstream, "recipients_per_day = 4\n", 1);
    std::fs::write(world.path().join("submitd.toml"), raised).unwrap();
    daemon.signal("HUP");
    assert_eq!(world.messages(4)[3].recipients(), ["dora@example.org"]);
    assert!(daemon.stop().success());
}

#[test]
fn b21_a_quota_reply_of_the_server_waits_besides_our_own_count() {
    let world = world(Limits { recipients_per_day: 2, ..Limits::NONE });
    let quick = "[queue]\nschedule = [\"1s\"]\n";
    let daemon =
        world.start(&world.config_with(&format!("{}{quick}", World::listener("")), "")).run();
    submit(&daemon, &["ann@example.org", "bob@example.org"]);
    world.messages(1);
    submit(&daemon, &["carl@example.org"]);
    let line = daemon.log.wait_for("account waits, its mail is kept");
    assert!(line.contains("SubmissionQuotaExceeded"), "{line}");
    world.sandbox.set_limits(Limits::NONE);
    assert_eq!(
        world.messages(2)[1].recipients(),
        ["carl@example.org"],
        "no report, the mail itself"
    );
}

/// The recipients of each mail that came, and how many different ones.
fn sizes(messages: &[Arc<Message>]) -> (Vec<usize>, usize) {
    let sizes = messages.iter().map(|message| message.recipients().len()).collect();
    let mut all: Vec<&str> = messages.iter().flat_map(|message| message.recipients()).collect();
    all.sort_unstable();
    all.dedup();
    (sizes, all.len())
}

#[test]
fn b06_a_mail_for_twelve_hundred_goes_in_several_transactions() {
    // Once by our own count, once by the 452 of the server behind recipient 500.
    for upstream in ["", "max_recipients = \"unlimited\"\n"] {
        let world = world(Limits::EXCHANGE);
        let listener = World::listener("max_recipients = 2000");
        let daemon = world.start(&world.config_with(&listener, upstream)).run();
        let to: Vec<String> = (0..1_200).map(|number| format!("r{number}@example.org")).collect();
        submit(&daemon, &to.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(sizes(&world.messages(3)), (vec![500, 500, 200], 1_200), "{upstream}");
        let line = daemon.log.wait_for("\"recipient\":\"r1199@example.org\"");
        assert!(line.contains("\"attempts\":1"), "{line}");
    }
}

#[test]
fn b01_killed_between_two_transactions_nobody_gets_the_mail_twice() {
    let world = world(Limits::EXCHANGE);
    // The first transaction is taken and settled; the second waits for the day.
    let upstream = "recipients_per_day = 2\nconnections = 1\n";
    let config = world.config_with(&World::listener(""), upstream);
    let mut daemon = world.start(&config).run();
    submit(&daemon, &["a@example.org", "b@example.org", "c@example.org"]);
    daemon.log.wait_for("account waits, its mail is kept");
    daemon.signal("KILL");
    daemon.wait();
    let mut daemon = world.start(&config.replace("day = 2", "day = \"unlimited\"")).run();
    assert_eq!(sizes(&world.messages(2)), (vec![2, 1], 3));
    assert!(daemon.stop().success());
}

#[test]
fn a_mail_larger_than_the_account_s_server_takes_is_refused_when_it_comes() {
    let world = world(Limits::EXCHANGE);
    let daemon = world
        .start(&world.config_with(&World::listener(""), "max_message_size = \"64 kB\"\n"))
        .run();
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.say("MAIL FROM:<erp@contoso.com> SIZE=65537").unwrap();
    assert!(reply.starts_with("552 5.3.4"), "{reply}");
    let head = "From: erp@contoso.com\r\n\r\n";
    for (octets, wanted) in [(65_536, "250"), (65_538, "552 5.3.4"), (1_000_000, "552 5.3.4")] {
        let body = "x".repeat(70) + "\r\n";
        let mut text = head.to_owned() + &body.repeat((octets - head.len()) / 72);
        let rest = octets - text.len();
        if rest >= 2 {
            text += &("y".repeat(rest - 2) + "\r\n");
        }
        let reply = client.mail("erp@contoso.com", "ann@example.org", &text).unwrap();
        assert!(reply.starts_with(wanted), "{octets}: {reply}");
    }
    assert_eq!(world.messages(1).len(), 1);
}

#[test]
fn b22_a_sender_with_many_mails_holds_up_no_other_of_the_same_mailbox() {
    let world = world(Limits::NONE);
    world.faults(|faults| faults.token.hold = true);
    let upstream = "connections = 1\nmessages_per_minute = \"unlimited\"\n";
    let daemon = world.start(&world.config_with(&World::listener(""), upstream)).run();
    let mut client = Client::hello(daemon.address()).unwrap();
    for (from, count) in [("bulk@contoso.com", 100), ("alarm@contoso.com", 3)] {
        for _ in 0..count {
            let text = format!("From: {from}\r\n\r\nturns\r\n");
            let reply = client.mail(from, "ann@example.org", &text).unwrap();
            assert!(reply.starts_with("250"), "{reply}");
        }
    }
    world.faults(|_| {});
    let messages = world.messages(103);
    let last = messages.iter().rposition(|message| {
        message
            .envelope
            .sender
            .as_ref()
            .is_some_and(|sender| sender.as_str() == "alarm@contoso.com")
    });
    assert!(last < Some(8), "the third of the small sender came as number {last:?}");
}

#[test]
fn b23_reports_go_through_the_account_named_for_them() {
    let world = world(Limits::NONE);
    world.faults(|faults| {
        let words = ReplyText::new("550 5.1.1 no such user").unwrap();
        faults.smtp.replies = [(Stage::Rcpt, Fault::times(words, 1))].into();
    });
    let more =
        format!("{}[queue]\nbounce_account = \"desk\"\n", World::listener("account = \"erp\""));
    let daemon = world.start(&with_desk(&world.config_with(&more, ""), "none")).run();
    submit(&daemon, &["gone@example.org"]);
    let messages = world.messages(1);
    assert_eq!(messages[0].mailbox, "desk@contoso.com");
    assert_eq!(messages[0].recipients(), ["erp@contoso.com"]);
    let text = messages[0].text();
    assert!(text.contains("Final-Recipient: rfc822; gone@example.org"), "{text}");
    assert!(text.contains("desk@contoso.com"), "{text}");
}
