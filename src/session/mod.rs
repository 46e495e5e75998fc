//! One inbound connection: drives `smtp::server` over a stream.
//!
//! It owns the stream, the timeouts and the answers that need the outside world (login, queue). It holds
//! no SMTP knowledge: what a line means is the dialogue's business.

mod accept;
mod direct;
mod intake;
mod outlet;
mod patience;
mod refuse;
mod replies;
mod terms;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

pub use refuse::{Refusal, refuse};
pub use tls::TlsError;

use crate::accounts::{Accounts, LoggedIn, LoginError};
use crate::config::{Config, Headers, Listener, Mode};
use crate::delivery::direct::Passages;
use crate::mail::Id;
use crate::observe::redact;
use crate::queue::Queue;
use crate::smtp::Reply;
use crate::smtp::server::{Credentials, Dialogue, Event, Mail, Terms};
use accept::{Origin, Transaction};
use patience::Patience;
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;
use tls::DoorTls;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;
use tokio_util::sync::CancellationToken;
use wire::{Wire, secure};

/// Octets read at once. They lie on the stack while a read is polled and nowhere while it waits, so an
/// idle connection costs no buffer.
const READ: usize = 64 * 1024;
/// Replies that wait in memory at most, but for the last one.
const LARGEST_OUTPUT: usize = 16 * 1024;

/// What all sessions of a listener share under one configuration.
#[derive(Debug)]
pub struct Shared {
    /// Our name.
    pub hostname: String,
    /// The listener's settings.
    pub listener: Listener,
    /// What is changed in a message.
    pub headers: Headers,
    /// Who may submit.
    pub accounts: Arc<Accounts>,
    /// Where mail goes.
    pub queue: Queue,
    /// Where it goes in direct mode.
    pub passages: Passages,
    terms: Arc<Terms>,
    tls: Option<Arc<DoorTls>>,
    /// Turns to be told by a handshake that there is no place.
    told: Semaphore,
}

impl Shared {
    /// For the sessions of `listener` under `config`.
    ///
    /// # Errors
    /// [`TlsError`] where certificate or key are no good.
    pub fn new(
        config: &Config,
        listener: &Listener,
        accounts: Arc<Accounts>,
        queue: Queue,
        passages: Passages,
    ) -> Result<Self, TlsError> {
        let tls = listener.tls.as_ref().map(DoorTls::open).transpose()?;
        Ok(Self {
            hostname: config.hostname.clone(),
            listener: listener.clone(),
            headers: config.headers,
            accounts,
            queue,
            passages,
            terms: Arc::new(terms::terms(config, listener)),
            tls: tls.map(Arc::new),
            told: Semaphore::new(refuse::TOLD_AT_ONCE),
        })
    }
}

/// A session under way.
struct Session<S> {
    wire: Wire<S>,
    dialogue: Dialogue,
    shared: Arc<Shared>,
    peer: Option<IpAddr>,
    user: Option<LoggedIn>,
    transaction: Option<Transaction>,
    patience: Patience,
    stop: CancellationToken,
}

/// Serves one connection to its end. `stop` asks for an early one: a mail that has begun is finished.
pub async fn serve<S>(stream: S, peer: Option<IpAddr>, shared: Arc<Shared>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut wire = Wire::Clear(stream);
    let tls = shared.tls.as_ref().filter(|tls| tls.is_implicit());
    if let Some(tls) = tls
        && !secure(&mut wire, tls, &shared, peer, &stop).await
    {
        return;
    }
    let dialogue = Dialogue::new(shared.terms.clone(), tls.is_some());
    let listener = &shared.listener;
    let patience = Patience::new(listener.command_timeout, listener.session_timeout, now());
    let session =
        Session { wire, dialogue, shared, peer, user: None, transaction: None, patience, stop };
    session.run().await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(mut self) {
        loop {
            match self.dialogue.advance() {
                Event::NeedInput => {
                    self.pass_on().await;
                    if self.flush().await.is_err() || self.read().await.is_err() {
                        break;
                    }
                }
                Event::StartTls => {
                    if self.flush().await.is_err() || !self.start_tls().await {
                        break;
                    }
                }
                Event::Close => {
                    let _ = self.flush().await;
                    let _ = self.wire.shutdown().await;
                    break;
                }
                event => {
                    self.handle(event).await;
                    // A segment full of EHLOs would put megabytes of replies into memory.
                    let is_large = self.dialogue.output().len() > LARGEST_OUTPUT;
                    if is_large && self.flush().await.is_err() {
                        break;
                    }
                }
            }
        }
        if let Some(transaction) = self.transaction {
            tracing::info!(id = %transaction.id(), "client left in the middle of a mail, dropped");
        }
    }

    /// Writes what lies in the output, within the client's time; what was answered begins that anew.
    async fn flush(&mut self) -> Result<(), ()> {
        if self.dialogue.output().is_empty() {
            return Ok(());
        }
        self.patience.answered(now());
        // Who else can be answered is, in one go: each answer that goes out by itself wakes its reader by itself,
        // which costs more than all we do for it.
        tokio::task::yield_now().await;
        let written = timeout_at(self.until().into(), async {
            self.wire.write_all(self.dialogue.output()).await?;
            self.wire.flush().await
        });
        let written = written.await;
        self.dialogue.output().clear();
        match written {
            Ok(Ok(())) => Ok(()),
            _ => Err(()),
        }
    }

    /// Waits for input, the timeouts, or the stop.
    async fn read(&mut self) -> Result<(), ()> {
        let until = self.until().into();
        let may_stop = !self.dialogue.is_in_transaction();
        tokio::select! {
            biased;
            () = self.stop.cancelled(), if may_stop => {
                self.dialogue.hang_up(&replies::SHUTTING_DOWN);
                Ok(())
            }
            read = timeout_at(until, feed(&mut self.wire, &mut self.dialogue)) => {
                match read {
                    Ok(Ok(octets)) => {
                        self.patience.came(octets, now());
                        Ok(())
                    }
                    Ok(Err(_)) => Err(()),
                    Err(_) if now() < self.patience.until() => {
                        self.lose_turn();
                        Ok(())
                    }
                    Err(_) => {
                        self.dialogue.hang_up(&replies::TIMED_OUT);
                        Ok(())
                    }
                }
            }
        }
    }

    /// The handshake after STARTTLS; what was before it is forgotten (RFC 3207 §4.2).
    async fn start_tls(&mut self) -> bool {
        let Some(tls) = self.shared.tls.clone() else { return false };
        self.user = None;
        self.transaction = None;
        if !secure(&mut self.wire, &tls, &self.shared, self.peer, &self.stop).await {
            return false;
        }
        self.dialogue.tls_started();
        self.patience.answered(now());
        true
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Authenticate(credentials) => self.authenticate(credentials).await,
            Event::Mail(mail) => {
                let opened = self.open(mail);
                self.dialogue.answer(&opened.err().unwrap_or(replies::SENDER_OK));
            }
            Event::Rcpt(recipient) => {
                let added = self.transaction.as_mut().map(|mail| mail.add(recipient));
                match added.unwrap_or(Some(replies::STORE_FAILED)) {
                    Some(reply) => self.dialogue.answer(&reply),
                    // The upstream is asked first.
                    None => self.dialogue.answer_later(),
                }
            }
            Event::Settle => self.ask(false).await,
            Event::Data if self.is_direct() => self.ask(true).await,
            Event::Data => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.start_for(&self.shared.queue);
                }
                self.dialogue.answer(&replies::START_INPUT);
            }
            Event::Body(octets) => {
                let origin = origin(&self.dialogue, self.peer, self.user.as_ref());
                if let Some(transaction) = &mut self.transaction {
                    transaction.write(&octets, &self.shared, origin).await;
                    if self.dialogue.is_body_refused() {
                        transaction.abandon();
                    }
                }
            }
            Event::BodyEnd(verdict) => self.body_end(verdict).await,
            Event::Reset => self.transaction = None,
            // Driven by `run`; a greeting needs nothing of us.
            Event::StartTls | Event::Hello | Event::NeedInput | Event::Close => {}
        }
    }

    async fn authenticate(&mut self, credentials: Credentials) {
        let Credentials::Password { user, password } = credentials else {
            self.dialogue.answer(&replies::LOGIN_WRONG);
            return;
        };
        let Shared { accounts, listener, .. } = &*self.shared;
        let reply = match accounts.login(listener, self.peer, &user, password).await {
            Ok(logged_in) => {
                self.user = logged_in;
                replies::LOGGED_IN
            }
            Err(error) => {
                let user = redact::one_line(&user, 64);
                tracing::warn!(%user, peer = ?self.peer, %error, "login refused");
                match error {
                    LoginError::Broken => replies::LOGIN_BROKEN,
                    LoginError::Blocked => replies::LOGIN_BLOCKED,
                    LoginError::NoUsers | LoginError::Wrong => replies::LOGIN_WRONG,
                }
            }
        };
        self.dialogue.answer(&reply);
    }

    /// Opens a transaction, or says why not.
    fn open(&mut self, mail: Mail) -> Result<(), Reply> {
        let shared = &self.shared;
        let sender = mail.sender.as_ref();
        let permit = shared
            .accounts
            .permit(&shared.listener, self.user.as_ref(), self.peer, sender)
            .map_err(|error| {
                tracing::warn!(peer = ?self.peer, sender = ?mail.sender, %error, "mail refused");
                replies::forbidden(error)
            })?;
        let by_graph = shared.passages.may_be_graph(&permit.account);
        accept::check_size(&permit, mail.size.unwrap_or(0), by_graph)?;
        let now = SystemTime::now();
        let id = Id::new(now, random());
        if let Mode::Direct(_) = shared.listener.mode {
            self.transaction = Some(Transaction::direct(id, permit, mail, now).by_graph(by_graph));
            return Ok(());
        }
        shared.queue.has_room(mail.size.unwrap_or(0)).map_err(|error| {
            tracing::error!(%error, "mail not accepted, the client may try again");
            replies::not_accepted(&error)
        })?;
        self.transaction = Some(Transaction::new(id, permit, mail, now).by_graph(by_graph));
        Ok(())
    }

    async fn body_end(&mut self, verdict: Result<(), Reply>) {
        let transaction = self.transaction.take();
        let reply = match (verdict, transaction) {
            (Ok(()), Some(mut transaction)) => {
                let origin = origin(&self.dialogue, self.peer, self.user.as_ref());
                transaction.close(&self.shared, origin).await;
                let gone = direct::gone(&mut self.wire, &mut self.dialogue, true);
                transaction.finish(&self.shared, gone).await
            }
            (Ok(()), None) => replies::STORE_FAILED,
            (Err(reply), transaction) => {
                let id = transaction.map(|transaction| transaction.id().to_string());
                tracing::info!(id = id.unwrap_or_default(), %reply, "mail refused");
                reply
            }
        };
        self.dialogue.answer(&reply);
    }
}

/// What is told of the client in `Received:`.
fn origin<'a>(
    dialogue: &'a Dialogue,
    address: Option<IpAddr>,
    user: Option<&LoggedIn>,
) -> Origin<'a> {
    let protocol = match (dialogue.is_extended(), dialogue.is_tls(), user.is_some()) {
        (false, _, _) => "SMTP",
        (true, false, false) => "ESMTP",
        (true, false, true) => "ESMTPA",
        (true, true, false) => "ESMTPS",
        (true, true, true) => "ESMTPSA",
    };
    Origin { name: dialogue.client_name(), address, protocol }
}

/// Reads once and feeds the dialogue; the buffer exists only while the read is polled. Gives the octets.
async fn feed<S>(stream: &mut S, dialogue: &mut Dialogue) -> std::io::Result<usize>
where
    S: AsyncRead + Unpin,
{
    poll_fn(|context| {
        let mut octets = [const { MaybeUninit::<u8>::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut octets);
        let read = Pin::new(&mut *stream).poll_read(context, &mut buffer);
        read.map_ok(|()| {
            match buffer.filled() {
                [] => dialogue.feed_end(),
                filled => dialogue.feed(filled),
            }
            buffer.filled().len()
        })
    })
    .await
}

/// The runtime's time, which its timers go by.
fn now() -> std::time::Instant {
    tokio::time::Instant::now().into_std()
}

/// Thirty random bits for an id; ids need not be secret, only different.
fn random() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0_u8) & 0xffff_ffff) as u32
}
