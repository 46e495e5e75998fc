//! A mail at Exchange: MAIL is counted, RCPT nearly always good, and the judgement comes after the dot.

use super::{Next, Submission};
use crate::mail::{Envelope, Recipient};
use crate::sandbox::fault_value::take_from;
use crate::sandbox::faults::{Point, Stage};
use crate::sandbox::messages::{Door, Message};
use crate::sandbox::options::Mailbox;
use crate::sandbox::{random, submission, texts};
use crate::smtp::Reply;
use crate::smtp::server::Mail;
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

impl Submission {
    pub(super) fn mail(&mut self, mail: Mail) -> Next {
        self.world.count(|statistics| statistics.mail_commands += 1);
        if self.is_cut(Point::Mail) {
            return Next::Cut;
        }
        let reply = match self.scripted(Stage::Mail) {
            Some(reply) => reply,
            None => self.judge_mail(&mail).err().unwrap_or(texts::SENDER_OK),
        };
        if reply.code == 250 {
            self.envelope = Some(Envelope {
                sender: mail.sender,
                body: mail.body,
                smtputf8: mail.smtputf8,
                ret: mail.ret,
                envid: mail.envid,
                recipients: Vec::new(),
            });
        }
        self.answer(&reply)
    }

    fn judge_mail(&mut self, mail: &Mail) -> Result<(), Reply> {
        let Some(mailbox) = &self.mailbox else {
            return Err(texts::not_authenticated(self.failure.as_ref()));
        };
        let limits = self.world.limits();
        if self.slot.is_none() {
            self.slot = self.world.ledger.slot(&mailbox.address, &limits);
        }
        if self.slot.is_none() {
            self.world.count(|statistics| statistics.connection_refusals += 1);
            return Err(texts::TOO_MANY_CONNECTIONS);
        }
        if self.world.ledger.refuses(&mailbox.address, &limits, Instant::now()) {
            return Err(texts::TOO_FAST);
        }
        if mail.sender.is_none() {
            return Err(texts::NO_SENDER);
        }
        Ok(())
    }

    pub(super) fn rcpt(&mut self, recipient: Recipient) -> Next {
        if self.is_cut(Point::Rcpt) {
            return Next::Cut;
        }
        let address = recipient.address.as_str().to_lowercase();
        let own = self.smtp_fault(|smtp| take_from(&mut smtp.recipients, &address));
        let reply = match own {
            Some(reply) => reply.to_reply(),
            None => self.scripted(Stage::Rcpt).unwrap_or(texts::RECIPIENT_OK),
        };
        if let (true, Some(envelope)) = (reply.code / 100 == 2, &mut self.envelope) {
            envelope.recipients.push(recipient);
        }
        self.answer(&reply)
    }

    pub(super) fn data(&mut self) -> Next {
        if self.is_cut(Point::Data) {
            return Next::Cut;
        }
        let reply = self.scripted(Stage::Data).unwrap_or(texts::START);
        self.answer(&reply)
    }

    pub(super) fn body(&mut self, octets: &[u8]) -> Next {
        if self.is_cut(Point::Body) {
            return Next::Cut;
        }
        self.size += octets.len() as u64;
        // A mail that is refused for its size anyway need not be held.
        if self.size <= self.world.limits().message_size {
            self.body.extend_from_slice(octets);
        }
        Next::Go
    }

    pub(super) async fn body_end(&mut self, verdict: Result<(), Reply>) -> Next {
        self.world.count(|statistics| statistics.bodies += 1);
        if self.is_cut(Point::AfterDotBeforeAccept) {
            return Next::Cut;
        }
        self.world.wait_while(|faults| faults.smtp.hold_dot).await;
        let scripted = self.scripted(Stage::Dot);
        let taken = match (verdict, &scripted) {
            (Err(reply), _) => Err(reply),
            (Ok(()), Some(reply)) if reply.code != 250 => Err(reply.clone()),
            (Ok(()), _) => self.take_mail().await,
        };
        match &taken {
            Ok(_) => self.world.count(|statistics| statistics.messages += 1),
            Err(_) => self.world.count(|statistics| statistics.message_refusals += 1),
        }
        self.forget();
        let cut = taken.is_ok() && self.is_cut(Point::AfterDotAfterAccept);
        if cut {
            return Next::Cut;
        }
        let reply = match (taken, scripted) {
            (Ok(_), Some(reply)) => reply,
            (Ok(reply), None) | (Err(reply), _) => reply,
        };
        self.answer(&reply)
    }

    /// Judges the mail and keeps it; the reply is the acceptance.
    async fn take_mail(&mut self) -> Result<Reply, Reply> {
        let limits = self.world.limits();
        let (Some(mailbox), Some(envelope)) = (self.mailbox.clone(), self.envelope.take()) else {
            return Err(texts::not_authenticated(self.failure.as_ref()));
        };
        if self.size > limits.message_size {
            return Err(texts::TOO_LARGE);
        }
        let sender = envelope.sender.as_ref().map(|sender| sender.as_str());
        submission::judge(&mailbox, sender, &self.body, texts::BACK)?;
        let ledger = &self.world.ledger;
        let now = Instant::now();
        if !ledger.count_recipients(&mailbox.address, envelope.recipients.len(), &limits, now) {
            return Err(texts::QUOTA);
        }
        let wait = ledger.pace(&mailbox.address, &limits, now);
        if wait > Duration::ZERO {
            self.world.count(|statistics| statistics.delayed += 1);
            tokio::time::sleep(wait).await;
        }
        let message = self.message(mailbox, envelope);
        let accepted = texts::accepted(&message.message_id);
        if let Err(error) = self.world.messages.keep(message, &limits).await {
            tracing::warn!(%error, "sandbox: the mail could not be written");
            return Err(texts::NO_ROOM);
        }
        Ok(accepted)
    }

    fn message(&mut self, mailbox: Mailbox, envelope: Envelope) -> Message {
        let raw = self.body.split().freeze();
        // Exchange adds an id where there is none.
        let message_id = submission::header(&raw, "message-id")
            .filter(|id| !id.is_empty())
            .unwrap_or_else(|| format!("<{}@{}>", random::hex::<16>(), texts::BACK));
        Message {
            number: 0,
            received: humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
            mailbox: mailbox.address,
            door: Door::Smtp,
            client: self.dialogue.client_name().to_owned(),
            message_id,
            envelope,
            size: raw.len(),
            raw,
        }
    }

    pub(super) fn forget(&mut self) {
        self.envelope = None;
        self.body.clear();
        self.size = 0;
    }
}
