//! Mail that was given up and kept, as the queue lists it, in three piles.

use super::facts::{GivenUp, Pile};
use crate::mail::Address;
use crate::observe::redact::one_line;
use crate::queue::{Entry, Filter, Queue, State, StoreError};
use std::collections::BTreeMap;

/// Mails read in one go.
const PAGE: usize = 1000;
/// Ids of a pile that are remembered.
const LATEST: usize = 10;
/// Characters of a reason.
const LONGEST: usize = 300;

/// How many mails of each account were given up and kept.
pub(super) async fn totals(queue: &Queue) -> Result<BTreeMap<String, u64>, StoreError> {
    let counts = queue.counts().await?;
    let failed = counts.into_iter().filter(|count| count.state == State::Failed);
    Ok(failed.map(|count| (count.account, count.mails)).collect())
}

/// Those of one account; `told` are the people who get notices.
pub(super) async fn given_up(
    queue: &Queue,
    account: &str,
    told: &[Address],
) -> Result<GivenUp, StoreError> {
    let mut all = GivenUp::default();
    let mut after = None;
    loop {
        let filter = Filter {
            account: Some(account.to_owned()),
            state: Some(State::Failed),
            after,
            most: PAGE,
            ..Filter::default()
        };
        let page = queue.page(filter).await?;
        for entry in &page.mails {
            let pile = match entry.is_bounce {
                false => &mut all.mails,
                true if is_notice(entry, told) => &mut all.notices,
                true => &mut all.reports,
            };
            add(pile, entry);
        }
        after = page.next;
        if after.is_none() {
            return Ok(all);
        }
    }
}

/// A report that only went to those who get notices is told like a notice: not by mail to the same people.
fn is_notice(entry: &Entry, told: &[Address]) -> bool {
    entry.envelope.recipients.iter().all(|recipient| told.contains(&recipient.address))
}

fn add(pile: &mut Pile, entry: &Entry) {
    pile.count += 1;
    if pile.latest.len() == LATEST {
        pile.latest.remove(0);
    }
    pile.latest.push(entry.id);
    let why = entry.last_error.as_deref().unwrap_or("none is noted");
    pile.why = one_line(why, LONGEST);
}
