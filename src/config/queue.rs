//! `[queue]`: the store and its schedule. Pure.

use super::account::YEAR;
use super::section::Section;
use super::value::Size;
use std::time::Duration;

/// `[queue]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Queue {
    /// Octets of bodies at most; above, 452 4.3.1.
    pub max_size: u64,
    /// Octets that stay free on the disk for settlements; below, 452 4.3.1.
    pub reserve: u64,
    /// A mail older than this is given up.
    pub expire: Duration,
    /// The sender is told of a delay once after this.
    pub delay_notice: Duration,
    /// Pauses between tries; the last one repeats.
    pub schedule: Vec<Duration>,
    /// How long delivered mail is listed.
    pub history: Duration,
    /// A mail of unknown fate is not sent again before this.
    pub uncertain_pause: Duration,
    /// Through which account reports go; none = through that of the mail they speak of.
    pub bounce_account: Option<String>,
}

pub(super) fn queue(section: Section<'_>, largest: u64, accounts: &[String]) -> Queue {
    let (second, hour, day) =
        (Duration::from_secs(1), Duration::from_secs(3_600), Duration::from_secs(86_400));
    let size = section.within("max_size", Size(2 << 30), Size(1 << 20)..=Size(1 << 50));
    if size.0 < largest {
        let remedy = "make it larger, or max_message_size of the listener smaller";
        section.wrong("max_size", "is smaller than max_message_size of a listener", remedy);
    }
    let reserve = section.within("reserve", Size(64 << 20), Size(1 << 20)..=Size(1 << 50));
    let expire = section.within("expire", day * 5, second..=YEAR);
    let delay_notice = section.within("delay_notice", hour * 4, second..=YEAR);
    let minutes = [1, 5, 15, 30, 60].map(|minutes| second * 60 * minutes);
    let schedule = section.or("schedule", minutes.to_vec());
    if schedule.is_empty() || schedule.iter().any(|pause| *pause < second || *pause > YEAR) {
        let remedy =
            "write pauses from 1 s, such as [\"1m\", \"5m\", \"1h\"]; the last one repeats";
        section.wrong("schedule", "holds no pause, or one that is out of range", remedy);
    }
    let history = section.within("history", day * 7, Duration::ZERO..=YEAR);
    let uncertain_pause = section.within("uncertain_pause", second * 300, second..=YEAR);
    let bounce_account = section.optional::<String>("bounce_account");
    if let Some(name) = &bounce_account
        && !accounts.contains(name)
    {
        let remedy = "write the name of one of the accounts, or leave it out";
        section.wrong("bounce_account", format!("there is no account {name:?}"), remedy);
    }
    section.finish(&[]);
    Queue {
        max_size: size.0,
        reserve: reserve.0,
        expire,
        delay_notice,
        schedule,
        history,
        uncertain_pause,
        bounce_account,
    }
}
