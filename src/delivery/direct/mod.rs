//! Mail that passes through while its sender waits: `mode = "direct"`.
//!
//! ```text
//!  session ─▶ Passages ─▶ turn (room) ─▶ token (oauth) ─▶ connection (upstream) ─▶ Streamed
//!     ▲          └─ by Graph ─▶ Gathered ─ whole ─▶ turn ─▶ token ─▶ one request      │
//!     └───────────────── replies, judged (verdict, judged) ◀──────────────────────────┘
//! ```
//!
//! It promises the same slots, pace, pauses, tokens and judge as queued mail has, that what an upstream says
//! teaches the lane as it does there, and that nothing is kept. It must not know how a client is spoken to.

mod gate;
mod gathered;
mod judged;
mod passage;
mod streamed;
mod told;

pub use crate::upstream::smtp::Flight;
pub(super) use gate::Gate;
pub use gathered::{Gathered, Ready};
pub use passage::{Entered, Passage};
pub use streamed::Streamed;

use super::places::Turned;
use super::room::Turn;
use crate::config::{Account, Transport};
use crate::mail::Id;
use crate::queue::body::Aside;
use crate::smtp::Reply;
use gathered::Whole;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The ways through all accounts. Cheap to clone; a reload changes what all clones see.
#[derive(Clone, Default)]
pub struct Passages(Arc<watch::Sender<Ways>>);

/// By the names of the accounts.
type Ways = HashMap<String, Arc<dyn Way>>;

/// A mail that was begun; or the reply to all of it.
type Begun = Result<Opened, Reply>;

/// How a mail goes on.
pub(super) enum Opened {
    /// With the replies to its first flight.
    Streamed(Box<Streamed>, Vec<Reply>),
    /// Nobody is asked before it is whole.
    Gathered(gathered::Opened),
}

/// The way through one account.
pub(super) trait Way: Send + Sync {
    /// Begins a mail: as far as its first flight where that can be asked.
    fn begin<'a>(
        &'a self,
        id: Id,
        patience: Duration,
        first: &'a Flight<'a>,
    ) -> Pin<Box<dyn Future<Output = Begun> + Send + 'a>>;

    /// Waits for the turn of a mail that was gathered. Dropped, it has none.
    fn enter(
        &self,
        id: Id,
        patience: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<Turn, Reply>> + Send + '_>>;

    /// Sends it.
    fn send<'a>(
        &'a self,
        mail: &'a Whole,
        body: &'a Aside,
        turn: Turn,
    ) -> Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

    /// Whether mail that is taken now may go by Graph.
    fn may_be_graph(&self) -> bool;
}

impl Passages {
    /// Begins a mail: waits for a turn of its mailbox, at most for `patience`, and says the first flight.
    /// Gives one reply for each of its commands. Mail by Graph takes its turn when it is whole.
    ///
    /// # Errors
    /// The reply to all of them: no turn, no token, no connection.
    pub async fn begin(
        &self,
        account: &str,
        id: Id,
        patience: Duration,
        first: &Flight<'_>,
    ) -> Result<(Passage, Vec<Reply>), Reply> {
        let way = self.0.borrow().get(account).cloned();
        let way = match way {
            Some(way) => way,
            None => self.appeared(account, patience).await?,
        };
        match way.begin(id, patience, first).await? {
            Opened::Streamed(mail, replies) => Ok((Passage::Streamed(mail), replies)),
            Opened::Gathered(opened) => {
                let mut mail = Gathered::new(way, id, patience, opened);
                let replies = mail.ask(first);
                Ok((Passage::Gathered(Box::new(mail)), replies))
            }
        }
    }

    /// Whether mail that is taken now may go by Graph, which knows no envelope.
    pub fn may_be_graph(&self, account: &Account) -> bool {
        let way = self.0.borrow().get(&account.name).cloned();
        match way {
            Some(way) => way.may_be_graph(),
            None => matches!(account.transport, Transport::Graph(_)),
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
