//! Runs the operator's command for one event.
//!
//! It promises that no shell reads it, that it sees nothing of our environment but a few harmless variables,
//! that it and all it started end within its time, and that what it prints is bounded and escaped. The
//! event comes as JSON on its standard input.

use super::event::Event;
use crate::config::Hook;
use crate::observe::redact::one_line;
use rustix::process::{Pid, Signal, kill_process_group};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};

/// Octets of what it prints that are looked at.
const MOST: u64 = 4096;
/// Characters of it that are logged.
const LONGEST: usize = 1000;
/// Variables of ours that a program may need, and that tell nothing.
const PASSED_ON: [&str; 6] = ["HOME", "LANG", "LC_ALL", "PATH", "TZ", "USER"];

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With 0.
    Well,
    /// Otherwise; in words.
    Badly(String),
}

/// Runs it to its end, with at most `bound` of time. What it printed comes as one escaped line.
pub(super) async fn run(hook: &Hook, event: &Event, json: &str, bound: Duration) -> (End, String) {
    let mut child = match spawn(hook, event) {
        Ok(child) => child,
        Err(error) => {
            let how = format!("cannot be started ({})", error.kind());
            return (End::Badly(how), String::new());
        }
    };
    let _group = Group(child.id());
    let mut printed = Vec::new();
    let within = tokio::time::timeout(bound, attend(&mut child, json, &mut printed)).await;
    let ended = match within {
        Ok(status) => Some(status),
        // It may have ended and left something behind that holds its output open.
        Err(_) => child.try_wait().transpose(),
    };
    let end = match ended {
        Some(Ok(status)) => of_status(status),
        Some(Err(error)) => End::Badly(error.kind().to_string()),
        None => End::Badly(format!("did not end within {} s", bound.as_secs_f32())),
    };
    (end, one_line(&String::from_utf8_lossy(&printed), LONGEST))
}

/// Whatever is still alive of it is ended with this.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let pid = self.0.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // Mostly there is nobody left.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}

fn spawn(hook: &Hook, event: &Event) -> std::io::Result<Child> {
    let mut command = Command::new(&hook.program);
    command.args(&hook.arguments).env_clear();
    for name in PASSED_ON {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command
        .env("SUBMITD_EVENT", event.kind.as_str())
        .env("SUBMITD_ACCOUNT", &event.account)
        .current_dir("/")
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
}

/// Hands it the event and listens until it has ended.
async fn attend(
    child: &mut Child,
    json: &str,
    printed: &mut Vec<u8>,
) -> std::io::Result<ExitStatus> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let hand = async {
        if let Some(mut stdin) = stdin {
            // One that does not want to know the event closes this at once.
            let _ = stdin.write_all(json.as_bytes()).await;
        }
    };
    let mut complained = Vec::new();
    let (_, (), (), status) =
        tokio::join!(hand, drain(stdout, printed), drain(stderr, &mut complained), child.wait());
    printed.extend_from_slice(&complained);
    status
}

/// All of it is read, so that the program is not held up; little is kept.
async fn drain(from: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>) {
    let Some(mut from) = from else { return };
    let _ = (&mut from).take(MOST).read_to_end(kept).await;
    let _ = tokio::io::copy(&mut from, &mut tokio::io::sink()).await;
}

fn of_status(status: ExitStatus) -> End {
    match status.code() {
        Some(0) => End::Well,
        Some(code) => End::Badly(format!("ended with {code}")),
        None => End::Badly("was killed".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Kind;
    use super::*;
    use std::time::SystemTime;

    const MINUTE: Duration = Duration::from_secs(60);

    async fn run_script(script: &str, bound: Duration) -> (End, String) {
        let event = Event::new(Kind::AccountFailed, "erp", "erp@contoso.com", SystemTime::now());
        let hook =
            Hook { program: "/bin/sh".into(), arguments: vec!["-c".to_owned(), script.to_owned()] };
        run(&hook, &event, "{\"event\":1}\n", bound).await
    }

    #[tokio::test]
    async fn it_gets_the_event_and_little_else() {
        let (end, printed) = run_script("cat; env", MINUTE).await;
        assert_eq!(end, End::Well);
        assert!(printed.contains("{\"event\":1}"), "{printed}");
        assert!(printed.contains("SUBMITD_EVENT=account_failed"), "{printed}");
        assert!(printed.contains("SUBMITD_ACCOUNT=erp"), "{printed}");
        assert!(!printed.contains("CARGO"), "our environment is not for it: {printed}");
    }

    #[tokio::test]
    async fn failures_are_told_and_what_it_says_is_one_line() {
        let (end, printed) =
            run_script("printf 'a\\nb\\033[31m'; echo c >&2; exit 3", MINUTE).await;
        assert_eq!(end, End::Badly("ended with 3".to_owned()));
        assert_eq!(printed, "a b\\u{1b}[31mc");
        let (end, _) = run_script("kill -9 $$", MINUTE).await;
        assert_eq!(end, End::Badly("was killed".to_owned()));
        let missing = Hook { program: "/nonexistent/hook".into(), arguments: Vec::new() };
        let event = Event::new(Kind::AccountFailed, "erp", "e@c", SystemTime::now());
        let (end, _) = run(&missing, &event, "", MINUTE).await;
        assert_eq!(end, End::Badly("cannot be started (entity not found)".to_owned()));
    }

    #[tokio::test]
    async fn much_output_and_an_unread_event_hold_nobody_up() {
        let (end, printed) = run_script("exec <&-; yes | head -c 300000", MINUTE).await;
        assert_eq!(end, End::Well);
        assert!(printed.chars().count() <= LONGEST + 1);
    }

    #[tokio::test]
    async fn one_that_does_not_end_is_ended_with_its_children() {
        let directory = tempfile::tempdir().expect("directory");
        let fifo = directory.path().join("held");
        let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
        assert!(made.success());
        // A grandchild holds the write end; when it is gone, reading ends.
        let script = format!("sleep 1000 > {} & wait", fifo.display());
        let reading = tokio::task::spawn_blocking(move || std::fs::read(fifo));
        let (end, _) = run_script(&script, Duration::from_millis(300)).await;
        assert_eq!(end, End::Badly("did not end within 0.3 s".to_owned()));
        assert_eq!(reading.await.expect("joined").expect("read"), b"");
    }
}
