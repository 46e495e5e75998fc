//! The keys of `[[account]]` that say how a token is had.
//!
//! It promises that every key is asked for whatever the grant is, that a key which means nothing with
//! the grant is told, and that what the surroundings offer (workload and managed identities put
//! themselves into variables) is only a default. It must not read a file but through what it is given.

use super::account::secret;
use super::application::{self, APPLICATION};
use super::check::Surroundings;
use super::identity::{self, HostWord};
use super::preset::Preset;
use super::secrets::Secrecy;
use super::section::Section;
use super::sign_in;
use super::tree::Node;
use super::value::{self, Written, Wrong, words};
use super::{Application, Grant, Proof, SecretFile, login};
use crate::mail::Address;
use crate::secret::Secret;
use std::path::PathBuf;

/// `grant`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum GrantWord {
    ClientCredentials,
    AuthorizationCode,
    DeviceCode,
    RefreshToken,
    Password,
    WorkloadIdentity,
    ManagedIdentity,
    ServiceAccount,
    TokenCommand,
    TokenFile,
    Tokenless,
}

words!(GrantWord {
    "client_credentials" => ClientCredentials, "authorization_code" => AuthorizationCode,
    "device_code" => DeviceCode, "refresh_token" => RefreshToken, "password" => Password,
    "workload_identity" => WorkloadIdentity, "managed_identity" => ManagedIdentity,
    "service_account" => ServiceAccount, "token_command" => TokenCommand, "token_file" => TokenFile,
    "none" => Tokenless,
} later {});

impl GrantWord {
    /// Whether the token is the application's own, so that a tenant must be named.
    pub fn is_app_only(self) -> bool {
        matches!(self, Self::ClientCredentials | Self::WorkloadIdentity)
    }

    /// Whether a person signs in with `submitd login`.
    pub fn signs_in(self) -> bool {
        matches!(self, Self::AuthorizationCode | Self::DeviceCode)
    }

    /// Whether no token endpoint is asked.
    pub fn is_brokered(self) -> bool {
        matches!(self, Self::TokenCommand | Self::TokenFile | Self::Tokenless)
    }

    /// Whether an application asks, and proves itself in whichever way it can.
    pub fn has_application(self) -> bool {
        self.signs_in()
            || matches!(self, Self::ClientCredentials | Self::RefreshToken | Self::Password)
    }

    fn takes(self, key: &str) -> bool {
        self.keys().contains(&key) || self.has_application() && APPLICATION.contains(&key)
    }

    /// The keys of [`KEYS`] that mean something besides those of [`APPLICATION`].
    fn keys(self) -> &'static [&'static str] {
        match self {
            Self::ClientCredentials => &[],
            Self::AuthorizationCode | Self::DeviceCode => &["redirect_uri", "username"],
            Self::RefreshToken => &["refresh_token", "refresh_token_file"],
            Self::Password => &["username", "password", "password_file"],
            Self::WorkloadIdentity => &["client_id", "federated_token_file"],
            Self::ManagedIdentity => &["client_id"],
            Self::ServiceAccount => &["service_account_file"],
            Self::TokenCommand => &["token_command"],
            Self::TokenFile => &["token_file"],
            Self::Tokenless => &["username", "password", "password_file"],
        }
    }
}

/// Every key that belongs to some grant and has no default.
const KEYS: [&str; 10] = [
    "redirect_uri",
    "refresh_token",
    "refresh_token_file",
    "username",
    "password",
    "password_file",
    "federated_token_file",
    "service_account_file",
    "token_command",
    "token_file",
];

/// A program and its arguments.
pub(super) struct Command(Vec<String>);

impl Written for Command {
    fn read(node: &Node) -> Result<Self, Vec<Wrong>> {
        value::each(node, "a list of texts", |item| Ok(value::text(item)?.to_owned())).map(Self)
    }
    fn write(&self) -> String {
        value::list(self.0.iter().map(Written::write))
    }
}

impl Command {
    /// The program by its whole path, and its arguments.
    pub fn program(self, section: &Section<'_>, key: &str) -> Option<(PathBuf, Vec<String>)> {
        let mut words = self.0.into_iter();
        let Some(program) = words.next() else {
            section.wrong(key, "names no program", "write [\"/path/to/program\"]");
            return None;
        };
        if !program.starts_with('/') {
            let what = format!("{program:?} is no absolute path");
            section.wrong(key, what, "write the program's whole path; no shell is used");
        }
        Some((program.into(), words.collect()))
    }
}

/// What was written of all grants, whichever is meant.
pub(super) struct Keys {
    pub(super) application: application::Written,
    pub(super) redirect_uri: Option<String>,
    refresh_token: Option<Secret>,
    pub(super) username: Option<String>,
    password: Option<Secret>,
    federated_token_file: Option<SecretFile>,
    identity_host: HostWord,
    arc_key_dir: PathBuf,
    service_account_file: Option<SecretFile>,
    token_command: Option<Command>,
    token_file: Option<SecretFile>,
}

/// The grant of one account, none where a problem was found that leaves none to build; and what was written
/// for a smart host.
pub(super) fn grant(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    preset: Preset,
    word: Option<GrantWord>,
    mailbox: Option<&Address>,
) -> (Option<Grant>, login::Written) {
    let keys = keys(section, around, preset, word, mailbox);
    let (username, password) = (keys.username.clone(), keys.password.clone());
    let grant = checked(section, around, preset, word, keys, mailbox);
    (grant, login::Written { word, username, password })
}

fn checked(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    preset: Preset,
    word: Option<GrantWord>,
    keys: Keys,
    mailbox: Option<&Address>,
) -> Option<Grant> {
    if preset.is_entra() {
        keys.application.check_entra(section);
    }
    let word = word?;
    if !preset.facts().grants.contains(&word) {
        let known: Vec<String> = preset.facts().grants.iter().map(Written::write).collect();
        let what = format!("{} does not work with preset = {}", word.write(), preset.write());
        section.wrong("grant", what, format!("write one of {}", known.join(", ")));
    }
    let all = APPLICATION.iter().chain(&KEYS);
    for key in all.filter(|key| !word.takes(key) && section.is_given(key)) {
        section.doubt(key, format!("means nothing with grant = {}", word.write()), "leave it out");
    }
    build(section, around, word, keys, mailbox)
}

fn keys(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    preset: Preset,
    word: Option<GrantWord>,
    mailbox: Option<&Address>,
) -> Keys {
    let is = |other: GrantWord| word == Some(other);
    let signs_in = word.is_some_and(GrantWord::signs_in);
    let redirect = preset.facts().consent.redirect.filter(|_| signs_in).unwrap_or_default();
    let offered = |name: &str| {
        (around.variable)(name).filter(|_| is(GrantWord::WorkloadIdentity)).unwrap_or_default()
    };
    Keys {
        application: application::read(section, around, offered("AZURE_CLIENT_ID")),
        redirect_uri: text_or(section, "redirect_uri", redirect.to_owned()),
        refresh_token: secret(section, around, "refresh_token", "refresh_token_file"),
        username: text_or(
            section,
            "username",
            mailbox
                .filter(|_| is(GrantWord::Password) || signs_in)
                .map(ToString::to_string)
                .unwrap_or_default(),
        ),
        password: secret(section, around, "password", "password_file"),
        federated_token_file: file(
            section,
            around,
            "federated_token_file",
            Some(offered("AZURE_FEDERATED_TOKEN_FILE")),
            Secrecy::Public,
        ),
        identity_host: section.or("identity_host", HostWord::Auto),
        arc_key_dir: section.or("arc_key_dir", PathBuf::from("/var/opt/azcmagent/tokens")),
        service_account_file: file(section, around, "service_account_file", None, Secrecy::Private),
        token_command: section.optional("token_command"),
        token_file: file(section, around, "token_file", None, Secrecy::Private),
    }
}

pub(super) fn text_or(section: &Section<'_>, key: &'static str, default: String) -> Option<String> {
    match default.is_empty() {
        true => section.optional(key),
        false => Some(section.or(key, default)),
    }
}

/// A file that is read at each use. What another program keeps renewing may be missing for a moment.
pub(super) fn file(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    key: &'static str,
    default: Option<String>,
    secrecy: Secrecy,
) -> Option<SecretFile> {
    let path = PathBuf::from(text_or(section, key, default.unwrap_or_default())?);
    let (file, wrong) = (around.find_file)(&path, secrecy);
    if let Some(Wrong { what, remedy, .. }) = wrong {
        match key {
            "token_file" | "federated_token_file" => section.doubt(key, what, remedy),
            _ => section.wrong(key, what, remedy),
        }
    }
    Some(file)
}

fn build(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    word: GrantWord,
    keys: Keys,
    mailbox: Option<&Address>,
) -> Option<Grant> {
    let needed = |key: &str, remedy: &str| {
        if !section.is_given(key) && !section.is_given(&format!("{key}_file")) {
            section.wrong(key, "is missing", remedy);
        }
    };
    let secret_needed = |key: &str| {
        needed(key, &format!("write {key}_file = \"…\", the name of a file that holds it"));
    };
    match word {
        GrantWord::AuthorizationCode | GrantWord::DeviceCode => sign_in::grant(section, word, keys),
        GrantWord::ClientCredentials => {
            if !keys.application.has_certificate(section) {
                secret_needed("client_secret");
            }
            let application = keys.application.build(section)?;
            (application.proof != Proof::None).then_some(Grant::ClientCredentials { application })
        }
        GrantWord::RefreshToken => {
            secret_needed("refresh_token");
            let application = keys.application.build(section);
            Some(Grant::RefreshToken {
                application: application?,
                refresh_token: keys.refresh_token?,
            })
        }
        GrantWord::Password => {
            secret_needed("password");
            let application = keys.application.build(section);
            Some(Grant::Password {
                application: application?,
                username: keys.username?,
                password: keys.password?,
            })
        }
        GrantWord::WorkloadIdentity => {
            if keys.federated_token_file.is_none() {
                needed("federated_token_file", FEDERATED_REMEDY);
            }
            workload_identity(section, keys)
        }
        GrantWord::ManagedIdentity => managed_identity(section, around, keys),
        GrantWord::ServiceAccount => {
            needed("service_account_file", "write the name of the key file, JSON, from Google");
            let subject = mailbox?.to_string();
            Some(Grant::ServiceAccount { key_file: keys.service_account_file?, subject })
        }
        GrantWord::TokenCommand => {
            needed("token_command", "write [\"/path/to/program\", \"argument\"]");
            let (program, arguments) = keys.token_command?.program(section, "token_command")?;
            Some(Grant::TokenCommand { program, arguments })
        }
        GrantWord::TokenFile => {
            needed("token_file", "write the name of the file that another program renews");
            Some(Grant::TokenFile { file: keys.token_file? })
        }
        GrantWord::Tokenless => Some(Grant::Tokenless),
    }
}

fn managed_identity(section: &Section<'_>, around: &Surroundings<'_>, keys: Keys) -> Option<Grant> {
    let client_id = keys.application.client_id;
    let by_id = client_id.is_some();
    let host = identity::host(section, around, keys.identity_host, keys.arc_key_dir, by_id)?;
    Some(Grant::ManagedIdentity { client_id, host })
}

fn workload_identity(section: &Section<'_>, keys: Keys) -> Option<Grant> {
    let client_id = keys.application.client_id(section);
    let proof = Proof::Federated { token_file: keys.federated_token_file? };
    Some(Grant::ClientCredentials { application: Application { client_id: client_id?, proof } })
}

const FEDERATED_REMEDY: &str = "write the name of the file with the token of the other provider, or set AZURE_FEDERATED_TOKEN_FILE";

#[cfg(test)]
mod tests {
    use crate::config::{Config, Grant, IdentityHost};

    fn read(keys: &str, oauth: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let variables: Vec<(String, String)> =
            variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let text = format!(
            "[[account]]\nname = \"erp\"\nmailbox = \"erp@contoso.com\"\n{keys}\n[account.oauth]\n{oauth}\n"
        );
        Config::from_text("submitd.toml", &text, &variables).map_err(|all| all.to_string())
    }

    const ID: &str = "client_id = \"0f8fad5b-d9cb-469f-a165-70867728950e\"\n";

    #[test]
    fn what_cannot_work_is_refused_with_a_remedy() {
        for (keys, oauth, expected) in [
            ("preset = \"gmail\"\ngrant = \"client_credentials\"", "", "does not work with preset"),
            (
                "preset = \"outlook\"\ngrant = \"password\"\npassword = \"x\"",
                "",
                "does not work with",
            ),
            (
                "tenant = \"common\"\ngrant = \"password\"\npassword = \"x\"",
                "",
                "\"common\" takes no passwords",
            ),
            ("tenant = \"contoso.com\"\ngrant = \"password\"", "", "password: is missing"),
            ("grant = \"token_command\"\ntoken_command = [\"az\"]", "", "is no absolute path"),
            ("grant = \"token_command\"\ntoken_command = []", "", "names no program"),
            ("grant = \"token_file\"", "", "token_file: is missing"),
            ("grant = \"workload_identity\"", "", "AZURE_FEDERATED_TOKEN_FILE"),
            (
                "grant = \"managed_identity\"\nidentity_host = \"app_service\"",
                "",
                "IDENTITY_HEADER",
            ),
            ("grant = \"managed_identity\"", "token_url = \"http://10.0.0.1/t\"", "plain http"),
            (
                "tenant = \"contoso.com\"\ngrant = \"refresh_token\"\nrefresh_token = \"x\"",
                "token_url = \"http://169.254.169.254/t\"",
                "plain http",
            ),
            (
                "tenant = \"contoso.com\"\ngrant = \"client_credentials\"\nkey = \"x\"",
                "",
                "certificate: is missing",
            ),
            ("grant = \"device_code\"", "", "tenant: is missing"),
            ("preset = \"gmail\"\ngrant = \"device_code\"", "", "does not work with preset"),
        ] {
            let problems = read(&format!("{ID}{keys}"), oauth, &[]).err().unwrap_or_default();
            assert!(problems.contains(expected), "{keys}: {problems}");
        }
    }

    #[test]
    fn a_managed_identity_is_asked_where_the_host_says() {
        let (endpoint, header) = (
            ("IDENTITY_ENDPOINT", "http://169.254.129.3:8081/msi/token"),
            ("IDENTITY_HEADER", "h"),
        );
        for (variables, expected, url) in [
            (&[][..], IdentityHost::Imds, "http://169.254.169.254/metadata/identity/oauth2/token"),
            (
                &[endpoint, header],
                IdentityHost::AppService { header: crate::secret::Secret::new("h") },
                "http://169.254.129.3:8081/msi/token",
            ),
        ] {
            let config = read("grant = \"managed_identity\"", "", variables).expect("valid");
            let account = &config.accounts[0];
            assert!(matches!(&account.grant,
                Grant::ManagedIdentity { client_id: None, host } if *host == expected));
            assert_eq!(account.oauth.token_url.as_str(), url);
        }
        let far = [("IDENTITY_ENDPOINT", "http://10.0.0.1/msi"), header];
        assert!(read("grant = \"managed_identity\"", "", &far).is_err());
    }

    #[test]
    fn presets_fill_host_endpoint_and_scope() {
        let refresh = "grant = \"refresh_token\"\nrefresh_token = \"x\"\n";
        for (keys, host, url, scope) in [
            (
                "preset = \"outlook\"",
                "smtp-mail.outlook.com",
                "https://login.microsoftonline.com/consumers/oauth2/v2.0/token",
                "https://outlook.office.com/SMTP.Send offline_access",
            ),
            (
                "preset = \"hve\"\ntenant = \"contoso.com\"",
                "smtp.hve.mx.microsoft",
                "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token",
                "https://outlook.office.com/SMTP.Send offline_access",
            ),
            (
                "preset = \"gmail\"",
                "smtp.gmail.com",
                "https://oauth2.googleapis.com/token",
                "https://mail.google.com/",
            ),
            (
                "preset = \"yahoo\"",
                "smtp.mail.yahoo.com",
                "https://api.login.yahoo.com/oauth2/get_token",
                "mail-w",
            ),
        ] {
            let config = read(&format!("{ID}{refresh}{keys}"), "", &[]).expect(keys);
            let account = &config.accounts[0];
            assert_eq!((account.upstream.host.as_str(), account.upstream.port), (host, 587));
            assert_eq!(
                (account.oauth.token_url.as_str(), account.oauth.scope.as_str()),
                (url, scope)
            );
        }
    }
}
