//! The full check of a store: its pages, every row, every body.
//!
//! It promises to change nothing, and to run beside a daemon without stopping it: it reads mail by
//! mail and does not blame one that leaves meanwhile.

use super::row::{self, COLUMNS, Read};
use super::view::{Found, View};
use super::{StoreError, reader, schema};
use rusqlite::params;

/// What the check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Mails looked at.
    pub mails: u64,
    /// Octets of bodies whose checksums were compared.
    pub octets: u64,
    /// What is wrong, and where.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The mail, by the text of its id column; none where the store itself is meant.
    pub id: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// Rows read at once.
const PAGE: i64 = 100;
/// Faults of the pages told at most.
const MOST: usize = 100;

impl View {
    /// Checks the whole store. It uses this view alone: give it one of its own.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read so far.
    pub fn check(&self) -> Result<Findings, StoreError> {
        let mut findings = Findings { problems: self.check_pages()?, ..Findings::default() };
        let mut after = String::new();
        loop {
            let page = self.rows(&after)?;
            let Some(last) = page.last() else { return Ok(findings) };
            after = last.key.clone();
            for read in page {
                findings.mails += 1;
                match self.check_mail(&read) {
                    Ok(()) => findings.octets += read.entry.size,
                    Err(_) if self.has_left(&read)? => {}
                    Err(what) => findings.problems.push(Problem { id: Some(read.key), what }),
                }
            }
        }
    }

    fn check_pages(&self) -> Result<Vec<Problem>, StoreError> {
        let conn = self.conn();
        let mut check = conn.prepare(&format!("PRAGMA integrity_check({MOST})"))?;
        let lines = check.query_map([], |row| row.get::<_, String>(0))?;
        let lines = lines.collect::<rusqlite::Result<Vec<_>>>()?;
        Ok(lines
            .into_iter()
            .filter(|line| line != "ok")
            .map(|what| Problem { id: None, what })
            .collect())
    }

    fn rows(&self, after: &str) -> Result<Vec<Read>, StoreError> {
        let conn = self.conn();
        let sql = format!("SELECT {COLUMNS} FROM mail WHERE id > ?1 ORDER BY id LIMIT ?2");
        let mut select = conn.prepare_cached(&sql)?;
        let reads = select.query_map(params![after, PAGE], |row| Ok(row::read(row)))?;
        Ok(reads.collect::<rusqlite::Result<_>>()?)
    }

    fn check_mail(&self, read: &Read) -> Result<(), String> {
        if let Some(fault) = &read.fault {
            return Err(fault.clone());
        }
        let id = read.entry.id;
        match self.body(id).map_err(|error| error.0)? {
            None => Err("gone".into()),
            Some(Found::Damaged(what)) => Err(what),
            Some(Found::Octets(_)) => Ok(()),
            Some(Found::File { size, digest, .. }) => {
                let path = schema::bodies(self.dir()).join(id.as_str());
                reader::verify(&path, size, digest).map_err(|error| format!("body file: {error}"))
            }
        }
    }

    /// Whether a mail was settled since it was read.
    fn has_left(&self, read: &Read) -> Result<bool, StoreError> {
        let conn = self.conn();
        let exists =
            conn.prepare_cached("SELECT 1 FROM mail WHERE id = ?1")?.exists([&read.key])?;
        Ok(!exists)
    }
}
