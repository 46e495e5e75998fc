//! Who may submit, as whom, and through which account.
//!
//! `login` says who a client is, `ladder` which account it gets, `permit` what one mail may say and what
//! is rewritten in it. It promises that a refusal tells the peer nothing it did not know, and that an
//! account kept for some users or networks is not given to others.

mod inspection;
mod ladder;
mod login;
mod patience;
mod permit;
mod preflight;

pub use inspection::Inspection;
pub use login::{HashError, LoggedIn, LoginError, Proofs, hash};
pub use permit::{Forbidden, Permit};
pub use preflight::{Losses, Unsendable};

use crate::config::{Account, Auth, Config, Listener, Password, User};
use crate::mail::{Address, Local, pattern};
use crate::secret::Secret;
use ladder::Asker;
use patience::Who;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The users and accounts of one configuration.
#[derive(Debug)]
pub struct Accounts {
    users: HashMap<String, User>,
    accounts: Vec<Arc<Account>>,
    /// Accounts that some user names: nobody else gets them by a mere sender address.
    reserved: HashSet<String>,
    local: Arc<Local>,
    /// Checked in place of the hash a user has not, so that it takes as long.
    stand_in: Option<Secret>,
    proofs: Arc<Proofs>,
    /// Accounts of which it was told that Exchange may replace the name in From.
    told: Mutex<HashSet<String>>,
}

impl Accounts {
    /// The users and accounts of `config`; `proofs` is kept over reloads.
    pub fn new(config: &Config, proofs: Arc<Proofs>) -> Self {
        let hash = |user: &User| match &user.password {
            Password::Hash(hash) => Some(hash.clone()),
            Password::Clear(_) => None,
        };
        Self {
            users: config.users.iter().map(|user| (user.name.clone(), user.clone())).collect(),
            accounts: config.accounts.clone(),
            reserved: config.users.iter().flat_map(|user| user.accounts.clone()).collect(),
            local: config.local.clone(),
            stand_in: config.users.iter().find_map(hash),
            proofs,
            told: Mutex::default(),
        }
    }

    /// Whether it was not yet told of this account that the name in From may be lost; afterwards it was. A reload
    /// may have changed what holds, and is told anew.
    pub fn is_news(&self, account: &str) -> bool {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(account.to_owned())
    }

    /// Checks a login at `listener`. None: it is taken and means nothing (`accept_any`).
    ///
    /// A wrong one is answered late, the later the more there were.
    ///
    /// # Errors
    /// [`LoginError`]; unknown user and wrong password take the same path.
    pub async fn login(
        &self,
        listener: &Listener,
        peer: Option<IpAddr>,
        user: &str,
        password: Secret,
    ) -> Result<Option<LoggedIn>, LoginError> {
        if listener.auth == Auth::AcceptAny {
            return Ok(self.named(user));
        }
        let who = Who::of(peer, user);
        self.proofs.watched(&who, self.check(&who, user, password)).await?;
        let found = self.users.get(user);
        Ok(found.map(LoggedIn::of))
    }

    async fn check(&self, who: &Who, user: &str, password: Secret) -> Result<bool, LoginError> {
        if self.users.is_empty() {
            return Err(LoginError::NoUsers);
        }
        match self.users.get(user).map(|user| &user.password) {
            Some(Password::Hash(hash)) => {
                self.proofs.check(who, user, password, hash.clone()).await
            }
            Some(Password::Clear(clear)) if clear.matches(password.expose()) => Ok(true),
            Some(Password::Clear(_)) | None => {
                if let Some(hash) = self.stand_in.clone() {
                    self.proofs.pretend(who, password, hash).await?;
                }
                Ok(false)
            }
        }
    }

    /// Whom a name means where every password is good: a user, or an account by name or mailbox.
    fn named(&self, name: &str) -> Option<LoggedIn> {
        if let Some(user) = self.users.get(name) {
            return Some(LoggedIn::of(user));
        }
        let account = self.accounts.iter().find(|account| {
            account.name.eq_ignore_ascii_case(name)
                || Address::parse(name).is_ok_and(|name| name.is_same_mailbox(&account.mailbox))
        })?;
        Some(LoggedIn {
            name: name.to_owned(),
            accounts: vec![account.name.clone()],
            senders: Vec::new(),
            recipients: Vec::new(),
        })
    }

    /// What a mail from `sender` may do: the account it goes through and the bounds of its client.
    ///
    /// # Errors
    /// [`Forbidden`] where no account fits, or the user may not be this sender.
    pub fn permit(
        &self,
        listener: &Listener,
        user: Option<&LoggedIn>,
        peer: Option<IpAddr>,
        sender: Option<&Address>,
    ) -> Result<Permit, Forbidden> {
        let senders = user.map_or(&[][..], |user| &user.senders);
        let is_bound =
            |sender: &Address| !senders.is_empty() && pattern::closest(senders, sender).is_none();
        if sender.is_some_and(is_bound) {
            return Err(Forbidden::Sender);
        }
        let asker = Asker {
            granted: user.map_or(&[], |user| &user.accounts),
            peer,
            sender,
            default: listener.account.as_deref(),
            reserved: &self.reserved,
        };
        let account = ladder::choose(&self.accounts, &asker).ok_or(Forbidden::NoAccount)?;
        let users = user.map_or(&[][..], |user| &user.recipients);
        Ok(Permit {
            account: account.clone(),
            senders: senders.to_vec(),
            recipients: [listener.recipients.clone(), users.to_vec()],
            local: self.local.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two accounts, a user of each kind; `hash` is the hash of "right".
    fn accounts(listener: &str) -> (Accounts, Listener) {
        let hash = login::tests::hash("right");
        let account = |name: &str| {
            format!(
                "[[account]]\nname = {name:?}\nmailbox = \"{name}@contoso.com\"\n\
                 grant = \"client_credentials\"\ntenant = \"contoso.com\"\n\
                 client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\nclient_secret = \"x\"\n"
            )
        };
        let text = format!(
            "[[listener]]\naddress = \"localhost:2525\"\n{listener}\n{}{}\
             [[user]]\nname = \"clear\"\npassword = \"right\"\naccount = \"hr\"\n\
             senders = [\"@print.contoso.com\"]\n\
             [[user]]\nname = \"hashed\"\npassword_hash = {hash:?}\n",
            account("erp"),
            account("hr"),
        );
        let config = Config::from_text("submitd.toml", &text, &[]).expect("a sound configuration");
        let proofs = Proofs::new().expect("randomness");
        (Accounts::new(&config, proofs), config.listeners[0].clone())
    }

    const LOOPBACK: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::LOCALHOST));
    const AWAY: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(10, 1, 2, 3)));

    async fn login(
        (accounts, listener): &(Accounts, Listener),
        peer: Option<IpAddr>,
        user: &str,
        password: &str,
    ) -> Result<Option<String>, LoginError> {
        let found = accounts.login(listener, peer, user, Secret::new(password)).await?;
        Ok(found.map(|found| found.name))
    }

    #[tokio::test(start_paused = true)]
    async fn a13_only_the_right_password_is_good() {
        let all = accounts("");
        for (user, password, expected) in [
            ("clear", "right", Ok(Some("clear".to_owned()))),
            ("hashed", "right", Ok(Some("hashed".to_owned()))),
            ("clear", "wrong", Err(LoginError::Wrong)),
            ("hashed", "wrong", Err(LoginError::Wrong)),
            ("nobody", "right", Err(LoginError::Wrong)),
            ("erp", "right", Err(LoginError::Wrong)),
            ("", "", Err(LoginError::Wrong)),
        ] {
            assert_eq!(login(&all, LOOPBACK, user, password).await, expected, "{user} {password}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a13_wrong_logins_wait_longer_each_time_and_then_the_address_is_turned_away() {
        let all = accounts("");
        let mut waits = Vec::new();
        for _ in 0..10 {
            let before = tokio::time::Instant::now();
            assert_eq!(login(&all, AWAY, "nobody", "wrong").await, Err(LoginError::Wrong));
            waits.push(before.elapsed().as_millis());
        }
        // The paused clock moves by our own waits only.
        assert_eq!(waits[..6], [250, 500, 1_000, 2_000, 4_000, 5_000]);
        assert_eq!(login(&all, AWAY, "clear", "right").await, Err(LoginError::Blocked));
        let other = Some(IpAddr::from([10, 1, 2, 4]));
        assert_eq!(login(&all, other, "clear", "right").await, Ok(Some("clear".to_owned())));
        tokio::time::advance(std::time::Duration::from_secs(600)).await;
        assert_eq!(login(&all, AWAY, "clear", "right").await, Ok(Some("clear".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a13_on_loopback_failures_count_per_user_and_block_nobody() {
        let all = accounts("");
        for _ in 0..20 {
            assert_eq!(login(&all, LOOPBACK, "clear", "wrong").await, Err(LoginError::Wrong));
        }
        let before = tokio::time::Instant::now();
        assert_eq!(login(&all, LOOPBACK, "hashed", "wrong").await, Err(LoginError::Wrong));
        assert_eq!(before.elapsed().as_millis(), 250);
        assert_eq!(login(&all, LOOPBACK, "clear", "right").await, Ok(Some("clear".to_owned())));
    }

    #[tokio::test(start_paused = true)]
    async fn a13_guessing_over_many_connections_at_once_gains_nothing() {
        let all = Arc::new(accounts(""));
        let mut attempts = tokio::task::JoinSet::new();
        let turns = all.0.proofs.all_turns().await;
        for _ in 0..50 {
            let all = all.clone();
            attempts.spawn(async move { login(&all, AWAY, "hashed", "wrong").await });
        }
        tokio::task::yield_now().await;
        drop(turns);
        let found = attempts.join_all().await;
        let wrong = found.iter().filter(|one| **one == Err(LoginError::Wrong)).count();
        let blocked = found.iter().filter(|one| **one == Err(LoginError::Blocked)).count();
        assert_eq!(wrong + blocked, 50);
        assert!((10..=12).contains(&wrong), "{wrong}");
    }

    /// Every failure takes an argon2 turn, whoever is named; turns are few.
    #[tokio::test(start_paused = true)]
    async fn a13_unknown_users_take_as_long_as_known_ones() {
        let all = accounts("");
        for (user, password, waits) in [
            ("hashed", "wrong", true),
            ("nobody", "wrong", true),
            ("clear", "wrong", true),
            ("clear", "right", false),
        ] {
            let turns = all.0.proofs.all_turns().await;
            let attempt = login(&all, LOOPBACK, user, password);
            let soon = tokio::time::timeout(std::time::Duration::from_secs(60), attempt).await;
            assert_eq!(soon.is_err(), waits, "{user} {password}");
            drop(turns);
        }
        // A password that was right once needs no turn again.
        assert!(login(&all, LOOPBACK, "hashed", "right").await.is_ok());
        let _turns = all.0.proofs.all_turns().await;
        assert!(login(&all, LOOPBACK, "hashed", "right").await.is_ok());
    }

    #[tokio::test]
    async fn accept_any_takes_every_password_and_a_known_name_chooses() {
        let all = accounts("auth = \"accept_any\"");
        for (name, account) in [
            ("clear", Some("hr@contoso.com")),
            ("ERP", Some("erp@contoso.com")),
            ("hr@Contoso.com", Some("hr@contoso.com")),
            ("whoever", None),
        ] {
            let (accounts, listener) = &all;
            let user = accounts.login(listener, LOOPBACK, name, Secret::new("any")).await;
            let user = user.expect("accepted");
            let permit = accounts.permit(listener, user.as_ref(), LOOPBACK, None);
            let mailbox = permit.ok().map(|permit| permit.account.mailbox.to_string());
            assert_eq!(mailbox.as_deref(), account, "{name}");
        }
    }

    #[tokio::test]
    async fn a23_a_user_is_bound_to_his_senders() {
        let (accounts, listener) = accounts("");
        let user = accounts.login(&listener, LOOPBACK, "clear", Secret::new("right")).await;
        let user = user.expect("right");
        for (sender, expected) in [
            (Some("scanner@print.contoso.com"), None),
            (None, None),
            (Some("hr@contoso.com"), Some(Forbidden::Sender)),
            (Some("x@evil.print.contoso.com"), Some(Forbidden::Sender)),
            (Some("scanner"), Some(Forbidden::Sender)),
        ] {
            let sender = sender.map(|text| Address::parse(text).expect(text));
            let permit = accounts.permit(&listener, user.as_ref(), LOOPBACK, sender.as_ref());
            assert_eq!(permit.err(), expected, "{sender:?}");
        }
    }
}
