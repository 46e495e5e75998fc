//! The day of a lane: what it may still send of its recipients a day, read from the store at its start.
//!
//! It promises that a lane at its limit says so once, with the time at which it goes on, and that what people
//! are told ends with the wait. How the window slides is `allowance.rs`.

use super::allowance::Allowance;
use super::standing::Standing;
use super::{Settings, Shared};
use crate::config::{Account, Limit};
use crate::diagnosis::Class;
use crate::queue::{Charge, StoreError};
use std::time::SystemTime;
use tracing::{info, warn};

/// The day of one lane.
pub(super) struct Day {
    /// What the store calls the lane.
    lane: String,
    limit: Limit,
    /// None until the store was asked.
    allowance: Option<Allowance>,
    /// Recipients of the mail that waits, where one does.
    waits: Option<u32>,
}

impl Day {
    /// Not read yet.
    pub fn new(lane: String) -> Self {
        Self { lane, limit: Limit::Unlimited, allowance: None, waits: None }
    }

    /// Another limit; what waits is told anew.
    pub fn set(&mut self, limit: Limit) {
        self.limit = limit;
        self.waits = None;
        if let Some(allowance) = &mut self.allowance {
            allowance.set(limit);
        }
    }

    /// Reads what was used before, once.
    pub async fn load<T>(&mut self, shared: &Shared<T>, now: SystemTime) -> Result<(), StoreError> {
        if self.allowance.is_none() {
            let charges = shared.queue.spent(&self.lane).await?;
            self.allowance = Some(Allowance::new(self.limit, &charges, now));
        }
        Ok(())
    }

    /// No transaction has more recipients than a day.
    pub fn most(&self) -> usize {
        most(self.limit)
    }

    /// When so many recipients may be sent; none where they may now. The mail then waits.
    pub fn when(&mut self, recipients: usize, now: SystemTime) -> Option<SystemTime> {
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        self.allowance.as_mut()?.when(recipients, now)
    }

    /// Counts a transaction that begins; none where nothing is counted.
    pub fn take(&mut self, recipients: usize, now: SystemTime) -> Option<Charge> {
        let allowance = self.allowance.as_mut().filter(|day| day.limit().is_some())?;
        let recipients = u32::try_from(recipients).unwrap_or(u32::MAX);
        allowance.take(recipients, now);
        Some(Charge { lane: self.lane.clone(), recipients, at: now })
    }

    /// Takes back what was not sent.
    pub fn give_back(&mut self, refund: &Charge) {
        if let Some(allowance) = &mut self.allowance {
            allowance.give_back(refund.recipients, refund.at);
        }
    }

    /// A mail to so many recipients waits `until` then: tells it once, for each of these accounts.
    pub fn wait<'a, T>(
        &mut self,
        recipients: usize,
        (now, until): (SystemTime, SystemTime),
        shared: &Shared<T>,
        accounts: impl Iterator<Item = &'a Account>,
    ) {
        let Limit::AtMost(limit) = self.limit else { return };
        if self.waits.replace(u32::try_from(recipients).unwrap_or(u32::MAX)).is_some() {
            return;
        }
        for account in accounts {
            let name = account.name.as_str();
            let meaning = format!(
                "{limit} recipients in 24 hours, the limit of {}, are used up",
                account.mailbox
            );
            let remedy =
                "it goes on by itself; where the provider grants more, raise recipients_per_day";
            let seconds = until.duration_since(now).unwrap_or_default().as_secs();
            warn!(account = name, seconds, meaning, remedy, "account waits, its mail is kept");
            shared.health.ill(Standing {
                account: name.to_owned(),
                class: Class::Transient,
                meaning,
                remedy: remedy.to_owned(),
                words: String::new(),
                until,
            });
        }
    }

    /// Whether a wait that was told has ended; then these accounts go on.
    pub fn look<'a, T>(
        &mut self,
        shared: &Shared<T>,
        settings: &Settings,
        accounts: impl Iterator<Item = &'a Account>,
    ) {
        let Some(recipients) = self.waits else { return };
        let now = (settings.clock)();
        if self.allowance.as_mut().is_some_and(|day| day.when(recipients, now).is_some()) {
            return;
        }
        self.waits = None;
        for account in accounts {
            shared.health.well(&account.name);
            info!(account = account.name, "recipients of the day are free again, mail goes on");
        }
    }
}

/// A limit as a count.
pub(super) fn most(limit: Limit) -> usize {
    match limit {
        Limit::AtMost(most) => usize::try_from(most).unwrap_or(usize::MAX),
        Limit::Unlimited => usize::MAX,
    }
}
