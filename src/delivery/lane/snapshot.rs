//! A lane as `status` shows it.

use super::Lane;
use crate::delivery::standing::LaneStanding;
use crate::oauth::TokenSource;
use crate::upstream::Courier;
use tokio::time::Instant;

impl<T: TokenSource, C: Courier + 'static> Lane<T, C> {
    /// How the lane stands now.
    pub(super) fn snapshot(&mut self) -> LaneStanding {
        let now = Instant::now().into_std();
        let fill = self.room.places().fill(now);
        let after = |until: std::time::Instant| until.saturating_duration_since(now);
        let is_slow = fill.slots < fill.configured || fill.not_before.is_some();
        let first = self.seats.first().map(|seat| &seat.member.account);
        LaneStanding {
            mailbox: first.map(|account| account.mailbox.to_string()).unwrap_or_default(),
            host: first.map(|account| account.upstream.host.clone()).unwrap_or_default(),
            accounts: self.seats.iter().map(|seat| seat.member.account.name.clone()).collect(),
            running: fill.running,
            slots: fill.slots,
            configured: fill.configured,
            slowed: self.slowed.filter(|_| is_slow).map(str::to_owned),
            rests: fill.not_before.map(after),
            pace: fill.pace,
            pace_left: fill.pace_left,
            pace_next: fill.pace_next.map(after),
            is_stuck: self.stuck.any(),
        }
    }
}
