//! What the queue is opened with, and what opening had to mend. Pure.

use std::path::PathBuf;
use std::time::Duration;

/// Where the store lies and how far it may grow.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory; made with 0700 where it is missing.
    pub dir: PathBuf,
    /// Octets of bodies at most.
    pub max_size: u64,
    /// Octets that stay free on the disk for settlements.
    pub reserve: u64,
    /// How long settled mail is listed.
    pub history: Duration,
    /// Accounts whose mail waits for a person where a crash left its fate unknown.
    pub hold: Vec<String>,
}

/// What opening the store had to mend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Mails that were under way: they may have been delivered. They are tried again, or held where
    /// their account is among [`Settings::hold`].
    pub uncertain: Vec<String>,
    /// Bodies that were never acknowledged and were removed.
    pub orphans: usize,
    /// Mails whose body file is missing or cut.
    pub damaged: Vec<String>,
}
