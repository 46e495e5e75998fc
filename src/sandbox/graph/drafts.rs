//! Drafts and the uploads that belong to them, in memory.

use super::compose;
use super::refusal::Refusal;
use crate::sandbox::random;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::collections::HashMap;

/// Smaller files go in one request.
const SMALLEST_UPLOAD: u64 = 3_000_000;
/// Larger ones do not go at all.
const LARGEST_UPLOAD: u64 = 150 * 1_048_576;

/// A file of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Attachment {
    pub(super) name: String,
    pub(super) content_type: String,
    pub(super) content_id: Option<String>,
    pub(super) is_inline: bool,
    pub(super) content: Vec<u8>,
}

struct Draft {
    mailbox: String,
    raw: Vec<u8>,
    attachments: Vec<Attachment>,
}

struct Upload {
    draft: String,
    file: Attachment,
    size: u64,
}

/// All that are there.
#[derive(Default)]
pub(in crate::sandbox) struct Drafts {
    drafts: HashMap<String, Draft>,
    uploads: HashMap<String, Upload>,
}

/// Numbers only: the keys of uploads open them.
impl std::fmt::Debug for Drafts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Drafts({}, {} uploads)", self.drafts.len(), self.uploads.len())
    }
}

impl Attachment {
    /// `fileAttachment` with its content.
    pub(super) fn read(written: &Value) -> Result<Self, Refusal> {
        let kind = written["@odata.type"].as_str().unwrap_or_default();
        let content = written["contentBytes"].as_str().and_then(|code| STANDARD.decode(code).ok());
        match content {
            Some(content) if kind == "#microsoft.graph.fileAttachment" => {
                Ok(Self { content, ..Self::named(written)? })
            }
            _ => Err(Refusal::bad("ErrorInvalidRequest", "The attachment cannot be read.")),
        }
    }

    fn named(written: &Value) -> Result<Self, Refusal> {
        let text = |name: &str| written[name].as_str().map(str::to_owned);
        let name = text("name").filter(|name| !name.is_empty());
        Ok(Self {
            name: name.ok_or_else(|| {
                Refusal::bad("ErrorInvalidRequest", "Required property 'name' is missing.")
            })?,
            content_type: text("contentType")
                .unwrap_or_else(|| "application/octet-stream".to_owned()),
            content_id: text("contentId"),
            is_inline: written["isInline"].as_bool().unwrap_or_default(),
            content: Vec::new(),
        })
    }
}

impl Drafts {
    /// A new one; its id.
    pub(super) fn make(
        &mut self,
        mailbox: &str,
        raw: Vec<u8>,
        attachments: Vec<Attachment>,
    ) -> String {
        let id = format!("AAMkAG{}=", random::base64url::<96>());
        let draft = Draft { mailbox: mailbox.to_owned(), raw, attachments };
        self.drafts.insert(id.clone(), draft);
        id
    }

    fn of(&mut self, mailbox: &str, id: &str) -> Result<&mut Draft, Refusal> {
        let draft = self.drafts.get_mut(id).filter(|draft| draft.mailbox == mailbox);
        draft.ok_or_else(Refusal::not_found)
    }

    /// Puts a file to a draft; the file's id.
    pub(super) fn attach(
        &mut self,
        mailbox: &str,
        id: &str,
        file: Attachment,
    ) -> Result<String, Refusal> {
        self.of(mailbox, id)?.attachments.push(file);
        Ok(format!("AAMkAG{}=", random::base64url::<108>()))
    }

    /// Begins an upload of `AttachmentItem`; what opens its address.
    pub(super) fn open(
        &mut self,
        mailbox: &str,
        id: &str,
        item: &Value,
    ) -> Result<String, Refusal> {
        self.of(mailbox, id)?;
        let size = item["size"].as_u64().filter(|_| item["attachmentType"] == "file");
        let Some(size) = size else {
            return Err(Refusal::bad("ErrorInvalidRequest", "The AttachmentItem cannot be read."));
        };
        if size < SMALLEST_UPLOAD {
            let message = "Attachment size must be greater than the minimum size.";
            return Err(Refusal::bad("ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", message));
        }
        if size > LARGEST_UPLOAD {
            return Err(Refusal::message_size());
        }
        let token = random::base64url::<300>();
        let upload = Upload { draft: id.to_owned(), file: Attachment::named(item)?, size };
        self.uploads.insert(token.clone(), upload);
        Ok(token)
    }

    /// Takes the piece that begins at `first`: what is next, and whether that was all.
    pub(super) fn receive(
        &mut self,
        token: &str,
        first: u64,
        size: u64,
        piece: &[u8],
    ) -> Result<(u64, bool), Refusal> {
        let upload = self.uploads.get_mut(token).ok_or_else(Refusal::not_found)?;
        let come = upload.file.content.len() as u64;
        if first != come || size != upload.size {
            let message =
                format!("The piece is not the one that is expected, which begins at {come}.");
            return Err(Refusal::new(416, "InvalidContentRange", message));
        }
        upload.file.content.extend_from_slice(piece);
        let come = come + piece.len() as u64;
        if come < size {
            return Ok((come, false));
        }
        if let Some(Upload { draft, file, .. }) = self.uploads.remove(token) {
            let draft = self.drafts.get_mut(&draft).ok_or_else(Refusal::not_found)?;
            draft.attachments.push(file);
        }
        Ok((come, true))
    }

    /// The message with its files.
    pub(super) fn whole(&mut self, mailbox: &str, id: &str) -> Result<Vec<u8>, Refusal> {
        let draft = self.of(mailbox, id)?;
        Ok(compose::attach(&draft.raw, &draft.attachments))
    }

    /// Forgets a draft, and what is uploaded to it.
    pub(super) fn delete(&mut self, mailbox: &str, id: &str) -> Result<(), Refusal> {
        self.of(mailbox, id)?;
        self.drafts.remove(id);
        self.uploads.retain(|_, upload| upload.draft != id);
        Ok(())
    }
}
