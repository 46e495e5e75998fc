//! The address that a large file is uploaded to, in pieces and in order. It bears its own permission.

use super::Head;
use super::refusal::Refusal;
use crate::sandbox::web::{insert, json_answer};
use crate::sandbox::world::World;
use axum::http::{Method, header};
use axum::response::Response;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

/// Octets of one piece.
const LARGEST_PIECE: usize = 4 * 1_048_576;
/// How long an address is good.
const LIFE: Duration = Duration::from_secs(3600);

/// How far an upload is, as answers say it.
pub(super) fn progress(next: u64) -> Value {
    let ends = humantime::format_rfc3339_seconds(SystemTime::now() + LIFE).to_string();
    let next = if next == 0 { "0-".to_owned() } else { next.to_string() };
    json!({"expirationDateTime": ends, "nextExpectedRanges": [next]})
}

/// Takes one piece.
pub(super) fn receive(world: &World, head: &Head, body: &[u8]) -> Result<Response, Refusal> {
    if head.headers.contains_key(header::AUTHORIZATION) {
        return Err(Refusal::token("The address of an upload takes no token besides its own."));
    }
    let query = head.uri.query().unwrap_or_default();
    let token = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "authtoken");
    let token = token.map(|(_, token)| token.into_owned()).unwrap_or_default();
    if head.method != Method::PUT {
        return Err(Refusal::new(
            405,
            "ErrorInvalidRequest",
            "The OData request is not supported.",
        ));
    }
    let range = head.headers.get(header::CONTENT_RANGE).and_then(|range| range.to_str().ok());
    let (first, last, size) = range.and_then(read_range).ok_or_else(|| {
        Refusal::bad("ErrorInvalidRequest", "The Content-Range header is missing or malformed.")
    })?;
    if body.is_empty()
        || body.len() > LARGEST_PIECE
        || (last + 1).checked_sub(first) != Some(body.len() as u64)
    {
        return Err(Refusal::bad(
            "ErrorInvalidRequest",
            "The Content-Range header does not fit the body.",
        ));
    }
    let (next, is_whole) = world.drafts().receive(&token, first, size, body)?;
    if !is_whole {
        return Ok(json_answer(200, &progress(next)));
    }
    world.count(|statistics| statistics.uploads += 1);
    let mut answer = super::empty(axum::http::StatusCode::CREATED);
    insert(
        answer.headers_mut(),
        "location",
        "https://outlook.office.com/api/v2.0/Attachments('1')",
    );
    Ok(answer)
}

/// `bytes 0-2097151/3483322` (RFC 9110 §14.4).
fn read_range(text: &str) -> Option<(u64, u64, u64)> {
    let (range, size) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let number = |text: &str| text.parse().ok();
    let (first, last, size): (u64, u64, u64) = (number(first)?, number(last)?, number(size)?);
    (first <= last && last < size).then_some((first, last, size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, expected) in [
            ("bytes 0-2097151/3483322", Some((0, 2_097_151, 3_483_322))),
            ("bytes 5-5/6", Some((5, 5, 6))),
            ("bytes 5-6/6", None),
            ("bytes 5-4/6", None),
            ("bytes 5-/6", None),
            ("bytes */6", None),
            ("", None),
        ] {
            assert_eq!(read_range(text), expected, "{text}");
        }
    }
}
