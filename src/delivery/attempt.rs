//! One try of one mail: token, delivery, one renewal where the token is refused, settlement.
//!
//! It promises that the token is had before anything is connected, that only unsettled recipients are
//! sent, no more of them than fit into one transaction, and that it does not end before what happened is durably noted: while the store refuses, the
//! lane it belongs to is stopped rather than a mail sent twice.

use super::plan::{self, Answers, Lesson, Plan, Rules};
use super::report::{self, Reporter};
use super::room::Turn;
use super::verdict::{Pause, Verdict, judge};
use super::words::clean;
use super::{Claim, Settings, Shared, random};
use crate::config::Account;
use crate::mail::Envelope;
use crate::mail::bounce::Kind;
use crate::oauth::{AccessToken, TokenError, TokenSource};
use crate::queue::body::Reader;
use crate::queue::{Charge, Entry, Next, RecipientState, Settlement, StoreError, Submission};
use crate::smtp::Reply;
use crate::upstream::{Body, Courier, Credential, Failure, Fault, Outgoing, Stage};
use std::borrow::Cow;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, error, info, warn};

/// Longest pause between two tries to settle.
const SETTLE_PAUSE: Duration = Duration::from_secs(30);

/// An account and the way its mail goes.
#[derive(Debug)]
pub(super) struct Member<C> {
    pub account: Arc<Account>,
    pub courier: Arc<C>,
}

/// Tries of a lane that cannot settle; while there are any, the lane sends nothing.
#[derive(Debug, Default)]
pub(super) struct Stuck {
    count: AtomicUsize,
}

impl Stuck {
    pub fn any(&self) -> bool {
        self.count.load(Ordering::SeqCst) > 0
    }
}

/// One try, with all it needs.
pub(super) struct Attempt<T, C> {
    pub shared: Arc<Shared<T>>,
    pub settings: Arc<Settings>,
    pub member: Arc<Member<C>>,
    pub stuck: Arc<Stuck>,
    pub wake: Arc<Notify>,
    pub claim: Claim,
    pub turn: Turn,
    pub entry: Entry,
    /// The account is in trouble and this try looks whether it still is.
    pub probe: bool,
    pub busy_pause: Duration,
    /// Other ways to the same mailbox, which must not keep its connections meanwhile.
    pub others: Vec<Arc<C>>,
    pub errand: Errand,
}

/// What a try is for.
#[derive(Clone, Debug)]
pub(super) enum Errand {
    /// One transaction with these recipients, by their places in the envelope. The charge is what they
    /// use of the mailbox's day, where that is counted.
    Send(Vec<usize>, Option<Charge>),
    /// Its days are over and this is why it cannot even be tried.
    Expire(Option<Pause>, String),
}

/// What a try leaves for its lane.
#[derive(Debug)]
pub(super) struct Ended {
    pub account: String,
    pub started: Instant,
    /// What was counted of the mailbox's day and was not sent.
    pub refund: Option<Charge>,
    pub lesson: Lesson,
    /// Ends when the lane has learned.
    pub turn: Turn,
}

/// What came of the errand.
struct Tried {
    plan: Plan,
    /// Whether the upstream was asked.
    reached: bool,
    /// Recipients the upstream took, or may have taken.
    taken: usize,
    /// Whether the charge is in the store, with the `attempting` mark.
    charged: bool,
}

impl Tried {
    fn nothing(plan: Plan, reached: bool) -> Self {
        Self { plan, reached, taken: 0, charged: false }
    }
}

impl<T: TokenSource, C: Courier + 'static> Attempt<T, C> {
    /// Runs it to its durable end.
    pub async fn run(mut self) -> Ended {
        let started = Instant::now();
        let tried = self.outcome().await;
        let refund = self.refund(tried.taken);
        self.log(&tried.plan);
        self.settle(&tried.plan, refund.as_ref().filter(|_| tried.charged)).await;
        if matches!(tried.plan.next, Next::Failed) {
            self.shared.health.ring();
        }
        drop(self.claim);
        let account = self.member.account.name.clone();
        if !tried.reached && matches!(self.errand, Errand::Send(..)) {
            // The upstream was not asked: a message of the pace was taken for nothing.
            self.turn.give_back();
        }
        Ended { account, started, refund, lesson: tried.plan.lesson, turn: self.turn }
    }

    async fn outcome(&self) -> Tried {
        match &self.errand {
            Errand::Send(open, charge) => self.send(open, charge.as_ref()).await,
            Errand::Expire(pause, words) => {
                let now = (self.settings.clock)();
                let rules = self.rules();
                let plan = plan::plan_expired(&self.entry, pause.clone(), words, &rules, now);
                Tried::nothing(plan, false)
            }
        }
    }

    /// What of the charge was not used.
    fn refund(&self, taken: usize) -> Option<Charge> {
        let Errand::Send(_, Some(charge)) = &self.errand else { return None };
        let taken = u32::try_from(taken).unwrap_or(u32::MAX);
        let recipients = charge.recipients.saturating_sub(taken);
        (recipients > 0).then(|| Charge { recipients, ..charge.clone() })
    }

    async fn send(&self, open: &[usize], charge: Option<&Charge>) -> Tried {
        let account = &self.member.account;
        let token = match self.shared.tokens.access_token(&account.name).await {
            Ok(token) => token,
            Err(error) => return Tried::nothing(self.without_token(error), false),
        };
        for other in &self.others {
            other.close_idle().await;
        }
        let charged = AtomicBool::new(false);
        let deliver = |token| self.deliver(open, token, charge, &charged);
        debug!(id = %self.entry.id, account = %account.name, recipients = open.len(),
            attempts = self.entry.attempts, "delivering");
        let mut answers = deliver(token.clone()).await;
        if refused(&answers) {
            self.shared.tokens.refuse(&account.name, &token);
            // A probe already came with a token made after the last refusal: another one proves nothing.
            if !self.probe {
                info!(id = %self.entry.id, account = %account.name, "token refused, renewing it once");
                match self.shared.tokens.access_token(&account.name).await {
                    Ok(token) => {
                        answers = deliver(token.clone()).await;
                        if refused(&answers) {
                            self.shared.tokens.refuse(&account.name, &token);
                        }
                    }
                    Err(error) => return Tried::nothing(self.without_token(error), true),
                }
            }
        }
        let now = (self.settings.clock)();
        let plan = plan::plan(&self.entry, &answers, &self.rules(), now, jitter());
        let charged = charged.into_inner();
        Tried { plan, reached: true, taken: taken(&answers), charged }
    }

    /// One go at the upstream; `open` are places in the envelope. Notes whether the charge was stored.
    async fn deliver(
        &self,
        open: &[usize],
        token: AccessToken,
        charge: Option<&Charge>,
        charged: &AtomicBool,
    ) -> Answers {
        let reader = match self.shared.queue.body(&self.entry).await {
            Ok(reader) => reader,
            Err(error) => {
                let fault = Fault::Local(error.to_string());
                let failure = Failure { stage: Stage::Body, fault };
                let heard = open.iter().map(|index| (*index, Err(failure.clone()))).collect();
                return Answers { heard, dsn: false };
            }
        };
        let envelope = narrowed(&self.entry.envelope, open);
        let id = self.entry.id;
        let commit = pin!(async move {
            let marked = self.shared.queue.attempting_charged(id, charge.cloned()).await;
            charged.fetch_or(marked.is_ok(), Ordering::Relaxed);
            marked.map_err(|error| error.to_string())
        });
        let mut body = Source(reader);
        let mail =
            Outgoing { id, envelope: &envelope, size: self.entry.size, body: &mut body, commit };
        let credential = Credential {
            mailbox: self.member.account.mailbox.clone(),
            token: token.secret,
            usable_until: token.usable_until,
        };
        let outcome = self.member.courier.deliver(mail, &credential).await;
        // A courier that forgets a recipient leaves its fate unknown.
        let unknown = || Err(Failure { stage: Stage::Dot, fault: Fault::Closed });
        let results = outcome.recipients.into_iter().chain(std::iter::repeat_with(unknown));
        Answers { heard: open.iter().copied().zip(results).collect(), dsn: outcome.dsn }
    }

    fn without_token(&self, error: TokenError) -> Plan {
        let words = format!("no token: {}", error.message);
        let pause = Pause {
            class: error.class,
            quota: false,
            meaning: Cow::Owned(error.message),
            remedy: error.remedy.map_or(Cow::Borrowed(""), Cow::Owned),
            retry_after: error.retry_after,
        };
        let now = (self.settings.clock)();
        plan::plan_without_token(&self.entry, pause, &words, &self.rules(), now)
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            schedule: &self.settings.schedule,
            delay_notice: self.settings.delay_notice,
            uncertain_pause: self.settings.uncertain_pause,
            busy_pause: self.busy_pause,
            on_uncertain: self.member.account.on_uncertain,
            reports_elsewhere: self.reporter().name != self.member.account.name,
            account: &self.member.account.name,
            mailbox: &self.member.account.mailbox,
        }
    }
}

impl<T, C> Attempt<T, C> {
    /// Through which account the sender is told.
    fn reporter(&self) -> &Account {
        self.settings.bounces.as_ref().unwrap_or(&self.member.account)
    }
}

impl<T: TokenSource, C: Courier + 'static> Attempt<T, C> {
    /// Notes the plan, however long the store refuses: nothing else of this lane is sent meanwhile,
    /// since a mail that was taken and not noted would be sent again.
    async fn settle(&self, plan: &Plan, refund: Option<&Charge>) {
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
            upstream: &self.member.account.upstream.host,
            hostname: &self.settings.hostname,
            expire: self.settings.schedule.expire,
            now: (self.settings.clock)(),
        };
        report::submission(&self.shared.queue, &self.entry, notice, reporter).await
    }

    /// One line a recipient whose state changed, and one for the mail.
    fn log(&self, plan: &Plan) {
        let id = self.entry.id;
        let account = self.member.account.name.as_str();
        let attempts = self.entry.attempts + u32::from(plan.counts);
        let all = self.entry.envelope.recipients.iter().zip(&self.entry.recipients);
        for ((recipient, before), after) in all.zip(&plan.recipients) {
            let recipient = clean(recipient.address.as_str());
            match after {
                _ if before.is_settled() => {}
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

/// A queued body as the upstream reads it.
struct Source(Reader);

impl Body for Source {
    fn chunk(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<bytes::Bytes>, String>> + Send + '_>> {
        Box::pin(async { self.0.chunk().await.map_err(|error| error.to_string()) })
    }
}

/// Who is to be sent to in one transaction of at most `most`: those who had no turn in this round, or
/// where there are none, those who were put off.
pub(super) fn open_recipients(entry: &Entry, most: usize) -> Vec<usize> {
    let all = || entry.recipients.iter().enumerate();
    let waiting = all().filter(|(_, state)| **state == RecipientState::Waiting);
    let mut open: Vec<usize> = waiting.map(|(index, _)| index).take(most).collect();
    if open.is_empty() {
        let deferred = all().filter(|(_, state)| !state.is_settled());
        open = deferred.map(|(index, _)| index).take(most).collect();
    }
    open
}

/// Recipients the upstream took, or may have taken.
fn taken(answers: &Answers) -> usize {
    let may_be = |result: &Result<Reply, Failure>| match result {
        Ok(_) => true,
        Err(failure) => matches!(judge(failure), Verdict::Uncertain),
    };
    answers.heard.iter().filter(|(_, result)| may_be(result)).count()
}

/// The envelope with the open recipients only: a delivered one is never sent again.
fn narrowed<'a>(envelope: &'a Envelope, open: &[usize]) -> Cow<'a, Envelope> {
    if open.len() == envelope.recipients.len() {
        return Cow::Borrowed(envelope);
    }
    let recipients = open.iter().filter_map(|index| envelope.recipients.get(*index)).cloned();
    Cow::Owned(Envelope { recipients: recipients.collect(), ..envelope.clone() })
}

fn refused(answers: &Answers) -> bool {
    answers.heard.iter().any(|(_, result)| match result {
        Ok(_) => false,
        Err(failure) => matches!(judge(failure), Verdict::RenewToken { .. }),
    })
}

fn jitter() -> f64 {
    (random() >> 11) as f64 / (1_u64 << 53) as f64
}
