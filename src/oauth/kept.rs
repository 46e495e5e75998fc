//! What the keeper holds of one account: its credential, and whether another configuration means the same.

use super::renewal::Keeping;
use super::token::Pace;
use super::vault::Vault;
use super::{TokenError, request};
use crate::config::{Account, Audience, Grant};
use crate::diagnosis::Class;
use std::sync::Arc;

/// Exchange's endpoints for high-volume mail; they refuse tokens with less than ten minutes to live.
const HIGH_VOLUME: [&str; 2] = ["smtp.hve.mx.microsoft", "smtp-hve.office365.com"];

/// One account and the credential it uses.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub account: Arc<Account>,
    pub keeping: Arc<Keeping>,
    /// With transport = "auto": the token for Graph, by the same sign-in. Asked for when it is needed.
    pub detour: Option<Arc<Keeping>>,
}

impl Kept {
    /// All its credentials.
    pub fn keepings(&self) -> impl Iterator<Item = &Arc<Keeping>> {
        std::iter::once(&self.keeping).chain(&self.detour)
    }

    /// That for one service.
    pub fn keeping_for(&self, audience: Audience) -> &Arc<Keeping> {
        let detour = self.detour.as_ref();
        detour.filter(|_| audience != self.account.transport.audience()).unwrap_or(&self.keeping)
    }

    /// The credential for Graph, where `asker` would have the same beside this one.
    pub fn detour_of(&self, asker: &Account, beside: &Keeping) -> Option<Arc<Keeping>> {
        let detour = self.detour.as_ref()?;
        let refresh = match (&detour.refresh, &beside.refresh) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        (refresh && same_credential(&detour.account, asker)).then(|| Arc::clone(detour))
    }
}

/// When the tokens of this account are renewed.
pub(super) fn pace_of(usual: Pace, account: &Account) -> Pace {
    Pace {
        strict: is_high_volume(account) || usual.strict,
        once: matches!(account.grant, Grant::Password { .. }),
        ..usual
    }
}

pub(super) fn unknown(account: &str) -> TokenError {
    TokenError {
        class: Class::Administrator,
        message: format!("there is no account {account:?}"),
        remedy: Some(format!("add [[account]] name = {account:?} to the configuration")),
        retry_after: None,
    }
}

/// Whether they may share a token.
pub(super) fn same_credential(one: &Account, other: &Account) -> bool {
    // A refresh token belongs to the account in whose name it is stored.
    let shared = request::seed(one).is_none() || one.name == other.name;
    shared
        && one.grant == other.grant
        && one.oauth == other.oauth
        && is_high_volume(one) == is_high_volume(other)
}

/// Whether there is no token to be had: a smart host.
pub(super) fn is_tokenless(account: &Account) -> bool {
    account.grant == Grant::Tokenless
}

/// Whether nobody signed in since, here or by another process.
pub(super) fn is_latest(keeping: &Keeping, vault: Option<&Arc<Vault>>) -> bool {
    let (Some(refresh), Some(vault)) = (&keeping.refresh, vault) else { return true };
    let stored = vault.stored(&keeping.account.name, &refresh.seed);
    refresh.sign_in == stored.map_or(0, |stored| stored.sign_in)
}

fn is_high_volume(account: &Account) -> bool {
    HIGH_VOLUME.iter().any(|host| account.upstream.host.eq_ignore_ascii_case(host))
}
