//! The long way: a draft, its large files by upload, then `send`.
//!
//! It promises that the draft is sent only after the commit said yes and all files are in it, that one which
//! is not sent is removed, and that no token goes to the upload's own address, which carries one of its own.
//! The message is read once to find its parts, and then file by file: no file lies in memory.

use super::letter::{Letter, Pieces};
use super::{Commit, Graph, at, line, request};
use crate::mail::apart::{Apart, take_apart};
use crate::mail::outline::{Outline, Parts};
use crate::mail::part::Part;
use crate::smtp::Reply;
use crate::upstream::{Credential, Failure, Fault, Stage};
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use url::Url;

/// A file of fewer octets goes in one request, as base64 in JSON: below 4 MB with its name and all else. Upload
/// sessions begin here.
const SESSION: u64 = 3_000_000;
/// So much goes in one request of an upload: below 4 MB, and a multiple of 320 KB.
const SLICE: u64 = 10 * 320 * 1024;
/// What Graph calls a file that is too small for an upload session.
const TOO_SMALL: &str = "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize";

/// What was made.
#[derive(Deserialize)]
struct Made {
    id: String,
}

/// Where the octets of a part go.
#[derive(Deserialize)]
struct Session {
    #[serde(rename = "uploadUrl")]
    upload_url: Url,
}

impl Graph {
    /// The message as a draft of at most so many octets, and its largest files beside it.
    pub(super) async fn upload(
        &self,
        mut letter: Letter<'_>,
        most: u64,
        credential: &Credential,
        commit: Commit<'_>,
    ) -> Result<Reply, Failure> {
        let size = letter.size();
        let found = outline(&mut letter).await.map_err(|fault| at(Stage::Body, fault))?;
        let apart = take_apart(found, most)
            .map_err(|why| at(Stage::Body, Fault::Oversize { size, why }))?;
        let id = self.begin(&mut letter, &apart, credential).await?;
        let filled = async {
            for file in &apart.files {
                self.attach(&mut letter, &id, file, credential).await?;
            }
            match commit {
                Some(mark) => mark.await.map_err(|text| at(Stage::Body, Fault::Local(text))),
                None => Ok(()),
            }
        };
        if let Err(failure) = filled.await {
            self.remove(&id, credential).await;
            return Err(failure);
        }
        let request =
            self.request(credential, &format!("messages/{}/send", request::escaped(&id)))?;
        let heard = self.ask(request.body(""), self.times.data_timeout, true).await?;
        let result = heard.read(202).map_err(|fault| at(Stage::Posted, fault));
        // Where it is sure that it was not sent; with 503 the mail is tried again, as another draft.
        if (300..500).contains(&heard.status) || heard.status == 503 {
            self.remove(&id, credential).await;
        }
        result
    }

    /// Makes the draft.
    async fn begin(
        &self,
        letter: &mut Letter<'_>,
        apart: &Apart,
        credential: &Credential,
    ) -> Result<String, Failure> {
        let request = self.request(credential, "messages")?.header(CONTENT_TYPE, "text/plain");
        let mut pieces = Pieces::encoded(letter, apart.stays.clone());
        let (heard, _) = self.stream(request, &mut pieces, None, &mut None).await?;
        if heard.status == 403 {
            tracing::warn!(
                mailbox = %credential.mailbox,
                "no draft can be made: the application lacks Mail.ReadWrite; add it, or write upload = \"off\" in [account.graph]"
            );
            let (size, why) = (letter.size(), "the application lacks Mail.ReadWrite");
            return Err(at(Stage::Body, Fault::Oversize { size, why }));
        }
        let made: Made = self.made(&heard)?;
        Ok(made.id)
    }

    /// Puts one file into the draft.
    async fn attach(
        &self,
        letter: &mut Letter<'_>,
        id: &str,
        file: &Part,
        credential: &Credential,
    ) -> Result<(), Failure> {
        let place = format!("messages/{}/attachments", request::escaped(id));
        if file.size < SESSION {
            return self.put_whole(letter, &place, file, credential).await;
        }
        let Part { name, content_type, content_id, is_inline, size, .. } = file;
        let body = json!({"AttachmentItem": {
            "attachmentType": "file", "name": name, "size": size,
            "contentType": content_type, "contentId": content_id, "isInline": is_inline,
        }});
        let heard = self.tell(credential, &format!("{place}/createUploadSession"), &body).await?;
        // Where their least size is larger than what was seen, one request must do.
        if matches!(heard.read(201), Err(Fault::Http { code, .. }) if code == TOO_SMALL) {
            return self.put_whole(letter, &place, file, credential).await;
        }
        let Session { upload_url } = self.made(&heard)?;
        if !self.may_go_to(&upload_url) {
            let fault = Fault::Protocol("the upload is to go over plain http".to_owned());
            return Err(at(Stage::Body, fault));
        }
        let mut pieces = Pieces::content(letter, file);
        let mut start = 0;
        while start < *size {
            let slice = SLICE.min(size - start);
            self.put(&upload_url, &mut pieces, start, slice).await?;
            start += slice;
        }
        Ok(())
    }

    /// A file in one request.
    async fn put_whole(
        &self,
        letter: &mut Letter<'_>,
        place: &str,
        file: &Part,
        credential: &Credential,
    ) -> Result<(), Failure> {
        let Part { name, content_type, content_id, is_inline, .. } = file;
        let described = json!({
            "@odata.type": "#microsoft.graph.fileAttachment", "name": name,
            "contentType": content_type, "contentId": content_id, "isInline": is_inline,
        });
        let described = described.to_string();
        let before = format!("{},\"contentBytes\":\"", described.trim_end_matches('}'));
        let mut pieces = Pieces::framed(letter, file, before, "\"}".to_owned());
        let request = self.request(credential, place)?.header(CONTENT_TYPE, "application/json");
        let (heard, _) = self.stream(request, &mut pieces, None, &mut None).await?;
        heard.read(201).map(drop).map_err(|fault| at(Stage::Body, fault))
    }

    /// One request of an upload; its address is its own permission.
    async fn put(
        &self,
        url: &Url,
        pieces: &mut Pieces<'_, '_>,
        start: u64,
        slice: u64,
    ) -> Result<(), Failure> {
        let client = self.client.load();
        let client = client.as_ref().as_ref().map_err(|fault| at(Stage::Connect, fault.clone()))?;
        let range = format!("bytes {start}-{}/{}", start + slice - 1, pieces.size());
        let request = client
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_RANGE, range);
        let (heard, is_sent) = self.stream(request, pieces, Some(slice), &mut None).await?;
        match heard.status {
            200..=202 if is_sent => Ok(()),
            _ => Err(at(Stage::Body, refusal(&heard))),
        }
    }

    async fn tell(
        &self,
        credential: &Credential,
        place: &str,
        body: &serde_json::Value,
    ) -> Result<line::Heard, Failure> {
        let request = self.request(credential, place)?;
        let request = request.header(CONTENT_TYPE, "application/json").body(body.to_string());
        self.ask(request, self.times.data_timeout, false).await
    }

    /// Best effort: a draft that stays behind is seen by people.
    async fn remove(&self, id: &str, credential: &Credential) {
        let place = format!("messages/{}", request::escaped(id));
        let Some(url) = request::address(&self.settings, &credential.mailbox, &place) else {
            return;
        };
        let client = self.client.load();
        let (Ok(client), Ok(headers)) = (client.as_ref(), line::headers(&credential.token)) else {
            return;
        };
        let asked = client.delete(url).headers(headers).send();
        if !matches!(timeout(self.times.command_timeout, asked).await, Ok(Ok(answer)) if answer.status().is_success())
        {
            tracing::warn!(mailbox = %credential.mailbox, "a draft that was not sent could not be removed");
        }
    }

    fn made<T: for<'a> Deserialize<'a>>(&self, heard: &line::Heard) -> Result<T, Failure> {
        if heard.status != 201 {
            return Err(at(Stage::Body, refusal(heard)));
        }
        serde_json::from_slice(&heard.body).map_err(|_| {
            let fault = Fault::Protocol("201 without saying what was made".to_owned());
            at(Stage::Body, fault)
        })
    }

    /// The octets of a mail go over https, or where Graph itself is on loopback.
    fn may_go_to(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.settings.url.origin() == url.origin()
    }
}

/// What an answer that is no success says.
fn refusal(heard: &line::Heard) -> Fault {
    match heard.read(0) {
        Err(fault) => fault,
        Ok(_) => Fault::Closed,
    }
}

/// Reads the message to its end, and finds its parts.
async fn outline(letter: &mut Letter<'_>) -> Result<Parts, Fault> {
    letter.again(0)?;
    let mut outline = Outline::default();
    while let Some(piece) = letter.next().await? {
        outline.feed(&piece);
    }
    Ok(outline.finish())
}
