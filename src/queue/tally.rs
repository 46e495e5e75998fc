//! How many recipients each lane has used of its day: counted by the minute, kept across restarts.
//!
//! It promises that what is counted with a mail's `attempting` mark or settlement is counted by the same
//! commit, and that nothing younger than two days is dropped, so that a clock which jumped ahead for a while
//! costs no count. What the numbers mean is the business of whoever counts.

use super::row::{millis, time};
use super::work::Work;
use super::{Queue, StoreError};
use rusqlite::{Connection, params};
use std::time::{Duration, SystemTime};

/// Columns of the table. `lane` is whatever the counter calls it.
pub(super) const TABLE: &str = "
CREATE TABLE spent (
    lane       TEXT NOT NULL,
    minute     INTEGER NOT NULL,  -- since 1970
    recipients INTEGER NOT NULL,
    PRIMARY KEY (lane, minute)
) WITHOUT ROWID;
";

const MINUTE: i64 = 60_000;
/// How long a count is kept.
const KEPT: Duration = Duration::from_secs(2 * 86_400);

/// Recipients that count against the day of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Charge {
    /// The lane: mailbox and server, in whatever spelling, always the same.
    pub lane: String,
    /// How many.
    pub recipients: u32,
    /// When they were sent; kept to the minute.
    pub at: SystemTime,
}

impl Queue {
    /// Counts recipients of a mail that is not in the queue against a lane's day.
    ///
    /// # Errors
    /// [`StoreError`]; nothing was counted then.
    pub async fn charge(&self, charge: Charge) -> Result<(), StoreError> {
        self.tally(Work::Charge(charge)).await
    }

    /// Takes back what [`Queue::charge`] counted and the upstream did not take.
    ///
    /// # Errors
    /// [`StoreError`]; it stays counted then.
    pub async fn refund(&self, charge: Charge) -> Result<(), StoreError> {
        self.tally(Work::Refund(charge)).await
    }

    async fn tally(&self, work: Work) -> Result<(), StoreError> {
        let done = self.inner.store.perform(work).await;
        done.map_err(|refusal| StoreError(refusal.to_string()))
    }

    /// What a lane has used of its last days, by the minute, the oldest first.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn spent(&self, lane: &str) -> Result<Vec<Charge>, StoreError> {
        let lane = lane.to_owned();
        super::read(&self.inner.lanes, move |view| Ok(read(&view.conn(), &lane)?)).await
    }
}

/// Adds a charge.
pub(super) fn add(conn: &Connection, charge: &Charge) -> rusqlite::Result<()> {
    change(conn, charge, i64::from(charge.recipients))
}

/// Takes a charge, or part of it, back: these were not sent after all.
pub(super) fn give_back(conn: &Connection, charge: &Charge) -> rusqlite::Result<()> {
    change(conn, charge, -i64::from(charge.recipients))
}

fn change(conn: &Connection, charge: &Charge, by: i64) -> rusqlite::Result<()> {
    if by == 0 {
        return Ok(());
    }
    let mut upsert = conn.prepare_cached(
        "INSERT INTO spent (lane, minute, recipients) VALUES (?1, ?2, max(?3, 0)) \
         ON CONFLICT DO UPDATE SET recipients = max(recipients + ?3, 0)",
    )?;
    upsert.execute(params![charge.lane, millis(charge.at) / MINUTE, by])?;
    Ok(())
}

/// What a lane has used, minute by minute, the oldest first.
pub(super) fn read(conn: &Connection, lane: &str) -> rusqlite::Result<Vec<Charge>> {
    let sql =
        "SELECT minute, recipients FROM spent WHERE lane = ?1 AND recipients > 0 ORDER BY minute";
    let mut select = conn.prepare_cached(sql)?;
    let charges = select.query_map([lane], |row| {
        // A number that was damaged counts as none: the provider's own quota stands behind it.
        let number = |index| row.get::<_, i64>(index).unwrap_or(0);
        Ok(Charge {
            lane: lane.to_owned(),
            recipients: u32::try_from(number(1)).unwrap_or(0),
            at: time(number(0).saturating_mul(MINUTE)),
        })
    })?;
    charges.collect()
}

/// Drops what no day reaches any more.
pub(super) fn prune(conn: &Connection, now: SystemTime) -> rusqlite::Result<()> {
    let before = now.checked_sub(KEPT).unwrap_or(SystemTime::UNIX_EPOCH);
    let mut delete = conn.prepare_cached("DELETE FROM spent WHERE minute < ?1")?;
    delete.execute([millis(before) / MINUTE]).map(|_| ())
}
