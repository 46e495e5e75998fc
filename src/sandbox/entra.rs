//! The token endpoint of Entra ID: who asks, for what, and the answer in Entra's words.
//!
//! `decide` is the judgement and knows no HTTP; the routes around it apply the faults, put the headers on
//! and count. What is asked wrongly is refused with the number that the real service gives.

use super::aadsts::Refusal;
use super::claims;
use super::consent::Consented;
use super::fault_value::take;
use super::faults::Faults;
use super::options::Options;
use super::token::{GRAPH, Grant, LOCKOUT, Owner, RefreshState, is_outlook};
use super::web::LIFE;
use super::world::World;
use super::{proof, random, sign_in};
use crate::secret::Secret;
use std::collections::HashMap;
use std::time::SystemTime;

/// Aliases that stand for no tenant in particular.
const ALIASES: [&str; 3] = ["common", "organizations", "consumers"];

/// The fields of a form.
pub(super) type Form = HashMap<String, String>;

/// A good answer.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) access_token: Secret,
    pub(super) refresh_token: Option<Secret>,
    pub(super) scope: Option<String>,
    pub(super) id_token: Option<Secret>,
    pub(super) expires_in: u64,
}

impl Given {
    /// Its tokens.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        [Some(&self.access_token), self.refresh_token.as_ref(), self.id_token.as_ref()]
            .into_iter()
            .flatten()
    }
}

/// Judges a request and makes its tokens.
///
/// # Errors
/// Entra's refusal.
pub(super) fn decide(
    world: &World,
    tenant: &str,
    endpoint: &str,
    form: &Form,
    now: SystemTime,
) -> Result<Given, Refusal> {
    let options = &world.options;
    let check_client =
        |client_id: &str| check_client(world, client_id, (tenant, endpoint), form, now);
    let alias = check_tenant(options, tenant)?;
    let field = |name: &str| form.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let required = |name: &'static str| field(name).ok_or_else(|| Refusal::new(900_144, &[name]));
    let grant_type = required("grant_type")?;
    let client_id = required("client_id")?;
    match grant_type {
        "client_credentials" => {
            if alias.is_some() {
                return Err(Refusal::new(50059, &[]));
            }
            check_client(client_id)?;
            let resource = app_scope(required("scope")?, tenant)?;
            Ok(give(world, client_id, Owner::Application, resource, None, now))
        }
        "refresh_token" => {
            let token = required("refresh_token")?;
            if alias == Some("consumers") && !is_personal(world, token) {
                return Err(Refusal::new(9_002_332, &[client_id]));
            }
            check_client(client_id)?;
            refresh(world, client_id, token, field("scope"), now)
        }
        "authorization_code" => {
            check_client(client_id)?;
            let consented = world.codes().redeem(tenant, client_id, form, now)?;
            person(world, client_id, &consented, field("scope"), now)
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            check_client(client_id)?;
            if let Some(refusal) = sign_in::slow_down(world) {
                return Err(refusal);
            }
            let consented = world.codes().poll(client_id, required("device_code")?, now)?;
            person(world, client_id, &consented, None, now)
        }
        "password" => {
            if matches!(alias, Some("common" | "consumers")) {
                return Err(Refusal::new(9_001_023, &[]));
            }
            check_client(client_id)?;
            let (user, password) = (required("username")?, required("password")?);
            sign_in(world, client_id, (user, password), required("scope")?, now)
        }
        other => Err(Refusal::new(70003, &[other])),
    }
}

/// What somebody consented to in a browser; `asked` says for which of several services the token is.
fn person(
    world: &World,
    client_id: &str,
    consented: &Consented,
    asked: Option<&str>,
    now: SystemTime,
) -> Result<Given, Refusal> {
    let Consented { user, scope, offline } = consented;
    world.tokens().consent(client_id, user, scope);
    let resource = user_scope(asked.unwrap_or(scope))?;
    check_consent(world, client_id, user, asked.unwrap_or_default())?;
    let owner = Owner::Mailbox(user.clone());
    let mut given = give(world, client_id, owner, resource, Some(asked.unwrap_or(scope)), now);
    let asked = |name: &str| scope.split_whitespace().any(|word| word == name);
    given.refresh_token = given.refresh_token.filter(|_| *offline);
    given.id_token =
        asked("openid").then(|| claims::identity(&world.options, client_id, user, now));
    Ok(given)
}

/// Whether a refresh token belongs to a personal account.
fn is_personal(world: &World, refresh: &str) -> bool {
    let RefreshState::Good(user) = world.tokens().refresh_state(refresh) else { return false };
    let personal = &world.options.sign_ins.personal;
    personal.iter().any(|known| known.eq_ignore_ascii_case(&user))
}

/// Whether the tenant is ours; the alias where it is one.
pub(super) fn check_tenant<'a>(
    options: &Options,
    tenant: &'a str,
) -> Result<Option<&'a str>, Refusal> {
    if [&options.tenant, &options.tenant_id].iter().any(|own| own.eq_ignore_ascii_case(tenant)) {
        return Ok(None);
    }
    if ALIASES.contains(&tenant) {
        return Ok(Some(tenant));
    }
    let known_form = random::is_guid(tenant) || is_domain(tenant);
    Err(Refusal::new(if known_form { 90002 } else { 900_023 }, &[tenant]))
}

fn is_domain(text: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
    };
    text.contains('.') && text.len() <= 253 && text.split('.').all(label)
}

/// Whether the application is ours and proves itself as it must.
fn check_client(
    world: &World,
    client_id: &str,
    (tenant, endpoint): (&str, &str),
    form: &Form,
    now: SystemTime,
) -> Result<(), Refusal> {
    let options = &world.options;
    let secret = form.get("client_secret").filter(|secret| !secret.is_empty());
    let assertion = form.get("client_assertion");
    if client_id.eq_ignore_ascii_case(&options.public_client_id) {
        let app_only = form.get("grant_type").is_some_and(|grant| grant == "client_credentials");
        return match (secret.is_some() || assertion.is_some(), app_only) {
            (true, _) => Err(Refusal::new(700_025, &[])),
            (false, true) => Err(Refusal::new(7_000_218, &[])),
            (false, false) => Ok(()),
        };
    }
    if !client_id.eq_ignore_ascii_case(&options.client_id) {
        return Err(Refusal::new(700_016, &[client_id, tenant]));
    }
    match (secret, assertion) {
        (Some(secret), _) if options.client_secret.matches(secret) => Ok(()),
        // The id of the secret instead of its value gets the same answer as any other wrong text.
        (Some(_), _) => Err(Refusal::new(7_000_215, &[client_id])),
        (None, Some(assertion)) => {
            proof::of_application(world, client_id, assertion, endpoint, now)
        }
        (None, None) => Err(Refusal::new(7_000_218, &[])),
    }
}

/// A user with the password. Too many wrong ones lock the user out, the right one then included.
fn sign_in(
    world: &World,
    client_id: &str,
    (user, password): (&str, &str),
    scope: &str,
    now: SystemTime,
) -> Result<Given, Refusal> {
    let resource = user_scope(scope)?;
    let known =
        world.options.mailboxes.iter().find(|mailbox| mailbox.address.eq_ignore_ascii_case(user));
    let Some(mailbox) = known else { return Err(Refusal::new(50034, &[])) };
    let is_right = world.options.identities.password.matches(password);
    if world.tokens().try_password(user, is_right) >= LOCKOUT {
        return Err(Refusal::new(50053, &[]));
    }
    if !is_right {
        return Err(Refusal::new(50126, &[]));
    }
    let owner = Owner::Mailbox(mailbox.address.clone());
    let mut given = give(world, client_id, owner, resource, Some(scope), now);
    given.refresh_token = given.refresh_token.filter(|_| scope.contains("offline_access"));
    Ok(given)
}

/// The scopes that name a resource, as answers repeat them.
fn echo(scope: &str) -> String {
    scope.split_whitespace().filter(|word| word.contains("://")).collect::<Vec<_>>().join(" ")
}

/// The resource of `<resource>/.default`.
fn app_scope<'a>(scope: &'a str, tenant: &str) -> Result<&'a str, Refusal> {
    let resource = scope.strip_suffix("/.default").filter(|rest| !rest.is_empty());
    let Some(resource) = resource.filter(|rest| !rest.contains(char::is_whitespace)) else {
        return Err(Refusal::new(1_002_012, &[scope]));
    };
    if is_outlook(resource) || resource == GRAPH {
        return Ok(resource);
    }
    Err(Refusal::new(500_011, &[resource, tenant]))
}

fn refresh(
    world: &World,
    client_id: &str,
    token: &str,
    scope: Option<&str>,
    now: SystemTime,
) -> Result<Given, Refusal> {
    let state = world.tokens().refresh_state(token);
    let user = match state {
        RefreshState::Good(user) => user,
        RefreshState::Revoked => return Err(Refusal::new(50173, &[])),
        RefreshState::Unknown => return Err(Refusal::new(9_002_313, &[])),
    };
    let scope = scope.unwrap_or("https://outlook.office.com/SMTP.Send offline_access");
    let resource = user_scope(scope)?;
    check_consent(world, client_id, &user, scope)?;
    let owner = Owner::Mailbox(user);
    Ok(give(world, client_id, owner, resource, Some(scope), now))
}

fn check_consent(world: &World, client_id: &str, user: &str, scope: &str) -> Result<(), Refusal> {
    let is_allowed = world.tokens().is_allowed(client_id, user, scope);
    if is_allowed { Ok(()) } else { Err(Refusal::new(65001, &[client_id])) }
}

/// The resource a person's token is for: that of the first scope that names one. A scope without a
/// resource is Graph's.
fn user_scope(scope: &str) -> Result<&str, Refusal> {
    let mut resource = None;
    for word in scope.split_whitespace() {
        let own = match word.rsplit_once('/') {
            None if matches!(word, "offline_access" | "openid" | "profile" | "email") => continue,
            None => GRAPH,
            Some((
                own,
                ".default" | "SMTP.Send" | "IMAP.AccessAsUser.All" | "POP.AccessAsUser.All",
            )) => own,
            Some((GRAPH, _)) => GRAPH,
            Some(_) => return Err(Refusal::new(70011, &[word])),
        };
        if !is_outlook(own) && own != GRAPH {
            return Err(Refusal::new(70011, &[word]));
        }
        resource.get_or_insert(own);
    }
    Ok(resource.unwrap_or(GRAPH))
}

fn give(
    world: &World,
    client_id: &str,
    owner: Owner,
    resource: &str,
    scope: Option<&str>,
    now: SystemTime,
) -> Given {
    let (expires_in, other, bare, no_refresh) = world.fault(|Faults { token, .. }| {
        let life = token.expires_in.unwrap_or(LIFE);
        (life, token.wrong_audience.take(), token.no_permission.take(), token.no_new_refresh_token)
    });
    let renews = match &owner {
        Owner::Mailbox(user) if !no_refresh => Some(user.clone()),
        _ => None,
    };
    let audience = if other { GRAPH } else { resource };
    let permissions = match (&owner, &scope) {
        _ if bare => Vec::new(),
        (Owner::Mailbox(_), Some(scope)) => scopes(scope, audience),
        _ => roles(&world.options, audience),
    };
    let grant = Grant {
        owner,
        client_id: client_id.to_owned(),
        audience: audience.to_owned(),
        permissions,
        expires_in,
    };
    let faults = world.faults().token;
    let mut tokens = world.tokens();
    Given {
        access_token: tokens.give(&world.options, grant, &faults, now),
        refresh_token: renews.map(|user| tokens.give_refresh(&user)),
        scope: scope.map(echo),
        id_token: None,
        expires_in,
    }
}

/// What an administrator consented to for the application.
pub(super) fn roles(options: &Options, resource: &str) -> Vec<String> {
    match resource {
        GRAPH => options.graph_roles.clone(),
        _ => vec!["SMTP.SendAsApp".to_owned()],
    }
}

/// What a person's token allows: at Exchange Online to send, at Graph what was asked for.
fn scopes(scope: &str, resource: &str) -> Vec<String> {
    if resource != GRAPH {
        return vec!["SMTP.Send".to_owned()];
    }
    let own = |word: &'_ str| match word.rsplit_once('/') {
        Some((GRAPH, ".default")) => vec!["Mail.Send".to_owned(), "Mail.ReadWrite".to_owned()],
        Some((GRAPH, name)) => vec![name.to_owned()],
        None => vec![word.to_owned()],
        Some(_) => Vec::new(),
    };
    let is_asked =
        |word: &&str| !matches!(*word, "offline_access" | "openid" | "profile" | "email");
    scope.split_whitespace().filter(is_asked).flat_map(own).collect()
}

/// The refusal that a fault asks for, with the names it would have.
pub(super) fn scripted(world: &World, tenant: &str) -> Option<Refusal> {
    let code = world.fault(|faults| take(&mut faults.token.error))?;
    let client = world.options.client_id.as_str();
    Some(match code.0 {
        90002 | 900_023 => Refusal::new(code.0, &[tenant]),
        500_011 => Refusal::new(code.0, &["https://outlook.office365.com", tenant]),
        other => Refusal::new(other, &[client, tenant]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_resource_of_a_scope_wins() {
        for (scope, expected) in [
            (
                "https://outlook.office.com/SMTP.Send offline_access",
                Ok("https://outlook.office.com"),
            ),
            (
                "offline_access https://outlook.office365.com/.default",
                Ok("https://outlook.office365.com"),
            ),
            ("Mail.Send https://outlook.office.com/SMTP.Send", Ok(GRAPH)),
            ("https://graph.microsoft.com/Mail.Send", Ok(GRAPH)),
            ("https://outlook.office.com/SMTP.SendAsApp", Err(70011)),
            ("https://elsewhere.example/SMTP.Send", Err(70011)),
        ] {
            assert_eq!(user_scope(scope).map_err(|refusal| refusal.code), expected, "{scope}");
        }
    }

    #[test]
    fn app_scopes_end_in_default() {
        for (scope, expected) in [
            ("https://outlook.office365.com/.default", Ok("https://outlook.office365.com")),
            ("https://outlook.office365.com/SMTP.Send", Err(1_002_012)),
            ("https%3A%2F%2Foutlook.office365.com%2F.default", Err(1_002_012)),
            ("a/.default b/.default", Err(1_002_012)),
            ("/.default", Err(1_002_012)),
            ("https://elsewhere.example/.default", Err(500_011)),
        ] {
            assert_eq!(app_scope(scope, "t").map_err(|refusal| refusal.code), expected, "{scope}");
        }
    }

    #[test]
    fn tenants_are_guids_or_domains() {
        let options = Options::default();
        for (tenant, expected) in [
            ("contoso.onmicrosoft.com", Ok(None)),
            ("CONTOSO.onmicrosoft.com", Ok(None)),
            (options.tenant_id.as_str(), Ok(None)),
            ("common", Ok(Some("common"))),
            ("fabrikam.com", Err(90002)),
            ("00000000-0000-0000-0000-000000000000", Err(90002)),
            ("contoso", Err(900_023)),
            ("con toso.com", Err(900_023)),
        ] {
            assert_eq!(
                check_tenant(&options, tenant).map_err(|refusal| refusal.code),
                expected,
                "{tenant}"
            );
        }
    }
}
