//! Orders about mails: hold, release, retry, remove.
//!
//! It promises that each mail's outcome is told, and that mails which were not named are only touched where
//! the order makes sense for them.

use super::choice::{Choice, Chosen, concerns};
use super::source::SourceError;
use crate::admin::wire::{Done, MailPage, Order, Orders, Query};
use crate::cli::control::{Control, ControlError, surroundings};
use crate::cli::exit;
use crate::cli::shown::{mails, safe};
use crate::mail::Id;
use std::path::Path;
use std::process::ExitCode;
use std::time::SystemTime;

/// What became of all orders.
#[derive(Default)]
struct Tally {
    obeyed: u64,
    refused: u64,
}

/// Has the mails chosen do what is ordered; exit 1 where one could not.
pub async fn steer(
    file: Option<&Path>,
    order: Order,
    choice: &Choice,
) -> Result<ExitCode, SourceError> {
    let chosen = choice.chosen(SystemTime::now())?;
    let control = match Control::reach(&surroundings(file)?).await {
        Err(error @ (ControlError::Absent(_) | ControlError::Off)) => {
            return Err(SourceError::NobodyObeys(error));
        }
        reached => reached?,
    };
    let mut tally = Tally::default();
    match chosen {
        Chosen::Ids(ids) => {
            for ids in ids.chunks(Query::MOST) {
                send(&control, order, ids.to_vec(), &mut tally).await?;
            }
        }
        Chosen::Fitting(query) => send_to_all(&control, order, query, &mut tally).await?,
    }
    println!("{} {}", mails(tally.obeyed), past(order));
    if tally.refused > 0 {
        let why = format!("{} not {}", mails(tally.refused), past(order));
        return Ok(exit::fail(exit::FAILED, why));
    }
    Ok(ExitCode::SUCCESS)
}

/// Page by page: ids only grow, so what an order changes is not met again.
async fn send_to_all(
    control: &Control,
    order: Order,
    mut query: Query,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let is_asked_for = query.state.is_some();
    loop {
        let page: MailPage = control.get(&format!("/v1/queue?{}", query.encoded())).await?;
        let meant = page.mails.iter().filter(|mail| is_asked_for || concerns(order, &mail.state));
        // An id that cannot be read names no mail that could be ordered about.
        let ids: Vec<Id> = meant.filter_map(|mail| mail.id.parse().ok()).collect();
        if !ids.is_empty() {
            send(control, order, ids, tally).await?;
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(());
        }
    }
}

async fn send(
    control: &Control,
    order: Order,
    ids: Vec<Id>,
    tally: &mut Tally,
) -> Result<(), SourceError> {
    let path = format!("/v1/queue/orders/{}", order.word());
    let outcomes: Vec<Done> = control.post(&path, &Orders { ids }).await?;
    for Done { id, error } in outcomes {
        match error {
            None => {
                println!("{id} {}", past(order));
                tally.obeyed += 1;
            }
            Some(error) => {
                eprintln!("{id} {}", safe(&error));
                tally.refused += 1;
            }
        }
    }
    Ok(())
}

fn past(order: Order) -> &'static str {
    match order {
        Order::Hold => "held",
        Order::Release => "released",
        Order::Retry => "to be tried now",
        Order::Remove => "removed",
    }
}
