//! One mail that passes through, whichever way it goes. It keeps nothing.

use super::gathered::{Gathered, Ready};
use super::streamed::Streamed;
use crate::smtp::Reply;
use crate::upstream::smtp::Flight;

/// One mail on its way through.
#[derive(Debug)]
pub enum Passage {
    /// By SMTP: each command is asked and the body goes on as it comes.
    Streamed(Box<Streamed>),
    /// By Graph, which takes a mail only as a whole.
    Gathered(Box<Gathered>),
}

/// One mail that has come and has its turn.
#[derive(Debug)]
pub enum Entered {
    /// By SMTP, all but its end.
    Streamed(Box<Streamed>),
    /// By Graph.
    Ready(Box<Ready>),
}

impl Entered {
    /// Ends the mail, which may have been sent from now on. Whatever the reply is, it is over.
    pub async fn end(self) -> Reply {
        match self {
            Self::Streamed(mail) => mail.end().await,
            Self::Ready(mail) => mail.end().await,
        }
    }
}

impl Passage {
    /// Says all of it in one flight; gives one reply for each command.
    pub async fn ask(&mut self, flight: &Flight<'_>) -> Vec<Reply> {
        match self {
            Self::Streamed(mail) => mail.ask(flight).await,
            Self::Gathered(mail) => mail.ask(flight),
        }
    }

    /// Takes more of the body.
    ///
    /// # Errors
    /// The reply; nothing more can be said then.
    pub async fn write(&mut self, octets: &[u8]) -> Result<(), Reply> {
        match self {
            Self::Streamed(mail) => mail.write(octets).await,
            Self::Gathered(mail) => mail.write(octets).await,
        }
    }

    /// Sends what was taken so far.
    ///
    /// # Errors
    /// The reply; nothing more can be said then.
    pub async fn flush(&mut self) -> Result<(), Reply> {
        match self {
            Self::Streamed(mail) => mail.flush().await,
            Self::Gathered(_) => Ok(()),
        }
    }

    /// The body has come: waits for the turn where it is taken now. Where the wait is given up, nothing of
    /// the mail was sent.
    ///
    /// # Errors
    /// The reply; the mail is over.
    pub async fn enter(self) -> Result<Entered, Reply> {
        match self {
            Self::Streamed(mail) => Ok(Entered::Streamed(mail)),
            Self::Gathered(mail) => Ok(Entered::Ready(Box::new(mail.enter().await?))),
        }
    }

    /// Whether it goes by Graph, which knows no envelope.
    pub fn is_by_graph(&self) -> bool {
        matches!(self, Self::Gathered(_))
    }

    /// Whether others wait for the turn that it holds.
    pub fn holds_turn(&self) -> bool {
        matches!(self, Self::Streamed(_))
    }
}
