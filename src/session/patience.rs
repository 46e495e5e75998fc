//! How long a client may take: for a command, for a piece of a body, for everything. Pure.
//!
//! It promises that single octets buy no time: only a command that was answered, or a piece of a body that
//! is worth the name, begins the time anew.

use std::time::{Duration, Instant};

/// Octets that count as progress. A client that brings fewer within the time of a command is slower than
/// any modem was.
const PIECE: usize = 1024;

/// The times of one session.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    command: Duration,
    ends: Instant,
    /// When the time began.
    since: Instant,
    octets: usize,
}

impl Patience {
    /// A session that begins now.
    pub fn new(command: Duration, session: Duration, now: Instant) -> Self {
        Self { command, ends: now + session, since: now, octets: 0 }
    }

    /// When it is over.
    pub fn until(&self) -> Instant {
        (self.since + self.command).min(self.ends)
    }

    /// When a client has made no progress for so long.
    pub fn stalls(&self, bound: Duration) -> Instant {
        self.since + bound
    }

    /// A command was answered: the time begins anew.
    pub fn answered(&mut self, now: Instant) {
        self.since = now;
        self.octets = 0;
    }

    /// Octets came.
    pub fn came(&mut self, octets: usize, now: Instant) {
        self.octets = self.octets.saturating_add(octets);
        if self.octets >= PIECE {
            self.answered(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a18_one_octet_a_second_buys_no_time() {
        let begin = Instant::now();
        let mut patience = Patience::new(SECOND * 300, SECOND * 3_600, begin);
        for second in 1..300 {
            patience.came(1, begin + SECOND * second);
        }
        assert_eq!(patience.until(), begin + SECOND * 300);
    }

    #[test]
    fn a18_answers_and_pieces_begin_the_time_anew_up_to_the_end_of_the_session() {
        let begin = Instant::now();
        let mut patience = Patience::new(SECOND * 300, SECOND * 1_000, begin);
        patience.came(PIECE - 1, begin + SECOND * 100);
        assert_eq!(patience.until(), begin + SECOND * 300);
        patience.came(1, begin + SECOND * 200);
        assert_eq!(patience.until(), begin + SECOND * 500);
        patience.came(PIECE - 1, begin + SECOND * 300);
        patience.answered(begin + SECOND * 400);
        patience.came(1, begin + SECOND * 500);
        assert_eq!(patience.until(), begin + SECOND * 700, "octets count from the answer on");
        patience.came(usize::MAX, begin + SECOND * 900);
        assert_eq!(patience.until(), begin + SECOND * 1_000, "the session's bound holds");
    }
}
