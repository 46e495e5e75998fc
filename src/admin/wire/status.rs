//! How everything stands. Pure.

use super::{Account, Time};
use crate::delivery::LaneStanding;
use serde::{Deserialize, Serialize};
use std::time::SystemTime;

/// How everything stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Whether a person is needed.
    pub verdict: Verdict,
    /// What a person is needed for; empty where everything is good.
    pub needs: Vec<Need>,
    /// The daemon's version.
    pub version: String,
    /// Its process number.
    pub process: u32,
    /// When it started.
    pub started: Time,
    /// Seconds since then, whatever the clock was set to.
    pub uptime: u64,
    /// Where its queue and tokens live.
    pub state_dir: String,
    /// Where mail comes in.
    pub listeners: Vec<String>,
    /// The accounts, in the order of the configuration.
    pub accounts: Vec<Account>,
    /// What runs through each mailbox, and why not more.
    pub lanes: Vec<Lane>,
    /// What waits.
    pub queue: Queue,
}

/// Whether a person is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// No: it works, or mends itself.
    Good,
    /// Yes: see `needs`.
    NeedsPerson,
}

/// One thing that a person is needed for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// What it is about: `account erp`, `queue`, `delivery`.
    pub subject: String,
    /// What is wrong.
    pub meaning: String,
    /// What is to be done.
    pub remedy: String,
}

/// One lane: all accounts that share a mailbox at an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lane {
    /// The mailbox.
    pub mailbox: String,
    /// The upstream's host.
    pub host: String,
    /// The accounts.
    pub accounts: Vec<String>,
    /// Mails being delivered now.
    pub running: u64,
    /// Mails that wait to be delivered.
    pub waiting: u64,
    /// How many may run at once now.
    pub slots: u64,
    /// How many the configuration allows.
    pub slots_configured: u64,
    /// Why there are fewer slots, or none until `resumes`.
    pub slowed: Option<String>,
    /// Nothing is begun before this.
    pub resumes: Option<Time>,
    /// Messages a minute; null where there is no limit.
    pub messages_per_minute: Option<u32>,
    /// Messages that may go at once now; null where there is no limit.
    pub messages_left: Option<u64>,
    /// When the next one may go, where none may now.
    pub next_message: Option<Time>,
    /// Whether the store refuses to note what became of a mail; nothing more is begun until it does.
    pub stuck: bool,
}

/// What waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// Mails in all.
    pub mails: u64,
    /// Octets of their bodies.
    pub octets: u64,
    /// When the oldest was taken.
    pub oldest: Option<Time>,
    /// Mails of which a try ended without a known fate, ever.
    pub uncertain: u64,
    /// Why no new mail is taken (452); null where it is.
    pub full: Option<String>,
    /// By account and state.
    pub counts: Vec<Count>,
}

/// The mails of one account in one state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Count {
    /// The account.
    pub account: String,
    /// The state: `queued`, `attempting`, `held`, `failed` or `damaged`.
    pub state: String,
    /// How many.
    pub mails: u64,
    /// Octets of their bodies.
    pub octets: u64,
    /// When the oldest of them was taken.
    pub oldest: Time,
}

impl From<&crate::queue::Count> for Count {
    fn from(count: &crate::queue::Count) -> Self {
        Self {
            account: count.account.clone(),
            state: count.state.as_str().to_owned(),
            mails: count.mails,
            octets: count.octets,
            oldest: Time(count.oldest),
        }
    }
}

impl Lane {
    /// As delivery tells it at `now`; `waiting` mails are queued for its accounts.
    pub fn new(lane: LaneStanding, waiting: u64, now: SystemTime) -> Self {
        let number = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        Self {
            mailbox: lane.mailbox,
            host: lane.host,
            accounts: lane.accounts,
            running: number(lane.running),
            waiting,
            slots: number(lane.slots),
            slots_configured: number(lane.configured),
            slowed: lane.slowed,
            resumes: lane.rests.map(|rest| Time(now + rest)),
            messages_per_minute: lane.pace,
            messages_left: lane.pace.map(|_| number(lane.pace_left)),
            next_message: lane.pace_next.map(|wait| Time(now + wait)),
            stuck: lane.is_stuck,
        }
    }
}
