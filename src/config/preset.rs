//! What is known of providers: hosts and scopes by preset and cloud.
//!
//! Facts as Microsoft documents them for its national clouds; where the documents are silent (DoD,
//! China) as the makers of mail clients found them. Every one of them has a key that overrides it.

use super::value::words;

/// `preset`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Preset {
    /// Exchange Online with Entra ID.
    Office365,
    /// Nothing is known: host, token_url and scope are written out.
    Generic,
}

words!(Preset { "office365" => Office365, "generic" => Generic } later {
    "outlook" => "leave it out for Exchange Online, or use \"generic\"",
    "gmail" => "use \"generic\" and write host, token_url and scope",
});

impl Preset {
    /// Whether its servers are known to offer CHUNKING and BINARYMIME (RFC 3030). Exchange Online showed
    /// both in EHLO, before TLS and inside it.
    pub fn has_binarymime(self) -> bool {
        self == Self::Office365
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
            },
            Self::GccHigh => Endpoints {
                login: "login.microsoftonline.us",
                smtp: "smtp.office365.us",
                app_scope: "https://outlook.office365.us/.default",
                delegated_scope: "https://outlook.office365.us/SMTP.Send offline_access",
            },
            Self::Dod => Endpoints {
                login: "login.microsoftonline.us",
                smtp: "outlook-dod.office365.us",
                app_scope: "https://outlook-dod.office365.us/.default",
                delegated_scope: "https://outlook-dod.office365.us/SMTP.Send offline_access",
            },
            Self::China => Endpoints {
                login: "login.partner.microsoftonline.cn",
                smtp: "smtp.partner.outlook.cn",
                app_scope: "https://partner.outlook.cn/.default",
                delegated_scope: "https://partner.outlook.cn/SMTP.Send offline_access",
            },
        }
    }
}
