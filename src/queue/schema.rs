//! Opening the store: the lock, the schema, what a crash left behind.
//!
//! It promises that one process at a time holds a store, that an older schema is brought up to ours in one
//! transaction, that a newer one and a foreign file are left untouched, and that no mail is deleted: only bodies without a row go, which were never
//! acknowledged. A mail that was `attempting` comes back as `uncertain`.

use super::body::Spool;
use super::{Detour, OpenError, Recovery, StoreError, detour, reader, row, tally};
use crate::durable;
use crate::mail::Id;
use rusqlite::{Connection, OpenFlags, params};
use std::collections::HashSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The schema this program writes.
pub(super) const KNOWN: i64 = 3;
/// Marks the file as ours: `subm` in ASCII.
const APPLICATION: i64 = 0x7375_626d;
/// What stands at a mail whose fate a crash hid.
const UNCERTAIN: &str = "the process ended while the mail was being delivered; \
     it may have been delivered before that";

/// A fate that is unknown for the second time: what is sent again at once by every start of a process
/// that keeps dying, perhaps of that very mail, would arrive over and over.
const AGAIN: Duration = Duration::from_secs(5 * 60);

/// The first schema; what came later is added by [`migrate`], to a new store as to an old one.
const SCHEMA: &str = "
CREATE TABLE mail (
    id              TEXT NOT NULL PRIMARY KEY,
    account         TEXT NOT NULL,
    state           TEXT NOT NULL,     -- queued, attempting, held, failed, damaged
    accepted        INTEGER NOT NULL,  -- milliseconds since 1970, as all times
    due             INTEGER NOT NULL,
    attempts        INTEGER NOT NULL DEFAULT 0,
    uncertain       INTEGER NOT NULL DEFAULT 0,
    bounce          INTEGER NOT NULL DEFAULT 0,
    delay_told      INTEGER NOT NULL DEFAULT 0,
    error           TEXT,
    size            INTEGER NOT NULL,
    digest          BLOB NOT NULL,     -- SHA-256 of the body
    envelope        TEXT NOT NULL,     -- JSON
    seal            INTEGER NOT NULL,  -- over what never changes
    recipients      TEXT NOT NULL,     -- JSON: one state a recipient
    recipients_seal INTEGER NOT NULL,
    inline          INTEGER            -- key of the body; NULL: it is the file body/ID
) WITHOUT ROWID;
-- Serves what is due, and the sums by account and state without touching the rows.
CREATE INDEX mail_due ON mail (account, state, due, id, size, accepted);
CREATE INDEX mail_files ON mail (id) WHERE inline IS NULL;
-- Bodies lie apart, so that a change of state does not write them again.
CREATE TABLE body (key INTEGER PRIMARY KEY, octets BLOB NOT NULL);
CREATE TABLE history (
    key        INTEGER PRIMARY KEY,
    id         TEXT NOT NULL,
    account    TEXT NOT NULL,
    envelope   TEXT NOT NULL,
    recipients TEXT NOT NULL,
    accepted   INTEGER NOT NULL,
    settled    INTEGER NOT NULL,
    size       INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    uncertain  INTEGER NOT NULL,
    bounce     INTEGER NOT NULL,
    removed    INTEGER NOT NULL        -- by a person
);
";

/// From schema 1: whose turn it is among the senders of an account, and what a lane used of its day.
const TURNS: &str = "
ALTER TABLE mail ADD COLUMN sender TEXT NOT NULL DEFAULT '<>';  -- whose turn: see turn.rs
UPDATE mail SET sender = coalesce(CASE WHEN json_valid(envelope)
    THEN lower(json_extract(envelope, '$.sender')) END, '<>');
CREATE INDEX mail_turn ON mail (account, sender, due, id) WHERE state = 'queued';
";

/// A store that is open for writing.
#[derive(Debug)]
pub(super) struct Opened {
    pub conn: Connection,
    /// Held as long as anything may be written.
    pub lock: File,
    pub recovery: Recovery,
    pub detours: Vec<Detour>,
    /// Octets of bodies.
    pub used: u64,
    /// The key of the next inline body.
    pub next_key: i64,
}

/// The database of the store in `dir`.
pub(super) fn database(dir: &Path) -> PathBuf {
    dir.join("queue.db")
}

/// The directory of body files.
pub(super) fn bodies(dir: &Path) -> PathBuf {
    dir.join("body")
}

/// Opens or makes the store and recovers what a crash left; mail of unknown fate of the accounts in
/// `hold` waits for a person.
pub(super) fn open(
    dir: &Path,
    spool: &Spool,
    reserve: u64,
    hold: &[String],
) -> Result<Opened, OpenError> {
    let failed = |what: String| OpenError::Failed { dir: dir.to_owned(), what };
    durable::make_dir(dir)
        .map_err(|error| failed(format!("cannot be made or closed to others: {error}; make it the property of the user submitd runs as, or set state_dir")))?;
    durable::make_dir(&bodies(dir)).map_err(|error| failed(format!("body: {error}")))?;
    let lock = lock(dir)?;
    let file = database(dir);
    if file.metadata().is_ok_and(|metadata| metadata.len() > 0) {
        // Looked at through a connection that cannot write, so that a newer store stays untouched.
        refuse_unknown(&open_to_read(dir)?, dir, true)?;
    }
    own(&file).map_err(|error| failed(format!("queue.db: {error}")))?;
    let conn = prepare(&file, reserve).map_err(|error| failed(format!("queue.db: {error}")))?;
    let recovery = recover(&conn, spool, hold).map_err(|error| failed(error.0))?;
    let read = |error: rusqlite::Error| failed(format!("queue.db: {error}"));
    let (used, next_key) = sums(&conn).map_err(read)?;
    let detours = detour::read(&conn).map_err(read)?;
    Ok(Opened { conn, lock, recovery, detours, used, next_key })
}

/// Opens the database so that nothing can be written through it.
pub(super) fn open_to_read(dir: &Path) -> Result<Connection, OpenError> {
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(database(dir), flags)?;
        conn.busy_timeout(Duration::from_secs(5))?;
        // A megabyte of pages is plenty: what is due is read through an index.
        conn.pragma_update(None, "cache_size", -1024)?;
        Ok(conn)
    };
    open().map_err(|error| OpenError::Failed {
        dir: dir.to_owned(),
        what: format!("queue.db: {error}"),
    })
}

/// Refuses a newer schema and a file that is not ours; an empty one is fine where `may_be_empty`.
pub(super) fn refuse_unknown(
    conn: &Connection,
    dir: &Path,
    may_be_empty: bool,
) -> Result<(), OpenError> {
    let number =
        |name: &str| conn.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0));
    let failed = |what: String| OpenError::Failed { dir: dir.to_owned(), what };
    let found = number("user_version").map_err(|error| failed(format!("queue.db: {error}")))?;
    let application =
        number("application_id").map_err(|error| failed(format!("queue.db: {error}")))?;
    match (application, found) {
        (APPLICATION, 1..=KNOWN) => Ok(()),
        (0, 0) if may_be_empty => Ok(()),
        (APPLICATION, found) if found > KNOWN => {
            Err(OpenError::Newer { dir: dir.to_owned(), found, known: KNOWN })
        }
        _ => Err(failed("queue.db is not a queue of submitd; it is left as it is".into())),
    }
}

/// Who holds the lock, where somebody does.
pub(super) fn holder(dir: &Path) -> Option<String> {
    let mut file = File::open(dir.join("lock")).ok()?;
    match file.try_lock_shared() {
        Err(TryLockError::WouldBlock) => Some(noted_holder(&mut file)),
        _ => None,
    }
}

fn noted_holder(file: &mut File) -> String {
    let mut holder = String::new();
    let read = file.take(20).read_to_string(&mut holder);
    match holder.trim() {
        pid if read.is_ok() && pid.parse::<u32>().is_ok() => pid.to_owned(),
        _ => "unknown".to_owned(),
    }
}

/// Takes the lock, which the kernel frees with the process, however that ends.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let failed = |what: String| OpenError::Failed { dir: dir.to_owned(), what };
    let path = dir.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| failed(format!("lock: {error}")))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let holder = noted_holder(&mut file);
            return Err(OpenError::InUse { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(failed(format!("lock: {error}"))),
    }
    // The number only tells people who holds it: a disk without room for it must not keep us from
    // bringing away what lies on it.
    if let Err(error) = note_holder(&mut file) {
        tracing::warn!(%error, "our process number could not be noted in the lock file");
    }
    Ok(file)
}

/// Writes over what stands there and cuts afterwards: an empty file would need new room.
fn note_holder(file: &mut File) -> std::io::Result<()> {
    let line = format!("{}\n", std::process::id());
    file.write_all(line.as_bytes())?;
    file.set_len(line.len() as u64)
}

/// Makes the database file with 0600; the log and its index get the same mode from SQLite.
fn own(file: &Path) -> std::io::Result<()> {
    let open =
        OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(file)?;
    if open.metadata()?.permissions().mode() & 0o077 != 0 {
        open.set_permissions(std::fs::Permissions::from_mode(0o600))?;
    }
    durable::sync_name(file)
}

fn prepare(file: &Path, reserve: u64) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut conn = Connection::open_with_flags(file, flags)?;
    conn.busy_timeout(Duration::from_secs(5))?;
    conn.set_prepared_statement_cache_capacity(32);
    // Takes effect in a new store only. Given-back pages return to the disk when it is quiet.
    conn.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    let mode: String = conn.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        let what = format!("the file system does not bear a write-ahead log (mode {mode})");
        return Err(rusqlite::Error::ToSqlConversionFailure(what.into()));
    }
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update(None, "cache_size", -4096)?;
    conn.pragma_update(None, "wal_autocheckpoint", log_pages(reserve))?;
    migrate(&mut conn)?;
    // What a failed fsync of an earlier run left in the log may be in the page cache only. Moving all
    // of it into the database writes and syncs it anew.
    match conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())) {
        // On a full disk what lies here must still go out, which makes the room.
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull) => {
            tracing::warn!(%error, "the log stays beside the database for want of room");
        }
        moved => moved?,
    }
    Ok(conn)
}

/// Brings a new or an older store to our schema: all of it or nothing.
fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    let found: i64 = conn.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found == KNOWN {
        return Ok(());
    }
    let transaction = conn.transaction()?;
    if found < 1 {
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
    } else {
        tracing::info!(from = found, to = KNOWN, "the queue's store is brought to a newer schema");
    }
    if found < 2 {
        transaction.execute_batch(TURNS)?;
        transaction.execute_batch(tally::TABLE)?;
    }
    transaction.execute_batch(detour::TABLE)?;
    transaction.pragma_update(None, "user_version", KNOWN)?;
    transaction.commit()
}

/// Pages of log after which it is moved into the database. Pages of mail that comes and goes within
/// 16 MB are written to the log only; within a smaller reserve the log must leave room for the move.
fn log_pages(reserve: u64) -> i64 {
    i64::try_from(reserve / 2 / 4096).unwrap_or(i64::MAX).clamp(64, 4000)
}

/// Mends what a crash left: uncertain tries, bodies without a row, rows without their body.
fn recover(conn: &Connection, spool: &Spool, hold: &[String]) -> Result<Recovery, StoreError> {
    let uncertain = unsettled(conn, hold)?;
    let (mut orphans, mut files) = (0, HashSet::new());
    for entry in
        std::fs::read_dir(spool.dir()).map_err(|error| StoreError(format!("body: {error}")))?
    {
        let path = entry.map_err(|error| StoreError(format!("body: {error}")))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        match name.parse::<Id>() {
            Ok(id) if lies_in_file(conn, id)? => {
                files.insert(id);
            }
            // Neither a body nor a draft: not ours to remove.
            Err(_) if !name.ends_with(".part") => {}
            _ => {
                tracing::info!(file = %path.display(), "removing a body that was never acknowledged");
                if let Err(error) = std::fs::remove_file(&path) {
                    tracing::warn!(file = %path.display(), %error, "it could not be removed");
                }
                orphans += 1;
            }
        }
    }
    let damaged = incomplete(conn, spool, &files)?;
    Ok(Recovery { uncertain, orphans, damaged })
}

/// What was under way waits again, or for a person: durably, since the next start must not forget it.
fn unsettled(conn: &Connection, hold: &[String]) -> Result<Vec<String>, StoreError> {
    let mut update = conn.prepare(
        "UPDATE mail SET state = CASE WHEN account IN (SELECT value FROM json_each(?2)) \
         THEN 'held' ELSE 'queued' END, \
         due = CASE WHEN uncertain = 1 THEN max(due, ?3) ELSE due END, uncertain = 1, error = ?1 \
         WHERE state = 'attempting' RETURNING id, account, state",
    )?;
    let hold = serde_json::to_string(hold).map_err(|error| StoreError(error.to_string()))?;
    let again = row::millis(SystemTime::now() + AGAIN);
    let mails = update.query_map(params![UNCERTAIN, hold, again], |row| {
        let text = |index| row.get::<_, String>(index).unwrap_or_default();
        Ok((row.get::<_, String>(0)?, text(1), text(2)))
    })?;
    let mails = mails.collect::<rusqlite::Result<Vec<_>>>()?;
    for (id, account, state) in &mails {
        tracing::warn!(%id, %account, %state, "uncertain: it may have been delivered before the crash");
    }
    Ok(mails.into_iter().map(|(id, ..)| id).collect())
}

fn lies_in_file(conn: &Connection, id: Id) -> rusqlite::Result<bool> {
    let mut select = conn.prepare_cached("SELECT 1 FROM mail WHERE id = ?1 AND inline IS NULL")?;
    select.exists([id.as_str()])
}

/// Marks the mails whose body file is missing or has the wrong length.
fn incomplete(
    conn: &Connection,
    spool: &Spool,
    files: &HashSet<Id>,
) -> Result<Vec<String>, StoreError> {
    let mut damaged = Vec::new();
    let mut select =
        conn.prepare("SELECT id, size FROM mail WHERE inline IS NULL AND state <> 'damaged'")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        // A row that is not even read so far is found when it is due.
        let (Ok(key), Ok(size)) = (row.get::<_, String>(0), row.get::<_, i64>(1)) else { continue };
        let Ok(id) = key.parse::<Id>() else { continue };
        let fault = if !files.contains(&id) {
            Some("its body file is missing".to_owned())
        } else {
            reader::open(&spool.path(id), u64::try_from(size).unwrap_or(0))
                .err()
                .filter(reader::is_damage)
                .map(|error| error.to_string())
        };
        damaged.extend(fault.map(|fault| (key, fault)));
    }
    for (id, fault) in &damaged {
        tracing::error!(%id, %fault, "mail is damaged; it is kept and not sent");
        conn.execute("UPDATE mail SET state = 'damaged', error = ?2 WHERE id = ?1", [id, fault])?;
    }
    Ok(damaged.into_iter().map(|(id, _)| id).collect())
}

fn sums(conn: &Connection) -> rusqlite::Result<(u64, i64)> {
    // A size that was damaged must not keep the store from opening.
    let sizes = "SELECT CAST(total(CASE WHEN typeof(size) = 'integer' THEN max(size, 0) END) \
                 AS INTEGER) FROM mail";
    let used: i64 = conn.query_row(sizes, [], |row| row.get(0))?;
    let keys = "SELECT coalesce(max(key), 0) FROM body";
    let key: i64 = conn.query_row(keys, [], |row| row.get(0))?;
    Ok((u64::try_from(used).unwrap_or(0), key.saturating_add(1)))
}
