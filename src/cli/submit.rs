//! Submits mail to the local daemon, as any old program would: plain SMTP, one command at a time.
//!
//! Used by `send`, `sendmail`, `demo` and `health`. It is a client of our front door, never of an
//! upstream: it has no token, and its TLS (`door`) trusts anybody.

use super::door::{Door, Stream};
use crate::config::ListenAddress;
use crate::smtp::data::Stuffer;
use crate::smtp::extension::Extension;
use bytes::BytesMut;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::time::Duration;

/// Octets of a reply line at most; ours has 512 (RFC 5321 §4.5.3.1.5).
const LONGEST_LINE: u64 = 4 * 1024;
/// Octets of a message sent at once.
const PIECE: usize = 64 * 1024;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// Nobody listens there.
    #[error("{address}: {error}; is `submitd run` up?")]
    Unreachable {
        /// Where we tried.
        address: ListenAddress,
        /// Why.
        error: io::Error,
    },
    /// The connection broke.
    #[error("the daemon closed the connection: {0}")]
    Broken(#[from] io::Error),
    /// The message could not be read again; nothing of it was taken.
    #[error("the message cannot be read: {0}")]
    Message(io::Error),
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
    /// The keywords of the EHLO reply, in upper case.
    offers: Vec<String>,
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
        let mut submission = Self { reader: BufReader::new(stream), offers: Vec::new() };
        submission.expect("connecting", 220)?;
        let hello = submission.say("EHLO localhost", 250)?;
        let keyword = |line: &str| line.split(' ').next().map(str::to_ascii_uppercase);
        submission.offers = hello.lines().skip(1).filter_map(keyword).collect();
        Ok(submission)
    }

    /// Whether the daemon offers this extension.
    pub fn offers(&self, extension: Extension) -> bool {
        self.offers.iter().any(|keyword| keyword == extension.keyword())
    }

    /// Hands in one message (lines end in CRLF); gives the daemon's answer, which names the queue id.
    /// Where one recipient is refused nothing is sent.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn send(&mut self, from: &str, to: &[&str], message: &[u8]) -> Result<String, SubmitError> {
        self.mail(from, "")?;
        for recipient in to {
            self.rcpt(recipient, "")?;
        }
        self.data(&mut &message[..])
    }

    /// Begins a mail; `from` is empty for the null sender. Parameters begin with a blank each.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn mail(&mut self, from: &str, parameters: &str) -> Result<(), SubmitError> {
        self.say(&format!("MAIL FROM:<{from}>{parameters}"), 250).map(drop)
    }

    /// Names one recipient. Where it is refused the mail goes on without it.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn rcpt(&mut self, to: &str, parameters: &str) -> Result<(), SubmitError> {
        self.say(&format!("RCPT TO:<{to}>{parameters}"), 250).map(drop)
    }

    /// Streams the message (lines end in CRLF); gives the daemon's answer, which names the queue id.
    ///
    /// # Errors
    /// [`SubmitError`]; the mail was not taken, or for all we know was not.
    pub fn data(&mut self, message: &mut impl Read) -> Result<String, SubmitError> {
        self.say("DATA", 354)?;
        let mut octets = vec![0; PIECE];
        let mut stuffed = BytesMut::with_capacity(PIECE + 64);
        let mut stuffer = Stuffer::new();
        loop {
            let count = match message.read(&mut octets) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read.map_err(SubmitError::Message)?,
            };
            match octets.get(..count) {
                None | Some([]) => break,
                Some(piece) => stuffer.stuff(piece, &mut stuffed),
            }
            self.write(&stuffed)?;
            stuffed.clear();
        }
        stuffer.finish(&mut stuffed);
        self.write(&stuffed)?;
        self.expect("the message", 250)
    }

    /// Gives up the mail that was begun.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn reset(&mut self) -> Result<(), SubmitError> {
        self.say("RSET", 250).map(drop)
    }

    /// Says goodbye.
    ///
    /// # Errors
    /// [`SubmitError`].
    pub fn close(mut self) -> Result<(), SubmitError> {
        self.say("QUIT", 221).map(drop)
    }

    /// Writes; where the daemon has hung up, what it said before is the reason.
    fn write(&mut self, octets: &[u8]) -> Result<(), SubmitError> {
        let Err(error) = self.reader.get_mut().write_all(octets) else { return Ok(()) };
        match self.expect("the message", 250) {
            Err(refused @ SubmitError::Refused { .. }) => Err(refused),
            _ => Err(error.into()),
        }
    }

    fn say(&mut self, command: &str, code: u16) -> Result<String, SubmitError> {
        self.reader.get_mut().write_all(format!("{command}\r\n").as_bytes())?;
        self.expect(command, code)
    }

    /// Reads one reply; gives its text, a line a line. A refusal is its last line.
    fn expect(&mut self, command: &str, code: u16) -> Result<String, SubmitError> {
        let mut text = String::new();
        let reply = loop {
            let mut line = String::new();
            let count = self.reader.by_ref().take(LONGEST_LINE).read_line(&mut line)?;
            if count == 0 {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
            }
            line.truncate(line.trim_end().len());
            text.push_str(line.get(4..).unwrap_or_default());
            if line.as_bytes().get(3) != Some(&b'-') {
                break line;
            }
            text.push('\n');
        };
        if reply.get(..3) == Some(code.to_string().as_str()) {
            return Ok(text);
        }
        Err(SubmitError::Refused { command: command.to_owned(), reply })
    }
}
