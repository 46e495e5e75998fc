//! What a token's claims give away about this account. Pure.
//!
//! It promises an opinion only: [`doubts`] before the login and [`suspect`] after a refusal that gave no
//! reason. The texts stand in `diagnosis::token`.

use super::Trouble;
use crate::config::{Account, Audience};
use crate::diagnosis::fill;
use crate::diagnosis::token::{self, Row};
use crate::oauth::claims::Claims;
use crate::oauth::request::{names, tenant};
use std::time::SystemTime;

/// Audiences of Exchange Online, by national cloud; the server's name ends in the second.
const EXCHANGE: &[(&str, &[&str])] = &[
    ("https://outlook.office365.us", &["office365.us"]),
    ("https://outlook-dod.office365.us", &["office365.us"]),
    ("https://partner.outlook.cn", &["outlook.cn"]),
    ("https://outlook.office365.com", &["office365.com", "outlook.com", "mx.microsoft"]),
    ("https://outlook.office.com", &["office365.com", "outlook.com", "mx.microsoft"]),
    // Exchange Online's own id, the same in every cloud.
    ("00000002-0000-0ff1-ce00-000000000000", &[""]),
];
/// Endings of all known servers of Exchange Online: others (a test server, say) tell no cloud.
const SERVERS: &[&str] =
    &["office365.us", "outlook.cn", "office365.com", "outlook.com", "mx.microsoft"];
const GRAPH: &[&str] = &[
    "https://graph.microsoft.com",
    "https://graph.microsoft.us",
    "https://dod-graph.microsoft.us",
    "https://microsoftgraph.chinacloudapi.cn",
    "00000003-0000-0000-c000-000000000000",
];
/// Google's endpoints and whoever else: their tokens have other words.
const ISSUED_BY_ENTRA: &str = "/oauth2/";

/// What a person reads of the claims.
pub(super) fn describe(claims: &Claims, now: SystemTime) -> String {
    let or_none =
        |words: &[String]| if words.is_empty() { "none".to_owned() } else { words.join(" ") };
    let mut parts =
        vec![format!("for {}", claims.audience.as_deref().unwrap_or("nobody in particular"))];
    if claims.is_of_application() {
        parts.push(format!("roles {}", or_none(&claims.roles)));
    } else {
        parts.push(format!("scopes {}", or_none(&claims.scopes)));
        parts.push(format!("user {}", claims.user.as_deref().unwrap_or("not named")));
    }
    for (name, value) in [
        ("tenant", &claims.tenant),
        ("application", &claims.application),
        ("object id", &claims.object_id),
    ] {
        parts.extend(value.as_ref().map(|value| format!("{name} {value}")));
    }
    if let Some(ends) = claims.ends {
        let at = humantime::format_rfc3339_seconds(ends);
        let is_over = if ends <= now { ", which is over" } else { "" };
        parts.push(format!("ends {at}{is_over}"));
    }
    parts.join(", ")
}

/// What speaks against the token before anybody has seen it, the most telling first.
pub(super) fn doubts(claims: &Claims, account: &Account, now: SystemTime) -> Vec<&'static Row> {
    if !is_entra(account, claims) {
        return Vec::new();
    }
    let mut found = Vec::new();
    let is_graph = account.transport.audience() == Audience::Graph;
    if is_graph {
        found.extend((!is_for_graph(claims)).then_some(&token::NOT_GRAPH));
        if claims.is_of_application() {
            let may = has(&claims.roles, "Mail.Send");
            found.extend((!may).then_some(&token::GRAPH_ROLES));
        } else {
            let may = has(&claims.scopes, "Mail.Send") || has(&claims.scopes, "Mail.Send.Shared");
            found.extend((!may).then_some(&token::GRAPH_NO_SCOPE));
        }
    } else {
        found.extend(audience(claims, &account.upstream.host));
    }
    if is_graph || !found.is_empty() {
        // What SMTP needs means nothing there, nor in a token that is made for something else.
    } else if claims.is_of_application() {
        if !claims.roles.is_empty() && !has(&claims.roles, "SMTP.SendAsApp") {
            let ews = claims.roles.iter().all(|role| role == "full_access_as_app");
            found.push(if ews { &token::EWS } else { &token::ROLES });
        }
    } else {
        if !has(&claims.scopes, "SMTP.Send") {
            found.push(&token::NO_SCOPE);
        }
        let other = |user: &String| !user.eq_ignore_ascii_case(account.mailbox.as_str());
        if claims.user.as_ref().is_some_and(other) {
            found.push(&token::USER);
        }
    }
    let asked = tenant(&account.oauth);
    let issued = claims.tenant.as_deref().unwrap_or(asked);
    if is_guid(asked) && !issued.eq_ignore_ascii_case(asked) {
        found.push(&token::TENANT);
    }
    if claims.ends.is_some_and(|ends| ends <= now) {
        found.push(&token::ENDED);
    }
    found
}

/// Why a server that says nothing but "unsuccessful" most probably refused this token.
pub(super) fn suspect(claims: &Claims, account: &Account, now: SystemTime) -> Option<&'static Row> {
    if !is_entra(account, claims) {
        return None;
    }
    let first = doubts(claims, account, now).into_iter().next();
    Some(first.unwrap_or(match (claims.is_of_application(), claims.roles.is_empty()) {
        (true, true) => &token::NO_ROLE,
        (true, false) => &token::APPLICATION,
        (false, _) => &token::PERSON,
    }))
}

/// The row in the words of this account and this token.
pub(super) fn tell(row: &Row, claims: &Claims, account: &Account) -> Trouble {
    let or = |value: &Option<String>, other: &str| value.clone().unwrap_or(other.to_owned());
    let own = [
        ("audience", or(&claims.audience, "nobody")),
        ("roles", claims.roles.join(", ")),
        ("user", or(&claims.user, "somebody else")),
        ("object_id", or(&claims.object_id, "<object id of the enterprise application>")),
        ("token_tenant", or(&claims.tenant, "unknown")),
    ];
    let known = names(account);
    let mut all: Vec<(&'static str, &str)> =
        own.iter().map(|(name, value)| (*name, value.as_str())).collect();
    // The token knows which application it is, also where the configuration names none.
    all.extend(claims.application.as_deref().map(|id| ("client_id", id)));
    all.extend(known);
    Trouble {
        what: fill(row.meaning, &all),
        remedy: Some(fill(row.remedy, &all)),
        class: row.class,
        needs_setup: true,
    }
}

fn is_entra(account: &Account, claims: &Claims) -> bool {
    claims.tenant.is_some() || account.oauth.token_url.path().contains(ISSUED_BY_ENTRA)
}

/// Where nothing is said, nothing speaks against it.
fn is_for_graph(claims: &Claims) -> bool {
    let Some(audience) = claims.audience.as_deref() else { return true };
    let audience = audience.trim_end_matches('/');
    GRAPH.iter().any(|graph| graph.eq_ignore_ascii_case(audience))
}

fn audience(claims: &Claims, host: &str) -> Option<&'static Row> {
    let audience = claims.audience.as_deref()?.trim_end_matches('/');
    if is_for_graph(claims) {
        return Some(&token::GRAPH);
    }
    let known = EXCHANGE.iter().find(|(name, _)| name.eq_ignore_ascii_case(audience));
    let Some((_, servers)) = known else { return Some(&token::AUDIENCE) };
    let host = host.to_ascii_lowercase();
    let is_in = |endings: &[&str]| endings.iter().any(|ending| host.ends_with(ending));
    (is_in(SERVERS) && !is_in(servers)).then_some(&token::CLOUD)
}

/// `https://outlook.office.com/SMTP.Send` and `SMTP.Send` are the same.
fn has(words: &[String], wanted: &str) -> bool {
    words.iter().any(|word| word.rsplit('/').next() == Some(wanted))
}

fn is_guid(text: &str) -> bool {
    text.len() == 36 && text.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn audiences_are_known_by_cloud() {
        let worldwide = "smtp.office365.com";
        for (claimed, host, expected) in [
            ("https://outlook.office365.com", worldwide, None),
            ("https://outlook.office.com/", worldwide, None),
            ("https://outlook.office.com", "smtp-mail.outlook.com", None),
            ("https://outlook.office365.com", "smtp.hve.mx.microsoft", None),
            ("00000002-0000-0FF1-CE00-000000000000", "smtp.office365.us", None),
            ("https://outlook.office365.us", "smtp.office365.us", None),
            ("https://outlook-dod.office365.us", "outlook-dod.office365.us", None),
            ("https://partner.outlook.cn", "smtp.partner.outlook.cn", None),
            ("https://outlook.office365.us", "localhost", None),
            ("https://outlook.office365.us", worldwide, Some("other-cloud")),
            ("https://outlook.office365.com", "smtp.office365.us", Some("other-cloud")),
            ("https://outlook.office.com", "smtp.partner.outlook.cn", Some("other-cloud")),
            ("https://graph.microsoft.com", worldwide, Some("graph-audience")),
            ("00000003-0000-0000-c000-000000000000", worldwide, Some("graph-audience")),
            ("https://management.azure.com/", worldwide, Some("other-audience")),
        ] {
            let claims = Claims { audience: Some(claimed.to_owned()), ..Claims::default() };
            let found = audience(&claims, host).map(|row| row.name);
            assert_eq!(found, expected, "{claimed} at {host}");
        }
        assert_eq!(audience(&Claims::default(), worldwide), None, "nothing is said");
    }

    #[test]
    fn words_may_carry_their_resource() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert!(has(
            &words("IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send"),
            "SMTP.Send"
        ));
        assert!(!has(&words("SMTP.SendAsApp"), "SMTP.Send"));
    }
}
