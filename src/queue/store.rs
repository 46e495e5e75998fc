//! The store, as the rest of the queue sees it: the way to the one thread that writes.
//!
//! It promises that an answer is given only after the commit that holds the work, and that nothing but
//! such an answer makes a [`Receipt`]. It knows no SQL.

use super::body::{Placing, Spool};
use super::coming::Awaited;
use super::pulse::{Life, Pulse};
use super::room::Room;
use super::schema::Opened;
use super::scribe::Scribe;
use super::wake::{Bells, Recent};
use super::work::{Ledger, Mail, Note, Refusal, Work};
use super::{AcceptError, Receipt, Settlement, StoreError, Submission};
use crate::mail::Id;
use std::sync::atomic::AtomicU64;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// What the writer and the rest see.
#[derive(Debug)]
pub(super) struct Shared {
    pub room: Arc<Room>,
    pub recent: Recent,
    pub bells: Bells,
    pub awaited: Arc<Awaited>,
    pub spool: Arc<Spool>,
    pub commits: AtomicU64,
    pub pulse: Arc<Pulse>,
    /// How long settled mail is listed, in seconds.
    pub history: AtomicU64,
}

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Store {
    pub shared: Arc<Shared>,
    work: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What goes to the writer.
#[derive(Debug)]
pub(super) enum Message {
    Piece(Piece),
    Close,
}

/// Work and whom to tell.
#[derive(Debug)]
pub(super) struct Piece {
    pub work: Work,
    pub reply: Option<oneshot::Sender<Result<(), Refusal>>>,
}

/// A way to the writer that nobody waits at, for what a reader finds.
#[derive(Clone, Debug)]
pub(super) struct Notes(Sender<Message>);

impl Notes {
    /// Has the mail marked as damaged; before any work sent later is done.
    pub(super) fn damage(&self, key: String, fault: String) {
        // A closed store marks nothing; it is found again when it is next read.
        let work = Work::Damage { key, fault };
        let _ = self.0.send(Message::Piece(Piece { work, reply: None }));
    }
}

impl Store {
    /// Starts the writer.
    pub(super) fn start(opened: Opened, shared: Arc<Shared>) -> std::io::Result<Self> {
        let (work, pieces) = channel();
        let ledger = Ledger { conn: opened.conn, next_key: opened.next_key, used: opened.used };
        shared.room.set_used(opened.used);
        let scribe = Scribe::new(ledger, shared.clone());
        let lock = opened.lock;
        let life = Life(shared.pulse.clone());
        let run = move || {
            let _life = life;
            scribe.run(&pieces, lock);
        };
        let thread = std::thread::Builder::new().name("queue-writer".into()).spawn(run)?;
        Ok(Self { shared, work, thread: Mutex::new(Some(thread)) })
    }

    /// Makes a mail durable. Nothing else makes a [`Receipt`].
    pub(super) async fn accept(&self, mut submission: Submission) -> Result<Receipt, AcceptError> {
        let id = submission.id;
        submission.body.place(&self.shared.spool, id).await.map_err(|placing| match placing {
            Placing::Full(what) => AcceptError::Full(what),
            Placing::Failed(what) => StoreError(what).into(),
        })?;
        let mail = Mail::new(submission)?;
        match self.perform(Work::Accept(Box::new(mail))).await {
            Ok(()) => Ok(Receipt { id }),
            Err(Refusal::Full(what)) => Err(AcceptError::Full(what)),
            Err(refusal) => Err(refusal.into_error(id).into()),
        }
    }

    /// Notes what became of a try, with its report.
    pub(super) async fn settle(
        &self,
        id: Id,
        mut settlement: Settlement,
    ) -> Result<(), StoreError> {
        if let Some(report) = &mut settlement.report {
            let placed = report.body.place(&self.shared.spool, report.id).await;
            placed.map_err(|placing| match placing {
                Placing::Full(what) | Placing::Failed(what) => StoreError(what),
            })?;
        }
        let note = Note::new(id, settlement)?;
        let done = self.perform(Work::Settle(id, Box::new(note))).await;
        done.map_err(|refusal| refusal.into_error(id))
    }

    /// Has work done and waits for its commit.
    pub(super) async fn perform(&self, work: Work) -> Result<(), Refusal> {
        let closed = || Refusal::Failed("the queue is closed".into());
        let (reply, answer) = oneshot::channel();
        let piece = Piece { work, reply: Some(reply) };
        self.work.send(Message::Piece(piece)).map_err(|_| closed())?;
        #[cfg(test)]
        let _still = still_clock();
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    pub(super) fn notes(&self) -> Notes {
        Notes(self.work.clone())
    }

    /// Ends the writer after what was sent before; blocks until it has ended.
    pub(super) fn close(&self) {
        let _ = self.work.send(Message::Close);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the queue's writer ended by a panic");
        }
    }
}

/// Tokio's paused clock runs ahead while a task waits for a thread it does not know, such as the writer:
/// hours pass in a blink. It stands still while a blocking task of its own waits, until the value is dropped.
#[cfg(test)]
fn still_clock() -> impl Sized {
    let (held, until_dropped) = channel::<()>();
    tokio::task::spawn_blocking(move || until_dropped.recv());
    held
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Full(what) => write!(f, "no room: {what}"),
            Self::Failed(what) => f.write_str(what),
            Self::Unknown => f.write_str("is not in the queue"),
            Self::State(state) => write!(f, "is {state}"),
        }
    }
}

impl Refusal {
    /// As a [`StoreError`], for work that knows no other.
    pub(super) fn into_error(self, id: Id) -> StoreError {
        StoreError(match self {
            Self::Unknown | Self::State(_) => format!("{id} {self}"),
            refusal => refusal.to_string(),
        })
    }
}

impl Piece {
    pub(super) fn answer(self, result: Result<(), Refusal>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(result);
        }
    }

    /// Whether nobody waits for a mail to be taken: its client was told nothing and will come again.
    pub(super) fn is_abandoned(&self) -> bool {
        let gone = self.reply.as_ref().is_some_and(oneshot::Sender::is_closed);
        gone && self.is_mail()
    }

    /// Whether it is a mail to be taken, rather than a note on one that was.
    pub(super) fn is_mail(&self) -> bool {
        matches!(self.work, Work::Accept(_))
    }

    pub(super) fn octets(&self) -> usize {
        match &self.work {
            Work::Accept(mail) => mail.body.inline().map_or(0, |octets| octets.len()),
            _ => 0,
        }
    }

    /// The body files of this piece stay: their rows are committed, or may be.
    pub(super) fn keep_files(&mut self) {
        match &mut self.work {
            Work::Accept(mail) => mail.body.keep(),
            Work::Settle(_, note) => {
                if let Some(report) = &mut note.report {
                    report.body.keep();
                }
            }
            _ => {}
        }
    }
}
