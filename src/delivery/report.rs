//! Makes a queueable mail of a notice: reads the original's header, writes the report's body.
//!
//! The report goes from the sending mailbox, or that of the account named for it (Exchange refuses the null
//! sender), to the original
//! envelope sender, with NOTIFY=NEVER and marked as a report of ours, so that it never begets another.

use super::notice::{Notice, Told};
use super::random;
use crate::config::Account;
use crate::mail::bounce::{self, Fate, Kind, LONGEST_HEADER, LONGEST_WHOLE, Report};
use crate::mail::{Address, BodyKind, Envelope, Id, Notify, Recipient, Ret};
use crate::queue::{Entry, Queue, StoreError, Submission};
use std::time::{Duration, SystemTime};

/// Who reports, and when.
#[derive(Clone, Copy)]
pub(super) struct Reporter<'a> {
    /// Through which the report goes.
    pub account: &'a Account,
    /// The server that took or refused the mail.
    pub upstream: &'a str,
    pub hostname: &'a str,
    pub expire: Duration,
    pub now: SystemTime,
}

/// The report as a mail to be queued. None where there is nobody to tell.
pub(super) async fn submission(
    queue: &Queue,
    entry: &Entry,
    notice: &Notice,
    reporter: Reporter<'_>,
) -> Result<Option<Submission>, StoreError> {
    let Some(to) = &entry.envelope.sender else { return Ok(None) };
    let id = Id::new(reporter.now, random() as u32);
    let is_asked = notice.tells(Kind::Failed) && entry.envelope.ret == Some(Ret::Full);
    let whole = if is_asked { whole(queue, entry, notice).await } else { None };
    let (original, is_whole) = match whole {
        Some(whole) => (whole, true),
        None => (header(queue, entry).await, false),
    };
    let octets = write(entry, notice, reporter, to, (&original, is_whole), id);
    // What was taken with 8 bits goes back as it came.
    // The report itself has lines, also where its original was declared binary.
    let body_kind = match entry.envelope.body {
        BodyKind::EightBitMime | BodyKind::BinaryMime if !octets.is_ascii() => {
            BodyKind::EightBitMime
        }
        _ => BodyKind::Undeclared,
    };
    let mut writer = queue.spool_report();
    writer.write(&octets).await?;
    let body = writer.finish().await?;
    let from = reporter.account.mailbox.clone();
    Ok(Some(Submission {
        id,
        account: reporter.account.name.clone(),
        envelope: Envelope {
            smtputf8: from.needs_smtputf8() || to.needs_smtputf8(),
            sender: Some(from),
            body: body_kind,
            ret: Some(Ret::Headers),
            envid: None,
            recipients: vec![Recipient {
                address: to.clone(),
                notify: Some(Notify::NEVER),
                orcpt: None,
            }],
        },
        body,
        accepted: reporter.now,
        is_bounce: true,
    }))
}

fn write(
    entry: &Entry,
    notice: &Notice,
    reporter: Reporter<'_>,
    to: &Address,
    (original, is_whole): (&[u8], bool),
    id: Id,
) -> Vec<u8> {
    let fates: Vec<Fate<'_>> =
        notice.fates.iter().filter_map(|told| fate(&entry.envelope, told)).collect();
    bounce::report(&Report {
        id: entry.id.as_str(),
        envelope: &entry.envelope,
        accepted: entry.accepted,
        until: entry.accepted.checked_add(reporter.expire),
        original,
        is_whole,
        fates: &fates,
        from: &reporter.account.mailbox,
        to,
        hostname: reporter.hostname,
        upstream: reporter.upstream,
        date: reporter.now,
        seed: &format!("{id}{:016x}", random()),
    })
}

fn fate<'a>(envelope: &'a Envelope, told: &Told) -> Option<Fate<'a>> {
    Some(Fate {
        recipient: envelope.recipients.get(told.index)?,
        kind: told.kind,
        status: told.status.to_string(),
        diagnostic: told.diagnostic.clone(),
        explanation: told.explanation.clone(),
    })
}

/// The original for RET=FULL (RFC 3461 §4.3); none where it is too large, cannot stand in a part, or the
/// report could share the fault of its original.
async fn whole(queue: &Queue, entry: &Entry, notice: &Notice) -> Option<Vec<u8>> {
    let size = usize::try_from(entry.size).ok().filter(|size| *size <= LONGEST_WHOLE)?;
    // A header in UTF-8 wants message/global (RFC 6532 §3.7).
    if entry.envelope.smtputf8 {
        return None;
    }
    let mut whole = Vec::with_capacity(size);
    let mut body = queue.body(entry).await.ok()?;
    while let Some(chunk) = body.chunk().await.ok()? {
        whole.extend_from_slice(&chunk);
    }
    // Declared 8 bits need an upstream that takes them: one that answered to the mail has said so.
    let mut failed = notice.fates.iter().filter(|told| told.kind == Kind::Failed);
    let is_bearable = whole.is_ascii()
        || matches!(entry.envelope.body, BodyKind::Undeclared | BodyKind::SevenBit)
        || failed.all(|told| told.diagnostic.is_some());
    (is_bearable && bounce::is_returnable(&whole)).then_some(whole)
}

/// What can be read of the original's header; a report without it is better than none.
async fn header(queue: &Queue, entry: &Entry) -> Vec<u8> {
    let mut header = Vec::new();
    let Ok(mut body) = queue.body(entry).await else { return header };
    while header.len() < LONGEST_HEADER
        && let Ok(Some(chunk)) = body.chunk().await
    {
        header.extend_from_slice(&chunk);
        if memchr::memmem::find(&header, b"\r\n\r\n").is_some() {
            break;
        }
    }
    header.truncate(LONGEST_HEADER);
    header
}
