//! What is due, and whose turn it is: read through two indexes, by time and by sender.
//!
//! It promises that a look costs about as much with a hundred thousand mails as with ten, and that a row
//! which does not hold together is marked and stops nobody. How senders take turns is `turn.rs`.

use super::row::{self, COLUMNS, Read};
use super::view::{View, limit};
use super::{Entry, Queue, StoreError, read, turn};
use crate::mail::Id;
use rusqlite::{Connection, OptionalExtension, params};
use std::sync::PoisonError;
use std::time::SystemTime;

/// Senders looked at for one answer, so that a hundred thousand of them do not hold up a lane.
const STEPS: usize = 500;

/// What a look finds.
#[derive(Debug)]
pub struct Look {
    /// What is due, in the order in which it is to be begun.
    pub entries: Vec<Entry>,
    /// When the next one is due, of neither these nor those in hand; only where fewer were found than wanted.
    pub next: Option<SystemTime>,
}

impl Queue {
    /// At most `most` entries of `account` that are due at `now`, in order of due time; `skip` are in hand.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn due(
        &self,
        account: &str,
        now: SystemTime,
        most: usize,
        skip: &[Id],
    ) -> Result<Vec<Entry>, StoreError> {
        let (account, limit) = (account.to_owned(), most.saturating_add(skip.len()));
        let look = move |view: &View| {
            let lines = view.lines_where("due <= ?2", &account, now, limit)?;
            view.rows_of(&lines.into_iter().map(|(_, key)| key).collect::<Vec<_>>())
        };
        let reads = read(&self.inner.lanes, look).await?;
        let free = reads.into_iter().filter_map(|read| self.sound(read));
        Ok(free.filter(|entry| !skip.contains(&entry.id)).take(most).collect())
    }

    /// As [`Queue::due`], with those due later than `beyond` behind them (nobody sets a try so far ahead, so the
    /// clock was wrong then and was set back), and one of each sender in turn, beginning with the one behind `after`
    /// ([`Entry::turn`] of the mail that was begun last), so that a sender with thousands of mails holds up
    /// nobody. Mails of one sender come in order of due time. Where fewer than `most` were found, also when the
    /// next one is due.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn look(
        &self,
        account: &str,
        (now, beyond): (SystemTime, Option<SystemTime>),
        most: usize,
        skip: &[Id],
        after: &str,
    ) -> Result<Look, StoreError> {
        let (account, mut skip, after) = (account.to_owned(), skip.to_owned(), after.to_owned());
        let look = move |view: &View| {
            let reads = view.due_in_turn(&account, (now, beyond), most, &skip, &after)?;
            skip.extend(reads.iter().filter(|read| read.fault.is_none()).map(|read| read.entry.id));
            let is_short = reads.iter().filter(|read| read.fault.is_none()).count() < most;
            let next = if is_short { view.next_due(&account, &skip)? } else { None };
            Ok((reads, next))
        };
        let (reads, next) = read(&self.inner.lanes, look).await?;
        let entries = reads.into_iter().filter_map(|read| self.sound(read)).collect();
        Ok(Look { entries, next })
    }

    /// A row that holds together; one that does not is marked.
    fn sound(&self, read: row::Read) -> Option<Entry> {
        let Some(fault) = read.fault else { return Some(read.entry) };
        self.inner.store.notes().damage(read.key, fault);
        None
    }

    /// When the next entry of `account` is due that is not in `skip`.
    ///
    /// # Errors
    /// [`StoreError`].
    #[cfg(test)]
    pub(super) async fn next_due(
        &self,
        account: &str,
        skip: &[Id],
    ) -> Result<Option<SystemTime>, StoreError> {
        let (account, skip) = (account.to_owned(), skip.to_owned());
        read(&self.inner.lanes, move |view| view.next_due(&account, &skip)).await
    }
}

impl View {
    /// What is due without those in `skip`, one of each sender in turn behind `after`.
    fn due_in_turn(
        &self,
        account: &str,
        (now, beyond): (SystemTime, Option<SystemTime>),
        most: usize,
        skip: &[Id],
        after: &str,
    ) -> Result<Vec<Read>, StoreError> {
        let limit = most.saturating_add(skip.len());
        let is_free = |(_, key): &Line| skip.iter().all(|id| id.as_str() != key);
        let oldest = self.lines_where("due <= ?2", account, now, limit)?;
        let are_all = oldest.len() < limit;
        let free: Vec<Line> = oldest.into_iter().filter(is_free).collect();
        if !are_all {
            return self.turns_of_many(account, now, most, skip, after, free);
        }
        let mut keys = turn::in_turn(free, after, most);
        if let Some(beyond) = beyond
            && keys.len() < most
        {
            let late = self.lines_where("due > ?2", account, beyond, limit)?;
            let late = late.into_iter().filter(is_free).map(|(_, key)| key);
            keys.extend(late.take(most - keys.len()));
        }
        self.rows_of(&keys)
    }

    /// Where more is due than is wanted: goes from sender to sender through an index of its own. `oldest`
    /// fill up where so many senders wait for a later time that too few were found among [`STEPS`].
    fn turns_of_many(
        &self,
        account: &str,
        now: SystemTime,
        most: usize,
        skip: &[Id],
        after: &str,
        oldest: Vec<Line>,
    ) -> Result<Vec<Read>, StoreError> {
        let mut keys = {
            let conn = self.conn();
            let mut reached = self.reached.lock().unwrap_or_else(PoisonError::into_inner);
            let after = reached.remove(account).unwrap_or_else(|| after.to_owned());
            let now = row::millis(now);
            let (found, left_at) = step_through(&conn, account, now, most, skip, &after)?;
            reached.extend(left_at.map(|sender| (account.to_owned(), sender)));
            turn::in_turn(found, &after, most)
        };
        for (_, old) in oldest {
            if keys.len() < most && !keys.contains(&old) {
                keys.push(old);
            }
        }
        self.rows_of(&keys)
    }

    /// The rows of these ids, in their order.
    fn rows_of(&self, keys: &[String]) -> Result<Vec<Read>, StoreError> {
        let conn = self.conn();
        let mut read = conn.prepare_cached(&format!("SELECT {COLUMNS} FROM mail WHERE id = ?1"))?;
        let rows =
            keys.iter().map(|key| read.query_row([key], |row| Ok(row::read(row))).optional());
        Ok(rows.filter_map(Result::transpose).collect::<rusqlite::Result<_>>()?)
    }

    /// Sender and id, no more, where `bound` compares the due time with `time`: most of what is due is in
    /// hand or not wanted yet.
    fn lines_where(
        &self,
        bound: &str,
        account: &str,
        time: SystemTime,
        most: usize,
    ) -> Result<Vec<Line>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(&format!(
            "SELECT sender, id FROM mail WHERE account = ?1 AND state = 'queued' AND {bound} \
             ORDER BY due, id LIMIT ?3"
        ))?;
        let lines = select.query_map(params![account, row::millis(time), limit(most)], |row| {
            // What is damaged here is found when the row is read.
            Ok((row.get(0).unwrap_or_default(), row.get(1).unwrap_or_default()))
        })?;
        Ok(lines.collect::<rusqlite::Result<_>>()?)
    }

    /// When the first of those is due that are not in `skip`.
    fn next_due(&self, account: &str, skip: &[Id]) -> Result<Option<SystemTime>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(
            "SELECT id, due FROM mail WHERE account = ?1 AND state = 'queued' ORDER BY due, id LIMIT ?2",
        )?;
        let mut rows = select.query(params![account, limit(skip.len().saturating_add(1))])?;
        while let Some(row) = rows.next()? {
            let key: String = row.get(0).unwrap_or_default();
            if skip.iter().all(|id| id.as_str() != key) {
                // A damaged time is looked at soon, and told then.
                return Ok(Some(row::time(row.get(1).unwrap_or(0))));
            }
        }
        Ok(None)
    }
}

/// A sender and the id of a mail of theirs.
type Line = (String, String);

/// The ids of what is due of the next `most` senders behind `after`, with the sender of each; and the sender
/// looked at last, where the steps were used up before.
fn step_through(
    conn: &Connection,
    account: &str,
    now: i64,
    most: usize,
    skip: &[Id],
    after: &str,
) -> rusqlite::Result<(Vec<Line>, Option<String>)> {
    let mut next = conn.prepare_cached(
        "SELECT sender, due FROM mail WHERE account = ?1 AND state = 'queued' AND sender > ?2 \
         ORDER BY sender, due LIMIT 1",
    )?;
    let mut line = conn.prepare_cached(
        "SELECT id FROM mail WHERE account = ?1 AND state = 'queued' AND sender = ?2 AND due <= ?3 \
         ORDER BY due, id LIMIT ?4",
    )?;
    let limit = limit(most.saturating_add(skip.len()));
    let (mut found, mut senders) = (Vec::new(), 0);
    let (mut last, mut is_second_half) = (after.to_owned(), false);
    for _ in 0..STEPS {
        // What was damaged here is found when its row is read, among the oldest.
        let row = next.query_row(params![account, last], |row| {
            Ok((row.get::<_, String>(0).unwrap_or_default(), row.get(1).unwrap_or(i64::MAX)))
        });
        let Some((sender, due)) = row.optional()? else {
            if is_second_half {
                return Ok((found, None));
            }
            (last, is_second_half) = (String::new(), true);
            continue;
        };
        if senders == most || is_second_half && sender.as_str() > after {
            return Ok((found, None));
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
    Ok((found, Some(last)))
}
