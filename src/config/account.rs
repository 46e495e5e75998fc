//! `[[account]]`: what is written becomes what is meant.
//!
//! It promises that every key is asked for whatever the others say, so that no mistake hides another.
//! Files of secrets are read through the function it is given; it must not put a secret's text anywhere
//! but into a [`Secret`].

use super::check::Surroundings;
use super::endpoint::{self, Asked, TENANT_REMEDY};
use super::grant::{self, GrantWord};
use super::graph::{self, TransportWord};
use super::preset::{Cloud, Issuer, Preset};
use super::section::{HIDDEN, Section};
use super::value::{self, Size, Written, Wrong, words};
use super::{Account, Chunking, Grant, Limit, Proof, Upstream, UpstreamTls};
use super::{login, proxy};
use crate::mail::Address;
use crate::mail::rewrite::When;
use crate::secret::Secret;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The longest duration any key takes: a year.
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// What happens to a mail whose fate is unknown: the connection was lost after the final dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnUncertain {
    /// It waits for a person.
    Hold,
    /// It is sent again with the same Message-ID.
    Retry,
}

words!(OnUncertain { "retry" => Retry, "hold" => Hold } later {});

words!(When {
    "off" => Off, "if_local" => IfLocal, "if_unauthorized" => IfUnauthorized, "force" => Force,
} later { "if_unauthorised" => "it is spelt \"if_unauthorized\"" });

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
    let preset = section.or("preset", usual_preset(&section));
    let cloud = section.or("cloud", Cloud::Global);
    let word = section.required::<GrantWord>(
        "grant",
        "write grant = \"client_credentials\", or \"authorization_code\" where a person signs in",
    );
    let tenant = tenant(&section, around, preset, word);
    let (grant, written) = grant::grant(&section, around, preset, word, mailbox.as_ref());
    let client_secret_expires = client_secret_expires(&section, around, grant.as_ref());
    let on_uncertain = section.or("on_uncertain", OnUncertain::Retry);
    let networks = section.optional("networks").unwrap_or_default();
    let senders = section.optional("senders").unwrap_or_default();
    let rewrite_from = section.or("rewrite_from", When::Off);
    if !matches!(preset, Preset::Office365 | Preset::Hve) && section.is_given("cloud") {
        let what = format!("means nothing with preset = {}", preset.write());
        section.doubt("cloud", what, "leave it out");
    }
    let way = section.or("transport", TransportWord::Smtp);
    if way != TransportWord::Smtp && written.is_tokenless() {
        let what = "needs a token, and this account has none";
        section.wrong("transport", what, "leave it out: mail goes by SMTP");
    }
    let place = section.section("upstream", "account.upstream");
    let upstream = upstream(place, &section, (preset, cloud, way), &written, around);
    let asked = Asked { preset, cloud, word, tenant };
    let transport = graph::transport(&section, way, &asked, grant.as_ref(), mailbox.as_ref());
    let oauth = endpoint::oauth(&section, around, &asked, &grant, transport.as_ref());
    section.finish(&[&[("upstream", ""), ("graph", ""), ("oauth", "")]]);
    Some(Account {
        name: name?,
        mailbox: mailbox?,
        grant: grant?,
        transport: transport?,
        upstream: upstream?,
        oauth: oauth?,
        on_uncertain,
        networks,
        senders,
        rewrite_from,
        client_secret_expires,
    })
}

/// Of a smart host nothing is known beforehand.
fn usual_preset(section: &Section<'_>) -> Preset {
    let word = section.node("grant").and_then(|node| GrantWord::read(node).ok());
    if word == Some(GrantWord::Tokenless) { Preset::Generic } else { Preset::Office365 }
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

/// The day from the portal; one that is past is told at every start.
fn client_secret_expires(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    grant: Option<&Grant>,
) -> Option<SystemTime> {
    let ends = section.optional::<SystemTime>("client_secret_expires")?;
    let proof = grant?.application().map(|application| &application.proof);
    if !matches!(proof, Some(Proof::Secret(_))) {
        section.doubt(
            "client_secret_expires",
            "means nothing without a client secret",
            "leave it out",
        );
        return None;
    }
    if ends <= around.now {
        let remedy =
            "make a new secret in the portal, write it into client_secret and its day here";
        section.doubt("client_secret_expires", format!("{} is past", ends.write()), remedy);
    }
    Some(ends)
}

/// The directory; only where the provider is Entra ID and a token endpoint is asked.
fn tenant(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    preset: Preset,
    word: Option<GrantWord>,
) -> Option<String> {
    let offered = match (preset.facts().issuer, word) {
        (_, Some(GrantWord::WorkloadIdentity)) => (around.variable)("AZURE_TENANT_ID"),
        (Issuer::Entra(usual), _) => usual.map(str::to_owned),
        _ => None,
    };
    let tenant = match offered {
        Some(offered) => section.or("tenant", offered),
        None => section.optional::<String>("tenant")?,
    };
    let is_asked = |word: GrantWord| !word.is_brokered() && word != GrantWord::ManagedIdentity;
    if !preset.is_entra() || !word.is_none_or(is_asked) {
        let with = match (preset.is_entra(), word) {
            (true, Some(word)) => format!("grant = {}", word.write()),
            _ => format!("preset = {}", preset.write()),
        };
        if section.is_given("tenant") {
            section.doubt("tenant", format!("means nothing with {with}"), "leave it out");
        }
        return None;
    }
    let is_many = ["common", "organizations", "consumers"].contains(&tenant.as_str());
    if is_many && word.is_some_and(GrantWord::is_app_only) {
        let what = format!("{tenant:?} names no directory, and an app-only token needs one");
        section.wrong("tenant", what, TENANT_REMEDY);
    }
    if ["common", "consumers"].contains(&tenant.as_str()) && word == Some(GrantWord::Password) {
        let what = format!("{tenant:?} takes no passwords");
        section.wrong("tenant", what, TENANT_REMEDY);
    }
    if !tenant.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) {
        section.wrong("tenant", format!("{tenant:?} is no tenant"), TENANT_REMEDY);
        return Some("common".to_owned());
    }
    Some(tenant)
}

/// Whether it looks like an id of Entra's.
pub(super) fn is_guid(text: &str) -> bool {
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
    account: &Section<'_>,
    (preset, cloud, way): (Preset, Cloud, TransportWord),
    written: &login::Written,
    around: &Surroundings<'_>,
) -> Option<Upstream> {
    let host = host(&section, preset, cloud);
    let port = section.or("port", 587);
    let tls = tls(&section, port);
    let has_password = written.has_password(account);
    login::check_tls(&section, tls, written, has_password, host.as_deref().unwrap_or_default());
    let sasl = login::sasl(&section, written, has_password);
    let login = written.login(account);
    let ca_file = ca_file(&section, around);
    let proxy = proxy::upstream(&section, around);
    // Of one application Graph takes four requests at once.
    let at_once = if way == TransportWord::Graph { 4 } else { 3 };
    let connections = section.or("connections", Limit::AtMost(at_once));
    // 30 a minute is Exchange Online's; of a smart host nothing is known
    let known = |limit| if written.is_tokenless() { Limit::Unlimited } else { limit };
    let messages_per_minute = section.or("messages_per_minute", known(Limit::AtMost(30)));
    let bounds = preset.bounds();
    let recipients_per_day = section.or("recipients_per_day", known(bounds.recipients_per_day));
    let max_recipients = section.or("max_recipients", bounds.max_recipients);
    let max_message_size = section.within(
        "max_message_size",
        Size(bounds.max_message_size),
        Size(64 << 10)..=Size(1 << 40),
    );
    let second = Duration::from_secs(1);
    let wait = |key, seconds| section.within(key, Duration::from_secs(seconds), second..=YEAR);
    let connect_timeout = wait("connect_timeout", 30);
    // RFC 5321 §4.5.3.2: 5 minutes for greeting, MAIL and RCPT, 10 for the final dot
    let command_timeout = wait("command_timeout", 300);
    let data_timeout = wait("data_timeout", 600);
    // Exchange Online hangs up on idle clients after a few minutes
    let idle_timeout =
        section.within("idle_timeout", Duration::from_secs(60), Duration::ZERO..=YEAR);
    let is_smtp = way == TransportWord::Smtp;
    let binarymime = section.or("binarymime", is_smtp && preset.has_binarymime());
    let chunking = section.or("chunking", Chunking::Auto);
    section.finish(&[]);
    Some(Upstream {
        host: host?,
        port,
        tls,
        login: login?,
        sasl,
        proxy,
        ca_file,
        connections,
        messages_per_minute,
        recipients_per_day,
        max_recipients,
        max_message_size: max_message_size.0,
        connect_timeout,
        command_timeout,
        data_timeout,
        idle_timeout,
        binarymime,
        chunking,
    })
}

fn host(section: &Section<'_>, preset: Preset, cloud: Cloud) -> Option<String> {
    let usual = preset.facts().smtp.or_else(|| match preset {
        Preset::Office365 => Some(cloud.endpoints().smtp),
        _ => None,
    });
    let host = match usual {
        Some(usual) => section.or("host", usual.to_owned()),
        None => section.required::<String>(
            "host",
            "preset = \"generic\" knows none: write the server's name",
        )?,
    };
    check_host(section, &host);
    Some(host)
}

fn tls(section: &Section<'_>, port: u16) -> UpstreamTls {
    let tls = section.or("tls", UpstreamTls::StartTls);
    let usual = match port {
        465 => Some((UpstreamTls::Implicit, "\"implicit\"")),
        25 | 587 => Some((UpstreamTls::StartTls, "\"starttls\"")),
        _ => None,
    };
    // Who writes "none" has been told by the name of the word.
    let is_odd = |(usual, _): &(UpstreamTls, _)| *usual != tls && tls != UpstreamTls::None;
    if let Some((_, word)) = usual.filter(is_odd) {
        section.doubt("tls", format!("is unusual on port {port}"), format!("mostly it is {word}"));
    }
    tls
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
pub(super) fn ca_file(section: &Section<'_>, around: &Surroundings<'_>) -> Option<PathBuf> {
    let path = around.base.join(section.optional::<PathBuf>("ca_file")?);
    if let Err(why) = (around.readable)(&path) {
        let what = format!("{} cannot be read ({why})", path.display());
        section.wrong("ca_file", what, "name a PEM file with certificates that we may read");
    }
    Some(path)
}
