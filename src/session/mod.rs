//! One inbound connection: drives `smtp::server` over a stream.
//!
//! It owns the stream, the timeouts and the answers that need the outside world (login, queue). It holds
//! no SMTP knowledge: what a line means is the dialogue's business.

mod accept;
mod replies;
#[cfg(test)]
mod tests;

use crate::accounts::{Accounts, LoggedIn, LoginError};
use crate::config::{Config, Headers, Listener};
use crate::mail::Id;
use crate::observe::redact;
use crate::queue::Queue;
use crate::smtp::Reply;
use crate::smtp::extension::Extension;
use crate::smtp::reply_write::LONGEST_LINE;
use crate::smtp::sasl::Mechanism;
use crate::smtp::server::{Credentials, Dialogue, Event, Mail, Phrases, Terms};
use accept::{Origin, Transaction};
use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

/// Octets read at once. They lie on the stack while a read is polled and nowhere while it waits, so an
/// idle connection costs no buffer.
const READ: usize = 64 * 1024;

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
    terms: Arc<Terms>,
}

impl Shared {
    /// For the sessions of `listener` under `config`.
    pub fn new(
        config: &Config,
        listener: &Listener,
        accounts: Arc<Accounts>,
        queue: Queue,
    ) -> Self {
        Self {
            hostname: config.hostname.clone(),
            listener: listener.clone(),
            headers: config.headers,
            accounts,
            queue,
            terms: Arc::new(terms(config, listener)),
        }
    }
}

/// What a listener offers: before the account is known, so only what always holds.
fn terms(config: &Config, listener: &Listener) -> Terms {
    use crate::config::{Auth, BareNewline};
    let mut extensions = vec![
        Extension::Size,
        Extension::Pipelining,
        Extension::EightBitMime,
        Extension::SmtpUtf8,
        Extension::Dsn,
        Extension::EnhancedStatusCodes,
        Extension::Chunking,
    ];
    if listener.auth != Auth::None {
        extensions.push(Extension::Auth);
    }
    Terms {
        hostname: config.hostname.clone(),
        greeting: "ESMTP submitd".into(),
        hello: "at your service".into(),
        extensions,
        mechanisms: vec![Mechanism::Plain, Mechanism::Login],
        hello_required: false,
        auth_needs_tls: false,
        auth_required: listener.auth == Auth::Required,
        tls_required: false,
        bearer_refusal: None,
        max_message_size: listener.max_message_size,
        max_recipients: listener.max_recipients,
        max_errors: listener.max_errors,
        max_reply_line: LONGEST_LINE,
        reject_bare_newline: listener.bare_newline == BareNewline::Reject,
        phrases: Phrases::OURS,
    }
}

/// A session under way.
struct Session<S> {
    stream: S,
    dialogue: Dialogue,
    shared: Arc<Shared>,
    peer: Option<IpAddr>,
    user: Option<LoggedIn>,
    transaction: Option<Transaction>,
    ends: Instant,
    stop: CancellationToken,
}

/// Serves one connection to its end. `stop` asks for an early one: a mail that has begun is finished.
pub async fn serve<S>(stream: S, peer: Option<IpAddr>, shared: Arc<Shared>, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ends = Instant::now() + shared.listener.session_timeout;
    let dialogue = Dialogue::new(shared.terms.clone(), false);
    let session =
        Session { stream, dialogue, shared, peer, user: None, transaction: None, ends, stop };
    session.run().await;
}

/// Why a connection is turned away before it begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// More connections than the listener allows.
    TooMany,
    /// The address is not among the listener's `clients`.
    NotAllowed,
}

/// Turns a connection away with one line.
pub async fn refuse<S: AsyncWrite + Unpin>(mut stream: S, shared: &Shared, why: Refusal) {
    let reply = match why {
        Refusal::TooMany => replies::TOO_MANY_CONNECTIONS,
        Refusal::NotAllowed => replies::NOT_ALLOWED,
    };
    let mut dialogue = Dialogue::refused(shared.terms.clone(), &reply);
    // One short line always fits the socket's buffer; a peer that is gone does not matter.
    let _ = stream.write_all(dialogue.output()).await;
    let _ = stream.shutdown().await;
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    async fn run(mut self) {
        loop {
            match self.dialogue.advance() {
                Event::NeedInput => {
                    if self.flush().await.is_err() || self.read().await.is_err() {
                        break;
                    }
                }
                Event::Close => {
                    let _ = self.flush().await;
                    let _ = self.stream.shutdown().await;
                    break;
                }
                event => self.handle(event).await,
            }
        }
        if let Some(transaction) = self.transaction {
            tracing::info!(id = %transaction.id(), "client left in the middle of a mail, dropped");
        }
    }

    /// Writes what lies in the output, within the client's time.
    async fn flush(&mut self) -> Result<(), ()> {
        if self.dialogue.output().is_empty() {
            return Ok(());
        }
        let until = Instant::now() + self.shared.listener.command_timeout;
        let written =
            timeout_at(until.min(self.ends), self.stream.write_all(self.dialogue.output())).await;
        self.dialogue.output().clear();
        match written {
            Ok(Ok(())) => Ok(()),
            _ => Err(()),
        }
    }

    /// Waits for input, the timeouts, or the stop.
    async fn read(&mut self) -> Result<(), ()> {
        let until = Instant::now() + self.shared.listener.command_timeout;
        let stopping = self.stop.clone();
        let may_stop = !self.dialogue.is_in_transaction();
        tokio::select! {
            biased;
            () = stopping.cancelled(), if may_stop => {
                self.dialogue.hang_up(&replies::SHUTTING_DOWN);
                Ok(())
            }
            read = timeout_at(until.min(self.ends), feed(&mut self.stream, &mut self.dialogue)) => {
                match read {
                    Ok(Ok(())) => Ok(()),
                    Ok(Err(_)) => Err(()),
                    Err(_) => {
                        self.dialogue.hang_up(&replies::TIMED_OUT);
                        Ok(())
                    }
                }
            }
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Authenticate(credentials) => self.authenticate(credentials).await,
            Event::Mail(mail) => self.mail(mail),
            Event::Rcpt(recipient) => {
                let taken = self.transaction.as_mut().map(|mail| mail.add(recipient));
                self.dialogue.answer(&taken.unwrap_or(replies::STORE_FAILED));
            }
            Event::Data => {
                if let Some(transaction) = &mut self.transaction {
                    transaction.start();
                }
                self.dialogue.answer(&replies::START_INPUT);
            }
            Event::Body(octets) => {
                let origin = origin(&self.dialogue, self.peer, self.user.as_ref());
                if let Some(transaction) = &mut self.transaction {
                    transaction.write(&octets, &self.shared, origin).await;
                }
            }
            Event::BodyEnd(verdict) => self.body_end(verdict).await,
            Event::Reset => self.transaction = None,
            // STARTTLS is not among the terms; the greeting needs nothing of us.
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

    fn mail(&mut self, mail: Mail) {
        let reply = self.open(mail).unwrap_or_else(|reply| reply);
        self.dialogue.answer(&reply);
    }

    /// Opens a transaction, or says why not.
    fn open(&mut self, mail: Mail) -> Result<Reply, Reply> {
        let shared = &self.shared;
        let sender = mail.sender.as_ref();
        let permit = shared
            .accounts
            .permit(&shared.listener, self.user.as_ref(), self.peer, sender)
            .map_err(|error| {
                tracing::warn!(peer = ?self.peer, sender = ?mail.sender, %error, "mail refused");
                replies::forbidden(error)
            })?;
        shared.queue.has_room(mail.size.unwrap_or(0)).map_err(|error| {
            tracing::error!(%error, "mail not accepted, the client may try again");
            replies::not_accepted(&error)
        })?;
        let now = SystemTime::now();
        self.transaction = Some(Transaction::new(Id::new(now, random()), permit, mail, now));
        Ok(replies::SENDER_OK)
    }

    async fn body_end(&mut self, verdict: Result<(), Reply>) {
        let transaction = self.transaction.take();
        let reply = match (verdict, transaction) {
            (Ok(()), Some(transaction)) => {
                let origin = origin(&self.dialogue, self.peer, self.user.as_ref());
                transaction.finish(&self.shared, origin).await
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
    let protocol = match (dialogue.is_extended(), user.is_some()) {
        (false, _) => "SMTP",
        (true, false) => "ESMTP",
        (true, true) => "ESMTPA",
    };
    Origin { name: dialogue.client_name(), address, protocol }
}

/// Reads once and feeds the dialogue; the buffer exists only while the read is polled.
async fn feed<S>(stream: &mut S, dialogue: &mut Dialogue) -> std::io::Result<()>
where
    S: AsyncRead + Unpin,
{
    poll_fn(|context| {
        let mut octets = [const { MaybeUninit::<u8>::uninit() }; READ];
        let mut buffer = ReadBuf::uninit(&mut octets);
        let read = Pin::new(&mut *stream).poll_read(context, &mut buffer);
        if matches!(read, std::task::Poll::Ready(Ok(()))) {
            match buffer.filled() {
                [] => dialogue.feed_end(),
                filled => dialogue.feed(filled),
            }
        }
        read
    })
    .await
}

/// Thirty random bits for an id; ids need not be secret, only different.
fn random() -> u32 {
    use std::hash::{BuildHasher, RandomState};
    (RandomState::new().hash_one(0_u8) & 0xffff_ffff) as u32
}
