//! Codes that stand for a person's consent: given out, entered, redeemed once.
//!
//! No HTTP: `sign_in` has the pages, `entra` the token endpoint. The order of the checks and the numbers of
//! the refusals are those of the real service.

use super::aadsts::Refusal;
use super::entra::Form;
use super::faults::{Faults, SignInFaults};
use super::random;
use super::world::World;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, SystemTime};
use url::Url;

/// Seconds that a code of the authorize endpoint is good.
const CODE_LIFE: u64 = 600;
/// Seconds that a code to type in is good.
const DEVICE_LIFE: u64 = 900;

/// Who may sign in, and where applications have people sent back.
#[derive(Clone, Debug)]
pub struct SignIns {
    /// Users besides those that mailboxes have.
    pub people: Vec<String>,
    /// Of all users those with a personal account: they sign in at `consumers`, their tokens are opaque.
    pub personal: Vec<String>,
    /// Who may open another mailbox: user and mailbox.
    pub delegates: Vec<(String, String)>,
    /// Registered for the application with a secret, platform Web.
    pub web_redirects: Vec<String>,
    /// Registered for the application without one, platform Mobile and desktop.
    pub public_redirects: Vec<String>,
}

impl Default for SignIns {
    fn default() -> Self {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect();
        Self {
            people: Vec::new(),
            personal: Vec::new(),
            delegates: Vec::new(),
            web_redirects: texts(&[
                "http://localhost/submitd/callback",
                "https://lms.contoso.com/oauth/callback",
            ]),
            public_redirects: texts(&[
                "http://localhost",
                "http://127.0.0.1",
                "https://login.microsoftonline.com/common/oauth2/nativeclient",
            ]),
        }
    }
}

/// What somebody consented to.
#[derive(Clone, Debug)]
pub(super) struct Consented {
    pub(super) user: String,
    pub(super) scope: String,
    /// Asked for: access when nobody is there, by a refresh token.
    pub(super) offline: bool,
}

struct Code {
    consented: Consented,
    client_id: String,
    tenant: String,
    redirect: String,
    challenge: Option<(String, bool)>,
    ends: SystemTime,
    used: bool,
}

#[derive(Clone)]
enum Typed {
    Pending,
    Accepted(String),
    Declined,
}

struct Device {
    user_code: String,
    client_id: String,
    scope: String,
    ends: SystemTime,
    typed: Typed,
}

/// All codes that were given out.
#[derive(Default)]
pub(super) struct Codes {
    codes: HashMap<String, Code>,
    devices: HashMap<String, Device>,
    /// Who has consented before; only Google asks.
    consents: HashSet<String>,
}

/// Numbers only: the keys are the codes.
impl std::fmt::Debug for Codes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Codes({}, {} to type in)", self.codes.len(), self.devices.len())
    }
}

/// A request at the authorize endpoint that may be shown to a person.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) client_id: String,
    pub(super) redirect: String,
    pub(super) state: String,
    pub(super) hint: String,
    pub(super) scope: String,
    pub(super) in_fragment: bool,
    pub(super) offline: bool,
    /// RFC 7636: the challenge, and whether it is hashed.
    pub(super) challenge: Option<(String, bool)>,
}

/// Judges a request at the authorize endpoint; what is refused is shown as a page, nobody is redirected.
pub(super) fn ask(world: &World, tenant: &str, query: &Form) -> Result<Asked, Refusal> {
    super::entra::check_tenant(&world.options, tenant)?;
    let field = |name: &str| query.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let required = |name: &'static str| field(name).ok_or_else(|| Refusal::new(900_144, &[name]));
    let client_id = required("client_id")?;
    let redirects =
        redirects(world, client_id).ok_or_else(|| Refusal::new(700_016, &[client_id, tenant]))?;
    if required("response_type")? != "code" {
        return Err(Refusal::new(700_054, &[]));
    }
    let redirect = required("redirect_uri")?;
    if !redirects.iter().any(|known| is_same_redirect(known, redirect)) {
        return Err(Refusal::new(50011, &[redirect, client_id]));
    }
    let challenge = challenge(query);
    if challenge.as_ref().is_some_and(|(text, _)| !(43..=128).contains(&text.len())) {
        return Err(Refusal::new(501_491, &[]));
    }
    let scope = required("scope")?;
    Ok(Asked {
        client_id: client_id.to_owned(),
        redirect: redirect.to_owned(),
        state: field("state").unwrap_or_default().to_owned(),
        hint: field("login_hint").unwrap_or_default().to_owned(),
        scope: scope.to_owned(),
        in_fragment: field("response_mode") == Some("fragment"),
        offline: is_offline(scope),
        challenge,
    })
}

/// The challenge of a request, and whether it is hashed.
pub(super) fn challenge(query: &Form) -> Option<(String, bool)> {
    let text = query.get("code_challenge").filter(|text| !text.is_empty())?;
    let is_hashed = query.get("code_challenge_method").is_some_and(|method| method == "S256");
    Some((text.clone(), is_hashed))
}

fn is_offline(scope: &str) -> bool {
    scope.split_whitespace().any(|word| word == "offline_access")
}

/// Where the application has people sent back; none for an application nobody knows.
fn redirects<'a>(world: &'a World, client_id: &str) -> Option<&'a [String]> {
    let options = &world.options;
    if client_id.eq_ignore_ascii_case(&options.client_id) {
        return Some(&options.sign_ins.web_redirects);
    }
    let is_public = client_id.eq_ignore_ascii_case(&options.public_client_id);
    is_public.then_some(options.sign_ins.public_redirects.as_slice())
}

/// The same address; for loopback with any port, and with or without the slash that is all of a path.
fn is_same_redirect(known: &str, asked: &str) -> bool {
    if known == asked {
        return true;
    }
    let (Ok(known), Ok(asked)) = (Url::parse(known), Url::parse(asked)) else { return false };
    let host = known.host_str().unwrap_or_default();
    known.scheme() == "http"
        && ["localhost", "127.0.0.1"].contains(&host)
        && asked.scheme() == "http"
        && asked.host_str() == Some(host)
        && known.path() == asked.path()
        && known.query() == asked.query()
}

/// Whether this person can sign in there.
pub(super) fn check_user(world: &World, tenant: &str, user: &str) -> Result<(), Refusal> {
    let is = |known: &str| known.eq_ignore_ascii_case(user);
    let sign_ins = &world.options.sign_ins;
    let personal = sign_ins.personal.iter().any(|known| is(known));
    let known = world.options.mailboxes.iter().any(|mailbox| is(&mailbox.address))
        || sign_ins.people.iter().any(|known| is(known))
        || personal;
    match (known, personal, tenant) {
        (false, ..) => Err(Refusal::new(50034, &[])),
        (_, true, "consumers" | "common") | (_, false, "common" | "organizations") => Ok(()),
        (_, true, _) | (_, false, "consumers") => Err(Refusal::new(50020, &[user])),
        (_, false, _) => Ok(()),
    }
}

impl Codes {
    /// Somebody consented: the code for it.
    pub(super) fn give(
        &mut self,
        asked: &Asked,
        tenant: &str,
        user: &str,
        life: Option<u64>,
        now: SystemTime,
    ) -> String {
        let text = format!("0.AXoA{}.{}", random::base64url::<18>(), random::base64url::<480>());
        let (scope, offline) = (asked.scope.clone(), asked.offline);
        let consented = Consented { user: user.to_owned(), scope, offline };
        let code = Code {
            consented,
            client_id: asked.client_id.clone(),
            tenant: tenant.to_owned(),
            redirect: asked.redirect.clone(),
            challenge: asked.challenge.clone(),
            ends: now + Duration::from_secs(life.unwrap_or(CODE_LIFE)),
            used: false,
        };
        self.codes.insert(text.clone(), code);
        text
    }

    /// Whether this person consents for the first time.
    pub(super) fn is_first_consent(&mut self, user: &str) -> bool {
        self.consents.insert(user.to_lowercase())
    }

    /// What the code stands for; it is used up by this.
    pub(super) fn redeem(
        &mut self,
        tenant: &str,
        client_id: &str,
        form: &Form,
        now: SystemTime,
    ) -> Result<Consented, Refusal> {
        let field = |name: &'static str| {
            let value = form.get(name).map(String::as_str).filter(|value| !value.is_empty());
            value.ok_or_else(|| Refusal::new(900_144, &[name]))
        };
        let Some(code) = self.codes.get_mut(field("code")?) else {
            return Err(Refusal::new(9_002_313, &[]));
        };
        if code.tenant != tenant {
            return Err(Refusal::new(700_005, &[]));
        }
        if code.used {
            return Err(Refusal::new(54005, &[]));
        }
        if code.ends <= now {
            return Err(Refusal::new(70008, &[]));
        }
        let redirect = field("redirect_uri")?;
        if !code.client_id.eq_ignore_ascii_case(client_id)
            || !is_same_redirect(&code.redirect, redirect)
        {
            return Err(Refusal::new(500_112, &[redirect, &code.redirect]));
        }
        if let Some((challenge, is_hashed)) = &code.challenge {
            let verifier = form.get("code_verifier").map(String::as_str).unwrap_or_default();
            let shown = match is_hashed {
                true => URL_SAFE_NO_PAD
                    .encode(ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes())),
                false => verifier.to_owned(),
            };
            if shown != *challenge {
                return Err(Refusal::new(501_481, &[]));
            }
        }
        code.used = true;
        Ok(code.consented.clone())
    }

    /// A code to type in: that of the device, and that of the person.
    pub(super) fn give_device(
        &mut self,
        client_id: &str,
        scope: &str,
        faults: &SignInFaults,
        now: SystemTime,
    ) -> (String, String, u64) {
        let device_code = format!("GAQABAAEAAAAm{}", random::base64url::<160>());
        let user_code = random::hex::<5>()[..9].to_owned();
        let life = faults.device_life.unwrap_or(DEVICE_LIFE);
        let device = Device {
            user_code: user_code.clone(),
            client_id: client_id.to_owned(),
            scope: scope.to_owned(),
            ends: now + Duration::from_secs(life),
            typed: Typed::Pending,
        };
        self.devices.insert(device_code.clone(), device);
        (device_code, user_code, life)
    }

    /// Whether somebody may still type this code in.
    pub(super) fn awaits(&self, user_code: &str, now: SystemTime) -> bool {
        self.devices.values().any(|device| {
            device.user_code.eq_ignore_ascii_case(user_code.trim()) && device.ends > now
        })
    }

    /// Somebody typed a code in and accepted, or declined.
    pub(super) fn typed(&mut self, user_code: &str, user: Option<&str>) {
        let user_code = user_code.trim();
        for device in self.devices.values_mut() {
            if device.user_code.eq_ignore_ascii_case(user_code) {
                device.typed = match user {
                    Some(user) => Typed::Accepted(user.to_owned()),
                    None => Typed::Declined,
                };
            }
        }
    }

    /// What a device hears.
    pub(super) fn poll(
        &mut self,
        client_id: &str,
        device_code: &str,
        now: SystemTime,
    ) -> Result<Consented, Refusal> {
        let found = self.devices.get(device_code);
        let device = found.filter(|device| device.client_id.eq_ignore_ascii_case(client_id));
        let Some(device) = device else { return Err(Refusal::new(70018, &[])) };
        if device.ends <= now {
            return Err(Refusal::new(70019, &[]));
        }
        match device.typed.clone() {
            Typed::Pending => Err(Refusal::new(70016, &[])),
            Typed::Declined => {
                let words = "User declined to authenticate.";
                Err(Refusal::new(70016, &[]).called("authorization_declined").saying(words))
            }
            Typed::Accepted(user) => {
                let scope = device.scope.clone();
                self.devices.remove(device_code);
                let offline = is_offline(&scope);
                Ok(Consented { user, scope, offline })
            }
        }
    }
}

/// Who signed in, whatever was chosen: a browser that was signed in as somebody else.
pub(super) fn actual_user(faults: &Faults, chosen: &str) -> String {
    faults.sign_in.user.clone().unwrap_or_else(|| chosen.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_are_the_same_but_for_the_port_of_this_machine() {
        for (known, asked, same) in [
            ("http://localhost", "http://localhost:5000", true),
            ("http://localhost", "http://localhost:5000/", true),
            ("http://localhost/x", "http://localhost:5000/x", true),
            ("http://localhost/x", "http://localhost:5000/X", false),
            ("http://localhost", "http://127.0.0.1:5000", false),
            ("http://localhost", "https://localhost", false),
            ("https://lms.contoso.com/cb", "https://lms.contoso.com:444/cb", false),
            ("https://lms.contoso.com/cb", "https://lms.contoso.com/cb", true),
            ("http://localhost", "http://localhost.evil.example", false),
        ] {
            assert_eq!(is_same_redirect(known, asked), same, "{known} {asked}");
        }
    }
}
