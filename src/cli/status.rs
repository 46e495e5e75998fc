//! `submitd status`: how everything stands, for people, scripts and monitoring.

use super::control::{Control, ControlError, surroundings};
use super::exit;
use super::shown::{age, mails, safe, size, span, table, wait};
use crate::admin::wire::{Account, Lane, Queue, Status, Time, Verdict};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};

/// What `status` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Shows it; 0 where everything is good, 2 where a person is needed, 69 where the daemon is not there.
pub async fn run(file: Option<PathBuf>, args: Args) -> ExitCode {
    let status = match ask(file).await {
        Ok(status) => status,
        Err(error) => return exit::fail(error.code(), error),
    };
    if args.json {
        println!("{}", serde_json::to_string(&status).unwrap_or_default());
    } else {
        print!("{}", text(&status, SystemTime::now()));
    }
    match status.verdict {
        Verdict::Good => ExitCode::SUCCESS,
        Verdict::NeedsPerson => ExitCode::from(exit::NEEDS_PERSON),
    }
}

async fn ask(file: Option<PathBuf>) -> Result<Status, ControlError> {
    Control::reach(&surroundings(file.as_deref())?).await?.get("/v1/status").await
}

fn text(status: &Status, now: SystemTime) -> String {
    let Status { version, process, started, uptime, listeners, .. } = status;
    let running = span(Duration::from_secs(*uptime));
    let mut text =
        format!("submitd {version}, process {process}, running for {running} (since {started})\n");
    text += &format!("listening on {}\n\n", listeners.join(", "));
    if status.verdict == Verdict::NeedsPerson {
        text += "A person is needed:\n";
        for need in &status.needs {
            text += &format!("  {}: {}\n", safe(&need.subject), safe(&need.meaning));
            text += &format!("    -> {}\n", safe(&need.remedy));
        }
        text += "\n";
    }
    text += &table(&accounts(&status.accounts, now));
    text += "\n";
    text += &table(&lanes(&status.lanes, now));
    text += "\n";
    text += &queue(&status.queue, now);
    text
}

fn head(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn accounts(accounts: &[Account], now: SystemTime) -> Vec<Vec<String>> {
    let mut rows = vec![head(&["ACCOUNT", "MAILBOX", "TOKEN", "STATE"])];
    for account in accounts {
        let words = [&account.name, &account.mailbox].map(String::clone);
        rows.push(words.into_iter().chain([token(account, now), state(account, now)]).collect());
    }
    rows
}

/// Whether it sends, in a few words.
pub fn state(account: &Account, now: SystemTime) -> String {
    match &account.pause {
        _ if account.token.is_none() => "unknown".to_owned(),
        None => match &account.detour {
            None => "sends".to_owned(),
            Some(detour) => format!(
                "sends by Graph since SMTP AUTH is off, SMTP is tried again {}",
                wait(detour.again, now)
            ),
        },
        Some(pause) => {
            format!("waits, tried again {}: {}", wait(pause.until, now), safe(&pause.meaning))
        }
    }
}

/// The token in a few words.
pub fn token(account: &Account, now: SystemTime) -> String {
    let Some(token) = &account.token else { return "unknown".to_owned() };
    match (&token.good_until, &token.error) {
        (Some(until), None) => format!("good, ends {}", wait(*until, now)),
        (Some(until), Some(_)) => format!("ends {}, renewal failed", wait(*until, now)),
        (None, Some(_)) => format!("none, failed {} times", token.failures),
        (None, None) => "none yet".to_owned(),
    }
}

fn lanes(lanes: &[Lane], now: SystemTime) -> Vec<Vec<String>> {
    let mut rows = vec![head(&["LANE", "RUNNING", "WAITING", "PACE", ""])];
    for lane in lanes {
        let running = format!("{} of {}", lane.running, lane.slots);
        let pace = match (lane.messages_per_minute, lane.messages_left) {
            (Some(minute), Some(left)) => format!("{minute}/min, {left} left"),
            _ => "unlimited".to_owned(),
        };
        let name = format!("{} at {}", lane.mailbox, lane.host);
        rows.push(vec![name, running, lane.waiting.to_string(), pace, why_slow(lane, now)]);
    }
    rows
}

fn why_slow(lane: &Lane, now: SystemTime) -> String {
    let mut words = Vec::new();
    if lane.stuck {
        words.push("stopped: the store notes nothing".to_owned());
    }
    if let Some(resumes) = lane.resumes {
        words.push(format!("goes on {}", wait(resumes, now)));
    }
    if lane.slots < lane.slots_configured {
        words.push(format!("{} slots are configured", lane.slots_configured));
    }
    words.extend(lane.slowed.as_deref().map(safe));
    words.join("; ")
}

fn queue(queue: &Queue, now: SystemTime) -> String {
    let oldest = |oldest: Option<Time>| {
        oldest.map_or_else(String::new, |oldest| format!(", the oldest for {}", age(oldest, now)))
    };
    let mut text =
        format!("queue: {}, {}{}\n", mails(queue.mails), size(queue.octets), oldest(queue.oldest));
    let mut rows = Vec::new();
    for count in &queue.counts {
        rows.push(vec![
            format!("  {}", safe(&count.account)),
            count.state.clone(),
            mails(count.mails),
            size(count.octets),
            format!("oldest {}", age(count.oldest, now)),
        ]);
    }
    text += &table(&rows);
    if queue.uncertain > 0 {
        text += &format!(
            "  {} of unknown fate, perhaps delivered: submitd queue list --uncertain\n",
            queue.uncertain
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    const STATUS: &str = r#"{
        "verdict": "needs_person",
        "needs": [{"subject": "account erp", "meaning": "no\u001b[31m token", "remedy": "sign in"}],
        "version": "0.1.0", "process": 7, "started": "1970-01-01T00:00:00Z", "uptime": 7200,
        "state_dir": "/s", "listeners": ["127.0.0.1:2525", "[::1]:2525"],
        "accounts": [{
            "name": "erp", "mailbox": "erp@contoso.com", "grant": "client_credentials",
            "upstream": "smtp.office365.com:587", "token_url": "", "scope": "", "connections": 3,
            "messages_per_minute": 30, "senders": [], "networks": [], "certificate_expires": null,
            "client_secret_expires": null, "sign_in_expires": null, "pause": null,
            "token": {"condition": "active", "good_until": "1970-01-01T03:00:00Z", "failures": 0, "error": null}
        }],
        "lanes": [{
            "mailbox": "erp@contoso.com", "host": "smtp.office365.com", "accounts": ["erp"], "running": 1,
            "waiting": 12, "slots": 2, "slots_configured": 3, "slowed": "too many connections",
            "resumes": "1970-01-01T02:00:10Z", "messages_per_minute": 30, "messages_left": 4,
            "next_message": null, "stuck": false
        }],
        "queue": {"mails": 13, "octets": 2048, "oldest": "1970-01-01T01:55:00Z", "uncertain": 1,
            "full": null, "counts": [{"account": "erp", "state": "queued", "mails": 13, "octets": 2048,
            "oldest": "1970-01-01T01:55:00Z"}]}
    }"#;

    #[test]
    fn everything_is_said_in_a_few_lines_and_nothing_raw() {
        let status: Status = serde_json::from_str(STATUS).expect("a status");
        assert_eq!(
            text(&status, UNIX_EPOCH + Duration::from_secs(7200)),
            "submitd 0.1.0, process 7, running for 2h (since 1970-01-01T00:00:00Z)\n\
             listening on 127.0.0.1:2525, [::1]:2525\n\
             \n\
             A person is needed:\n\
             \x20 account erp: no\\u{1b}[31m token\n\
             \x20   -> sign in\n\
             \n\
             ACCOUNT  MAILBOX          TOKEN             STATE\n\
             erp      erp@contoso.com  good, ends in 1h  sends\n\
             \n\
             LANE                                   RUNNING  WAITING  PACE\n\
             erp@contoso.com at smtp.office365.com  1 of 2   12       30/min, 4 left  goes on in 10s; \
             3 slots are configured; too many connections\n\
             \n\
             queue: 13 mails, 2.0 KB, the oldest for 5m\n\
             \x20 erp  queued  13 mails  2.0 KB  oldest 5m\n\
             \x20 1 of unknown fate, perhaps delivered: submitd queue list --uncertain\n"
        );
    }
}
