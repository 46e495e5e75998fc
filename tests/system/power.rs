//! B02: the power fails. Unsynced writes are dropped by the kernel, right after a 250 and under load;
//! writes at the end are torn. Every acknowledged mail is there, damage is shown and nothing deleted.
//!
//! All of it needs root, to mount a disk; scripts/test runs it where it is.

use crate::support::client::Client;
use crate::support::daemon::Daemon;
use crate::support::dice::{self, Dice};
use crate::support::disk::Disk;
use crate::support::load::{Ledger, mail};
use crate::support::rounds::{Life, Rounds};
use crate::support::tally::Arrival;
use crate::support::trap::Trap;
use crate::support::world::World;
use std::io::Write;
use std::path::{Path, PathBuf};
use submitd::queue::{Filter, State, open_read_only};

const KINDS: [&str; 2] = ["ext4", "xfs"];
/// Cuts where CUTS does not say otherwise.
const CUTS: usize = 10;
const MAILS_A_CUT: usize = 100;

/// The smallest configuration with its state in a directory of the disk.
fn config(world: &World, state: &str) -> String {
    let config = world.config(&format!("{}[queue]\nschedule = [\"1s\"]\n", World::listener("")));
    config.replace("/state\"", &format!("/disk/{state}\""))
}

fn arrivals(world: &World) -> Vec<Arrival> {
    let messages = world.sandbox.messages();
    let arrival = |message: &submitd::sandbox::Message| Arrival {
        recipients: message.recipients().into_iter().map(str::to_owned).collect(),
        raw: message.raw.to_vec(),
    };
    messages.iter().map(|message| arrival(message)).collect()
}

/// Hands in mail `number`; its queue id.
fn hand_in(daemon: &Daemon, number: usize) -> String {
    let mut client = Client::hello(daemon.address()).unwrap();
    client.say("MAIL FROM:<erp@contoso.com>").unwrap();
    for to in mail::recipients(number) {
        client.say(&format!("RCPT TO:<{to}>")).unwrap();
    }
    client.say("DATA").unwrap();
    client.write(&mail::octets(number)).unwrap();
    client.write(b".\r\n").unwrap();
    let reply = client.reply().unwrap();
    assert!(reply.starts_with("250"), "{reply}");
    reply.rsplit(' ').next().unwrap().to_owned()
}

/// The power fails and comes back, and nobody had the time to say good-bye.
fn cut(disk: &mut Disk, mut daemon: Daemon) {
    disk.cut(daemon.child.id());
    daemon.signal("KILL");
    daemon.wait();
    disk.plug_in();
}

#[test]
#[ignore = "needs root to mount a disk; run by scripts/test where it is"]
fn b02_power_cuts_under_load_right_after_a_250_lose_nothing() {
    let cuts = dice::number("CUTS", CUTS);
    let mut dice = Dice::new(dice::seed());
    for kind in KINDS {
        let world = World::new();
        let mut disk = Disk::new(world.path(), kind);
        let queue = world.path().join("disk/state/queue");
        let rounds = Rounds::new(world.path(), queue, &config(&world, "state"));
        let cut = |ledger: &Ledger, mut life: Life| {
            life.wait_ready(&rounds);
            let before = ledger.acknowledged().len();
            ledger.set_up(true);
            ledger.wait_for(before + 1 + usize::try_from(dice.below(60)).unwrap());
            disk.cut(life.child.id());
            life.kill(ledger);
            disk.plug_in();
        };
        let verdict = rounds.play(cuts, MAILS_A_CUT, cut, || {}, || arrivals(&world)).judge();
        println!("power cuts, {kind:<4}                    {cuts:>8}\n{verdict}");
        verdict.assert_kept();
        let said = rounds.said();
        let is_whole = !said.contains("is damaged") && !said.contains("malformed");
        assert!(is_whole, "{kind}: {said}");
    }
}

#[test]
#[ignore = "needs root to mount a disk; run by scripts/test where it is"]
fn b02_power_cut_after_the_first_250_of_a_new_store_keeps_it_and_every_name_on_the_way() {
    let large = (0..).find(|number| mail::is_large(*number)).unwrap();
    for kind in KINDS {
        let world = World::new();
        let mut disk = Disk::new(world.path(), kind);
        for (round, number) in [1, large, 2, large + 1].into_iter().enumerate() {
            // Three directories deep, none of which is there.
            let config = config(&world, &format!("new{round}/er/state"));
            world.faults(|faults| faults.token.hold = true);
            let daemon = world.start(&config).run();
            let id = hand_in(&daemon, number);
            cut(&mut disk, daemon);
            world.faults(|_| {});
            let mut daemon = world.start(&config).run();
            let arrived = world.messages(round + 1).pop().unwrap();
            assert_eq!(mail::read(&arrived.raw), Some((number, id)), "{kind}");
            assert_eq!(mail::difference(number, &arrived.raw), None, "{kind}");
            assert!(daemon.stop().success());
        }
    }
}

/// The means itself: without syncs the same cut loses what was acknowledged.
#[test]
#[ignore = "needs root to mount a disk; run by scripts/test where it is"]
fn b02_power_cut_loses_mail_where_syncs_are_only_pretended() {
    for kind in KINDS {
        let world = World::new();
        let mut disk = Disk::new(world.path(), kind);
        world.faults(|faults| faults.token.hold = true);
        let mut daemon = world.start(&config(&world, "state")).run();
        let kept = [hand_in(&daemon, 1), hand_in(&daemon, 2)];
        let trap = Trap::lay(&daemon, None, "fsync,fdatasync", "retval=0");
        let ids: Vec<String> = (3..20).map(|number| hand_in(&daemon, number)).collect();
        disk.cut(daemon.child.id());
        daemon.signal("KILL");
        daemon.wait();
        drop(trap);
        disk.plug_in();
        let view = open_read_only(&world.path().join("disk/state/queue")).unwrap();
        let listed = view.list(&Filter::default()).unwrap();
        let is_there = |id: &&String| listed.iter().any(|mail| mail.id.as_str() == id.as_str());
        assert_eq!(kept.iter().filter(is_there).count(), 2, "{kind}: synced for real");
        let lost = ids.len() - ids.iter().filter(is_there).count();
        println!("{kind}: of {} mails with pretended syncs {lost} are lost", ids.len());
        assert!(lost > 0, "{kind}: the cut loses nothing, so it shows nothing");
        drop(view);
    }
}

#[test]
#[ignore = "needs root to mount a disk; run by scripts/test where it is"]
fn b02_power_cut_with_torn_writes_at_the_end_keeps_the_rest_and_shows_the_damage() {
    let large = |nth: usize| (0..).filter(|number| mail::is_large(*number)).nth(nth).unwrap();
    for kind in KINDS {
        let world = World::new();
        let mut disk = Disk::new(world.path(), kind);
        let queue = world.path().join("disk/state/queue");
        world.faults(|faults| faults.token.hold = true);
        let daemon = world.start(&config(&world, "state")).run();
        for number in [1, large(0), 2, 4] {
            hand_in(&daemon, number);
        }
        let torn = hand_in(&daemon, large(1));
        cut(&mut disk, daemon);
        tear(&queue, &torn);
        world.faults(|_| {});
        let mut daemon = world.start(&config(&world, "state")).run();
        let line = daemon.log.wait_for("mail is damaged; it is kept and not sent");
        assert!(line.contains(&torn), "{line}");
        world.messages(4);
        let mut numbers: Vec<_> =
            arrivals(&world).iter().map(|one| mail::read(&one.raw).unwrap().0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 4, large(0)], "{kind}");
        assert!(
            arrivals(&world).iter().all(|one| {
                mail::difference(mail::read(&one.raw).unwrap().0, &one.raw).is_none()
            })
        );
        assert!(daemon.stop().success());
        let view = open_read_only(&queue).unwrap();
        let left = view.list(&Filter::default()).unwrap();
        assert_eq!((left.len(), left[0].id.as_str(), left[0].state), (1, &*torn, State::Damaged));
        let bodies: Vec<PathBuf> =
            queue.join("body").read_dir().unwrap().map(|file| file.unwrap().path()).collect();
        assert_eq!(bodies, [queue.join("body").join(&torn)], "only its own, though it is torn");
        drop(view);
    }
}

/// The writes that were under way at the end, half done: a frame of the log, a body that was never
/// acknowledged under its draft's name and under its own, a body that was acknowledged.
fn tear(queue: &Path, acknowledged: &str) {
    let log = queue.join("queue.db-wal");
    let octets = std::fs::read(&log).unwrap();
    // A frame is a head of 24 octets and a page; the log begins with a head of 32.
    let frame = &octets[octets.len() - 4120..];
    assert_eq!((octets.len() - 32) % 4120, 0, "whole frames so far");
    let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    file.write_all(&frame[..2000]).unwrap();
    let body = queue.join("body");
    let whole = std::fs::read(body.join(acknowledged)).unwrap();
    std::fs::write(body.join("77-3.part"), &whole[..100_000]).unwrap();
    let mut other = acknowledged.to_owned();
    other.replace_range(..1, if acknowledged.starts_with('0') { "1" } else { "0" });
    std::fs::write(body.join(other), &whole[..100_000]).unwrap();
    std::fs::write(body.join(acknowledged), &whole[..100_000]).unwrap();
}
