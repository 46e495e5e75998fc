//! The end of a try: its lines in the log, and the settlement with the report to the sender.
//!
//! It promises that a try does not end before what happened is durably noted, however long the store refuses.

use super::{Attempt, Stuck};
use crate::config::Account;
use crate::delivery::plan::Plan;
use crate::delivery::report::{self, Reporter};
use crate::delivery::words::clean;
use crate::mail::bounce::Kind;
use crate::queue::{Charge, Next, RecipientState, Settlement, StoreError, Submission};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;
use tracing::{debug, error, info, warn};

/// Longest pause between two tries to settle.
const SETTLE_PAUSE: Duration = Duration::from_secs(30);

impl<T, C> Attempt<T, C> {
    /// Notes the plan, however long the store refuses: nothing else of this lane is sent meanwhile,
    /// since a mail that was taken and not noted would be sent again.
    pub(super) async fn settle(&self, plan: &Plan, refund: Option<&Charge>) {
        let mut pause = Duration::from_secs(1);
        let mut held = None;
        while let Err(error) = self.settle_once(plan, refund).await {
            error!(id = %self.entry.id, account = %self.member.account.name, %error,
                "cannot note what became of a mail; nothing more is sent through this mailbox until that \
                 works: look at the disk of state_dir");
            held.get_or_insert_with(|| StuckGuard::new(self));
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(SETTLE_PAUSE);
        }
        if held.is_some() {
            info!(id = %self.entry.id, account = %self.member.account.name, "the store notes again");
        }
    }

    async fn settle_once(&self, plan: &Plan, refund: Option<&Charge>) -> Result<(), StoreError> {
        let report = self.report(plan).await?;
        let delay_told = report.is_some()
            && plan.notice.as_ref().is_some_and(|notice| notice.tells(Kind::Delayed));
        let settlement = Settlement {
            recipients: plan.recipients.clone(),
            next: plan.next.clone(),
            uncertain: plan.uncertain,
            counts: plan.counts,
            delay_told,
            error: plan.error.clone(),
            report,
            refund: refund.cloned(),
        };
        self.shared.queue.settle(self.entry.id, settlement).await
    }

    async fn report(&self, plan: &Plan) -> Result<Option<Submission>, StoreError> {
        let Some(notice) = &plan.notice else { return Ok(None) };
        let reporter = Reporter {
            account: self.reporter(),
            upstream: self.member.account.server(),
            hostname: &self.settings.hostname,
            expire: self.settings.schedule.expire,
            now: (self.settings.clock)(),
        };
        report::submission(&self.shared.queue, &self.entry, notice, reporter).await
    }

    /// One line a recipient whose state changed, and one for the mail.
    pub(super) fn log(&self, plan: &Plan) {
        let id = self.entry.id;
        let account = self.member.account.name.as_str();
        let attempts = self.entry.attempts + u32::from(plan.counts);
        let all = self.entry.envelope.recipients.iter().zip(&self.entry.recipients);
        for ((recipient, before), after) in all.zip(&plan.recipients) {
            let is_quiet = match after {
                RecipientState::Waiting => true,
                RecipientState::Failed { .. } => false,
                _ => !tracing::enabled!(tracing::Level::INFO),
            };
            if is_quiet || before.is_settled() {
                continue;
            }
            let recipient = clean(recipient.address.as_str());
            match after {
                RecipientState::Delivered { reply } => {
                    info!(%id, account, recipient, attempts, reply, "delivered");
                }
                RecipientState::Failed { reason } => {
                    warn!(%id, account, recipient, attempts, reason, "not delivered, given up");
                }
                RecipientState::Deferred { reason } => {
                    info!(%id, account, recipient, attempts, reason, "deferred");
                }
                RecipientState::Waiting => {}
            }
        }
        let error = plan.error.as_deref().unwrap_or_default();
        match &plan.next {
            Next::Done => {}
            Next::Failed => error!(%id, account, attempts, error,
                "mail given up; it is kept and listed as failed"),
            Next::Hold => warn!(%id, account, attempts, error,
                "the fate of the mail is unknown; it is held until somebody releases or removes it"),
            Next::Retry(at) => {
                let after =
                    at.duration_since((self.settings.clock)()).unwrap_or_default().as_secs();
                if plan.uncertain {
                    warn!(%id, account, attempts, error, seconds = after,
                        "possibly delivered: no answer came; it is sent again with the same Message-ID");
                } else {
                    debug!(%id, account, attempts, error, seconds = after, "stays queued");
                }
            }
        }
        if let Some(notice) = &plan.notice {
            for kind in [Kind::Failed, Kind::Delayed, Kind::Relayed] {
                if notice.tells(kind) {
                    info!(%id, account, ?kind, "the sender is told");
                }
            }
        }
    }

    /// Through which account the sender is told.
    pub(super) fn reporter(&self) -> &Account {
        self.settings.bounces.as_ref().unwrap_or(&self.member.account)
    }
}

/// Counts as long as it lives.
struct StuckGuard {
    stuck: Arc<Stuck>,
    wake: Arc<Notify>,
}

impl StuckGuard {
    fn new<T, C>(attempt: &Attempt<T, C>) -> Self {
        attempt.stuck.count.fetch_add(1, Ordering::SeqCst);
        Self { stuck: attempt.stuck.clone(), wake: attempt.wake.clone() }
    }
}

impl Drop for StuckGuard {
    fn drop(&mut self) {
        self.stuck.count.fetch_sub(1, Ordering::SeqCst);
        self.wake.notify_one();
    }
}
