//! One credential at work: asks, renews ahead of the end, stores what comes back.
//!
//! It promises that a request once begun goes on whoever stops waiting, that its leave is given back
//! however it ends, and that a refresh token that came back is on the disk before the access token
//! beside it is handed out. It must not decide when: that is `token`.

use super::ends::Held;
use super::provider::Provider;
use super::request::remedy;
use super::response::{Fault, Granted};
use super::token::{Credential, Fresh, Leave, Moment, Pace};
use super::vault::Vault;
use super::{TokenError, broker};
use crate::config::{Account, Grant};
use crate::secret::Secret;
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};
use tokio::sync::{Notify, watch};

/// Timers stand still while the machine is suspended: look at the clocks at least this often.
const LOOK: Duration = Duration::from_secs(60);

/// One credential and all that is needed to renew it.
#[derive(Debug)]
pub(super) struct Keeping {
    /// The account that gave the credential; others may share it.
    pub(super) account: Arc<Account>,
    provider: Arc<Provider>,
    credential: Mutex<Credential>,
    pub(super) refresh: Option<Arc<Refresh>>,
    /// Rung whenever the credential changed.
    pub(super) changed: watch::Sender<()>,
    /// Rung with it, for whoever watches all credentials.
    bell: Arc<Notify>,
    tended: AtomicBool,
    /// What the token file was when it was last read.
    seen: Mutex<Option<Stamp>>,
}

/// What identifies the content of a file.
type Stamp = (u64, u64, SystemTime);

impl Keeping {
    /// Nothing asked yet.
    pub(super) fn new(
        account: &Arc<Account>,
        provider: &Arc<Provider>,
        refresh: Option<Arc<Refresh>>,
        pace: Pace,
        bell: &Arc<Notify>,
    ) -> Self {
        Self {
            account: Arc::clone(account),
            provider: Arc::clone(provider),
            credential: Mutex::new(Credential::new(pace)),
            refresh,
            changed: watch::Sender::new(()),
            bell: Arc::clone(bell),
            tended: AtomicBool::new(false),
            seen: Mutex::default(),
        }
    }

    pub(super) fn credential(&self) -> MutexGuard<'_, Credential> {
        self.credential.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a request, unless one is under way. It runs on its own: a caller that goes away must
    /// not take an answer with it that holds the only copy of a rotated refresh token.
    pub(super) fn ask(self: &Arc<Self>, credential: &mut Credential) {
        let Some(leave) = credential.begin(now()) else { return };
        let mut request = Request { keeping: Arc::clone(self), asked: now(), leave: Some(leave) };
        tokio::spawn(async move {
            let answer = request.keeping.fetch(&mut request.asked).await;
            request.settle(answer);
        });
    }

    /// A token file that was replaced is read again at once. One that vanished is not missed before its
    /// token ends.
    pub(super) fn look(&self, credential: &mut Credential) {
        let Grant::TokenFile { file } = &self.account.grant else { return };
        let Some(stamp) = broker::stamp(file).filter(|_| !credential.is_asking()) else { return };
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner).replace(stamp);
        if seen.is_some_and(|seen| seen != stamp) {
            credential.forget();
        }
    }

    /// Starts the renewals, once.
    pub(super) fn tend(self: &Arc<Self>) {
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
        let Some(token) = current.token.clone() else { return Err(Fault::nobody_signed_in()) };
        *asked = now();
        let granted = self.provider.exchange(oauth, grant, Some(&token)).await?;
        current.note(&granted, asked.wall);
        // None came back: the old one stays good (Google's way).
        if let Some(next) = granted.refresh().filter(|next| *next != token) {
            current.token = Some(next);
            current.unsaved = true;
            refresh.save(&mut current).await?;
        } else if current.is_stale(asked.wall) {
            // Only for the calendar: no reason to do without the token.
            if let Err(fault) = refresh.save(&mut current).await {
                tracing::warn!(account = %self.account.name, "{fault}");
            }
        }
        Ok(granted)
    }
}

/// A refresh token that changes.
#[derive(Debug)]
pub(super) struct Refresh {
    account: String,
    pub(super) seed: Secret,
    /// The sign-in it descends from; 0 where the seed is a token itself, or nobody signed in.
    pub(super) sign_in: u64,
    vault: Arc<Vault>,
    /// The configuration has another seed by now: what still comes back is history.
    pub(super) superseded: AtomicBool,
    current: tokio::sync::Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// None until somebody signs in.
    token: Option<Secret>,
    /// It came back but could not be stored: the one on the disk may be void.
    unsaved: bool,
    /// What is known of its life.
    life: Held,
    /// When that was stored last.
    noted: Option<SystemTime>,
}

/// That a token was used is stored no more often than this, where it did not change.
const NOTE: Duration = Duration::from_secs(86_400);

impl Current {
    /// It was used, and what came with the answer.
    fn note(&mut self, granted: &Granted, now: SystemTime) {
        self.life.used = Some(now);
        let named = granted.refresh_lifetime().and_then(|life| now.checked_add(life));
        if named.is_some() || granted.refresh().is_some() {
            self.life.ends = named;
        }
    }

    fn is_stale(&self, now: SystemTime) -> bool {
        let since = self.noted.and_then(|noted| now.duration_since(noted).ok());
        since.is_none_or(|since| since >= NOTE)
    }
}

impl Refresh {
    /// With what was stored for this seed. `is_token`: the seed is a refresh token itself.
    pub(super) fn new(account: &str, seed: &Secret, is_token: bool, vault: &Arc<Vault>) -> Self {
        let (token, sign_in) = match (is_token, vault.stored(account, seed)) {
            (true, _) => (Some(vault.current(account, seed)), 0),
            (false, Some(stored)) => (Some(stored.refresh), stored.sign_in),
            (false, None) => (None, 0),
        };
        let life = vault.held(account, seed).unwrap_or_default();
        let current = Current { token, unsaved: false, life, noted: life.used };
        Self {
            account: account.to_owned(),
            seed: seed.clone(),
            sign_in,
            vault: Arc::clone(vault),
            superseded: AtomicBool::new(false),
            current: tokio::sync::Mutex::new(current),
        }
    }

    async fn save(self: &Arc<Self>, current: &mut Current) -> Result<(), Fault> {
        let own = Arc::clone(self);
        let Some(token) = current.token.clone() else { return Ok(()) };
        let life = current.life;
        let store = move || {
            let still = || !own.superseded.load(Ordering::SeqCst);
            own.vault.store(&own.account, &own.seed, &token, (own.sign_in, life), still)
        };
        let stored = tokio::task::spawn_blocking(store).await.map_err(|_| Fault::GivenUp)?;
        stored.map_err(|error| Fault::Store(error.to_string()))?;
        current.unsaved = false;
        current.noted = life.used;
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
        self.keeping.bell.notify_one();
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

/// What a caller is told, with the remedy filled in for its account.
pub(super) fn told(fault: &Fault, account: &Account, retry_after: Option<Duration>) -> TokenError {
    TokenError {
        class: fault.class(),
        message: fault.to_string(),
        remedy: fault.remedy().map(|text| remedy(text, account)),
        retry_after,
    }
}

/// Now, by the machine's clocks.
pub(super) fn now() -> Moment {
    Moment { monotonic: Instant::now(), wall: SystemTime::now() }
}

fn chance() -> u8 {
    let mut octet = [0];
    match SystemRandom::new().fill(&mut octet) {
        Ok(()) => octet[0],
        Err(_) => 255,
    }
}
