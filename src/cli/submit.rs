//! Submits one mail to the local daemon, as any old program would: plain SMTP, one command at a time.
//!
//! Used by `send`, `demo` and `health`. It is a client of our front door, never of an upstream: it has
//! no token, and its TLS (`door`) trusts anybody.

use super::door::{Door, Stream};
use crate::config::ListenAddress;
use std::io::{BufRead, BufReader, Read, Write};
use std::time::Duration;

/// How long the daemon may take for one answer. Durable storing is part of it.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Octets of a reply line at most; ours has 512 (RFC 5321 §4.5.3.1.5).
const LONGEST_LINE: u64 = 4 * 1024;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Nobody listens there.
    #[error("{address}: {error}; is `submitd run` up?")]
    Unreachable {
        /// Where we tried.
        address: ListenAddress,
        /// Why.
        error: std::io::Error,
    },
    /// The connection broke.
    #[error("the daemon closed the connection: {0}")]
    Broken(#[from] std::io::Error),
    /// It said no.
    #[error("{command} was answered {reply}")]
    Refused {
        /// What we said.
        command: String,
        /// What it said.
        reply: String,
    },
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Submission {
    reader: BufReader<Stream>,
}

impl Submission {
    /// Connects, reads the greeting and says EHLO. `patience`: for connecting and for each answer.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn open(door: impl Into<Door>, patience: Duration) -> Result<Self, SubmitError> {
        let door = door.into();
        let stream = door
            .connect(patience)
            .map_err(|error| SubmitError::Unreachable { address: door.address, error })?;
        let mut submission = Self { reader: BufReader::new(stream) };
        submission.expect("connecting", 220)?;
        submission.say("EHLO localhost", 250)?;
        Ok(submission)
    }

    /// Hands in one message (lines end in CRLF); gives the daemon's answer, which names the queue id.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> Result<String, SubmitError> {
        self.say(&format!("MAIL FROM:<{from}>"), 250)?;
        for recipient in to {
            self.say(&format!("RCPT TO:<{recipient}>"), 250)?;
        }
        self.say("DATA", 354)?;
        let mut stuffed = bytes::BytesMut::with_capacity(message.len() + 64);
        let mut stuffer = crate::smtp::data::Stuffer::new();
        stuffer.stuff(message, &mut stuffed);
        stuffer.finish(&mut stuffed);
        self.reader.get_mut().write_all(&stuffed)?;
        self.expect("the message", 250)
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn close(mut self) -> Result<(), SubmitError> {
        self.say("QUIT", 221).map(drop)
    }

    fn say(&mut self, command: &str, code: u16) -> Result<String, SubmitError> {
        self.reader.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.expect(command, code)
    }

    /// Reads one reply and its last line's text.
    fn expect(&mut self, command: &str, code: u16) -> Result<String, SubmitError> {
        let reply = loop {
            let mut line = String::new();
            let count = self.reader.by_ref().take(LONGEST_LINE).read_line(&mut line)?;
            if count == 0 {
                return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
            }
            line.truncate(line.trim_end().len());
            if line.as_bytes().get(3) != Some(&b'-') {
                break line;
            }
        };
        if reply.get(..3) == Some(code.to_string().as_str()) {
            return Ok(reply.get(4..).unwrap_or_default().to_owned());
        }
        Err(SubmitError::Refused { command: command.to_owned(), reply })
    }
}
