//! Answers of a token endpoint: whatever comes, what is handed on for people to read holds no secret and no
//! control character, and a token may be written into an AUTH line.

use super::input::Input;
use std::time::{Duration, UNIX_EPOCH};
use submitd::oauth::response::{self, Answer, Fault, Granted};
use submitd::smtp::sasl_client;

/// Goes with the request; a provider may repeat it.
const SECRET: &str = "planted-secret";
const STATUS: [u16; 12] = [200, 200, 201, 302, 400, 401, 403, 404, 429, 500, 503, 0];
const DAY: Duration = Duration::from_secs(24 * 3600);

/// First octet: the status; then the value of `Retry-After`, a line end, and the body.
pub fn check(octets: &[u8]) {
    let mut input = Input::new(octets);
    let status = STATUS[usize::from(input.octet()) % STATUS.len()];
    let rest = input.rest();
    let end = rest.iter().position(|octet| *octet == b'\n').unwrap_or(0);
    let retry_after = std::str::from_utf8(&rest[..end]).ok().filter(|value| !value.is_empty());
    let body = if end == 0 { rest } else { &rest[end + 1..] };

    if let Some(wait) = retry_after.and_then(|value| response::wait(value, UNIX_EPOCH)) {
        assert!(wait <= DAY);
    }
    let fault = response::refusal(Answer { status, retry_after, body }, UNIX_EPOCH, &[SECRET]);
    let refused = fault.is_some();
    fault.iter().for_each(readable);
    readable(&response::unclear(status, body, false, None));
    if let Ok(granted) = serde_json::from_slice::<Granted>(body) {
        assert!(granted.lifetime() >= Duration::from_secs(1));
        if let Some(token) = granted.access() {
            assert!(sasl_client::xoauth2("a@b.example", &token).is_ok());
        }
        let _ = granted.refresh();
        assert!(refused || status == 200, "an answer of {status} was taken");
    }
    if let Ok(text) = std::str::from_utf8(body) {
        shown(&response::plain(text, &[SECRET]));
    }
}

fn readable(fault: &Fault) {
    shown(&fault.to_string());
    assert!(fault.retry_after().is_none_or(|wait| wait <= DAY));
    let _ = (fault.class(), fault.remedy(), fault.pause());
}

fn shown(text: &str) {
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(!text.contains(SECRET), "{text:?}");
    assert!(text.len() < 8192, "{} octets", text.len());
}
