//! Reading the store, beside the writer or without one.
//!
//! It promises that nothing can be written through it and that one look never holds more than it was
//! asked for. Everything here blocks; [`super::Queue`] calls it off the async threads.

use super::row::{self, COLUMNS, Read};
use super::{Entry, OpenError, State, StoreError, reader, schema};
use crate::mail::Id;
use bytes::Bytes;
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

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
    /// The sender at which the last look of an account gave up, for the next to go on from there.
    pub(super) reached: Mutex<HashMap<String, String>>,
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
        Ok(Self { dir: dir.to_owned(), conn: Mutex::new(conn), reached: Mutex::default() })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(super) fn conn(&self) -> MutexGuard<'_, Connection> {
        self.conn.lock().unwrap_or_else(PoisonError::into_inner)
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

pub(super) fn limit(most: usize) -> i64 {
    i64::try_from(most).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
