//! The long way: a draft, its large parts by upload, then `send`.
//!
//! It promises that the draft is sent only after the commit said yes and all parts are in it, that one which
//! is not sent is removed, and that no token goes to the upload's own address, which carries one of its own.
//! The message lies in memory meanwhile, so there is one at a time.

use super::pieces::{Part, take_apart};
use super::{Commit, Graph, Opened, at, line, request};
use crate::smtp::Reply;
use crate::upstream::{Credential, Failure, Fault, Stage};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;
use url::Url;

/// A part of fewer octets goes in one request; upload sessions begin here.
const SESSION: usize = 3 * 1024 * 1024;
/// So much goes in one request of an upload: below 4 MB, and a multiple of 320 KB.
const SLICE: usize = 10 * 320 * 1024;

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
    /// The message as a draft.
    pub(super) async fn upload(
        &self,
        opened: Opened<'_>,
        credential: &Credential,
        commit: Commit<'_>,
    ) -> Result<Reply, Failure> {
        let _turn = self.large.acquire().await.map_err(|_| at(Stage::Body, Fault::Closed))?;
        let raw = gather(opened).await.map_err(|fault| at(Stage::Body, fault))?;
        let apart = take_apart(&raw, self.settings.max_size).map_err(|why| {
            let limit = self.settings.max_size;
            at(Stage::Body, Fault::Unfit(format!("it has more than {limit} octets, and {why}")))
        })?;
        drop(raw);
        let id = self.begin(&apart.message, credential).await?;
        let filled = async {
            for part in &apart.parts {
                self.attach(&id, part, credential).await?;
            }
            commit.await.map_err(|text| at(Stage::Body, Fault::Local(text)))
        };
        if let Err(failure) = filled.await {
            self.remove(&id, credential).await;
            return Err(failure);
        }
        let request =
            self.request(credential, &format!("messages/{}/send", request::escaped(&id)))?;
        let heard = self.ask(request.body(""), self.times.data_timeout, true).await?;
        let result = heard.read(202).map_err(|fault| at(Stage::Posted, fault));
        if heard.status >= 300 && heard.status < 500 {
            self.remove(&id, credential).await;
        }
        result
    }

    /// Makes the draft.
    async fn begin(&self, message: &[u8], credential: &Credential) -> Result<String, Failure> {
        let request = self.request(credential, "messages")?;
        let request = request.header(CONTENT_TYPE, "text/plain").body(STANDARD.encode(message));
        let heard = self.ask(request, self.times.data_timeout, false).await?;
        if heard.status == 403 {
            tracing::warn!(
                mailbox = %credential.mailbox,
                "no draft can be made: the application lacks Mail.ReadWrite; add it, or write upload = \"off\" in [account.graph]"
            );
            let limit = self.settings.max_size;
            return Err(at(Stage::Body, Fault::TooLarge { limit }));
        }
        let made: Made = self.made(&heard)?;
        Ok(made.id)
    }

    /// Puts one part into the draft.
    async fn attach(&self, id: &str, part: &Part, credential: &Credential) -> Result<(), Failure> {
        let place = format!("messages/{}/attachments", request::escaped(id));
        let Part { name, content_type, content_id, is_inline, octets } = part;
        if octets.len() < SESSION {
            let body = json!({
                "@odata.type": "#microsoft.graph.fileAttachment", "name": name,
                "contentType": content_type, "contentId": content_id, "isInline": is_inline,
                "contentBytes": STANDARD.encode(octets),
            });
            let heard = self.tell(credential, &place, &body).await?;
            return heard.read(201).map(drop).map_err(|fault| at(Stage::Body, fault));
        }
        let body = json!({"AttachmentItem": {
            "attachmentType": "file", "name": name, "size": octets.len(),
            "contentType": content_type, "contentId": content_id, "isInline": is_inline,
        }});
        let heard = self.tell(credential, &format!("{place}/createUploadSession"), &body).await?;
        let Session { upload_url } = self.made(&heard)?;
        if !self.may_go_to(&upload_url) {
            let fault = Fault::Protocol("the upload is to go over plain http".to_owned());
            return Err(at(Stage::Body, fault));
        }
        let mut start = 0;
        for slice in octets.chunks(SLICE) {
            let end = start + slice.len();
            self.put(&upload_url, slice, start, octets.len()).await?;
            start = end;
        }
        Ok(())
    }

    /// One request of an upload; its address is its own permission.
    async fn put(&self, url: &Url, slice: &[u8], start: usize, of: usize) -> Result<(), Failure> {
        let client = self.client.load();
        let client = client.as_ref().as_ref().map_err(|fault| at(Stage::Connect, fault.clone()))?;
        let range = format!("bytes {start}-{}/{of}", start + slice.len() - 1);
        let request = client
            .put(url.clone())
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_RANGE, range)
            .body(Bytes::copy_from_slice(slice));
        let heard = self.ask(request, self.times.data_timeout, false).await?;
        match heard.status {
            200..=202 => Ok(()),
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

async fn gather(opened: Opened<'_>) -> Result<Vec<u8>, Fault> {
    let Opened { mut head, body, size } = opened;
    while let Some(chunk) = body.chunk().await.map_err(Fault::Local)? {
        if head.len() as u64 + chunk.len() as u64 > size {
            return Err(super::odd_size());
        }
        head.extend_from_slice(&chunk);
    }
    Ok(head)
}
