//! Keeps a token at hand for every account: the [`TokenSource`] of the program.
//!
//! It promises: one request at a time per credential, for any number of waiters, and none is lost
//! because a waiter goes away; renewal ahead of the end; the last good token while it is valid,
//! whatever a renewal says; a refresh token that comes back is on the disk before its access token
//! is used; no failure ever removes a refresh token. Accounts with the same application, secret,
//! scope and endpoint share one token. It must not log tokens or bodies, nor judge answers: that is
//! done in `response` and `diagnosis`.

use super::provider::Provider;
use super::request::{client_id, tenant};
use super::response::{Fault, Granted};
use super::token::{Condition, Credential, Demand, Fresh, Leave, Moment, Pace};
use super::vault::{KeySource, Vault, VaultError};
use super::{AccessToken, TokenError, TokenSource};
use crate::config::{Account, Grant};
use crate::diagnosis::{Class, Place, fill};
use crate::secret::Secret;
use arc_swap::ArcSwap;
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::watch;

/// Timers stand still while the machine is suspended: look at the clocks at least this often.
const LOOK: Duration = Duration::from_secs(60);

/// Exchange's endpoint for high-volume mail; it refuses tokens with less than ten minutes to live.
const HIGH_VOLUME: &str = "smtp-hve.office365.com";

/// Tokens for all accounts. Dropping it ends the renewals.
#[derive(Debug)]
pub struct Keeper {
    provider: Arc<Provider>,
    state_dir: PathBuf,
    key: KeySource,
    pace: Pace,
    /// Opened when the first account needs it: app-only accounts keep nothing on the disk.
    vault: Mutex<Option<Arc<Vault>>>,
    accounts: ArcSwap<HashMap<String, Kept>>,
}

/// One account and the credential it uses.
#[derive(Clone, Debug)]
struct Kept {
    account: Arc<Account>,
    keeping: Arc<Keeping>,
}

/// What `status` shows of one account.
#[derive(Clone, Debug)]
pub struct AccountStatus {
    /// The account's name.
    pub account: String,
    /// Whether a token is at hand.
    pub condition: Condition,
    /// How long the token at hand may be used.
    pub expires_in: Option<Duration>,
    /// What went wrong last, if nothing went right since; `retry_after` counts from now.
    pub last_error: Option<TokenError>,
    /// Failures in a row.
    pub failures: u32,
}

impl Keeper {
    /// A keeper for these accounts, its refresh tokens in `state_dir`, the vault's key from the
    /// environment or `state_dir`. Asks for nothing yet. Blocks for the disk.
    pub fn open(accounts: &[Arc<Account>], state_dir: &Path) -> Result<Self, VaultError> {
        let key = KeySource::find(state_dir, |name| std::env::var_os(name));
        Self::with(accounts, state_dir, key, Pace::default())
    }

    /// As [`Keeper::open`], with this key and pace.
    pub fn with(
        accounts: &[Arc<Account>],
        state_dir: &Path,
        key: KeySource,
        pace: Pace,
    ) -> Result<Self, VaultError> {
        let keeper = Self {
            provider: Arc::default(),
            state_dir: state_dir.to_owned(),
            key,
            pace,
            vault: Mutex::default(),
            accounts: ArcSwap::default(),
        };
        keeper.replace(accounts)?;
        Ok(keeper)
    }

    /// The configuration was loaded anew. Tokens of unchanged credentials stay; pauses that wait
    /// for a person end; answers still under way for what has changed no longer count. On an error
    /// nothing has changed. Blocks for the disk where an account is new.
    pub fn replace(&self, accounts: &[Arc<Account>]) -> Result<(), VaultError> {
        // One at a time: the guard of the vault serves for both.
        let mut vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        let refreshing = |a: &Arc<Account>| matches!(a.grant, Grant::RefreshToken { .. });
        if vault.is_none() && accounts.iter().any(refreshing) {
            *vault = Some(Arc::new(Vault::open(&self.state_dir, &self.key)?));
        }
        self.provider.forget();
        let old = self.accounts.load_full();
        let mut new: HashMap<String, Kept> = HashMap::new();
        for account in accounts {
            let same = |kept: &&Kept| same_credential(&kept.account, account);
            let keeping = match old.values().chain(new.values()).find(same) {
                Some(kept) => Arc::clone(&kept.keeping),
                None => Arc::new(self.keep(account, old.get(&account.name), vault.as_ref())),
            };
            new.insert(account.name.clone(), Kept { account: Arc::clone(account), keeping });
        }
        let stays = |old: &Arc<Keeping>| new.values().any(|kept| Arc::ptr_eq(&kept.keeping, old));
        let gone: Vec<_> =
            old.values().map(|kept| &kept.keeping).filter(|keeping| !stays(keeping)).collect();
        let woken: Vec<_> = new.values().map(|kept| Arc::clone(&kept.keeping)).collect();
        self.accounts.store(Arc::new(new));
        for keeping in gone {
            keeping.credential().retire();
            keeping.changed.send_replace(());
        }
        for keeping in woken {
            keeping.credential().wake();
            keeping.changed.send_replace(());
        }
        Ok(())
    }

    /// Asks for every token that is not at hand, without waiting: a fault shows before the first
    /// mail. Needs the runtime.
    pub fn start(&self) {
        for kept in self.accounts.load().values() {
            kept.keeping.tend();
            let mut credential = kept.keeping.credential();
            if matches!(credential.demand(now()), Demand::Ask) {
                kept.keeping.ask(&mut credential);
            }
        }
    }

    /// How every account stands, by name.
    pub fn status(&self) -> Vec<AccountStatus> {
        let now = now();
        let mut all: Vec<_> = self
            .accounts
            .load()
            .values()
            .map(|Kept { account, keeping }| {
                let credential = keeping.credential();
                let trouble = credential.trouble();
                AccountStatus {
                    account: account.name.clone(),
                    condition: credential.condition(now),
                    expires_in: credential.usable_for(now),
                    last_error: trouble.map(|trouble| {
                        let wait = trouble.not_before.saturating_duration_since(now.monotonic);
                        told(&trouble.fault, account, Some(wait))
                    }),
                    failures: trouble.map_or(0, |trouble| trouble.failures),
                }
            })
            .collect();
        all.sort_by(|one, other| one.account.cmp(&other.account));
        all
    }

    fn keep(
        &self,
        account: &Arc<Account>,
        old: Option<&Kept>,
        vault: Option<&Arc<Vault>>,
    ) -> Keeping {
        let refresh = match (&account.grant, vault) {
            (Grant::RefreshToken { refresh_token: seed, .. }, Some(vault)) => {
                let before = old.and_then(|old| old.keeping.refresh.as_ref());
                match before.filter(|before| before.seed == *seed) {
                    // A request may be under way with it: both must see what comes back.
                    Some(before) => Some(Arc::clone(before)),
                    None => {
                        if let Some(before) = before {
                            before.superseded.store(true, Ordering::SeqCst);
                        }
                        Some(Arc::new(Refresh::new(&account.name, seed, vault)))
                    }
                }
            }
            _ => None,
        };
        let pace = Pace { strict: is_high_volume(account) || self.pace.strict, ..self.pace };
        Keeping {
            account: Arc::clone(account),
            provider: Arc::clone(&self.provider),
            credential: Mutex::new(Credential::new(pace)),
            refresh,
            changed: watch::Sender::new(()),
            tended: AtomicBool::new(false),
        }
    }
}

impl TokenSource for Keeper {
    async fn access_token(&self, account: &str) -> Result<AccessToken, TokenError> {
        loop {
            // Looked up anew each time: a reload may have put another credential in its place.
            let Some(kept) = self.accounts.load().get(account).cloned() else {
                return Err(unknown(account));
            };
            let Kept { account, keeping } = kept;
            let mut changed = keeping.changed.subscribe();
            keeping.tend();
            {
                // Looked at and begun under one lock, or two callers would both begin.
                let mut credential = keeping.credential();
                match credential.demand(now()) {
                    Demand::Ready(token) => return Ok(token),
                    Demand::Failed(fault, wait) => return Err(told(&fault, &account, Some(wait))),
                    Demand::Ask => keeping.ask(&mut credential),
                    Demand::Wait => {}
                }
            }
            if changed.changed().await.is_err() {
                return Err(told(&Fault::GivenUp, &account, None));
            }
        }
    }

    fn refuse(&self, account: &str, token: &AccessToken) {
        let Some(kept) = self.accounts.load().get(account).cloned() else { return };
        if kept.keeping.credential().refuse(token.version) {
            tracing::warn!(account, version = token.version, "the upstream refused the token");
            kept.keeping.changed.send_replace(());
        }
    }
}

/// One credential and all that is needed to renew it.
#[derive(Debug)]
struct Keeping {
    /// The account that gave the credential; others may share it.
    account: Arc<Account>,
    provider: Arc<Provider>,
    credential: Mutex<Credential>,
    refresh: Option<Arc<Refresh>>,
    /// Rung whenever the credential changed.
    changed: watch::Sender<()>,
    tended: AtomicBool,
}

impl Keeping {
    fn credential(&self) -> MutexGuard<'_, Credential> {
        self.credential.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request, unless one is under way. It runs on its own: a caller that goes away must
    /// not take an answer with it that holds the only copy of a rotated refresh token.
    fn ask(self: &Arc<Self>, credential: &mut Credential) {
        let Some(leave) = credential.begin(now()) else { return };
        let mut request = Request { keeping: Arc::clone(self), asked: now(), leave: Some(leave) };
        tokio::spawn(async move {
            let answer = request.keeping.fetch(&mut request.asked).await;
            request.settle(answer);
        });
    }

    /// Starts the renewals, once.
    fn tend(self: &Arc<Self>) {
        if !self.tended.swap(true, Ordering::SeqCst) {
            tokio::spawn(renew(Arc::downgrade(self), self.changed.subscribe()));
        }
    }

    async fn fetch(&self, asked: &mut Moment) -> Result<Granted, Fault> {
        let Account { oauth, grant, .. } = &*self.account;
        let Some(refresh) = &self.refresh else {
            *asked = now();
            return self.provider.exchange(oauth, grant, None).await;
        };
        // Held until the answer is stored: nobody uses a refresh token twice at once.
        let mut current = refresh.current.lock().await;
        if current.unsaved {
            refresh.save(&mut current).await?;
        }
        *asked = now();
        let granted = self.provider.exchange(oauth, grant, Some(&current.token)).await?;
        // None came back: the old one stays good (Google's way).
        if let Some(next) = granted.refresh().filter(|next| *next != current.token) {
            current.token = next;
            current.unsaved = true;
            refresh.save(&mut current).await?;
        }
        Ok(granted)
    }
}

/// A refresh token that changes.
#[derive(Debug)]
struct Refresh {
    account: String,
    seed: Secret,
    vault: Arc<Vault>,
    /// The configuration has another seed by now: what still comes back is history.
    superseded: AtomicBool,
    current: tokio::sync::Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    token: Secret,
    /// It came back but could not be stored: the one on the disk may be void.
    unsaved: bool,
}

impl Refresh {
    fn new(account: &str, seed: &Secret, vault: &Arc<Vault>) -> Self {
        let current = Current { token: vault.current(account, seed), unsaved: false };
        Self {
            account: account.to_owned(),
            seed: seed.clone(),
            vault: Arc::clone(vault),
            superseded: AtomicBool::new(false),
            current: tokio::sync::Mutex::new(current),
        }
    }

    async fn save(self: &Arc<Self>, current: &mut Current) -> Result<(), Fault> {
        let own = Arc::clone(self);
        let token = current.token.clone();
        let store = move || {
            let still = || !own.superseded.load(Ordering::SeqCst);
            own.vault.store(&own.account, &own.seed, &token, still)
        };
        let stored = tokio::task::spawn_blocking(store).await.map_err(|_| Fault::GivenUp)?;
        stored.map_err(|error| Fault::Store(error.to_string()))?;
        current.unsaved = false;
        Ok(())
    }
}

/// A request under way. However it ends, even in a panic, its leave is given back.
struct Request {
    keeping: Arc<Keeping>,
    asked: Moment,
    leave: Option<Leave>,
}

impl Request {
    fn settle(&mut self, answer: Result<Granted, Fault>) {
        let Some(leave) = self.leave.take() else { return };
        let asked = self.asked;
        let answer = answer.and_then(|granted| match granted.access() {
            Some(secret) => Ok(Fresh { secret, lifetime: granted.lifetime(), asked }),
            None => Err(Fault::Unclear {
                status: 200,
                what: "a token that is empty or contains what no token may".to_owned(),
                retry_after: None,
            }),
        });
        let now = now();
        let mut credential = self.keeping.credential();
        let counted = credential.settle(leave, answer, now, chance());
        if counted {
            tell(&self.keeping.account, &credential, now);
        }
        drop(credential);
        self.keeping.changed.send_replace(());
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.settle(Err(Fault::GivenUp));
    }
}

/// Renews ahead of the end and tries again after pauses, as long as the credential is kept.
async fn renew(keeping: Weak<Keeping>, mut changed: watch::Receiver<()>) {
    loop {
        changed.borrow_and_update();
        let due = {
            let Some(keeping) = keeping.upgrade() else { return };
            let mut credential = keeping.credential();
            let due = credential.renewal(now());
            if due.is_some_and(|wait| wait.is_zero()) {
                keeping.ask(&mut credential);
                None
            } else {
                due
            }
        };
        let rung = async { changed.changed().await.is_ok() };
        let goes_on = match due {
            None => rung.await,
            Some(wait) => tokio::select! {
                goes_on = rung => goes_on,
                () = tokio::time::sleep(wait.min(LOOK)) => true,
            },
        };
        if !goes_on {
            return;
        }
    }
}

fn tell(account: &Account, credential: &Credential, now: Moment) {
    let account_name = account.name.as_str();
    let usable = credential.usable_for(now).unwrap_or_default().as_secs();
    let Some(trouble) = credential.trouble() else {
        let what = if credential.version() <= 1 { "token obtained" } else { "token renewed" };
        tracing::info!(account = account_name, expires_in_s = usable, "{what}");
        return;
    };
    let wait = trouble.not_before.saturating_duration_since(now.monotonic);
    let told = told(&trouble.fault, account, Some(wait));
    tracing::warn!(
        account = account_name,
        class = told.class.as_str(),
        remedy = told.remedy.as_deref().unwrap_or_default(),
        failures = trouble.failures,
        next_try_s = wait.as_secs(),
        old_token_usable_s = usable,
        "no new token: {}",
        told.message
    );
}

fn told(fault: &Fault, account: &Account, retry_after: Option<Duration>) -> TokenError {
    let mailbox = account.mailbox.to_string();
    let place = Place {
        account: &account.name,
        client_id: client_id(&account.grant),
        tenant: tenant(&account.oauth),
        mailbox: &mailbox,
    };
    TokenError {
        class: fault.class(),
        message: fault.to_string(),
        remedy: fault.remedy().map(|remedy| fill(remedy, &place)),
        retry_after,
    }
}

fn unknown(account: &str) -> TokenError {
    TokenError {
        class: Class::Administrator,
        message: format!("there is no account {account:?}"),
        remedy: Some(format!("add [[account]] name = {account:?} to the configuration")),
        retry_after: None,
    }
}

fn same_credential(one: &Account, other: &Account) -> bool {
    let shared = matches!(one.grant, Grant::ClientCredentials { .. }) || one.name == other.name;
    shared
        && one.grant == other.grant
        && one.oauth == other.oauth
        && is_high_volume(one) == is_high_volume(other)
}

fn is_high_volume(account: &Account) -> bool {
    account.upstream.host.eq_ignore_ascii_case(HIGH_VOLUME)
}

fn now() -> Moment {
    Moment { monotonic: Instant::now(), wall: SystemTime::now() }
}

fn chance() -> u8 {
    let mut octet = [0];
    match SystemRandom::new().fill(&mut octet) {
        Ok(()) => octet[0],
        Err(_) => 255,
    }
}
