//! Direct mode in a session: what the client says is put off until a whole flight can be asked.
//!
//! MAIL is answered by us and asked with the first RCPT, a round trip less. It promises that RCPT and DATA that
//! came together are asked together and answered one by one with the upstream's own words, that a client which
//! goes away while it waits takes no turn, and that one which does nothing loses the turn it holds.

use super::{READ, Session, Shared, feed, replies};
use crate::config::Mode;
use crate::delivery::direct::{Flight, Passage};
use crate::mail::{Envelope, Id};
use crate::smtp::Reply;
use crate::smtp::server::Dialogue;
use std::future::pending;
use std::ops::Range;
use std::time::Instant;
use tokio::io::{AsyncRead, AsyncWrite};

/// What came back of a flight.
#[derive(Debug, Default)]
pub struct Answers {
    /// To what was put off, in order.
    pub settled: Vec<Reply>,
    /// To DATA, where that was asked.
    pub data: Option<Reply>,
}

/// An envelope on its way to the upstream.
#[derive(Debug)]
pub struct Through {
    /// What the client declared.
    size: Option<u64>,
    passage: Option<Passage>,
    /// MAIL was asked.
    is_begun: bool,
    /// The replies to the recipients that were asked.
    recipients: Vec<Reply>,
    /// Each RCPT that waits for its answer, as its recipients in the envelope.
    due: Vec<Range<usize>>,
    /// The answer to everything, once nothing can be asked any more.
    lost: Option<Reply>,
}

impl Through {
    /// At MAIL.
    pub fn new(size: Option<u64>) -> Self {
        let (recipients, due) = (Vec::new(), Vec::new());
        Self { size, passage: None, is_begun: false, recipients, due, lost: None }
    }

    /// A RCPT is put off: `new` ones in the envelope, or only one that was `known`.
    pub fn put_off(&mut self, new: Range<usize>, known: usize) {
        self.due.push(if new.is_empty() { known..known + 1 } else { new });
    }

    /// How many answers are put off.
    pub fn put_offs(&self) -> usize {
        self.due.len()
    }

    pub fn holds_turn(&self) -> bool {
        self.passage.as_ref().is_some_and(Passage::holds_turn)
    }

    /// Whether the mail goes by Graph; not known before MAIL was asked.
    pub fn is_by_graph(&self) -> bool {
        self.passage.as_ref().is_some_and(Passage::is_by_graph)
    }

    /// Whatever is asked from now on has this answer.
    pub fn lose(&mut self, reply: Reply) {
        self.passage = None;
        self.lost = Some(reply);
    }

    /// For the body.
    pub fn into_passage(self) -> Option<Passage> {
        self.passage
    }

    /// Asks for all that was put off.
    pub async fn ask(
        &mut self,
        id: Id,
        account: &str,
        envelope: &Envelope,
        shared: &Shared,
        data: bool,
    ) -> Answers {
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        let flight = Flight {
            mail: is_first.then_some((envelope, self.size)),
            recipients: envelope.recipients.get(self.recipients.len()..).unwrap_or_default(),
            data,
        };
        let mut replies = match flight.is_empty() {
            true => Vec::new().into_iter(),
            false => self.fly(id, account, shared, &flight).await.into_iter(),
        };
        if is_first
            && let Some(mut mail) = replies.next()
            && !mail.is_positive()
        {
            // What was said behind it was refused for it. To RCPT a 552 would mean "too many recipients",
            // which passes (RFC 5321 §4.5.3.1.10).
            if mail.code == 552 {
                mail.code = 550;
            }
            self.lose(mail.clone());
            replies = vec![mail; flight.len()].into_iter();
        }
        self.recipients.extend(replies.by_ref().take(flight.recipients.len()));
        let recipients = &self.recipients;
        let settled = self.due.drain(..).map(|all| joint(recipients.get(all).unwrap_or_default()));
        Answers { settled: settled.collect(), data: data.then(|| replies.next()).flatten() }
    }

    async fn fly(
        &mut self,
        id: Id,
        account: &str,
        shared: &Shared,
        flight: &Flight<'_>,
    ) -> Vec<Reply> {
        let lost = match (&self.lost, &mut self.passage, shared.listener.mode) {
            (Some(reply), ..) => reply.clone(),
            (None, Some(passage), _) => return passage.ask(flight).await,
            (None, None, Mode::Direct(direct)) => {
                let patience = direct.turn_timeout;
                match shared.passages.begin(account, id, patience, flight).await {
                    Ok((passage, replies)) => {
                        self.passage = Some(passage);
                        return replies;
                    }
                    Err(reply) => reply,
                }
            }
            // A listener has one mode for the whole of a session.
            (None, None, Mode::Queue) => replies::STORE_FAILED,
        };
        self.lost = Some(lost.clone());
        vec![lost; flight.len()]
    }
}

/// The answer to a RCPT that became several: the first refusal. A client that hears of one asks again, and who
/// was taken then has the mail twice; one that does not would never know who has it not at all.
fn joint(all: &[Reply]) -> Reply {
    let refusal = all.iter().find(|reply| !reply.is_positive());
    refusal.or(all.first()).cloned().unwrap_or(replies::STORE_FAILED)
}

impl<S: AsyncRead + AsyncWrite + Unpin> Session<S> {
    pub(super) fn is_direct(&self) -> bool {
        matches!(self.shared.listener.mode, Mode::Direct(_))
    }

    /// Asks the upstream for what was put off, and with `data` for the body, and answers the client.
    pub(super) async fn ask(&mut self, data: bool) {
        let Self { wire, dialogue, transaction, shared, .. } = self;
        let Some(mail) = transaction else { return };
        let (put_off, id) = (mail.put_off(), mail.id());
        // Boxed, so that an idle session does not carry its room.
        let asked = Box::pin(mail.ask(shared, data));
        let answers = tokio::select! {
            biased;
            answers = asked => answers,
            () = gone(wire, dialogue, false) => {
                tracing::info!(%id, "the client went away while it waited");
                *transaction = None;
                let gone = replies::CLIENT_GONE;
                Answers { settled: vec![gone.clone(); put_off], data: data.then_some(gone) }
            }
        };
        answers.settled.iter().for_each(|reply| dialogue.settle(reply));
        if let Some(reply) = &answers.data {
            dialogue.answer(reply);
        }
        match transaction {
            Some(transaction) if dialogue.is_in_transaction() => {
                if data {
                    transaction.start();
                }
            }
            _ => *transaction = None,
        }
    }

    /// Sends on what came of the body, before more is waited for.
    pub(super) async fn pass_on(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.pass_on().await;
        }
    }

    /// When the client has waited too long, or has let its turn wait too long.
    pub(super) fn until(&self) -> Instant {
        let until = self.patience.until();
        match (&self.transaction, self.shared.listener.mode) {
            (Some(transaction), Mode::Direct(direct)) if transaction.holds_turn() => {
                until.min(self.patience.stalls(direct.stall_timeout))
            }
            _ => until,
        }
    }

    /// The turn is lost, the session is not.
    pub(super) fn lose_turn(&mut self) {
        if let Some(transaction) = &mut self.transaction {
            transaction.lose_turn(replies::TURN_LOST);
        }
    }
}

/// Ends when the client cannot end its mail any more: it broke off, or has closed its side and nothing of it is
/// left to be understood. Who closes his side behind a mail that is whole (`has_ended`, or held) waits for its answer.
pub(super) async fn gone<S: AsyncRead + Unpin>(
    wire: &mut S,
    dialogue: &mut Dialogue,
    has_ended: bool,
) {
    while dialogue.held() < READ {
        match feed(wire, dialogue).await {
            Ok(0) if has_ended || dialogue.held() > 0 => break,
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
    pending().await
}
