//! A lane as `status` shows it.

use super::Lane;
use crate::delivery::standing::LaneStanding;
use crate::oauth::TokenSource;
use crate::upstream::Courier;
use tokio::time::Instant;

impl<T: TokenSource, C: Courier + 'static> Lane<T, C> {
    /// How the lane stands now.
    pub(super) fn snapshot(&mut self) -> LaneStanding {
        let now = Instant::now();
        let slots = self.slots.allowed(now.into_std());
        let configured = self.slots.most();
        let rests = self.not_before.map(|until| until.saturating_duration_since(now));
        let rests = rests.filter(|rest| !rest.is_zero());
        let is_slow = slots < configured || rests.is_some();
        let first = self.seats.first().map(|seat| &seat.member.account);
        LaneStanding {
            mailbox: first.map(|account| account.mailbox.to_string()).unwrap_or_default(),
            host: first.map(|account| account.upstream.host.clone()).unwrap_or_default(),
            accounts: self.seats.iter().map(|seat| seat.member.account.name.clone()).collect(),
            running: self.tries.len(),
            slots,
            configured,
            slowed: self.slowed.filter(|_| is_slow).map(str::to_owned),
            rests,
            pace: self.pace.most(),
            pace_left: self.pace.ready(now.into_std()),
            pace_next: self
                .pace
                .next(now.into_std())
                .map(|next| next.saturating_duration_since(now.into_std())),
            is_stuck: self.stuck.any(),
        }
    }
}
