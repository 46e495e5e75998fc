//! Who may submit, and through which account.
//!
//! Passwords are verified off the async threads. A password that was right once is remembered under a
//! keyed MAC for the life of the process, since old programs log in for every mail and an argon2 check
//! costs tens of milliseconds; a changed hash in the configuration is another entry, so it never helps.

use crate::config::{Account, Config, Listener, Password, User};
use crate::mail::Address;
use crate::secret::Secret;
use argon2::{Argon2, PasswordHash, PasswordVerifier};
use ring::hmac;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// A verified password by its MAC.
type Tag = [u8; 32];
/// Remembered passwords at most: one for each user is enough, more would be an attack.
const MOST_REMEMBERED: usize = 10_000;

/// The users and accounts of one configuration.
#[derive(Debug)]
pub struct Accounts {
    users: HashMap<String, User>,
    accounts: Vec<Arc<Account>>,
    proofs: Arc<Proofs>,
}

/// Passwords that were right; outlives a reload.
#[derive(Debug)]
pub struct Proofs {
    key: hmac::Key,
    tags: Mutex<HashSet<Tag>>,
}

/// A user that proved himself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedIn {
    /// The local name.
    pub name: String,
    /// The account the configuration gives this user.
    pub account: Option<String>,
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
}

/// No account fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("several accounts and none is named; set `account` in [[listener]] or [[user]]")]
pub struct NoAccount;

impl Proofs {
    /// Nothing remembered yet, under a new random key.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    pub fn new() -> Result<Arc<Self>, ring::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &ring::rand::SystemRandom::new())?;
        Ok(Arc::new(Self { key, tags: Mutex::default() }))
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

impl Accounts {
    /// The users and accounts of `config`; `proofs` is kept over reloads.
    pub fn new(config: &Config, proofs: Arc<Proofs>) -> Self {
        let users = config.users.iter().map(|user| (user.name.clone(), user.clone())).collect();
        Self { users, accounts: config.accounts.clone(), proofs }
    }

    /// Checks a local login.
    ///
    /// # Errors
    /// [`LoginError`]; unknown user and wrong password take the same path.
    pub async fn login(&self, user: &str, password: Secret) -> Result<LoggedIn, LoginError> {
        if self.users.is_empty() {
            return Err(LoginError::NoUsers);
        }
        let found = self.users.get(user);
        let good = match found.map(|user| &user.password) {
            Some(Password::Clear(clear)) => clear.matches(password.expose()),
            Some(Password::Hash(hash)) => self.check_hash(user, password, hash.clone()).await?,
            None => false,
        };
        match found {
            Some(user) if good => {
                Ok(LoggedIn { name: user.name.clone(), account: user.account.clone() })
            }
            _ => Err(LoginError::Wrong),
        }
    }

    async fn check_hash(
        &self,
        user: &str,
        password: Secret,
        hash: Secret,
    ) -> Result<bool, LoginError> {
        let tag = self.proofs.tag(user, &password, &hash);
        if self.proofs.holds(&tag) {
            return Ok(true);
        }
        let good = tokio::task::spawn_blocking(move || verify(&password, &hash))
            .await
            .map_err(|_| LoginError::Broken)??;
        if good {
            self.proofs.keep(tag);
        }
        Ok(good)
    }

    /// The account a mail goes through: the user's, else the listener's, else the one whose mailbox is
    /// the sender, else the only one there is.
    ///
    /// # Errors
    /// [`NoAccount`] where none of these says which.
    pub fn choose(
        &self,
        listener: &Listener,
        user: Option<&LoggedIn>,
        sender: Option<&Address>,
    ) -> Result<&Arc<Account>, NoAccount> {
        let named = user.and_then(|user| user.account.as_ref()).or(listener.account.as_ref());
        if let Some(name) = named {
            return self.accounts.iter().find(|account| account.name == *name).ok_or(NoAccount);
        }
        if let [only] = self.accounts.as_slice() {
            return Ok(only);
        }
        let sender = sender.ok_or(NoAccount)?;
        self.accounts
            .iter()
            .find(|account| account.mailbox.is_same_mailbox(sender))
            .ok_or(NoAccount)
    }
}

fn verify(password: &Secret, hash: &Secret) -> Result<bool, LoginError> {
    let hash = PasswordHash::new(hash.expose()).map_err(|_| LoginError::Broken)?;
    Ok(Argon2::default().verify_password(password.expose().as_bytes(), &hash).is_ok())
}
