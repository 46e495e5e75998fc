//! `[[account]]`: what is written becomes what is meant.
//!
//! It promises that every key is asked for whatever the others say, so that no mistake hides another.
//! Files of secrets are read through the function it is given; it must not put a secret's text anywhere
//! but into a [`Secret`].

use super::check::Surroundings;
use super::preset::{Cloud, Preset};
use super::section::{HIDDEN, Section};
use super::value::{self, Wrong, words};
use super::{Account, Grant, Limit, OAuth, OnUncertain, Upstream, UpstreamTls};
use crate::mail::Address;
use crate::mail::rewrite::When;
use crate::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// The longest duration any key takes: a year.
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// `grant`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum GrantWord {
    ClientCredentials,
    RefreshToken,
}

words!(GrantWord { "client_credentials" => ClientCredentials, "refresh_token" => RefreshToken } later {
    "authorization_code" => "use \"client_credentials\", or \"refresh_token\" with a token you have",
    "device_code" => "use \"client_credentials\", or \"refresh_token\" with a token you have",
    "password" => "use \"client_credentials\"",
    "managed_identity" => "use \"client_credentials\"",
    "workload_identity" => "use \"client_credentials\"",
    "service_account" => "use \"client_credentials\"",
});

words!(OnUncertain { "retry" => Retry, "hold" => Hold } later {});
words!(UpstreamTls { "starttls" => StartTls, "implicit" => Implicit } later {
    "none" => "a token goes over this connection: write \"starttls\" or \"implicit\"",
});

words!(When {
    "off" => Off, "if_local" => IfLocal, "if_unauthorized" => IfUnauthorized, "force" => Force,
} later { "if_unauthorised" => "it is spelt \"if_unauthorized\"" });

const ACCOUNT_LATER: [(&str, &str); 4] = [
    ("transport", "leave it out: mail goes by SMTP"),
    ("client_secret_expires", "leave it out and watch the date in the portal"),
    ("certificate", "use client_secret_file"),
    ("token_command", "use client_secret_file or refresh_token_file"),
];
const UPSTREAM_LATER: [(&str, &str); 1] =
    [("recipients_per_day", "leave it out; the provider's own quota holds")];

/// One `[[account]]`; none where a problem was found that leaves no account to build.
pub(super) fn account(section: Section<'_>, around: &Surroundings<'_>) -> Option<Account> {
    let name = section.required::<String>("name", "write name = \"…\", any word you like");
    if let Some(name) = &name {
        check_name(&section, name);
    }
    let mailbox = section.required::<Address>(
        "mailbox",
        "write the address of the mailbox that sends: mailbox = \"erp@contoso.com\"",
    );
    let preset = section.or("preset", Preset::Office365);
    let cloud = section.or("cloud", Cloud::Global);
    let grant_word = section.required::<GrantWord>(
        "grant",
        "write grant = \"client_credentials\" or grant = \"refresh_token\"",
    );
    let tenant = tenant(&section, preset, grant_word);
    let grant = grant(&section, around, preset, grant_word);
    let on_uncertain = section.or("on_uncertain", OnUncertain::Retry);
    let networks = section.optional("networks").unwrap_or_default();
    let senders = section.optional("senders").unwrap_or_default();
    let rewrite_from = section.or("rewrite_from", When::Off);
    let is_microsoft = preset == Preset::Office365;
    if !is_microsoft && section.is_given("cloud") {
        section.doubt("cloud", "means nothing with preset = \"generic\"", "leave it out");
    }
    let upstream = upstream(section.section("upstream", "account.upstream"), preset, cloud, around);
    let oauth = oauth(&section, around, (preset, cloud), grant_word, tenant);
    section.later(&ACCOUNT_LATER);
    section.finish(&[&ACCOUNT_LATER, &[("upstream", ""), ("oauth", "")]]);
    Some(Account {
        name: name?,
        mailbox: mailbox?,
        grant: grant?,
        upstream: upstream?,
        oauth: oauth?,
        on_uncertain,
        networks,
        senders,
        rewrite_from,
    })
}

/// Names become parts of file names and of variables.
fn check_name(section: &Section<'_>, name: &str) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !name.chars().all(fits) || !name.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        let remedy =
            "use letters, digits, \"-\", \"_\" and \".\", beginning with a letter or digit";
        section.wrong("name", format!("{name:?} is no name for an account"), remedy);
    } else if name.len() > 64 {
        section.wrong("name", "is longer than 64 characters", "write a shorter one");
    }
}

const TENANT_REMEDY: &str =
    "write the directory (tenant) id or a verified domain, such as \"contoso.onmicrosoft.com\"";

fn tenant(section: &Section<'_>, preset: Preset, grant: Option<GrantWord>) -> Option<String> {
    let tenant = section.optional::<String>("tenant")?;
    if preset == Preset::Generic {
        section.doubt("tenant", "means nothing with preset = \"generic\"", "leave it out");
        return None;
    }
    let is_many = ["common", "organizations", "consumers"].contains(&tenant.as_str());
    if is_many && grant == Some(GrantWord::ClientCredentials) {
        let what = format!("{tenant:?} names no directory, and an app-only token needs one");
        section.wrong("tenant", what, TENANT_REMEDY);
    }
    if !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) {
        section.wrong("tenant", format!("{tenant:?} is no tenant"), TENANT_REMEDY);
        return Some("common".to_owned());
    }
    Some(tenant)
}

fn grant(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    preset: Preset,
    word: Option<GrantWord>,
) -> Option<Grant> {
    let client_id = section.required::<String>(
        "client_id",
        "write the application (client) id shown on the app registration's overview page",
    );
    let client_secret = secret(section, around, "client_secret", "client_secret_file");
    let refresh_token = secret(section, around, "refresh_token", "refresh_token_file");
    if preset == Preset::Office365 {
        if client_id.as_deref().is_some_and(|id| !is_guid(id)) {
            section.doubt(
                "client_id",
                "is not a GUID as Entra's are",
                "compare it with the portal",
            );
        }
        if client_secret.as_ref().is_some_and(|secret| is_guid(secret.expose())) {
            let written = ["client_secret", "client_secret_file"];
            let key = written.into_iter().find(|key| section.is_given(key)).unwrap_or(written[0]);
            section.doubt(
                key,
                "looks like the id of the secret, not like its value",
                "copy the column \"Value\"; the portal shows it only once, so make a new secret if it is gone",
            );
        }
    }
    let is_asked = |key: &str, file: &str| section.is_given(key) || section.is_given(file);
    match word? {
        GrantWord::ClientCredentials => {
            if !is_asked("client_secret", "client_secret_file") {
                section.wrong("client_secret", "is missing", missing_secret("client_secret"));
            }
            if is_asked("refresh_token", "refresh_token_file") {
                let what = "means nothing with grant = \"client_credentials\"";
                section.doubt("refresh_token", what, "leave it out");
            }
            Some(Grant::ClientCredentials { client_id: client_id?, client_secret: client_secret? })
        }
        GrantWord::RefreshToken => {
            if !is_asked("refresh_token", "refresh_token_file") {
                section.wrong("refresh_token", "is missing", missing_secret("refresh_token"));
            }
            let refresh_token = refresh_token?;
            Some(Grant::RefreshToken { client_id: client_id?, client_secret, refresh_token })
        }
    }
}

fn missing_secret(key: &str) -> String {
    format!("write {key}_file = \"…\", the name of a file that holds it")
}

fn is_guid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12])
        && groups.iter().all(|group| group.chars().all(|c| c.is_ascii_hexdigit()))
}

/// A secret, written plainly or in a file; none where neither is or where it cannot be had.
pub(super) fn secret(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    key: &'static str,
    file_key: &'static str,
) -> Option<Secret> {
    let plain = section.node(key).and_then(|node| match value::text(node) {
        Ok(text) => Some(Secret::new(text)),
        Err(Wrong { what, remedy, .. }) => {
            section.wrong(key, what, remedy);
            None
        }
    });
    section.note(key, plain.as_ref().map(|_| HIDDEN.to_owned()), None);
    let file = section.optional::<PathBuf>(file_key);
    if section.is_given(key) && section.is_given(file_key) {
        section.wrong(file_key, format!("stands beside {key}"), "keep one of the two");
        return None;
    }
    let file = match file {
        Some(file) => file,
        None => return plain,
    };
    match (around.read_secret)(&file) {
        Ok(secret) => Some(secret),
        Err(Wrong { what, remedy, .. }) => {
            section.wrong(file_key, what, remedy);
            None
        }
    }
}

fn upstream(
    section: Section<'_>,
    preset: Preset,
    cloud: Cloud,
    around: &Surroundings<'_>,
) -> Option<Upstream> {
    let host = match preset {
        Preset::Office365 => Some(section.or("host", cloud.endpoints().smtp.to_owned())),
        Preset::Generic => section
            .required::<String>("host", "preset = \"generic\" knows none: write the server's name"),
    };
    if let Some(host) = &host {
        check_host(&section, host);
    }
    let port = section.or("port", 587);
    let tls = section.or("tls", UpstreamTls::StartTls);
    let usual = match port {
        465 => Some((UpstreamTls::Implicit, "\"implicit\"")),
        25 | 587 => Some((UpstreamTls::StartTls, "\"starttls\"")),
        _ => None,
    };
    if let Some((_, word)) = usual.filter(|(usual, _)| *usual != tls) {
        section.doubt("tls", format!("is unusual on port {port}"), format!("mostly it is {word}"));
    }
    let ca_file = ca_file(&section, around);
    let connections = section.or("connections", Limit::AtMost(3));
    let messages_per_minute = section.or("messages_per_minute", Limit::AtMost(30));
    let second = Duration::from_secs(1);
    let wait = |key, seconds| section.within(key, Duration::from_secs(seconds), second..=YEAR);
    let connect_timeout = wait("connect_timeout", 30);
    // RFC 5321 §4.5.3.2: 5 minutes for greeting, MAIL and RCPT, 10 for the final dot
    let command_timeout = wait("command_timeout", 300);
    let data_timeout = wait("data_timeout", 600);
    // Exchange Online hangs up on idle clients after a few minutes
    let idle_timeout =
        section.within("idle_timeout", Duration::from_secs(60), Duration::ZERO..=YEAR);
    let binarymime = section.or("binarymime", preset.has_binarymime());
    section.later(&UPSTREAM_LATER);
    section.finish(&[&UPSTREAM_LATER]);
    Some(Upstream {
        host: host?,
        port,
        tls,
        ca_file,
        connections,
        messages_per_minute,
        connect_timeout,
        command_timeout,
        data_timeout,
        idle_timeout,
        binarymime,
    })
}

fn check_host(section: &Section<'_>, host: &str) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if host.parse::<std::net::IpAddr>().is_ok() || host.chars().all(fits) && !host.starts_with('.')
    {
        return;
    }
    let what = format!("{host:?} is no host name");
    section.wrong("host", what, "write the bare name; the port has a key of its own");
}

/// Certificates trusted besides the system's.
fn ca_file(section: &Section<'_>, around: &Surroundings<'_>) -> Option<PathBuf> {
    let path = around.base.join(section.optional::<PathBuf>("ca_file")?);
    if let Err(why) = (around.readable)(&path) {
        let what = format!("{} cannot be read ({why})", path.display());
        section.wrong("ca_file", what, "name a PEM file with certificates that we may read");
    }
    Some(path)
}

fn oauth(
    account: &Section<'_>,
    around: &Surroundings<'_>,
    (preset, cloud): (Preset, Cloud),
    grant: Option<GrantWord>,
    tenant: Option<String>,
) -> Option<OAuth> {
    let section = account.section("oauth", "account.oauth");
    let known = cloud.endpoints();
    let usual = tenant.and_then(|tenant| {
        url::Url::parse(&format!("https://{}/{tenant}/oauth2/v2.0/token", known.login)).ok()
    });
    let token_url = match (usual, preset) {
        (Some(usual), _) => Some(section.or("token_url", usual)),
        (None, Preset::Generic) => section.required(
            "token_url",
            "preset = \"generic\" knows none: write the provider's token endpoint, https://…",
        ),
        (None, Preset::Office365) => {
            if !section.is_given("token_url") && !account.is_given("tenant") {
                account.wrong("tenant", "is missing", TENANT_REMEDY);
            }
            section.optional("token_url")
        }
    };
    let scope = match preset {
        Preset::Office365 => {
            let usual = match grant {
                Some(GrantWord::RefreshToken) => known.delegated_scope,
                _ => known.app_scope,
            };
            Some(section.or("scope", usual.to_owned()))
        }
        Preset::Generic => section.required::<String>(
            "scope",
            "preset = \"generic\" knows none: write what the provider asks for SMTP",
        ),
    };
    let ca_file = ca_file(&section, around);
    let timeout = section.within("timeout", Duration::from_secs(30), Duration::from_secs(1)..=YEAR);
    section.finish(&[]);
    Some(OAuth { token_url: token_url?, scope: scope?, ca_file, timeout })
}
