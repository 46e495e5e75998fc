//! Passwords: checked off the async threads, few at a time, remembered where they were right.
//!
//! A password that was right once is remembered under a keyed MAC for the life of the process, since
//! old programs log in for every mail and an argon2 check costs tens of milliseconds; a changed hash in
//! the configuration is another entry, so it never helps.

use super::patience::{Patience, Who};
use crate::config::User;
use crate::mail::Pattern;
use crate::secret::Secret;
use argon2::{Argon2, PasswordHash, PasswordHasher, PasswordVerifier};
use ring::hmac;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// A verified password by its MAC.
type Tag = [u8; 32];
/// Remembered passwords at most: one for each user is enough, more would be an attack.
const MOST_REMEMBERED: usize = 10_000;
/// argon2 checks at once: each takes some 20 MB and a whole core for tens of milliseconds.
const TURNS: usize = 2;

/// What is remembered of logins; outlives a reload.
#[derive(Debug)]
pub struct Proofs {
    key: hmac::Key,
    tags: Mutex<HashSet<Tag>>,
    turns: Semaphore,
    patience: Mutex<Patience>,
}

/// A user that proved himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The local name.
    pub name: String,
    /// The accounts granted, the usual one first; empty: as without a login.
    pub accounts: Vec<String>,
    /// Who he may be; empty: anybody.
    pub senders: Vec<Pattern>,
    /// Whom he may write to; empty: anybody.
    pub recipients: Vec<Pattern>,
}

impl LoggedIn {
    /// As the configuration has him.
    pub(super) fn of(user: &User) -> Self {
        Self {
            name: user.name.clone(),
            accounts: user.accounts.clone(),
            senders: user.senders.clone(),
            recipients: user.recipients.clone(),
        }
    }
}

/// Why a login failed. The peer hears only "wrong user or password".
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoginError {
    /// No such user, or the password is wrong.
    #[error("wrong user name or password")]
    Wrong,
    /// The configuration names no user at all.
    #[error("no [[user]] is configured; add one, or let the program send without a login")]
    NoUsers,
    /// The hash could not be checked; the operator must look.
    #[error("the password hash could not be checked; make a new one")]
    Broken,
    /// Too many wrong logins from this address.
    #[error("too many wrong logins from this address, it is turned away for some minutes")]
    Blocked,
}

impl Proofs {
    /// Nothing remembered yet, under a new random key.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn new() -> Result<Arc<Self>, ring::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())?;
        let turns = Semaphore::new(TURNS);
        Ok(Arc::new(Self { key, tags: Mutex::default(), turns, patience: Mutex::default() }))
    }

    /// Runs a check unless the client was wrong too often, and lets a wrong one wait for its answer.
    pub(super) async fn watched(
        &self,
        who: &Who,
        check: impl Future<Output = Result<bool, LoginError>>,
    ) -> Result<(), LoginError> {
        self.admit(who)?;
        let error = match check.await {
            Ok(true) => return Ok(()),
            Ok(false) => LoginError::Wrong,
            Err(error @ (LoginError::Broken | LoginError::Blocked)) => return Err(error),
            Err(error) => error,
        };
        let wait = self.patience().failed(who.clone(), Instant::now().into_std());
        tokio::time::sleep(wait).await;
        Err(error)
    }

    fn admit(&self, who: &Who) -> Result<(), LoginError> {
        let is_over = self.patience().is_over(who, Instant::now().into_std());
        if is_over { Err(LoginError::Blocked) } else { Ok(()) }
    }

    fn patience(&self) -> std::sync::MutexGuard<'_, Patience> {
        self.patience.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the password fits the hash.
    pub(super) async fn check(
        &self,
        who: &Who,
        user: &str,
        password: Secret,
        hash: Secret,
    ) -> Result<bool, LoginError> {
        let tag = self.tag(user, &password, &hash);
        if self.holds(&tag) {
            return Ok(true);
        }
        let good = self.verify(who, password, hash).await?;
        if good {
            self.keep(tag);
        }
        Ok(good)
    }

    /// Takes as long as a check and says nothing.
    pub(super) async fn pretend(
        &self,
        who: &Who,
        password: Secret,
        hash: Secret,
    ) -> Result<(), LoginError> {
        self.verify(who, password, hash).await.map(drop)
    }

    async fn verify(&self, who: &Who, password: Secret, hash: Secret) -> Result<bool, LoginError> {
        let _turn = self.turns.acquire().await.map_err(|_| LoginError::Broken)?;
        // Those who guess over many connections at once all wait here.
        self.admit(who)?;
        tokio::task::spawn_blocking(move || verify(&password, &hash))
            .await
            .map_err(|_| LoginError::Broken)?
    }

    fn tag(&self, user: &str, password: &Secret, hash: &Secret) -> Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for part in [user, password.expose(), hash.expose()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut tag = Tag::default();
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    fn holds(&self, tag: &Tag) -> bool {
        self.tags.lock().unwrap_or_else(PoisonError::into_inner).contains(tag)
    }

    fn keep(&self, tag: Tag) {
        let mut tags = self.tags.lock().unwrap_or_else(PoisonError::into_inner);
        if tags.len() >= MOST_REMEMBERED {
            tags.clear();
        }
        tags.insert(tag);
    }
}

/// A password could not be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the password could not be hashed: no memory or no randomness")]
pub struct HashError;

/// The argon2id hash of a password in PHC form, with the cost OWASP recommends (19 MiB, 2 passes).
///
/// # Errors
/// [`HashError`].
pub fn hash(password: &Secret) -> Result<String, HashError> {
    let hash = Argon2::default().hash_password(password.expose().as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|_| HashError)
}

fn verify(password: &Secret, hash: &Secret) -> Result<bool, LoginError> {
    let hash = PasswordHash::new(hash.expose()).map_err(|_| LoginError::Broken)?;
    Ok(Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use argon2::Params;

    /// A cheap hash, for tests.
    pub fn hash(password: &str) -> String {
        let params = Params::new(8, 1, 1, None).expect("parameters");
        let hash =
            Argon2::from(params).hash_password_with_salt(password.as_bytes(), b"somesaltsome");
        hash.expect("hash").to_string()
    }

    impl Proofs {
        /// Holds every turn, so that a check must wait.
        pub(in crate::accounts) async fn all_turns(&self) -> tokio::sync::SemaphorePermit<'_> {
            self.turns.acquire_many(TURNS as u32).await.expect("open")
        }
    }

    #[test]
    fn a_hash_fits_its_password_and_is_never_the_same_twice() {
        let one = super::hash(&Secret::new("right")).expect("hash");
        assert!(one.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{one}");
        assert_ne!(super::hash(&Secret::new("right")).expect("hash"), one);
        let one = Secret::new(one);
        assert_eq!(verify(&Secret::new("right"), &one), Ok(true));
        assert_eq!(verify(&Secret::new("wrong"), &one), Ok(false));
    }

    #[tokio::test]
    async fn a_changed_hash_forgets_the_old_password() {
        let proofs = Proofs::new().expect("randomness");
        let (old, new) = (Secret::new(hash("old")), Secret::new(hash("new")));
        let who = Who::of(None, "u");
        let check = |password: &str, hash: &Secret| {
            proofs.check(&who, "u", Secret::new(password), hash.clone())
        };
        assert_eq!(check("old", &old).await, Ok(true));
        assert_eq!(check("old", &new).await, Ok(false));
        assert_eq!(check("new", &new).await, Ok(true));
        assert_eq!(check("x", &Secret::new("$argon2id$")).await, Err(LoginError::Broken));
    }
}
