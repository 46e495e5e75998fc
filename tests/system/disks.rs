//! B03: each call to the disk that may fail, failing: what the client hears, what becomes of the mail that
//! is queued, and that it goes on by itself.

use crate::support::client::Client;
use crate::support::daemon::{Daemon, PATIENCE, Start};
use crate::support::overheard::Heard;
use crate::support::trap::Trap;
use crate::support::world::World;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const QUICK: &str = "[queue]\nschedule = [\"1s\"]\nreserve = \"1 MB\"\n";

fn quick(world: &World) -> Start<'_> {
    world.start(&world.config(&format!("{}{QUICK}", World::listener(""))))
}

/// Hands in a mail of this size; the last reply.
fn hand_in(daemon: &Daemon, to: &str, size: usize) -> String {
    let mut client = Client::hello(daemon.address()).unwrap();
    let line = format!("{}\r\n", "x".repeat(76));
    let head = "From: erp@contoso.com\r\nSubject: disk\r\n\r\n";
    client.mail("erp@contoso.com", to, &format!("{head}{}", line.repeat(size / 78))).unwrap()
}

/// Until it is taken again, which must come by itself.
fn hand_in_until_taken(daemon: &Daemon, to: &str) {
    let ends = Instant::now() + PATIENCE;
    while !hand_in(daemon, to, 100).starts_with("250") {
        assert!(Instant::now() < ends, "does not recover; log:\n{}", daemon.log.text());
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn counts(world: &World) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for message in world.sandbox.messages() {
        for recipient in message.recipients() {
            *counts.entry(recipient.to_owned()).or_default() += 1;
        }
    }
    counts
}

#[test]
fn b03_whatever_call_to_the_disk_fails_the_client_may_try_again_and_no_trace_is_left() {
    const LARGE: usize = 400_000;
    let log = |_: &Daemon| "queue.db-wal".to_owned();
    let draft = |daemon: &Daemon| format!("body/{}-0.part", daemon.child.id());
    let bodies = |_: &Daemon| "body".to_owned();
    type Place = fn(&Daemon) -> String;
    // The file, the calls, the error, the octets of the mail, what the client hears.
    let cases: [(Place, &str, &str, usize, &str); 11] = [
        (log, "pwrite64", "ENOSPC", 100, "452 4.3.1"),
        (log, "pwrite64", "EDQUOT", 100, "452 4.3.1"),
        (log, "pwrite64", "EROFS", 100, "452 4.3.1"),
        (log, "fdatasync,fsync", "EIO", 100, "451 4.3.0"),
        (draft, "openat", "EACCES", LARGE, "451 4.3.0"),
        (draft, "write", "ENOSPC", LARGE, "452 4.3.1"),
        (draft, "write", "EDQUOT", LARGE, "452 4.3.1"),
        (draft, "write", "EIO", LARGE, "451 4.3.0"),
        (draft, "fdatasync,fsync", "EIO", LARGE, "451 4.3.0"),
        (draft, "rename,renameat,renameat2", "EROFS", LARGE, "451 4.3.0"),
        (bodies, "fdatasync,fsync", "EIO", LARGE, "451 4.3.0"),
    ];
    for (place, calls, error, size, wanted) in cases {
        let world = World::new();
        let mut daemon = quick(&world).run();
        let path = world.path().join("state/queue").join(place(&daemon));
        let what = format!("{calls} of {} is {error}", path.display());
        {
            let _trap = Trap::lay(&daemon, Some(&path), calls, &format!("error={error}"));
            let reply = hand_in(&daemon, "refused@example.org", size);
            assert!(reply.starts_with(wanted), "{what}: {reply}");
        }
        hand_in_until_taken(&daemon, "taken@example.org");
        world.messages(1);
        assert_eq!(counts(&world), [("taken@example.org".to_owned(), 1)].into(), "{what}");
        assert!(daemon.stop().success());
        let left = world.path().join("state/queue/body").read_dir().unwrap();
        assert_eq!(left.count(), 0, "{what}: a body without a mail");
    }
}

#[test]
fn b03_a_quota_that_is_used_up_holds_what_is_queued_and_nothing_goes_twice() {
    let world = World::new();
    world.faults(|faults| faults.smtp.hold_dot = true);
    let daemon = quick(&world).run();
    for number in 0..3 {
        assert!(hand_in(&daemon, &format!("r{number}@example.org"), 100).starts_with("250"));
    }
    world.until("the dots did not come", |seen| seen.bodies == 3);
    let log = world.path().join("state/queue/queue.db-wal");
    {
        let _trap = Trap::lay(&daemon, Some(&log), "pwrite64", "error=EDQUOT");
        world.faults(|_| {});
        world.messages(3);
        daemon.log.wait_for("cannot note what became of a mail");
    }
    hand_in_until_taken(&daemon, "later@example.org");
    world.messages(4);
    assert!(counts(&world).values().all(|count| *count == 1), "{:?}", counts(&world));
}

#[test]
fn b03_a_start_on_a_disk_that_cannot_be_written_says_so_and_ends() {
    let world = World::new();
    let mut daemon = quick(&world).run();
    assert!(daemon.stop().success());
    let state = world.path().join("state");
    let mut start = quick(&world);
    let mount = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" && exec \"$@\"";
    start.wrapper =
        ["unshare", "-Urm", "sh", "-c", mount, state.to_str().unwrap()].map(str::to_owned).to_vec();
    let (mut command, _notify) = start.command();
    let output = command.heard();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("state") && said.to_lowercase().contains("read-only"), "{said}");
    assert!(!said.contains("panicked"), "{said}");
}
