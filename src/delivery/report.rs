//! Makes a queueable mail of a notice: reads the original's header, writes the report's body.
//!
//! The report goes from the sending mailbox (Exchange refuses the null sender) to the original
//! envelope sender, with NOTIFY=NEVER and marked as a report of ours, so that it never begets another.

use super::plan::{Notice, Told};
use super::random;
use crate::config::Account;
use crate::mail::bounce::{self, Fate, LONGEST_HEADER, Report};
use crate::mail::{Address, BodyKind, Envelope, Id, Notify, Recipient, Ret};
use crate::queue::{Entry, Queue, StoreError, Submission};
use std::time::{Duration, SystemTime};

/// Who reports, and when.
#[derive(Clone, Copy)]
pub(super) struct Reporter<'a> {
    pub account: &'a Account,
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
    let header = header(queue, entry).await;
    let octets = write(entry, notice, reporter, to, &header, id);
    let mut writer = queue.spool_report();
    writer.write(&octets).await?;
    let body = writer.finish().await?;
    let from = reporter.account.mailbox.clone();
    Ok(Some(Submission {
        id,
        account: entry.account.clone(),
        envelope: Envelope {
            smtputf8: from.needs_smtputf8() || to.needs_smtputf8(),
            sender: Some(from),
            body: BodyKind::Undeclared,
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
    header: &[u8],
    id: Id,
) -> Vec<u8> {
    let fates: Vec<Fate<'_>> =
        notice.fates.iter().filter_map(|told| fate(&entry.envelope, told)).collect();
    bounce::report(&Report {
        kind: notice.kind,
        id: entry.id.as_str(),
        envelope: &entry.envelope,
        accepted: entry.accepted,
        until: entry.accepted.checked_add(reporter.expire),
        header,
        fates: &fates,
        from: &reporter.account.mailbox,
        to,
        hostname: reporter.hostname,
        upstream: &reporter.account.upstream.host,
        date: reporter.now,
        seed: &format!("{id}{:016x}", random()),
    })
}

fn fate<'a>(envelope: &'a Envelope, told: &Told) -> Option<Fate<'a>> {
    Some(Fate {
        recipient: envelope.recipients.get(told.index)?,
        status: told.status.to_string(),
        diagnostic: told.diagnostic.clone(),
        explanation: told.explanation.clone(),
    })
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
