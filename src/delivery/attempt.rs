//! One try of one mail: token, delivery, one renewal where the token is refused, settlement.
//!
//! It promises that the token is had before anything is connected, that only unsettled recipients are
//! sent, no more of them than fit into one transaction, and that it does not end before what happened is
//! durably noted: while the store refuses, the lane it belongs to is stopped rather than a mail sent twice.

mod detour;
mod settle;

use super::plan::{self, Answers, Lesson, Plan, Rules};
use super::room::Turn;
use super::verdict::{Pause, Verdict, judge};
use super::words::clean;
use super::{Claim, Settings, Shared, random};
use crate::config::{Account, Audience};
use crate::diagnosis::{Class, fill};
use crate::mail::Envelope;
use crate::oauth::{AccessToken, TokenError, TokenSource};
use crate::queue::body::Reader;
use crate::queue::{Charge, Entry, Next, RecipientState};
use crate::smtp::Reply;
use crate::upstream::{Body, Courier, Credential, Failure, Fault, Outgoing, Stage};
use detour::shown;
use std::borrow::Cow;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use tracing::{debug, info, warn};

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
    /// Until the upstream is no longer asked.
    pub turn: Option<Turn>,
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
    pub turn: Option<Turn>,
    /// The mail has left the queue.
    pub is_done: bool,
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
        if matches!(tried.plan.lesson, Lesson::Well) && !self.probe {
            // Nothing is to be learned: its connection takes the next mail while the disk notes this one.
            drop(self.turn.take());
        }
        self.settle(&tried.plan, refund.as_ref().filter(|_| tried.charged)).await;
        if matches!(tried.plan.next, Next::Failed) {
            self.shared.health.ring();
        }
        drop(self.claim);
        let account = self.member.account.name.clone();
        if !tried.reached
            && matches!(self.errand, Errand::Send(..))
            && let Some(turn) = &mut self.turn
        {
            // The upstream was not asked: a message of the pace was taken for nothing.
            turn.give_back();
        }
        let is_done = matches!(tried.plan.next, Next::Done);
        Ended { account, started, refund, lesson: tried.plan.lesson, turn: self.turn, is_done }
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
        let name = self.member.account.name.as_str();
        let audience = self.shared.courses.audience(&self.member.account);
        let token = match self.shared.tokens.access_token_for(name, audience).await {
            Ok(token) => token,
            Err(error) => {
                if audience == Audience::Graph && error.class != Class::Transient {
                    // As where Graph itself says so: SMTP is asked next, where there are two ways.
                    self.shared.courses.graph_works(&self.member.account, Some(false)).await;
                }
                return Tried::nothing(self.without_token(error), false);
            }
        };
        for other in &self.others {
            other.close_idle().await;
        }
        let charged = AtomicBool::new(false);
        debug!(id = %self.entry.id, account = name, recipients = open.len(),
            attempts = self.entry.attempts, "delivering");
        let went = self.go(open, (audience, token), charge, &charged).await;
        let answers = match went {
            Ok(answers) => answers,
            Err(error) => return Tried::nothing(self.without_token(error), true),
        };
        let turned = self.turned(audience, &answers, open, charge, &charged).await;
        let answers = turned.unwrap_or(answers);
        self.advise(&answers);
        let now = (self.settings.clock)();
        let plan = plan::plan(&self.entry, &answers, &self.rules(), now, jitter());
        let charged = charged.into_inner();
        Tried { plan, reached: true, taken: taken(&answers), charged }
    }

    /// What an administrator can do about a mail that is put off: nobody else would tell him, since the account
    /// goes on and the sender hears only later.
    fn advise(&self, answers: &Answers) {
        let advice =
            answers.heard.iter().find_map(|(_, result)| match result.as_ref().map_err(judge) {
                Err(Verdict::Retry { known: Some(known), .. })
                    if known.class == Class::Administrator =>
                {
                    Some((known, result.as_ref().err()?.to_string()))
                }
                _ => None,
            });
        let Some((known, words)) = advice else { return };
        let Account { name, mailbox, .. } = &*self.member.account;
        let names = [("account", name.as_str()), ("mailbox", mailbox.as_str())];
        let (meaning, remedy) = (fill(known.meaning, &names), fill(known.remedy, &names));
        warn!(id = %self.entry.id, account = name, words = clean(&words), meaning, remedy, "put off");
    }

    /// One way to its end: a token that is refused is renewed once.
    async fn go(
        &self,
        open: &[usize],
        (audience, token): (Audience, AccessToken),
        charge: Option<&Charge>,
        charged: &AtomicBool,
    ) -> Result<Answers, TokenError> {
        let (name, tokens) = (self.member.account.name.as_str(), &self.shared.tokens);
        let answers = self.deliver(open, (audience, token.clone()), charge, charged).await;
        if !refused(&answers) || self.is_off(audience, &answers) {
            if audience == Audience::Graph && shown(&answers) == Some(false) {
                // What is granted meanwhile stands in a new token only.
                tokens.refuse_for(name, audience, &token);
            }
            return Ok(answers);
        }
        tokens.refuse_for(name, audience, &token);
        // A probe already came with a token made after the last refusal: another one proves nothing.
        if self.probe {
            return Ok(answers);
        }
        info!(id = %self.entry.id, account = name, "token refused, renewing it once");
        let token = tokens.access_token_for(name, audience).await?;
        let answers = self.deliver(open, (audience, token.clone()), charge, charged).await;
        if refused(&answers) {
            tokens.refuse_for(name, audience, &token);
        }
        Ok(answers)
    }

    /// One go at the upstream; `open` are places in the envelope. Notes whether the charge was stored.
    async fn deliver(
        &self,
        open: &[usize],
        (audience, token): (Audience, AccessToken),
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
        // A mail that is said again after its mark is counted once.
        let charge = charge.filter(|_| !charged.load(Ordering::Relaxed));
        let commit = pin!(async move {
            let marked = self.shared.queue.attempting_charged(id, charge.cloned()).await;
            charged.fetch_or(marked.is_ok(), Ordering::Relaxed);
            marked.map_err(|error| error.to_string())
        });
        let mut body = Source(reader);
        let mail = Outgoing {
            id,
            envelope: &envelope,
            everybody: &self.entry.envelope.recipients,
            size: self.entry.size,
            body: &mut body,
            commit,
        };
        let credential = Credential {
            mailbox: self.member.account.mailbox.clone(),
            audience,
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

/// A body as the upstream reads it.
pub(super) struct Source(pub Reader);

impl Body for Source {
    fn chunk(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<bytes::Bytes>, String>> + Send + '_>> {
        Box::pin(async { self.0.chunk().await.map_err(|error| error.to_string()) })
    }

    fn again(&mut self, from: u64) -> Result<(), String> {
        self.0.again(from);
        Ok(())
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
