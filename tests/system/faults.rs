//! Disks, upstreams and token endpoints that fail: what is queued goes out all the same, once, and who is
//! not concerned does not notice.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE, binary};
use crate::support::mails;
use crate::support::overheard::Heard;
use crate::support::trap::Trap;
use crate::support::world::{RUNTIME, World};
use std::collections::HashMap;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use submitd::queue::{Filter, Queue, Settings, State, open_read_only};
use submitd::sandbox::faults::{AuthRefusal, Fault, Point, ReplyText, Stage, Switch};
use submitd::sandbox::{Faults, Limits, Mailbox, Options};

const QUICK: &str = "[queue]\nschedule = [\"1s\"]\n";

fn quick(world: &World) -> Daemon {
    world.start(&world.config(&format!("{}{QUICK}", World::listener("")))).run()
}

/// The same, each mail by MAIL, RCPT, DATA and its body, so that each stage is met on its own.
/// Where the dot is out before the cut is seen its fate is unknown: that mail comes again soon, too.
fn step_by_step(world: &World) -> Daemon {
    let more = format!("{}{QUICK}uncertain_pause = \"1s\"\n", World::listener(""));
    let upstream = "messages_per_minute = \"unlimited\"\nchunking = \"off\"\n";
    world.start(&world.config_with(&more, upstream)).run()
}

fn submit(daemon: &Daemon, to: &[&str], subject: &str) {
    let reply = Client::submit(daemon.address(), to, subject);
    assert!(reply.starts_with("250 2.0.0"), "{subject}: {reply}");
}

fn says(text: &str) -> ReplyText {
    ReplyText::new(text).unwrap()
}

fn once(text: &str) -> Fault<ReplyText> {
    Fault::times(says(text), 1)
}

/// How often each recipient got a mail.
fn deliveries(world: &World) -> HashMap<String, usize> {
    let mut counts = HashMap::new();
    for message in world.sandbox.messages() {
        for recipient in message.recipients() {
            *counts.entry(recipient.to_owned()).or_default() += 1;
        }
    }
    counts
}

// ---------------------------------------------------------------------------------------------- B03

/// A daemon whose state lies on a disk of `size`, in a mount namespace of its own, and how the test
/// sees that disk.
fn on_small_disk(world: &World, size: &str, more: &str) -> (Daemon, PathBuf) {
    let state = world.path().join("state");
    std::fs::create_dir_all(&state).unwrap();
    let mut start = world.start(&world.config(&format!("{}{more}", World::listener(""))));
    let mount = format!("mount -t tmpfs -o size={size} tmpfs \"$0\" && exec \"$@\"");
    start.wrapper = ["unshare", "-Urm", "sh", "-c", &mount, state.to_str().unwrap()]
        .map(str::to_owned)
        .to_vec();
    let daemon = start.run();
    let disk = PathBuf::from(format!("/proc/{}/root{}", daemon.child.id(), state.display()));
    (daemon, disk)
}

fn large_text(octets: usize) -> String {
    let line = format!("{}\r\n", "x".repeat(76));
    format!("From: erp@contoso.com\r\nSubject: fill\r\n\r\n{}", line.repeat(octets / 78))
}

#[test]
fn b03_a_full_disk_is_told_what_is_queued_goes_out_and_mail_is_taken_again() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let more = "[queue]\nschedule = [\"1s\"]\nreserve = \"1 MB\"\n";
    let (daemon, _) = on_small_disk(&world, "3m", more);
    let mut client = Client::hello(daemon.address()).unwrap();
    let text = large_text(60_000);
    let mut taken = 0;
    let refused = loop {
        let reply = client.mail("erp@contoso.com", "ann@example.org", &text).unwrap();
        if !reply.starts_with("250") {
            break reply;
        }
        taken += 1;
        assert!(taken < 100, "3 MB cannot hold that");
    };
    assert!(refused.starts_with("452 4.3.1"), "{refused}");
    assert!(taken > 3, "{taken}");
    // A large one, which would be a file, ends at the reserve too, and the client is heard to the end.
    let _ = client.say("RSET");
    let reply = client.mail("erp@contoso.com", "ann@example.org", &large_text(2_500_000)).unwrap();
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    world.faults(|_| {});
    assert_eq!(world.messages(taken).len(), taken, "what was queued goes out");
    // It recovers by itself: the disk is looked at again after a second.
    let ends = Instant::now() + PATIENCE;
    loop {
        let _ = client.say("RSET");
        let reply = client.mail("erp@contoso.com", "ann@example.org", &text).unwrap();
        if reply.starts_with("250") {
            break;
        }
        assert!(reply.starts_with("452 4.3.1"), "{reply}");
        assert!(Instant::now() < ends, "does not recover");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(world.messages(taken + 1).len(), taken + 1);
}

#[test]
fn b03_a_disk_filled_by_others_sends_nothing_twice_and_goes_on_when_it_has_room() {
    let world = World::new();
    world.faults(|faults| faults.smtp.hold_dot = true);
    let more = "[queue]\nschedule = [\"1s\"]\nreserve = \"1 MB\"\n";
    let (daemon, disk) = on_small_disk(&world, "4m", more);
    for number in 0..5 {
        submit(&daemon, &[&format!("r{number}@example.org")], "x");
    }
    world.until("the five dots did not come", |seen| seen.bodies == 5);
    // Somebody else writes the disk full to the last octet.
    let filler = disk.join("filler");
    let filled = std::fs::write(&filler, vec![0; 5 << 20]);
    assert!(filled.is_err(), "4 MB hold no 5 MB");
    let reply = Client::submit(daemon.address(), &["full@example.org"], "full");
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
    world.faults(|_| {});
    assert_eq!(world.messages(5).len(), 5);
    std::fs::remove_file(&filler).unwrap();
    // Only what was settled leaves a way for this one: the lane is one.
    let ends = Instant::now() + PATIENCE;
    while !Client::submit(daemon.address(), &["later@example.org"], "later").starts_with("250") {
        assert!(Instant::now() < ends, "does not recover");
        std::thread::park_timeout(Duration::from_millis(50));
    }
    world.messages(6);
    let counts = deliveries(&world);
    assert_eq!(counts.len(), 6, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

#[test]
fn b03_a_sync_that_fails_takes_no_mail_and_the_next_one_is_taken() {
    let world = World::new();
    let daemon = quick(&world);
    let log = world.path().join("state/queue/queue.db-wal");
    submit(&daemon, &["first@example.org"], "first");
    world.messages(1);
    {
        let _trap = Trap::lay(&daemon, Some(&log), "fdatasync,fsync", "error=EIO");
        let reply = Client::submit(daemon.address(), &["lost@example.org"], "lost");
        assert!(reply.starts_with("451 4.3.0"), "{reply}");
    }
    submit(&daemon, &["second@example.org"], "second");
    world.messages(2);
    let counts = deliveries(&world);
    assert_eq!((counts["first@example.org"], counts["second@example.org"]), (1, 1));
    // The refused one is not in the queue and is not sent.
    assert!(!counts.contains_key("lost@example.org"), "{counts:?}");
}

#[test]
fn b03_while_the_store_cannot_note_it_no_dot_is_sent() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let mut daemon = quick(&world);
    for number in 0..3 {
        submit(&daemon, &[&format!("r{number}@example.org")], "x");
    }
    let log = world.path().join("state/queue/queue.db-wal");
    {
        let _trap = Trap::lay(&daemon, Some(&log), "pwrite64", "error=EROFS");
        world.faults(|_| {});
        daemon.log.wait_for("cannot note what became of a mail");
        assert_eq!(world.sandbox.statistics().bodies, 0, "a dot that could not be noted");
    }
    daemon.log.wait_for("the store notes again");
    assert!(daemon.stop().success());
    // They wait a minute for the disk; nobody need wait for that here.
    RUNTIME.block_on(async {
        let queue = Queue::open(Settings {
            dir: world.path().join("state/queue"),
            max_size: u64::MAX,
            reserve: 0,
            history: Duration::from_secs(3600),
            hold: Vec::new(),
        });
        let queue = queue.unwrap();
        for mail in queue.list(Filter::default()).await.unwrap() {
            queue.retry(mail.id).await.unwrap();
        }
        queue.close().await;
    });
    let _next = quick(&world);
    world.messages(3);
    assert!(deliveries(&world).values().all(|count| *count == 1));
}

#[test]
fn b03_a_store_that_was_removed_takes_no_mail_from_that_moment() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let daemon = quick(&world);
    submit(&daemon, &["first@example.org"], "first");
    std::fs::remove_dir_all(world.path().join("state/queue")).unwrap();
    let reply = Client::submit(daemon.address(), &["gone@example.org"], "gone");
    assert!(reply.starts_with('4') || reply.starts_with('5'), "{reply}");
    daemon.log.wait_for("store is gone");
}

// ------------------------------------------------------------------------------------- B04 B05 B06

#[test]
fn b04_a_connection_cut_at_each_stage_costs_a_try_and_the_mail_goes_out_once() {
    let world = World::new();
    use Point::*;
    let points = [Connect, Ehlo, Starttls, TlsHandshake, Auth, Mail, Rcpt, Data, Body];
    world.faults(|faults| {
        faults.smtp.drop_at = points.map(|point| (point, Switch::Times(1))).into();
    });
    let daemon = step_by_step(&world);
    submit(&daemon, &["ann@example.org"], "cut");
    assert_eq!(world.messages(1).len(), 1);
    let left = world.sandbox.faults().smtp.drop_at;
    assert!(left.values().all(|switch| *switch == Switch::Off), "each was met: {left:?}");
    assert!(world.sandbox.statistics().connections >= points.len() as u64);
}

#[test]
fn b04_a_flight_cut_before_its_first_answer_is_uncertain_and_one_that_is_answered_is_not() {
    let world = World::new();
    let daemon = quick(&world);
    world.faults(|faults| {
        faults.smtp.replies = [(Stage::Mail, once("421 4.3.2 not now"))].into();
    });
    submit(&daemon, &["ann@example.org"], "told");
    world.messages(1);
    assert!(!daemon.log.text().contains("possibly delivered"), "an answer is certain");
    world.faults(|faults| faults.smtp.drop_at = [(Point::Mail, Switch::Times(1))].into());
    submit(&daemon, &["bob@example.org"], "not told");
    daemon.log.wait_for("possibly delivered");
    assert_eq!(world.sandbox.messages().len(), 1);
}

#[test]
fn b04_an_answer_lost_after_the_dot_is_uncertain_and_waits() {
    let world = World::new();
    world.faults(|faults| {
        faults.smtp.drop_at = [(Point::AfterDotAfterAccept, Switch::Times(1))].into();
    });
    let daemon = quick(&world);
    submit(&daemon, &["ann@example.org"], "lost answer");
    world.uncertain(&daemon);
    assert_eq!(world.sandbox.messages().len(), 1);
}

#[test]
fn b05_answers_of_each_stage_are_judged_by_stage_and_code() {
    let world = World::new();
    use Stage::*;
    let early = [Greeting, Ehlo, Starttls, Auth];
    let late = [Mail, Rcpt, Data, Dot];
    // Every 4xx is tried again, and before MAIL every 5xx too.
    world.faults(|faults| {
        let stages = early.into_iter().chain(late);
        faults.smtp.replies = stages.map(|stage| (stage, once("451 4.3.0 not now"))).collect();
    });
    let daemon = step_by_step(&world);
    submit(&daemon, &["patient@example.org"], "4xx");
    assert_eq!(world.messages(1)[0].recipients(), ["patient@example.org"]);
    world.faults(|faults| {
        let stages = early.into_iter();
        faults.smtp.replies = stages.map(|stage| (stage, once("554 5.3.0 never"))).collect();
        // The idle connection would be used again otherwise, and meet none of it.
        faults.smtp.drop_at = [(Point::Mail, Switch::Times(1))].into();
    });
    submit(&daemon, &["still@example.org"], "early 5xx");
    assert_eq!(world.messages(2)[1].recipients(), ["still@example.org"]);
    assert!(world.sandbox.faults().smtp.replies.is_empty());
    // From MAIL on a 5xx bounces, and the sender hears the words.
    for (number, stage) in late.into_iter().enumerate() {
        world.faults(|faults| {
            faults.smtp.replies = [(stage, once("554 5.9.9 strange refusal"))].into();
        });
        submit(&daemon, &["never@example.org"], "late 5xx");
        let report = world.messages(3 + number).pop().unwrap();
        assert_eq!(report.recipients(), ["erp@contoso.com"], "{stage:?}");
        let text = report.text();
        assert!(text.contains("never@example.org") && text.contains("strange refusal"), "{text}");
    }
    assert!(!deliveries(&world).contains_key("never@example.org"));
}

#[test]
fn b06_of_500_recipients_each_is_settled_on_its_own_and_none_is_sent_twice() {
    let world = World::new();
    let addresses: Vec<String> = (0..500).map(|number| format!("r{number}@example.org")).collect();
    world.faults(|faults| {
        for (number, address) in addresses.iter().enumerate() {
            match number % 5 {
                0 => drop(
                    faults
                        .smtp
                        .recipients
                        .insert(address.clone(), Fault::always(says("550 5.1.1 no such user"))),
                ),
                1 => drop(
                    faults.smtp.recipients.insert(address.clone(), once("450 4.2.0 greylisted")),
                ),
                _ => {}
            }
        }
    });
    let daemon = quick(&world);
    let to: Vec<&str> = addresses.iter().map(String::as_str).collect();
    submit(&daemon, &to, "many");
    // 300 at once, a report for 100, 100 later.
    world.messages(3);
    let counts = deliveries(&world);
    for (number, address) in addresses.iter().enumerate() {
        let wanted = usize::from(number % 5 != 0);
        assert_eq!(counts.get(address).copied().unwrap_or(0), wanted, "{address}");
    }
    assert_eq!(counts["erp@contoso.com"], 1, "one report for all");
    let messages = world.sandbox.messages();
    let report = messages
        .iter()
        .find(|m| m.recipients() == ["erp@contoso.com"])
        .unwrap()
        .text()
        .into_owned();
    assert_eq!(report.matches("Final-Recipient:").count(), 100);
}

#[test]
fn b23_a_report_that_cannot_be_delivered_is_kept_as_failed_and_begets_none() {
    let world = World::new();
    world.faults(|faults| {
        for address in ["ann@example.org", "erp@contoso.com"] {
            let fault = Fault::always(says("550 5.1.1 no such user"));
            faults.smtp.recipients.insert(address.into(), fault);
        }
    });
    let daemon = quick(&world);
    submit(&daemon, &["ann@example.org"], "nobody");
    daemon.log.wait_for("mail given up; it is kept and listed as failed");
    submit(&daemon, &["bob@example.org"], "after");
    assert_eq!(world.messages(1).len(), 1);
    let queue = open_read_only(&world.path().join("state/queue")).unwrap();
    let failed: Vec<_> =
        queue.list(&Filter { state: Some(State::Failed), ..Filter::default() }).unwrap();
    assert_eq!(failed.len(), 1);
    assert!(failed[0].is_bounce);
    assert_eq!(world.sandbox.statistics().mail_commands, 3, "mail, report, the next mail");
}

#[test]
fn b25_a_mail_that_loops_is_refused() {
    let world = World::new();
    let daemon = quick(&world);
    let mut client = Client::hello(daemon.address()).unwrap();
    let own = "Received: from a by relay.test (submitd) with ESMTP id x; Sat, 21 Nov 2026 08:00:00 +0000\r\n";
    let text = String::from_utf8(mails::plain("loop")).unwrap();
    let mut passed = 0;
    let refused = loop {
        let looped = format!("{}{text}", own.repeat(passed));
        let reply = client.mail("erp@contoso.com", "ann@example.org", &looped).unwrap();
        if !reply.starts_with("250") {
            break reply;
        }
        passed += 1;
        assert!(passed < 100, "never refused");
    };
    assert!(refused.starts_with("554 5.4.6"), "{refused}");
    assert!(passed >= 1, "one pass is no loop");
}

// ---------------------------------------------------------------------------- B10 B11 B12 B13 B22

#[test]
fn b10_a_challenge_with_json_renews_the_token_once() {
    let world = World::new();
    world.faults(|faults| faults.smtp.auth = Some(Fault::times(AuthRefusal::GmailChallenge, 1)));
    let daemon = quick(&world);
    submit(&daemon, &["ann@example.org"], "challenge");
    assert_eq!(world.messages(1).len(), 1);
    let seen = world.sandbox.statistics();
    assert_eq!((seen.login_failures, seen.token_requests), (1, 2));
}

#[test]
fn b11_a_token_endpoint_that_fails_in_passing_costs_no_mail() {
    type Set = fn(&mut Faults);
    let ways: [(&str, Set); 4] = [
        ("503", |faults| faults.token.status = Some(Fault::times(503, 1))),
        ("a web page", |faults| faults.token.status = Some(Fault::times(200, 1))),
        ("cut", |faults| faults.token.drop = Switch::Times(1)),
        ("429", |faults| {
            faults.token.status = Some(Fault::times(429, 1));
            faults.token.retry_after = Some("2".into());
        }),
    ];
    for (what, set) in ways {
        let world = World::new();
        world.faults(set);
        let daemon = quick(&world);
        submit(&daemon, &["ann@example.org"], what);
        assert_eq!(world.messages(1).len(), 1, "{what}");
        let seen = world.sandbox.statistics();
        assert_eq!((seen.token_requests, seen.login_failures), (2, 0), "{what}");
    }
}

#[test]
fn b11_while_the_endpoint_is_down_the_token_at_hand_is_used() {
    let world = World::new();
    let daemon = quick(&world);
    submit(&daemon, &["ann@example.org"], "before");
    world.messages(1);
    world.faults(|faults| faults.token.drop = Switch::On);
    for number in 2..5 {
        submit(&daemon, &["ann@example.org"], "down");
        world.messages(number);
    }
    assert_eq!(world.sandbox.statistics().token_requests, 1);
}

#[test]
fn b12_b22_an_account_with_a_wrong_secret_waits_with_its_remedy_and_disturbs_no_other() {
    let world = World::with(Options {
        limits: Limits::NONE,
        mailboxes: vec![
            Mailbox::new("erp@contoso.com"),
            Mailbox { address: "ill@contoso.com".into(), send_as: vec!["*".into()] },
        ],
        ..Options::default()
    });
    let listeners = format!(
        "{}[[listener]]\naddress = \"127.0.0.2:0\"\naccount = \"ill\"\n{QUICK}",
        World::listener("account = \"erp\"")
    );
    let good = world.config(&listeners);
    let (head, account) = good.split_once("[[account]]").unwrap();
    let ill = account.replace("\"erp\"", "\"ill\"").replace("erp@contoso.com", "ill@contoso.com");
    let secret = "client_secret = \"";
    let broken = ill.replace(secret, "client_secret = \"wrong");
    let daemon = world.start(&format!("{head}[[account]]{account}[[account]]{broken}")).run();
    let ill_address = daemon.addresses.iter().find(|a| a.ip().to_string() == "127.0.0.2").unwrap();
    let erp_address = daemon.addresses.iter().find(|a| a.ip().to_string() == "127.0.0.1").unwrap();
    for _ in 0..10 {
        let mail = String::from_utf8(mails::plain("ill")).unwrap();
        let mut client = Client::hello(*ill_address).unwrap();
        let reply = client.mail("ill@contoso.com", "ill-mail@example.org", &mail).unwrap();
        assert!(reply.starts_with("250"), "{reply}");
    }
    let line = daemon.log.wait_for("account paused, its mail is kept");
    assert!(line.contains("AADSTS7000215") && line.contains("\"account\":\"ill\""), "{line}");
    assert!(line.contains("\"remedy\":\"") && !line.contains("\"remedy\":\"\""), "{line}");
    for number in 1..=10 {
        let reply = Client::submit(*erp_address, &["good@example.org"], "good");
        assert!(reply.starts_with("250"), "{reply}");
        world.messages(number);
    }
    assert_eq!(deliveries(&world).get("ill-mail@example.org"), None);
    // Mended: a reload with the right secret, and all of it goes out.
    let file = world.path().join("submitd.toml");
    std::fs::write(file, format!("{head}[[account]]{account}[[account]]{ill}")).unwrap();
    daemon.signal("HUP");
    world.messages(20);
    assert_eq!(deliveries(&world)["ill-mail@example.org"], 10);
}

#[test]
fn b13_a_token_revoked_in_mid_life_is_renewed_once_and_a_refusal_that_stays_pauses() {
    let world = World::new();
    let listener = World::listener("");
    let daemon = world
        .start(&world.config_with(&listener, "connections = 3\nidle_timeout = \"0s\"\n"))
        .run();
    submit(&daemon, &["ann@example.org"], "before");
    world.messages(1);
    world.sandbox.revoke_access_tokens();
    submit(&daemon, &["ann@example.org"], "after");
    world.messages(2);
    let seen = world.sandbox.statistics();
    assert_eq!((seen.token_requests, seen.login_failures), (2, 1));
    // Now it stays refused: one renewal each for what is under way, then silence for a minute.
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::Rejected)));
    for _ in 0..20 {
        submit(&daemon, &["ann@example.org"], "refused");
    }
    daemon.log.wait_for("account paused, its mail is kept");
    submit(&daemon, &["ann@example.org"], "refused");
    let seen = world.sandbox.statistics();
    assert!(seen.login_failures <= 1 + 2 * 3, "{seen:?}");
    assert!(seen.token_requests <= 2 + 3, "{seen:?}");
    let queue = open_read_only(&world.path().join("state/queue")).unwrap();
    assert!(queue.list(&Filter::default()).unwrap().iter().all(|mail| mail.state == State::Queued));
}

// -------------------------------------------------------------------------------------- B18 B20 B21

#[test]
fn b18_a_second_daemon_exits_75_and_names_the_holder() {
    let world = World::new();
    let daemon = quick(&world);
    let config = world.path().join("submitd.toml");
    let second = Command::new(binary()).args(["run", "--config"]).arg(&config).heard();
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(75), "{text}");
    assert!(text.contains(&format!("in use by process {}", daemon.child.id())), "{text}");
    submit(&daemon, &["ann@example.org"], "undisturbed");
    world.messages(1);
}

#[test]
fn b20_a_reload_trusts_the_authority_that_now_lies_under_the_same_name() {
    let world = World::new();
    let file = world.path().join("sandbox-ca.pem");
    let other = World::new();
    std::fs::write(&file, other.sandbox.ca_pem()).unwrap();
    let daemon = quick(&world);
    submit(&daemon, &["ann@example.org"], "renewed");
    daemon.log.wait_for("certificate");
    std::fs::write(&file, world.sandbox.ca_pem()).unwrap();
    daemon.signal("HUP");
    assert_eq!(world.messages(1).len(), 1);
}

#[test]
fn b20_mail_of_an_account_that_was_removed_is_told_at_reload_and_at_start_and_goes_when_it_is_back()
{
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let config = world.config(&format!("{}{QUICK}", World::listener("")));
    let mut daemon = world.start(&config).run();
    submit(&daemon, &["ann@example.org"], "orphan");
    let renamed = config.replace("name = \"erp\"", "name = \"other\"");
    std::fs::write(world.path().join("submitd.toml"), &renamed).unwrap();
    daemon.signal("HUP");
    let line = daemon.log.wait_for("this account is not in the configuration");
    assert!(line.contains("\"account\":\"erp\"") && line.contains("\"mails\":1"), "{line}");
    daemon.signal("KILL");
    daemon.wait();
    world.faults(|_| {});
    let mut daemon = world.start(&renamed).run();
    daemon.log.wait_for("this account is not in the configuration");
    std::fs::write(world.path().join("submitd.toml"), &config).unwrap();
    daemon.signal("HUP");
    assert_eq!(world.messages(1).len(), 1);
    assert!(daemon.stop().success());
}

#[test]
fn b20_a_reload_changes_the_bounds_of_the_queue() {
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    let config = |size: &str| {
        let listener = World::listener("max_message_size = \"900 KB\"");
        world.config(&format!("{listener}[queue]\nmax_size = \"{size}\"\n"))
    };
    let mut daemon = world.start(&config("1 GB")).run();
    submit(&daemon, &["ann@example.org"], "fits");
    std::fs::write(world.path().join("submitd.toml"), config("1 MB")).unwrap();
    daemon.signal("HUP");
    daemon.log.wait_for("configuration reloaded");
    daemon.wait_state("READY=1");
    let mut client = Client::hello(daemon.address()).unwrap();
    let reply = client.mail("erp@contoso.com", "ann@example.org", &large_text(900_000)).unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    let reply = client.mail("erp@contoso.com", "ann@example.org", &large_text(900_000)).unwrap();
    assert!(reply.starts_with("452 4.3.1"), "{reply}");
}

#[test]
fn b21_too_many_connections_mean_fewer_and_no_mail_fails_by_it() {
    let world = World::with(Options {
        limits: Limits { connections: 3, ..Limits::NONE },
        ..Options::default()
    });
    world.faults(|faults| faults.token.hold = true);
    let upstream = "connections = 6\nmessages_per_minute = \"unlimited\"\n";
    let listener = format!("{}{QUICK}", World::listener(""));
    let daemon = world.start(&world.config_with(&listener, upstream)).run();
    for number in 0..30 {
        submit(&daemon, &[&format!("r{number}@example.org")], "crowd");
    }
    world.faults(|faults| faults.smtp.delay_ms = 30);
    // One that is refused again and again waits for minutes in the end.
    world.messages_within(30, PATIENCE * 8);
    let counts = deliveries(&world);
    assert_eq!(counts.len(), 30, "{counts:?}");
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
    assert!(world.sandbox.statistics().connection_refusals > 0, "the limit was met");
    daemon.log.wait_for("the upstream is crowded");
}

#[test]
fn b21_a_renewed_token_opens_no_connection_beyond_the_mailbox_s_three() {
    let world = World::with(Options {
        limits: Limits { connections: 3, ..Limits::NONE },
        ..Options::default()
    });
    world.faults(|faults| faults.token.expires_in = Some(4));
    let upstream = "connections = 3\nmessages_per_minute = \"unlimited\"\n";
    let listener = World::listener("");
    let daemon = world.start(&world.config_with(&listener, upstream)).run();
    let mut count = 0;
    while world.sandbox.statistics().token_requests < 4 {
        for _ in 0..6 {
            submit(&daemon, &["ann@example.org"], "renewed");
            count += 1;
        }
        world.messages(count);
    }
    let seen = world.sandbox.statistics();
    assert_eq!(seen.connection_refusals, 0, "{seen:?}");
}

#[test]
fn b21_a_used_up_quota_waits_and_fails_no_mail() {
    let world = World::new();
    world.faults(|faults| {
        let words = "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException.\
                     MapiExceptionSubmissionQuotaExceeded; Failed to process message";
        faults.smtp.replies = [(Stage::Dot, Fault::times(says(words), 2))].into();
    });
    let daemon = quick(&world);
    submit(&daemon, &["ann@example.org"], "quota");
    let messages = world.messages(1);
    assert_eq!(messages[0].recipients(), ["ann@example.org"], "no report, the mail itself");
}

#[test]
fn b20_a_reload_tries_a_paused_account_at_once() {
    let world = World::new();
    world.faults(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::TenantDisabled)));
    let patient = "[queue]\nschedule = [\"1h\"]\n";
    let config = world.config(&format!("{}{patient}", World::listener("")));
    let daemon = world.start(&config).run();
    let reply = Client::submit(daemon.address(), &["ann@example.org"], "waits");
    assert!(reply.starts_with("250"), "{reply}");
    daemon.log.wait_for("account paused, its mail is kept");
    world.faults(|faults| faults.smtp.auth = None);
    daemon.signal("HUP");
    assert_eq!(world.messages(1).len(), 1);
}
