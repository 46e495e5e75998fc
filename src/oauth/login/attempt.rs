//! One sign-in in a browser: what is asked, and whether an answer belongs to it. Pure.
//!
//! It promises that an answer counts only with the exact `state` of this attempt (RFC 6749 §10.12), that a
//! code can be redeemed only by whoever holds the verifier (RFC 7636, S256 always), and that an answer
//! which names another provider is refused (RFC 9207). Chance is an argument.

use crate::config::{Consent, OAuth, SignIn};
use crate::oauth::response::{self, Answer, Fault};
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::time::SystemTime;
use url::Url;

/// A pasted or received answer is not looked at beyond this many octets.
const LONGEST_ANSWER: usize = 16 * 1024;

/// One attempt.
#[derive(Debug)]
pub struct Attempt {
    state: Secret,
    verifier: Secret,
    redirect: String,
    url: Url,
    issuer: Issuer,
}

/// Who an answer may name as its sender.
#[derive(Debug)]
enum Issuer {
    /// Exactly this, and it must be named.
    Exactly(String),
    /// If it is named, somebody on the host of the authorize endpoint.
    Beside(url::Origin),
}

/// What an answer of this attempt brings.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// A code to redeem.
    Code(Secret),
    /// The provider says no, and why.
    Refused(Fault),
}

/// Why an answer does not belong to this attempt. The attempt goes on waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// Of another attempt, or forged.
    #[error("the answer belongs to another sign-in: its state is not ours")]
    State,
    /// RFC 9207: another provider answered in the place of ours.
    #[error("the answer comes from another provider than the one that was asked")]
    Issuer,
    /// Neither a code nor an error.
    #[error("there is no code in it")]
    Nothing,
    /// RFC 6749 §3.1: a parameter may stand once only.
    #[error("a parameter stands in it twice")]
    Twice,
    /// Longer than any answer.
    #[error("it is too long for an answer")]
    Long,
    /// The page of another address was pasted.
    #[error("it is not the address that the browser ends at after the sign-in")]
    Elsewhere,
}

impl Attempt {
    /// An attempt to sign in and allow `scope`, with the browser coming back to `redirect`; `chance` are 64
    /// octets that nobody can guess. None where the account names no authorize endpoint.
    pub fn new(
        oauth: &OAuth,
        sign_in: &SignIn,
        scope: &str,
        redirect: String,
        chance: &[u8; 64],
    ) -> Option<Self> {
        let Consent { authorize_url, issuer, identity_scope, .. } = &oauth.consent;
        let mut url = authorize_url.clone()?;
        let (state, verifier) = chance.split_at(32);
        let [state, verifier] = [state, verifier].map(|octets| URL_SAFE_NO_PAD.encode(octets));
        url.query_pairs_mut()
            .append_pair("client_id", &sign_in.application.client_id)
            .append_pair("response_type", "code")
            .append_pair("redirect_uri", &redirect)
            .append_pair("scope", &asked_scope(scope, identity_scope))
            .append_pair("state", &state)
            .append_pair("code_challenge", &challenge(&verifier))
            .append_pair("code_challenge_method", "S256")
            .append_pair("login_hint", &sign_in.username);
        let issuer = match issuer {
            Some(issuer) => Issuer::Exactly(issuer.clone()),
            None => Issuer::Beside(url.origin()),
        };
        let [state, verifier] = [state, verifier].map(Secret::new);
        Some(Self { state, verifier, redirect, url, issuer })
    }

    /// Where the browser goes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Where the browser comes back, octet for octet as it was asked.
    pub fn redirect(&self) -> &str {
        &self.redirect
    }

    /// What only whoever began the attempt knows (RFC 7636 §4.1).
    pub fn verifier(&self) -> &Secret {
        &self.verifier
    }

    /// Reads the query of an answer that came to us.
    ///
    /// # Errors
    /// [`Unfit`] where it does not belong to this attempt.
    pub fn hear(&self, query: &str) -> Result<Heard, Unfit> {
        let fields = Fields::read(query)?;
        match &fields.state {
            Some(state) if self.state.matches(state) => self.judge(fields),
            _ => Err(Unfit::State),
        }
    }

    /// Reads what a person pasted: the whole address, its query, or the code alone. A `state` is checked
    /// where there is one; without it the verifier still binds the code to this attempt.
    ///
    /// # Errors
    /// [`Unfit`] where it does not belong to this attempt.
    pub fn read_pasted(&self, text: &str) -> Result<Heard, Unfit> {
        // A terminal breaks long lines, and what is copied from it has the breaks.
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        if text.len() > LONGEST_ANSWER {
            return Err(Unfit::Long);
        }
        let query = match text.split_once("://") {
            Some(_) => {
                let (Ok(url), Ok(ours)) = (Url::parse(&text), Url::parse(&self.redirect)) else {
                    return Err(Unfit::Elsewhere);
                };
                if url.origin() != ours.origin() || url.path() != ours.path() {
                    return Err(Unfit::Elsewhere);
                }
                url.query().unwrap_or_default().to_owned()
            }
            None => text.trim_start_matches('?').to_owned(),
        };
        let is_bare = !query.contains('=') && !query.is_empty() && query.is_ascii();
        if is_bare && query == text {
            return Ok(Heard::Code(Secret::new(query)));
        }
        let fields = Fields::read(&query)?;
        match &fields.state {
            Some(state) if !self.state.matches(state) => Err(Unfit::State),
            _ => self.judge(fields),
        }
    }

    fn judge(&self, fields: Fields) -> Result<Heard, Unfit> {
        let is_ours = match (&self.issuer, &fields.iss) {
            (Issuer::Exactly(ours), Some(named)) => ours == named,
            (Issuer::Exactly(_), None) => false,
            (Issuer::Beside(ours), Some(named)) => {
                Url::parse(named).is_ok_and(|named| named.origin() == *ours)
            }
            (Issuer::Beside(_), None) => true,
        };
        if !is_ours {
            return Err(Unfit::Issuer);
        }
        if let Some(error) = fields.error.filter(|error| !error.is_empty()) {
            return Ok(Heard::Refused(refusal(&error, fields.error_description.as_deref())));
        }
        let code = fields.code.filter(|code| !code.is_empty()).ok_or(Unfit::Nothing)?;
        Ok(Heard::Code(Secret::new(code)))
    }
}

/// What is asked for at the sign-in: the scope, and who signs in.
pub(super) fn asked_scope(scope: &str, identity: &str) -> String {
    let words = scope.split_whitespace().chain(identity.split_whitespace());
    let mut asked: Vec<&str> = Vec::new();
    for word in words {
        if !asked.contains(&word) {
            asked.push(word);
        }
    }
    asked.join(" ")
}

/// RFC 7636 §4.2.
fn challenge(verifier: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
    URL_SAFE_NO_PAD.encode(digest)
}

/// A refusal of the authorize endpoint means what the same words mean at the token endpoint.
fn refusal(error: &str, description: Option<&str>) -> Fault {
    let body = serde_json::json!({"error": error, "error_description": description});
    let body = body.to_string();
    let answer = Answer { status: 400, retry_after: None, body: body.as_bytes() };
    response::refusal(answer, SystemTime::UNIX_EPOCH, &[]).unwrap_or(Fault::GivenUp)
}

/// The parameters of an answer that mean something.
#[derive(Default)]
struct Fields {
    code: Option<String>,
    state: Option<String>,
    iss: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

impl Fields {
    fn read(query: &str) -> Result<Self, Unfit> {
        if query.len() > LONGEST_ANSWER {
            return Err(Unfit::Long);
        }
        let mut fields = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = match &*name {
                "code" => &mut fields.code,
                "state" => &mut fields.state,
                "iss" => &mut fields.iss,
                "error" => &mut fields.error,
                "error_description" => &mut fields.error_description,
                _ => continue,
            };
            if place.replace(value.into_owned()).is_some() {
                return Err(Unfit::Twice);
            }
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Application, Proof, SignInBy};
    use crate::diagnosis::Class;

    fn oauth(issuer: Option<&str>) -> OAuth {
        OAuth {
            token_url: "https://idp.example/token".parse().unwrap(),
            scope: "https://outlook.office.com/SMTP.Send offline_access".into(),
            ca_file: None,
            proxy: crate::config::HttpProxy::Environment,
            timeout: std::time::Duration::from_secs(1),
            consent: Consent {
                authorize_url: Some(
                    "https://idp.example/auth?prompt=select_account".parse().unwrap(),
                ),
                issuer: issuer.map(str::to_owned),
                identity_scope: "openid offline_access".into(),
                ..Consent::default()
            },
        }
    }

    fn sign_in() -> SignIn {
        SignIn {
            by: SignInBy::Browser,
            application: Application { client_id: "client".into(), proof: Proof::None },
            redirect_uri: "http://localhost".into(),
            username: "erp+x@contoso.com".into(),
        }
    }

    fn attempt(issuer: Option<&str>) -> Attempt {
        let chance = std::array::from_fn(|at| u8::try_from(at).unwrap());
        let redirect = "http://localhost:51234".to_owned();
        let oauth = oauth(issuer);
        Attempt::new(&oauth, &sign_in(), &oauth.scope, redirect, &chance).unwrap()
    }

    const STATE: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

    #[test]
    fn the_challenge_is_that_of_the_standard() {
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge(verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }

    #[test]
    fn what_is_asked() {
        let attempt = attempt(None);
        let asked: Vec<(String, String)> = attempt.url().query_pairs().into_owned().collect();
        let verifier = attempt.verifier().expose();
        assert_eq!(verifier.len(), 43);
        let challenge = challenge(verifier);
        for (name, value) in [
            ("prompt", "select_account"),
            ("client_id", "client"),
            ("response_type", "code"),
            ("redirect_uri", "http://localhost:51234"),
            ("scope", "https://outlook.office.com/SMTP.Send offline_access openid"),
            ("state", STATE),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
            ("login_hint", "erp+x@contoso.com"),
        ] {
            assert!(asked.contains(&(name.into(), value.into())), "{name}: {asked:?}");
        }
        assert!(!attempt.url().as_str().contains(verifier));
        assert!(!format!("{attempt:?}").contains(verifier));
    }

    #[test]
    fn a25_an_answer_counts_only_with_our_own_state() {
        let attempt = attempt(None);
        let code = Heard::Code(Secret::new("c"));
        assert_eq!(attempt.hear(&format!("code=c&state={STATE}")), Ok(code));
        for (query, unfit) in [
            ("code=c", Unfit::State),
            ("code=c&state=", Unfit::State),
            ("code=c&state=other", Unfit::State),
            ("", Unfit::State),
            (&format!("state={STATE}"), Unfit::Nothing),
            (&format!("code=&state={STATE}"), Unfit::Nothing),
            (&format!("code=c&code=d&state={STATE}"), Unfit::Twice),
            (&format!("code=c&state={STATE}&state={STATE}"), Unfit::Twice),
            (&format!("code=c&state={STATE}&x={}", "y".repeat(20_000)), Unfit::Long),
        ] {
            assert_eq!(attempt.hear(query), Err(unfit), "{query}");
        }
        for end in 0..STATE.len() {
            let query = format!("code=c&state={}", &STATE[..end]);
            assert_eq!(attempt.hear(&query), Err(Unfit::State));
        }
    }

    #[test]
    fn a25_an_answer_of_another_provider_is_refused() {
        for (ours, named, fits) in [
            (None, "", true),
            (None, "&iss=https%3A%2F%2Fidp.example", true),
            (None, "&iss=https%3A%2F%2Fidp.example%2Ftenant", true),
            (None, "&iss=https%3A%2F%2Fevil.example", false),
            (None, "&iss=http%3A%2F%2Fidp.example", false),
            (None, "&iss=idp.example", false),
            (Some("https://idp.example"), "&iss=https%3A%2F%2Fidp.example", true),
            (Some("https://idp.example"), "&iss=https%3A%2F%2Fidp.example%2F", false),
            (Some("https://idp.example"), "", false),
        ] {
            let heard = attempt(ours).hear(&format!("code=c&state={STATE}{named}"));
            assert_eq!(heard.is_ok(), fits, "{ours:?} {named}");
            assert!(fits || heard == Err(Unfit::Issuer));
        }
    }

    #[test]
    fn a_refusal_is_explained_and_shows_no_markup_of_the_provider_as_code() {
        let query = format!(
            "error=access_denied&state={STATE}&error_description=AADSTS65004%3A+User+declined+to+consent+to+access+the+app."
        );
        let Ok(Heard::Refused(fault)) = attempt(None).hear(&query) else { panic!("refused") };
        assert_eq!(fault.class(), Class::SignIn);
        assert!(fault.to_string().contains("the user declined"), "{fault}");
        let unknown = attempt(None).hear(&format!("error=what&state={STATE}"));
        assert!(matches!(unknown, Ok(Heard::Refused(_))));
    }

    #[test]
    fn what_people_paste() {
        let attempt = attempt(None);
        let code = || Ok(Heard::Code(Secret::new("0.AXo-_x~y")));
        for text in [
            "0.AXo-_x~y",
            " 0.AXo-\n_x~y \r\n",
            &format!("http://localhost:51234/?code=0.AXo-_x~y&state={STATE}"),
            &format!("http://localhost:51234?code=0.AXo-_x%7Ey&state={STATE}&session_state=x"),
            &format!("code=0.AXo-_x~y&state={STATE}"),
            &format!("?code=0.AXo-_x~y&state={STATE}"),
            "code=0.AXo-_x~y",
        ] {
            assert_eq!(attempt.read_pasted(text), code(), "{text}");
        }
        for (text, unfit) in [
            (attempt.url().as_str(), Unfit::Elsewhere),
            ("https://contoso.com/?code=c", Unfit::Elsewhere),
            ("http://localhost:51235/?code=c", Unfit::Elsewhere),
            ("http://localhost:51234/?code=c&state=other", Unfit::State),
            ("http://localhost:51234/", Unfit::Nothing),
            ("://", Unfit::Elsewhere),
            ("", Unfit::Nothing),
            (&"x".repeat(20_000), Unfit::Long),
        ] {
            assert_eq!(attempt.read_pasted(text), Err(unfit), "{text}");
        }
        let whole = format!("http://localhost:51234/?code=0.AXo&state={STATE}");
        for end in 0..whole.len() {
            let _ = attempt.read_pasted(&whole[..end]);
        }
    }
}
