//! `identity_host`: the machine that gives a managed identity, and where it is asked.
//!
//! Hosts of Azure say in variables what they are; a key that is written goes before them.

use super::IdentityHost;
use super::check::Surroundings;
use super::network::is_safe;
use super::section::Section;
use super::value::words;
use crate::secret::Secret;
use std::path::PathBuf;
use url::Url;

/// `identity_host`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum HostWord {
    Auto,
    Imds,
    AppService,
    Arc,
}

words!(HostWord {
    "auto" => Auto, "imds" => Imds, "app_service" => AppService, "arc" => Arc,
} later {});

/// Where the host's own identity is asked for, as the host says in its variables.
pub(super) fn host(
    section: &Section<'_>,
    around: &Surroundings<'_>,
    word: HostWord,
    arc_key_dir: PathBuf,
    by_id: bool,
) -> Option<IdentityHost> {
    let has = |name: &str| (around.variable)(name).filter(|value| !value.is_empty());
    let word = match word {
        HostWord::Auto => match (has("IDENTITY_ENDPOINT"), has("IDENTITY_HEADER")) {
            (Some(_), Some(_)) => HostWord::AppService,
            (Some(_), None) => HostWord::Arc,
            _ => HostWord::Imds,
        },
        named => named,
    };
    if has("IDENTITY_SERVER_THUMBPRINT").is_some() && word == HostWord::AppService {
        let what = "Service Fabric's way to an identity is not known here";
        section.wrong("identity_host", what, "use grant = \"client_credentials\"");
    }
    match word {
        HostWord::Auto | HostWord::Imds => Some(IdentityHost::Imds),
        HostWord::AppService => {
            let header = has("IDENTITY_HEADER");
            if header.is_none() {
                let remedy = "turn the identity on in the portal; the host then sets it";
                section.wrong("identity_host", "the variable IDENTITY_HEADER is missing", remedy);
            }
            Some(IdentityHost::AppService { header: Secret::new(header?) })
        }
        HostWord::Arc => {
            if by_id {
                let what = "means nothing on Azure Arc, which has one identity a machine";
                section.doubt("client_id", what, "leave it out");
            }
            Some(IdentityHost::Arc { key_dir: around.base.join(arc_key_dir) })
        }
    }
}

/// The endpoint of a managed identity unless the configuration names one.
pub(super) fn endpoint(around: &Surroundings<'_>, host: &IdentityHost) -> Option<Url> {
    let offered = (around.variable)("IDENTITY_ENDPOINT").filter(|value| !value.is_empty());
    let usual = match host {
        IdentityHost::Imds => "http://169.254.169.254/metadata/identity/oauth2/token",
        IdentityHost::Arc { .. } => "http://localhost:40342/metadata/identity/oauth2/token",
        IdentityHost::AppService { .. } => "",
    };
    match (host, offered) {
        (IdentityHost::AppService { .. } | IdentityHost::Arc { .. }, Some(url)) => {
            Url::parse(&url).ok().filter(|url| is_safe(url, true))
        }
        _ => Url::parse(usual).ok(),
    }
}
