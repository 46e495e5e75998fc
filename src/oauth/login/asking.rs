//! What a sign-in asks the provider: a code redeemed, a code to type in, whether it was typed, a token back.
//!
//! Nothing here waits between requests, and no answer is repeated in an error but what `response` lets
//! through.

use crate::config::{Account, Grant, SignIn, Transport};
use crate::oauth::provider::{Provider, no_token};
use crate::oauth::response::{Fault, Granted};
use crate::secret::Secret;
use serde::Deserialize;
use std::time::Duration;

use super::attempt::{Attempt, asked_scope};

/// A code to type in, as the provider gives it (RFC 8628 §3.2).
#[derive(Clone, Debug)]
pub struct DeviceCode {
    code: Secret,
    /// What the person types.
    pub user_code: String,
    /// Where.
    pub verification_uri: String,
    /// The same with the code in it, where the provider has that.
    pub verification_uri_complete: Option<String>,
    /// How long the code is good.
    pub life: Duration,
    /// Between two questions.
    pub interval: Duration,
}

#[derive(Deserialize)]
struct Written {
    device_code: String,
    user_code: String,
    // Google's older name for it.
    #[serde(alias = "verification_url")]
    verification_uri: String,
    verification_uri_complete: Option<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    interval: Option<u64>,
}

/// No code is waited for longer than this.
const LONGEST_LIFE: u64 = 3600;

impl Provider {
    /// RFC 6749 §4.1.3 with the verifier of RFC 7636 §4.5.
    pub(super) async fn redeem(
        &self,
        account: &Account,
        attempt: &Attempt,
        code: &Secret,
    ) -> Result<Granted, Fault> {
        let mut fields = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("redirect_uri", attempt.redirect()),
            ("code_verifier", attempt.verifier().expose()),
        ];
        // Of several services that were allowed, one token is for one.
        if matches!(account.transport, Transport::Auto(_)) {
            fields.push(("scope", &account.oauth.scope));
        }
        let secrets = [code.clone(), attempt.verifier().clone()];
        let answer = self.ask(&account.oauth.token_url, account, &fields, &secrets).await?;
        serde_json::from_slice(answer.body()).map_err(|_| no_token())
    }

    /// RFC 8628 §3.1. None where the account names no endpoint for it.
    pub(super) async fn device_code(&self, account: &Account) -> Option<Result<DeviceCode, Fault>> {
        let url = account.oauth.consent.device_url.as_ref()?;
        let scope = asked_scope(&account.oauth.scope, &account.oauth.consent.identity_scope);
        let answer = self.ask(url, account, &[("scope", &scope)], &[]).await;
        Some(answer.and_then(|answer| {
            let unclear = || Fault::Unclear {
                status: 200,
                what: "a body that holds no code to type in".to_owned(),
                retry_after: None,
            };
            let written: Written = serde_json::from_slice(answer.body()).map_err(|_| unclear())?;
            let is_shown = |text: &str| {
                !text.is_empty() && text.len() <= 1000 && !text.contains(char::is_control)
            };
            if ![&written.user_code, &written.verification_uri]
                .into_iter()
                .all(|text| is_shown(text))
            {
                return Err(unclear());
            }
            Ok(DeviceCode {
                code: Secret::new(written.device_code),
                user_code: written.user_code,
                verification_uri: written.verification_uri,
                verification_uri_complete: written
                    .verification_uri_complete
                    .filter(|text| is_shown(text)),
                life: Duration::from_secs(written.expires_in.unwrap_or(900).min(LONGEST_LIFE)),
                // RFC 8628 §3.2: five seconds where nothing is said.
                interval: Duration::from_secs(written.interval.unwrap_or(5).clamp(1, 60)),
            })
        }))
    }

    /// Whether the code was typed in (RFC 8628 §3.4).
    pub(super) async fn poll(
        &self,
        account: &Account,
        device: &DeviceCode,
    ) -> Result<Granted, Fault> {
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", device.code.expose()),
        ];
        let url = &account.oauth.token_url;
        let answer = self.ask(url, account, &fields, std::slice::from_ref(&device.code)).await?;
        serde_json::from_slice(answer.body()).map_err(|_| no_token())
    }

    /// RFC 7009; false where the provider has no endpoint for it.
    pub(in crate::oauth) async fn revoke(
        &self,
        account: &Account,
        refresh: &Secret,
    ) -> Result<bool, Fault> {
        let Some(url) = &account.oauth.consent.revoke_url else { return Ok(false) };
        let fields = [("token", refresh.expose()), ("token_type_hint", "refresh_token")];
        self.ask(url, account, &fields, std::slice::from_ref(refresh)).await?;
        Ok(true)
    }
}

/// How the account is signed in for; none with other grants.
pub(super) fn of(account: &Account) -> Option<&SignIn> {
    match &account.grant {
        Grant::SignIn(sign_in) => Some(sign_in),
        _ => None,
    }
}
