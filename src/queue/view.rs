//! Reading the store, beside the writer or without one.
//!
//! It promises that nothing can be written through it and that one look never holds more than it was
//! asked for. Everything here blocks; [`super::Queue`] calls it off the async threads.

use super::row::{self, COLUMNS, Read};
use super::{Entry, OpenError, Settled, State, StoreError, reader, schema, tally, turn};
use crate::mail::{Envelope, Id};
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

/// Senders looked at for one answer, so that a hundred thousand of them do not hold up a lane.
const STEPS: usize = 500;

/// Which mails of the queue to list.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of this account only.
    pub account: Option<String>,
    /// In this state only. A row that cannot be read counts by what its column says.
    pub state: Option<State>,
    /// Behind this id, to go on with a list.
    pub after: Option<Id>,
    /// No more than these.
    pub most: usize,
}

impl Default for Filter {
    fn default() -> Self {
        Self { account: None, state: None, after: None, most: 1000 }
    }
}

/// The mails of one account in one state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// The account.
    pub account: String,
    /// The state.
    pub state: State,
    /// How many.
    pub mails: u64,
    /// Octets of their bodies.
    pub octets: u64,
    /// When the oldest of them was taken.
    pub oldest: SystemTime,
}

/// A read-only look into a store, also of a daemon that runs or is down.
#[derive(Debug)]
pub struct View {
    dir: PathBuf,
    conn: Mutex<Connection>,
}

/// A body that was found.
pub(super) enum Found {
    /// Verified octets.
    Octets(Bytes),
    /// A file of the right length.
    File { file: File, size: u64, digest: [u8; 32] },
    /// What is wrong with it, and stays so.
    Damaged(String),
}

impl View {
    /// Opens the store in `dir` to read; it need not be free.
    ///
    /// # Errors
    /// [`OpenError`] where there is none, or one this program does not know.
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        let conn = schema::open_to_read(dir)?;
        schema::refuse_unknown(&conn, dir, false)?;
        Ok(Self { dir: dir.to_owned(), conn: Mutex::new(conn) })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn conn(&self) -> MutexGuard<'_, Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Mails in the order of their ids, which is that of their acceptance.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read; a row that cannot is listed as damaged.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM mail WHERE (?1 IS NULL OR account = ?1) \
             AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR id > ?3) ORDER BY id LIMIT ?4"
        ))?;
        let state = filter.state.map(State::as_str);
        let after = filter.after.as_ref().map(Id::as_str);
        let entries = select
            .query_map(params![filter.account, state, after, limit(filter.most)], |row| {
                Ok(row::read(row).entry)
            })?;
        Ok(entries.collect::<rusqlite::Result<_>>()?)
    }

    /// One mail of the queue.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn show(&self, id: Id) -> Result<Option<Entry>, StoreError> {
        Ok(self.read(id)?.map(|read| read.entry))
    }

    pub(super) fn read(&self, id: Id) -> Result<Option<Read>, StoreError> {
        let conn = self.conn();
        let mut select =
            conn.prepare_cached(&format!("SELECT {COLUMNS} FROM mail WHERE id = ?1"))?;
        Ok(select.query_row([id.as_str()], |row| Ok(row::read(row))).optional()?)
    }

    /// Mails that left the queue, the latest first; of one account or all.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn history(&self, account: Option<&str>, most: usize) -> Result<Vec<Settled>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(
            "SELECT id, account, envelope, recipients, accepted, settled, size, attempts, uncertain, \
             bounce, removed FROM history WHERE ?1 IS NULL OR account = ?1 ORDER BY key DESC LIMIT ?2",
        )?;
        let settled = select.query_map(params![account, limit(most)], |row| Ok(settled(row)))?;
        let settled = settled.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(settled.into_iter().flatten().collect())
    }

    /// What lies in the queue, by account and state.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn counts(&self) -> Result<Vec<Count>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(
            "SELECT account, state, count(*), CAST(total(size) AS INTEGER), min(accepted) FROM mail \
             GROUP BY account, state ORDER BY account, state",
        )?;
        let counts = select.query_map([], |row| {
            // A column that was damaged must not hide the others.
            let text = |index| row.get::<_, String>(index).unwrap_or_default();
            let number = |index| row.get::<_, i64>(index).unwrap_or(0);
            Ok(Count {
                account: text(0),
                state: text(1).parse().unwrap_or(State::Damaged),
                mails: unsigned(number(2)),
                octets: unsigned(number(3)),
                oldest: row::time(number(4)),
            })
        })?;
        Ok(counts.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn due(
        &self,
        account: &str,
        now: SystemTime,
        beyond: Option<SystemTime>,
        most: usize,
    ) -> Result<Vec<Read>, StoreError> {
        let mut reads = self.due_where("due <= ?2", account, now, most)?;
        if let Some(beyond) = beyond
            && reads.len() < most
        {
            let left = most - reads.len();
            reads.extend(self.due_where("due > ?2", account, beyond, left)?);
        }
        Ok(reads)
    }

    /// As [`View::due`] without those in `skip`, and one of each sender in turn behind `after`.
    pub(super) fn due_in_turn(
        &self,
        account: &str,
        (now, beyond): (SystemTime, Option<SystemTime>),
        most: usize,
        skip: &[Id],
        after: &str,
    ) -> Result<Vec<Read>, StoreError> {
        let limit = most.saturating_add(skip.len());
        let is_free = |read: &Read| skip.iter().all(|id| id.as_str() != read.key);
        let oldest = self.due(account, now, None, limit)?;
        let are_all = oldest.len() < limit;
        let free: Vec<Read> = oldest.into_iter().filter(is_free).collect();
        if !are_all {
            return self.turns_of_many(account, now, most, skip, after, free);
        }
        let sender = |read: Read| (turn::key(read.entry.envelope.sender.as_ref()), read);
        let mut reads = turn::in_turn(free.into_iter().map(sender).collect(), after, most);
        if let Some(beyond) = beyond {
            let late = self.due_where("due > ?2", account, beyond, limit)?;
            reads.extend(late.into_iter().filter(is_free).take(most - reads.len()));
        }
        Ok(reads)
    }

    /// Where more is due than is wanted: goes from sender to sender through an index of its own. `oldest`
    /// fill up where so many senders wait for a later time that none was found among [`STEPS`].
    fn turns_of_many(
        &self,
        account: &str,
        now: SystemTime,
        most: usize,
        skip: &[Id],
        after: &str,
        oldest: Vec<Read>,
    ) -> Result<Vec<Read>, StoreError> {
        let conn = self.conn();
        let mut next = conn.prepare_cached(
            "SELECT sender, due FROM mail WHERE account = ?1 AND state = 'queued' AND sender > ?2 \
             ORDER BY sender, due LIMIT 1",
        )?;
        let mut line = conn.prepare_cached(
            "SELECT id FROM mail WHERE account = ?1 AND state = 'queued' AND sender = ?2 AND due <= ?3 \
             ORDER BY due, id LIMIT ?4",
        )?;
        let (now, limit) = (row::millis(now), limit(most.saturating_add(skip.len())));
        let (mut found, mut senders) = (Vec::new(), 0);
        let (mut last, mut is_second_half) = (after.to_owned(), false);
        for _ in 0..STEPS {
            // What was damaged here is found when its row is read, among the oldest.
            let row = next.query_row(params![account, last], |row| {
                Ok((row.get::<_, String>(0).unwrap_or_default(), row.get(1).unwrap_or(i64::MAX)))
            });
            let (sender, due) = match row.optional()? {
                Some(row) => row,
                None if is_second_half => break,
                None => {
                    (last, is_second_half) = (String::new(), true);
                    continue;
                }
            };
            if senders == most || is_second_half && sender.as_str() > after {
                break;
            }
            if due <= now {
                let before = found.len();
                let ids = line.query_map(params![account, sender, now, limit], |row| {
                    Ok(row.get::<_, String>(0).unwrap_or_default())
                })?;
                for id in ids {
                    let id = id?;
                    if skip.iter().all(|skipped| skipped.as_str() != id) {
                        found.push((sender.clone(), id));
                    }
                }
                senders += usize::from(found.len() > before);
            }
            last = sender;
        }
        let mut read = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM mail WHERE id = ?1"))?;
        let mut reads = Vec::with_capacity(most);
        for id in turn::in_turn(found, after, most) {
            reads.extend(read.query_row([id], |row| Ok(row::read(row))).optional()?);
        }
        for old in oldest {
            if reads.len() < most && reads.iter().all(|read: &Read| read.key != old.key) {
                reads.push(old);
            }
        }
        Ok(reads)
    }

    /// What a lane has used of its days.
    pub(super) fn spent(&self, lane: &str) -> Result<Vec<tally::Charge>, StoreError> {
        Ok(tally::read(&self.conn(), lane)?)
    }

    /// `bound` compares the due time with `time`.
    fn due_where(
        &self,
        bound: &str,
        account: &str,
        time: SystemTime,
        most: usize,
    ) -> Result<Vec<Read>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM mail WHERE account = ?1 AND state = 'queued' AND {bound} \
             ORDER BY due, id LIMIT ?3"
        ))?;
        let reads = select.query_map(params![account, row::millis(time), limit(most)], |row| {
            Ok(row::read(row))
        })?;
        Ok(reads.collect::<rusqlite::Result<_>>()?)
    }

    /// The ids and times of the `most` entries due first, however late that is.
    pub(super) fn first_due(
        &self,
        account: &str,
        most: usize,
    ) -> Result<Vec<(String, SystemTime)>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(
            "SELECT id, due FROM mail WHERE account = ?1 AND state = 'queued' ORDER BY due, id LIMIT ?2",
        )?;
        let rows = select.query_map(params![account, limit(most)], |row| {
            // A damaged time is looked at soon, and told then.
            Ok((row.get(0).unwrap_or_default(), row::time(row.get(1).unwrap_or(0))))
        })?;
        Ok(rows.collect::<rusqlite::Result<_>>()?)
    }

    /// Looks for the body; none where the mail is not in the queue.
    pub(super) fn body(&self, id: Id) -> Result<Option<Found>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(
            "SELECT m.size, m.digest, m.inline, b.octets FROM mail m LEFT JOIN body b ON b.key = m.inline \
             WHERE m.id = ?1",
        )?;
        let mut rows = select.query([id.as_str()])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let (size, digest) = (unsigned(row.get(0)?), row.get::<_, [u8; 32]>(1));
        let Ok(digest) = digest else {
            return Ok(Some(Found::Damaged("the body's checksum cannot be read".into())));
        };
        if row.get::<_, Option<i64>>(2)?.is_some() {
            return Ok(Some(inline(row, size, digest)?));
        }
        let path = schema::bodies(&self.dir).join(id.as_str());
        match reader::open(&path, size) {
            Ok(file) => Ok(Some(Found::File { file, size, digest })),
            Err(error) if reader::is_damage(&error) => {
                Ok(Some(Found::Damaged(format!("body file: {error}"))))
            }
            Err(error) => Err(StoreError(format!("body file: {error}"))),
        }
    }

    /// Reads a body whole, to show it or hand it to a person; it may be as large as a mail may be.
    ///
    /// # Errors
    /// [`StoreError`] where the mail is not there or damaged.
    pub fn whole_body(&self, id: Id) -> Result<Bytes, StoreError> {
        match self.body(id)? {
            None => Err(StoreError("no such mail".into())),
            Some(Found::Damaged(what)) => Err(StoreError(what)),
            Some(Found::Octets(octets)) => Ok(octets),
            Some(Found::File { mut file, digest, .. }) => {
                let mut octets = Vec::new();
                let read = io::Read::read_to_end(&mut file, &mut octets);
                read.map_err(|error| StoreError(format!("body file: {error}")))?;
                if row::digest(&octets) != digest {
                    return Err(StoreError("the body does not match its checksum".into()));
                }
                Ok(octets.into())
            }
        }
    }
}

fn inline(row: &Row<'_>, size: u64, digest: [u8; 32]) -> Result<Found, StoreError> {
    let octets = match row.get_ref(3)? {
        rusqlite::types::ValueRef::Blob(octets) => octets,
        _ => return Ok(Found::Damaged("its body is missing".into())),
    };
    if octets.len() as u64 != size || row::digest(octets) != digest {
        return Ok(Found::Damaged("the body does not match its checksum".into()));
    }
    Ok(Found::Octets(Bytes::copy_from_slice(octets)))
}

/// A row of the history; none where not even the id can be read.
fn settled(row: &Row<'_>) -> Option<Settled> {
    let id = row.get::<_, String>(0).ok()?.parse().ok()?;
    let envelope: Envelope = row
        .get::<_, String>(2)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_else(row::nobody);
    let states: Vec<_> = row
        .get::<_, String>(3)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
    let number = |index| row.get::<_, i64>(index).unwrap_or(0);
    let addresses = envelope.recipients.into_iter().map(|recipient| recipient.address);
    Some(Settled {
        id,
        account: row.get(1).unwrap_or_default(),
        sender: envelope.sender,
        recipients: addresses.zip(states).collect(),
        accepted: row::time(number(4)),
        settled: row::time(number(5)),
        size: unsigned(number(6)),
        attempts: u32::try_from(number(7)).unwrap_or(0),
        uncertain: number(8) != 0,
        is_bounce: number(9) != 0,
        removed: number(10) != 0,
    })
}

fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
