//! Mails that wait, looked at and steered: by the daemon, and by the store alone where none runs.

use crate::support::client::Client;
use crate::support::command::Said;
use crate::support::daemon::{Daemon, PATIENCE, binary};
use crate::support::world::{RUNTIME, World};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use submitd::mail::{Envelope, Id, Recipient};
use submitd::queue::{Queue, Settings, Submission};
use submitd::sandbox::Faults;

/// Looks until it is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let ends = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < ends, "never: {what}");
    }
}

/// A daemon whose mails wait for a token.
fn waiting(world: &World) -> Daemon {
    world.faults(|faults| faults.token.hold = true);
    world.daemon()
}

/// Hands in a mail and gives its id.
fn submit(daemon: &Daemon, to: &str, subject: &str) -> String {
    let reply = Client::submit(daemon.address(), &[to], subject);
    reply.split(' ').next_back().filter(|id| id.len() == 16).expect(&reply).to_owned()
}

fn ids(said: &Said) -> Vec<String> {
    said.json().iter().map(|mail| mail["id"].as_str().unwrap().to_owned()).collect()
}

fn list(world: &World, words: &[&str]) -> Vec<String> {
    let words = [&["queue", "list", "--json"], words].concat();
    ids(&world.submitd(&words).good())
}

fn state(world: &World, id: &str) -> String {
    let mail = world.submitd(&["queue", "show", "--json", id]).good().json().remove(0);
    mail["state"].as_str().unwrap().to_owned()
}

#[test]
fn mails_are_listed_by_what_they_have_in_common_and_looked_into() {
    let world = World::new();
    let daemon = waiting(&world);
    let first = submit(&daemon, "ann@example.org", "first");
    let second = submit(&daemon, "bob@example.com", "second");
    for (words, expected) in [
        (&[][..], &[&first, &second][..]),
        (&["--account", "erp"], &[&first, &second]),
        (&["--account", "hr"], &[]),
        (&["--state", "queued"], &[&first, &second]),
        (&["--state", "held"], &[]),
        (&["--sender", "@contoso.com"], &[&first, &second]),
        (&["--sender", "<>"], &[]),
        (&["--recipient", "bob@example.com"], &[&second]),
        (&["--recipient", "@example.org"], &[&first]),
        (&["--older-than", "1h"], &[]),
        (&["--older-than", "0s"], &[&first, &second]),
        (&["--uncertain"], &[]),
        (&["--delivered"], &[]),
    ] {
        assert_eq!(list(&world, words).iter().collect::<Vec<_>>(), expected, "{words:?}");
    }
    for words in [
        &["queue", "list", "--state", "stuck"][..],
        &["queue", "list", "--sender", "a b"],
        &["queue", "list", "--older-than", "soon"],
        &["queue", "list", "--delivered", "--state", "held"],
        &["queue", "show"],
        &["queue", "show", "nonsense"],
    ] {
        assert_eq!(world.submitd(words).code, Some(64), "{words:?}");
    }
    let text = world.submitd(&["queue", "list"]).good().out;
    assert!(text.contains("erp@contoso.com -> ann@example.org\n"), "{text}");
    assert!(text.contains("\n2 mails, "), "{text}");
    let text = world.submitd(&["queue", "show", &first, &second]).good().out;
    assert!(text.contains(&first) && text.contains("bob@example.com  waiting"), "{text}");
    let message = world.submitd(&["queue", "cat", &first]).good().out;
    assert!(message.starts_with("Received: "), "{message}");
    assert!(message.ends_with("\r\n\r\nHello.\r\n"), "{message}");
    let gone = world.submitd(&["queue", "show", "0000000000000000"]);
    assert_eq!(gone.code, Some(1));
    assert!(gone.err.contains("neither in the queue nor in its history"), "{gone:?}");
    let text = world.submitd(&["queue", "check"]).good().out;
    assert!(text.starts_with("2 mails with ") && text.contains("all is well"), "{text}");
}

#[test]
fn mails_are_held_released_removed_and_tried_by_id_and_by_choice() {
    let world = World::new();
    let daemon = waiting(&world);
    let [first, second, third] =
        ["first", "second", "third"].map(|subject| submit(&daemon, "ann@example.org", subject));

    // Nothing is chosen by saying nothing.
    for verb in ["hold", "release", "retry", "remove"] {
        let said = world.submitd(&["queue", verb]);
        assert_eq!(said.code, Some(64), "{said:?}");
        assert!(said.err.contains("--all"), "{said:?}");
    }
    // The first is under way and waits for its token: it can be held all the same.
    let said = world.submitd(&["queue", "hold", &first]).good();
    assert_eq!(said.out, format!("{first} held\n1 mail held\n"));
    assert_eq!(state(&world, &first), "held");
    let said = world.submitd(&["queue", "release", &second]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("is not held but queued"), "{said:?}");
    world.submitd(&["queue", "remove", &third]).good();
    assert_eq!(list(&world, &[]), [&*first, &*second]);
    assert_eq!(list(&world, &["--delivered"]), [&*third]);
    assert_eq!(state(&world, &third), "removed");
    let said = world.submitd(&["queue", "retry", &third, "0000000000000000"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains(&format!("{third} is not in the queue")), "{said:?}");
    assert_eq!(world.submitd(&["queue", "cat", &third]).code, Some(1));
    // Who has all tried again does not mean what somebody holds back.
    let said = world.submitd(&["queue", "retry", "--all"]).good();
    assert_eq!(said.out, format!("{second} to be tried now\n1 mail to be tried now\n"));
    assert_eq!(world.submitd(&["status"]).code, Some(2), "a held mail waits for a person");

    // What was held and what was removed under way does not go out, the other does.
    world.sandbox.set_faults(Faults::default());
    assert!(String::from_utf8_lossy(&world.messages(1)[0].raw).contains("Subject: second"));
    until("delivered", || state(&world, &second) == "delivered");
    let said = world.submitd(&["queue", "release", "--account", "erp"]).good();
    assert_eq!(said.out, format!("{first} released\n1 mail released\n"));
    world.messages(2);
    // In the history with the server's words.
    until("delivered", || state(&world, &first) == "delivered");
    let mail = world.submitd(&["queue", "show", "--json", &first]).good().json().remove(0);
    let reply = mail["recipients"][0]["reply"].as_str().unwrap();
    assert!(reply.starts_with("250 2.0.0"), "{reply}");
    assert_eq!(list(&world, &["--delivered"]).len(), 3);
    world.submitd(&["status"]).good();
}

#[test]
fn a_mail_whose_dot_is_out_is_not_steered() {
    let world = World::new();
    world.faults(|faults| faults.smtp.hold_dot = true);
    let daemon = world.daemon();
    let id = submit(&daemon, "ann@example.org", "under-way");
    until("attempting", || state(&world, &id) == "attempting");
    for verb in ["hold", "release", "retry", "remove"] {
        let said = world.submitd(&["queue", verb, &id]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.err.contains("is being delivered at this moment"), "{said:?}");
    }
    // Chosen by what it has in common, it was not meant.
    assert_eq!(world.submitd(&["queue", "remove", "--all"]).good().out, "0 mails removed\n");
    let text = world.submitd(&["queue", "list"]).good().out;
    assert!(text.contains("delivering"), "{text}");
    let lane = world.submitd(&["status", "--json"]).good().json().remove(0)["lanes"][0].clone();
    assert_eq!(lane["running"], 1, "{lane}");
    world.sandbox.set_faults(Faults::default());
    world.messages(1);
}

#[test]
fn mails_are_exported_to_files_of_their_owner_and_nothing_is_overwritten() {
    let world = World::new();
    let daemon = waiting(&world);
    let id = submit(&daemon, "ann@example.org", "first");
    let to = world.path().join("out");
    let words = ["queue", "export", "--to", to.to_str().unwrap(), "--all"];
    world.submitd(&words).good();
    let about = std::fs::metadata(&to).unwrap();
    assert_eq!(about.permissions().mode() & 0o777, 0o700);
    for name in [format!("{id}.eml"), format!("{id}.json")] {
        let about = std::fs::metadata(to.join(name)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, 0o600);
    }
    let message = std::fs::read_to_string(to.join(format!("{id}.eml"))).unwrap();
    assert_eq!(message, world.submitd(&["queue", "cat", &id]).good().out);
    let envelope = std::fs::read(to.join(format!("{id}.json"))).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&envelope).unwrap();
    assert_eq!(envelope["recipients"][0]["address"], "ann@example.org");

    std::fs::write(to.join(format!("{id}.eml")), "mine").unwrap();
    let again = world.submitd(&words);
    assert_eq!(again.code, Some(1), "{again:?}");
    assert!(again.err.contains("1 mail not written"), "{again:?}");
    assert_eq!(std::fs::read(to.join(format!("{id}.eml"))).unwrap(), b"mine");
}

#[test]
fn b01_after_a_kill_the_store_is_read_without_a_daemon_and_nobody_steers_it() {
    let world = World::new();
    let mut daemon = waiting(&world);
    let id = submit(&daemon, "ann@example.org", "first");
    daemon.signal("KILL");
    daemon.wait();
    for (words, expected) in [
        (&["queue", "list"][..], "-> ann@example.org"),
        (&["queue", "show", &id], "ann@example.org  waiting"),
        (&["queue", "cat", &id], "Subject: first"),
        (&["queue", "check"], "all is well"),
    ] {
        let said = world.submitd(words).good();
        assert!(said.err.contains("the daemon is not running"), "{said:?}");
        assert!(said.err.contains("this is what its store says"), "{said:?}");
        assert!(said.out.contains(expected), "{said:?}");
    }
    let to = world.path().join("out");
    world.submitd(&["queue", "export", &id, "--to", to.to_str().unwrap()]).good();
    assert!(to.join(format!("{id}.eml")).exists());
    for verb in ["hold", "release", "retry", "remove"] {
        let said = world.submitd(&["queue", verb, &id]);
        assert_eq!(said.code, Some(69), "{said:?}");
        assert!(said.err.contains("only a running daemon"), "{said:?}");
    }
    // Reading it has changed nothing: it goes out.
    world.sandbox.set_faults(Faults::default());
    let _next = world.daemon();
    assert_eq!(world.messages(1).len(), 1);
    let absent = tempfile::TempDir::with_prefix("submitd-test-").unwrap();
    let file = absent.path().join("submitd.toml");
    std::fs::write(&file, format!("state_dir = \"{}/state\"\n", absent.path().display())).unwrap();
    let said = Said::by(Command::new(binary()).args(["queue", "list", "--config"]).arg(&file));
    assert_eq!(said.code, Some(69));
    assert!(said.err.contains("there is no queue"), "{said:?}");
}

#[test]
fn a_damaged_mail_is_shown_kept_and_never_raw() {
    let world = World::new();
    let mut daemon = waiting(&world);
    let damaged = submit(&daemon, "ann@example.org", "damaged");
    let sound = submit(&daemon, "bob@example.org", "sound");
    daemon.signal("KILL");
    daemon.wait();
    let store = rusqlite::Connection::open(world.path().join("state/queue/queue.db")).unwrap();
    let spoilt =
        "UPDATE mail SET account = 'e' || char(27) || '[31mrp', envelope = 'no' WHERE id = ?1";
    assert_eq!(store.execute(spoilt, [&damaged]).unwrap(), 1);
    // An id that is none: a list must get past it.
    let copy = format!(
        "CREATE TEMP TABLE copy AS SELECT * FROM mail WHERE id = '{sound}';
         UPDATE copy SET id = '!' || char(27) || '[2J'; INSERT INTO mail SELECT * FROM copy;"
    );
    store.execute_batch(&copy).unwrap();
    drop(store);
    let look = |running: &str| {
        let text = world.submitd(&["queue", "list"]).good().out;
        assert!(!text.contains('\u{1b}') && text.contains("3 mails"), "{running}: {text}");
        assert!(text.contains("damaged") && text.contains("checksum"), "{running}: {text}");
        assert_eq!(list(&world, &[]).len(), 3, "{running}");
        assert_eq!(state(&world, &damaged), "damaged", "{running}");
        let check = world.submitd(&["queue", "check"]);
        assert_eq!(check.code, Some(1), "{running}: {check:?}");
        assert!(!check.out.contains('\u{1b}'), "{running}: {check:?}");
        assert!(check.out.contains("2 things are wrong; nothing was changed"), "{check:?}");
    };
    look("down");
    let daemon = waiting(&world);
    look("up");
    let text = world.submitd(&["status"]).out;
    assert!(!text.contains('\u{1b}'), "{text}");
    // A person decides.
    world.submitd(&["queue", "remove", &damaged]).good();
    assert_eq!(list(&world, &[]).len(), 2);
    world.sandbox.set_faults(Faults::default());
    let mails = world.messages(1);
    assert!(String::from_utf8_lossy(&mails[0].raw).contains("Subject: sound"));
    drop(daemon);
}

/// Fills the store of a world whose daemon is down.
fn fill(world: &World, count: u32) {
    let settings = Settings {
        dir: world.path().join("state/queue"),
        max_size: u64::MAX,
        reserve: 0,
        history: Duration::from_secs(3600),
        hold: Vec::new(),
    };
    RUNTIME.block_on(async {
        let queue = Queue::open(settings).unwrap();
        let mut taken = tokio::task::JoinSet::new();
        for number in 0..count {
            let queue = queue.clone();
            taken.spawn(async move {
                let mut body = queue.spool();
                body.write(b"Subject: x\r\n\r\nHello.\r\n").await.unwrap();
                let to = format!("ann{number}@example.org").parse().unwrap();
                let accepted = SystemTime::now();
                let submission = Submission {
                    id: Id::new(accepted, number),
                    account: "erp".into(),
                    envelope: Envelope {
                        sender: Some("erp@contoso.com".parse().unwrap()),
                        body: Default::default(),
                        smtputf8: false,
                        ret: None,
                        envid: None,
                        recipients: vec![Recipient::new(to)],
                    },
                    body: body.finish().await.unwrap(),
                    accepted,
                    is_bounce: false,
                };
                queue.accept(submission).await.unwrap();
            });
        }
        while let Some(done) = taken.join_next().await {
            done.unwrap();
        }
        queue.close().await;
    });
}

/// The most memory a process ever had, in KB.
fn peak(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Lists all, and gives the growth of the client's memory between the first thousand lines and the last.
fn growth(world: &World, count: usize) -> u64 {
    let mut child = Command::new(binary())
        .args(["queue", "list", "--json", "--config"])
        .arg(world.path().join("submitd.toml"))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = lines.by_ref().take(1_000).count();
    let early = peak(child.id());
    seen += lines.by_ref().take(count - 2_000).count();
    let late = peak(child.id());
    seen += lines.count();
    assert!(child.wait().unwrap().success());
    assert_eq!(seen, count);
    late - early
}

#[test]
fn ten_thousand_mails_are_listed_page_by_page_and_steered_together() {
    const COUNT: usize = 10_000;
    let world = World::new();
    world.faults(|faults| faults.token.hold = true);
    fill(&world, COUNT as u32);
    std::fs::write(world.path().join("submitd.toml"), world.config("")).unwrap();
    assert!(growth(&world, COUNT) < 3_000, "without a daemon");

    let daemon = world.start(&world.config_with(&World::listener(""), "connections = 1\n")).run();
    list(&world, &["--account", "hr"]);
    let before = peak(daemon.child.id());
    assert!(growth(&world, COUNT) < 3_000, "over the socket");
    let grown = peak(daemon.child.id()) - before;
    assert!(grown < 8_000, "the daemon grew by {grown} KB");

    let said = world.submitd(&["queue", "hold", "--account", "erp"]).good();
    assert!(said.out.ends_with("\n10000 mails held\n"), "{}", said.err);
    let status = world.submitd(&["status", "--json"]).json().remove(0);
    assert_eq!(status["queue"]["mails"], COUNT);
    let said = world.submitd(&["queue", "remove", "--state", "held"]).good();
    assert!(said.out.ends_with("\n10000 mails removed\n"), "{}", said.err);
    assert_eq!(list(&world, &[]).len(), 0);
}
