//! What all parts of a sandbox share: the options, tokens, counters, mails, faults.
//!
//! Statistics and faults are watched values: whoever waits for one is woken, nobody polls.

use super::certificate::Certificates;
use super::consent::Codes;
use super::faults::Faults;
use super::graph::Drafts;
use super::mailbox::Ledger;
use super::messages::Messages;
use super::options::{Limits, Options};
use super::seen::Seen;
use super::token::Tokens;
use serde::Serialize;
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::watch;

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Statistics {
    /// Requests at the token endpoint, counted when they come.
    pub token_requests: u64,
    /// Access tokens given out.
    pub tokens: u64,
    /// Requests at the token endpoint that were refused or failed by a fault.
    pub token_refusals: u64,
    /// TCP connections to the mail server.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: u64,
    /// The most that were open at once.
    pub max_open_connections: u64,
    /// TLS handshakes that came to a good end.
    pub tls_handshakes: u64,
    /// TLS handshakes that failed.
    pub tls_failures: u64,
    /// Good logins.
    pub logins: u64,
    /// Refused logins.
    pub login_failures: u64,
    /// Of these: logins with a password, which no client should try.
    pub password_logins: u64,
    /// AUTH commands that came in clear text, before TLS. Anything but 0 is a leak.
    pub auth_before_tls: u64,
    /// MAIL commands.
    pub mail_commands: u64,
    /// MAIL commands refused because the mailbox has too many connections.
    pub connection_refusals: u64,
    /// Bodies that came to their end, taken or not.
    pub bodies: u64,
    /// Mails taken. Taken without telling the client counts too.
    pub messages: u64,
    /// Mails refused at their end.
    pub message_refusals: u64,
    /// Mails whose acceptance waited for the rate.
    pub delayed: u64,
    /// Sessions that ended with QUIT.
    pub quits: u64,
    /// Requests at Microsoft Graph, and at the addresses it gave for uploads.
    pub graph_requests: u64,
    /// Of these: under way now.
    pub open_graph_requests: u64,
    /// The most that were under way at once.
    pub max_open_graph_requests: u64,
    /// Of these: refused because there were too many at once.
    pub graph_throttled: u64,
    /// Mails that were answered 200 and not sent, since they were too large.
    pub graph_swallowed: u64,
    /// Drafts made at Microsoft Graph.
    pub drafts: u64,
    /// Drafts that are there now.
    pub open_drafts: u64,
    /// Files that were uploaded whole.
    pub uploads: u64,
}

/// What all parts share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) options: Options,
    pub(super) certificates: Certificates,
    pub(super) ledger: Arc<Ledger>,
    pub(super) messages: Messages,
    limits: RwLock<Limits>,
    tokens: Mutex<Tokens>,
    codes: Mutex<Codes>,
    drafts: Mutex<Drafts>,
    seen: Mutex<Seen>,
    statistics: watch::Sender<Statistics>,
    faults: watch::Sender<Faults>,
}

impl World {
    pub(super) fn new(options: Options, certificates: Certificates) -> Self {
        let mut tokens = Tokens::default();
        let first = options.mailboxes.first().map(|mailbox| mailbox.address.clone());
        tokens.adopt_refresh(&options.refresh_token, &first.unwrap_or_default());
        Self {
            certificates,
            ledger: Arc::default(),
            messages: Messages::new(options.dir.clone()),
            limits: RwLock::new(options.limits),
            tokens: Mutex::new(tokens),
            codes: Mutex::default(),
            drafts: Mutex::default(),
            seen: Mutex::default(),
            statistics: watch::Sender::default(),
            faults: watch::Sender::new(options.faults.clone()),
            options,
        }
    }

    /// Counts something.
    pub(super) fn count(&self, change: impl FnOnce(&mut Statistics)) {
        self.statistics.send_modify(change);
    }

    pub(super) fn statistics(&self) -> Statistics {
        self.statistics.borrow().clone()
    }

    /// Waits until the statistics are so.
    pub(super) async fn wait_until(&self, so: impl FnMut(&Statistics) -> bool) {
        // An error means that the sender is gone, and that is `self`.
        let _ = self.statistics.subscribe().wait_for(so).await;
    }

    pub(super) fn faults(&self) -> Faults {
        self.faults.borrow().clone()
    }

    pub(super) fn set_faults(&self, faults: Faults) {
        self.faults.send_replace(faults);
    }

    /// Takes a fault, if it is on; counts it.
    pub(super) fn fault<T: Default>(&self, take: impl FnOnce(&mut Faults) -> T) -> T {
        let mut took = T::default();
        self.faults.send_modify(|faults| took = take(faults));
        took
    }

    /// Waits until no fault holds this back.
    pub(super) async fn wait_while(&self, mut held: impl FnMut(&Faults) -> bool) {
        let _ = self.faults.subscribe().wait_for(|faults| !held(faults)).await;
    }

    pub(super) fn limits(&self) -> Limits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    pub(super) fn codes(&self) -> MutexGuard<'_, Codes> {
        self.codes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn drafts(&self) -> MutexGuard<'_, Drafts> {
        self.drafts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The secrets that came by.
    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
