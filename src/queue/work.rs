//! What the writer does to the tables, one function a kind of work.
//!
//! It promises that a piece of work that is refused has changed nothing, and that everything outside
//! the tables (memory, files, wake-ups) is only noted in the [`Effect`], to be done after the commit.

use super::detour::{self, Step};
use super::entry::{self, Order};
use super::room::Room;
use super::row::{millis, seal_of_mail, seal_of_recipients};
use super::tally::{self, Charge};
use super::turn;
use super::{Next, RecipientState, Settlement, State, StoreError, Submission, body};
use crate::mail::Id;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::SystemTime;

/// Rows of history kept at most; a report on last week's mail needs no more.
const HISTORY_ROWS: i64 = 100_000;
/// Rows or pages given back at once, so that a waiting mail does not wait long.
const TIDIED: i64 = 1000;

/// One thing to do in a transaction.
#[derive(Debug)]
pub(super) enum Work {
    Accept(Box<Mail>),
    /// The final dot is about to be sent, to so many recipients.
    Attempting(Id, Option<Charge>),
    /// Recipients of a mail that is not in the queue.
    Charge(Charge),
    Refund(Charge),
    /// An account goes a way round, or straight on again.
    Detour(Step),
    /// A fault in the writer itself.
    #[cfg(test)]
    Break,
    Settle(Id, Box<Note>),
    Steer(Id, Order),
    /// By the column's text, which need not be an id any more.
    Damage {
        key: String,
        fault: String,
    },
}

/// Why work was not done.
#[derive(Debug, Clone)]
pub(super) enum Refusal {
    Full(String),
    Failed(String),
    Unknown,
    State(State),
}

/// What is to be done once the transaction stands.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// The account whose lane has something to look at.
    pub ring: Option<String>,
    /// Whose body need no longer be in memory.
    pub forget: Option<Id>,
    /// Whose body file goes.
    pub unlink: Option<Id>,
    /// Whether the history grew.
    pub history: bool,
}

/// A submission in columns; made outside the writer, so that the writer only writes.
#[derive(Debug)]
pub(super) struct Mail {
    pub id: Id,
    pub body: body::Written,
    account: String,
    sender: String,
    accepted: i64,
    size: i64,
    envelope: String,
    seal: i64,
    recipients: String,
    recipients_seal: i64,
    is_bounce: bool,
}

impl Mail {
    pub(super) fn new(submission: Submission) -> Result<Self, StoreError> {
        let Submission { id, account, envelope, body, accepted, is_bounce } = submission;
        let waiting = vec![RecipientState::Waiting; envelope.recipients.len()];
        let recipients = json(&waiting)?;
        let sender = turn::key(envelope.sender.as_ref());
        let envelope = json(&envelope)?;
        let accepted = millis(accepted);
        let size = i64::try_from(body.size()).unwrap_or(i64::MAX);
        let seal = seal_of_mail(id.as_str(), &account, accepted, size, body.digest(), &envelope);
        let recipients_seal = seal_of_recipients(id.as_str(), &recipients);
        Ok(Self {
            id,
            body,
            account,
            sender,
            accepted,
            size,
            envelope,
            seal,
            recipients,
            recipients_seal,
            is_bounce,
        })
    }
}

/// A settlement in columns.
#[derive(Debug)]
pub(super) struct Note {
    pub report: Option<Box<Mail>>,
    recipients: String,
    recipients_seal: i64,
    next: Next,
    uncertain: bool,
    counts: bool,
    delay_told: bool,
    error: Option<String>,
    refund: Option<Charge>,
}

impl Note {
    pub(super) fn new(id: Id, settlement: Settlement) -> Result<Self, StoreError> {
        let recipients = json(&settlement.recipients)?;
        Ok(Self {
            report: settlement.report.map(Mail::new).transpose()?.map(Box::new),
            recipients_seal: seal_of_recipients(id.as_str(), &recipients),
            recipients,
            next: settlement.next,
            uncertain: settlement.uncertain,
            counts: settlement.counts,
            delay_told: settlement.delay_told,
            error: settlement.error,
            refund: settlement.refund,
        })
    }
}

fn json(value: &impl serde::Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|error| StoreError(error.to_string()))
}

/// What the writer needs to know of a row before it changes it.
struct Brief {
    account: String,
    state: State,
    size: u64,
    inline: Option<i64>,
}

/// The tables, as the one writer sees them.
pub(super) struct Ledger {
    pub conn: Connection,
    /// The key of the next inline body.
    pub next_key: i64,
    /// Octets of bodies, with what the running transaction changes.
    pub used: u64,
}

type Applied = rusqlite::Result<Result<Effect, Refusal>>;

impl Ledger {
    /// Does the work within the running transaction.
    pub(super) fn apply(&mut self, work: &Work, room: &Room, now: SystemTime) -> Applied {
        match work {
            Work::Accept(mail) => match room.admit(self.used, mail.body.size()) {
                Ok(()) => self.insert(mail).map(Ok),
                Err(what) => Ok(Err(Refusal::Full(what))),
            },
            Work::Attempting(id, charge) => self.mark(*id, charge.as_ref()),
            #[cfg(test)]
            Work::Break => panic!("broken by a test"),
            Work::Charge(charge) => tally::add(&self.conn, charge).map(|()| Ok(Effect::default())),
            Work::Refund(charge) => {
                tally::give_back(&self.conn, charge).map(|()| Ok(Effect::default()))
            }
            Work::Detour(step) => detour::note(&self.conn, step).map(|()| Ok(Effect::default())),
            Work::Settle(id, note) => self.settle(*id, note, now),
            Work::Steer(id, order) => self.steer(*id, *order, now),
            Work::Damage { key, fault } => self.damage(key, fault),
        }
    }

    fn insert(&mut self, mail: &Mail) -> rusqlite::Result<Effect> {
        let mut key = None;
        if let Some(octets) = mail.body.inline() {
            let sql = "INSERT INTO body (key, octets) VALUES (?1, ?2)";
            self.conn.prepare_cached(sql)?.execute(params![self.next_key, &octets[..]])?;
            key = Some(self.next_key);
            self.next_key += 1;
        }
        let mut insert = self.conn.prepare_cached(
            "INSERT INTO mail (id, account, state, accepted, due, bounce, size, digest, envelope, \
             seal, recipients, recipients_seal, inline, sender) \
             VALUES (?1, ?2, 'queued', ?3, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
        )?;
        insert.execute(params![
            mail.id.as_str(),
            mail.account,
            mail.accepted,
            mail.is_bounce,
            mail.size,
            &mail.body.digest()[..],
            mail.envelope,
            mail.seal,
            mail.recipients,
            mail.recipients_seal,
            key,
            mail.sender,
        ])?;
        self.used = self.used.saturating_add(mail.body.size());
        Ok(Effect { ring: Some(mail.account.clone()), ..Effect::default() })
    }

    fn brief(&self, id: Id) -> rusqlite::Result<Option<Brief>> {
        let sql = "SELECT account, state, size, inline FROM mail WHERE id = ?1";
        let mut select = self.conn.prepare_cached(sql)?;
        let brief = select.query_row([id.as_str()], |row| {
            // Also a row with a damaged column can be settled and removed.
            let state: String = row.get(1).unwrap_or_default();
            Ok(Brief {
                account: row.get(0).unwrap_or_default(),
                state: state.parse().unwrap_or(State::Damaged),
                size: row.get(2).ok().and_then(|size: i64| size.try_into().ok()).unwrap_or(0),
                inline: row.get(3).unwrap_or(None),
            })
        });
        brief.optional()
    }

    fn mark(&self, id: Id, charge: Option<&Charge>) -> Applied {
        let mut update = self.conn.prepare_cached(
            "UPDATE mail SET state = 'attempting' WHERE id = ?1 AND state IN ('queued', 'attempting')",
        )?;
        if update.execute([id.as_str()])? == 1 {
            if let Some(charge) = charge {
                tally::add(&self.conn, charge)?;
            }
            return Ok(Ok(Effect::default()));
        }
        let brief = self.brief(id)?;
        Ok(Err(brief.map_or(Refusal::Unknown, |brief| Refusal::State(brief.state))))
    }

    fn settle(&mut self, id: Id, note: &Note, now: SystemTime) -> Applied {
        let mut effect = Effect::default();
        if let Some(report) = &note.report {
            // Not measured against max_size: it is part of settling, which room is kept for.
            effect = self.insert(report)?;
        }
        if let Some(refund) = &note.refund {
            tally::give_back(&self.conn, refund)?;
        }
        effect.forget = Some(id);
        let Some(brief) = self.brief(id)? else {
            // Removed by a person while it was under way: nothing is left to settle.
            tracing::info!(%id, "settled after it was removed");
            return Ok(Ok(effect));
        };
        match brief.state.after(&note.next) {
            None => {
                let tries = (note.counts, note.uncertain);
                self.leave(id, &brief, Some(&note.recipients), tries, now, &mut effect)?;
            }
            Some(state) => self.update(id, state, note)?,
        }
        // Its lane looks again when the try ends.
        Ok(Ok(effect))
    }

    fn update(&self, id: Id, state: State, note: &Note) -> rusqlite::Result<()> {
        let due = match &note.next {
            Next::Retry(due) => Some(millis(*due)),
            _ => None,
        };
        let mut update = self.conn.prepare_cached(
            "UPDATE mail SET state = ?2, due = coalesce(?3, due), attempts = attempts + ?4, \
             uncertain = max(uncertain, ?5), delay_told = max(delay_told, ?6), \
             error = coalesce(?7, error), recipients = ?8, recipients_seal = ?9 WHERE id = ?1",
        )?;
        update.execute(params![
            id.as_str(),
            state.as_str(),
            due,
            note.counts,
            note.uncertain,
            note.delay_told,
            note.error,
            note.recipients,
            note.recipients_seal,
        ])?;
        Ok(())
    }

    /// Moves a mail to the history; without `recipients` a person removed it.
    fn leave(
        &mut self,
        id: Id,
        brief: &Brief,
        recipients: Option<&str>,
        (counts, uncertain): (bool, bool),
        now: SystemTime,
        effect: &mut Effect,
    ) -> rusqlite::Result<()> {
        let mut note = self.conn.prepare_cached(
            "INSERT INTO history (id, account, envelope, recipients, accepted, settled, size, attempts, \
             uncertain, bounce, removed) \
             SELECT id, account, envelope, coalesce(?2, recipients), accepted, ?3, size, attempts + ?4, \
             max(uncertain, ?5), bounce, ?6 FROM mail WHERE id = ?1",
        )?;
        let removed = recipients.is_none();
        note.execute(params![id.as_str(), recipients, millis(now), counts, uncertain, removed])?;
        self.conn.prepare_cached("DELETE FROM mail WHERE id = ?1")?.execute([id.as_str()])?;
        match brief.inline {
            Some(key) => {
                self.conn.prepare_cached("DELETE FROM body WHERE key = ?1")?.execute([key])?;
            }
            None => effect.unlink = Some(id),
        }
        self.used = self.used.saturating_sub(brief.size);
        effect.forget = Some(id);
        effect.history = true;
        Ok(())
    }

    fn steer(&mut self, id: Id, order: Order, now: SystemTime) -> Applied {
        let Some(brief) = self.brief(id)? else { return Ok(Err(Refusal::Unknown)) };
        let Some(state) = brief.state.steered(order) else {
            return Ok(Err(Refusal::State(brief.state)));
        };
        let mut effect = Effect { ring: Some(brief.account.clone()), ..Effect::default() };
        if order == Order::Remove {
            self.leave(id, &brief, None, (false, false), now, &mut effect)?;
            return Ok(Ok(effect));
        }
        if order == Order::Retry && brief.state == State::Failed {
            self.revive(id)?;
        }
        let due = (order != Order::Hold).then(|| millis(now));
        let sql = "UPDATE mail SET state = ?2, due = coalesce(?3, due) WHERE id = ?1";
        self.conn.prepare_cached(sql)?.execute(params![id.as_str(), state.as_str(), due])?;
        Ok(Ok(effect))
    }

    fn revive(&self, id: Id) -> rusqlite::Result<()> {
        let sql = "SELECT recipients FROM mail WHERE id = ?1";
        let text: String = self.conn.query_row(sql, [id.as_str()], |row| row.get(0))?;
        // One that cannot be read is left so: it shows as damaged when it is due.
        let Ok(mut states) = serde_json::from_str::<Vec<RecipientState>>(&text) else {
            return Ok(());
        };
        entry::revive(&mut states);
        let Ok(text) = serde_json::to_string(&states) else { return Ok(()) };
        self.conn.execute(
            "UPDATE mail SET recipients = ?2, recipients_seal = ?3 WHERE id = ?1",
            params![id.as_str(), text, seal_of_recipients(id.as_str(), &text)],
        )?;
        Ok(())
    }

    fn damage(&self, key: &str, fault: &str) -> Applied {
        let sql =
            "UPDATE mail SET state = 'damaged', error = ?2 WHERE id = ?1 AND state <> 'damaged'";
        if self.conn.execute(sql, [key, fault])? > 0 {
            tracing::error!(id = ?key, %fault, "mail is damaged; it is kept and not sent");
        }
        Ok(Ok(Effect::default()))
    }

    /// Drops old history, bounded, and old counts; each within its own transaction.
    pub(super) fn prune(&self, before: SystemTime, now: SystemTime) -> rusqlite::Result<()> {
        tally::prune(&self.conn, now)?;
        // Keys grow with the time of settling, so both bounds cut at the low end.
        let newest = "(SELECT coalesce(max(key), 0) FROM history)";
        let oldest = "(SELECT coalesce(min(key), 0) FROM history)";
        self.conn
            .prepare_cached(&format!(
                "DELETE FROM history WHERE key < {oldest} + ?1 AND (key <= {newest} - ?2 OR settled < ?3)"
            ))?
            .execute(params![TIDIED, HISTORY_ROWS, millis(before)])?;
        Ok(())
    }

    /// Gives pages of mail that left back to the disk, bounded; whether more could be given.
    pub(super) fn shrink(&self) -> rusqlite::Result<bool> {
        let free = |sql| self.conn.query_row(sql, [], |row| row.get::<_, i64>(0));
        if free("PRAGMA freelist_count")? <= TIDIED {
            return Ok(false);
        }
        let mut vacuum = self.conn.prepare(&format!("PRAGMA incremental_vacuum({TIDIED})"))?;
        let mut rows = vacuum.query([])?;
        while rows.next()?.is_some() {}
        Ok(true)
    }
}
