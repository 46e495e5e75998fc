//! `mailq`: the queue as sendmail and Postfix list it, so that people and scripts find their way.
//!
//! It reads the store beside the daemon and cannot change it. What peers said is shown in one harmless
//! line. It must not hold the whole queue: it may be long.

use crate::cli::store::{self, AccessError};
use crate::mail::Address;
use crate::observe::redact::one_line;
use crate::queue::{Entry, Filter, RecipientState, State, StoreError, View};
use std::io::{self, Write};
use std::path::Path;
use std::time::SystemTime;

/// Mails read at once.
const PAGE: usize = 500;
/// Characters of a reason.
const LONGEST_REASON: usize = 300;
/// Where recipients begin.
const INDENT: &str = "                                              ";

/// Why the queue was not listed.
#[derive(Debug, thiserror::Error)]
pub enum ListingError {
    /// The store cannot be had.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// It cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Standard output.
    #[error("the list cannot be written: {0}")]
    Output(#[from] io::Error),
}

/// Lists the queue below `state_dir`.
///
/// # Errors
/// [`ListingError`].
pub fn list(state_dir: &Path, out: &mut impl Write) -> Result<(), ListingError> {
    list_all(&store::open(state_dir)?, out)
}

fn list_all(view: &View, out: &mut impl Write) -> Result<(), ListingError> {
    let mut filter = Filter { most: PAGE, ..Filter::default() };
    let (mut count, mut octets) = (0_u64, 0_u64);
    loop {
        let page = view.page(&filter)?;
        if count == 0 && !page.mails.is_empty() {
            writeln!(
                out,
                "----Queue ID---- --Size-- ---Arrival (UTC)--- -Sender/Recipient-------"
            )?;
        }
        for entry in &page.mails {
            count += 1;
            octets += entry.size;
            show(entry, out)?;
        }
        filter.after = page.next;
        if filter.after.is_none() {
            break;
        }
    }
    match count {
        0 => writeln!(out, "Mail queue is empty")?,
        1 => writeln!(out, "-- {} Kbytes in 1 Request.", octets.div_ceil(1024))?,
        _ => writeln!(out, "-- {} Kbytes in {count} Requests.", octets.div_ceil(1024))?,
    }
    out.flush()?;
    Ok(())
}

/// One mail: its line, and below it why it waits and for whom.
fn show(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let mark = match entry.state {
        State::Queued => ' ',
        State::Attempting => '*',
        State::Held => '!',
        State::Failed | State::Damaged => '#',
    };
    let sender = entry.envelope.sender.as_ref().map_or("MAILER-DAEMON", Address::as_str);
    let arrival = day(entry.accepted);
    writeln!(out, "{}{mark}{:8} {arrival}   {sender}", entry.id, entry.size)?;
    if matches!(entry.state, State::Held | State::Failed | State::Damaged) {
        writeln!(out, "{INDENT}({})", entry.state)?;
    }
    let mut told = None;
    let recipients = entry.envelope.recipients.iter().zip(&entry.recipients);
    for (recipient, state) in recipients {
        let reason = match state {
            RecipientState::Delivered { .. } => continue,
            RecipientState::Deferred { reason } | RecipientState::Failed { reason } => Some(reason),
            RecipientState::Waiting => entry.last_error.as_ref(),
        };
        // The same reason holds for many recipients, mostly.
        if let Some(reason) = reason.filter(|reason| told != Some(*reason)) {
            writeln!(out, "{INDENT}({})", one_line(reason, LONGEST_REASON))?;
            told = Some(reason);
        }
        writeln!(out, "{INDENT}{}", recipient.address)?;
    }
    writeln!(out)
}

/// `Sat Nov 21 08:15:56`, in UTC.
fn day(time: SystemTime) -> String {
    // `Sat, 21 Nov 2026 08:15:56 GMT`
    let text = httpdate::fmt_http_date(time);
    let words: Vec<&str> = text.split([' ', ',']).filter(|word| !word.is_empty()).collect();
    match words.as_slice() {
        [weekday, day, month, _, clock, ..] => format!("{weekday} {month} {day} {clock}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::{Envelope, Id, Recipient};
    use std::time::{Duration, UNIX_EPOCH};

    fn entry(state: State, recipients: Vec<(&str, RecipientState)>) -> Entry {
        let time = UNIX_EPOCH + Duration::from_secs(1_795_248_956);
        let addresses = recipients.iter().map(|(to, _)| Recipient::new(to.parse().expect("to")));
        Entry {
            id: Id::new(UNIX_EPOCH, 7),
            account: "erp".into(),
            envelope: Envelope {
                sender: Some("s@x".parse().expect("sender")),
                body: Default::default(),
                smtputf8: false,
                ret: None,
                envid: None,
                recipients: addresses.collect(),
            },
            recipients: recipients.into_iter().map(|(_, state)| state).collect(),
            size: 1234,
            accepted: time,
            due: time,
            attempts: 1,
            state,
            uncertain: false,
            is_bounce: false,
            delay_told: false,
            last_error: Some("no token".into()),
        }
    }

    fn shown(entry: &Entry) -> Vec<String> {
        let mut out = Vec::new();
        show(entry, &mut out).expect("written");
        String::from_utf8(out).expect("text").lines().map(|line| line.trim().to_owned()).collect()
    }

    #[test]
    fn a_mail_shows_why_it_waits_and_for_whom() {
        let deferred = || RecipientState::Deferred { reason: "451 4.7.500\u{1b}[31m busy".into() };
        let found = shown(&entry(
            State::Queued,
            vec![
                ("a@x", RecipientState::Delivered { reply: "250".into() }),
                ("b@x", deferred()),
                ("c@x", deferred()),
                ("d@x", RecipientState::Waiting),
            ],
        ));
        assert_eq!(
            found,
            [
                "0000000000000007     1234 Sat Nov 21 08:15:56   s@x",
                "(451 4.7.500\\u{1b}[31m busy)",
                "b@x",
                "c@x",
                "(no token)",
                "d@x",
                "",
            ]
        );
        let held = shown(&entry(State::Held, vec![("b@x", RecipientState::Waiting)]));
        assert_eq!(held[0], "0000000000000007!    1234 Sat Nov 21 08:15:56   s@x");
        assert_eq!(held[1], "(held)");
    }

    #[test]
    fn a_queue_that_is_not_there_is_not_called_empty() {
        let dir = tempfile::tempdir().expect("directory");
        let error = list(dir.path(), &mut Vec::new());
        assert!(matches!(error, Err(ListingError::Access(AccessError::Absent(_)))), "{error:?}");
    }

    #[tokio::test]
    async fn an_empty_queue_is_said_to_be() {
        let dir = tempfile::tempdir().expect("directory");
        let settings = crate::queue::Settings {
            dir: dir.path().join("queue"),
            max_size: 1 << 20,
            reserve: 0,
            hold: Vec::new(),
            history: Duration::from_secs(1),
        };
        let queue = crate::queue::Queue::open(settings).expect("open");
        let mut out = Vec::new();
        list(dir.path(), &mut out).expect("list");
        assert_eq!(String::from_utf8_lossy(&out), "Mail queue is empty\n");
        drop(queue);
    }
}
