//! The HTTP client towards Graph: one request, its answer, and what a broken one means.
//!
//! It promises: TLS verified as towards the provider; no redirect is followed, since a token goes along;
//! plain http only where the configuration allows it, to loopback; no answer is read beyond 64 KB; nothing
//! is asked twice, since Graph would send twice.

use super::answer::Answer;
use crate::config::{HttpProxy, Upstream, is_this_machine};
use crate::http;
use crate::secret::Secret;
use crate::smtp::Reply;
use crate::tls;
use crate::upstream::{Failure, Fault, Stage};
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER};
use rustls::ClientConfig;
use std::time::{Duration, SystemTime};
use tokio::time::timeout;
use url::Url;

/// Octets of an answer that are read.
const MOST_OCTETS: usize = 64 * 1024;
/// A connection that was silent for longer may be lost without our knowing, and a mail that went over it
/// would be of unknown fate.
const WARM: Duration = Duration::from_secs(5);

/// What a request came to.
pub(super) struct Heard {
    /// The status.
    pub status: u16,
    /// Where the made thing is, and the rest of the head.
    pub headers: HeaderMap,
    /// The first part of the body.
    pub body: Vec<u8>,
}

impl Heard {
    /// As a fact: success is `wanted` alone.
    pub fn read(&self, wanted: u16) -> Result<Reply, Fault> {
        let header = |name: &str| self.headers.get(name).and_then(|value| value.to_str().ok());
        let answer = Answer {
            status: self.status,
            retry_after: header(RETRY_AFTER.as_str()),
            request_id: header("request-id"),
            body: &self.body,
        };
        answer.read(wanted, SystemTime::now())
    }
}

/// A client for this root.
pub(super) fn client(
    root: &Url,
    upstream: &Upstream,
    proxy: &HttpProxy,
    trust: &ClientConfig,
) -> Result<reqwest::Client, Fault> {
    let is_plain = root.scheme() != "https";
    let is_local = is_this_machine(root, false);
    if is_plain && !is_local {
        return Err(Fault::Tls(tls::Distrust::new("the address of Graph is not https")));
    }
    let way = http::Way {
        trust,
        // A proxy cannot know what our own loopback is.
        proxy: if is_local { &HttpProxy::None } else { proxy },
        is_plain,
        connect_timeout: upstream.connect_timeout,
        idle_timeout: upstream.idle_timeout.min(WARM),
    };
    http::client(way).map_err(Fault::Network)
}

/// What every request to Graph itself bears.
pub(super) fn headers(token: &Secret) -> Result<HeaderMap, Fault> {
    let bearer = HeaderValue::from_str(&format!("Bearer {}", token.expose()));
    let mut bearer =
        bearer.map_err(|_| Fault::Protocol("the token holds what no header may".to_owned()))?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    Ok(headers)
}

/// Reads an answer; one that breaks off behind its status still says what that says.
pub(super) async fn hear(mut answer: reqwest::Response, patience: Duration) -> Heard {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let mut body = Vec::new();
    let reading = async {
        while let Ok(Some(chunk)) = answer.chunk().await {
            let room = MOST_OCTETS - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == MOST_OCTETS {
                break;
            }
        }
    };
    let _ = timeout(patience, reading).await;
    Heard { status, headers, body }
}

/// Why there was no answer. `sent`: all of the request may have gone out.
pub(super) fn broken(error: reqwest::Error, sent: bool, root: &Url) -> Failure {
    let stage = match (error.is_connect(), sent) {
        (true, _) => Stage::Connect,
        (false, true) => Stage::Posted,
        (false, false) => Stage::Body,
    };
    let is_timeout = error.is_timeout();
    let error = error.without_url();
    if let Some(refusal) = tls::refusal(&error) {
        let host = root.host_str().unwrap_or_default();
        return Failure { stage: Stage::Tls, fault: Fault::Tls(tls::in_words(refusal, host)) };
    }
    let text = http::causes(&error);
    let fault = match stage {
        _ if is_timeout => Fault::Timeout,
        Stage::Connect if text.contains("dns error") => Fault::Dns(text),
        _ => Fault::Network(text),
    };
    Failure { stage, fault }
}
