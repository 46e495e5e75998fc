//! `submitd send`: a test mail through the running daemon, the way a program's mail goes.

use super::door::Door;
use super::exit;
use super::submit::{Submission, SubmitError};
use crate::mail::Address;
use lettre::message::Mailbox;
use std::path::Path;
use std::process::ExitCode;

/// What `send` takes.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Who shall get it; may stand several times.
    #[arg(required = true, value_name = "ADDRESS")]
    to: Vec<Address>,
    /// Sender [default: the mailbox of the account].
    #[arg(long, value_name = "ADDRESS")]
    from: Option<Address>,
    /// The account whose mailbox sends [default: the first].
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Subject of the mail.
    #[arg(long, default_value = "Test mail from submitd")]
    subject: String,
    /// Text of the mail.
    #[arg(long, default_value = "This mail went through submitd. If you read it, the way works.")]
    body: String,
}

/// Hands the mail in and prints the queue id. 0 when the daemon has it, 69 when it is not there, 75 when
/// it wants the mail later, 1 when it refuses.
pub fn run(file: Option<&Path>, args: &Args) -> ExitCode {
    let config = match super::load(file) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let account = config.accounts.iter().find(|account| match &args.account {
        Some(name) => account.name == *name,
        None => true,
    });
    let Some(account) = account else {
        let names: Vec<_> = config.accounts.iter().map(|account| account.name.as_str()).collect();
        let text = format!("--account: there is none of this name; there is {}", names.join(", "));
        return exit::fail(exit::USAGE, text);
    };
    let from = args.from.as_ref().unwrap_or(&account.mailbox);
    let message = match compose(from, &args.to, &args.subject, &args.body) {
        Ok(message) => message,
        Err(error) => return exit::fail(exit::USAGE, format!("cannot compose the mail: {error}")),
    };
    let Some(door) = Door::easiest(&config) else {
        return exit::fail(exit::CONFIG, "no listener");
    };
    match submit(door, from, &args.to, &message) {
        Ok(reply) => {
            println!("{reply}");
            match reply.split_once("queued as ") {
                Some((_, id)) => {
                    println!("the log tells its way: journalctl -u submitd -g {id}");
                }
                None => println!("the mail server took it (mode = \"direct\")"),
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            let code = match &error {
                SubmitError::Unreachable { .. } | SubmitError::Broken(_) => exit::UNAVAILABLE,
                SubmitError::Message(_) => exit::IO,
                SubmitError::Refused { reply, .. } if reply.starts_with('4') => exit::TEMPORARY,
                SubmitError::Refused { .. } => exit::FAILED,
            };
            exit::fail(code, error)
        }
    }
}

/// A plain text mail, built by lettre so that headers are encoded by somebody who knows how.
pub fn compose(
    from: &Address,
    to: &[Address],
    subject: &str,
    body: &str,
) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let mut message = lettre::Message::builder().from(mailbox(from)?).subject(subject);
    for address in to {
        message = message.to(mailbox(address)?);
    }
    Ok(message.body(body.to_owned())?.formatted())
}

fn mailbox(address: &Address) -> Result<Mailbox, lettre::address::AddressError> {
    Ok(Mailbox::new(None, address.as_str().parse()?))
}

/// Hands the message in at `door`.
pub fn submit(
    door: impl Into<Door>,
    from: &Address,
    to: &[Address],
    message: &[u8],
) -> Result<String, SubmitError> {
    let door = door.into();
    let patience = door.patience();
    let mut submission = Submission::open(door, patience)?;
    let to: Vec<&str> = to.iter().map(Address::as_str).collect();
    let reply = submission.send(from.as_str(), &to, message)?;
    // The mail is safe; how the goodbye goes does not matter.
    let _ = submission.close();
    Ok(reply)
}
