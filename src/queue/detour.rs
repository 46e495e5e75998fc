//! Which accounts go a way round, and since when: kept across restarts.
//!
//! It promises that what was noted is durable on return. What the way round is, and when it is left, is the
//! business of whoever goes it.

use super::row::{millis, time};
use super::work::Work;
use super::{Queue, StoreError};
use rusqlite::{Connection, params};
use std::time::SystemTime;

/// Columns of the table.
pub(super) const TABLE: &str = "
CREATE TABLE detour (
    account TEXT NOT NULL PRIMARY KEY,
    since   INTEGER NOT NULL,
    again   INTEGER NOT NULL  -- when the straight way is tried again
) WITHOUT ROWID;
";

/// One account that goes a way round.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detour {
    /// Its name.
    pub account: String,
    /// Since when.
    pub since: SystemTime,
    /// When the straight way is tried again.
    pub again: SystemTime,
}

/// What an account does.
#[derive(Debug)]
pub(super) enum Step {
    Round(Detour),
    Straight(String),
}

impl Queue {
    /// The detours as they stood when the store was opened.
    pub fn detours(&self) -> &[Detour] {
        &self.inner.detours
    }

    /// Notes that an account goes a way round, in place of what was noted of it.
    ///
    /// # Errors
    /// [`StoreError`]; the old note stands then.
    pub async fn note_detour(&self, detour: Detour) -> Result<(), StoreError> {
        self.step(Step::Round(detour)).await
    }

    /// Notes that an account goes straight on.
    ///
    /// # Errors
    /// [`StoreError`]; the old note stands then.
    pub async fn end_detour(&self, account: &str) -> Result<(), StoreError> {
        self.step(Step::Straight(account.to_owned())).await
    }

    async fn step(&self, step: Step) -> Result<(), StoreError> {
        let done = self.inner.store.perform(Work::Detour(step)).await;
        done.map_err(|refusal| StoreError(refusal.to_string()))
    }
}

/// Writes it down.
pub(super) fn note(conn: &Connection, step: &Step) -> rusqlite::Result<()> {
    match step {
        Step::Round(Detour { account, since, again }) => {
            let sql = "INSERT OR REPLACE INTO detour (account, since, again) VALUES (?1, ?2, ?3)";
            conn.prepare_cached(sql)?.execute(params![account, millis(*since), millis(*again)])?;
        }
        Step::Straight(account) => {
            conn.prepare_cached("DELETE FROM detour WHERE account = ?1")?.execute([account])?;
        }
    }
    Ok(())
}

/// All of them. A row that was damaged counts as none: the straight way shows it anew.
pub(super) fn read(conn: &Connection) -> rusqlite::Result<Vec<Detour>> {
    let mut select = conn.prepare("SELECT account, since, again FROM detour ORDER BY account")?;
    let rows = select.query_map([], |row| {
        Ok(Detour { account: row.get(0)?, since: time(row.get(1)?), again: time(row.get(2)?) })
    })?;
    Ok(rows.filter_map(Result::ok).collect())
}
