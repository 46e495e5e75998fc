//! The way through one account: its room, its token, its server, by SMTP or by Graph.
//!
//! It promises that a token which is refused is renewed once, that a connection which died in the pool is
//! replaced once, and that with transport = "auto" SMTP is asked first and Graph only behind the answers that
//! say that SMTP AUTH is switched off.

use super::gathered::{Opened as Open, Whole};
use super::streamed::Streamed;
use super::{Begun, Opened, Way, judged, told};
use crate::config::{Audience, Transport};
use crate::delivery::Shared;
use crate::delivery::attempt::{Member, Source};
use crate::delivery::course::works;
use crate::delivery::plan::Lesson;
use crate::delivery::room::{Room, Turn};
use crate::delivery::verdict::{Pause, Verdict, is_smtp_off, judge};
use crate::diagnosis::Class;
use crate::mail::Id;
use crate::oauth::{AccessToken, TokenError, TokenSource};
use crate::queue::body::Aside;
use crate::smtp::Reply;
use crate::upstream::smtp::{Answers, Flight, Transit};
use crate::upstream::{Courier, Credential, Failure, Fault, Outgoing, Stage};
use std::borrow::Cow;
use std::future::{Future, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tracing::{debug, info, warn};

/// An account, its room and what is needed to get to its upstream.
pub(in crate::delivery) struct Gate<T, C> {
    pub shared: Arc<Shared<T>>,
    pub member: Member<C>,
    pub room: Arc<Room>,
    /// Other ways to the same mailbox, which must not keep its connections meanwhile.
    pub others: Vec<Arc<C>>,
}

/// Why a mail came to nothing.
#[derive(Debug, thiserror::Error)]
enum Unsent {
    #[error("no token: {0}")]
    Token(#[from] TokenError),
    #[error(transparent)]
    Upstream(#[from] Failure),
}

impl Unsent {
    fn reply(&self) -> Reply {
        match self {
            Self::Token(error) => judged::without_token(error),
            Self::Upstream(failure) => judged::reply(failure),
        }
    }

    fn lesson(&self) -> Lesson {
        match self {
            Self::Token(error) => Lesson::Account(pause(error), format!("no token: {error}")),
            Self::Upstream(failure) => judged::lesson(failure),
        }
    }

    /// Whether the account is broken on its way; none where that is not said.
    fn works(&self) -> Option<bool> {
        match self {
            Self::Token(error) => (error.class != Class::Transient).then_some(false),
            Self::Upstream(failure) => works(&Err(failure.clone())),
        }
    }
}

/// Why the account waits that gets no token.
fn pause(error: &TokenError) -> Pause {
    Pause {
        class: error.class,
        quota: false,
        meaning: Cow::Owned(error.message.clone()),
        remedy: error.remedy.clone().map_or(Cow::Borrowed(""), Cow::Owned),
        retry_after: error.retry_after,
    }
}

impl<T: TokenSource, C: Courier + 'static> Way for Gate<T, C> {
    fn begin<'a>(
        &'a self,
        id: Id,
        patience: Duration,
        first: &'a Flight<'a>,
    ) -> Pin<Box<dyn Future<Output = Begun> + Send + 'a>> {
        Box::pin(async move {
            let account = &self.member.account;
            match self.shared.courses.audience(account) {
                Audience::Smtp => self.ask(id, patience, first).await,
                Audience::Graph => self.gather(id, patience, None),
            }
        })
    }

    fn enter(
        &self,
        id: Id,
        patience: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Turn, Reply>> + Send + '_>> {
        Box::pin(self.turn(id, patience))
    }

    fn send<'a>(
        &'a self,
        mail: &'a Whole,
        body: &'a Aside,
        turn: Turn,
    ) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>> {
        Box::pin(self.send_whole(mail, body, turn))
    }

    fn may_be_graph(&self) -> bool {
        self.shared.courses.may_be_graph(&self.member.account)
    }
}

/// By SMTP.
impl<T: TokenSource, C: Courier + 'static> Gate<T, C> {
    /// Waits for a turn, gets token and connection, says the first flight.
    async fn ask(&self, id: Id, patience: Duration, first: &Flight<'_>) -> Begun {
        let account = self.member.account.name.as_str();
        let mut turn = self.turn(id, patience).await?;
        debug!(%id, account, "passing through");
        match self.open(id, &mut turn, first).await {
            Ok((transit, answers)) => {
                if answers.iter().any(Result::is_ok) {
                    self.shared.courses.smtp_works(account).await;
                }
                let mut mail = Streamed::new(id, self.member.account.clone(), transit, turn);
                let replies = mail.note(first, answers);
                Ok(Opened::Streamed(Box::new(mail), replies))
            }
            Err(Unsent::Upstream(failure)) if self.is_off(&failure) => {
                self.shared.courses.smtp_is_off(&self.member.account);
                drop(turn);
                self.gather(id, patience, Some(failure))
            }
            Err(unsent) => {
                let reply = unsent.reply();
                warn!(%id, account, %reply, error = %unsent, "not sent");
                turn.teach(unsent.lesson(), 0);
                Err(reply)
            }
        }
    }

    /// Whether it says that SMTP AUTH is switched off, and there is another way.
    fn is_off(&self, failure: &Failure) -> bool {
        matches!(self.member.account.transport, Transport::Auto(_)) && is_smtp_off(failure)
    }

    /// A connection that answered the first flight.
    async fn open(
        &self,
        id: Id,
        turn: &mut Turn,
        first: &Flight<'_>,
    ) -> Result<(Transit, Answers), Unsent> {
        let account = self.member.account.name.as_str();
        let tokens = &self.shared.tokens;
        let audience = Audience::Smtp;
        let mut token = self.token(audience, turn).await?;
        let (mut is_fresh, mut is_renewed) = (false, turn.is_probe);
        loop {
            match self.member.courier.transit(&self.credential(audience, &token), is_fresh).await {
                Ok(mut transit) => match transit.ask(first).await {
                    Ok(answers) => return Ok((transit, answers)),
                    Err(stale) => debug!(%id, account, %stale, "connection replaced"),
                },
                Err(failure)
                    if matches!(judge(&failure), Verdict::RenewToken { .. })
                        && !self.is_off(&failure) =>
                {
                    tokens.refuse_for(account, audience, &token);
                    // A probe already came with a token made after the last refusal.
                    if std::mem::replace(&mut is_renewed, true) {
                        return Err(failure.into());
                    }
                    info!(%id, account, "token refused, renewing it once");
                    token = tokens.access_token_for(account, audience).await?;
                }
                Err(failure) => return Err(failure.into()),
            }
            is_fresh = true;
        }
    }
}

/// By Graph.
impl<T: TokenSource, C: Courier + 'static> Gate<T, C> {
    /// Lets the mail come; it takes its turn when it is whole. `smtp` is what SMTP said first.
    fn gather(&self, id: Id, patience: Duration, smtp: Option<Failure>) -> Begun {
        let account = self.member.account.clone();
        self.room.look(&account.name, patience).map_err(|why| self.turned(id, &why))?;
        debug!(%id, account = %account.name, "gathered, to pass through by Graph");
        let body = self.shared.queue.spool();
        Ok(Opened::Gathered(Open { account, body, smtp }))
    }

    async fn send_whole(&self, mail: &Whole, body: &Aside, mut turn: Turn) -> Reply {
        let (id, account) = (mail.id, &self.member.account);
        let name = account.name.as_str();
        let recipients = &mail.envelope.recipients;
        let posted = self.post(mail, body, &mut turn).await;
        let shown = posted.as_ref().map_or_else(Unsent::works, |_| Some(true));
        self.shared.courses.graph_works(account, shown).await;
        match posted {
            Ok(reply) => {
                told::delivered(id, name, recipients.iter().map(|to| &to.address), &reply);
                turn.teach(Lesson::Well, recipients.len());
                judged::taken(reply)
            }
            Err(unsent) => {
                // Where the detour does not work either, what SMTP said counts.
                let first = mail.smtp.clone().filter(|_| shown == Some(false));
                if first.is_some() {
                    warn!(%id, account = name, error = %unsent,
                        "SMTP AUTH is switched off, and Graph does not work either");
                }
                self.unsent(id, first.map_or(unsent, Unsent::Upstream), &turn, recipients.len())
            }
        }
    }

    /// Tells everybody that it was not sent, or perhaps was; what the client hears.
    fn unsent(&self, id: Id, unsent: Unsent, turn: &Turn, recipients: usize) -> Reply {
        let account = self.member.account.name.as_str();
        let (reply, sent) = match &unsent {
            Unsent::Token(error) => {
                let reply = unsent.reply();
                warn!(%id, account, %reply, error = %error, "not sent");
                (reply, 0)
            }
            Unsent::Upstream(failure) => {
                let is_open = matches!(judge(failure), Verdict::Uncertain);
                let sent = if is_open { recipients } else { 0 };
                (told::refused(id, account, failure, None), sent)
            }
        };
        turn.teach(unsent.lesson(), sent);
        reply
    }

    /// The mail in one go; a token that is refused is renewed once.
    async fn post(&self, mail: &Whole, body: &Aside, turn: &mut Turn) -> Result<Reply, Unsent> {
        let (account, tokens) = (self.member.account.name.as_str(), &self.shared.tokens);
        let audience = Audience::Graph;
        let mut token = self.token(audience, turn).await?;
        // Behind SMTP's refusal it is another token.
        let mut is_renewed = turn.is_probe && mail.smtp.is_none();
        loop {
            let failure = match self.deliver(mail, body, &token).await {
                Ok(reply) => return Ok(reply),
                Err(failure) => failure,
            };
            if works(&Err(failure.clone())) == Some(false) {
                // What is granted meanwhile stands in a new token only.
                tokens.refuse_for(account, audience, &token);
            }
            let is_refused = matches!(judge(&failure), Verdict::RenewToken { .. });
            if !is_refused || std::mem::replace(&mut is_renewed, true) {
                return Err(failure.into());
            }
            info!(id = %mail.id, account, "token refused, renewing it once");
            token = tokens.access_token_for(account, audience).await?;
        }
    }

    async fn deliver(
        &self,
        mail: &Whole,
        body: &Aside,
        token: &AccessToken,
    ) -> Result<Reply, Failure> {
        let local = |text: String| Failure { stage: Stage::Body, fault: Fault::Local(text) };
        let reader = body.reader().await.map_err(|error| local(error.to_string()))?;
        let outgoing = Outgoing {
            id: mail.id,
            envelope: &mail.envelope,
            everybody: &mail.envelope.recipients,
            size: body.size(),
            body: &mut Source(reader),
            // Nothing is kept, so there is nothing to mark.
            commit: pin!(ready(Ok(()))),
        };
        let credential = self.credential(Audience::Graph, token);
        let outcome = self.member.courier.deliver(outgoing, &credential).await;
        // All recipients stand in one header and share its fate.
        let unknown = Failure { stage: Stage::Posted, fault: Fault::Closed };
        outcome.recipients.into_iter().next().unwrap_or(Err(unknown))
    }
}

impl<T: TokenSource, C: Courier + 'static> Gate<T, C> {
    async fn turn(&self, id: Id, patience: Duration) -> Result<Turn, Reply> {
        let entered = self.room.enter(&self.member.account.name, patience).await;
        entered.map_err(|why| self.turned(id, &why))
    }

    fn turned(&self, id: Id, why: &crate::delivery::places::Turned) -> Reply {
        let reply = judged::turned(why);
        warn!(%id, account = %self.member.account.name, %reply, "not sent: no turn");
        reply
    }

    /// The token that comes before any connection. Without one the turn counts as unused.
    async fn token(&self, audience: Audience, turn: &mut Turn) -> Result<AccessToken, TokenError> {
        let account = self.member.account.name.as_str();
        let token = self.shared.tokens.access_token_for(account, audience).await;
        if token.is_err() {
            turn.give_back();
        } else {
            for other in &self.others {
                other.close_idle().await;
            }
        }
        token
    }

    fn credential(&self, audience: Audience, token: &AccessToken) -> Credential {
        Credential {
            mailbox: self.member.account.mailbox.clone(),
            audience,
            token: token.secret.clone(),
            usable_until: token.usable_until,
        }
    }
}
