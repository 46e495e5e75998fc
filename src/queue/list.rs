//! Lists of mail, page by page: what lies in the queue and what has left it.
//!
//! It promises that a page never holds more than it was asked for, however long the queue is, that going
//! on behind a page neither repeats nor leaves out a row, and that a row which cannot be read is listed.

use super::row::{self, COLUMNS};
use super::view::unsigned;
use super::{Entry, Settled, State, StoreError, View};
use crate::mail::{Address, Envelope, Id, Pattern};
use rusqlite::{Row, params};
use std::time::SystemTime;

/// Which mails to list. Of mail that has left the queue the state does not count.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Of this account only.
    pub account: Option<String>,
    /// In this state only. A row that cannot be read counts by what its column says.
    pub state: Option<State>,
    /// Of this sender only.
    pub sender: Option<Sender>,
    /// With such a recipient among its recipients.
    pub recipient: Option<Pattern>,
    /// Taken before this.
    pub before: Option<SystemTime>,
    /// Only those of which a try ended without a known fate.
    pub uncertain: bool,
    /// Behind this row: [`Page::next`] of the page before.
    pub after: Option<String>,
    /// No more than these.
    pub most: usize,
}

/// A sender to look for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sender {
    /// The null sender `<>` of reports.
    Null,
    /// An address that fits.
    Like(Pattern),
}

impl Default for Filter {
    fn default() -> Self {
        Self {
            account: None,
            state: None,
            sender: None,
            recipient: None,
            before: None,
            uncertain: false,
            after: None,
            most: 1000,
        }
    }
}

impl Filter {
    /// Whether envelope and time are those that are looked for.
    fn fits<'a>(
        &self,
        sender: Option<&Address>,
        mut recipients: impl Iterator<Item = &'a Address>,
        accepted: SystemTime,
        uncertain: bool,
    ) -> bool {
        let by_sender = match (&self.sender, sender) {
            (None, _) | (Some(Sender::Null), None) => true,
            (Some(Sender::Like(pattern)), Some(sender)) => pattern.fit(sender).is_some(),
            (Some(_), _) => false,
        };
        by_sender
            && self.before.is_none_or(|before| accepted < before)
            && (uncertain || !self.uncertain)
            && self
                .recipient
                .as_ref()
                .is_none_or(|pattern| recipients.any(|recipient| pattern.fit(recipient).is_some()))
    }
}

/// Part of a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Page<T> {
    /// The mails.
    pub mails: Vec<T>,
    /// Where the next page goes on; none behind the last.
    pub next: Option<String>,
}

impl View {
    /// Mails of the queue in the order of their ids, which is that of their acceptance.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read; a row that cannot is listed as damaged.
    pub fn page(&self, filter: &Filter) -> Result<Page<Entry>, StoreError> {
        let conn = self.conn();
        let mut select = conn.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM mail WHERE (?1 IS NULL OR account = ?1) \
             AND (?2 IS NULL OR state = ?2) AND id > ?3 ORDER BY id"
        ))?;
        let state = filter.state.map(State::as_str);
        // Each page begins where the index says, not at the first row.
        let after = filter.after.as_deref().unwrap_or_default();
        let mut rows = select.query(params![filter.account, state, after])?;
        let mut page = Page { mails: Vec::new(), next: None };
        let mut last = None;
        while let Some(row) = rows.next()? {
            if page.mails.len() == filter.most {
                page.next = last;
                break;
            }
            let row::Read { entry, key, .. } = row::read(row);
            let recipients = entry.envelope.recipients.iter().map(|recipient| &recipient.address);
            let sender = entry.envelope.sender.as_ref();
            if filter.fits(sender, recipients, entry.accepted, entry.uncertain) {
                page.mails.push(entry);
                last = Some(key);
            }
        }
        Ok(page)
    }

    /// Mails of the queue, one page of them.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        Ok(self.page(filter)?.mails)
    }

    /// Mails that left the queue, the latest first.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn past(&self, filter: &Filter) -> Result<Page<Settled>, StoreError> {
        let after = filter.after.as_ref().map(|key| key.parse::<i64>());
        let after = after.transpose().map_err(|_| StoreError("no such page".into()))?;
        let after = after.unwrap_or(i64::MAX);
        let conn = self.conn();
        let mut select = conn.prepare_cached(&format!(
            "SELECT {PAST} FROM history WHERE (?1 IS NULL OR account = ?1) \
             AND key < ?2 ORDER BY key DESC"
        ))?;
        let mut rows = select.query(params![filter.account, after])?;
        let mut page = Page { mails: Vec::new(), next: None };
        let mut last = None;
        while let Some(row) = rows.next()? {
            if page.mails.len() == filter.most {
                page.next = last;
                break;
            }
            let Some(settled) = settled(row) else { continue };
            let recipients = settled.recipients.iter().map(|(address, _)| address);
            let sender = settled.sender.as_ref();
            if filter.fits(sender, recipients, settled.accepted, settled.uncertain) {
                page.mails.push(settled);
                last = Some(row.get::<_, i64>(11)?.to_string());
            }
        }
        Ok(page)
    }

    /// Mails that left the queue, the latest first; of one account or all.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn history(&self, account: Option<&str>, most: usize) -> Result<Vec<Settled>, StoreError> {
        let filter = Filter { account: account.map(str::to_owned), most, ..Filter::default() };
        Ok(self.past(&filter)?.mails)
    }

    /// One mail that left the queue.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn settled(&self, id: Id) -> Result<Option<Settled>, StoreError> {
        let conn = self.conn();
        // The history is bounded, and no index of it has to be kept while mail flows.
        let mut select = conn.prepare_cached(&format!(
            "SELECT {PAST} FROM history WHERE id = ?1 ORDER BY key DESC"
        ))?;
        let mut rows = select.query([id.as_str()])?;
        Ok(rows.next()?.and_then(settled))
    }

    /// How many mails of the queue had a try that ended without a known fate.
    ///
    /// # Errors
    /// [`StoreError`] where the store cannot be read.
    pub fn uncertain(&self) -> Result<u64, StoreError> {
        let conn = self.conn();
        let mut count = conn.prepare_cached("SELECT count(*) FROM mail WHERE uncertain <> 0")?;
        Ok(unsigned(count.query_row([], |row| row.get(0))?))
    }
}

/// The columns [`settled`] wants, in its order, and the key.
const PAST: &str = "id, account, envelope, recipients, accepted, settled, size, attempts, uncertain, \
     bounce, removed, key";

/// A row of the history; none where not even the id can be read.
fn settled(row: &Row<'_>) -> Option<Settled> {
    let id = row.get::<_, String>(0).ok()?.parse().ok()?;
    let envelope: Envelope = row
        .get::<_, String>(2)
        .ok()
        .and_then(|text| serde_json::from_str(&text).ok())
        .unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    #[test]
    fn a_filter_takes_what_fits_all_that_it_says() {
        let address = |text: &str| text.parse::<Address>().expect("address");
        let pattern = |text: &str| Pattern::parse(text).expect("pattern");
        let like = |text: &str| Some(Sender::Like(pattern(text)));
        let day = |days: u64| UNIX_EPOCH + Duration::from_secs(days * 86_400);
        let all = Filter::default;
        for (filter, fits, null_fits) in [
            (all(), true, true),
            (Filter { sender: like("a@x"), ..all() }, true, false),
            (Filter { sender: like("@X"), ..all() }, true, false),
            (Filter { sender: like("b@x"), ..all() }, false, false),
            (Filter { sender: Some(Sender::Null), ..all() }, false, true),
            (Filter { recipient: Some(pattern("c@y")), ..all() }, true, true),
            (Filter { recipient: Some(pattern("@x")), ..all() }, false, false),
            (Filter { before: Some(day(3)), ..all() }, true, true),
            (Filter { before: Some(day(2)), ..all() }, false, false),
            (Filter { uncertain: true, ..all() }, false, false),
        ] {
            let sender = address("a@x");
            let recipients = [address("b@y"), address("c@y")];
            for (sender, expected) in [(Some(&sender), fits), (None, null_fits)] {
                let found = filter.fits(sender, recipients.iter(), day(2), false);
                assert_eq!(found, expected, "{filter:?} {sender:?}");
            }
        }
    }
}
