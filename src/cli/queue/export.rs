//! Mails as files: the message beside its envelope and state.
//!
//! It promises that nothing is overwritten, that nobody else may read what is written (0600 in a directory
//! of 0700), and that a message which did not come whole leaves no file.

use super::choice::{Choice, Chosen};
use super::source::{Source, SourceError};
use crate::admin::wire::{Mail, Query};
use crate::cli::exit;
use crate::cli::shown::mails;
use crate::mail::Id;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

/// Writes the mails chosen below `to`; exit 1 where one could not be.
pub async fn export(source: &Source, to: &Path, choice: &Choice) -> Result<ExitCode, SourceError> {
    let chosen = choice.chosen(SystemTime::now())?;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(to);
    made.map_err(|error| of_file(to, error))?;
    let (mut written, mut failed) = (0, 0);
    let mut note = |id: &str, done: Result<(), SourceError>| match done {
        Ok(()) => written += 1,
        Err(error) => {
            eprintln!("submitd: {id}: {error}");
            failed += 1;
        }
    };
    match chosen {
        Chosen::Ids(ids) => {
            for id in ids {
                let done = match source.mail(id).await? {
                    Some(mail) if mail.settled.is_none() => write(source, to, id, &mail).await,
                    Some(_) => {
                        Err(SourceError::Usage("has left the queue; its message is not kept"))
                    }
                    None => Err(SourceError::Usage("is not in the queue")),
                };
                note(id.as_str(), done);
            }
        }
        Chosen::Fitting(mut query) => loop {
            let page = source.page(&Query { most: None, ..query.clone() }).await?;
            for mail in &page.mails {
                let done = match mail.id.parse() {
                    Ok(id) => write(source, to, id, mail).await,
                    Err(_) => Err(SourceError::Usage("its id cannot be read")),
                };
                note(&mail.id, done);
            }
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        },
    }
    println!("{} written to {}", mails(written), to.display());
    if failed > 0 {
        return Ok(exit::fail(exit::FAILED, format!("{} not written", mails(failed))));
    }
    Ok(ExitCode::SUCCESS)
}

/// One mail. The envelope is written last: where it stands, the message beside it is whole.
async fn write(source: &Source, to: &Path, id: Id, mail: &Mail) -> Result<(), SourceError> {
    let mut message = Fresh::create(to.join(format!("{id}.eml")))?;
    source.message(id, |octets| message.write(octets)).await?;
    let mut envelope = Fresh::create(to.join(format!("{id}.json")))?;
    let text = serde_json::to_string_pretty(mail).unwrap_or_default();
    envelope.write(text.as_bytes())?;
    envelope.write(b"\n")?;
    message.keep();
    envelope.keep();
    Ok(())
}

/// A file that is new, and goes again unless it is kept.
struct Fresh {
    file: File,
    path: PathBuf,
    is_kept: bool,
}

impl Fresh {
    fn create(path: PathBuf) -> Result<Self, SourceError> {
        // O_EXCL: neither a file that is there nor a link somebody laid is followed.
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        match opened {
            Ok(file) => Ok(Self { file, path, is_kept: false }),
            Err(error) => Err(of_file(&path, error)),
        }
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), SourceError> {
        self.file.write_all(octets).map_err(|error| of_file(&self.path, error))
    }

    fn keep(mut self) {
        self.is_kept = true;
    }
}

impl Drop for Fresh {
    fn drop(&mut self) {
        if !self.is_kept {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn of_file(path: &Path, error: io::Error) -> SourceError {
    SourceError::Output(path.display().to_string(), error)
}
