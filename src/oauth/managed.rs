//! The identity that Azure gives to the machine or container we run on.
//!
//! It promises that nothing goes through a proxy (a metadata service knows its caller by the address),
//! that of a challenge only a small file of the one allowed directory is read, and that what passes by
//! itself (an update of the service, load) is told as such. It must not retry: pauses are the keeper's.

use super::provider::{Reply, fetch};
use super::request::resource;
use super::response::{self, Fault, Granted, plain};
use crate::config::{IdentityHost, OAuth};
use crate::diagnosis::managed;
use crate::secret::Secret;
use reqwest::header::{HeaderMap, HeaderValue};
use serde_json::Value;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const REMEDY: &str = "grant = \"managed_identity\" of account \"{account}\" works only on a machine, app or \
     container of Azure, or with Azure Arc: check `identity_host`, and that no firewall of this machine \
     blocks `token_url`";
const ARC_REMEDY: &str = "let the user of submitd read the challenge: usermod -aG himds submitd, then \
     restart submitd; `arc_key_dir` of account \"{account}\" is the directory it must lie in";

/// No challenge file is longer.
const LONGEST_CHALLENGE: u64 = 4096;

/// One request, on Arc two: a token of the machine's own identity.
pub(super) async fn ask(
    http: &reqwest::Client,
    oauth: &OAuth,
    client_id: Option<&str>,
    host: &IdentityHost,
) -> Result<Granted, Fault> {
    let url = address(oauth, client_id, host);
    let mut headers = HeaderMap::new();
    match host {
        IdentityHost::AppService { header } => {
            headers.insert("X-IDENTITY-HEADER", hidden(header, "IDENTITY_HEADER")?);
        }
        IdentityHost::Imds | IdentityHost::Arc { .. } => {
            headers.insert("Metadata", HeaderValue::from_static("true"));
        }
    }
    let mut reply = get(http, &url, headers.clone(), oauth.timeout).await?;
    if let (IdentityHost::Arc { key_dir }, 401) = (host, reply.status) {
        let secret = challenge(reply.challenge.as_deref(), key_dir.clone()).await?;
        headers.insert("Authorization", hidden(&secret, "the challenge")?);
        reply = get(http, &url, headers, oauth.timeout).await?;
    }
    read(&reply, SystemTime::now())
}

fn address(oauth: &OAuth, client_id: Option<&str>, host: &IdentityHost) -> url::Url {
    let version = match host {
        IdentityHost::Imds => "2018-02-01",
        IdentityHost::AppService { .. } => "2019-08-01",
        IdentityHost::Arc { .. } => "2020-06-01",
    };
    let mut url = oauth.token_url.clone();
    let mut query = url.query_pairs_mut();
    query.append_pair("api-version", version).append_pair("resource", resource(oauth));
    if let Some(id) = client_id {
        query.append_pair("client_id", id);
    }
    drop(query);
    url
}

async fn get(
    http: &reqwest::Client,
    url: &url::Url,
    headers: HeaderMap,
    timeout: Duration,
) -> Result<Reply, Fault> {
    let mut request = reqwest::Request::new(reqwest::Method::GET, url.clone());
    *request.headers_mut() = headers;
    fetch(http, request, timeout).await.map_err(|fault| match fault {
        Fault::Unreachable(why) => {
            Fault::passing(format!("the host's identity endpoint cannot be reached: {why}"), REMEDY)
        }
        other => other,
    })
}

fn hidden(secret: &Secret, what: &str) -> Result<HeaderValue, Fault> {
    let mut value = HeaderValue::from_str(secret.expose())
        .map_err(|_| Fault::local(format!("{what} holds what no header may"), REMEDY))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Reads the file that a challenge names: only root and the group of the agent may, which is the proof.
async fn challenge(header: Option<&str>, key_dir: PathBuf) -> Result<Secret, Fault> {
    let wrong = |what: &str| Fault::local(format!("Azure Arc's challenge: {what}"), ARC_REMEDY);
    let path = header.and_then(|header| header.split_once("realm="));
    let Some((_, path)) = path else {
        return Err(Fault::passing("Azure Arc sent no challenge", ARC_REMEDY));
    };
    let path = PathBuf::from(path.trim().trim_matches('"'));
    let allowed = path.parent() == Some(key_dir.as_path())
        && path.extension().is_some_and(|extension| extension == "key")
        && path.file_name().is_some();
    if !allowed {
        return Err(wrong("it names a file outside of arc_key_dir, which is not read"));
    }
    let text = tokio::task::spawn_blocking(move || small(&path)).await;
    let text = text.map_err(|_| Fault::GivenUp)?.map_err(|why| wrong(&why))?;
    Ok(Secret::new(format!("Basic {}", text.trim())))
}

fn small(path: &Path) -> Result<String, String> {
    let words = |error: std::io::Error| format!("its file cannot be read ({})", error.kind());
    // A link could lead out of the directory.
    if !std::fs::symlink_metadata(path).map_err(words)?.is_file() {
        return Err("it names no regular file".to_owned());
    }
    let mut text = String::new();
    File::open(path)
        .map_err(words)?
        .take(LONGEST_CHALLENGE + 1)
        .read_to_string(&mut text)
        .map_err(words)?;
    if text.len() as u64 > LONGEST_CHALLENGE {
        return Err(format!("its file is longer than {LONGEST_CHALLENGE} octets"));
    }
    Ok(text)
}

/// Judges an answer. 404 and 410 come while the service is updated, up to 70 seconds long.
fn read(reply: &Reply, now: SystemTime) -> Result<Granted, Fault> {
    let said: Option<Value> = serde_json::from_slice(&reply.body).ok();
    let retry_after = reply.retry_after.as_deref().and_then(|value| response::wait(value, now));
    let unclear = |json| response::unclear(reply.status, &reply.body, json, retry_after);
    match (reply.status, said) {
        (200, Some(said)) => granted(said, now).ok_or_else(|| unclear(true)),
        (404 | 408 | 410 | 429 | 500..=599, _) => Err(Fault::Unclear {
            status: reply.status,
            what: "no token: the service is busy or being updated".to_owned(),
            retry_after,
        }),
        (400..=499, said) => Err(refused(reply.status, said.as_ref())),
        (_, said) => Err(unclear(said.is_some())),
    }
}

fn refused(status: u16, said: Option<&Value>) -> Fault {
    let member = |name: &str| {
        said.and_then(|said| said.get(name)).and_then(Value::as_str).unwrap_or_default()
    };
    let error = member("error");
    // App Service answers {"statusCode": 400, "message": "…"}.
    let description = Some(member("error_description"))
        .filter(|text| !text.is_empty())
        .unwrap_or_else(|| member("message"));
    let diagnosis = managed::classify(error, description, status);
    let mut text = format!("{status}: {}", diagnosis.meaning);
    let words = plain(&format!("{error} {description}"), &[]);
    if !words.trim().is_empty() {
        text.push_str(&format!(" (the host: {})", words.trim()));
    }
    Fault::Refused { diagnosis, text, retry_after: None }
}

/// `expires_in` and `expires_on` are text; App Service has only the latter, an hour of the clock.
fn granted(mut said: Value, now: SystemTime) -> Option<Granted> {
    let whole = said.as_object_mut()?;
    if !whole.contains_key("expires_in")
        && let Some(ends) = whole.get("expires_on").and_then(number)
    {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        whole.insert("expires_in".to_owned(), ends.saturating_sub(now).max(1).into());
    }
    serde_json::from_value(said).ok()
}

/// A number that may be written as text.
pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_f64().map(|number| number as u64),
        Value::String(text) => text.trim().parse::<f64>().ok().map(|number| number as u64),
        _ => None,
    }
}
