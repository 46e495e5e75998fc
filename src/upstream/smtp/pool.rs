//! Connections of one mailbox, kept for the next mail.
//!
//! It promises that a connection is used again only with the token it was opened with, before that token
//! is too old, and while the server is quiet; that a connection which turns out to be dead before any
//! answer is replaced once; that idle ones are closed politely after a while. How many are open at once
//! is the caller's business: one for each mail under way.

use super::connect::Route;
use super::{Connection, Delivered, Mail, Transit};
use crate::config::{Chunking, Upstream};
use crate::upstream::{Courier, Credential, Failure, Outcome, Outgoing, Stage};
use arc_swap::ArcSwap;
use rustls::ClientConfig;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// The connections of one mailbox.
#[derive(Clone)]
pub struct Pool {
    route: Arc<ArcSwap<Route>>,
    shelf: Arc<Shelf>,
    /// Small mail may go in one flight; not where the server showed that its CHUNKING is broken.
    chunking: Arc<AtomicBool>,
}

/// Idle connections, the one used last at the end.
#[derive(Default)]
struct Shelf {
    state: Mutex<Resting>,
}

#[derive(Default)]
struct Resting {
    idle: Vec<(Instant, Connection)>,
    /// Whether a task looks after connections that rest too long.
    is_swept: bool,
}

impl Pool {
    /// No connection yet. `hostname` is our name in EHLO; `tls` verifies the upstream
    /// ([`crate::tls::client_config`]).
    pub fn new(settings: Upstream, hostname: String, tls: Arc<ClientConfig>) -> Self {
        let chunking = Arc::new(AtomicBool::new(settings.chunking == Chunking::Auto));
        let route = ArcSwap::from_pointee(Route { settings, hostname, tls });
        Self { route: Arc::new(route), shelf: Arc::default(), chunking }
    }

    /// Opens further connections under this name and with this trust; those that are open were verified.
    pub fn reroute(&self, hostname: String, tls: Arc<ClientConfig>) {
        let settings = self.settings();
        self.route.store(Arc::new(Route { settings, hostname, tls }));
    }

    fn settings(&self) -> Upstream {
        self.route.load().settings.clone()
    }

    /// Delivers one mail over an idle connection, or a new one. Dropping the future closes the connection.
    pub async fn deliver(&self, outgoing: Outgoing<'_>, credential: &Credential) -> Outcome {
        let (id, recipients) = (outgoing.id, outgoing.envelope.recipients.len());
        if recipients == 0 {
            return Outcome { recipients: Vec::new(), dsn: false };
        }
        let mut mail = match Mail::of(outgoing).await {
            Ok(mail) => mail,
            Err(fault) => return Outcome::all(recipients, &Failure { stage: Stage::Body, fault }),
        };
        if let Some(mut connection) = self.take(credential).await {
            let delivered = connection.deliver(&mut mail, self.is_chunking()).await;
            if !self.is_to_be_said_again(&delivered, true) {
                self.keep(connection, delivered.is_reusable);
                return delivered.outcome;
            }
            tracing::debug!(%id, peer = %connection.wire.peer, "connection replaced");
        }
        loop {
            let mut connection = match self.route.load_full().open(credential).await {
                Ok(connection) => connection,
                Err(failure) => return Outcome::all(recipients, &failure),
            };
            let delivered = connection.deliver(&mut mail, self.is_chunking()).await;
            if !self.is_to_be_said_again(&delivered, false) {
                self.keep(connection, delivered.is_reusable);
                return delivered.outcome;
            }
        }
    }

    /// A new connection that is logged in.
    pub(super) async fn open(&self, credential: &Credential) -> Result<Connection, Failure> {
        self.route.load_full().open(credential).await
    }

    pub(super) fn is_chunking(&self) -> bool {
        self.chunking.load(Ordering::Relaxed)
    }

    /// The server does not know the BDAT it offers: mail that need not go by it no longer does.
    pub(super) fn forgo_chunking(&self) {
        let host = &self.route.load().settings.host;
        if self.chunking.swap(false, Ordering::Relaxed) {
            tracing::warn!(
                %host,
                "the server offers CHUNKING and does not take BDAT; mail goes by DATA until the next start \
                 (chunking = \"off\" in [account.upstream] makes that lasting)"
            );
        }
    }

    /// Whether the mail was surely not taken, and why is mended by another connection: this one was stale,
    /// or the server does not know the BDAT it offers, which is then no longer used.
    fn is_to_be_said_again(&self, delivered: &Delivered, is_reused: bool) -> bool {
        if delivered.is_chunking_broken {
            // Once: without BDAT it cannot come again.
            self.forgo_chunking();
            return true;
        }
        is_reused && delivered.is_silent
    }

    /// Closes the idle connections with QUIT; those under way are kept afterwards as before.
    pub async fn close_idle(&self) {
        let idle = std::mem::take(&mut self.shelf.lock().idle);
        let mut goodbyes = tokio::task::JoinSet::new();
        for (_, connection) in idle {
            goodbyes.spawn(connection.quit());
        }
        while goodbyes.join_next().await.is_some() {}
    }

    /// An idle connection fit for this credential; unfit ones on the way are closed.
    pub(super) async fn take(&self, credential: &Credential) -> Option<Connection> {
        let longest = self.route.load().settings.idle_timeout;
        loop {
            // Not in the `while let`: its lock would live as long as the body.
            let next = self.shelf.lock().idle.pop();
            let (since, mut connection) = next?;
            let now = Instant::now();
            let own = &connection.credential;
            let is_same = own.token == credential.token && own.mailbox == credential.mailbox;
            let is_fresh = now < own.usable_until && now.duration_since(since) < longest;
            if !connection.is_quiet().await {
                continue;
            }
            if is_same && is_fresh {
                return Some(connection);
            }
            // Waited for: a new one beside it may be one more than the mailbox may have, and Exchange
            // answers that with 432 ("Concurrent connections limit exceeded").
            connection.quit().await;
        }
    }

    pub(super) fn keep(&self, connection: Connection, is_reusable: bool) {
        let longest = self.route.load().settings.idle_timeout;
        if !is_reusable {
            return;
        }
        // One with a token that is too old rests too: who takes it says goodbye before opening another.
        if longest.is_zero() {
            tokio::spawn(connection.quit());
            return;
        }
        let mut resting = self.shelf.lock();
        resting.idle.push((Instant::now(), connection));
        if !std::mem::replace(&mut resting.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(&self.shelf), longest));
        }
    }
}

impl Courier for Pool {
    fn deliver(
        &self,
        mail: Outgoing<'_>,
        credential: &Credential,
    ) -> impl Future<Output = Outcome> + Send {
        Pool::deliver(self, mail, credential)
    }

    fn transit(
        &self,
        credential: &Credential,
        is_fresh: bool,
    ) -> impl Future<Output = Result<Transit, Failure>> + Send {
        Pool::transit(self, credential, is_fresh)
    }

    fn close_idle(&self) -> impl Future<Output = ()> + Send {
        Pool::close_idle(self)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("host", &self.settings().host)
            .field("idle", &self.shelf.lock().idle.len())
            .finish_non_exhaustive()
    }
}

impl Shelf {
    fn lock(&self) -> MutexGuard<'_, Resting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes out what rested too long, and says when the next one will have; none when all are gone.
    fn overdue(&self, longest: Duration) -> (Vec<Connection>, Option<Duration>) {
        let mut resting = self.lock();
        let now = Instant::now();
        let count =
            resting.idle.partition_point(|(since, _)| now.duration_since(*since) >= longest);
        let overdue = resting.idle.drain(..count).map(|(_, connection)| connection).collect();
        let next = resting.idle.first().map(|(since, _)| longest - now.duration_since(*since));
        resting.is_swept = next.is_some();
        (overdue, next)
    }
}

/// Closes what rests too long, until nothing rests any more or the pool is gone.
async fn sweep(shelf: Weak<Shelf>, longest: Duration) {
    let mut pause = longest;
    loop {
        tokio::time::sleep(pause).await;
        let Some(shelf) = shelf.upgrade() else { return };
        let (overdue, next) = shelf.overdue(longest);
        for connection in overdue {
            tokio::spawn(connection.quit());
        }
        match next {
            Some(next) => pause = next,
            None => return,
        }
    }
}
