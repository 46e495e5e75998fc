//! The keys of a sign-in by a person: where the browser goes, where it comes back, who takes tokens back.
//!
//! It promises that an answer with a code is sent nowhere over the open network: the redirect URI is https,
//! or http to the machine of the browser. Every address is only a default of its preset.

use super::endpoint::Asked;
use super::grant::{GrantWord, Keys};
use super::preset::Issuer;
use super::section::Section;
use super::{Consent, Grant, SignIn, SignInBy};
use url::Url;

/// What a redirect URI may be.
const REDIRECT_REMEDY: &str =
    "write it as it is registered: http://localhost, or https://host/path of your own";

/// The grant of one account that somebody signs in for.
pub(super) fn grant(section: &Section<'_>, word: GrantWord, keys: Keys) -> Option<Grant> {
    let application = keys.application.build(section);
    match &keys.redirect_uri {
        Some(text) => check_redirect(section, text),
        None => {
            if !section.is_given("redirect_uri") {
                section.wrong("redirect_uri", "is missing", REDIRECT_REMEDY);
            }
        }
    }
    Some(Grant::SignIn(SignIn {
        by: match word {
            GrantWord::DeviceCode => SignInBy::Device,
            _ => SignInBy::Browser,
        },
        application: application?,
        redirect_uri: keys.redirect_uri?,
        username: keys.username?,
    }))
}

/// RFC 8252 §7.3, RFC 9700 §2.1: https, or plain http that does not leave the browser's machine.
fn check_redirect(section: &Section<'_>, text: &str) {
    if text == "urn:ietf:wg:oauth:2.0:oob" {
        let remedy = "write http://127.0.0.1, and use: submitd login --paste";
        return section.wrong("redirect_uri", "is no longer taken by any provider", remedy);
    }
    let Ok(url) = Url::parse(text) else {
        return section.wrong("redirect_uri", "is not a URL", REDIRECT_REMEDY);
    };
    let is_loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => {}
        "http" if is_loopback => {}
        "http" => {
            let what = "plain http would show the code to the network";
            section.wrong("redirect_uri", what, REDIRECT_REMEDY);
        }
        scheme => {
            let what = format!("{scheme:?} is not a scheme for it");
            section.wrong("redirect_uri", what, REDIRECT_REMEDY);
        }
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        let what = "holds a fragment, a user name or a password";
        section.wrong("redirect_uri", what, REDIRECT_REMEDY);
    }
}

/// `authorize_url` and its neighbours.
pub(super) fn consent(section: &Section<'_>, asked: &Asked, token_url: Option<&Url>) -> Consent {
    let signs_in = asked.word.is_some_and(GrantWord::signs_in);
    let facts = asked.preset.facts();
    let beside = |name: &str| match facts.issuer {
        Issuer::Entra(_) => token_url.and_then(|url| neighbour(url, name)),
        _ => None,
    };
    let fixed = |text: Option<&'static str>| text.and_then(|text| Url::parse(text).ok());
    // `select_account`: the browser may be signed in as somebody else.
    let authorize = beside("authorize?prompt=select_account").or(fixed(facts.consent.authorize));
    let of_sign_in = |key: &'static str, usual: Option<Url>| {
        let read = match usual.filter(|_| signs_in) {
            Some(usual) => Some(section.or(key, usual)),
            None => section.optional::<Url>(key),
        };
        if !signs_in && section.is_given(key) {
            section.doubt(key, "means nothing with this grant", "leave it out");
        }
        read.filter(|_| signs_in)
    };
    let authorize_url = of_sign_in("authorize_url", authorize);
    let device_url = of_sign_in("device_url", beside("devicecode"));
    let revoke_url = of_sign_in("revoke_url", fixed(facts.consent.revoke));
    let issuer = section.optional("issuer");
    let usual = facts.consent.identity.filter(|_| signs_in);
    let identity_scope = match usual {
        Some(usual) => section.or("identity_scope", usual.to_owned()),
        None => section.optional("identity_scope").unwrap_or_default(),
    };
    // Where Entra's tenant is missing that is told, and enough.
    let is_known = token_url.is_some() || !asked.preset.is_entra();
    for (key, word, url) in [
        ("authorize_url", GrantWord::AuthorizationCode, &authorize_url),
        ("device_url", GrantWord::DeviceCode, &device_url),
    ] {
        if asked.word == Some(word) && url.is_none() && is_known && !section.is_given(key) {
            let remedy = "write the address from the provider's documentation, https://…";
            section.wrong(key, "is missing", remedy);
        }
    }
    Consent { authorize_url, device_url, revoke_url, issuer, identity_scope }
}

/// The endpoint beside Entra's token endpoint, also where that was written out.
fn neighbour(token_url: &Url, name: &str) -> Option<Url> {
    let base = token_url.as_str().strip_suffix("/oauth2/v2.0/token")?;
    Url::parse(&format!("{base}/oauth2/v2.0/{name}")).ok()
}

#[cfg(test)]
mod tests {
    use crate::config::{Account, Config, Grant, SignIn, SignInBy};
    use std::sync::Arc;

    const ID: &str = "client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\n";

    fn read(keys: &str, oauth: &str) -> Result<Config, String> {
        let text = format!(
            "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n{ID}{keys}\n[account.oauth]\n{oauth}\n"
        );
        Config::from_text("submitd.toml", &text, &[]).map_err(|all| all.to_string())
    }

    fn account(keys: &str, oauth: &str) -> (Arc<Account>, SignIn) {
        let account = read(keys, oauth).expect("valid").accounts.remove(0);
        let Grant::SignIn(sign_in) = account.grant.clone() else { panic!("no sign-in") };
        (account, sign_in)
    }

    #[test]
    fn entra_needs_a_tenant_and_an_application_and_nothing_else() {
        for (word, by) in
            [("authorization_code", SignInBy::Browser), ("device_code", SignInBy::Device)]
        {
            let keys = format!("grant = \"{word}\"\ntenant = \"contoso.com\"");
            let (account, sign_in) = account(&keys, "");
            assert_eq!((sign_in.by, sign_in.username.as_str()), (by, "erp@contoso.com"));
            assert_eq!(sign_in.redirect_uri, "http://localhost");
            let consent = &account.oauth.consent;
            let base = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0";
            let text = |url: &Option<url::Url>| url.as_ref().map(ToString::to_string);
            let authorize = format!("{base}/authorize?prompt=select_account");
            assert_eq!(text(&consent.authorize_url), Some(authorize));
            assert_eq!(text(&consent.device_url), Some(format!("{base}/devicecode")));
            assert_eq!(consent.identity_scope, "openid profile email");
            assert_eq!(account.oauth.scope, "https://outlook.office.com/SMTP.Send offline_access");
        }
    }

    #[test]
    fn a_written_token_endpoint_takes_its_neighbours_along() {
        let keys = "grant = \"device_code\"\ntenant = \"contoso.com\"";
        let url = "token_url = \"http://127.0.0.1:8587/contoso.com/oauth2/v2.0/token\"";
        let (account, _) = account(keys, url);
        assert_eq!(
            account.oauth.consent.device_url.as_ref().expect("known").as_str(),
            "http://127.0.0.1:8587/contoso.com/oauth2/v2.0/devicecode"
        );
    }

    #[test]
    fn other_presets() {
        let (gmail, sign_in) = account("preset = \"gmail\"\ngrant = \"authorization_code\"", "");
        assert_eq!(sign_in.redirect_uri, "http://127.0.0.1");
        assert!(gmail.oauth.consent.revoke_url.is_some());
        assert!(read("preset = \"gmail\"\ngrant = \"device_code\"", "").is_err());
        let (outlook, _) = account("preset = \"outlook\"\ngrant = \"authorization_code\"", "");
        let authorize = outlook.oauth.consent.authorize_url.as_ref().expect("known");
        assert!(authorize.path().starts_with("/consumers/"));
        let generic = "preset = \"generic\"\ngrant = \"authorization_code\"\n[account.upstream]\nhost = \"mx\"";
        let oauth = "token_url = \"https://idp.example/token\"\nscope = \"smtp\"";
        assert!(
            read(generic, oauth).expect_err("no address").contains("authorize_url: is missing")
        );
        let oauth = format!("{oauth}\nauthorize_url = \"https://idp.example/auth\"");
        assert!(read(generic, &oauth).is_ok());
        let yahoo = "preset = \"yahoo\"\ngrant = \"authorization_code\"";
        assert!(read(yahoo, "").expect_err("https only").contains("redirect_uri: is missing"));
    }

    #[test]
    fn where_a_browser_must_not_be_sent_is_refused() {
        for (redirect, expected) in [
            ("http://relay.contoso.com/", "plain http"),
            ("urn:ietf:wg:oauth:2.0:oob", "no longer taken"),
            ("submitd://callback", "is not a scheme"),
            ("localhost", "is not a URL"),
            ("https://a.example/#x", "fragment"),
            ("https://me@a.example/", "user name"),
        ] {
            let keys = format!(
                "grant = \"authorization_code\"\ntenant = \"contoso.com\"\nredirect_uri = \"{redirect}\""
            );
            let problems = read(&keys, "").expect_err(redirect);
            assert!(problems.contains(expected), "{redirect}: {problems}");
        }
        for redirect in [
            "http://localhost:8400/back",
            "http://[::1]/",
            "https://login.microsoftonline.com/common/oauth2/nativeclient",
        ] {
            let keys = format!(
                "grant = \"authorization_code\"\ntenant = \"contoso.com\"\nredirect_uri = \"{redirect}\""
            );
            assert!(read(&keys, "").is_ok(), "{redirect}");
        }
    }

    #[test]
    fn keys_of_a_sign_in_are_doubtful_elsewhere() {
        let keys = "grant = \"refresh_token\"\nrefresh_token = \"x\"\ntenant = \"contoso.com\"\nredirect_uri = \"http://localhost\"";
        let config = read(keys, "authorize_url = \"https://a.example/\"").expect("valid");
        let warnings: Vec<String> = config.warnings.iter().map(ToString::to_string).collect();
        for key in ["redirect_uri", "authorize_url"] {
            assert!(warnings.iter().any(|warning| warning.contains(key)), "{warnings:?}");
        }
    }
}
