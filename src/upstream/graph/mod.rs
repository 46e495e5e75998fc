//! Delivery by Microsoft Graph: `sendMail` with the message as base64.
//!
//! `request` writes, `answer` reads (both pure), `line` is the HTTP client, `flow` the octets of a request on
//! their way, `draft` the long way for a message that is too large for one request. It promises that whoever
//! receives a mail is exactly its envelope (`mail::addressed`), that the last octet leaves only after
//! [`Outgoing::commit`] said yes, that memory does not grow with a message that goes in one request, and
//! that a lost answer is told as one: Graph has nothing by which it would know a mail again.

mod answer;
mod draft;
mod flow;
mod line;
mod pieces;
mod request;
#[cfg(test)]
mod tests;

use crate::config::{self, HttpProxy, Upload, Upstream};
use crate::mail::addressed::{self, Addressees};
use crate::mail::header;
use crate::smtp::Reply;
use crate::upstream::{Body, Courier, Credential, Failure, Fault, Outcome, Outgoing, Stage};
use arc_swap::ArcSwap;
use bytes::Bytes;
use flow::Flow;
use line::Heard;
use request::{Encoder, encoded_size};
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use rustls::ClientConfig;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout};

/// Octets of a header at most; the front door takes no larger one.
const LARGEST_HEADER: usize = 512 * 1024;
/// So much may be added to a message on its way from the front door, where its size was looked at.
const LEEWAY: u64 = 64 * 1024;
/// So much is encoded at once.
const PIECE: usize = 48 * 1024;

/// The way to Graph of one mailbox.
pub struct Graph {
    settings: config::Graph,
    times: Upstream,
    proxy: HttpProxy,
    client: ArcSwap<Result<reqwest::Client, Fault>>,
    /// Messages that are taken apart lie in memory: one at a time.
    large: Semaphore,
}

/// A message whose header was read and settled; the rest of it is to come.
struct Opened<'a> {
    /// Header, empty line, and what came behind it.
    head: Vec<u8>,
    body: &'a mut dyn Body,
    /// Octets of all of it.
    size: u64,
}

/// The mark that the last octet may leave.
type Commit<'a> = Pin<&'a mut (dyn Future<Output = Result<(), String>> + Send)>;

impl Graph {
    /// `tls` verifies Graph ([`crate::tls::client_config`]); of `times` the time limits count; `proxy` is
    /// that of requests for tokens.
    pub fn new(
        settings: config::Graph,
        times: Upstream,
        proxy: HttpProxy,
        tls: &ClientConfig,
    ) -> Self {
        let client = line::client(&settings.url, &times, &proxy, tls);
        let client = ArcSwap::from_pointee(client);
        Self { settings, times, proxy, client, large: Semaphore::new(1) }
    }

    /// Opens further connections with this trust; those that are open were verified.
    pub fn reroute(&self, tls: &ClientConfig) {
        self.client.store(Arc::new(line::client(
            &self.settings.url,
            &self.times,
            &self.proxy,
            tls,
        )));
    }

    /// Delivers one mail. Dropping the future closes the connection.
    pub async fn deliver(&self, outgoing: Outgoing<'_>, credential: &Credential) -> Outcome {
        let recipients = outgoing.envelope.recipients.len();
        let result = self.send(outgoing, credential).await;
        // They are in the header, and share its fate.
        Outcome { recipients: vec![result; recipients], dsn: false }
    }

    /// Asks whether `sendMail` is open to this token, by a request that holds no message: it is refused as
    /// no base64 by whoever would have taken one. Gives Graph's words.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn probe(&self, credential: &Credential) -> Result<String, Failure> {
        let request = self.request(credential, "sendMail")?;
        let request = request.header(CONTENT_TYPE, "text/plain").body("*");
        let heard = self.ask(request, self.times.command_timeout, false).await?;
        match heard.read(202) {
            Err(Fault::Http { status: 400, code, text, .. }) => Ok(format!("{code}: {text}")),
            Err(fault) => Err(Failure { stage: Stage::Posted, fault }),
            Ok(_) => {
                let fault = Fault::Protocol("it takes what is no message".to_owned());
                Err(Failure { stage: Stage::Posted, fault })
            }
        }
    }

    /// Asks the root for anything, without a token: whoever answers has shown a good certificate.
    ///
    /// # Errors
    /// What stood in the way.
    pub async fn greet(&self) -> Result<(), Failure> {
        let client = self.client.load();
        let client = client.as_ref().as_ref().map_err(|fault| at(Stage::Connect, fault.clone()))?;
        let request = client.get(self.settings.url.clone());
        self.ask(request, self.times.command_timeout, false).await.map(drop)
    }

    async fn send(
        &self,
        outgoing: Outgoing<'_>,
        credential: &Credential,
    ) -> Result<Reply, Failure> {
        let Outgoing { envelope, everybody, size, body, commit, .. } = outgoing;
        let to = Addressees { now: &envelope.recipients, ever: everybody };
        let opened = self.open(body, size, to).await.map_err(|fault| at(Stage::Body, fault))?;
        if opened.size <= self.settings.max_size + LEEWAY {
            return self.post(opened, credential, commit).await;
        }
        match self.settings.upload {
            Upload::On => self.upload(opened, credential, commit).await,
            Upload::Off => Err(at(Stage::Body, Fault::TooLarge { limit: self.settings.max_size })),
        }
    }

    /// Reads the header and makes it name the envelope.
    async fn open<'a>(
        &self,
        body: &'a mut dyn Body,
        size: u64,
        to: Addressees<'_>,
    ) -> Result<Opened<'a>, Fault> {
        let mut held = Vec::new();
        let end = loop {
            let chunk = body.chunk().await.map_err(Fault::Local)?;
            held.extend_from_slice(chunk.as_deref().unwrap_or_default());
            if let Some(end) = header::find_end(&held, chunk.is_none()) {
                break end;
            }
            if held.len() > LARGEST_HEADER {
                return Err(Fault::Unfit("its header has no end".to_owned()));
            }
        };
        let (fields, rest) = held.split_at(end.header);
        let settled = addressed::settle(fields, to, self.settings.recipients)
            .map_err(|unfit| Fault::Unfit(unfit.to_string()))?;
        let mut head = settled.into_owned();
        if end.needs_blank {
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(rest);
        let size = size.saturating_sub(held.len() as u64) + head.len() as u64;
        Ok(Opened { head, body, size })
    }

    /// The whole message in one request.
    async fn post(
        &self,
        opened: Opened<'_>,
        credential: &Credential,
        commit: Commit<'_>,
    ) -> Result<Reply, Failure> {
        let (sender, flow) = Flow::new(encoded_size(opened.size));
        let request = self
            .request(credential, "sendMail")?
            .header(CONTENT_TYPE, HeaderValue::from_static("text/plain"))
            .body(reqwest::Body::wrap(flow));
        let mut pour = pin!(pour(opened, sender, commit, self.times.command_timeout));
        let mut answer = pin!(request.send());
        let mut until = None;
        let answered = loop {
            tokio::select! {
                poured = &mut pour, if until.is_none() => match poured {
                    Ok(()) => until = Some(Instant::now() + self.times.data_timeout),
                    // The answer that made it stop is on its way, or nobody is there.
                    Err(Fault::Closed) => break timeout(self.times.command_timeout, answer).await.ok(),
                    Err(fault) => return Err(at(Stage::Body, fault)),
                },
                answered = &mut answer => break Some(answered),
                () = sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => break None,
            }
        };
        let is_sent = until.is_some();
        let stage = if is_sent { Stage::Posted } else { Stage::Body };
        let answered = answered.ok_or_else(|| at(stage, Fault::Timeout))?;
        let answer = answered.map_err(|error| line::broken(error, is_sent, &self.settings.url))?;
        let heard = line::hear(answer, self.times.command_timeout).await;
        match heard.read(202) {
            Ok(_) if !is_sent => {
                let fault = Fault::Protocol("202 before the message had ended".to_owned());
                Err(at(Stage::Posted, fault))
            }
            Ok(reply) => Ok(reply),
            Err(fault) => Err(at(stage, fault)),
        }
    }

    /// A request to something of the mailbox.
    fn request(
        &self,
        credential: &Credential,
        of: &str,
    ) -> Result<reqwest::RequestBuilder, Failure> {
        let connect = |fault| at(Stage::Connect, fault);
        let Some(url) = request::address(&self.settings, &credential.mailbox, of) else {
            let words = "the address of Graph cannot be made".to_owned();
            return Err(connect(Fault::Network(words)));
        };
        let client = self.client.load();
        let client = client.as_ref().as_ref().map_err(|fault| connect(fault.clone()))?;
        Ok(client.post(url).headers(line::headers(&credential.token).map_err(connect)?))
    }

    /// Sends a request that is at hand; `sends`: it may send a mail.
    async fn ask(
        &self,
        request: reqwest::RequestBuilder,
        patience: Duration,
        sends: bool,
    ) -> Result<Heard, Failure> {
        let stage = if sends { Stage::Posted } else { Stage::Body };
        let answer = timeout(patience, request.send()).await;
        let answer = answer.map_err(|_| at(stage, Fault::Timeout))?;
        let answer = answer.map_err(|error| line::broken(error, sends, &self.settings.url))?;
        Ok(line::hear(answer, patience).await)
    }
}

/// Puts the message into the request as base64; the last piece only after the commit.
async fn pour(
    opened: Opened<'_>,
    sender: mpsc::Sender<Bytes>,
    commit: Commit<'_>,
    patience: Duration,
) -> Result<(), Fault> {
    let Opened { head, body, size } = opened;
    let mut encoder = Encoder::default();
    let mut left = size;
    let mut next = Some(Bytes::from(head));
    let mut held = Bytes::new();
    while let Some(octets) = next {
        left = left.checked_sub(octets.len() as u64).ok_or_else(odd_size)?;
        for piece in octets.chunks(PIECE) {
            let code = encoder.take(piece);
            if !code.is_empty() {
                put(&sender, std::mem::replace(&mut held, code), patience).await?;
            }
        }
        next = body.chunk().await.map_err(Fault::Local)?;
    }
    if left > 0 {
        return Err(odd_size());
    }
    let end = encoder.finish();
    if !end.is_empty() {
        put(&sender, std::mem::replace(&mut held, end), patience).await?;
    }
    commit.await.map_err(Fault::Local)?;
    put(&sender, held, patience).await
}

fn odd_size() -> Fault {
    Fault::Local("the body is not as large as was noted of it".to_owned())
}

async fn put(sender: &mpsc::Sender<Bytes>, piece: Bytes, patience: Duration) -> Result<(), Fault> {
    if piece.is_empty() {
        return Ok(());
    }
    match timeout(patience, sender.send(piece)).await {
        Ok(Ok(())) => Ok(()),
        // Whoever took the pieces has gone: the answer came, or the connection broke.
        Ok(Err(_)) => Err(Fault::Closed),
        Err(_) => Err(Fault::Timeout),
    }
}

fn at(stage: Stage, fault: Fault) -> Failure {
    Failure { stage, fault }
}

impl Courier for Graph {
    fn deliver(
        &self,
        mail: Outgoing<'_>,
        credential: &Credential,
    ) -> impl Future<Output = Outcome> + Send {
        Graph::deliver(self, mail, credential)
    }
}

impl std::fmt::Debug for Graph {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph").field("url", &self.settings.url.as_str()).finish_non_exhaustive()
    }
}
