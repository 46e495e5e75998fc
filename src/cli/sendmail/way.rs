//! The way to the daemon, and `-bs`, where the caller speaks to it himself.
//!
//! It must not guess: where the daemon is comes from the environment, the configuration or the default.

use super::{Failure, exit};
use crate::cli::door::Door;
use crate::config::Glance;
use std::io::{self, Write};
use std::net::{Shutdown, ToSocketAddrs};
use std::path::PathBuf;

/// Where the daemon is, `host:port` or `unix:/path`: instead of what the configuration says.
const ADDRESS: &str = "SUBMITD_SENDMAIL_ADDRESS";

/// The doors to try, in order.
pub(super) fn doors(glance: &Glance) -> Result<Vec<Door>, Failure> {
    let Some(text) = std::env::var(ADDRESS).ok().filter(|text| !text.is_empty()) else {
        // One that needs a login is of no use, yet better than none: its answer says what is wrong.
        return Ok(Door::by_ease(&glance.listeners));
    };
    if let Some(path) = text.strip_prefix("unix:") {
        return Ok(vec![Door::from(PathBuf::from(path))]);
    }
    let found = text.to_socket_addrs().map_err(|error| {
        let what = format!("{ADDRESS} is {text:?}: {error}; write host:port or unix:/path");
        Failure::new(exit::CONFIG, what)
    })?;
    Ok(found.map(Door::from).collect())
}

/// Nobody answered.
pub(super) fn away(doors: &[Door]) -> Failure {
    let places: Vec<_> = doors.iter().map(|door| door.address.to_string()).collect();
    let places = places.join(" or ");
    let what = format!("mail was not taken, the daemon does not answer at {places}; try again");
    Failure::new(exit::TEMPORARY, what)
}

/// `-bs`: joins standard input and output to the daemon.
pub(super) fn speak(doors: &[Door]) -> Result<(), Failure> {
    let Some(mut answers) = doors.iter().find_map(|door| door.socket(door.patience()).ok()) else {
        // The caller speaks SMTP and may not look at exit codes.
        super::say("421 4.3.2 submitd does not answer, try again later\r");
        return Err(away(doors));
    };
    let broken = |error: io::Error| Failure::new(exit::TEMPORARY, format!("connection: {error}"));
    let mut commands = answers.try_clone().map_err(broken)?;
    // It ends with the process at the latest: a read of standard input cannot be called off.
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut commands);
        let _ = commands.shutdown(Shutdown::Write);
    });
    let mut out = Unbuffered(io::stdout().lock());
    io::copy(&mut answers, &mut out).map(drop).map_err(broken)
}

/// Standard output without waiting for the end of a line.
struct Unbuffered<W>(W);

impl<W: Write> Write for Unbuffered<W> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.write_all(octets)?;
        self.0.flush()?;
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
