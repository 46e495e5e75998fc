//! What is in the queue and behind it, for people and as JSON.

use super::choice::Which;
use super::source::{Source, SourceError};
use crate::admin::wire::{Mail, Query};
use crate::cli::exit;
use crate::cli::shown::{Tamed, age, mails, safe, size, table, wait};
use crate::mail::Id;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::SystemTime;

/// What stands for the null sender.
const NULL_SENDER: &str = "<>";

/// One or two lines a mail, page by page.
pub async fn list(
    source: &Source,
    which: &Which,
    delivered: bool,
    json: bool,
) -> Result<ExitCode, SourceError> {
    let now = SystemTime::now();
    let mut query = Query { delivered, ..which.query(now) };
    let mut out = io::BufWriter::new(io::stdout().lock());
    let (mut count, mut octets) = (0, 0_u64);
    loop {
        let page = source.page(&query).await?;
        for mail in &page.mails {
            if json {
                writeln!(out, "{}", as_json(mail)).map_err(output)?;
                continue;
            }
            if count == 0 {
                writeln!(out, "{HEAD}").map_err(output)?;
            }
            count += 1;
            octets = octets.saturating_add(mail.size);
            write!(out, "{}", line(mail, now)).map_err(output)?;
        }
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    if !json {
        writeln!(out, "{}, {}", mails(count), size(octets)).map_err(output)?;
    }
    out.flush().map_err(output)?;
    Ok(ExitCode::SUCCESS)
}

/// Over the columns of [`line`].
const HEAD: &str =
    "ID                STATE           SIZE   AGE  TRIES  ACCOUNT       SENDER -> RECIPIENTS";

/// One mail, and below it why it waits.
fn line(mail: &Mail, now: SystemTime) -> String {
    let mut text = format!(
        "{:16}  {:10}  {:>8}  {:>4}  {:>5}  {:12}  {} -> {}\n",
        safe(&mail.id),
        state(mail),
        size(mail.size),
        age(mail.accepted, now),
        mail.attempts,
        safe(&mail.account),
        sender(mail),
        recipients(mail),
    );
    let due = mail.due.map(|due| format!("next try {}", wait(due, now)));
    let fate = mail.uncertain.then(|| "perhaps delivered".to_owned());
    let error = mail.last_error.as_deref().map(safe);
    let words: Vec<_> = [due, fate, error].into_iter().flatten().collect();
    // A fresh mail that goes at once needs no explanation.
    if mail.attempts > 0 || mail.last_error.is_some() || mail.uncertain {
        text += &format!("{:18}{}\n", "", words.join("; "));
    }
    text
}

fn state(mail: &Mail) -> String {
    if mail.under_way { "delivering".to_owned() } else { safe(&mail.state) }
}

fn sender(mail: &Mail) -> String {
    mail.sender.as_deref().map_or(NULL_SENDER.to_owned(), safe)
}

/// The first one, and how many more.
fn recipients(mail: &Mail) -> String {
    match mail.recipients.as_slice() {
        [] => "nobody".to_owned(),
        [one] => safe(&one.address),
        [first, rest @ ..] => format!("{} and {} more", safe(&first.address), rest.len()),
    }
}

/// All about single mails.
pub async fn show(source: &Source, ids: &[Id], json: bool) -> Result<ExitCode, SourceError> {
    let now = SystemTime::now();
    let mut code = ExitCode::SUCCESS;
    for (place, id) in ids.iter().enumerate() {
        match source.mail(*id).await? {
            Some(mail) if json => println!("{}", as_json(&mail)),
            Some(mail) => {
                print!("{}{}", if place > 0 { "\n" } else { "" }, whole(&mail, now));
            }
            None => {
                let why = format!("{id} is neither in the queue nor in its history");
                code = exit::fail(exit::FAILED, why);
            }
        }
    }
    Ok(code)
}

fn whole(mail: &Mail, now: SystemTime) -> String {
    let mut rows = vec![
        ("id", safe(&mail.id)),
        ("state", state(mail)),
        ("account", safe(&mail.account)),
        ("sender", sender(mail)),
        ("size", size(mail.size)),
        ("accepted", format!("{} ({} ago)", mail.accepted, age(mail.accepted, now))),
        ("tries", mail.attempts.to_string()),
    ];
    rows.extend(mail.due.map(|due| ("next try", format!("{due} ({})", wait(due, now)))));
    rows.extend(mail.settled.map(|left| ("left", format!("{left} ({} ago)", age(left, now)))));
    if mail.uncertain {
        rows.push(("fate", "unknown: it may have been delivered, an answer was lost".to_owned()));
    }
    if mail.report {
        rows.push(("kind", "a report of ours".to_owned()));
    }
    rows.extend(mail.last_error.as_deref().map(|error| ("last error", safe(error))));
    let rows = rows.into_iter().map(|(name, value)| vec![format!("{name}:"), value]);
    let mut text = table(&rows.collect::<Vec<_>>());
    text += "recipients:\n";
    let recipients = mail.recipients.iter().map(|one| {
        let reply = one.reply.as_deref().map(safe).unwrap_or_default();
        vec![format!("  {}", safe(&one.address)), safe(&one.state), reply]
    });
    text += &table(&recipients.collect::<Vec<_>>());
    text
}

/// The message, octet for octet; on a terminal nothing in it is obeyed.
pub async fn cat(source: &Source, id: Id) -> Result<ExitCode, SourceError> {
    let mut out = io::stdout().lock();
    let mut tamed = out.is_terminal().then(Tamed::default);
    let written = source.message(id, |octets| {
        match &mut tamed {
            Some(tamed) => out.write_all(&tamed.tame(octets)),
            None => out.write_all(octets),
        }
        .map_err(output)
    });
    written.await?;
    out.flush().map_err(output)?;
    Ok(ExitCode::SUCCESS)
}

/// The store against its checksums.
pub async fn check(source: &Source, json: bool) -> Result<ExitCode, SourceError> {
    let findings = source.check().await?;
    if json {
        println!("{}", serde_json::to_string(&findings).unwrap_or_default());
    } else {
        for problem in &findings.problems {
            let id = problem.id.as_deref().unwrap_or("store");
            println!("{}: {}", safe(id), safe(&problem.what));
        }
        let wrong = match findings.problems.len() {
            0 => "all is well".to_owned(),
            count => format!("{count} things are wrong; nothing was changed"),
        };
        let octets = size(findings.octets);
        println!("{} with {octets} of bodies checked: {wrong}", mails(findings.mails));
    }
    Ok(if findings.problems.is_empty() { ExitCode::SUCCESS } else { exit::FAILED.into() })
}

fn as_json(mail: &Mail) -> String {
    serde_json::to_string(mail).unwrap_or_default()
}

fn output(error: io::Error) -> SourceError {
    if error.kind() == io::ErrorKind::BrokenPipe {
        // `submitd queue list | head` is no mistake.
        std::process::exit(i32::from(exit::OK));
    }
    SourceError::Output("standard output".to_owned(), error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::{Recipient, Time};
    use std::time::{Duration, UNIX_EPOCH};

    fn mail() -> Mail {
        let recipient = |address: &str, reply: &str| Recipient {
            address: address.into(),
            state: "deferred".into(),
            reply: Some(reply.into()),
        };
        Mail {
            id: "01ken5c0zn000007".into(),
            state: "queued".into(),
            under_way: false,
            account: "erp".into(),
            sender: Some("a@x".into()),
            recipients: vec![
                recipient("b@y", "451 busy\u{1b}[2J"),
                recipient("c\u{202e}@y", "451"),
            ],
            size: 4_300,
            accepted: Time(UNIX_EPOCH),
            due: Some(Time(UNIX_EPOCH + Duration::from_secs(180))),
            settled: None,
            attempts: 2,
            uncertain: false,
            report: false,
            last_error: Some("451 busy\u{1b}[2J".into()),
        }
    }

    #[test]
    fn a17_a_mail_in_two_lines_with_nothing_raw() {
        let now = UNIX_EPOCH + Duration::from_secs(60);
        assert_eq!(
            line(&mail(), now),
            "01ken5c0zn000007  queued        4.1 KB    1m      2  erp           a@x -> b@y and 1 more\n\
             \x20                 next try in 2m; 451 busy\\u{1b}[2J\n"
        );
        let fresh = Mail { attempts: 0, last_error: None, sender: None, under_way: true, ..mail() };
        assert_eq!(
            line(&fresh, now),
            "01ken5c0zn000007  delivering    4.1 KB    1m      0  erp           <> -> b@y and 1 more\n"
        );
    }

    #[test]
    fn a17_all_about_a_mail_with_nothing_raw() {
        let text = whole(&Mail { uncertain: true, ..mail() }, UNIX_EPOCH);
        assert!(!text.contains(['\u{1b}', '\u{202e}']), "{text:?}");
        for line in [
            "state:       queued",
            "next try:    1970-01-01T00:03:00Z (in 3m)",
            "  b@y          deferred  451 busy\\u{1b}[2J",
            "  c\\u{202e}@y  deferred  451",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
