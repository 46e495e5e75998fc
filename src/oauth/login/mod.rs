//! The ways in that need a person: a browser that comes back, an address that is pasted, a code to type in.
//!
//! `attempt`, `identity`, `device` and `page` are pure; `doors` is where a browser comes back, `asking` what
//! the provider is asked. It promises that a sign-in which fails changes nothing, that what one brings is
//! kept before anybody is told that it went well, and that the wrong person's sign-in is refused. It must
//! not decide where the token is kept: whoever begins a sign-in says so.

mod asking;
mod attempt;
mod awaited;
mod device;
mod doors;
mod identity;
mod page;

pub use asking::DeviceCode;
pub use doors::{is_loopback, with_port};
pub use identity::{IdToken, Identity};

use super::provider::Provider;
use super::request;
use super::response::{Fault, Granted};
use crate::config::{Account, SignIn};
use crate::diagnosis::Class;
use crate::secret::Secret;
use attempt::{Attempt, Heard};
use device::{Answer, Rhythm};
use doors::{Caller, Doors};
use ring::rand::{SecureRandom, SystemRandom};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

/// What a sign-in brought, verified as far as it can be.
#[derive(Clone, Debug)]
pub struct Signed {
    /// What gives access from now on.
    pub refresh: Secret,
    /// Who it was and what it allows, as the tokens say.
    pub identity: Identity,
}

/// Why a sign-in came to nothing. What was stored before stands.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The provider said no, or could not be reached.
    #[error("{0}")]
    Provider(Fault),
    /// The person said no.
    #[error("the sign-in was declined")]
    Declined,
    /// The code to type in has expired.
    #[error("the code was not entered in time")]
    Expired,
    /// Nobody came back.
    #[error("nobody came back from the browser in time")]
    Timeout,
    /// Somebody else signed in.
    #[error("{found} signed in, and not {wanted}")]
    WrongUser {
        /// Who did.
        found: String,
        /// Who was to.
        wanted: String,
    },
    /// Without one the access ends within the hour.
    #[error("the provider gave no refresh token")]
    NoRefreshToken,
    /// This account knows no such way.
    #[error("account {account:?} has no {key}, so this way is closed")]
    NoWay {
        /// The account.
        account: String,
        /// The key that would open it.
        key: &'static str,
    },
    /// The port of the redirect URI.
    #[error("the address the browser comes back to cannot be listened on: {0}")]
    Listen(std::io::Error),
    /// What came could not be kept.
    #[error("the sign-in went well but could not be kept: {0}")]
    Keep(String),
    /// No randomness.
    #[error("the system gives no random numbers")]
    Random,
}

impl LoginError {
    /// Whether something is to be set up at the provider before anybody can sign in.
    pub fn is_administrators(&self) -> bool {
        matches!(self, Self::Provider(fault) if fault.class() == Class::Administrator)
    }

    /// The next step, filled in for the account.
    pub fn remedy(&self, account: &Account) -> Option<String> {
        let text = match self {
            Self::Provider(fault) => fault.remedy()?,
            Self::Declined => {
                "sign in again and accept what application {client_id} asks for: {sign_in}"
            }
            Self::Expired => "begin again: {sign_in}",
            Self::Timeout => TIMEOUT,
            Self::WrongUser { .. } => WRONG_USER,
            Self::NoRefreshToken => NO_REFRESH_TOKEN,
            Self::NoWay { key: "device_url", .. } => {
                "write device_url into [account.oauth] of account \"{account}\", or: {sign_in} --browser"
            }
            Self::NoWay { .. } => {
                "write authorize_url into [account.oauth] of account \"{account}\""
            }
            Self::Listen(_) => {
                "end what uses the port, leave the port out of `redirect_uri`, or: {sign_in} --paste"
            }
            Self::Keep(_) | Self::Random => return None,
        };
        Some(request::remedy(text, account))
    }
}

const TIMEOUT: &str = "where the browser showed an error: AADSTS50011 means that the redirect URI is not \
    registered: Entra admin center > App registrations > {client_id} > Authentication > add `redirect_uri` \
    of account \"{account}\" exactly as it stands there; AADSTS700016 and AADSTS90002 that `client_id` or \
    `tenant` is wrong. Where it ended at a page that does not load, paste that page's address: {sign_in} \
    --paste";
const WRONG_USER: &str = "sign in as the right person (a private window of the browser forgets who was \
    signed in): {sign_in}. Where {mailbox} is a shared mailbox, or its sign-in name is not its address, write \
    username = \"…\" into account \"{account}\": the one who signs in, and who may send as {mailbox}";
const NO_REFRESH_TOKEN: &str = "let `scope` in [account.oauth] of account \"{account}\" hold \
    offline_access, or where the provider has no such scope, let `authorize_url` ask for it (Google: \
    ?access_type=offline&prompt=consent)";

/// A sign-in under way: whose, and with whom.
#[derive(Clone, Debug)]
pub struct Login {
    account: Arc<Account>,
    provider: Arc<Provider>,
}

impl Login {
    /// For this account; none where nobody signs in for it.
    pub fn new(account: &Arc<Account>) -> Option<Self> {
        asking::of(account)?;
        Some(Self { account: Arc::clone(account), provider: Arc::default() })
    }

    /// What the configuration says of the sign-in.
    pub fn sign_in(&self) -> Option<&SignIn> {
        asking::of(&self.account)
    }

    /// In a browser. With `doors` the browser comes back to us; what is pasted counts in any case. `show`
    /// hears the address and what does not fit, `keep` stores what came.
    ///
    /// # Errors
    /// [`LoginError`]; nothing was kept then.
    pub async fn by_browser(
        &self,
        is_awaited: bool,
        patience: Duration,
        mut pasted: mpsc::Receiver<String>,
        mut show: impl FnMut(Shown<'_>),
        keep: impl AsyncFnOnce(Signed) -> Result<String, String>,
    ) -> Result<String, LoginError> {
        let redirect = self.sign_in().map_or("", |sign_in| sign_in.redirect_uri.as_str());
        let mut doors = match is_awaited {
            true => Some(Doors::open(redirect).await.map_err(LoginError::Listen)?),
            false => None,
        };
        let redirect = match &doors {
            Some(doors) => doors.redirect.clone(),
            // Whatever listens on the usual port of the person's machine shall not get the code.
            None if is_loopback(redirect) => with_port(redirect, unlikely_port()?),
            None => redirect.to_owned(),
        };
        let attempt = self.attempt(redirect)?;
        show(Shown::Address(attempt.url()));
        let ends = Instant::now() + patience;
        let heard = hear(&attempt, doors.as_mut(), &mut pasted, ends, &mut show).await;
        let (heard, caller) = heard?;
        let ended = match heard {
            Heard::Refused(fault) => Err(LoginError::Provider(fault)),
            Heard::Code(code) => self.finish(&attempt, &code, keep).await,
        };
        if let Some(caller) = caller {
            self.say_goodbye(caller, &ended);
        }
        if let Some(doors) = doors {
            doors.close().await;
        }
        ended
    }

    /// By a code that the person types in, anywhere.
    ///
    /// # Errors
    /// [`LoginError`]; nothing was kept then.
    pub async fn by_device(
        &self,
        mut show: impl FnMut(Shown<'_>),
        keep: impl AsyncFnOnce(Signed) -> Result<String, String>,
    ) -> Result<String, LoginError> {
        let no_way = || LoginError::NoWay { account: self.account.name.clone(), key: "device_url" };
        let device = self.provider.device_code(&self.account).await.ok_or_else(no_way)?;
        let device = device.map_err(LoginError::Provider)?;
        show(Shown::Device(&device));
        let ends = Instant::now() + device.life;
        let mut rhythm = Rhythm::new(device.interval);
        loop {
            tokio::time::sleep(rhythm.pause()).await;
            if Instant::now() >= ends {
                return Err(LoginError::Expired);
            }
            match self.provider.poll(&self.account, &device).await {
                Ok(granted) => return self.take(&granted, keep).await,
                Err(fault) => match rhythm.hear(fault) {
                    Answer::Wait => {}
                    Answer::Declined => return Err(LoginError::Declined),
                    Answer::Expired => return Err(LoginError::Expired),
                    Answer::Failed(fault) => return Err(LoginError::Provider(fault)),
                },
            }
        }
    }

    fn attempt(&self, redirect: String) -> Result<Attempt, LoginError> {
        let mut chance = [0; 64];
        SystemRandom::new().fill(&mut chance).map_err(|_| LoginError::Random)?;
        let (oauth, scope) = (&self.account.oauth, request::consented(&self.account));
        let attempt = self
            .sign_in()
            .and_then(|sign_in| Attempt::new(oauth, sign_in, &scope, redirect, &chance));
        attempt.ok_or_else(|| LoginError::NoWay {
            account: self.account.name.clone(),
            key: "authorize_url",
        })
    }

    async fn finish(
        &self,
        attempt: &Attempt,
        code: &Secret,
        keep: impl AsyncFnOnce(Signed) -> Result<String, String>,
    ) -> Result<String, LoginError> {
        let granted = self.provider.redeem(&self.account, attempt, code).await;
        self.take(&granted.map_err(LoginError::Provider)?, keep).await
    }

    /// Verifies what came and has it kept; what the keeper says is handed on.
    async fn take(
        &self,
        granted: &Granted,
        keep: impl AsyncFnOnce(Signed) -> Result<String, String>,
    ) -> Result<String, LoginError> {
        let access = granted.access().ok_or_else(|| {
            LoginError::Provider(Fault::Unclear {
                status: 200,
                what: "a token that is empty or contains what no token may".to_owned(),
                retry_after: None,
            })
        })?;
        let identity =
            Identity::read(granted.id_token.as_ref().map(IdToken::as_str), access.expose());
        let wanted = self.sign_in().map_or("", |sign_in| sign_in.username.as_str());
        if !identity.may_be(wanted) {
            let found = identity.names.first().cloned().unwrap_or_default();
            return Err(LoginError::WrongUser { found, wanted: wanted.to_owned() });
        }
        let refresh = granted.refresh().ok_or(LoginError::NoRefreshToken)?;
        keep(Signed { refresh, identity }).await.map_err(LoginError::Keep)
    }

    fn say_goodbye(&self, caller: Caller, ended: &Result<String, LoginError>) {
        match ended {
            Ok(_) => {
                let text = format!(
                    "submitd can send as {} now. You may close this page.",
                    self.account.mailbox
                );
                caller.answer(200, "You are signed in", &text);
            }
            Err(error) => {
                let remedy = error.remedy(&self.account).unwrap_or_default();
                caller.answer(400, "It did not work", &format!("{error}. {remedy}"));
            }
        }
    }
}

/// What the person is shown while a sign-in is under way.
#[derive(Debug)]
pub enum Shown<'a> {
    /// Where the browser is to go.
    Address(&'a url::Url),
    /// The code to type in, and where.
    Device(&'a DeviceCode),
    /// An answer that does not belong to this sign-in; it goes on waiting.
    Unfit(String),
}

/// The first answer that belongs to this attempt, and the browser that brought it.
async fn hear(
    attempt: &Attempt,
    mut doors: Option<&mut Doors>,
    pasted: &mut mpsc::Receiver<String>,
    ends: Instant,
    show: &mut impl FnMut(Shown<'_>),
) -> Result<(Heard, Option<Caller>), LoginError> {
    let mut may_paste = true;
    loop {
        let next = async {
            match &mut doors {
                Some(doors) => doors.next().await,
                None => std::future::pending().await,
            }
        };
        let came = timeout_at(ends, async {
            tokio::select! {
                caller = next => Some((None, caller)),
                text = pasted.recv(), if may_paste => text.map(|text| (Some(text), None)),
            }
        });
        match came.await.map_err(|_| LoginError::Timeout)? {
            // Nobody can paste any more; the browser still may come.
            None if doors.is_some() => may_paste = false,
            None => return Err(LoginError::Timeout),
            Some((Some(text), _)) => match attempt.read_pasted(&text) {
                Ok(heard) => return Ok((heard, None)),
                Err(unfit) => show(Shown::Unfit(unfit.to_string())),
            },
            Some((None, Some(caller))) => match attempt.hear(&caller.query) {
                Ok(heard) => return Ok((heard, Some(caller))),
                Err(unfit) => {
                    show(Shown::Unfit(unfit.to_string()));
                    let text = format!("This was refused: {unfit}. Nothing was changed.");
                    caller.answer(400, "Not the right answer", &text);
                }
            },
            Some((None, None)) => return Err(LoginError::Timeout),
        }
    }
}

/// Among those that are given out by chance (RFC 6335 §6).
fn unlikely_port() -> Result<u16, LoginError> {
    let mut octets = [0; 2];
    SystemRandom::new().fill(&mut octets).map_err(|_| LoginError::Random)?;
    Ok(49_152 + u16::from_be_bytes(octets) % 16_384)
}
