//! `mode = "direct"`: mail passes through while its program waits for the upstream's own answers.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, binary};
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::port::Port;
use crate::support::servers::Aiosmtpd;
use crate::support::world::World;
use submitd::sandbox::{Limits, Options};

/// A listener in direct mode on a free port with these further keys.
fn listener(keys: &str) -> String {
    World::listener(&format!("mode = \"direct\"\n{keys}"))
}

fn daemon(world: &World, keys: &str) -> Daemon {
    world.start(&world.config(&listener(keys))).run()
}

/// Sets faults by their paths: `smtp.replies.mail=451 4.7.500 busy`.
fn fail(world: &World, assignments: &[&str]) {
    world.faults(|faults| {
        assignments.iter().for_each(|assignment| faults.set(assignment).unwrap());
    });
}

/// MAIL and RCPT, taken.
fn begin(client: &mut Client) {
    assert!(client.say("MAIL FROM:<erp@contoso.com>").unwrap().starts_with("250"));
    assert!(client.say("RCPT TO:<ann@example.org>").unwrap().starts_with("250"));
}

/// Up to DATA, taken.
fn begin_body(client: &mut Client) {
    begin(client);
    assert!(client.say("DATA").unwrap().starts_with("354"));
}

fn send(client: &mut Client, subject: &str) -> String {
    let body = String::from_utf8(mails::plain(subject)).unwrap();
    client.mail("erp@contoso.com", "ann@example.org", &body).unwrap()
}

/// What lies in the queue's store: nothing, in direct mode.
pub fn assert_nothing_kept(world: &World) {
    let connection = rusqlite::Connection::open(world.path().join("state/queue/queue.db")).unwrap();
    for table in ["mail", "body"] {
        let rows: i64 = connection
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .unwrap();
        assert_eq!(rows, 0, "{table}");
    }
    let bodies = std::fs::read_dir(world.path().join("state/queue/body"));
    assert_eq!(bodies.unwrap().count(), 0);
}

fn hello(daemon: &Daemon) -> Client {
    Client::hello(daemon.address()).unwrap()
}

#[test]
fn each_recipient_and_the_end_have_the_upstreams_own_answer() {
    let world = World::new();
    let daemon = daemon(&world, "");
    fail(
        &world,
        &[
            "smtp.recipients.no@example.org=550 5.1.1 who is that [Hostname=AM0P190MB0001]",
            "smtp.recipients.busy@example.org=450 4.2.1 mailbox busy",
        ],
    );
    let mut client = hello(&daemon);
    let said = |client: &mut Client, command: &str| client.say(command).unwrap();
    assert_eq!(said(&mut client, "MAIL FROM:<erp@contoso.com>"), "250 2.1.0 sender ok");
    assert_eq!(said(&mut client, "RCPT TO:<ann@example.org>"), "250 2.1.5 Recipient OK");
    let refused = said(&mut client, "RCPT TO:<no@example.org>");
    assert_eq!(refused, "550 5.1.1 who is that [Hostname=AM0P190MB0001]");
    assert_eq!(said(&mut client, "RCPT TO:<busy@example.org>"), "450 4.2.1 mailbox busy");
    assert!(said(&mut client, "DATA").starts_with("354 "));
    client.write(b"From: erp@contoso.com\r\nSubject: x\r\n\r\n..dot\r\n.\r\n").unwrap();
    let taken = client.reply().unwrap();
    assert!(taken.starts_with("250 2.0.0 OK <") && taken.contains("[Hostname="), "{taken}");
    let message = &world.messages(1)[0];
    assert_eq!(message.recipients(), ["ann@example.org"]);
    let text = message.text();
    assert!(text.starts_with("Received: from client"), "{text}");
    assert!(text.contains("\r\nDate: ") && text.contains("\r\nMessage-ID: <"), "{text}");
    assert!(text.ends_with("\r\n\r\n.dot\r\n"), "{text}");
    // As in queue mode: one id from the first line to the last, and it is in `Received:`.
    let line = daemon.log.wait_for("\"delivered\"");
    let id = line.split("\"id\":\"").nth(1).unwrap().split('"').next().unwrap();
    assert!(text.contains(&format!(" id {id}")), "{id} in {text}");
    for words in ["passed on", "refused by the upstream", "put off by the upstream"] {
        assert!(daemon.log.wait_for(words).contains(id), "{words}");
    }
    assert_nothing_kept(&world);
}

#[test]
fn a_whole_envelope_goes_in_one_flight_and_is_answered_in_its_order() {
    let world = World::new();
    let daemon = daemon(&world, "");
    fail(&world, &["smtp.recipients.no@example.org=550 5.1.1 no", "smtp.delay_ms=20"]);
    let mut client = hello(&daemon);
    // The second has its connection already: what it takes is the two flights of the mail.
    for subject in ["first", "second"] {
        let envelope = "MAIL FROM:<erp@contoso.com>\r\nRCPT TO:<ann@example.org>\r\n\
                        RCPT TO:<no@example.org>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n";
        client.write(envelope.as_bytes()).unwrap();
        let codes: Vec<String> = (0..5).map(|_| client.reply().unwrap()[..3].to_owned()).collect();
        assert_eq!(codes, ["250", "250", "550", "250", "354"]);
        client.write(&mails::plain(subject)).unwrap();
        client.write(b".\r\n").unwrap();
        assert!(client.reply().unwrap().starts_with("250 2.0.0"));
    }
    let messages = world.messages(2);
    for message in &messages {
        assert_eq!(message.recipients(), ["ann@example.org", "bob@example.org"]);
    }
    assert_eq!(world.sandbox.statistics().connections, 1);
    assert_nothing_kept(&world);
}

#[test]
fn aiosmtpd_answers_each_recipient_and_takes_every_kind_of_mail_octet_for_octet() {
    let server = Aiosmtpd::start(1);
    let daemon = server.direct().run();
    let kinds = [
        mails::plain("plain"),
        mails::eight_bit("eight-bit"),
        mails::dots("dots"),
        mails::large("large", 10_000_000),
    ];
    let mut client = hello(&daemon);
    for (number, mail) in kinds.iter().enumerate() {
        client.say("MAIL FROM:<erp@contoso.com>").unwrap();
        for (to, answer) in [
            ("ann@example.org", "250 2.1.5 fine"),
            ("unknown@example.org", "550 5.1.1 no such mailbox here"),
            (["busy@x", "busy@y", "busy@z", "busy@q"][number], "450 4.2.1 mailbox is busy"),
            ("bob@example.org", "250 2.1.5 fine"),
        ] {
            assert_eq!(client.say(&format!("RCPT TO:<{to}>")).unwrap(), answer);
        }
        assert!(client.say("DATA").unwrap().starts_with("354"));
        client.write(&mails::stuffed(mail)).unwrap();
        client.write(b".\r\n").unwrap();
        assert_eq!(client.reply().unwrap(), "250 2.0.0 taken");
        let taken = server.mail(number + 1);
        assert_eq!(taken.recipients, ["ann@example.org", "bob@example.org"]);
        mails::assert_same(mails::without_our_received(&taken.raw), mail, "mail");
    }
    let said = server.log.text();
    assert_eq!(said.matches("refused token-1").count(), 1, "renewed once: {said}");
    assert_eq!(said.matches("login token-2").count(), 1, "one connection for all: {said}");
}

/// What goes wrong, and the reply to that command; MAIL is asked with the first RCPT. The expected codes are
/// written by hand.
const JUDGED: &[(&[&str], &str, &str)] = &[
    // The mail's own fault, in the upstream's words.
    (&["smtp.replies.rcpt=550 5.1.1 no such user"], "RCPT", "550 5.1.1 no such user"),
    (
        &["smtp.replies.dot=554 5.2.252 SendAsDenied; erp@contoso.com not allowed to send as x"],
        "DOT",
        "554 5.2.252 SendAsDenied; erp@contoso.com not allowed to send as x",
    ),
    (&["smtp.replies.mail=501 5.1.7 Invalid address"], "RCPT", "501 5.1.7 Invalid address"),
    (&["smtp.replies.data=554 5.6.0 not so"], "DATA", "554 5.6.0 not so"),
    // Not now.
    (&["smtp.replies.rcpt=450 4.7.1 greylisted"], "RCPT", "450 4.7.1 greylisted"),
    (&["smtp.replies.mail=451 4.7.500 Server busy"], "RCPT", "451 4.7.500 Server busy"),
    (&["smtp.replies.rcpt=452 4.5.3 Too many recipients"], "RCPT", "452 4.5.3 Too many recipients"),
    // 421 would end the client's session.
    (&["smtp.replies.mail=421 4.3.2 Service not active"], "RCPT", "451 4.3.2 Service not active"),
    (&["smtp.replies.rcpt=421 4.4.2 timeout"], "RCPT", "451 4.4.2 timeout"),
    // Used up, crowded, broken: the program must not throw the mail away.
    (
        &[
            "smtp.replies.dot=554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; Failed to process message",
        ],
        "DOT",
        "451 4.",
    ),
    (
        &["smtp.replies.mail=432 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded"],
        "RCPT",
        "451 4.3.2 STOREDRV.ClientSubmit; sender thread limit exceeded",
    ),
    (
        &["smtp.replies.mail=550 5.7.501 Service unavailable. Spam abuse detected from IP range"],
        "RCPT",
        "454 4.7.0 Service unavailable. Spam abuse",
    ),
    // AUTH and token.
    (&["smtp.auth=rejected"], "RCPT", "454 4.7.0 Authentication unsuccessful"),
    (&["smtp.auth=mailbox_disabled"], "RCPT", "454 4.7.0 Authentication unsuccessful"),
    (&["smtp.auth=temporary"], "RCPT", "454 4.7.0 "),
    (&["token.error=AADSTS7000222"], "RCPT", "454 4.7.0 no token for this mailbox: "),
    // The way there.
    (&["smtp.replies.greeting=554 5.3.2 no"], "RCPT", "451 4."),
    (&["smtp.no_starttls=true"], "RCPT", "451 4."),
    (&["smtp.certificate=wrong_name"], "RCPT", "451 4."),
    // The connection is lost.
    (&["smtp.drop_at.mail=true"], "RCPT", "451 4.4.2 MAIL FROM: connection closed"),
    (&["smtp.drop_at.rcpt=true"], "RCPT", "451 4.4.2 "),
    (&["smtp.drop_at.data=true"], "DATA", "451 4.4.2 DATA: connection closed"),
    (&["smtp.drop_at.body=true"], "DOT", "451 4.4.2 "),
    (
        &["smtp.drop_at.after_dot_before_accept=true"],
        "DOT",
        "451 4.4.2 the server's answer to the end of the mail was lost; it may have been delivered",
    ),
];

#[test]
fn b05_answers_are_judged_before_the_client_hears_them() {
    let world = World::new();
    let ways = JUDGED.iter().flat_map(|row| ["auto", "off"].map(|chunking| (row, chunking)));
    for ((faults, stage, expected), chunking) in ways {
        // By BDAT there is no DATA to be refused.
        if (*stage, chunking) == ("DATA", "auto") {
            continue;
        }
        fail(&world, faults);
        let text = world.config_with(&listener(""), &format!("chunking = \"{chunking}\"\n"));
        let daemon = world.start(&text).run();
        let mut client = hello(&daemon);
        let mut seen = String::new();
        for (name, words) in [
            ("MAIL", "MAIL FROM:<erp@contoso.com>"),
            ("RCPT", "RCPT TO:<ann@example.org>"),
            ("DATA", "DATA"),
            ("DOT", "From: erp@contoso.com\r\nSubject: x\r\n\r\nx\r\n."),
        ] {
            let reply = client.say(words).unwrap();
            if !reply.starts_with(['2', '3']) {
                seen = format!("{name} {reply}");
                break;
            }
        }
        assert!(seen.starts_with(&format!("{stage} {expected}")), "{chunking} {faults:?}: {seen}");
        // The session lives on.
        assert!(client.say("RSET").unwrap().starts_with("250"), "{faults:?}");
        assert!(client.say("NOOP").unwrap().starts_with("250"), "{faults:?}");
        assert_nothing_kept(&world);
    }
}

#[test]
fn b04_a_mail_of_unknown_fate_is_told_and_logged_and_not_sent_again() {
    let world = World::new();
    let daemon = daemon(&world, "");
    fail(&world, &["smtp.drop_at.after_dot_after_accept=1"]);
    let mut client = hello(&daemon);
    let reply = send(&mut client, "uncertain");
    assert!(
        reply.starts_with("451 4.4.2 ") && reply.contains("may have been delivered"),
        "{reply}"
    );
    let line = daemon.log.wait_for("possibly delivered");
    assert!(line.contains("nothing is kept"), "{line}");
    assert!(send(&mut client, "next").starts_with("250 2.0.0"));
    assert_eq!(world.messages(2).len(), 2);
    assert_nothing_kept(&world);
}

#[test]
fn what_another_server_wrote_is_cut_and_cleaned() {
    let world = World::new();
    let daemon = daemon(&world, "");
    let long = "é\tü ".repeat(400);
    fail(&world, &[&format!("smtp.replies.rcpt=550 5.1.1 eins\nzwei {long}")]);
    let mut client = hello(&daemon);
    client.say("MAIL FROM:<erp@contoso.com>").unwrap();
    let reply = client.say("RCPT TO:<ann@example.org>").unwrap();
    assert!(
        reply.starts_with("550 5.1.1 eins 5.1.1 zwei ? ?")
            || reply.starts_with("550 5.1.1 eins zwei ? ?"),
        "{reply}"
    );
    assert!(reply.len() <= 510 && reply.is_ascii() && !reply.contains('\n'), "{reply}");
}

#[test]
fn b04_a_connection_that_died_in_the_pool_is_replaced_once_and_never_behind_an_answer() {
    let world = World::new();
    let daemon = daemon(&world, "");
    let mut client = hello(&daemon);
    assert!(send(&mut client, "first").starts_with("250"));
    for fault in [
        "smtp.replies.mail={\"what\":\"421 4.4.1 Connection timed out\",\"times\":1}",
        "smtp.drop_at.mail=1",
    ] {
        let before = world.sandbox.statistics().connections;
        fail(&world, &[fault]);
        assert!(send(&mut client, "again").starts_with("250"), "{fault}");
        assert_eq!(world.sandbox.statistics().connections, before + 1, "{fault}");
    }
    // A fresh one that dies too is not replaced.
    let before = world.sandbox.statistics().connections;
    fail(&world, &["smtp.drop_at.mail=2"]);
    assert!(send(&mut client, "twice").starts_with("451 4.4.2"));
    client.say("RSET").unwrap();
    assert_eq!(world.sandbox.statistics().connections, before + 1);
    // And none once it answered: the client would hear of another transaction.
    fail(&world, &[]);
    assert!(send(&mut client, "well").starts_with("250"));
    let before = world.sandbox.statistics().connections;
    begin(&mut client);
    fail(&world, &["smtp.drop_at.rcpt=1"]);
    assert!(client.say("RCPT TO:<bob@example.org>").unwrap().starts_with("451 4.4.2"));
    assert!(client.say("RCPT TO:<eve@example.org>").unwrap().starts_with("451 4.4.2"));
    client.say("RSET").unwrap();
    assert_eq!(world.sandbox.statistics().connections, before);
    assert!(send(&mut client, "at last").starts_with("250"));
}

#[test]
fn a_client_that_only_asks_leaves_the_connection_for_the_next() {
    let world = World::new();
    let daemon = daemon(&world, "");
    let mut client = hello(&daemon);
    for _ in 0..3 {
        begin(&mut client);
        assert!(client.say("RSET").unwrap().starts_with("250"));
    }
    begin(&mut client);
    assert!(client.say("QUIT").unwrap().starts_with("221"));
    let mut other = hello(&daemon);
    assert!(send(&mut other, "after").starts_with("250"));
    assert_eq!(world.sandbox.statistics().connections, 1);
    assert_eq!(world.messages(1).len(), 1);
}

#[test]
fn a20_a_client_that_stalls_loses_its_turn_and_not_its_session() {
    let world = World::with(Options::default());
    let text = world.config_with(&listener("stall_timeout = \"1s\""), "connections = 1\n");
    let daemon = world.start(&text).run();
    for in_body in [false, true] {
        let mut slow = hello(&daemon);
        if in_body {
            begin_body(&mut slow);
            slow.write(b"From: erp@contoso.com\r\nSubject: slow\r\n\r\nhal").unwrap();
        } else {
            begin(&mut slow);
        }
        // The only connection of the mailbox comes free for the other.
        let mut other = hello(&daemon);
        assert!(send(&mut other, "other").starts_with("250"), "{in_body}");
        let reply = match in_body {
            true => slow.say("f\r\n."),
            false => slow.say("DATA"),
        };
        let reply = reply.unwrap();
        assert!(reply.starts_with("451 4.4.2 no progress for too long"), "{reply}");
        slow.say("RSET").unwrap();
        assert!(send(&mut slow, "again").starts_with("250"));
    }
    daemon.log.wait_for("turn lost");
    assert!(!world.messages(4).iter().any(|message| message.text().contains("slow")));
    assert_eq!(world.sandbox.statistics().max_open_connections, 1);
}

#[test]
fn who_waits_too_long_for_a_turn_is_told_so() {
    let world = World::new();
    let text = world.config_with(&listener("turn_timeout = \"1s\""), "connections = 1\n");
    let daemon = world.start(&text).run();
    let mut holder = hello(&daemon);
    begin_body(&mut holder);
    let mut waiting = hello(&daemon);
    assert!(waiting.say("MAIL FROM:<erp@contoso.com>").unwrap().starts_with("250"));
    let reply = waiting.say("RCPT TO:<ann@example.org>").unwrap();
    assert!(reply.starts_with("451 4.7.0 no connection of this mailbox came free"), "{reply}");
    // The pace counts too: of two a minute both are used by now.
    assert!(
        holder.say("From: erp@contoso.com\r\nSubject: x\r\n\r\nx\r\n.").unwrap().starts_with("250")
    );
    waiting.say("RSET").unwrap();
    assert!(send(&mut waiting, "then").starts_with("250"));
}

#[test]
fn queue_and_direct_together_never_pass_the_limits_of_the_mailbox() {
    let world = World::with(Options {
        limits: Limits { messages_per_minute: 0, ..Limits::EXCHANGE },
        ..Options::default()
    });
    let listeners =
        World::listener("") + "[[listener]]\naddress = \"127.0.0.2:0\"\nmode = \"direct\"\n";
    let keys = "connections = 3\nmessages_per_minute = \"unlimited\"\n";
    let daemon = world.start(&world.config_with(&listeners, keys)).run();
    let [queued, direct] = daemon.addresses[..] else { panic!("{:?}", daemon.addresses) };
    std::thread::scope(|scope| {
        for (number, address) in [queued, direct].into_iter().cycle().take(12).enumerate() {
            scope.spawn(move || {
                let mut client = Client::hello(address).unwrap();
                for mail in 0..5 {
                    let reply = send(&mut client, &format!("m{number}-{mail}"));
                    assert!(reply.starts_with("250 2.0.0"), "{reply}");
                }
            });
        }
    });
    let messages = world.messages(60);
    assert_eq!(messages.len(), 60);
    let seen = world.sandbox.statistics();
    assert_eq!((seen.max_open_connections, seen.connection_refusals), (3, 0), "{seen:?}");
}

#[test]
fn recipients_of_the_day_are_counted_together_and_over_a_restart() {
    let world = World::new();
    let held = [Port::hold(), Port::hold()];
    let [queued, direct] = held.each_ref().map(Port::address);
    let listeners = format!(
        "[[listener]]\naddress = \"{queued}\"\n\
         [[listener]]\naddress = \"{direct}\"\nmode = \"direct\"\nturn_timeout = \"1s\"\n"
    );
    let keys = "connections = 3\nmessages_per_minute = \"unlimited\"\nrecipients_per_day = 3\n";
    let mut daemon = world.start(&world.config_with(&listeners, keys)).run();
    // Refused ones are not counted.
    fail(&world, &["smtp.recipients.no@example.org=550 5.1.1 no"]);
    let mut client = Client::hello(direct).unwrap();
    begin(&mut client);
    client.say("RCPT TO:<bob@example.org>").unwrap();
    assert!(client.say("RCPT TO:<no@example.org>").unwrap().starts_with("550"));
    client.say("DATA").unwrap();
    assert!(client.say("From: erp@contoso.com\r\n\r\nx\r\n.").unwrap().starts_with("250"));
    assert!(send(&mut Client::hello(queued).unwrap(), "third").starts_with("250"));
    world.messages(2);
    let full = "451 4.7.0 the recipients that this mailbox may have in a day are used up";
    // The queue's mail counts from its end on; then the day is full for clients too.
    daemon.log.wait_for("\"delivered\"");
    let reply = send(&mut client, "fourth");
    assert!(reply.starts_with(full), "{reply}");
    daemon.stop();
    drop(daemon);
    let daemon = world.start(&world.config_with(&listeners, keys)).run();
    let reply = send(&mut Client::hello(direct).unwrap(), "fifth");
    assert!(reply.starts_with(full), "{reply}");
    drop(daemon);
}

#[test]
fn a01_what_looks_like_the_end_of_a_mail_smuggles_nothing_through() {
    let world = World::new();
    let daemon = daemon(&world, "");
    let mut client = hello(&daemon);
    for end in ["\n.\n", "\n.\r\n", "\r.\r\n", "\r\n.\r\r\n", "\r\n.\n", "\r.\r", "\r\n\0.\r\n"] {
        begin_body(&mut client);
        let hidden =
            "MAIL FROM:<evil@contoso.com>\r\nRCPT TO:<b@example.org>\r\nDATA\r\nhidden\r\n.\r\n";
        client
            .write(
                format!("From: erp@contoso.com\r\nSubject: a01\r\n\r\nx{end}{hidden}").as_bytes(),
            )
            .unwrap();
        let reply = client.reply().unwrap();
        assert!(reply.starts_with("250 2.0.0"), "{end:?}: {reply}");
        // The next answer is to the next command and nothing else.
        assert!(client.say("NOOP").unwrap().starts_with("250 2.0.0"), "{end:?}");
    }
    let messages = world.messages(7);
    assert_eq!(messages.len(), 7);
    for message in messages {
        assert_eq!(message.recipients(), ["ann@example.org"]);
        assert!(message.text().contains("hidden"), "{}", message.text());
    }
    // Where bare newlines are refused, the upstream never sees the end.
    let world = World::new();
    let daemon = self::daemon(&world, "bare_newline = \"reject\"\n");
    let mut client = hello(&daemon);
    begin_body(&mut client);
    client.write(b"From: erp@contoso.com\r\nSubject: a01\r\n\r\nx\n.\nMAIL FROM:<evil@contoso.com>\r\n.\r\n").unwrap();
    assert!(client.reply().unwrap().starts_with("550 5.6.11"));
    world.until("the connection is closed", |seen| seen.open_connections == 0);
    assert_eq!(world.sandbox.statistics().bodies, 0);
    assert!(send(&mut client, "good").starts_with("250"));
}

#[test]
fn b04_whoever_leaves_in_the_midst_leaves_no_mail_behind() {
    let world = World::new();
    let daemon = daemon(&world, "max_message_size = \"64 KB\"\n");
    // A client that dies in the body.
    let mut client = hello(&daemon);
    begin_body(&mut client);
    client.write(b"From: erp@contoso.com\r\nSubject: half\r\n\r\nhalf a bo").unwrap();
    drop(client);
    daemon.log.wait_for("client left in the middle of a mail");
    world.until("closed without the dot", |seen| {
        seen.connections == 1 && seen.open_connections == 0
    });
    // One whose mail is too large, undeclared.
    let mut client = hello(&daemon);
    begin_body(&mut client);
    client.write(b"From: erp@contoso.com\r\nSubject: large\r\n\r\n").unwrap();
    for _ in 0..80 {
        client.write(&[b"x".repeat(1022), b"\r\n".to_vec()].concat()).unwrap();
    }
    world
        .until("closed before its end", |seen| seen.connections == 2 && seen.open_connections == 0);
    client.write(b".\r\n").unwrap();
    assert!(client.reply().unwrap().starts_with("552 5.3.4"));
    // One that may not write so much, declared; and one whose header is refused by us.
    assert!(client.say("MAIL FROM:<erp@contoso.com> SIZE=90000").unwrap().starts_with("552 5.3.4"));
    begin_body(&mut client);
    client.write("Received: from a\r\n".repeat(101).as_bytes()).unwrap();
    client.write(b"\r\nx\r\n.\r\n").unwrap();
    assert!(client.reply().unwrap().starts_with("554 5.4.6"));
    assert_eq!(world.sandbox.statistics().bodies, 0);
    assert!(send(&mut client, "good").starts_with("250"));
    assert_nothing_kept(&world);
}

#[test]
fn b04_an_answer_that_comes_in_the_midst_of_the_body_is_the_answer_to_its_end() {
    let world = World::new();
    let daemon = daemon(&world, "");
    // The upstream goes away while the client sends.
    fail(&world, &["smtp.drop_at.body=1"]);
    let mut client = hello(&daemon);
    begin_body(&mut client);
    client.write(&mails::stuffed(&mails::large("lost", 3_000_000))).unwrap();
    client.write(b".\r\n").unwrap();
    let reply = client.reply().unwrap();
    assert!(reply.starts_with("451 4.4"), "{reply}");
    let reply = send(&mut client, "next");
    assert!(reply.starts_with("250"), "{reply}");
    // A client that goes away while the upstream is silent waits for nobody.
    fail(&world, &["smtp.hold_dot=true"]);
    let mut gone = hello(&daemon);
    begin_body(&mut gone);
    gone.write(b"From: erp@contoso.com\r\nSubject: x\r\n\r\nx\r\n.\r\n").unwrap();
    world.until("the dot is there", |seen| seen.bodies >= 2);
    drop(gone);
    fail(&world, &[]);
    world.messages(2);
}

#[test]
fn chunks_come_and_go_in_any_size_and_binary_mail_stays_binary() {
    let world = World::new();
    let daemon = daemon(&world, "");
    let mut client = hello(&daemon);
    begin(&mut client);
    assert!(
        client
            .say("BDAT 40\r\nFrom: erp@contoso.com\r\nSubject: chunks")
            .unwrap()
            .starts_with("250")
    );
    let reply = client.say("BDAT 8 LAST\r\n\r\n.\r\nx").unwrap();
    assert!(reply.starts_with("250 2.0.0 OK"), "{reply}");
    assert!(world.messages(1)[0].text().ends_with("\r\n\r\n.\r\nx\r\n"));
    let mail = [
        b"From: erp@contoso.com\r\nSubject: binary\r\n\r\n".to_vec(),
        (0..=255).cycle().take(300_000).collect(),
    ]
    .concat();
    assert!(client.say("MAIL FROM:<erp@contoso.com> BODY=BINARYMIME").unwrap().starts_with("250"));
    assert!(client.say("RCPT TO:<ann@example.org>").unwrap().starts_with("250"));
    client.write(format!("BDAT {} LAST\r\n", mail.len()).as_bytes()).unwrap();
    client.write(&mail).unwrap();
    assert!(client.reply().unwrap().starts_with("250 2.0.0 OK"));
    let message = &world.messages(2)[1];
    assert!(message.raw.ends_with(&mail[mail.len() - 300_000..]));
}

#[test]
fn a_server_that_does_not_know_the_bdat_it_offers_costs_one_mail_a_451() {
    let world = World::new();
    let daemon = daemon(&world, "");
    fail(&world, &["smtp.replies.dot={\"what\":\"502 5.5.1 Unrecognized command\",\"times\":1}"]);
    let mut client = hello(&daemon);
    let reply = send(&mut client, "first");
    assert!(reply.starts_with("451 4."), "{reply}");
    daemon.log.wait_for("does not take BDAT");
    assert!(send(&mut client, "second").starts_with("250 2.0.0"));
    assert!(world.messages(1)[0].text().contains("second"));
}

#[test]
fn b19_a_drain_lets_a_passing_mail_end_and_a_reload_does_not_touch_it() {
    let world = World::new();
    let config = world.config(&listener(""));
    let mut daemon = world.start(&config).run();
    let mut client = hello(&daemon);
    begin_body(&mut client);
    client.write(b"From: erp@contoso.com\r\nSubject: long\r\n\r\n").unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("reloaded");
    assert!(send(&mut hello(&daemon), "meanwhile").starts_with("250"));
    daemon.signal("TERM");
    daemon.log.wait_for("stopping");
    client.write(b"ended\r\n.\r\n").unwrap();
    assert!(client.reply().unwrap().starts_with("250 2.0.0"));
    assert!(daemon.wait().success(), "{}", daemon.log.text());
    assert!(world.messages(2).iter().any(|message| message.text().ends_with("ended\r\n")));
}

#[test]
fn send_and_sendmail_go_through_and_health_and_status_name_the_mode() {
    let world = World::new();
    let address = Port::hold();
    let config = format!("[[listener]]\naddress = \"{address}\"\nmode = \"direct\"\n");
    let daemon = world.start(&world.config(&config)).run();
    let file = world.path().join("submitd.toml");
    let attempt = |words: &[&str], input: &str| {
        let output = std::process::Command::new(binary())
            .args(words)
            .env("SUBMITD_CONFIG", &file)
            .env("SUBMITD_SENDMAIL_ADDRESS", address.to_string())
            .fed(input.as_bytes());
        let said = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(said).unwrap())
    };
    let run = |words: &[&str], input: &str| {
        let (code, said) = attempt(words, input);
        assert_eq!(code, Some(0), "{words:?}: {said}");
        said
    };
    let said = run(&["send", "ann@example.org"], "");
    assert!(said.contains("2.0.0 OK <"), "{said}");
    assert!(said.contains("the mail server took it") && !said.contains("journalctl"), "{said}");
    // `sendmail` looks for the answer of each recipient too.
    let message = "From: erp@contoso.com\nSubject: by sendmail\n\nx\n";
    fail(&world, &["smtp.recipients.no@example.org=550 5.1.1 who is that"]);
    run(&["sendmail", "-i", "-f", "erp@contoso.com", "ann@example.org"], message);
    let (code, refused) =
        attempt(&["sendmail", "-i", "-f", "erp@contoso.com", "no@example.org"], message);
    assert_ne!(code, Some(0), "{refused}");
    assert!(refused.contains("550 5.1.1 who is that"), "{refused}");
    let health = run(&["health"], "");
    assert_eq!(health, "ok\n");
    assert!(daemon.log.wait_for("\"listening\"").contains("\"mode\":\"direct\""));
    world.messages(2);
}

#[test]
fn twenty_of_25_mb_at_once_need_no_more_memory_than_twenty_small_ones() {
    let limits = Limits { kept_octets: 1, ..Limits::NONE };
    let world = World::with(Options { limits, ..Options::default() });
    let text = world.config(&listener("")).replace("\"debug\"", "\"info\"");
    let daemon = world.start(&text).run();
    let mail = mails::stuffed(&mails::large("large", 25_000_000));
    let at_once = |body: &[u8]| {
        std::thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| {
                    let mut client = hello(&daemon);
                    begin_body(&mut client);
                    client.write(body).unwrap();
                    client.write(b".\r\n").unwrap();
                    let reply = client.reply().unwrap();
                    assert!(reply.starts_with("250 2.0.0"), "{reply}");
                });
            }
        });
    };
    at_once(&mails::plain("small"));
    let before = peak(&daemon);
    at_once(&mail);
    let after = peak(&daemon);
    println!("peak RSS: {} kB before, {} kB after 20 x 25 MB at once", before, after);
    assert!(after - before < 24 * 1024, "{before} kB, then {after} kB");
    assert_nothing_kept(&world);
}

/// The most memory that was resident, kB.
pub fn peak(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
