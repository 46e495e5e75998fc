//! The store: SQLite, one writer thread, group commit.
//!
//! It promises that an answer is given only after the commit that holds the work, that whatever waits
//! while one commit runs goes into the next one together, and that a commit that failed fails all its
//! work: it is not tried again, since the kernel forgets which pages it could not write. The
//! connection is kept then, so that the next commit writes over what the failed one left in the log.

use super::body::{Placing, Spool};
use super::room::Room;
use super::schema::Opened;
use super::wake::{Bells, Recent};
use super::work::{Effect, Ledger, Mail, Note, Refusal, Work};
use super::{AcceptError, Receipt, Settlement, StoreError, Submission};
use crate::mail::Id;
use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};
use tokio::sync::oneshot;

/// Pieces of work in one transaction at most.
const BATCH: usize = 256;
/// Octets of inline bodies in one transaction, about.
const BATCH_OCTETS: usize = 8 * 1024 * 1024;
/// So long nothing came: time to tidy.
const QUIET: Duration = Duration::from_secs(5);
/// Settled mails after which the history is pruned though it is not quiet.
const PRUNE_EVERY: u32 = 500;

/// What the writer and the rest see.
#[derive(Debug)]
pub(super) struct Shared {
    pub room: Room,
    pub recent: Recent,
    pub bells: Bells,
    pub spool: Arc<Spool>,
    pub commits: AtomicU64,
}

/// The way to the writer.
#[derive(Debug)]
pub(super) struct Store {
    pub shared: Arc<Shared>,
    work: Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
enum Message {
    Piece(Piece),
    Close,
}

/// Work and whom to tell.
#[derive(Debug)]
struct Piece {
    work: Work,
    reply: Option<oneshot::Sender<Result<(), Refusal>>>,
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
    pub(super) fn start(
        opened: Opened,
        shared: Arc<Shared>,
        history: Duration,
    ) -> std::io::Result<Self> {
        let (work, pieces) = channel();
        let ledger = Ledger { conn: opened.conn, next_key: opened.next_key, used: opened.used };
        shared.room.set_used(opened.used);
        let scribe = Scribe { ledger, shared: shared.clone(), history, left: 0 };
        let lock = opened.lock;
        let run = move || scribe.run(&pieces, lock);
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

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Refusal {
    /// As a [`StoreError`], for work that knows no other.
    pub(super) fn into_error(self, id: Id) -> StoreError {
        StoreError(match self {
            Self::Full(what) => format!("no room: {what}"),
            Self::Failed(what) => what,
            Self::Unknown => format!("{id} is not in the queue"),
            Self::State(state) => format!("{id} is {state}"),
        })
    }
}

impl Piece {
    fn answer(self, result: Result<(), Refusal>) {
        if let Some(reply) = self.reply {
            let _ = reply.send(result);
        }
    }

    /// Whether nobody waits for a mail to be taken: its client was told nothing and will come again.
    fn is_abandoned(&self) -> bool {
        let gone = self.reply.as_ref().is_some_and(oneshot::Sender::is_closed);
        gone && matches!(self.work, Work::Accept(_))
    }

    fn octets(&self) -> usize {
        match &self.work {
            Work::Accept(mail) => mail.body.inline().map_or(0, |octets| octets.len()),
            _ => 0,
        }
    }

    /// The body files of this piece stay: their rows are committed, or may be.
    fn keep_files(&mut self) {
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

/// The writer.
struct Scribe {
    ledger: Ledger,
    shared: Arc<Shared>,
    history: Duration,
    /// Mails that left since the history was pruned.
    left: u32,
}

/// Why a transaction failed, and where.
enum Failure {
    /// It could not begin.
    Begin(rusqlite::Error),
    /// One piece of work could not be written.
    Work(rusqlite::Error),
    /// The commit failed: what is on the disk is not known.
    Commit(rusqlite::Error),
}

impl Failure {
    fn refusal(&self) -> Refusal {
        let (Self::Begin(error) | Self::Work(error) | Self::Commit(error)) = self;
        if self.is_full() {
            Refusal::Full(error.to_string())
        } else {
            Refusal::Failed(error.to_string())
        }
    }

    fn is_full(&self) -> bool {
        let (Self::Begin(error) | Self::Work(error) | Self::Commit(error)) = self;
        error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

impl Scribe {
    fn run(mut self, pieces: &Receiver<Message>, lock: File) {
        while let Some(first) = self.next(pieces) {
            let (batch, is_closing) = gather(first, pieces);
            self.serve(batch);
            if self.left >= PRUNE_EVERY {
                self.prune();
            }
            if is_closing {
                break;
            }
        }
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        if let Err(error) = self.ledger.conn.query_row(checkpoint, [], |_| Ok(())) {
            tracing::warn!(%error, "the log stays until the next start");
        }
        drop(self.ledger);
        // Only now may another process open the store.
        drop(lock);
    }

    /// The next piece; tidies once when it gets quiet. None when the queue closes.
    fn next(&mut self, pieces: &Receiver<Message>) -> Option<Piece> {
        let message = match pieces.recv_timeout(QUIET) {
            Err(RecvTimeoutError::Timeout) => self.tidy(pieces),
            message => message.ok(),
        };
        match message? {
            Message::Piece(piece) => Some(piece),
            Message::Close => None,
        }
    }

    /// Prunes and gives pages back until something comes, then waits for it.
    fn tidy(&mut self, pieces: &Receiver<Message>) -> Option<Message> {
        self.prune();
        loop {
            match pieces.try_recv() {
                Ok(message) => return Some(message),
                Err(std::sync::mpsc::TryRecvError::Disconnected) => return None,
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            match self.ledger.shrink() {
                Ok(true) => {}
                Ok(false) => return pieces.recv().ok(),
                Err(error) => {
                    tracing::warn!(%error, "free pages were not given back");
                    return pieces.recv().ok();
                }
            }
        }
    }

    fn prune(&mut self) {
        self.left = 0;
        let before = SystemTime::now().checked_sub(self.history).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Err(error) = self.ledger.prune(before) {
            tracing::warn!(%error, "old history was not dropped");
        }
    }

    /// Commits a batch and answers each of its pieces.
    fn serve(&mut self, mut batch: Vec<Piece>) {
        batch.retain(|piece| !piece.is_abandoned());
        if batch.is_empty() {
            return;
        }
        if let Err(what) = self.shared.room.stands() {
            tracing::error!(%what, "the queue's store is gone");
            return refuse(batch, &Refusal::Failed(what));
        }
        match self.transact(&batch) {
            Ok(effects) => self.conclude(batch, effects),
            Err(failure) => self.fail(batch, &failure),
        }
    }

    /// All pieces in one transaction, or none.
    fn transact(&mut self, batch: &[Piece]) -> Result<Vec<Result<Effect, Refusal>>, Failure> {
        let now = SystemTime::now();
        self.execute("BEGIN IMMEDIATE").map_err(Failure::Begin)?;
        let effects = batch
            .iter()
            .map(|piece| self.ledger.apply(&piece.work, &self.shared.room, now))
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(Failure::Work);
        let done = effects.and_then(|effects| {
            self.execute("COMMIT").map_err(Failure::Commit)?;
            Ok(effects)
        });
        match &done {
            Ok(_) => {
                self.shared.commits.fetch_add(1, Ordering::Relaxed);
                self.shared.room.set_used(self.ledger.used);
            }
            Err(_) => self.roll_back(),
        }
        done
    }

    fn execute(&self, sql: &str) -> rusqlite::Result<()> {
        self.ledger.conn.prepare_cached(sql)?.execute([]).map(|_| ())
    }

    fn roll_back(&mut self) {
        // SQLite has done it by itself after some errors.
        if !self.ledger.conn.is_autocommit()
            && let Err(error) = self.execute("ROLLBACK")
        {
            tracing::error!(%error, "rolling back failed");
        }
        self.ledger.used = self.shared.room.used();
    }

    fn fail(&mut self, mut batch: Vec<Piece>, failure: &Failure) {
        let refusal = failure.refusal();
        tracing::error!(?refusal, pieces = batch.len(), "a transaction of the queue failed");
        // The disk refused to take more; nothing was synced, so the notes on what was sent, which need
        // hardly any room, may be written without the mails that need it.
        if failure.is_full() {
            let (mails, notes): (Vec<_>, Vec<_>) =
                batch.into_iter().partition(|piece| matches!(piece.work, Work::Accept(_)));
            if mails.is_empty() {
                return refuse(notes, &refusal);
            }
            refuse(mails, &refusal);
            return self.serve(notes);
        }
        match failure {
            // One bad piece must not fail the others.
            Failure::Work(_) if batch.len() > 1 => {
                for piece in batch {
                    self.serve(vec![piece]);
                }
            }
            Failure::Commit(_) => {
                // The rows may turn up after a crash; bodies without one are removed at start.
                batch.iter_mut().for_each(Piece::keep_files);
                refuse(batch, &refusal);
            }
            Failure::Work(_) | Failure::Begin(_) => refuse(batch, &refusal),
        }
    }

    /// What follows a commit: memory, answers, wake-ups, files.
    fn conclude(&mut self, batch: Vec<Piece>, effects: Vec<Result<Effect, Refusal>>) {
        let mut unlink = Vec::new();
        for (mut piece, effect) in batch.into_iter().zip(effects) {
            let effect = match effect {
                Ok(effect) => effect,
                Err(refusal) => {
                    piece.answer(Err(refusal));
                    continue;
                }
            };
            piece.keep_files();
            if let Work::Accept(mail) = &piece.work
                && let Some(octets) = mail.body.inline()
            {
                self.shared.recent.keep(mail.id, octets.clone());
            }
            if let Some(id) = effect.forget {
                self.shared.recent.forget(id);
            }
            self.left += u32::from(effect.history);
            piece.answer(Ok(()));
            effect.ring.iter().for_each(|account| self.shared.bells.ring(account));
            unlink.extend(effect.unlink);
        }
        for id in unlink {
            // What is left over is removed at the next start.
            if let Err(error) = std::fs::remove_file(self.shared.spool.path(id)) {
                tracing::warn!(%id, %error, "the body of a mail that left was not removed");
            }
        }
    }
}

fn refuse(batch: Vec<Piece>, refusal: &Refusal) {
    for piece in batch {
        piece.answer(Err(refusal.clone()));
    }
}

/// What waits, up to a batch; and whether the queue closes behind it.
fn gather(first: Piece, pieces: &Receiver<Message>) -> (Vec<Piece>, bool) {
    let mut octets = first.octets();
    let mut batch = vec![first];
    while batch.len() < BATCH && octets < BATCH_OCTETS {
        match pieces.try_recv() {
            Ok(Message::Piece(piece)) => {
                octets += piece.octets();
                batch.push(piece);
            }
            Ok(Message::Close) => return (batch, true),
            Err(_) => break,
        }
    }
    (batch, false)
}
