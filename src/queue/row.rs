//! A mail as it stands in the store's columns: written whole, read with tolerance.
//!
//! It promises that whatever stands in a row, reading it gives an entry: one that does not hold
//! together comes out as [`State::Damaged`] with the reason, never as a crash and never as mail that
//! would be sent. It must not touch files or the clock.

use super::{Entry, RecipientState, State};
use crate::mail::{Envelope, Id};
use rusqlite::Row;
use rusqlite::types::ValueRef;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The columns [`read`] wants, in its order.
pub(super) const COLUMNS: &str = "id, account, state, accepted, due, attempts, uncertain, bounce, \
     delay_told, error, size, digest, envelope, seal, recipients, recipients_seal";

/// What was read.
pub(super) struct Read {
    /// The mail; `Damaged` where `fault` says why.
    pub entry: Entry,
    /// The id column as it stands, to address the row even where it is no id.
    pub key: String,
    /// What does not hold together.
    pub fault: Option<String>,
}

/// Milliseconds since 1970, as the store keeps times.
pub(super) fn millis(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The time of so many milliseconds since 1970; what a clock cannot show becomes 1970.
pub(super) fn time(millis: i64) -> SystemTime {
    let since = Duration::from_millis(u64::try_from(millis).unwrap_or(0));
    UNIX_EPOCH.checked_add(since).unwrap_or(UNIX_EPOCH)
}

/// SHA-256.
pub(super) fn digest(octets: &[u8]) -> [u8; 32] {
    hash(|context| context.update(octets))
}

fn hash(fill: impl FnOnce(&mut ring::digest::Context)) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    fill(&mut context);
    finished(context)
}

/// The value of a SHA-256 context.
pub(super) fn finished(context: ring::digest::Context) -> [u8; 32] {
    let mut value = [0; 32];
    // The context is SHA-256 everywhere, so the lengths agree.
    for (to, from) in value.iter_mut().zip(context.finish().as_ref()) {
        *to = *from;
    }
    value
}

/// A checksum over columns that belong together; each is preceded by its length.
fn seal(columns: &[&[u8]]) -> i64 {
    let value = hash(|context| {
        for column in columns {
            context.update(&(column.len() as u64).to_le_bytes());
            context.update(column);
        }
    });
    let mut head = [0; 8];
    head.copy_from_slice(&value[..8]);
    i64::from_le_bytes(head)
}

/// The checksum over what never changes in a row.
pub(super) fn seal_of_mail(
    id: &str,
    account: &str,
    accepted: i64,
    size: i64,
    digest: &[u8],
    envelope: &str,
) -> i64 {
    let (accepted, size) = (accepted.to_le_bytes(), size.to_le_bytes());
    seal(&[id.as_bytes(), account.as_bytes(), &accepted, &size, digest, envelope.as_bytes()])
}

/// The checksum over the recipients' states.
pub(super) fn seal_of_recipients(id: &str, recipients: &str) -> i64 {
    seal(&[id.as_bytes(), recipients.as_bytes()])
}

/// Reads a row of [`COLUMNS`].
pub(super) fn read(row: &Row<'_>) -> Read {
    let mut columns = Columns { row, fault: None };
    let key = columns.text(0, "id");
    let account = columns.text(1, "account");
    let state = columns.text(2, "state");
    let (accepted, due) = (columns.number(3, "accepted"), columns.number(4, "due"));
    let attempts = columns.number(5, "attempts");
    let uncertain = columns.number(6, "uncertain") != 0;
    let is_bounce = columns.number(7, "bounce") != 0;
    let delay_told = columns.number(8, "delay_told") != 0;
    let error = columns.optional_text(9);
    let size = columns.number(10, "size");
    let digest = columns.octets(11);
    let envelope = columns.text(12, "envelope");
    let sealed = columns.number(13, "seal");
    let recipients = columns.text(14, "recipients");
    let recipients_sealed = columns.number(15, "recipients_seal");

    if sealed != seal_of_mail(&key, &account, accepted, size, digest, &envelope) {
        columns.blame("the row does not match its checksum".into());
    }
    if recipients_sealed != seal_of_recipients(&key, &recipients) {
        columns.blame("the recipients' states do not match their checksum".into());
    }
    let id = columns.parsed("id", key.parse::<Id>());
    let state = columns.parsed("state", state.parse::<State>());
    let envelope = columns.parsed("envelope", serde_json::from_str::<Envelope>(&envelope));
    let states = columns.parsed("recipients", serde_json::from_str(&recipients));
    let (envelope, recipients) = columns.matched(envelope, states);
    let fault = columns.fault;
    let entry = Entry {
        id: id.unwrap_or_else(|| Id::new(UNIX_EPOCH, 0)),
        account,
        envelope,
        recipients,
        size: u64::try_from(size).unwrap_or(0),
        accepted: time(accepted),
        due: time(due),
        attempts: u32::try_from(attempts).unwrap_or(0),
        state: if fault.is_some() { State::Damaged } else { state.unwrap_or(State::Damaged) },
        uncertain,
        is_bounce,
        delay_told,
        last_error: fault.clone().or(error),
    };
    Read { entry, key, fault }
}

/// Columns read one by one; the first fault is kept.
struct Columns<'r, 's> {
    row: &'r Row<'s>,
    fault: Option<String>,
}

impl<'r> Columns<'r, '_> {
    fn blame(&mut self, fault: String) {
        self.fault.get_or_insert(fault);
    }

    fn value(&self, index: usize) -> ValueRef<'r> {
        self.row.get_ref(index).unwrap_or(ValueRef::Null)
    }

    fn text(&mut self, index: usize, name: &str) -> String {
        match self.value(index) {
            ValueRef::Text(text) => match std::str::from_utf8(text) {
                Ok(text) => text.to_owned(),
                Err(_) => {
                    self.blame(format!("column {name} is not UTF-8"));
                    String::from_utf8_lossy(text).into_owned()
                }
            },
            _ => {
                self.blame(format!("column {name} holds no text"));
                String::new()
            }
        }
    }

    fn optional_text(&self, index: usize) -> Option<String> {
        match self.value(index) {
            ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }

    fn number(&mut self, index: usize, name: &str) -> i64 {
        match self.value(index) {
            ValueRef::Integer(number) => number,
            _ => {
                self.blame(format!("column {name} holds no number"));
                0
            }
        }
    }

    fn octets(&self, index: usize) -> &'r [u8] {
        match self.value(index) {
            ValueRef::Blob(octets) => octets,
            _ => &[],
        }
    }

    fn parsed<T, E: std::fmt::Display>(&mut self, name: &str, parsed: Result<T, E>) -> Option<T> {
        parsed.map_err(|error| self.blame(format!("column {name}: {error}"))).ok()
    }

    /// Envelope and states of the same length, or what of the envelope can be shown.
    fn matched(
        &mut self,
        envelope: Option<Envelope>,
        states: Option<Vec<RecipientState>>,
    ) -> (Envelope, Vec<RecipientState>) {
        let envelope = envelope.unwrap_or_default();
        match states {
            Some(states) if states.len() == envelope.recipients.len() => (envelope, states),
            _ => {
                self.blame("not one state a recipient".into());
                let waiting = vec![RecipientState::Waiting; envelope.recipients.len()];
                (envelope, waiting)
            }
        }
    }
}
