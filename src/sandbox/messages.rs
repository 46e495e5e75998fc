//! The mails that were taken: in memory up to a bound, and in a directory where one is given.

use super::options::Limits;
use crate::mail::Envelope;
use bytes::Bytes;
use serde::Serialize;
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// One mail that was taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Message {
    /// Counts from 1 and is never given twice, even after the mails were deleted.
    pub number: u64,
    /// When its end came, UTC, `2025-11-23T11:12:20.512Z`.
    pub received: String,
    /// Whose token sent it.
    pub mailbox: String,
    /// Which way it came.
    pub door: Door,
    /// What the client called itself in EHLO or as user agent.
    pub client: String,
    /// The id in the acceptance: the Message-ID, or one made up where it has none.
    pub message_id: String,
    /// Sender, recipients and their parameters.
    pub envelope: Envelope,
    /// Octets of the mail.
    pub size: usize,
    /// The mail, octet for octet as it came, without the stuffed dots. What came by Microsoft Graph is as it is
    /// delivered: without Bcc, and with the mailbox's name in From.
    #[serde(skip)]
    pub raw: Bytes,
}

/// The ways into the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Door {
    /// SMTP submission.
    Smtp,
    /// Microsoft Graph.
    Graph,
}

impl Message {
    /// The mail as text; octets that are no UTF-8 are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.raw)
    }

    /// The addresses of its recipients, in order.
    pub fn recipients(&self) -> Vec<&str> {
        self.envelope.recipients.iter().map(|recipient| recipient.address.as_str()).collect()
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Messages {
    dir: Option<PathBuf>,
    shelf: Mutex<Shelf>,
}

#[derive(Debug, Default)]
struct Shelf {
    last: u64,
    octets: u64,
    kept: VecDeque<Arc<Message>>,
}

impl Messages {
    /// Nothing yet. Numbers go on after the files of an earlier run, so that none is written over.
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        let last = dir.as_deref().and_then(last_number).unwrap_or(0);
        Self { dir, shelf: Mutex::new(Shelf { last, ..Shelf::default() }) }
    }

    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a mail; its number is set here. Old ones go when there are too many.
    ///
    /// # Errors
    /// The directory could not be written; then the mail is not kept.
    pub(super) async fn keep(&self, mut message: Message, limits: &Limits) -> std::io::Result<()> {
        message.number = {
            let mut shelf = self.shelf();
            shelf.last += 1;
            shelf.last
        };
        if let Some(dir) = &self.dir {
            write(dir, &message).await?;
        }
        let mut shelf = self.shelf();
        shelf.octets += message.size as u64;
        shelf.kept.push_back(Arc::new(message));
        while shelf.kept.len() as u64 > u64::from(limits.kept_messages.max(1))
            || (shelf.octets > limits.kept_octets && shelf.kept.len() > 1)
        {
            let Some(oldest) = shelf.kept.pop_front() else { break };
            shelf.octets -= oldest.size as u64;
        }
        Ok(())
    }

    /// All that are kept, oldest first.
    pub(super) fn all(&self) -> Vec<Arc<Message>> {
        self.shelf().kept.iter().cloned().collect()
    }

    /// The one of this number, if it is kept.
    pub(super) fn get(&self, number: u64) -> Option<Arc<Message>> {
        self.shelf().kept.iter().find(|message| message.number == number).cloned()
    }

    /// Forgets all. Files stay.
    pub(super) fn clear(&self) {
        let mut shelf = self.shelf();
        shelf.kept.clear();
        shelf.octets = 0;
    }
}

/// The greatest number among the files of an earlier run.
fn last_number(dir: &Path) -> Option<u64> {
    let files = std::fs::read_dir(dir).ok()?;
    let number = |file: std::fs::DirEntry| file.path().file_stem()?.to_str()?.parse().ok();
    files.filter_map(Result::ok).filter_map(number).max()
}

async fn write(dir: &Path, message: &Message) -> std::io::Result<()> {
    let name = format!("{:06}", message.number);
    let envelope = serde_json::to_vec_pretty(message)?;
    tokio::fs::write(dir.join(format!("{name}.json")), envelope).await?;
    tokio::fs::write(dir.join(format!("{name}.eml")), &message.raw).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(raw: &'static [u8]) -> Message {
        Message {
            number: 0,
            received: String::new(),
            mailbox: "erp@contoso.com".into(),
            door: Door::Smtp,
            client: "app".into(),
            message_id: "<1@x>".into(),
            envelope: Envelope {
                sender: None,
                body: crate::mail::BodyKind::Undeclared,
                smtputf8: false,
                ret: None,
                envid: None,
                recipients: Vec::new(),
            },
            size: raw.len(),
            raw: Bytes::from_static(raw),
        }
    }

    #[tokio::test]
    async fn the_oldest_go_first_and_numbers_never_return() {
        let messages = Messages::new(None);
        let limits = Limits { kept_messages: 2, kept_octets: 10, ..Limits::NONE };
        for raw in [&b"1"[..], b"22", b"333"] {
            messages.keep(message(raw), &limits).await.expect("kept");
        }
        let numbers = || messages.all().iter().map(|message| message.number).collect::<Vec<_>>();
        assert_eq!(numbers(), [2, 3]);
        messages.keep(message(b"123456789"), &limits).await.expect("kept");
        assert_eq!(numbers(), [4], "eleven octets are one too many");
        messages.clear();
        messages.keep(message(b"1"), &limits).await.expect("kept");
        assert_eq!(numbers(), [5]);
        assert!(messages.get(5).is_some() && messages.get(4).is_none());
    }

    #[tokio::test]
    async fn files_hold_the_octets_and_the_envelope() {
        let dir = tempfile::tempdir().expect("dir");
        let messages = Messages::new(Some(dir.path().to_owned()));
        messages.keep(message(b"a: b\r\n\r\n\xff"), &Limits::NONE).await.expect("kept");
        assert_eq!(std::fs::read(dir.path().join("000001.eml")).expect("eml"), b"a: b\r\n\r\n\xff");
        let json = std::fs::read_to_string(dir.path().join("000001.json")).expect("json");
        assert!(json.contains("erp@contoso.com"), "{json}");
        let next_run = Messages::new(Some(dir.path().to_owned()));
        next_run.keep(message(b"2"), &Limits::NONE).await.expect("kept");
        assert_eq!(next_run.all()[0].number, 2, "nothing is written over");
        let nowhere = Messages::new(Some(dir.path().join("gone")));
        assert!(nowhere.keep(message(b""), &Limits::NONE).await.is_err());
        assert!(nowhere.all().is_empty());
    }
}
