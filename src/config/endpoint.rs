//! `[account.oauth]`: who is asked for a token, filled from preset, cloud, tenant and grant.
//!
//! It promises that whatever is filled in can be written instead, and that plain http reaches nothing
//! beyond this machine and, for managed identities, its link.

use super::account::{YEAR, ca_file};
use super::check::Surroundings;
use super::grant::GrantWord;
use super::identity;
use super::network::{is_safe, plain_http};
use super::preset::{Cloud, Issuer, Preset};
use super::section::Section;
use super::sign_in;
use super::value::Written;
use super::{Grant, OAuth, Transport, proxy};
use std::time::Duration;
use url::Url;

/// What a tenant may be.
pub(super) const TENANT_REMEDY: &str =
    "write the directory (tenant) id or a verified domain, such as \"contoso.onmicrosoft.com\"";

/// What the account says of its provider.
pub(super) struct Asked {
    /// `preset`.
    pub preset: Preset,
    /// `cloud`.
    pub cloud: Cloud,
    /// `grant`.
    pub word: Option<GrantWord>,
    /// `tenant`, where it means something.
    pub tenant: Option<String>,
}

/// One `[account.oauth]`; none where a problem was found that leaves none to build.
pub(super) fn oauth(
    account: &Section<'_>,
    around: &Surroundings<'_>,
    asked: &Asked,
    grant: &Option<Grant>,
    transport: Option<&Transport>,
) -> Option<OAuth> {
    let section = account.section("oauth", "account.oauth");
    let brokered = asked.word.is_some_and(GrantWord::is_brokered);
    let (token_url, scope) = if brokered {
        (origin(&section, grant), elsewhere(&section))
    } else {
        (token_url(account, &section, around, asked, grant), scope(&section, asked, transport))
    };
    if let Some(url) = token_url.as_ref().filter(|_| !brokered) {
        let link_local = asked.word == Some(GrantWord::ManagedIdentity);
        if !is_safe(url, link_local) {
            let wrong = plain_http();
            section.wrong("token_url", wrong.what, wrong.remedy);
        }
    }
    let consent = sign_in::consent(&section, asked, token_url.as_ref());
    let ca_file = ca_file(&section, around);
    let proxy = proxy::oauth(&section, around);
    let timeout = section.within("timeout", Duration::from_secs(30), Duration::from_secs(1)..=YEAR);
    section.finish(&[]);
    Some(OAuth { token_url: token_url?, scope: scope?, ca_file, proxy, timeout, consent })
}

/// Where a token comes from that no endpoint gives: to be shown, never to be asked.
fn origin(section: &Section<'_>, grant: &Option<Grant>) -> Option<Url> {
    let _: Option<Url> = section.optional("token_url");
    if section.is_given("token_url") {
        section.doubt("token_url", "means nothing with this grant", "leave it out");
    }
    match grant.as_ref()? {
        Grant::TokenCommand { program, .. } => {
            Url::parse(&format!("exec:{}", program.display())).ok()
        }
        Grant::Tokenless => Url::parse("none:").ok(),
        Grant::TokenFile { file } => {
            let path = std::path::absolute(file.path()).ok()?;
            Url::from_file_path(path).ok()
        }
        _ => None,
    }
}

/// The scope was chosen by whoever made the token.
fn elsewhere(section: &Section<'_>) -> Option<String> {
    let _: Option<String> = section.optional("scope");
    if section.is_given("scope") {
        section.doubt("scope", "means nothing with this grant", "leave it out");
    }
    Some(String::new())
}

fn token_url(
    account: &Section<'_>,
    section: &Section<'_>,
    around: &Surroundings<'_>,
    asked: &Asked,
    grant: &Option<Grant>,
) -> Option<Url> {
    if asked.word == Some(GrantWord::ManagedIdentity) {
        let host = match grant {
            Some(Grant::ManagedIdentity { host, .. }) => identity::endpoint(around, host),
            _ => return section.optional("token_url"),
        };
        return match host {
            Some(usual) => Some(section.or("token_url", usual)),
            None => section.required(
                "token_url",
                "the variable IDENTITY_ENDPOINT holds no address of this machine: write it here",
            ),
        };
    }
    let usual = match asked.preset.facts().issuer {
        Issuer::Entra(_) => asked.tenant.as_ref().and_then(|tenant| {
            let login = login(around, asked);
            Url::parse(&format!("{login}/{tenant}/oauth2/v2.0/token")).ok()
        }),
        Issuer::Fixed(url, _) => Url::parse(url).ok(),
        Issuer::Unknown => None,
    };
    if let Some(usual) = usual {
        return Some(section.or("token_url", usual));
    }
    if asked.preset.is_entra() {
        if !section.is_given("token_url") && !account.is_given("tenant") {
            account.wrong("tenant", "is missing", TENANT_REMEDY);
        }
        return section.optional("token_url");
    }
    section.required(
        "token_url",
        "preset = \"generic\" knows none: write the provider's token endpoint, https://…",
    )
}

/// Entra's address. The webhook of a workload identity names the cloud it runs in.
fn login(around: &Surroundings<'_>, asked: &Asked) -> String {
    let offered = (around.variable)("AZURE_AUTHORITY_HOST")
        .filter(|_| asked.word == Some(GrantWord::WorkloadIdentity));
    match offered {
        Some(host) => host.trim_end_matches('/').to_owned(),
        None => format!("https://{}", asked.cloud.endpoints().login),
    }
}

fn scope(section: &Section<'_>, asked: &Asked, transport: Option<&Transport>) -> Option<String> {
    if let Some(Transport::Graph(graph)) = transport {
        return Some(section.or("scope", graph.scope.clone()));
    }
    let known = asked.cloud.endpoints();
    let usual = match asked.preset.facts().issuer {
        Issuer::Entra(_) => match asked.word {
            Some(
                GrantWord::RefreshToken | GrantWord::AuthorizationCode | GrantWord::DeviceCode,
            ) => known.delegated_scope,
            // No refresh token is wanted: the password is at hand.
            Some(GrantWord::Password) => known.delegated_scope.trim_end_matches(" offline_access"),
            _ => known.app_scope,
        },
        Issuer::Fixed(_, scope) => scope,
        Issuer::Unknown => {
            let with = asked.preset.write();
            return section.required::<String>(
                "scope",
                &format!("preset = {with} knows none: write what the provider asks for SMTP"),
            );
        }
    };
    Some(section.or("scope", usual.to_owned()))
}
