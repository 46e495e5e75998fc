//! Keeps a token at hand for every account: the [`TokenSource`] of the program.
//!
//! It promises: one request at a time per credential, for any number of waiters, and none is lost
//! because a waiter goes away; renewal ahead of the end; the last good token while it is valid,
//! whatever a renewal says; a refresh token that comes back is on the disk before its access token
//! is used; no failure ever removes a refresh token. Accounts with the same application, secret,
//! scope and endpoint share one token. It must not log tokens or bodies, nor judge answers: that is
//! done in `response` and `diagnosis`.

use super::ends::End;
use super::kept::{Kept, is_latest, is_tokenless, pace_of, same_credential, unknown};
use super::provider::Provider;
use super::renewal::{Keeping, Refresh, now, told};
use super::response::Fault;
use super::token::{Condition, Demand, Pace};
use super::vault::{KeySource, Vault, VaultError};
use super::{AccessToken, TokenError, TokenSource, request};
use crate::config::{Account, Audience, OAuth, Transport};
use crate::secret::Secret;
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

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
    bell: Arc<Notify>,
}

/// Why a sign-in was not taken over, or not forgotten.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// The operator mistyped it, or the daemon runs with another configuration.
    #[error("there is no account {0:?} in the configuration")]
    Unknown(String),
    /// The account has another grant.
    #[error(
        "nobody signs in for account {0:?}: its grant is neither \"authorization_code\" nor \"device_code\""
    )]
    NoSignIn(String),
    /// The disk, or the key.
    #[error(transparent)]
    Vault(#[from] VaultError),
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
            bell: Arc::default(),
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
        let refreshing = |account: &Arc<Account>| request::seed(account).is_some();
        if vault.is_none() && accounts.iter().any(refreshing) {
            *vault = Some(Arc::new(Vault::open(&self.state_dir, &self.key)?));
        }
        if let Some(vault) = &*vault {
            vault.look_again();
        }
        self.provider.forget();
        let old = self.accounts.load_full();
        let mut new: HashMap<String, Kept> = HashMap::new();
        for account in accounts {
            let same = |kept: &&Kept| {
                same_credential(&kept.account, account) && is_latest(&kept.keeping, vault.as_ref())
            };
            let keeping = match old.values().chain(new.values()).find(same) {
                Some(kept) => Arc::clone(&kept.keeping),
                None => Arc::new(self.keep(account, old.get(&account.name), vault.as_ref())),
            };
            let detour = self.detour(account, &keeping, old.get(&account.name));
            new.insert(
                account.name.clone(),
                Kept { account: Arc::clone(account), keeping, detour },
            );
        }
        let all = || new.values().flat_map(Kept::keepings);
        let stays = |old: &Arc<Keeping>| all().any(|keeping| Arc::ptr_eq(keeping, old));
        let gone: Vec<_> =
            old.values().flat_map(Kept::keepings).filter(|keeping| !stays(keeping)).collect();
        let woken: Vec<_> = all().cloned().collect();
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

    /// Takes over what a sign-in for this account brought: durable on return, and used from then on. What
    /// an older request still brings is not taken. The caller asks for the token. Blocks for the disk.
    ///
    /// # Errors
    /// [`AdoptError`]; what was stored before stands then.
    pub fn adopt(&self, name: &str, refresh: &Secret) -> Result<(), AdoptError> {
        let mut vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        let (account, seed) = self.signs_in(name)?;
        let vault = self.opened(&mut vault)?;
        vault.sign_in(name, &seed, refresh)?;
        self.change_over(&account, vault);
        Ok(())
    }

    /// Forgets what a sign-in left, durably, and gives it once more to whoever takes it back from the
    /// provider. None where nobody had signed in. Blocks for the disk.
    ///
    /// # Errors
    /// [`AdoptError`]; what was stored before stands then.
    pub fn forget(&self, name: &str) -> Result<Option<Secret>, AdoptError> {
        let mut vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        let (account, seed) = self.signs_in(name)?;
        let vault = self.opened(&mut vault)?;
        vault.look_again();
        let stored = vault.stored(name, &seed);
        if stored.is_some() {
            vault.forget(name)?;
            self.change_over(&account, vault);
        }
        Ok(stored.map(|stored| stored.refresh))
    }

    /// Tells the provider that a token is void (RFC 7009), where it has an endpoint for that; whether it
    /// has.
    pub async fn take_back(&self, account: &Account, refresh: &Secret) -> Result<bool, TokenError> {
        let told_off = self.provider.revoke(account, refresh).await;
        told_off.map_err(|fault| told(&fault, account, None))
    }

    /// The account of this name and who signs in where for it.
    pub fn signs_in(&self, name: &str) -> Result<(Arc<Account>, Secret), AdoptError> {
        let all = self.accounts.load();
        let account = match all.get(name) {
            Some(kept) => Arc::clone(&kept.account),
            None => return Err(AdoptError::Unknown(name.to_owned())),
        };
        match request::seed(&account) {
            Some((seed, false)) => Ok((account, seed)),
            _ => Err(AdoptError::NoSignIn(name.to_owned())),
        }
    }

    fn audience(&self, account: &str) -> Audience {
        let all = self.accounts.load();
        all.get(account).map_or(Audience::Smtp, |kept| kept.account.transport.audience())
    }

    fn opened<'a>(&self, vault: &'a mut Option<Arc<Vault>>) -> Result<&'a Arc<Vault>, VaultError> {
        match vault {
            Some(vault) => Ok(vault),
            None => Ok(vault.insert(Arc::new(Vault::open(&self.state_dir, &self.key)?))),
        }
    }

    /// Puts a new credential in the place of the account's old one, whose answers no longer count.
    fn change_over(&self, account: &Arc<Account>, vault: &Arc<Vault>) {
        let mut all = HashMap::clone(&self.accounts.load());
        let old = all.remove(&account.name);
        let keeping = Arc::new(self.keep(account, old.as_ref(), Some(vault)));
        let detour = self.detour(account, &keeping, old.as_ref());
        all.insert(account.name.clone(), Kept { account: Arc::clone(account), keeping, detour });
        self.accounts.store(Arc::new(all));
        for keeping in old.iter().flat_map(Kept::keepings) {
            keeping.credential().retire();
            keeping.changed.send_replace(());
        }
    }

    /// The credential for Graph beside that for SMTP: another scope, the same refresh token.
    fn detour(
        &self,
        account: &Arc<Account>,
        keeping: &Keeping,
        old: Option<&Kept>,
    ) -> Option<Arc<Keeping>> {
        let Transport::Auto(graph) = &account.transport else { return None };
        let oauth = OAuth { scope: graph.scope.clone(), ..account.oauth.clone() };
        let asker = Arc::new(Account { oauth, ..Account::clone(account) });
        if let Some(same) = old.and_then(|old| old.detour_of(&asker, keeping)) {
            return Some(same);
        }
        let pace = pace_of(self.pace, account);
        let refresh = keeping.refresh.clone();
        Some(Arc::new(Keeping::new(&asker, &self.provider, refresh, pace, &self.bell)))
    }

    /// Whether our key opens everything that is stored.
    pub fn is_sound(&self) -> bool {
        let vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner);
        vault.as_ref().is_none_or(|vault| vault.is_sound())
    }

    /// Asks for every token that is not at hand, without waiting: a fault shows before the first
    /// mail. Needs the runtime.
    pub fn start(&self) {
        for kept in self.accounts.load().values().filter(|kept| !is_tokenless(&kept.account)) {
            kept.keeping.tend();
            let mut credential = kept.keeping.credential();
            kept.keeping.look(&mut credential);
            if matches!(credential.demand(now()), Demand::Ask) {
                kept.keeping.ask(&mut credential);
            }
        }
    }

    /// Waits until a request ended; returns at once where that happened since the last return. For one
    /// waiter.
    pub async fn changed(&self) {
        self.bell.notified().await;
    }

    /// What of an account ends when, as far as it is known. Blocks for the disk.
    pub fn ends(&self, account: &Account) -> Vec<End> {
        let vault = self.vault.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let held = vault.zip(request::seed(account));
        let held = held.and_then(|(vault, (seed, _))| vault.held(&account.name, &seed));
        super::ends::ends(account, held.as_ref())
    }

    /// How every account stands, by name.
    pub fn status(&self) -> Vec<AccountStatus> {
        let now = now();
        let mut all: Vec<_> = self
            .accounts
            .load()
            .values()
            .filter(|kept| !is_tokenless(&kept.account))
            .map(|Kept { account, keeping, .. }| {
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
        let refresh = match (request::seed(account), vault) {
            (Some((seed, is_token)), Some(vault)) => {
                let before = old.and_then(|old| old.keeping.refresh.as_ref());
                let latest = vault.stored(&account.name, &seed).map_or(0, |stored| stored.sign_in);
                let same = |before: &Refresh| before.seed == seed && before.sign_in == latest;
                match before.filter(|before| same(before)) {
                    // A request may be under way with it: both must see what comes back.
                    Some(before) => Some(Arc::clone(before)),
                    None => {
                        if let Some(before) = before {
                            before.superseded.store(true, Ordering::SeqCst);
                        }
                        Some(Arc::new(Refresh::new(&account.name, &seed, is_token, vault)))
                    }
                }
            }
            _ => None,
        };
        Keeping::new(account, &self.provider, refresh, pace_of(self.pace, account), &self.bell)
    }
}

impl TokenSource for Keeper {
    async fn access_token(&self, account: &str) -> Result<AccessToken, TokenError> {
        let own = self.audience(account);
        self.access_token_for(account, own).await
    }

    async fn access_token_for(
        &self,
        account: &str,
        audience: Audience,
    ) -> Result<AccessToken, TokenError> {
        loop {
            // Looked up anew each time: a reload may have put another credential in its place.
            let Some(kept) = self.accounts.load().get(account).cloned() else {
                return Err(unknown(account));
            };
            let keeping = Arc::clone(kept.keeping_for(audience));
            let account = kept.account;
            if is_tokenless(&account) {
                return Ok(AccessToken::of_nobody());
            }
            let mut changed = keeping.changed.subscribe();
            keeping.tend();
            {
                // Looked at and begun under one lock, or two callers would both begin.
                let mut credential = keeping.credential();
                keeping.look(&mut credential);
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
        self.refuse_for(account, self.audience(account), token);
    }

    fn refuse_for(&self, account: &str, audience: Audience, token: &AccessToken) {
        let Some(kept) = self.accounts.load().get(account).cloned() else { return };
        let keeping = kept.keeping_for(audience);
        if keeping.credential().refuse(token.version) {
            tracing::warn!(account, version = token.version, "the upstream refused the token");
            keeping.changed.send_replace(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::{Reply, StandIn, app_only, application, delegated, signed_in};
    use super::*;
    use crate::config::Grant;
    use crate::diagnosis::Class;
    use std::future::Future;
    use std::pin::pin;
    use std::task::Poll;

    struct House {
        idp: StandIn,
        directory: tempfile::TempDir,
    }

    impl House {
        async fn build() -> Self {
            Self { idp: StandIn::start().await, directory: tempfile::tempdir().unwrap() }
        }

        fn keeper(&self, accounts: impl IntoIterator<Item = Account>) -> Arc<Keeper> {
            let pace = Pace { least: Duration::ZERO, ..Pace::default() };
            let key = KeySource::find(self.directory.path(), |_| None);
            let accounts: Vec<_> = accounts.into_iter().map(Arc::new).collect();
            Arc::new(Keeper::with(&accounts, self.directory.path(), key, pace).unwrap())
        }

        fn app_only(&self) -> Arc<Keeper> {
            self.keeper([app_only("erp", &self.idp.url)])
        }

        fn delegated(&self, seed: &str) -> Arc<Keeper> {
            self.keeper([delegated("erp", &self.idp.url, seed)])
        }
    }

    async fn token(keeper: &Keeper) -> String {
        keeper.access_token("erp").await.unwrap().secret.expose().to_owned()
    }

    /// Asks for a renewal that nobody waits for, and waits until it has ended.
    async fn renew_now(keeper: &Keeper) {
        let keeping = keeper.accounts.load()["erp"].keeping.clone();
        let mut changed = keeping.changed.subscribe();
        keeping.ask(&mut keeping.credential());
        changed.changed().await.unwrap();
    }

    #[tokio::test]
    async fn b24_one_sign_in_gives_tokens_for_two_services() {
        let house = House::build().await;
        house.idp.will([
            Reply::token("smtp", Some("second"), 3600),
            Reply::token("graph", Some("third"), 3600),
        ]);
        let graph = crate::config::Graph {
            url: "https://graph.microsoft.com/v1.0".parse().unwrap(),
            scope: "https://graph.microsoft.com/Mail.Send offline_access".to_owned(),
            recipients: Default::default(),
            upload: crate::config::Upload::Off,
            max_size: 1,
            is_me: true,
        };
        let account = Account {
            transport: Transport::Auto(graph),
            ..delegated("erp", &house.idp.url, "first")
        };
        let keeper = house.keeper([account.clone()]);
        assert_eq!(token(&keeper).await, "smtp");
        let by_graph = keeper.access_token_for("erp", Audience::Graph).await.unwrap();
        assert_eq!(by_graph.secret.expose(), "graph");
        assert_eq!(house.idp.field(2, "refresh_token"), "second", "what came back is used by both");
        assert_eq!(house.idp.field(1, "scope"), "https://outlook.office365.com/.default");
        assert!(house.idp.field(2, "scope").contains("Mail.Send"));
        // Each has its own token, and a reload keeps both.
        keeper.replace(&[Arc::new(account)]).unwrap();
        assert_eq!(token(&keeper).await, "smtp");
        let again = keeper.access_token_for("erp", Audience::Graph).await.unwrap();
        assert_eq!((again.secret.expose(), house.idp.count()), ("graph", 2));
        keeper.refuse_for("erp", Audience::Graph, &again);
        assert_eq!(token(&keeper).await, "smtp");
        keeper.access_token_for("erp", Audience::Graph).await.unwrap();
        assert_eq!(house.idp.field(3, "refresh_token"), "third");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn b14_two_hundred_waiters_make_exactly_one_request() {
        let house = House::build().await;
        house.idp.close();
        let keeper = house.app_only();
        let started = Arc::new(tokio::sync::Semaphore::new(0));
        let mut waiters = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (keeper, started) = (Arc::clone(&keeper), Arc::clone(&started));
            waiters.spawn(async move {
                let mut wanted = pin!(keeper.access_token("erp"));
                let first = std::future::poll_fn(|cx| Poll::Ready(wanted.as_mut().poll(cx))).await;
                assert!(first.is_pending());
                started.add_permits(1);
                wanted.await.unwrap()
            });
        }
        let _all = started.acquire_many(200).await.unwrap();
        house.idp.open();
        while let Some(token) = waiters.join_next().await {
            let token = token.unwrap();
            assert_eq!((token.secret.expose(), token.version), ("token-1", 1));
        }
        assert_eq!(token(&keeper).await, "token-1");
        assert_eq!(house.idp.count(), 1);
    }

    #[tokio::test]
    async fn b14_a_waiter_that_goes_away_takes_no_answer_with_it() {
        let house = House::build().await;
        house.idp.close();
        let keeper = house.app_only();
        tokio::select! {
            biased;
            _ = keeper.access_token("erp") => panic!("nothing was answered"),
            () = house.idp.arrived(1) => {}
        }
        house.idp.open();
        assert_eq!(token(&keeper).await, "token-1");
        assert_eq!(house.idp.count(), 1);
    }

    #[tokio::test]
    async fn b14_accounts_of_one_application_share_its_token() {
        let house = House::build().await;
        let url = &house.idp.url;
        let keeper = house.keeper([app_only("erp", url), app_only("crm", url)]);
        let one = keeper.access_token("erp").await.unwrap();
        let other = keeper.access_token("crm").await.unwrap();
        assert_eq!(one.secret, other.secret);
        assert_eq!(house.idp.count(), 1);
    }

    #[tokio::test]
    async fn b11_what_the_endpoint_does_wrong_is_transient_and_asked_once() {
        let big = Reply::json(200, &"x".repeat(1_100_000));
        let gone = Reply::json(400, r#"{"error":"temporarily_unavailable"}"#);
        for (name, reply, words, wait) in [
            ("503", Reply::html(503), "HTML page", 0),
            ("500", Reply::json(500, ""), "an empty body", 0),
            ("429", Reply::json(429, "").with("retry-after", "70"), "429", 69),
            (
                "429 JSON",
                Reply::refused(429, "x", 90055).with("retry-after", "70"),
                "AADSTS90055",
                69,
            ),
            ("HTML 200", Reply::html(200), "not a token answer", 0),
            ("garbage", Reply::json(200, "{\"access_token\":"), "not a token answer", 0),
            ("{}", Reply::json(200, "{}"), "not a token answer", 0),
            ("big", big, "more than 1 MB", 0),
            ("named", gone, "in trouble", 0),
            ("loop", Reply::refused(400, "invalid_grant", 50196), "too many equal requests", 59),
        ] {
            let house = House::build().await;
            house.idp.will([reply]);
            let keeper = house.app_only();
            let error = keeper.access_token("erp").await.unwrap_err();
            assert_eq!(error.class, Class::Transient, "{name}");
            assert!(error.message.contains(words), "{name}: {}", error.message);
            assert!(error.remedy.is_some(), "{name}");
            assert!(error.retry_after.unwrap() >= Duration::from_secs(wait), "{name}");
            let again = keeper.access_token("erp").await;
            // Where the pause is half a second the renewal may have mended it by now.
            if wait > 0 {
                assert!(again.is_err(), "{name}");
                assert_eq!(house.idp.count(), 1, "{name}");
            }
            assert!(!format!("{error:?}{error}").contains("planted"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn b11_a_redirect_is_not_followed() {
        let house = House::build().await;
        let elsewhere = StandIn::start().await;
        house.idp.will(
            [302, 307, 308]
                .map(|status| Reply::json(status, "").with("location", elsewhere.url.as_str())),
        );
        for _ in 0..3 {
            let keeper = house.app_only();
            let error = keeper.access_token("erp").await.unwrap_err();
            assert_eq!(error.class, Class::Transient);
            assert!(error.message.contains("redirect"), "{}", error.message);
        }
        assert_eq!(elsewhere.count(), 0);
    }

    #[tokio::test]
    async fn b11_silence_and_a_closed_door_are_transient() {
        let house = House::build().await;
        house.idp.close();
        let mut slow = app_only("erp", &house.idp.url);
        slow.oauth.timeout = Duration::from_millis(50);
        let error = house.keeper([slow]).access_token("erp").await.unwrap_err();
        assert_eq!(error.class, Class::Transient);
        assert!(error.message.contains("no answer within 0.05 s"), "{}", error.message);

        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/token", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let error = house.keeper([app_only("erp", &url)]).access_token("erp").await.unwrap_err();
        assert_eq!(error.class, Class::Transient);
        assert!(error.message.to_lowercase().contains("refused"), "{}", error.message);
    }

    #[tokio::test]
    async fn b11_the_last_good_token_is_used_while_a_renewal_fails() {
        let house = House::build().await;
        let keeper = house.app_only();
        assert_eq!(token(&keeper).await, "token-1");
        house.idp.will([Reply::refused(401, "invalid_client", 7000222)]);
        renew_now(&keeper).await;
        assert_eq!(house.idp.count(), 2);
        assert_eq!(token(&keeper).await, "token-1");
        let status = keeper.status();
        assert_eq!(status[0].condition, Condition::Active);
        assert_eq!(status[0].failures, 1);
        let error = status[0].last_error.as_ref().unwrap();
        assert_eq!(error.class, Class::Administrator);
        assert!(error.remedy.as_ref().unwrap().contains("> client-id > Certificates & secrets"));
    }

    #[tokio::test]
    async fn a_token_is_renewed_ahead_of_its_end_without_anybody_asking() {
        let house = House::build().await;
        house.idp.will([Reply::token("short", None, 1)]);
        let keeper = house.app_only();
        keeper.start();
        let keeping = keeper.accounts.load()["erp"].keeping.clone();
        let mut changed = keeping.changed.subscribe();
        while keeping.credential().version() < 2 {
            changed.changed().await.unwrap();
        }
        assert_eq!(token(&keeper).await, "token-2");
        assert_eq!(house.idp.count(), 2);
    }

    #[tokio::test]
    async fn b12_invalid_grant_pauses_one_account_and_keeps_the_refresh_token() {
        let house = House::build().await;
        let url = &house.idp.url;
        let keeper = house.delegated("seed");
        house.idp.will([Reply::token("a", Some("rotated"), 3600)]);
        assert_eq!(token(&keeper).await, "a");
        drop(keeper);

        house.idp.will([Reply::refused(400, "invalid_grant", 50173)]);
        let accounts = [delegated("erp", url, "seed"), app_only("crm", url)];
        let keeper = house.keeper(accounts.clone());
        let error = keeper.access_token("erp").await.unwrap_err();
        assert_eq!(error.class, Class::SignIn);
        assert!(error.message.starts_with("invalid_grant AADSTS50173: "), "{}", error.message);
        assert!(error.remedy.unwrap().contains("sign in again as erp@contoso.com"));
        assert!(error.retry_after.unwrap() > Duration::from_secs(290));
        assert!(keeper.access_token("erp").await.is_err());
        assert_eq!(house.idp.count(), 2, "no hammering");
        assert!(keeper.access_token("crm").await.is_ok(), "the other account goes on");
        assert_eq!(keeper.status()[1].condition, Condition::Failed);

        // A reload wakes it, with the refresh token that was there before.
        keeper.replace(&accounts.map(Arc::new)).unwrap();
        assert_eq!(token(&keeper).await, "token-4");
        assert_eq!(house.idp.field(2, "refresh_token"), "rotated");
        assert_eq!(house.idp.field(4, "refresh_token"), "rotated");
    }

    #[tokio::test]
    async fn b13_a_refused_token_is_replaced_by_one_request() {
        let house = House::build().await;
        let keeper = house.app_only();
        let first = keeper.access_token("erp").await.unwrap();
        keeper.refuse("erp", &first);
        keeper.refuse("erp", &first);
        assert_eq!(keeper.status()[0].condition, Condition::Refused);
        let second = keeper.access_token("erp").await.unwrap();
        assert_eq!(second.secret.expose(), "token-2");
        keeper.refuse("erp", &first);
        assert_eq!(token(&keeper).await, "token-2");
        assert_eq!(house.idp.count(), 2);
    }

    #[tokio::test]
    async fn b15_a_rotated_refresh_token_is_on_the_disk_before_its_token_is_used() {
        let house = House::build().await;
        let tokens = house.directory.path().join("tokens");
        let keeper = house.delegated("seed");
        house.idp.will([Reply::token("a", Some("rotated"), 3600)]);
        // The disk takes nothing: rename onto a directory fails.
        std::fs::create_dir(&tokens).unwrap();
        let error = keeper.access_token("erp").await.unwrap_err();
        assert!(error.message.contains("cannot be stored"), "{}", error.message);
        assert_eq!(error.class, Class::Transient);
        // It does again: the one that came back is used, not the spent one.
        std::fs::remove_dir(&tokens).unwrap();
        house.idp.arrived(2).await;
        assert_eq!(token(&keeper).await, "token-2");
        assert_eq!(house.idp.field(1, "refresh_token"), "seed");
        assert_eq!(house.idp.field(2, "refresh_token"), "rotated");
        drop(keeper);
        let keeper = house.delegated("seed");
        assert_eq!(token(&keeper).await, "token-3");
        assert_eq!(house.idp.field(3, "refresh_token"), "rotated");
    }

    #[tokio::test]
    async fn b15_stored_when_the_waiter_gets_its_token_and_kept_when_none_comes_back() {
        let house = House::build().await;
        let keeper = house.delegated("seed");
        house.idp.will([Reply::token("a", Some("rotated"), 3600)]);
        assert_eq!(token(&keeper).await, "a");
        // As after a crash at this very moment: another keeper on what the disk holds now.
        let other = house.delegated("seed");
        assert_eq!(token(&other).await, "token-2");
        assert_eq!(house.idp.field(2, "refresh_token"), "rotated");
        // token-2 came without a refresh token.
        renew_now(&other).await;
        assert_eq!(house.idp.field(3, "refresh_token"), "rotated");
    }

    #[tokio::test]
    async fn b15_a_changed_seed_goes_before_what_was_stored_and_late_answers_do_not_come_back() {
        let house = House::build().await;
        let url = &house.idp.url;
        let keeper = house.delegated("seed");
        house.idp.will([Reply::token("a", Some("rotated"), 3600)]);
        assert_eq!(token(&keeper).await, "a");
        // A renewal is under way while somebody signs in again and reloads.
        house.idp.close();
        house.idp.will([Reply::token("late", Some("late-rotated"), 3600)]);
        let old = keeper.accounts.load()["erp"].keeping.clone();
        old.ask(&mut old.credential());
        house.idp.arrived(2).await;
        keeper.replace(&[Arc::new(delegated("erp", url, "new-seed"))]).unwrap();
        house.idp.will([Reply::token("b", Some("new-rotated"), 3600).at_once()]);
        assert_eq!(token(&keeper).await, "b");
        // Only now the old one's answer comes.
        let mut changed = old.changed.subscribe();
        house.idp.open();
        changed.changed().await.unwrap();
        assert_eq!(house.idp.field(3, "refresh_token"), "new-seed");
        assert_eq!(token(&keeper).await, "b");
        let keeper = house.delegated("new-seed");
        assert_eq!(token(&keeper).await, "token-4");
        assert_eq!(house.idp.field(4, "refresh_token"), "new-rotated");
    }

    #[tokio::test]
    async fn b15_a_late_answer_of_an_older_sign_in_never_replaces_a_newer_one() {
        let house = House::build().await;
        let keeper = house.keeper([signed_in("erp", &house.idp.url)]);
        let waits = keeper.access_token("erp").await.unwrap_err();
        assert_eq!(waits.remedy.as_deref(), Some("submitd login erp"));
        assert_eq!(waits.class, Class::SignIn);
        assert_eq!(house.idp.count(), 0, "there is nothing to ask with");
        keeper.adopt("erp", &Secret::new("first")).unwrap();
        house.idp.will([Reply::token("a", Some("first-rotated"), 3600)]);
        assert_eq!(token(&keeper).await, "a");
        // A renewal is under way while somebody signs in again.
        house.idp.close();
        house.idp.will([Reply::token("late", Some("late-rotated"), 3600)]);
        let old = keeper.accounts.load()["erp"].keeping.clone();
        old.ask(&mut old.credential());
        house.idp.arrived(2).await;
        keeper.adopt("erp", &Secret::new("second")).unwrap();
        house.idp.will([Reply::token("b", Some("second-rotated"), 3600).at_once()]);
        assert_eq!(token(&keeper).await, "b");
        let mut changed = old.changed.subscribe();
        house.idp.open();
        changed.changed().await.unwrap();
        assert_eq!(house.idp.field(3, "refresh_token"), "second");
        assert_eq!(token(&keeper).await, "b");
        // The next start, and a sign-in by another process that a reload finds.
        let next = house.keeper([signed_in("erp", &house.idp.url)]);
        token(&next).await;
        assert_eq!(house.idp.field(4, "refresh_token"), "second-rotated");
        next.adopt("erp", &Secret::new("third")).unwrap();
        keeper.replace(&[Arc::new(signed_in("erp", &house.idp.url))]).unwrap();
        token(&keeper).await;
        assert_eq!(house.idp.field(5, "refresh_token"), "third");
        // Forgotten: what was there is handed out once, and nothing is asked with it.
        assert!(keeper.forget("erp").unwrap().is_some());
        assert!(keeper.forget("erp").unwrap().is_none());
        assert!(keeper.access_token("erp").await.is_err());
        assert_eq!(house.idp.count(), 5);
        let others = house.app_only();
        assert!(matches!(others.adopt("erp", &Secret::new("x")), Err(AdoptError::NoSignIn(_))));
        assert!(matches!(others.adopt("crm", &Secret::new("x")), Err(AdoptError::Unknown(_))));
    }

    #[tokio::test]
    async fn a_reload_keeps_tokens_of_what_is_unchanged_and_asks_anew_for_the_rest() {
        let house = House::build().await;
        let url = &house.idp.url;
        let keeper = house.app_only();
        assert_eq!(token(&keeper).await, "token-1");
        let mut moved = app_only("erp", url);
        moved.upstream.port = 465;
        keeper.replace(&[Arc::new(moved)]).unwrap();
        assert_eq!(token(&keeper).await, "token-1");

        house.idp.close();
        let waiter = tokio::spawn({
            let keeper = Arc::clone(&keeper);
            let first = keeper.access_token("erp").await.unwrap();
            keeper.refuse("erp", &first);
            async move { token(&keeper).await }
        });
        house.idp.arrived(2).await;
        let mut changed = app_only("erp", url);
        changed.grant = Grant::ClientCredentials { application: application(Some("new")) };
        keeper.replace(&[Arc::new(changed)]).unwrap();
        // Whoever waited for the old credential's token gets the new one's.
        house.idp.arrived(3).await;
        house.idp.open();
        assert_eq!(waiter.await.unwrap(), "token-3");
        assert_eq!(house.idp.field(3, "client_secret"), "new");

        keeper.replace(&[]).unwrap();
        let error = keeper.access_token("erp").await.unwrap_err();
        assert_eq!(error.class, Class::Administrator);
        assert!(error.message.contains("no account \"erp\""));
    }

    #[tokio::test]
    async fn an_account_that_sends_nothing_uses_its_refresh_token_all_the_same() {
        let house = House::build().await;
        house.idp.will([1, 2, 3].map(|number| {
            Reply::token(&format!("token-{number}"), Some(&format!("refresh-{number}")), 1)
        }));
        let keeper = house.delegated("seed");
        keeper.start();
        // Nobody asks for a token; a provider forgets a refresh token that is not used for 90 days.
        house.idp.arrived(3).await;
        let used = [1, 2, 3].map(|request| house.idp.field(request, "refresh_token"));
        assert_eq!(used, ["seed", "refresh-1", "refresh-2"]);
        let vault = Vault::open(house.directory.path(), &keeper.key).unwrap();
        let held = vault.held("erp", &Secret::new("seed")).unwrap();
        assert!(held.used.is_some_and(|used| used.elapsed().unwrap().as_secs() < 600));
    }

    #[tokio::test]
    async fn app_only_accounts_leave_nothing_on_the_disk() {
        let house = House::build().await;
        token(&house.app_only()).await;
        assert_eq!(std::fs::read_dir(house.directory.path()).unwrap().count(), 0);
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(octets);
            Ok(octets.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// The runtime of `tokio::test` is this thread: what its tasks log is caught too.
    #[tokio::test]
    async fn nothing_secret_is_logged_at_trace() {
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let _guard = tracing::subscriber::set_default(subscriber);
        let house = House::build().await;
        house.idp.will([
            Reply::token("planted-access", Some("planted-refresh"), 3600),
            Reply::json(400, r#"{"error":"invalid_grant","error_description":"planted-refresh"}"#),
        ]);
        let keeper = house.delegated("planted-seed");
        let first = keeper.access_token("erp").await.unwrap();
        keeper.refuse("erp", &first);
        let error = keeper.access_token("erp").await.unwrap_err();
        let status = format!("{error:?} {:?} {keeper:?} {first:?}", keeper.status());
        tracing::info!("{status}");
        tracing::info!("found-me");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        for words in ["token obtained", "upstream refused", "no new token", "sign-in", "found-me"] {
            assert!(text.contains(words), "{words}: {text}");
        }
        assert!(!text.contains("planted"), "{text}");
    }
}
