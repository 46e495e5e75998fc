//! The writer: what waits goes into one transaction, and is answered when that is durable.
//!
//! It promises that a commit that failed fails all its work: it is not tried again, since the kernel
//! forgets which pages it could not write. The connection is kept then, so that the next commit writes
//! over what the failed one left in the log; a new connection would take that for committed.

use super::store::{Message, Piece, Shared};
use super::work::{Effect, Ledger, Refusal, Work};
use rusqlite::ffi;
use std::collections::BTreeSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::time::{Duration, Instant, SystemTime};

/// Pieces of work in one transaction at most.
const BATCH: usize = 256;
/// Octets of inline bodies in one transaction, about.
const BATCH_OCTETS: usize = 8 * 1024 * 1024;
/// So long nothing came: time to tidy.
const QUIET: Duration = Duration::from_secs(5);
/// Settled mails after which the history is pruned though it is not quiet.
const PRUNE_EVERY: u32 = 500;

/// The writer; lives in a thread of its own.
pub(super) struct Scribe {
    ledger: Ledger,
    shared: Arc<Shared>,
    /// Mails that left since the history was pruned.
    left: u32,
    /// The log was moved for want of room, and nothing was committed since.
    gave_room: bool,
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
        // SQLite knows a full disk only by ENOSPC: a quota that is used up (EDQUOT) and a disk that has
        // become read-only are to it writes that failed. The log is written before it is synced, so
        // nothing of the transaction counts in any of these cases.
        let failed_write = error
            .sqlite_error()
            .is_some_and(|error| error.extended_code == ffi::SQLITE_IOERR_WRITE);
        failed_write || error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
    }
}

impl Scribe {
    pub(super) fn new(ledger: Ledger, shared: Arc<Shared>) -> Self {
        Self { ledger, shared, left: 0, gave_room: false }
    }

    /// Serves until the queue closes; the lock is freed last.
    pub(super) fn run(mut self, pieces: &Receiver<Message>, lock: File) {
        while let Some(first) = self.next(pieces) {
            let (batch, is_closing) = gather(first, pieces, |now| self.shared.awaited.until(now));
            self.shared.pulse.set_busy(true);
            self.serve(batch);
            if self.left >= PRUNE_EVERY {
                self.prune();
            }
            self.shared.pulse.set_busy(false);
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
                Err(TryRecvError::Disconnected) => return None,
                Err(TryRecvError::Empty) => {}
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
        let history = Duration::from_secs(self.shared.history.load(Ordering::Relaxed));
        let now = SystemTime::now();
        let before = now.checked_sub(history).unwrap_or(SystemTime::UNIX_EPOCH);
        if let Err(error) = self.ledger.prune(before, now) {
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
                self.gave_room = false;
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
            let (mails, notes): (Vec<_>, Vec<_>) = batch.into_iter().partition(Piece::is_mail);
            let may_help = !mails.is_empty() || self.give_room();
            refuse(mails, &refusal);
            return if may_help { self.serve(notes) } else { refuse(notes, &refusal) };
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

    /// Moves the log into the database, so that notes find room where mail was let in before: the log
    /// alone may have filled a small disk. Whether notes may be tried again: once until one succeeds.
    fn give_room(&mut self) -> bool {
        if std::mem::replace(&mut self.gave_room, true) {
            return false;
        }
        let checkpoint = "PRAGMA wal_checkpoint(TRUNCATE)";
        match self.ledger.conn.query_row(checkpoint, [], |row| row.get::<_, i64>(0)) {
            Ok(busy) => busy == 0,
            Err(error) => {
                tracing::warn!(%error, "the log could not be moved into the database");
                false
            }
        }
    }

    /// What follows a commit: memory, answers, wake-ups, files.
    fn conclude(&mut self, batch: Vec<Piece>, effects: Vec<Result<Effect, Refusal>>) {
        let (mut unlink, mut ring) = (Vec::new(), BTreeSet::new());
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
            ring.extend(effect.ring);
            unlink.extend(effect.unlink);
        }
        // Once for all that came in one transaction.
        ring.iter().for_each(|account| self.shared.bells.ring(account));
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

/// What waits, up to a batch; and whether the queue closes behind it. Notes alone wait for a mail that is about to
/// come: it would have to wait for their way to the disk, and then go there itself.
fn gather(
    first: Piece,
    pieces: &Receiver<Message>,
    awaited: impl Fn(Instant) -> Option<Instant>,
) -> (Vec<Piece>, bool) {
    let mut octets = first.octets();
    let mut has_mail = first.is_mail();
    let mut batch = vec![first];
    let mut until = None;
    while batch.len() < BATCH && octets < BATCH_OCTETS {
        let message = pieces.try_recv().or_else(|empty| {
            if has_mail {
                return Err(empty);
            }
            let now = Instant::now();
            let wait = awaited(now).ok_or(empty)?;
            let until = *until.get_or_insert(wait);
            pieces.recv_timeout(until.saturating_duration_since(now)).map_err(|_| empty)
        });
        match message {
            Ok(Message::Piece(piece)) => {
                octets += piece.octets();
                has_mail |= piece.is_mail();
                batch.push(piece);
            }
            Ok(Message::Close) => return (batch, true),
            Err(_) => break,
        }
    }
    (batch, false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Address, Envelope, Id, Recipient};
    use crate::queue::work::Mail;
    use crate::queue::{Submission, body, room, schema, wake};
    use std::time::UNIX_EPOCH;
    use tokio::sync::oneshot;

    type Answer = oneshot::Receiver<Result<(), Refusal>>;

    /// A writer that is served by hand.
    fn scribe(dir: &std::path::Path) -> Scribe {
        let spool = Arc::new(body::Spool::new(schema::bodies(dir)));
        let opened = schema::open(dir, &spool, 64 << 20, &[]).unwrap();
        let shared = Arc::new(Shared {
            room: Arc::new(room::Room::new(&schema::database(dir), u64::MAX, 0).unwrap()),
            recent: wake::Recent::default(),
            bells: wake::Bells::default(),
            awaited: Arc::default(),
            spool,
            commits: 0.into(),
            pulse: Arc::default(),
            history: 0.into(),
        });
        let ledger = Ledger { conn: opened.conn, next_key: 1, used: 0 };
        Scribe::new(ledger, shared)
    }

    fn id(number: u32) -> Id {
        Id::new(UNIX_EPOCH, number)
    }

    async fn mail(scribe: &Scribe, number: u32, account: &str, size: usize) -> (Piece, Answer) {
        let mut writer = body::Writer::new(scribe.shared.spool.clone());
        writer.write(&vec![7; size]).await.unwrap();
        let mut body = writer.finish().await.unwrap();
        assert!(body.place(&scribe.shared.spool, id(number)).await.is_ok());
        let recipients = vec![Recipient::new(Address::parse("r@example.org").unwrap())];
        let submission = Submission {
            id: id(number),
            account: account.into(),
            envelope: Envelope { recipients, ..Envelope::default() },
            body,
            accepted: UNIX_EPOCH,
            is_bounce: false,
        };
        piece(Work::Accept(Box::new(Mail::new(submission).unwrap())))
    }

    fn piece(work: Work) -> (Piece, Answer) {
        let (reply, answer) = oneshot::channel();
        (Piece { work, reply: Some(reply) }, answer)
    }

    fn serve(scribe: &mut Scribe, pieces: Vec<(Piece, Answer)>) -> Vec<Result<(), Refusal>> {
        let (batch, answers): (Vec<_>, Vec<_>) = pieces.into_iter().unzip();
        scribe.serve(batch);
        answers.into_iter().map(|mut answer| answer.try_recv().unwrap()).collect()
    }

    fn count(scribe: &Scribe) -> i64 {
        let sql = "SELECT count(*) FROM mail";
        scribe.ledger.conn.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    #[tokio::test]
    async fn a_commit_that_fails_fails_all_and_the_next_one_works() {
        let dir = tempfile::tempdir().unwrap();
        let mut scribe = scribe(dir.path());
        // A deferred constraint, which is only looked at by the commit.
        scribe
            .ledger
            .conn
            .execute_batch(
                "PRAGMA foreign_keys = ON; CREATE TABLE p (x INTEGER PRIMARY KEY);
                 CREATE TABLE c (x REFERENCES p DEFERRABLE INITIALLY DEFERRED);
                 CREATE TRIGGER t AFTER INSERT ON mail WHEN NEW.account = 'poison'
                 BEGIN INSERT INTO c VALUES (7); END;",
            )
            .unwrap();
        let batch = vec![
            mail(&scribe, 1, "a", 10).await,
            mail(&scribe, 2, "poison", 10).await,
            mail(&scribe, 3, "a", 300_000).await,
        ];
        let answers = serve(&mut scribe, batch);
        assert!(
            answers.iter().all(|answer| matches!(answer, Err(Refusal::Failed(_)))),
            "{answers:?}"
        );
        assert_eq!((count(&scribe), scribe.shared.room.used(), scribe.ledger.used), (0, 0, 0));
        assert!(scribe.shared.recent.get(id(1)).is_none());
        assert_eq!(scribe.shared.commits.load(Ordering::Relaxed), 0);

        let next = vec![mail(&scribe, 4, "a", 10).await];
        assert!(serve(&mut scribe, next)[0].is_ok());
        assert_eq!((count(&scribe), scribe.shared.room.used()), (1, 10));
    }

    #[tokio::test]
    async fn b03_a_full_disk_refuses_mail_and_takes_notes() {
        let dir = tempfile::tempdir().unwrap();
        let mut scribe = scribe(dir.path());
        let first = vec![mail(&scribe, 1, "a", 10).await];
        assert!(serve(&mut scribe, first)[0].is_ok());
        let pages: i64 =
            scribe.ledger.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        scribe
            .ledger
            .conn
            .query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))
            .unwrap();
        let batch = vec![
            mail(&scribe, 2, "a", 200_000).await,
            piece(Work::Attempting(id(1), None)),
            mail(&scribe, 3, "a", 200_000).await,
        ];
        let answers = serve(&mut scribe, batch);
        assert!(
            matches!(&answers[..], [Err(Refusal::Full(_)), Ok(()), Err(Refusal::Full(_))]),
            "{answers:?}"
        );
        assert_eq!((count(&scribe), scribe.shared.room.used()), (1, 10));

        scribe.ledger.conn.query_row("PRAGMA max_page_count = 100000", [], |_| Ok(())).unwrap();
        let again = vec![mail(&scribe, 2, "a", 200_000).await];
        assert!(serve(&mut scribe, again)[0].is_ok());
    }

    #[tokio::test]
    async fn b01_a_mail_nobody_waits_for_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let mut scribe = scribe(dir.path());
        let (abandoned, answer) = mail(&scribe, 1, "a", 300_000).await;
        drop(answer);
        scribe.serve(vec![abandoned]);
        assert_eq!((count(&scribe), scribe.shared.room.used()), (0, 0));
        assert!(!scribe.shared.spool.path(id(1)).exists());
    }

    #[tokio::test]
    async fn free_pages_are_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut scribe = scribe(dir.path());
        for number in 0..40 {
            let piece = vec![mail(&scribe, number, "a", 200_000).await];
            assert!(serve(&mut scribe, piece)[0].is_ok());
        }
        for number in 0..40 {
            let order = crate::queue::entry::Order::Remove;
            assert!(serve(&mut scribe, vec![piece(Work::Steer(id(number), order))])[0].is_ok());
        }
        let pages = |scribe: &Scribe| -> i64 {
            scribe.ledger.conn.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap()
        };
        let before = pages(&scribe);
        while scribe.ledger.shrink().unwrap() {}
        assert!(pages(&scribe) <= before - 900, "{before} {}", pages(&scribe));
    }

    #[test]
    fn sqlite_is_built_without_what_the_queue_does_not_use() {
        let conn = rusqlite::Connection::open_in_memory().unwrap();
        let mut options = conn.prepare("PRAGMA compile_options").unwrap();
        let options = options.query_map([], |row| row.get::<_, String>(0)).unwrap();
        let options: Vec<String> = options.collect::<rusqlite::Result<_>>().unwrap();
        assert!(options.iter().any(|option| option == "THREADSAFE=1"), "{options:?}");
        for unused in ["ENABLE_FTS5", "ENABLE_RTREE", "ENABLE_STAT4"] {
            let is_built = options.iter().any(|option| option == unused);
            assert!(!is_built, "{unused}: was .cargo/config.toml read?");
        }
    }

    #[test]
    fn a_batch_is_bounded_and_ends_at_the_close() {
        let (send, pieces) = std::sync::mpsc::channel();
        let work = || Piece { work: Work::Attempting(id(1), None), reply: None };
        for _ in 0..BATCH + 10 {
            send.send(Message::Piece(work())).unwrap();
        }
        send.send(Message::Close).unwrap();
        send.send(Message::Piece(work())).unwrap();
        let sizes = [gather(work(), &pieces, |_| None), gather(work(), &pieces, |_| None)]
            .map(|(batch, is_closing)| (batch.len(), is_closing));
        assert_eq!(sizes, [(BATCH, false), (12, true)]);
    }

    #[tokio::test]
    async fn notes_go_to_the_disk_with_a_mail_that_is_about_to_come_and_no_further_wait() {
        let dir = tempfile::tempdir().unwrap();
        let scribe = scribe(dir.path());
        let (accept, _answer) = mail(&scribe, 1, "a", 10).await;
        let note = || Piece { work: Work::Attempting(id(1), None), reply: None };
        let (send, pieces) = std::sync::mpsc::channel();
        let soon = |now| Some(now + Duration::from_secs(60));
        // Sent before the writer waits or while it does; without the mail it would for a minute.
        let client = std::thread::spawn(move || send.send(Message::Piece(accept)).map(|()| send));
        let (batch, _) = gather(note(), &pieces, soon);
        let send = client.join().unwrap().unwrap();
        assert_eq!(batch.len(), 2);
        assert!(matches!(batch[1].work, Work::Accept(_)));
        // Nobody comes: the wait ends by itself, and no sooner.
        let begin = Instant::now();
        let (batch, _) = gather(note(), &pieces, |_| Some(begin + Duration::from_millis(20)));
        assert!(batch.len() == 1 && begin.elapsed() >= Duration::from_millis(20));
        drop(send);
    }
}
