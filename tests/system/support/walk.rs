//! A walk of `submitd check` by the library, against a sandbox: HTTP, TLS and SMTP are real, only the process
//! is saved.

use super::world::{RUNTIME, World};
use submitd::check::{self, Finding, Outcome, Step, Trial, Trouble};
use submitd::config::Config;
use submitd::mail::Address;
use submitd::oauth::Keeper;
use submitd::sandbox::{Identities, Limits, Options};

pub const APP: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
pub const PUBLIC: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";

/// A walk: every step with what it came to, and the end.
pub struct Walk {
    pub steps: Vec<(Step, Finding)>,
    pub outcome: Outcome,
}

impl Walk {
    /// The step that broke.
    pub fn broken(&self) -> (Step, &Trouble) {
        let broken = self.steps.iter().find_map(|(step, finding)| match finding {
            Finding::Broken(trouble) => Some((*step, trouble)),
            _ => None,
        });
        broken.unwrap_or_else(|| panic!("nothing broke: {:?}", self.steps))
    }

    pub fn doubts(&self) -> Vec<&Trouble> {
        let doubts = self.steps.iter().filter_map(|(_, finding)| match finding {
            Finding::Doubt(trouble) => Some(trouble),
            _ => None,
        });
        doubts.collect()
    }

    /// What was seen at a step that went well.
    pub fn seen(&self, wanted: Step) -> &str {
        let seen = self.steps.iter().find_map(|(step, finding)| match finding {
            Finding::Good(seen) if *step == wanted => Some(seen.as_str()),
            _ => None,
        });
        seen.unwrap_or_else(|| panic!("{wanted:?}: {:?}", self.steps))
    }
}

pub fn trial(from: Option<&str>, to: Option<&str>) -> Trial {
    let address = |text: &str| Address::parse(text).unwrap();
    let message = "From: ERP <erp@contoso.com>\r\nSubject: trial\r\n\r\nHello.\r\n";
    Trial {
        from: from.map(address),
        mail: to.map(|to| (address(to), message.as_bytes().to_vec().into())),
    }
}

/// A configuration whose account has these keys, and these in `[account.oauth]`.
pub fn config(world: &World, keys: &str, oauth: &str) -> String {
    format!(
        "state_dir = \"{dir}/state\"\nhostname = \"relay.test\"\n\
         [[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n{keys}\n\
         [account.upstream]\nhost = \"localhost\"\nport = {port}\nca_file = \"{dir}/sandbox-ca.pem\"\n\
         [account.oauth]\n{oauth}\n",
        dir = world.path().display(),
        port = world.sandbox.smtp_addr().port(),
    )
}

/// By the application's secret.
pub fn by_secret(world: &World) -> String {
    let secret = Options::default().client_secret;
    let keys = format!(
        "grant = \"client_credentials\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{APP}\"\n\
         client_secret = \"{}\"",
        secret.expose()
    );
    config(world, &keys, &format!("token_url = \"{}\"", world.sandbox.token_url()))
}

/// By a refresh token; the account is a person's.
pub fn by_person(world: &World) -> String {
    let token = Options::default().refresh_token;
    let keys = format!(
        "grant = \"refresh_token\"\ntenant = \"contoso.onmicrosoft.com\"\nclient_id = \"{PUBLIC}\"\n\
         refresh_token = \"{}\"",
        token.expose()
    );
    config(world, &keys, &format!("token_url = \"{}\"", world.sandbox.token_url()))
}

pub fn by_managed_identity(world: &World) -> String {
    let url = format!("{}/metadata/identity/oauth2/token", world.sandbox.web_url());
    config(world, "grant = \"managed_identity\"\n", &format!("token_url = \"{url}\""))
}

pub fn by_service_account(world: &World) -> String {
    let path = world.path().join("key.json");
    std::fs::write(&path, Identities::default().service_account_file()).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let keys =
        "preset = \"gmail\"\ngrant = \"service_account\"\nservice_account_file = \"key.json\"";
    config(world, keys, &format!("token_url = \"{}/google/token\"", world.sandbox.web_url()))
}

pub fn walk(world: &World, text: &str, trial: &Trial) -> Walk {
    let path = world.path().join("check.toml");
    std::fs::write(&path, text).unwrap();
    let config = Config::load(Some(&path), std::iter::empty())
        .unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let state = tempfile::tempdir_in(world.path()).unwrap();
    RUNTIME.block_on(async {
        let keeper = Keeper::open(&config.accounts, state.path()).unwrap();
        let mut steps = Vec::new();
        let tell = |step, finding| steps.push((step, finding));
        let account = &config.accounts[0];
        let outcome = check::walk(account, &config.hostname, &keeper, trial, tell).await;
        Walk { steps, outcome }
    })
}

pub fn world(change: impl FnOnce(&mut Options)) -> World {
    let mut options = Options { limits: Limits::NONE, ..Options::default() };
    change(&mut options);
    World::with(options)
}

/// The words in the text, blanks and line ends being the same.
pub fn says(text: &str, words: &[&str], of: &str) {
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "{of}: {word:?} is not in:\n{text}");
    }
}

pub fn remedy(trouble: &Trouble) -> &str {
    trouble.remedy.as_deref().unwrap_or_default()
}
