//! Tokens that another program has: it prints them, or keeps them in a file.
//!
//! It promises that no shell reads the command, that it ends within the timeout, that what it prints is
//! bounded and never shown, and that of what it complains one line is. It must not judge the token: what
//! it is worth the mail server says.

use super::managed::number;
use super::response::{Fault, Granted, plain};
use crate::config::SecretFile;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Command;
use zeroize::Zeroizing;

/// More than any token and what stands around it.
const LONGEST: u64 = 64 << 10;

const FILE_REMEDY: &str = "look at the program that renews `token_file` of account \"{account}\": it must \
     write the token, or JSON with access_token and expires_on, and rename the file into its place";
const COMMAND_REMEDY: &str = "run `token_command` of account \"{account}\" by hand as the user of submitd; \
     under systemd the unit must allow it to start programs (docs/operations.md)";

/// The token that stands in the file now. Blocks for the disk.
pub(super) fn read(file: &SecretFile, now: SystemTime) -> Result<Granted, Fault> {
    let written = std::fs::metadata(file.path()).and_then(|about| about.modified());
    let text = file.read().map_err(|what| Fault::passing(what, FILE_REMEDY))?;
    let shown = file.path().display();
    let found = token(&text, written.unwrap_or(now), now);
    found.map_err(|what| Fault::passing(format!("{shown} {what}"), FILE_REMEDY))
}

/// What identifies the content of a file without reading it: a rename or a write changes it.
pub(super) fn stamp(file: &SecretFile) -> Option<(u64, u64, SystemTime)> {
    use std::os::unix::fs::MetadataExt as _;
    let about = std::fs::metadata(file.path()).ok()?;
    Some((about.ino(), about.len(), about.modified().ok()?))
}

/// Runs the program once and takes what it prints.
pub(super) async fn run(
    program: &Path,
    arguments: &[String],
    timeout: Duration,
) -> Result<Granted, Fault> {
    let shown = program.display();
    let wrong = |what: String| Fault::passing(format!("{shown} {what}"), COMMAND_REMEDY);
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, _) in std::env::vars_os() {
        // Secrets of ours, and what systemd means for this process alone.
        let name_text = name.to_string_lossy();
        let ours = ["SUBMITD_", "NOTIFY_", "LISTEN_", "WATCHDOG_"];
        if ours.iter().any(|start| name_text.starts_with(start)) {
            command.env_remove(&name);
        }
    }
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| wrong(format!("cannot be started ({})", error.kind())))?;
    let (printed, complained) = (child.stdout.take(), child.stderr.take());
    let ended = tokio::time::timeout(timeout, async {
        tokio::join!(drain(printed), drain(complained), child.wait())
    });
    let Ok((printed, complained, ended)) = ended.await else {
        return Err(wrong(format!("did not end within {} s", timeout.as_secs_f32())));
    };
    let status = ended.map_err(|_| Fault::GivenUp)?;
    if !status.success() {
        let said = String::from_utf8_lossy(&complained);
        let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        let line = plain(line, &[]);
        let how = match status.code() {
            Some(code) => format!("ended with {code}"),
            None => "was killed".to_owned(),
        };
        return Err(wrong(if line.is_empty() { how } else { format!("{how}: {line}") }));
    }
    if printed.len() as u64 > LONGEST {
        return Err(wrong("printed more than 64 KB".to_owned()));
    }
    let now = SystemTime::now();
    token(&printed, now, now).map_err(|what| wrong(format!("printed what {what}")))
}

/// All of it is read, so that the program is not held up; little is kept.
async fn drain(from: Option<impl AsyncRead + Unpin>) -> Zeroizing<Vec<u8>> {
    let mut kept = Zeroizing::new(Vec::new());
    let Some(mut from) = from else { return kept };
    let _ = (&mut from).take(LONGEST + 1).read_to_end(&mut kept).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
    kept
}

/// A bare token, or JSON: `access_token` with `expires_in` or `expires_on`, or Azure's `accessToken`.
/// `written`: when it was written, from which `expires_in` counts.
fn token(text: &[u8], written: SystemTime, now: SystemTime) -> Result<Granted, String> {
    let text = std::str::from_utf8(text).map_err(|_| "is not UTF-8 text")?;
    let text = text.trim_start_matches('\u{feff}').trim();
    let said = serde_json::from_str::<Value>(text).ok().filter(Value::is_object);
    let member = |name: &str| said.as_ref().and_then(|said| said.get(name));
    let named = ["access_token", "accessToken", "token"];
    let token = match &said {
        Some(_) => named.iter().find_map(|name| member(name)).and_then(Value::as_str),
        None => Some(text),
    };
    let Some(token) = token.filter(|token| !token.is_empty()) else {
        return Err("holds no access_token".to_owned());
    };
    if !token.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err("is neither one token nor JSON with access_token".to_owned());
    }
    let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds.min(1 << 40));
    let ends = match (member("expires_on").and_then(number), member("expires_in").and_then(number))
    {
        (Some(ends), _) => Some(at(ends)),
        (None, Some(life)) => Some(written + Duration::from_secs(life.min(1 << 32))),
        // Only to know when to look again; what is in a token is not for us to judge.
        (None, None) => expiry(token).map(at),
    };
    let life = match ends.map(|ends| ends.duration_since(now)) {
        Some(Ok(life)) if life >= Duration::from_secs(1) => Some(life),
        Some(_) => return Err("holds a token that has ended".to_owned()),
        None => None,
    };
    Ok(Granted::found(token, life))
}

/// `exp` of a token that is a JWT.
fn expiry(token: &str) -> Option<u64> {
    let claims = token.split('.').nth(1)?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    claims.get("exp").and_then(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_taken_in_every_usual_shape() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let written = now - Duration::from_secs(600);
        let claims = URL_SAFE_NO_PAD.encode(r#"{"exp": 1000500}"#);
        let jwt = format!("e.{claims}.s");
        for (text, seconds) in [
            ("abc\n", Ok(3600)),
            (jwt.as_str(), Ok(500)),
            (r#"{"access_token": "abc"}"#, Ok(3600)),
            (r#"{"access_token": "abc", "expires_in": 3600}"#, Ok(3000)),
            (r#"{"access_token": "abc", "expires_in": "3600"}"#, Ok(3000)),
            (r#"{"accessToken": "abc", "expiresOn": "2026-11-21", "expires_on": 1000060}"#, Ok(60)),
            (r#"{"access_token": "abc", "expires_in": 600}"#, Err("has ended")),
            (r#"{"access_token": 7}"#, Err("no access_token")),
            (r#"{"error": "x"}"#, Err("no access_token")),
            ("", Err("no access_token")),
            ("two words", Err("neither one token")),
            ("a\r\nb", Err("neither one token")),
            ("\u{feff}{\"access_token\": \"abc\"", Err("neither one token")),
        ] {
            match (token(text.as_bytes(), written, now), seconds) {
                (Ok(granted), Ok(seconds)) => {
                    assert_eq!(granted.lifetime().as_secs(), seconds, "{text}");
                }
                (Err(error), Err(words)) => {
                    assert!(error.contains(words) && !error.contains("abc"), "{text}: {error}");
                }
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        assert!(token(b"\xff", now, now).is_err());
    }
}
