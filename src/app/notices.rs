//! Watches the accounts and brings what is seen to whoever tells people.
//!
//! It promises to look after every change, once a minute besides (the calendar goes on, and clocks jump), and
//! never to hold up mail: it has a task of its own.

use crate::config::{Account, Config};
use crate::delivery::{Health, Standing};
use crate::diagnosis::Class;
use crate::notify::{Announcer, End, Facts, Trouble};
use crate::oauth::keeper::AccountStatus;
use crate::oauth::token::Condition;
use crate::oauth::{self, Keeper};
use crate::queue::Queue;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// How often it looks where nothing happens.
const LOOK: Duration = Duration::from_secs(60);

/// The watch at work. Dropped, it ends; what is untold is told after the next start.
pub(super) struct Notices {
    reloads: mpsc::UnboundedSender<Config>,
    task: JoinHandle<()>,
}

impl Notices {
    /// Begins; must be called within a runtime. Blocks for the disk.
    pub fn start(config: &Config, queue: &Queue, keeper: &Arc<Keeper>, health: Health) -> Self {
        let (reloads, inbox) = mpsc::unbounded_channel();
        let announcer = Announcer::open(config, queue.clone());
        let accounts = config.accounts.clone();
        let task = tokio::spawn(watch(announcer, accounts, keeper.clone(), health, inbox));
        Self { reloads, task }
    }

    /// Another configuration.
    pub fn reload(&self, config: &Config) {
        // Fails only where the task broke off, which was told then.
        let _ = self.reloads.send(config.clone());
    }
}

impl Drop for Notices {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(
    mut announcer: Announcer,
    mut accounts: Vec<Arc<Account>>,
    keeper: Arc<Keeper>,
    health: Health,
    mut inbox: mpsc::UnboundedReceiver<Config>,
) {
    loop {
        let facts = facts(&accounts, &keeper, &health).await;
        announcer.look(&facts, SystemTime::now()).await;
        tokio::select! {
            // By the new rules first.
            biased;
            config = inbox.recv() => {
                let Some(config) = config else { return };
                announcer.reload(&config);
                accounts = config.accounts;
            }
            () = keeper.changed() => {}
            () = health.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

async fn facts(accounts: &[Arc<Account>], keeper: &Arc<Keeper>, health: &Health) -> Vec<Facts> {
    let (tokens, standings) = (keeper.status(), health.standings());
    let mut all = Vec::with_capacity(accounts.len());
    for account in accounts {
        let token = tokens.iter().find(|status| status.account == account.name);
        let standing = standings.iter().find(|standing| standing.account == account.name);
        let of_token = token.and_then(trouble_of_token);
        let is_well = token.is_some_and(|status| {
            status.condition == Condition::Active && status.last_error.is_none()
        });
        all.push(Facts {
            account: account.name.clone(),
            mailbox: account.mailbox.to_string(),
            trouble: of_token.or_else(|| standing.and_then(trouble_of_upstream)),
            has_token: is_well && standing.is_none(),
            sends: health.sends(&account.name),
            ends: ends(keeper, account).await,
        });
    }
    all
}

fn trouble_of_token(status: &AccountStatus) -> Option<Trouble> {
    let error = status.last_error.as_ref().filter(|error| error.class != Class::Transient)?;
    Some(Trouble {
        is_of_token: true,
        class: error.class.as_str(),
        what: format!("no token: {}", error.message),
        remedy: error.remedy.clone().unwrap_or_default(),
    })
}

fn trouble_of_upstream(standing: &Standing) -> Option<Trouble> {
    (standing.class != Class::Transient).then(|| Trouble {
        is_of_token: false,
        class: standing.class.as_str(),
        what: format!("{} ({})", standing.meaning, standing.words),
        remedy: standing.remedy.clone(),
    })
}

/// Of the accounts as they are announced, not of those that a reload has just brought: nobody may be told by
/// the old rules of what only the new ones know. Certificates are renewed by others and read at each look.
async fn ends(keeper: &Arc<Keeper>, account: &Arc<Account>) -> Vec<End> {
    let (keeper, account) = (keeper.clone(), account.clone());
    let known = tokio::task::spawn_blocking(move || keeper.ends(&account)).await;
    let end = |end: oauth::End| End {
        of: end.what.as_str(),
        name: end.what.in_words(),
        at: end.at,
        remedy: end.remedy,
    };
    known.unwrap_or_default().into_iter().map(end).collect()
}
