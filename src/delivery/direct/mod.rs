//! Mail that passes through while its sender waits: `mode = "direct"`.
//!
//! ```text
//!  session ─▶ Passages ─▶ turn (room) ─▶ token (oauth) ─▶ connection (upstream) ─▶ Passage
//!     ▲                                                                             │
//!     └───────────────── replies, judged (verdict, judged) ◀────────────────────────┘
//! ```
//!
//! It promises the same slots, pace, pauses, tokens and judge as queued mail has, that what an upstream says
//! teaches the lane as it does there, and that nothing is kept. It must not know how a client is spoken to.

mod judged;
mod passage;

pub use crate::upstream::smtp::Flight;
pub use passage::Passage;

use super::Shared;
use super::attempt::Member;
use super::places::Turned;
use super::plan::Lesson;
use super::room::{Room, Turn};
use super::verdict::{Pause, Verdict, judge};
use crate::config::Audience;
use crate::mail::Id;
use crate::oauth::{AccessToken, TokenError, TokenSource};
use crate::smtp::Reply;
use crate::upstream::smtp::{Answers, Transit};
use crate::upstream::{Courier, Credential, Failure};
use std::borrow::Cow;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tracing::{debug, info, warn};

/// The ways through all accounts. Cheap to clone; a reload changes what all clones see.
#[derive(Clone, Default)]
pub struct Passages(Arc<watch::Sender<Ways>>);

/// By the names of the accounts.
type Ways = HashMap<String, Arc<dyn Way>>;

/// A mail that was begun, and the replies to its first flight; or the reply to all of it.
type Begun = Result<(Box<Passage>, Vec<Reply>), Reply>;

/// The way through one account.
pub(super) trait Way: Send + Sync {
    /// Waits for a turn, gets the token and the connection, says the first flight.
    fn begin<'a>(
        &'a self,
        id: Id,
        patience: Duration,
        first: &'a Flight<'a>,
    ) -> Pin<Box<dyn Future<Output = Begun> + Send + 'a>>;
}

impl Passages {
    /// Begins a mail: waits for a turn of its mailbox, at most for `patience`, and says the first flight.
    /// Gives one reply for each of its commands.
    ///
    /// # Errors
    /// The reply to all of them: no turn, no token, no connection.
    pub async fn begin(
        &self,
        account: &str,
        id: Id,
        patience: Duration,
        first: &Flight<'_>,
    ) -> Result<(Box<Passage>, Vec<Reply>), Reply> {
        let way = self.0.borrow().get(account).cloned();
        match way {
            Some(way) => way.begin(id, patience, first).await,
            None => self.appeared(account, patience).await?.begin(id, patience, first).await,
        }
    }

    /// The way of an account that is so new that its lane is being opened.
    async fn appeared(&self, account: &str, patience: Duration) -> Result<Arc<dyn Way>, Reply> {
        let mut seen = self.0.subscribe();
        let known = seen.wait_for(|ways| ways.contains_key(account));
        let known = tokio::time::timeout(patience, known).await;
        let way = known.ok().and_then(Result::ok).and_then(|ways| ways.get(account).cloned());
        way.ok_or_else(|| judged::turned(&Turned::Closing))
    }

    /// These are the ways now.
    pub(super) fn set(&self, ways: Ways) {
        self.0.send_replace(ways);
    }
}

impl std::fmt::Debug for Passages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.borrow().keys()).finish()
    }
}

/// An account, its room and what is needed to get to its upstream.
pub(super) struct Gate<T, C> {
    pub shared: Arc<Shared<T>>,
    pub member: Member<C>,
    pub room: Arc<Room>,
    /// Other ways to the same mailbox, which must not keep its connections meanwhile.
    pub others: Vec<Arc<C>>,
}

impl<T: TokenSource, C: Courier + 'static> Way for Gate<T, C> {
    fn begin<'a>(
        &'a self,
        id: Id,
        patience: Duration,
        first: &'a Flight<'a>,
    ) -> Pin<Box<dyn Future<Output = Begun> + Send + 'a>> {
        Box::pin(async move {
            let account = self.member.account.name.as_str();
            let mut turn = self.room.enter(account, patience).await.map_err(|why| {
                let reply = judged::turned(&why);
                warn!(%id, account, %reply, "not sent: no turn");
                reply
            })?;
            debug!(%id, account, "passing through");
            let opened = self.open(id, &mut turn, first).await;
            let (transit, answers) = opened.map_err(|failure| {
                let reply = failure.reply();
                warn!(%id, account, %reply, error = %failure, "not sent");
                turn.teach(failure.lesson(), 0);
                reply
            })?;
            let mut passage = Passage::new(id, self.member.account.clone(), transit, turn);
            let replies = passage.note(first, answers);
            Ok((Box::new(passage), replies))
        })
    }
}

/// Why a mail could not begin.
#[derive(Debug, thiserror::Error)]
enum Unopened {
    #[error("no token: {0}")]
    Token(#[from] TokenError),
    #[error(transparent)]
    Upstream(#[from] Failure),
}

impl Unopened {
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

impl<T: TokenSource, C: Courier + 'static> Gate<T, C> {
    /// A connection that answered the first flight. A token that is refused is renewed once, a connection
    /// that died in the pool is replaced once.
    async fn open(
        &self,
        id: Id,
        turn: &mut Turn,
        first: &Flight<'_>,
    ) -> Result<(Transit, Answers), Unopened> {
        let account = self.member.account.name.as_str();
        let tokens = &self.shared.tokens;
        let audience = self.member.courier.audience();
        let mut token = match tokens.access_token_for(account, audience).await {
            Ok(token) => token,
            Err(error) => {
                turn.give_back();
                return Err(error.into());
            }
        };
        for other in &self.others {
            other.close_idle().await;
        }
        let (mut is_fresh, mut is_renewed) = (false, turn.is_probe);
        loop {
            match self.member.courier.transit(&self.credential(audience, &token), is_fresh).await {
                Ok(mut transit) => match transit.ask(first).await {
                    Ok(answers) => return Ok((transit, answers)),
                    Err(stale) => debug!(%id, account, %stale, "connection replaced"),
                },
                Err(failure) if matches!(judge(&failure), Verdict::RenewToken { .. }) => {
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

    fn credential(&self, audience: Audience, token: &AccessToken) -> Credential {
        Credential {
            mailbox: self.member.account.mailbox.clone(),
            audience,
            token: token.secret.clone(),
            usable_until: token.usable_until,
        }
    }
}
