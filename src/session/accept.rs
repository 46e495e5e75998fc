//! What happens between MAIL and the 250: the envelope is gathered, the header edited, the body spooled.
//!
//! In direct mode the body goes to the upstream instead ([`direct`](super::direct)). It promises that a mail
//! that is not accepted leaves nothing behind, and that of the message only the header is held in memory.

use super::Shared;
use super::direct::{Answers, Through};
use super::intake::Intake;
use super::outlet::Outlet;
use super::replies;
use crate::accounts::{Accounts, Permit};
use crate::config::{Headers, Received as Detail};
use crate::mail::header::{self, Edit, End};
use crate::mail::received::{self, Received};
use crate::mail::{Envelope, Id, Recipient};
use crate::queue::{Coming, Queue};
use crate::smtp::{Reply, server};
use std::net::IpAddr;
use std::time::SystemTime;

/// Octets of a header at most. Exchange: 552 "Header size exceeds fixed maximum size".
const LARGEST_HEADER: usize = 256 * 1024;

/// A mail that is coming in.
#[derive(Debug)]
pub struct Transaction {
    id: Id,
    permit: Permit,
    envelope: Envelope,
    accepted: SystemTime,
    message: Message,
    /// Octets of the message that came so far.
    size: u64,
    /// It may go by Graph, which has other bounds than SMTP.
    by_graph: bool,
    /// In direct mode, until the body comes: what the upstream was asked.
    pub(super) through: Option<Through>,
    /// While the queue awaits it.
    coming: Option<Coming>,
}

/// How far the message has come.
#[derive(Debug)]
enum Message {
    /// DATA was not said yet.
    Awaited,
    /// The end of the header was not seen yet; where the search for it stands.
    Header(Vec<u8>, usize),
    /// The edited header went ahead, the body follows.
    Body(Outlet),
    /// It will be refused with this reply; the rest is dropped.
    Refused(Reply),
}

/// What `Received:` tells of the client.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The name it gave.
    pub name: &'a str,
    /// Its address; none over a Unix socket.
    pub address: Option<IpAddr>,
    /// `ESMTP`, `ESMTPA`, … (RFC 3848).
    pub protocol: &'static str,
}

/// Whether the account's server takes so many octets; `by_graph`: the mail may go to that one.
///
/// # Errors
/// The reply to refuse with: it would only come back.
pub fn check_size(permit: &Permit, size: u64, by_graph: bool) -> Result<(), Reply> {
    let limit = permit.account.max_message_size(by_graph);
    if size <= limit {
        return Ok(());
    }
    tracing::warn!(account = %permit.account.name, size, limit,
        "mail refused: it is larger than the account's server takes");
    Err(replies::too_large(&permit.account, by_graph))
}

impl Transaction {
    /// Opens one at MAIL.
    pub fn new(id: Id, permit: Permit, mail: server::Mail, now: SystemTime) -> Self {
        let sender = permit.sender(mail.sender.clone());
        if sender != mail.sender {
            tracing::info!(%id, from = ?mail.sender, to = ?sender, "sender rewritten");
        }
        let envelope = Envelope {
            sender,
            body: mail.body,
            smtputf8: mail.smtputf8,
            ret: mail.ret,
            envid: mail.envid,
            recipients: Vec::new(),
        };
        let (message, size, by_graph, through) = (Message::Awaited, 0, false, None);
        let coming = None;
        Self { id, permit, envelope, accepted: now, message, size, by_graph, through, coming }
    }

    /// Opens one at MAIL that passes through.
    pub fn direct(id: Id, permit: Permit, mail: server::Mail, now: SystemTime) -> Self {
        let through = Some(Through::new(mail.size));
        Self { through, ..Self::new(id, permit, mail, now) }
    }

    /// The same, whether or not it may go by Graph.
    pub fn by_graph(self, by_graph: bool) -> Self {
        Self { by_graph, ..self }
    }

    /// The queue id it will bear.
    pub fn id(&self) -> Id {
        self.id
    }

    /// One more recipient, or several where it is an alias. The same one twice is taken once. No reply: the
    /// upstream is asked first.
    pub fn add(&mut self, recipient: Recipient) -> Option<Reply> {
        let address = recipient.address.clone();
        let all = match self.permit.recipients(recipient) {
            Ok(all) => all,
            Err(error) => {
                tracing::warn!(id = %self.id, recipient = ?address, %error, "recipient refused");
                return Some(replies::forbidden(error));
            }
        };
        let recipients = &mut self.envelope.recipients;
        let first = all.first().map(|recipient| recipient.address.clone());
        let before = recipients.len();
        for recipient in all {
            if !recipients.iter().any(|known| known.address == recipient.address) {
                recipients.push(recipient);
            }
        }
        let Some(through) = &mut self.through else { return Some(replies::RECIPIENT_OK) };
        let known = recipients.iter().position(|known| Some(&known.address) == first.as_ref());
        through.put_off(before..recipients.len(), known.unwrap_or(before));
        None
    }

    /// Asks the upstream what was put off, in direct mode; with `data` for the body too.
    pub async fn ask(&mut self, shared: &Shared, data: bool) -> Answers {
        let Self { id, permit, envelope, through, by_graph, .. } = self;
        let Some(through) = through else { return Answers::default() };
        let answers = through.ask(*id, &permit.account.name, envelope, shared, data).await;
        *by_graph = through.is_by_graph();
        answers
    }

    /// How many answers are put off.
    pub fn put_off(&self) -> usize {
        self.through.as_ref().map_or(0, Through::put_offs)
    }

    /// Whether it holds a turn of its mailbox.
    pub fn holds_turn(&self) -> bool {
        match &self.message {
            Message::Body(outlet) => outlet.holds_turn(),
            _ => self.through.as_ref().is_some_and(Through::holds_turn),
        }
    }

    /// Gives its turn up; what comes after is answered with this.
    pub fn lose_turn(&mut self, reply: Reply) {
        tracing::info!(id = %self.id, %reply, "turn lost");
        match self.message {
            Message::Awaited => {
                if let Some(through) = &mut self.through {
                    through.lose(reply);
                }
            }
            _ => self.refuse(reply),
        }
    }

    /// Sends on what has come of the body.
    pub async fn pass_on(&mut self) {
        if let Message::Body(Outlet::Passage(passage)) = &mut self.message
            && let Err(reply) = passage.flush().await
        {
            self.refuse(reply);
        }
    }

    /// The body will be refused, whatever follows: nothing more of it goes on.
    pub fn abandon(&mut self) {
        if !matches!(self.message, Message::Refused(_)) {
            self.refuse(replies::STORE_FAILED);
        }
    }

    /// The rest of the message is dropped, and what holds it.
    fn refuse(&mut self, reply: Reply) {
        self.through = None;
        self.message = Message::Refused(reply);
    }

    /// The body is about to come.
    pub fn start(&mut self) {
        self.message = Message::Header(Vec::new(), 0);
    }

    /// The same, and the queue awaits it.
    pub fn start_for(&mut self, queue: &Queue) {
        self.coming = Some(queue.expect());
        self.start();
    }

    /// Takes more of the message.
    pub async fn write(&mut self, octets: &[u8], shared: &Shared, origin: Origin<'_>) {
        self.size = self.size.saturating_add(octets.len() as u64);
        if !matches!(self.message, Message::Refused(_))
            && let Err(reply) = check_size(&self.permit, self.size, self.by_graph)
        {
            self.refuse(reply);
        }
        match &mut self.message {
            Message::Header(held, searched) => {
                // Mostly the header comes whole, and is read where it lies.
                let (mut held, searched) = (std::mem::take(held), *searched);
                let octets = if held.is_empty() {
                    octets
                } else {
                    held.extend_from_slice(octets);
                    &held
                };
                match header::find_end_from(octets, searched) {
                    Ok(end) => self.end_header(octets, end, shared, origin).await,
                    Err(_) if octets.len() > LARGEST_HEADER => {
                        self.refuse(replies::HEADER_TOO_LARGE);
                    }
                    Err(searched) if held.is_empty() => {
                        self.message = Message::Header(octets.to_vec(), searched);
                    }
                    Err(searched) => self.message = Message::Header(held, searched),
                }
            }
            Message::Body(outlet) => {
                if let Err(reply) = outlet.write(self.id, octets).await {
                    self.refuse(reply);
                }
            }
            Message::Awaited | Message::Refused(_) => {}
        }
    }

    /// The header is whole: edits it and sends it ahead with what has come of the body.
    async fn end_header(&mut self, held: &[u8], end: End, shared: &Shared, origin: Origin<'_>) {
        let (fields, rest) = held.split_at(end.header);
        if fields.len() > LARGEST_HEADER {
            return self.refuse(replies::HEADER_TOO_LARGE);
        }
        if received::is_loop(fields, &shared.hostname) {
            tracing::warn!(id = %self.id, "mail refused: it loops");
            return self.refuse(replies::MAIL_LOOP);
        }
        let fields = match self.permit.header(fields) {
            Ok(fields) => fields,
            Err(error) => {
                tracing::warn!(id = %self.id, %error, "mail refused");
                return self.refuse(replies::forbidden(error));
            }
        };
        let edited = self.edit(shared, origin).apply(&fields, end);
        self.by_graph |=
            self.through.is_none() && shared.passages.may_be_graph(&self.permit.account);
        if self.by_graph
            && let Err(reply) = self.preflight(&edited, &shared.accounts)
        {
            return self.refuse(reply);
        }
        let mut outlet = match self.through.take().map(Through::into_passage) {
            None => {
                let inspection = self.by_graph.then(|| self.permit.inspection()).flatten();
                Outlet::spool(shared.queue.spool(), inspection)
            }
            Some(Some(passage)) => Outlet::Passage(passage),
            // It was lost meanwhile, and that was said.
            Some(None) => return self.refuse(replies::TURN_LOST),
        };
        let sent = match outlet.write(self.id, &edited).await {
            Ok(()) => outlet.write(self.id, rest).await,
            refused => refused,
        };
        match sent {
            Ok(()) => self.message = Message::Body(outlet),
            Err(reply) => self.refuse(reply),
        }
    }

    /// Whether Graph takes it, now rather than days later.
    fn preflight(&self, header: &[u8], accounts: &Accounts) -> Result<(), Reply> {
        let losses = self.permit.preflight(header, &self.envelope.recipients).map_err(|why| {
            tracing::warn!(id = %self.id, %why, "mail refused");
            replies::unsendable(&why)
        })?;
        if losses.alias {
            tracing::info!(id = %self.id,
                "From is not the mailbox itself: Exchange may show the mailbox instead (Set-OrganizationConfig -SendFromAliasEnabled)");
        }
        let account = self.permit.account.name.as_str();
        if losses.name && accounts.is_news(account) {
            tracing::info!(id = %self.id, account,
                "Exchange may show the directory's name instead of that in From (this is said once)");
        }
        Ok(())
    }

    fn edit(&self, shared: &Shared, origin: Origin<'_>) -> Edit {
        let Headers { add_date, add_message_id, remove_bcc, remove_return_path } = shared.headers;
        let client = match shared.listener.received {
            Detail::Full => Some((origin.name, origin.address)),
            Detail::Minimal | Detail::None => None,
        };
        let received = Received {
            client,
            hostname: &shared.hostname,
            protocol: origin.protocol,
            id: self.id,
            date: self.accepted,
        };
        Edit {
            received: (shared.listener.received != Detail::None).then(|| received.field()),
            date: add_date.then(|| received::date(self.accepted)),
            message_id: add_message_id.then(|| format!("<{}@{}>", self.id, shared.hostname)),
            remove_bcc,
            remove_return_path,
        }
    }

    /// The message has ended; a header without an end, too.
    pub async fn close(&mut self, shared: &Shared, origin: Origin<'_>) {
        if let Message::Header(held, _) = &mut self.message {
            // No empty line came: all of it is header, or it has none at all.
            let held = std::mem::take(held);
            let end = header::find_end(&held, true).unwrap_or(End { header: 0, needs_blank: true });
            self.end_header(&held, end, shared, origin).await;
        }
    }

    /// Makes it durable, or asks the upstream, which a client that is `gone` while its mail waits for a turn no
    /// longer wants. The reply is the only 250 there is.
    pub async fn finish(self, shared: &Shared, gone: impl Future<Output = ()>) -> Reply {
        match self.message {
            Message::Body(Outlet::Passage(passage)) => {
                let Envelope { sender, recipients, .. } = &self.envelope;
                let entered = tokio::select! {
                    biased;
                    entered = passage.enter() => entered,
                    () = gone => {
                        tracing::info!(id = %self.id, "the client went away while it waited");
                        Err(replies::CLIENT_GONE)
                    }
                };
                let reply = match entered {
                    Ok(entered) => entered.end().await,
                    Err(reply) => reply,
                };
                if reply.is_positive() {
                    let sender = sender.as_ref().map_or("<>", |sender| sender.as_str());
                    let (account, recipients) = (&self.permit.account.name, recipients.len());
                    tracing::info!(id = %self.id, %account, sender, recipients, "passed on");
                }
                reply
            }
            Message::Body(Outlet::Spool(spool)) => {
                let writer = match spool.end(self.id, self.size) {
                    Ok(writer) => writer,
                    Err(reply) => return reply,
                };
                let submission = Intake {
                    id: self.id,
                    account: self.permit.account.name.clone(),
                    envelope: self.envelope,
                    accepted: self.accepted,
                };
                submission.queue(writer, self.coming, shared).await
            }
            Message::Refused(reply) => reply,
            Message::Awaited | Message::Header(..) => replies::STORE_FAILED,
        }
    }
}
