//! What people are told of an account that waits: in the log and in `status`.

use super::trouble::{Cause, Change, Trouble};
use super::{Settings, Shared};
use crate::config::{Account, Transport};
use crate::diagnosis::Class;
use crate::diagnosis::fill;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;
use tracing::{error, info, warn};

/// Why an account sends nothing now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub account: String,
    /// Who can mend it.
    pub class: Class,
    /// What is wrong, in our words.
    pub meaning: String,
    /// What is to be done; empty where it passes by itself.
    pub remedy: String,
    /// The other side's words.
    pub words: String,
    /// When it is tried again.
    pub until: SystemTime,
}

/// How a lane stands: what runs through one mailbox, and why not more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStanding {
    /// The mailbox, as its first account writes it.
    pub mailbox: String,
    /// The upstream's host.
    pub host: String,
    /// The accounts that share it.
    pub accounts: Vec<String>,
    /// Tries under way.
    pub running: usize,
    /// Tries that may be under way now.
    pub slots: usize,
    /// Tries that the configuration allows at once.
    pub configured: usize,
    /// Why there are fewer slots, or none for a while: what the upstream's complaint means.
    pub slowed: Option<String>,
    /// Nothing is begun for so long.
    pub rests: Option<Duration>,
    /// Messages a minute; none where there is no limit.
    pub pace: Option<u32>,
    /// Messages that may go now.
    pub pace_left: usize,
    /// When the next one may, where none may now.
    pub pace_next: Option<Duration>,
    /// The store does not take what became of a mail: nothing more is begun until it does.
    pub is_stuck: bool,
}

/// Logs a change and keeps it for `status`.
pub(super) fn tell<T>(
    shared: &Shared<T>,
    settings: &Settings,
    account: &Account,
    trouble: Option<&Trouble>,
    change: Change,
) {
    let name = account.name.as_str();
    match (change, trouble) {
        (Change::Same, _) => {}
        (Change::Ended, _) | (_, None) => {
            shared.health.well(name);
            info!(account = name, "the account works again");
        }
        (change, Some(trouble)) => {
            let names = |text: &str| {
                fill(text, &[("account", name), ("mailbox", account.mailbox.as_str())])
            };
            let seconds =
                trouble.until.saturating_duration_since(Instant::now().into_std()).as_secs();
            let wall = (settings.clock)();
            let standing = match &trouble.cause {
                Cause::Server { words } => Standing {
                    account: name.to_owned(),
                    class: Class::Transient,
                    meaning: match account.transport {
                        Transport::Graph(_) => format!("{} cannot be used", account.server()),
                        _ => {
                            format!("{}:{} cannot be used", account.server(), account.upstream.port)
                        }
                    },
                    remedy: String::new(),
                    words: words.clone(),
                    until: wall + Duration::from_secs(seconds),
                },
                Cause::Account { class, meaning, remedy, words, .. } => Standing {
                    account: name.to_owned(),
                    class: *class,
                    meaning: names(meaning),
                    remedy: names(remedy),
                    words: words.clone(),
                    until: wall + Duration::from_secs(seconds),
                },
            };
            let Standing { meaning, remedy, words, .. } = &standing;
            let passes = standing.class == Class::Transient;
            if change == Change::Began && !passes {
                error!(
                    account = name,
                    seconds, meaning, remedy, words, "account paused, its mail is kept"
                );
            } else {
                warn!(
                    account = name,
                    seconds, meaning, remedy, words, "account waits, its mail is kept"
                );
            }
            shared.health.ill(standing);
        }
    }
}
