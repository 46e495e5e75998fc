//! B01: killed again and again at random moments under load, with an upstream that fails too: nothing
//! acknowledged is lost, and only what was said to be uncertain comes twice.
//!
//! `scripts/kill-loop` plays more rounds; SEED repeats a run.

use crate::support::dice::{self, Dice};
use crate::support::load::Ledger;
use crate::support::rounds::{Life, Rounds, any_moment};
use crate::support::servers::Aiosmtpd;
use crate::support::tally::{Arrival, Verdict};
use crate::support::world::World;
use std::time::Duration;
use submitd::sandbox::faults::{AuthRefusal, Fault, Point, ReplyText, Stage, Switch};
use submitd::sandbox::{Faults, Limits, Options};

/// Rounds where KILLS does not say otherwise.
const KILLS: usize = 12;
const MAILS_A_KILL: usize = 100;
/// A life lasts no longer than this, from its first readiness on.
const LIFE: Duration = Duration::from_millis(400);
/// Some are killed before they are ready.
const STILLBORN_EVERY: u64 = 8;

fn play(
    rounds: &Rounds<'_>,
    mut spoil: impl FnMut(&mut Dice),
    mend: impl FnOnce(),
    arrived: impl FnOnce() -> Vec<Arrival>,
) -> Verdict {
    let kills = dice::number("KILLS", KILLS);
    let mut dice = Dice::new(dice::seed());
    let kill = |ledger: &Ledger, mut life: Life| {
        spoil(&mut dice);
        if dice.below(STILLBORN_EVERY) == 0 {
            any_moment(&mut dice, LIFE / 10);
        } else {
            life.wait_ready(rounds);
            ledger.set_up(true);
            any_moment(&mut dice, LIFE);
        }
        life.kill(ledger);
    };
    let verdict = rounds.play(kills, MAILS_A_KILL, kill, mend, arrived).judge();
    println!("kills                               {kills:>8}\n{verdict}");
    verdict
}

/// What goes wrong at the upstream in one life.
fn trouble(dice: &mut Dice, faults: &mut Faults) {
    let says = |text: &str, times| Fault::times(ReplyText::new(text).unwrap(), times);
    let times = 1 + u32::try_from(dice.below(5)).unwrap();
    match dice.below(10) {
        0 => drop(faults.smtp.replies.insert(Stage::Mail, says("451 4.7.500 Server busy", times))),
        1 => drop(faults.smtp.replies.insert(Stage::Rcpt, says("450 4.2.0 not now", times))),
        2 => drop(faults.smtp.replies.insert(Stage::Dot, says("452 4.3.1 no room", times))),
        3 => drop(faults.smtp.drop_at.insert(Point::Body, Switch::Times(times))),
        4 => drop(faults.smtp.drop_at.insert(Point::AfterDotBeforeAccept, Switch::Times(times))),
        5 => drop(faults.smtp.drop_at.insert(Point::AfterDotAfterAccept, Switch::Times(times))),
        6 => faults.smtp.auth = Some(Fault::times(AuthRefusal::Temporary, 1)),
        7 => faults.smtp.delay_ms = 10,
        8 => faults.token.drop = Switch::Times(1),
        _ => {}
    }
}

#[test]
fn b01_random_kills_under_load_lose_nothing_and_double_only_what_was_uncertain() {
    let limits = Limits { kept_messages: u32::MAX, kept_octets: u64::MAX, ..Limits::NONE };
    let world = World::with(Options { limits, ..Options::default() });
    let config = world.config(&format!("{}[queue]\nschedule = [\"1s\"]\n", World::listener("")));
    let rounds = Rounds::new(world.path(), world.path().join("state/queue"), &config);
    let spoil = |dice: &mut Dice| world.faults(|faults| trouble(dice, faults));
    let arrived = || {
        let messages = world.sandbox.messages();
        let arrival = |message: &submitd::sandbox::Message| Arrival {
            recipients: message.recipients().into_iter().map(str::to_owned).collect(),
            raw: message.raw.to_vec(),
        };
        messages.iter().map(|message| arrival(message)).collect()
    };
    play(&rounds, spoil, || world.faults(|_| {}), arrived).assert_kept();
}

#[test]
fn b01_random_kills_before_a_server_that_is_not_ours() {
    let server = Aiosmtpd::start(0);
    let queue = server.path().join("state/queue");
    let rounds = Rounds::new(server.path(), queue, server.config());
    let arrived = || {
        let all = server.mails().into_iter();
        all.map(|mail| Arrival { recipients: mail.recipients, raw: mail.raw }).collect()
    };
    play(&rounds, |_| {}, || {}, arrived).assert_kept();
}
