//! What people are told: by a line in the log, by a mail through another account, by a command.
//!
//! It promises that each thing is told once, whatever is restarted and wherever the clock is set: what was
//! announced is on the disk before anybody is told, together with what is still to be told. It watches
//! nothing itself; whoever does brings [`Facts`]. A hook that fails, hangs or is missing harms nothing.

mod backlog;
mod calendar;
mod event;
mod facts;
mod hook;
mod ledger;
mod letter;

pub use calendar::Announced;
pub use event::{Event, Kind};
pub use facts::{End, Facts, Trouble};
pub use ledger::Ledger;

use crate::config::{Account, Config, Notify};
use crate::durable;
use crate::mail::{BodyKind, Envelope, Id, Notify as Dsn, Recipient, Ret};
use crate::queue::{Queue, StoreError, Submission};
use ledger::Untold;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// Mail that is given up is told at once, and then no more often than this.
const MAIL_PAUSE: Duration = Duration::from_secs(3600);
/// Things that wait to be told, at most: the oldest go first.
const MOST_UNTOLD: usize = 1000;

/// Tells people.
#[derive(Debug)]
pub struct Announcer {
    queue: Queue,
    file: PathBuf,
    ledger: Ledger,
    terms: Terms,
    /// When mail of an account was last announced as given up.
    counted: HashMap<String, Instant>,
}

/// What of the configuration matters here.
#[derive(Debug)]
struct Terms {
    notify: Notify,
    hostname: String,
    accounts: Vec<Arc<Account>>,
}

impl Terms {
    fn of(config: &Config) -> Self {
        Self {
            notify: config.notify.clone(),
            hostname: config.hostname.clone(),
            accounts: config.accounts.clone(),
        }
    }
}

/// Where it is kept what was announced.
fn file(state_dir: &Path) -> PathBuf {
    state_dir.join("announced.json")
}

/// What was announced so far, to be shown. Empty where nothing was or it cannot be read. Blocks.
pub fn announced(state_dir: &Path) -> Ledger {
    let text = std::fs::read(file(state_dir)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

impl Announcer {
    /// With what was announced before. One that cannot be read begins anew, and says so. Blocks.
    pub fn open(config: &Config, queue: Queue) -> Self {
        let file = file(&config.state_dir);
        let ledger = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                let file = file.display();
                tracing::warn!(%file, %error, "what was announced cannot be read; it is announced again");
                Ledger::default()
            }),
            Err(_) => Ledger::default(),
        };
        Self { queue, file, ledger, terms: Terms::of(config), counted: HashMap::new() }
    }

    /// Other people, another command, other accounts.
    pub fn reload(&mut self, config: &Config) {
        self.terms = Terms::of(config);
    }

    /// Compares how things stand with what was announced, and tells the difference.
    pub async fn look(&mut self, facts: &[Facts], now: SystemTime) {
        let before = self.ledger.clone();
        let mut found: Vec<(Event, bool)> =
            self.ledger.judge(facts, now).into_iter().map(|event| (event, true)).collect();
        match self.given_up(now).await {
            Ok(more) => found.extend(more),
            Err(error) => tracing::error!(%error, "the queue cannot be read"),
        }
        for (event, may_mail) in found {
            log(&event);
            let notify = &self.terms.notify;
            let by_mail = may_mail && !notify.mail_to.is_empty();
            let by_command = notify.command.is_some();
            if by_mail || by_command {
                self.ledger.untold.push(Untold { event, by_mail, by_command });
            }
        }
        let surplus = self.ledger.untold.len().saturating_sub(MOST_UNTOLD);
        self.ledger.untold.drain(..surplus);
        if self.ledger != before {
            self.save().await;
        }
        self.tell(facts, now).await;
        tracing::debug!(accounts = facts.len(), "looked at the accounts");
    }

    /// Mail that was given up since the last time.
    async fn given_up(&mut self, now: SystemTime) -> Result<Vec<(Event, bool)>, StoreError> {
        let totals = backlog::totals(&self.queue).await?;
        let mut found = Vec::new();
        let forgotten: Vec<String> = self.ledger.given_up.keys().cloned().collect();
        for account in forgotten.iter().filter(|account| !totals.contains_key(*account)) {
            self.ledger.has_more(account, 0);
        }
        for (account, total) in totals {
            let rests = self.counted.get(&account).is_some_and(|at| at.elapsed() < MAIL_PAUSE);
            if rests || !self.ledger.has_more(&account, total) {
                continue;
            }
            let all = backlog::given_up(&self.queue, &account, &self.terms.notify.mail_to).await?;
            let known = self.terms.accounts.iter().find(|known| known.name == account);
            let mailbox = known.map(|known| known.mailbox.to_string()).unwrap_or_default();
            let new = self.ledger.count((&account, &mailbox), &all, now);
            if !new.is_empty() {
                self.counted.insert(account, Instant::now());
            }
            found.extend(new);
        }
        Ok(found)
    }

    /// Tells what is untold, as far as that goes now; the rest waits for the next look.
    async fn tell(&mut self, facts: &[Facts], now: SystemTime) {
        if self.ledger.untold.is_empty() {
            return;
        }
        self.tell_by_mail(facts, now).await;
        // One at a time: a storm of events must not become a storm of processes.
        while let Some(at) = self.ledger.untold.iter().position(|untold| untold.by_command) {
            let event = self.ledger.untold[at].event.clone();
            let heard = self.tell_by_command(&event).await;
            self.ledger.untold[at].by_command = false;
            self.ledger.untold.retain(|untold| untold.by_mail || untold.by_command);
            self.save().await;
            // Said when it is noted: whoever stops us at this line is not told again.
            if let Some((end, output)) = heard {
                self.report(&event, end, &output);
            }
        }
    }

    async fn tell_by_command(&self, event: &Event) -> Option<(hook::End, String)> {
        let hook = self.terms.notify.command.as_ref()?;
        let json = event.json(&self.terms.hostname);
        Some(hook::run(hook, event, &json, self.terms.notify.command_timeout).await)
    }

    fn report(&self, event: &Event, end: hook::End, output: &str) {
        let Some(hook) = &self.terms.notify.command else { return };
        let (kind, account) = (event.kind.as_str(), event.account.as_str());
        let program = hook.program.display();
        match end {
            hook::End::Well => {
                tracing::info!(event = kind, account, %program, output, "the command was told");
            }
            hook::End::Badly(how) => {
                tracing::error!(event = kind, account, %program, output,
                    "the command of [notify] {how}; nobody is told through it");
            }
        }
    }

    /// One mail for all that can go through the same account.
    async fn tell_by_mail(&mut self, facts: &[Facts], now: SystemTime) {
        if self.ledger.untold.iter().all(|untold| !untold.by_mail) {
            return;
        }
        let ill: Vec<&str> = facts
            .iter()
            .filter(|facts| facts.trouble.is_some())
            .map(|facts| facts.account.as_str())
            .collect();
        let terms = &self.terms;
        let mut ways: Vec<(Arc<Account>, Vec<usize>)> = Vec::new();
        for (index, untold) in self.ledger.untold.iter().enumerate().filter(|(_, u)| u.by_mail) {
            if terms.notify.mail_to.is_empty() {
                continue;
            }
            let about = &untold.event.account;
            match letter::through(about, &terms.notify, &terms.accounts, &ill) {
                Some(account) => match ways.iter_mut().find(|(way, _)| way.name == account.name) {
                    Some((_, events)) => events.push(index),
                    None => ways.push((account.clone(), vec![index])),
                },
                None => tracing::warn!(account = %about, event = untold.event.kind.as_str(),
                    "no mail tells of this: no other account can send it"),
            }
        }
        let mut told: Vec<usize> = (0..self.ledger.untold.len()).collect();
        for (account, events) in ways {
            if let Err(error) = self.post(&account, &events, now).await {
                tracing::error!(account = %account.name, %error, "a notice cannot be queued; later again");
                told.retain(|index| !events.contains(index));
            }
        }
        for index in told {
            self.ledger.untold[index].by_mail = false;
        }
        self.ledger.untold.retain(|untold| untold.by_mail || untold.by_command);
        self.save().await;
    }

    /// Queues one mail. It counts as a report of ours, so that it never begets another.
    async fn post(
        &self,
        account: &Account,
        events: &[usize],
        now: SystemTime,
    ) -> Result<(), String> {
        let id = Id::new(now, random() as u32);
        let events: Vec<&Event> =
            events.iter().map(|index| &self.ledger.untold[*index].event).collect();
        let terms = &self.terms;
        let (to, seed) = (&terms.notify.mail_to, format!("{id}{:016x}", random()));
        let octets = letter::compose(&events, &account.mailbox, to, &terms.hostname, (now, &seed));
        let octets = octets.ok_or("an address in it is none")?;
        let mut writer = self.queue.spool_report();
        writer.write(&octets).await.map_err(|error| error.to_string())?;
        let body = writer.finish().await.map_err(|error| error.to_string())?;
        let recipient = |address: &crate::mail::Address| Recipient {
            address: address.clone(),
            notify: Some(Dsn::NEVER),
            orcpt: None,
        };
        let from = account.mailbox.clone();
        let smtputf8 = from.needs_smtputf8() || to.iter().any(|address| address.needs_smtputf8());
        let submission = Submission {
            id,
            account: account.name.clone(),
            envelope: Envelope {
                sender: Some(from),
                body: BodyKind::Undeclared,
                smtputf8,
                ret: Some(Ret::Headers),
                envid: None,
                recipients: to.iter().map(recipient).collect(),
            },
            body,
            accepted: now,
            is_bounce: true,
        };
        self.queue.accept(submission).await.map_err(|error| error.to_string())?;
        let to: Vec<&str> = to.iter().map(crate::mail::Address::as_str).collect();
        tracing::info!(%id, account = %account.name, to = to.join(", "), events = events.len(),
            "a notice is queued");
        Ok(())
    }

    /// Durably; where that fails people are told all the same, and again after a restart.
    async fn save(&self) {
        let (file, text) = (self.file.clone(), serde_json::to_vec_pretty(&self.ledger));
        let Ok(text) = text else { return };
        let written = tokio::task::spawn_blocking(move || durable::replace(&file, &text)).await;
        if let Ok(Err(error)) = written {
            tracing::error!(file = %self.file.display(), %error,
                "what was announced cannot be noted; after a restart it is announced again");
        }
    }
}

fn log(event: &Event) {
    let (account, kind) = (event.account.as_str(), event.kind.as_str());
    let (what, remedy) = (event.what.as_str(), event.remedy.as_str());
    let headline = event.headline();
    match event.kind {
        Kind::AccountRecovered => tracing::info!(event = kind, account, "{headline}"),
        Kind::EndsSoon => tracing::warn!(event = kind, account, remedy, "{headline}"),
        _ => tracing::error!(event = kind, account, what, remedy, "{headline}"),
    }
}

/// Randomness without a generator of its own: for ids, never for secrets.
fn random() -> u64 {
    RandomState::new().hash_one(0_u8)
}
