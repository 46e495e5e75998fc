//! Tokens: made in the shape of Entra's, remembered, and checked by the mail server.
//!
//! They look like JWTs and are as long (1.5 to 2.5 kB), because line lengths are where clients break. The
//! signature is random: what counts is that the very text was given out here and has not ended.

use super::claims::{access, claims, federated, opaque};
use super::faults::TokenFaults;
use super::google::GOOGLE;
use super::identities::Identities;
use super::options::Options;
use super::random;
use crate::secret::Secret;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Wrong passwords in a row that lock a user out.
pub(super) const LOCKOUT: u32 = 10;
/// Tokens remembered at most; above, those that have ended go.
const REMEMBERED: usize = 50_000;
/// The longest real life is a day and a bit; a longer one would only overflow dates.
pub(super) const LONGEST_LIFE: u64 = 10 * 365 * 86_400;

/// Whose token it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The application's own; it reaches every mailbox.
    Application,
    /// A person's; it reaches this mailbox.
    Mailbox(String),
}

/// What a token says.
#[derive(Clone, Debug)]
pub(super) struct Grant {
    /// Whose it is.
    pub(super) owner: Owner,
    /// The application that asked.
    pub(super) client_id: String,
    /// `aud`, such as `https://outlook.office365.com`.
    pub(super) audience: String,
    /// What it allows: roles of an application, scopes of a person.
    pub(super) permissions: Vec<String>,
    /// Seconds it lives.
    pub(super) expires_in: u64,
}

/// Everything given out.
#[derive(Default)]
pub(super) struct Tokens {
    access: HashMap<String, (Grant, SystemTime)>,
    refresh: HashMap<String, Renewal>,
    federated: HashSet<String>,
    /// Ids of proofs that were used.
    proofs: HashSet<String>,
    /// Challenges under way and the files that hold them.
    challenges: HashMap<String, PathBuf>,
    /// What people allowed an application, by both; who never signed in there allowed everything.
    consents: HashMap<(String, String), HashSet<String>>,
    /// Wrong passwords in a row, by user.
    wrong_passwords: HashMap<String, u32>,
}

/// A refresh token.
#[derive(Clone, Debug)]
struct Renewal {
    is_good: bool,
    user: String,
}

/// Why the mail server does not take a token. Exchange says `5.7.3` to all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenFault {
    /// Never given out, or taken back.
    Unknown,
    /// Its time is over.
    Expired,
    /// Made for another service.
    Audience,
    /// Without role or scope.
    Permission,
    /// Of another mailbox.
    Mailbox,
}

/// What a refresh token is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RefreshState {
    /// Given out and good, to this user.
    Good(String),
    /// Given out and taken back.
    Revoked,
    /// Never given out.
    Unknown,
}

/// Numbers only: the keys are the tokens themselves.
impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({} access, {} refresh)", self.access.len(), self.refresh.len())
    }
}

impl Tokens {
    /// Makes an access token and remembers it. `faults` may have other claims for it.
    pub(super) fn give(
        &mut self,
        options: &Options,
        grant: Grant,
        faults: &TokenFaults,
        now: SystemTime,
    ) -> Secret {
        if self.access.len() >= REMEMBERED {
            self.access.retain(|_, (_, ends)| *ends > now);
        }
        let mut claims = claims(options, &grant, now);
        for (name, value) in &faults.claims {
            claims[name] = value.clone();
        }
        let grant = if faults.claims.is_empty() { grant } else { grant.with_claims(&claims) };
        let is_personal = matches!(&grant.owner, Owner::Mailbox(user)
            if options.sign_ins.personal.iter().any(|personal| personal.eq_ignore_ascii_case(user)));
        let text = if grant.audience == GOOGLE {
            format!("ya29.a0{}", random::base64url::<160>())
        } else if faults.opaque || is_personal {
            opaque()
        } else {
            access(&claims)
        };
        let ends = now + Duration::from_secs(grant.expires_in.min(LONGEST_LIFE));
        self.access.insert(text.clone(), (grant, ends));
        Secret::new(text)
    }

    /// Makes a refresh token. Older ones stay good, as Entra has it.
    pub(super) fn give_refresh(&mut self, user: &str) -> Secret {
        let text = format!("0.AXoA{}.{}", random::base64url::<24>(), random::base64url::<720>());
        self.adopt_refresh(&Secret::new(text.as_str()), user);
        Secret::new(text)
    }

    /// Makes a refresh token of Google's.
    pub(super) fn give_google_refresh(&mut self, user: &str) -> Secret {
        let token = Secret::new(format!("1//03{}", random::base64url::<72>()));
        self.adopt_refresh(&token, user);
        token
    }

    /// Makes a token of another provider, as Kubernetes lays it into a file.
    pub(super) fn give_federated(
        &mut self,
        identities: &Identities,
        now: SystemTime,
        life: Duration,
    ) -> Secret {
        let text = federated(identities, now, life);
        self.federated.insert(text.clone());
        Secret::new(text)
    }

    /// Whether it was made here.
    pub(super) fn is_federated(&self, token: &str) -> bool {
        self.federated.contains(token)
    }

    /// Whether a proof with this id comes for the first time.
    pub(super) fn is_new_proof(&mut self, id: &str) -> bool {
        self.proofs.insert(id.to_owned())
    }

    /// Remembers what stands in the file of a challenge.
    pub(super) fn challenge(&mut self, text: String, file: PathBuf) {
        self.challenges.insert(text, file);
    }

    /// The file of a challenge that was met; each serves once.
    pub(super) fn take_challenge(&mut self, text: &str) -> Option<PathBuf> {
        self.challenges.remove(text)
    }

    /// Counts a try with a password; the wrong ones in a row before it.
    pub(super) fn try_password(&mut self, user: &str, is_right: bool) -> u32 {
        let count = self.wrong_passwords.entry(user.to_lowercase()).or_default();
        let before = *count;
        *count = if is_right && before < LOCKOUT { 0 } else { before + 1 };
        before
    }

    /// Somebody allowed an application this, besides what was allowed before.
    pub(super) fn consent(&mut self, client_id: &str, user: &str, scope: &str) {
        let key = (client_id.to_lowercase(), user.to_lowercase());
        let words = scope.split_whitespace().filter_map(permission);
        self.consents.entry(key).or_default().extend(words);
    }

    /// Whether all of a scope was allowed.
    pub(super) fn is_allowed(&self, client_id: &str, user: &str, scope: &str) -> bool {
        let Some(known) = self.consents.get(&(client_id.to_lowercase(), user.to_lowercase()))
        else {
            return true;
        };
        let of = |word: &str| word.split_once(' ').map(|(service, _)| service.to_owned());
        scope.split_whitespace().filter_map(permission).all(|word| {
            match word.ends_with("default") {
                true => known.iter().any(|known| of(known) == of(&word)),
                false => known.contains(&word),
            }
        })
    }

    /// Takes a refresh token in that somebody already holds.
    pub(super) fn adopt_refresh(&mut self, token: &Secret, user: &str) {
        let renewal = Renewal { is_good: true, user: user.to_owned() };
        self.refresh.insert(token.expose().to_owned(), renewal);
    }

    /// The texts of all that were given out or taken in, access and refresh.
    pub(super) fn all(&self) -> Vec<Secret> {
        self.access.keys().chain(self.refresh.keys()).map(Secret::new).collect()
    }

    /// What this refresh token is worth.
    pub(super) fn refresh_state(&self, token: &str) -> RefreshState {
        match self.refresh.get(token) {
            Some(Renewal { is_good: true, user }) => RefreshState::Good(user.clone()),
            Some(_) => RefreshState::Revoked,
            None => RefreshState::Unknown,
        }
    }

    /// Takes all access tokens back: a password change, continuous access evaluation.
    pub(super) fn revoke_access(&mut self) {
        self.access.clear();
    }

    /// Takes all refresh tokens back.
    pub(super) fn revoke_refresh(&mut self) {
        self.refresh.values_mut().for_each(|renewal| renewal.is_good = false);
    }

    /// Takes one refresh token back; whether it was known.
    pub(super) fn revoke_one(&mut self, token: &str) -> bool {
        self.refresh.get_mut(token).map(|renewal| renewal.is_good = false).is_some()
    }

    /// What the token says, if Graph takes it; what it allows is not looked at.
    pub(super) fn for_graph(&self, token: &str, now: SystemTime) -> Result<Grant, TokenFault> {
        let (grant, ends) = self.access.get(token).ok_or(TokenFault::Unknown)?;
        if *ends <= now {
            return Err(TokenFault::Expired);
        }
        is_graph(&grant.audience).then(|| grant.clone()).ok_or(TokenFault::Audience)
    }

    /// Whether the token opens the mailbox; both are compared as Exchange does it. `may_open` says
    /// whether a user may open it besides his own; `by_role`: Exchange has a role for the application.
    pub(super) fn check(
        &self,
        may_open: impl Fn(&str) -> bool,
        token: &Secret,
        mailbox: &str,
        by_role: bool,
        now: SystemTime,
    ) -> Result<(), TokenFault> {
        let (grant, ends) = self.access.get(token.expose()).ok_or(TokenFault::Unknown)?;
        if *ends <= now {
            return Err(TokenFault::Expired);
        }
        if !is_outlook(&grant.audience) && grant.audience != GOOGLE {
            return Err(TokenFault::Audience);
        }
        // With a role in Exchange a permission in the token asks for one on the mailbox, which is not there.
        let is_allowed = grant.may_submit() != (by_role && grant.owner == Owner::Application);
        if !is_allowed {
            return Err(TokenFault::Permission);
        }
        match &grant.owner {
            Owner::Application => Ok(()),
            Owner::Mailbox(own) if own.eq_ignore_ascii_case(mailbox) || may_open(own) => Ok(()),
            Owner::Mailbox(_) => Err(TokenFault::Mailbox),
        }
    }
}

/// A word of a scope as `service name`, however the service is written; none for what belongs to none.
fn permission(word: &str) -> Option<String> {
    let (service, name) = match word.rsplit_once('/') {
        None if ["offline_access", "openid", "profile", "email"].contains(&word) => return None,
        None => ("graph", word),
        Some((own, name)) if is_graph(own) => ("graph", name),
        Some((own, name)) if is_outlook(own) => ("outlook", name),
        Some((own, name)) => (own, name),
    };
    Some(format!("{service} {name}"))
}

/// Microsoft Graph, as scopes name it.
pub(super) const GRAPH: &str = "https://graph.microsoft.com";

/// Whether the audience is Microsoft Graph's: its address, or its id in tokens of people.
fn is_graph(audience: &str) -> bool {
    audience.trim_end_matches('/') == GRAPH || audience == "00000003-0000-0000-c000-000000000000"
}

/// Whether the audience is Exchange Online's.
pub(super) fn is_outlook(audience: &str) -> bool {
    matches!(audience, "https://outlook.office365.com" | "https://outlook.office.com")
}

impl Grant {
    /// Whether the mail server may take mail with it.
    fn may_submit(&self) -> bool {
        self.permissions.iter().any(|held| matches!(held.as_str(), "SMTP.SendAsApp" | "SMTP.Send"))
    }

    /// What a server that reads these claims makes of it.
    fn with_claims(self, claims: &Value) -> Self {
        let text = |name: &str| claims[name].as_str().map(str::to_owned);
        let scope = text("scp").unwrap_or_default();
        let roles = claims["roles"].as_array().map(Vec::as_slice).unwrap_or_default();
        let words = scope.split(' ').filter(|word| !word.is_empty());
        let permissions = roles.iter().filter_map(Value::as_str).chain(words);
        Self {
            owner: text("upn").map_or(Owner::Application, Owner::Mailbox),
            audience: text("aud").unwrap_or_default(),
            permissions: permissions.map(str::to_owned).collect(),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;
    use std::time::UNIX_EPOCH;

    fn grant(owner: Owner) -> Grant {
        let permission = match owner {
            Owner::Application => "SMTP.SendAsApp",
            Owner::Mailbox(_) => "SMTP.Send",
        };
        Grant {
            owner,
            client_id: "app".into(),
            audience: "https://outlook.office365.com".into(),
            permissions: vec![permission.to_owned()],
            expires_in: 3599,
        }
    }

    fn claims_of(token: &Secret) -> serde_json::Value {
        let part = token.expose().split('.').nth(1).expect("three parts");
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("json")
    }

    #[test]
    fn tokens_look_like_entras() {
        let (mut tokens, options, now) = (Tokens::default(), Options::default(), UNIX_EPOCH);
        let none = TokenFaults::default();
        for _ in 0..50 {
            let token = tokens.give(&options, grant(Owner::Application), &none, now);
            assert!((1500..=2500).contains(&token.expose().len()), "{}", token.expose().len());
            let claims = claims_of(&token);
            assert_eq!(claims["roles"], json!(["SMTP.SendAsApp"]));
            assert_eq!(claims["exp"], 3599);
            assert_eq!(claims["tid"], options.tenant_id.as_str());
        }
        let token =
            tokens.give(&options, grant(Owner::Mailbox("erp@contoso.com".into())), &none, now);
        assert_eq!(claims_of(&token)["scp"], "SMTP.Send");
        assert!(claims_of(&token)["roles"].is_null());
    }

    #[test]
    fn the_mail_server_takes_only_what_fits() {
        let (mut tokens, options, now) = (Tokens::default(), Options::default(), UNIX_EPOCH);
        let none = TokenFaults::default();
        let app = tokens.give(&options, grant(Owner::Application), &none, now);
        let own =
            tokens.give(&options, grant(Owner::Mailbox("erp@contoso.com".into())), &none, now);
        let graph =
            Grant { audience: "https://graph.microsoft.com".into(), ..grant(Owner::Application) };
        let graph = tokens.give(&options, graph, &none, now);
        let bare = tokens.give(
            &options,
            Grant { permissions: Vec::new(), ..grant(Owner::Application) },
            &none,
            now,
        );
        for (token, mailbox, after, expected) in [
            (&app, "any@contoso.com", 3598, Ok(())),
            (&app, "any@contoso.com", 3599, Err(TokenFault::Expired)),
            (&own, "ERP@contoso.com", 0, Ok(())),
            (&own, "any@contoso.com", 0, Err(TokenFault::Mailbox)),
            (&graph, "any@contoso.com", 0, Err(TokenFault::Audience)),
            (&bare, "any@contoso.com", 0, Err(TokenFault::Permission)),
            (&Secret::new("x"), "any@contoso.com", 0, Err(TokenFault::Unknown)),
        ] {
            assert_eq!(
                tokens.check(|_| false, token, mailbox, false, now + Duration::from_secs(after)),
                expected
            );
        }
        tokens.revoke_access();
        let unknown = tokens.check(|_| false, &app, "any@contoso.com", false, now);
        assert_eq!(unknown, Err(TokenFault::Unknown));
    }

    #[test]
    fn old_refresh_tokens_stay_good_until_they_are_revoked() {
        let mut tokens = Tokens::default();
        let (old, new) = (tokens.give_refresh("ann"), tokens.give_refresh("ann"));
        assert_eq!(tokens.refresh_state(old.expose()), RefreshState::Good("ann".into()));
        tokens.revoke_refresh();
        assert_eq!(tokens.refresh_state(new.expose()), RefreshState::Revoked);
        assert_eq!(tokens.refresh_state("x"), RefreshState::Unknown);
        assert_eq!(format!("{tokens:?}"), "Tokens(0 access, 2 refresh)");
    }
}
