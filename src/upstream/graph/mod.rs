//! Delivery by Microsoft Graph: `sendMail` with the message as base64.
//!
//! `request` writes, `answer` reads (both pure), `line` is the HTTP client, `letter` the message and its pieces,
//! `flow` the octets of a request on their way, `draft` the long way for a message that is too large for one
//! request. It promises that whoever receives a mail is exactly its envelope (`mail::addressed`), that the last
//! octet leaves only after [`Outgoing::commit`] said yes, that memory does not grow with the message, and that a
//! lost answer is told as one: Graph has nothing by which it would know a mail again.

mod answer;
mod draft;
mod flow;
mod letter;
mod line;
mod request;
#[cfg(test)]
mod tests;

use crate::config::{self, HttpProxy, Upload, Upstream};
use crate::mail::addressed::Addressees;
use crate::smtp::Reply;
use crate::upstream::{Courier, Credential, Failure, Fault, Outcome, Outgoing, Stage};
use arc_swap::ArcSwap;
use bytes::Bytes;
use flow::Flow;
use letter::{Letter, Pieces};
use line::Heard;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use rustls::ClientConfig;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// So much may be added to a message on its way from the front door, where its size was looked at; with the usual
/// bound no more than was seen to be sent.
const LEEWAY: u64 = 40_000;
/// Messages from here on that are answered 200 and not 202 were too large: seen beyond 2,240 KB. A small one met
/// something that answers in Graph's place.
const SWALLOWED: u64 = 1_000_000;

/// The way to Graph of one mailbox.
pub struct Graph {
    settings: config::Graph,
    times: Upstream,
    proxy: HttpProxy,
    client: ArcSwap<Result<reqwest::Client, Fault>>,
}

/// The mark that the last octet may leave; taken once it is set.
type Commit<'a> = Option<Pin<&'a mut (dyn Future<Output = Result<(), String>> + Send)>>;

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
        Self { settings, times, proxy, client }
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
        let Outgoing { id, envelope, everybody, size, body, commit } = outgoing;
        let to = Addressees { now: &envelope.recipients, ever: everybody };
        let letter = Letter::open(body, size, to, self.settings.recipients).await;
        let mut letter = letter.map_err(|fault| at(Stage::Body, fault))?;
        let mut commit = Some(commit);
        let config::Graph { max_size, upload, .. } = self.settings;
        let mut most = max_size;
        if letter.size() <= max_size + LEEWAY {
            match (self.post(&mut letter, credential, &mut commit).await, upload) {
                (Err(failure), Upload::On) if is_too_large(&failure, letter.size()) => {
                    tracing::warn!(%id, mailbox = %credential.mailbox, size = letter.size(), %failure,
                        "too large for one request, now as a draft: lower max_size in [account.graph]");
                    most = max_size.min(config::Graph::ONE_REQUEST).min(letter.size() / 2);
                }
                (result, _) => {
                    return result.map_err(|failure| as_too_large(failure, letter.size()));
                }
            }
        }
        match upload {
            Upload::On => self.upload(letter, most, credential, commit).await,
            Upload::Off => Err(at(Stage::Body, Fault::TooLarge { limit: max_size })),
        }
    }

    /// The whole message in one request.
    async fn post(
        &self,
        letter: &mut Letter<'_>,
        credential: &Credential,
        commit: &mut Commit<'_>,
    ) -> Result<Reply, Failure> {
        let request = self.request(credential, "sendMail")?;
        let request = request.header(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        let size = letter.size();
        let mut pieces = Pieces::encoded(letter, std::iter::once(0..size).collect());
        let (heard, is_sent) = self.stream(request, &mut pieces, None, commit).await?;
        match heard.read(202) {
            Ok(_) if !is_sent => {
                let fault = Fault::Protocol("202 before the message had ended".to_owned());
                Err(at(Stage::Posted, fault))
            }
            Ok(reply) => Ok(reply),
            Err(fault) => Err(at(if is_sent { Stage::Posted } else { Stage::Body }, fault)),
        }
    }

    /// A request whose body is pieces, so many octets of them or all. Gives the answer, and whether all of it was
    /// sent, which with a commit may have sent the mail.
    async fn stream(
        &self,
        request: reqwest::RequestBuilder,
        pieces: &mut Pieces<'_, '_>,
        most: Option<u64>,
        commit: &mut Commit<'_>,
    ) -> Result<(Heard, bool), Failure> {
        let sends = commit.is_some();
        let size = most.unwrap_or(pieces.size());
        let (sender, flow) = Flow::new(size);
        let request = request.body(reqwest::Body::wrap(flow));
        let mut pour = pin!(pour(pieces, size, sender, commit, self.times.command_timeout));
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
        let stage = if is_sent && sends { Stage::Posted } else { Stage::Body };
        let answered = answered.ok_or_else(|| at(stage, Fault::Timeout))?;
        let answer =
            answered.map_err(|error| line::broken(error, is_sent && sends, &self.settings.url))?;
        Ok((line::hear(answer, self.times.command_timeout).await, is_sent))
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

/// Puts so many octets into the request; the last of them only after the commit, where there is one.
async fn pour(
    pieces: &mut Pieces<'_, '_>,
    size: u64,
    sender: mpsc::Sender<Bytes>,
    commit: &mut Commit<'_>,
    patience: Duration,
) -> Result<(), Fault> {
    let mut left = size;
    let mut held = Bytes::new();
    while left > 0 {
        let Some(piece) = pieces.next(left).await? else { return Err(letter::odd_size()) };
        left -= piece.len() as u64;
        put(&sender, std::mem::replace(&mut held, piece), patience).await?;
    }
    if let Some(mark) = commit {
        if pieces.next(1).await?.is_some() {
            return Err(letter::odd_size());
        }
        mark.await.map_err(Fault::Local)?;
        *commit = None;
    }
    put(&sender, held, patience).await
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

/// Whether this says that a message of so many octets does not go in one request; it was not sent.
fn is_too_large(failure: &Failure, size: u64) -> bool {
    match &failure.fault {
        Fault::Http { status: 200, .. } => size >= SWALLOWED,
        Fault::Http { status: 413, .. } => true,
        Fault::Http { status: 400, text, .. } => text.contains("maximum request length"),
        _ => false,
    }
}

/// 200 alone does not say so.
fn as_too_large(failure: Failure, size: u64) -> Failure {
    match failure.fault {
        Fault::Http { status: 200, .. } if is_too_large(&failure, size) => {
            let why =
                "Graph answered 200 and not 202, as it does to what is too large: nothing was sent";
            at(failure.stage, Fault::Oversize { size, why })
        }
        _ => failure,
    }
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
