//! What an access token says of itself, where it is a readable JWT (RFC 7519). Pure.
//!
//! For people who look for a fault, never for a decision: the signature is not verified, and whoever
//! issues a token may change its form at any time. It promises to read any text without stumbling, and
//! that nothing it hands on is longer than a line or holds a control character. It hands on no secret:
//! neither the token nor a claim that is not named here.

use super::response::plain;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// No token is read that has more octets: RFC 4954 §4 lets a response have 12,288.
const LONGEST: usize = 64 * 1024;
/// Of a list not more than this is shown.
const MOST: usize = 20;

/// What a token says. What it does not say is none, or empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// For which service it is: `aud`.
    pub audience: Option<String>,
    /// What a person allowed the application to do: `scp`.
    pub scopes: Vec<String>,
    /// What the application itself may do: `roles`.
    pub roles: Vec<String>,
    /// The directory that issued it, a GUID: `tid`.
    pub tenant: Option<String>,
    /// The person: `upn`, `unique_name` or `preferred_username`.
    pub user: Option<String>,
    /// The application's (client) id: `appid` or `azp`.
    pub application: Option<String>,
    /// The person, or the application's service principal, in the directory: `oid`.
    pub object_id: Option<String>,
    /// When it ends: `exp`.
    pub ends: Option<SystemTime>,
}

impl Claims {
    /// Reads a token; none where it is opaque, as those of personal accounts are.
    pub fn read(token: &str) -> Option<Self> {
        let mut parts = token.split('.').filter(|_| token.len() <= LONGEST);
        let (_, body, _, None) = (parts.next()?, parts.next()?, parts.next()?, parts.next()) else {
            return None;
        };
        let octets = URL_SAFE_NO_PAD.decode(body.trim_end_matches('=')).ok()?;
        let Value::Object(said) = serde_json::from_slice(&octets).ok()? else { return None };
        let text = |names: &[&str]| {
            let mut values = names.iter().filter_map(|name| said.get(*name)?.as_str());
            values.find_map(shown)
        };
        let words = |name: &str| -> Vec<String> {
            let words: Vec<&str> = match said.get(name) {
                Some(Value::String(text)) => text.split_ascii_whitespace().collect(),
                Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect(),
                _ => Vec::new(),
            };
            words.into_iter().filter_map(shown).take(MOST).collect()
        };
        // RFC 7519 §4.1.3: one audience as text, several as a list.
        let audience = text(&["aud"]).or_else(|| words("aud").into_iter().next());
        Some(Self {
            audience,
            scopes: words("scp"),
            roles: words("roles"),
            tenant: text(&["tid"]),
            user: text(&["upn", "unique_name", "preferred_username"]),
            application: text(&["appid", "azp"]),
            object_id: text(&["oid"]),
            ends: said.get("exp").and_then(moment),
        })
    }

    /// Whether it is the application's own: no person stands behind it.
    pub fn is_of_application(&self) -> bool {
        self.scopes.is_empty() && self.user.is_none()
    }
}

/// A claim as it may be shown: a line, and no second token inside.
fn shown(text: &str) -> Option<String> {
    let text = plain(text, &[]);
    (!text.is_empty()).then_some(text)
}

/// RFC 7519 §2: seconds since 1970, a fraction is allowed.
fn moment(value: &Value) -> Option<SystemTime> {
    let seconds = value.as_f64().filter(|seconds| (0.0..=253_402_300_799.0).contains(seconds))?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn reads_what_entra_writes() {
        let app = r#"{"aud":"https://outlook.office365.com","exp":1764000000,"appid":"0f8f","oid":"aa-bb",
            "tid":"5c3b","roles":["SMTP.SendAsApp","full_access_as_app"],"sid":"not shown"}"#;
        let claims = Claims::read(&token(app)).unwrap();
        assert_eq!(claims.audience.as_deref(), Some("https://outlook.office365.com"));
        assert_eq!(claims.roles, ["SMTP.SendAsApp", "full_access_as_app"]);
        assert_eq!(claims.object_id.as_deref(), Some("aa-bb"));
        assert_eq!(claims.ends, Some(UNIX_EPOCH + Duration::from_secs(1_764_000_000)));
        assert!(claims.is_of_application());
        let person = r#"{"aud":["https://outlook.office.com"],"scp":"IMAP.AccessAsUser.All SMTP.Send",
            "unique_name":"erp@contoso.com","exp":1764000000.5,"azp":"0f8f"}"#;
        let claims = Claims::read(&token(person)).unwrap();
        assert_eq!(claims.audience.as_deref(), Some("https://outlook.office.com"));
        assert_eq!(claims.scopes, ["IMAP.AccessAsUser.All", "SMTP.Send"]);
        assert_eq!(claims.user.as_deref(), Some("erp@contoso.com"));
        assert_eq!(claims.application.as_deref(), Some("0f8f"));
        assert!(!claims.is_of_application());
    }

    #[test]
    fn what_is_no_jwt_is_opaque() {
        let long = token(&format!("{{\"aud\":\"{}\"}}", "x".repeat(LONGEST)));
        for text in [
            "",
            "EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA",
            "a.b",
            "a.b.c",
            "a..c",
            "e30.W10.x",
            "e30.e30.x.y",
            "ya29.a0AfH6SMB.x",
            long.as_str(),
        ] {
            assert_eq!(Claims::read(text), None, "{:?}", text.get(..40));
        }
        assert_eq!(Claims::read("e30.e30."), Some(Claims::default()));
    }

    #[test]
    fn odd_values_are_left_out_or_cut() {
        for (claims, expected) in [
            (r#"{"aud":7,"scp":{},"roles":"x","exp":"soon"}"#, "None, x"),
            (r#"{"aud":"a\r\nb\u0000c","exp":-1}"#, "Some(\"a  b c\"), "),
            (r#"{"aud":[],"exp":1e300,"roles":[1,"y",null]}"#, "None, y"),
        ] {
            let claims = Claims::read(&token(claims)).unwrap();
            assert_eq!(format!("{:?}, {}", claims.audience, claims.roles.join(" ")), expected);
            assert_eq!(claims.ends, None);
        }
        let secret = "s".repeat(64);
        let nested = Claims::read(&token(&format!("{{\"upn\":\"{secret}\"}}"))).unwrap();
        assert_eq!(nested.user.as_deref(), Some("[…]"), "a long run may be another token");
    }

    #[test]
    fn no_text_makes_it_stumble() {
        let whole = token(r#"{"aud":"https://outlook.office365.com","roles":["é"]}"#);
        for cut in 0..whole.len() {
            let _ = Claims::read(&whole[..cut]);
            let mut octets = whole.clone().into_bytes();
            octets[cut] ^= 0x15;
            let _ = Claims::read(&String::from_utf8_lossy(&octets));
        }
    }
}
