//! What Exchange counts per mailbox: connections that send, the rate, recipients a day.

use super::options::{Excess, Limits};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

const DAY: Duration = Duration::from_secs(86_400);

/// The counters of all mailboxes, by address in lower case.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    mailboxes: Mutex<HashMap<String, Account>>,
}

#[derive(Debug, Default)]
struct Account {
    sending: u32,
    /// When the bucket of the rate will be full again.
    full_at: Option<Instant>,
    day: Option<Instant>,
    recipients: u32,
}

/// A place among the connections that send; given back on drop.
#[derive(Debug)]
pub(super) struct Slot {
    ledger: Arc<Ledger>,
    mailbox: String,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.ledger
            .with(&self.mailbox, |account| account.sending = account.sending.saturating_sub(1));
    }
}

impl Ledger {
    fn with<T>(&self, mailbox: &str, act: impl FnOnce(&mut Account) -> T) -> T {
        let mut mailboxes = self.mailboxes.lock().unwrap_or_else(PoisonError::into_inner);
        act(mailboxes.entry(mailbox.to_ascii_lowercase()).or_default())
    }

    /// A place for one more connection; none where the mailbox has as many as it may.
    pub(super) fn slot(self: &Arc<Self>, mailbox: &str, limits: &Limits) -> Option<Slot> {
        let taken = self.with(mailbox, |account| {
            let free = limits.connections == 0 || account.sending < limits.connections;
            account.sending += u32::from(free);
            free
        });
        taken.then(|| Slot { ledger: Arc::clone(self), mailbox: mailbox.to_owned() })
    }

    /// Whether MAIL may be refused for the rate now: the bucket is empty and excess is refused.
    pub(super) fn refuses(&self, mailbox: &str, limits: &Limits, now: Instant) -> bool {
        limits.excess == Excess::Refuse
            && self.with(mailbox, |account| wait(account, limits, now)) > Duration::ZERO
    }

    /// Counts one mail and says how long its acceptance has to wait for the rate.
    pub(super) fn pace(&self, mailbox: &str, limits: &Limits, now: Instant) -> Duration {
        let Some(gap) = gap(limits) else { return Duration::ZERO };
        self.with(mailbox, |account| {
            let wait = wait(account, limits, now);
            account.full_at = Some(account.full_at.map_or(now, |full| full.max(now)) + gap);
            wait
        })
    }

    /// Counts recipients; false where the day's number would be passed.
    pub(super) fn count_recipients(
        &self,
        mailbox: &str,
        more: usize,
        limits: &Limits,
        now: Instant,
    ) -> bool {
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        self.with(mailbox, |account| {
            if account.day.is_none_or(|begun| now.duration_since(begun) >= DAY) {
                account.day = Some(now);
                account.recipients = 0;
            }
            let sum = account.recipients.saturating_add(more);
            let fits = limits.recipients_per_day == 0 || sum <= limits.recipients_per_day;
            if fits {
                account.recipients = sum;
            }
            fits
        })
    }
}

/// The time after which the bucket has one more mail.
fn gap(limits: &Limits) -> Option<Duration> {
    (limits.messages_per_minute > 0).then(|| Duration::from_secs(60) / limits.messages_per_minute)
}

/// How long until the bucket has a mail to spend.
fn wait(account: &Account, limits: &Limits, now: Instant) -> Duration {
    let (Some(gap), Some(full_at)) = (gap(limits), account.full_at) else { return Duration::ZERO };
    let burst = gap * (limits.messages_per_minute - 1);
    full_at.saturating_duration_since(now).saturating_sub(burst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_connections_a_mailbox() {
        let (ledger, limits) = (Arc::new(Ledger::default()), Limits::EXCHANGE);
        let mut held: Vec<_> = (0..3).map(|_| ledger.slot("a@x", &limits).expect("free")).collect();
        assert!(ledger.slot("A@x", &limits).is_none(), "case does not part mailboxes");
        assert!(ledger.slot("b@x", &limits).is_some());
        held.pop();
        assert!(ledger.slot("a@x", &limits).is_some());
        assert!(ledger.slot("a@x", &Limits::NONE).is_some());
    }

    #[test]
    fn thirty_at_once_then_one_every_two_seconds() {
        let (ledger, limits) = (Ledger::default(), Limits::EXCHANGE);
        let now = Instant::now();
        assert!((0..30).all(|_| ledger.pace("a@x", &limits, now) == Duration::ZERO));
        let refusing = Limits { excess: Excess::Refuse, ..limits };
        assert!(ledger.refuses("a@x", &refusing, now));
        assert!(!ledger.refuses("a@x", &limits, now));
        assert_eq!(ledger.pace("a@x", &limits, now), Duration::from_secs(2));
        assert_eq!(ledger.pace("a@x", &limits, now), Duration::from_secs(4));
        assert_eq!(ledger.pace("a@x", &limits, now + Duration::from_secs(60)), Duration::ZERO);
        assert_eq!(ledger.pace("a@x", &Limits::NONE, now), Duration::ZERO);
    }

    #[test]
    fn recipients_are_counted_by_the_day() {
        let (ledger, now) = (Ledger::default(), Instant::now());
        let limits = Limits { recipients_per_day: 10, ..Limits::EXCHANGE };
        assert!(ledger.count_recipients("a@x", 10, &limits, now));
        assert!(!ledger.count_recipients("a@x", 1, &limits, now));
        assert!(ledger.count_recipients("a@x", 1, &limits, now + DAY));
    }
}
