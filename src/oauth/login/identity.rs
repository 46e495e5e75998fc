//! Who signed in, as the tokens say it. Pure.
//!
//! For people and for telling a wrong sign-in early: which mailbox a token opens, the server decides. The
//! signature is not looked at: the tokens came from the provider itself, over TLS (OpenID Connect Core
//! §3.1.3.7). Personal accounts of Microsoft have opaque access tokens; then only the id token speaks.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names are cut here, in characters.
const LONGEST_NAME: usize = 254;

/// Says who signed in (OpenID Connect Core §2); not shown, for it holds names.
#[derive(Deserialize, Serialize)]
pub struct IdToken(String);

impl IdToken {
    /// As it came.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for IdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("IdToken(…)")
    }
}

/// What the tokens say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Names of the person: sign-in name first, then addresses. Empty where the tokens say nothing.
    pub names: Vec<String>,
    /// What the access token allows, where it can be read.
    pub permissions: Option<String>,
}

impl Identity {
    /// Reads what can be read.
    pub fn read(id_token: Option<&str>, access_token: &str) -> Self {
        let access = claims(access_token);
        let sources = [id_token.and_then(claims), access.clone()];
        let mut names: Vec<String> = Vec::new();
        for claims in sources.iter().flatten() {
            for name in ["preferred_username", "upn", "unique_name", "email"] {
                let Some(text) = claims.get(name).and_then(Value::as_str) else { continue };
                let text: String =
                    text.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect();
                let is_known = names.iter().any(|known| known.eq_ignore_ascii_case(&text));
                if !text.is_empty() && !is_known {
                    names.push(text);
                }
            }
        }
        let permissions = access.and_then(|claims| Some(claims.get("scp")?.as_str()?.to_owned()));
        Self { names, permissions }
    }

    /// Whether it may be this person: yes also where the tokens say nothing.
    pub fn may_be(&self, wanted: &str) -> bool {
        let lower = wanted.to_lowercase();
        self.names.is_empty() || self.names.iter().any(|name| name.to_lowercase() == lower)
    }

    /// Whether the token is known to lack each of these permissions.
    pub fn lacks(&self, names: &[&str]) -> bool {
        let allows = |list: &String| list.split(' ').any(|word| names.contains(&word));
        self.permissions.as_ref().is_some_and(|list| !allows(list))
    }
}

/// The claims of a JWT; none where it is none.
fn claims(token: &str) -> Option<Value> {
    let mut parts = token.split('.');
    let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
    let octets = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('=')).ok()?;
    serde_json::from_slice::<Value>(&octets).ok().filter(Value::is_object)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jwt(claims: &Value) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    #[test]
    fn who_signed_in_and_whether_that_is_right() {
        let id = jwt(&serde_json::json!({
            "preferred_username": "Ann@contoso.com", "email": "ann.smith@contoso.com",
        }));
        let access = jwt(&serde_json::json!({"upn": "ann@contoso.com", "scp": "SMTP.Send"}));
        let both = Identity::read(Some(&id), &access);
        assert_eq!(both.names, ["Ann@contoso.com", "ann.smith@contoso.com"]);
        assert!(!both.lacks(&["SMTP.Send"]));
        for (wanted, fits) in [
            ("ann@contoso.com", true),
            ("ANN.Smith@Contoso.com", true),
            ("erp@contoso.com", false),
            ("", false),
        ] {
            assert_eq!(both.may_be(wanted), fits, "{wanted}");
        }
        let access = jwt(&serde_json::json!({"scp": "Mail.Send User.Read"}));
        let read = Identity::read(None, &access);
        assert!(read.lacks(&["SMTP.Send"]) && !read.lacks(&["Mail.Send", "Mail.Send.Shared"]));
    }

    #[test]
    fn opaque_tokens_say_nothing_and_refuse_nobody() {
        let opaque = Identity::read(None, "EwB4A8l6BAAU.x");
        assert_eq!(opaque, Identity::default());
        assert!(opaque.may_be("anybody@outlook.com") && !opaque.lacks(&["SMTP.Send"]));
    }

    #[test]
    fn whatever_comes_is_read_without_panic() {
        let token = jwt(&serde_json::json!({
            "upn": format!("a\u{1b}[31m{}", "x".repeat(1000)), "email": 7, "scp": ["SMTP.Send"],
        }));
        let read = Identity::read(Some("a.b.c"), &token);
        assert!(read.names[0].len() <= LONGEST_NAME && !read.names[0].contains('\u{1b}'));
        assert_eq!(read.permissions, None);
        for end in 0..token.len() {
            let _ = Identity::read(Some(&token[..end]), "..");
        }
    }
}
