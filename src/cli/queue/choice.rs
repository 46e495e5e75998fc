//! Which mails a command is for: named one by one, or by what they have in common.

use super::source::SourceError;
use crate::admin::wire::{Order, Query, Time};
use crate::mail::Id;
use std::time::{Duration, SystemTime};

/// What mails have in common.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Which {
    /// Only of this account.
    #[arg(long, value_name = "NAME")]
    account: Option<String>,
    /// Only in this state: queued, attempting, held, failed or damaged.
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only of this sender: user@domain, @domain, or <> for reports.
    #[arg(long, value_name = "ADDRESS")]
    sender: Option<String>,
    /// Only those with this recipient: user@domain or @domain.
    #[arg(long, value_name = "ADDRESS")]
    recipient: Option<String>,
    /// Only those taken longer ago than this: 30m, 4h, 2d.
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    older_than: Option<Duration>,
    /// Only those of unknown fate: a try ended without an answer.
    #[arg(long)]
    uncertain: bool,
}

/// To the end of the second: the wire tells whole ones, and what came a moment ago is older than `0s`.
fn up(time: SystemTime) -> Option<SystemTime> {
    time.checked_add(Duration::from_nanos(999_999_999))
}

impl Which {
    /// As the daemon is asked.
    pub fn query(&self, now: SystemTime) -> Query {
        Query {
            account: self.account.clone(),
            state: self.state.clone(),
            sender: self.sender.clone(),
            recipient: self.recipient.clone(),
            before: self.older_than.and_then(|age| up(now.checked_sub(age)?)).map(Time),
            uncertain: self.uncertain,
            ..Query::default()
        }
    }

    fn says_something(&self) -> bool {
        let Self { account, state, sender, recipient, older_than, uncertain } = self;
        let texts = [account, state, sender, recipient];
        *uncertain || older_than.is_some() || texts.iter().any(|text| text.is_some())
    }
}

/// Mails to do something with.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Choice {
    /// The queue ids.
    #[arg(value_name = "ID")]
    ids: Vec<Id>,
    #[command(flatten)]
    which: Which,
    /// Every mail that the command makes sense for.
    #[arg(long)]
    all: bool,
}

/// Mails as they are chosen.
#[derive(Debug)]
pub enum Chosen {
    /// One by one.
    Ids(Vec<Id>),
    /// By what they have in common.
    Fitting(Query),
}

impl Choice {
    /// What is chosen. Nothing is ever chosen by saying nothing.
    ///
    /// # Errors
    /// [`SourceError::Usage`].
    pub fn chosen(&self, now: SystemTime) -> Result<Chosen, SourceError> {
        let ways = [!self.ids.is_empty(), self.which.says_something(), self.all];
        match ways {
            [true, false, false] => Ok(Chosen::Ids(self.ids.clone())),
            [false, true, false] | [false, false, true] => {
                Ok(Chosen::Fitting(self.which.query(now)))
            }
            [false, false, false] => Err(SourceError::Usage(
                "which mails? Name their ids, say what they have in common, or --all",
            )),
            _ => Err(SourceError::Usage(
                "ids, a choice by --account and the like, and --all exclude each other",
            )),
        }
    }
}

/// Whether an order is meant for a mail in this state that was not named: nobody who has all mails tried
/// again means those that a person holds back.
pub fn concerns(order: Order, state: &str) -> bool {
    match order {
        Order::Hold => state == "queued",
        Order::Release => state == "held",
        Order::Retry => state == "queued" || state == "failed",
        Order::Remove => state != "attempting",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::UNIX_EPOCH;

    #[test]
    fn nothing_is_chosen_by_saying_nothing_or_two_things() {
        let id = Id::new(UNIX_EPOCH, 1);
        let which = Which { account: Some("erp".into()), ..Which::default() };
        let none = Which::default;
        for (ids, which, all, chosen) in [
            (vec![], none(), false, None),
            (vec![id], none(), false, Some("ids")),
            (vec![], which.clone(), false, Some("fitting")),
            (vec![], none(), true, Some("fitting")),
            (vec![id], which.clone(), false, None),
            (vec![id], none(), true, None),
            (vec![], which, true, None),
        ] {
            let choice = Choice { ids, which, all };
            let found = choice.chosen(UNIX_EPOCH).ok().map(|chosen| match chosen {
                Chosen::Ids(_) => "ids",
                Chosen::Fitting(_) => "fitting",
            });
            assert_eq!(found, chosen, "{choice:?}");
        }
    }

    #[test]
    fn an_order_for_many_leaves_out_mails_it_was_not_meant_for() {
        let states = ["queued", "attempting", "held", "failed", "damaged"];
        for (order, concerned) in [
            (Order::Hold, [true, false, false, false, false]),
            (Order::Release, [false, false, true, false, false]),
            (Order::Retry, [true, false, false, true, false]),
            (Order::Remove, [true, false, true, true, true]),
        ] {
            assert_eq!(states.map(|state| concerns(order, state)), concerned, "{order:?}");
        }
    }
}
