//! What is known of providers: hosts and scopes by preset and cloud.
//!
//! Facts as Microsoft documents them for its national clouds; where the documents are silent (DoD,
//! China) as the makers of mail clients found them. Every one of them has a key that overrides it.

use super::Limit;
use super::grant::GrantWord as Grant;
use super::value::words;

/// `preset`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    /// Exchange Online with Entra ID.
    Office365,
    /// Outlook.com: personal accounts of Microsoft.
    Outlook,
    /// Exchange Online's high-volume service.
    Hve,
    /// Gmail and Google Workspace.
    Gmail,
    /// Yahoo Mail.
    Yahoo,
    /// Nothing is known: host, token_url and scope are written out.
    Generic,
}

words!(Preset {
    "office365" => Office365, "outlook" => Outlook, "hve" => Hve, "gmail" => Gmail,
    "yahoo" => Yahoo, "generic" => Generic,
} later {});

/// Where a preset's tokens come from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Issuer {
    /// Entra ID of the cloud; the tenant where nobody names one.
    Entra(Option<&'static str>),
    /// One endpoint for all: its address and the scope for SMTP.
    Fixed(&'static str, &'static str),
    /// To be written.
    Unknown,
}

/// What is known of a provider; port 587 with STARTTLS is every one's.
pub(super) struct Facts {
    /// SMTP submission; none = the cloud's, or to be written.
    pub smtp: Option<&'static str>,
    /// Who gives tokens.
    pub issuer: Issuer,
    /// The grants that can work.
    pub grants: &'static [Grant],
    /// Where people sign in, where it is not beside Entra's token endpoint.
    pub consent: Sites,
}

/// Where people sign in; none = to be written, or not to be had.
#[derive(Clone, Copy, Default)]
pub(super) struct Sites {
    /// With what the provider wants to be asked besides.
    pub authorize: Option<&'static str>,
    /// Takes tokens back.
    pub revoke: Option<&'static str>,
    /// Scopes that tell who signed in.
    pub identity: Option<&'static str>,
    /// Where programs on a desktop are sent back to.
    pub redirect: Option<&'static str>,
}

/// Harmless beside a scope of Outlook's, as `offline_access` is: they choose no resource.
const ENTRA_SITES: Sites = Sites {
    authorize: None,
    revoke: None,
    identity: Some("openid profile email"),
    redirect: Some("http://localhost"),
};

/// Google gives a refresh token only where it is asked to be offline, and again only where consent is.
const GOOGLE_SITES: Sites = Sites {
    authorize: Some(
        "https://accounts.google.com/o/oauth2/v2/auth?access_type=offline&prompt=consent",
    ),
    revoke: Some("https://oauth2.googleapis.com/revoke"),
    identity: Some("openid email"),
    redirect: Some("http://127.0.0.1"),
};

const YAHOO_SITES: Sites = Sites {
    authorize: Some("https://api.login.yahoo.com/oauth2/request_auth"),
    revoke: None,
    identity: None,
    redirect: None,
};

const UNKNOWN_SITES: Sites =
    Sites { authorize: None, revoke: None, identity: None, redirect: Some("http://localhost") };

/// A token that comes from elsewhere serves every provider.
const BROKERED: [Grant; 2] = [Grant::TokenCommand, Grant::TokenFile];

const ENTRA: [Grant; 9] = [
    Grant::ClientCredentials,
    Grant::AuthorizationCode,
    Grant::DeviceCode,
    Grant::RefreshToken,
    Grant::Password,
    Grant::WorkloadIdentity,
    Grant::ManagedIdentity,
    BROKERED[0],
    BROKERED[1],
];

const OUTLOOK: [Grant; 5] =
    [Grant::AuthorizationCode, Grant::DeviceCode, Grant::RefreshToken, BROKERED[0], BROKERED[1]];

/// Google's codes to type in (RFC 8628) do not reach the scope of mail.
const GMAIL: [Grant; 5] = [
    Grant::ServiceAccount,
    Grant::AuthorizationCode,
    Grant::RefreshToken,
    BROKERED[0],
    BROKERED[1],
];

impl Preset {
    /// What is known of it.
    pub fn facts(self) -> Facts {
        match self {
            Self::Office365 => Facts {
                smtp: None,
                issuer: Issuer::Entra(None),
                grants: &ENTRA,
                consent: ENTRA_SITES,
            },
            Self::Outlook => Facts {
                smtp: Some("smtp-mail.outlook.com"),
                issuer: Issuer::Entra(Some("consumers")),
                grants: &OUTLOOK,
                consent: ENTRA_SITES,
            },
            Self::Hve => Facts {
                smtp: Some("smtp.hve.mx.microsoft"),
                issuer: Issuer::Entra(None),
                grants: &ENTRA,
                consent: ENTRA_SITES,
            },
            Self::Gmail => Facts {
                smtp: Some("smtp.gmail.com"),
                issuer: Issuer::Fixed(
                    "https://oauth2.googleapis.com/token",
                    "https://mail.google.com/",
                ),
                grants: &GMAIL,
                consent: GOOGLE_SITES,
            },
            Self::Yahoo => Facts {
                smtp: Some("smtp.mail.yahoo.com"),
                issuer: Issuer::Fixed("https://api.login.yahoo.com/oauth2/get_token", "mail-w"),
                grants: &[Grant::AuthorizationCode, Grant::RefreshToken, BROKERED[0], BROKERED[1]],
                consent: YAHOO_SITES,
            },
            Self::Generic => Facts {
                smtp: None,
                issuer: Issuer::Unknown,
                grants: &[
                    Grant::ClientCredentials,
                    Grant::AuthorizationCode,
                    Grant::DeviceCode,
                    Grant::RefreshToken,
                    Grant::Password,
                    Grant::WorkloadIdentity,
                    Grant::ServiceAccount,
                    BROKERED[0],
                    BROKERED[1],
                    Grant::Tokenless,
                ],
                consent: UNKNOWN_SITES,
            },
        }
    }

    /// Whether its tokens are Entra ID's.
    pub fn is_entra(self) -> bool {
        matches!(self.facts().issuer, Issuer::Entra(_))
    }
}

impl Preset {
    /// Whether its servers are known to offer CHUNKING and BINARYMIME (RFC 3030). Exchange Online showed
    /// both in EHLO, before TLS and inside it.
    pub fn has_binarymime(self) -> bool {
        self == Self::Office365
    }
}

/// What a provider takes: of one mailbox in a day, in one transaction, in one message.
pub(super) struct Bounds {
    /// Recipients in 24 hours.
    pub recipients_per_day: Limit,
    /// Recipients of one transaction.
    pub max_recipients: Limit,
    /// Octets of one message.
    pub max_message_size: u64,
}

impl Preset {
    /// As the providers tell it. Where they are silent it is Exchange Online's day and size, and the 100
    /// recipients that every server takes (RFC 5321 §4.5.3.1.8).
    pub fn bounds(self) -> Bounds {
        let (recipients_per_day, max_recipients, megabytes) = match self {
            // An administrator may set 1 to 1,000 recipients for a mailbox; 500 is what it has before.
            Self::Office365 | Self::Outlook => (Limit::AtMost(10_000), 500, 35),
            Self::Hve => (Limit::Unlimited, 50, 10),
            // Of Workspace; an account without it has 500 a day.
            Self::Gmail => (Limit::AtMost(2_000), 100, 25),
            Self::Yahoo | Self::Generic => (Limit::AtMost(10_000), 100, 35),
        };
        Bounds {
            recipients_per_day,
            max_recipients: Limit::AtMost(max_recipients),
            max_message_size: megabytes << 20,
        }
    }
}

/// `cloud`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cloud {
    /// Worldwide, and GCC.
    Global,
    /// GCC High.
    GccHigh,
    /// Department of Defense.
    Dod,
    /// 21Vianet.
    China,
}

words!(Cloud { "global" => Global, "gcc-high" => GccHigh, "dod" => Dod, "china" => China } later {
    "gcc" => "GCC uses the worldwide endpoints: write \"global\" or leave it out",
});

/// Where one cloud is.
pub(super) struct Endpoints {
    /// Host of the token endpoint.
    pub login: &'static str,
    /// SMTP submission.
    pub smtp: &'static str,
    /// Scope of an app-only token.
    pub app_scope: &'static str,
    /// Scope of a delegated token.
    pub delegated_scope: &'static str,
    /// Microsoft Graph, without the version.
    pub graph: &'static str,
}

impl Cloud {
    /// Where this cloud is.
    pub fn endpoints(self) -> Endpoints {
        match self {
            Self::Global => Endpoints {
                login: "login.microsoftonline.com",
                smtp: "smtp.office365.com",
                app_scope: "https://outlook.office365.com/.default",
                delegated_scope: "https://outlook.office.com/SMTP.Send offline_access",
                graph: "https://graph.microsoft.com",
            },
            Self::GccHigh => Endpoints {
                login: "login.microsoftonline.us",
                smtp: "smtp.office365.us",
                app_scope: "https://outlook.office365.us/.default",
                delegated_scope: "https://outlook.office365.us/SMTP.Send offline_access",
                graph: "https://graph.microsoft.us",
            },
            Self::Dod => Endpoints {
                login: "login.microsoftonline.us",
                smtp: "outlook-dod.office365.us",
                app_scope: "https://outlook-dod.office365.us/.default",
                delegated_scope: "https://outlook-dod.office365.us/SMTP.Send offline_access",
                graph: "https://dod-graph.microsoft.us",
            },
            Self::China => Endpoints {
                login: "login.partner.microsoftonline.cn",
                smtp: "smtp.partner.outlook.cn",
                app_scope: "https://partner.outlook.cn/.default",
                delegated_scope: "https://partner.outlook.cn/SMTP.Send offline_access",
                graph: "https://microsoftgraph.chinacloudapi.cn",
            },
        }
    }
}
