//! How a token is had: what an account proves itself with, and before whom. Types only.
//!
//! Files stand in it by name, because somebody renews them; secrets of the configuration as such.

use super::{HttpProxy, SecretFile};
use crate::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;
use url::Url;

/// How a token is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// App-only: the application alone (RFC 6749 §4.4).
    ClientCredentials {
        /// Who asks; it always proves itself.
        application: Application,
    },
    /// The identity that Azure gives to the machine or container we run on.
    ManagedIdentity {
        /// The client id of a user-assigned identity; none = the system-assigned one.
        client_id: Option<String>,
        /// Who is asked.
        host: IdentityHost,
    },
    /// The user's own password (RFC 6749 §4.3). One refusal ends it: the next try could lock the user.
    Password {
        /// Who asks.
        application: Application,
        /// The sign-in name; often, but not always, the mail address.
        username: String,
        /// The password.
        password: Secret,
    },
    /// Google's service account that stands for the mailbox (RFC 7523 §2.1).
    ServiceAccount {
        /// The key file as Google gives it, JSON.
        key_file: SecretFile,
        /// The mailbox it stands for.
        subject: String,
    },
    /// A program prints the token.
    TokenCommand {
        /// Its absolute path.
        program: PathBuf,
        /// Its arguments.
        arguments: Vec<String>,
    },
    /// Another program keeps the token in a file.
    TokenFile {
        /// The file.
        file: SecretFile,
    },
    /// No token: a smart host, which knows us by a password or by our address.
    Tokenless,
    /// A person signs in with `submitd login`; the refresh token which that brings is kept in the state
    /// directory and nowhere else.
    SignIn(SignIn),
    /// A refresh token that somebody obtained (RFC 6749 §6).
    RefreshToken {
        /// Who asks.
        application: Application,
        /// The first refresh token; later ones live in the state directory.
        refresh_token: Secret,
    },
}

/// How a person signs in, and for which application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignIn {
    /// The way that `submitd login` takes where it is not told otherwise.
    pub by: SignInBy,
    /// Who asks.
    pub application: Application,
    /// Where the provider sends the browser, as it is registered: with a loopback address any port fits.
    pub redirect_uri: String,
    /// Who is to sign in. The mailbox itself, or somebody who may send as it: shared mailboxes cannot
    /// sign in.
    pub username: String,
}

/// The two ways in that need a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignInBy {
    /// In a browser that is sent back to us (RFC 6749 §4.1 with RFC 7636).
    Browser,
    /// In any browser anywhere, by a code that is typed in (RFC 8628).
    Device,
}

impl Grant {
    /// The word of the configuration.
    pub fn word(&self) -> &'static str {
        match self {
            Self::ClientCredentials { application } => match application.proof {
                Proof::Federated { .. } => "workload_identity",
                _ => "client_credentials",
            },
            Self::SignIn(SignIn { by: SignInBy::Browser, .. }) => "authorization_code",
            Self::SignIn(SignIn { by: SignInBy::Device, .. }) => "device_code",
            Self::ManagedIdentity { .. } => "managed_identity",
            Self::Password { .. } => "password",
            Self::ServiceAccount { .. } => "service_account",
            Self::TokenCommand { .. } => "token_command",
            Self::TokenFile { .. } => "token_file",
            Self::RefreshToken { .. } => "refresh_token",
            Self::Tokenless => "none",
        }
    }

    /// The application that asks a token endpoint; none where no such endpoint is asked by one.
    pub fn application(&self) -> Option<&Application> {
        match self {
            Self::ClientCredentials { application }
            | Self::Password { application, .. }
            | Self::SignIn(SignIn { application, .. })
            | Self::RefreshToken { application, .. } => Some(application),
            Self::ManagedIdentity { .. }
            | Self::ServiceAccount { .. }
            | Self::TokenCommand { .. }
            | Self::TokenFile { .. }
            | Self::Tokenless => None,
        }
    }
}

/// An application as it stands before a token endpoint (RFC 6749 §2.3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// The application (client) id.
    pub client_id: String,
    /// What it proves itself with.
    pub proof: Proof,
}

/// What an application proves itself with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: a public client, which must not send anything (AADSTS700025).
    None,
    /// Its secret's value, not its id.
    Secret(Secret),
    /// The key of a certificate that is uploaded at the provider signs (RFC 7523 §2.2).
    Certificate(Certificate),
    /// A token of another provider stands for it (RFC 7523 §2.2).
    Federated {
        /// That token; somebody renews it.
        token_file: SecretFile,
    },
}

/// A certificate and its key, read at each use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate in PEM, the own one first, or both in PKCS#12.
    pub file: SecretFile,
    /// Its RSA key; may be the same file.
    pub key: SecretFile,
    /// What opens a PKCS#12 file; none = it has none.
    pub password: Option<Secret>,
}

/// `[account.oauth]`, filled from preset and tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OAuth {
    /// The token endpoint; https, or http to loopback; of managed identities also to 169.254.0.0/16.
    /// Where no endpoint is asked: `exec:` and the program, `file:` and the file, or `none:`.
    pub token_url: Url,
    /// What is asked for.
    pub scope: String,
    /// Certificates trusted besides the system's, PEM.
    pub ca_file: Option<PathBuf>,
    /// Who connects us to it.
    pub proxy: HttpProxy,
    /// How long one request may take.
    pub timeout: Duration,
    /// Where a person signs in; empty with grants that need none.
    pub consent: Consent,
}

/// Where a person signs in, and takes it back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Where the browser is sent; may hold a query of its own (RFC 6749 §3.1).
    pub authorize_url: Option<Url>,
    /// Who gives codes to type in (RFC 8628 §3.1).
    pub device_url: Option<Url>,
    /// Who takes tokens back (RFC 7009).
    pub revoke_url: Option<Url>,
    /// What the browser's answer must name as its sender (RFC 9207). Without it a name that comes must be
    /// of the same host as `authorize_url`.
    pub issuer: Option<String>,
    /// What is asked for besides the scope, so that the answer tells who signed in.
    pub identity_scope: String,
}

/// Who gives a managed identity's token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdentityHost {
    /// A virtual machine: the metadata service.
    Imds,
    /// App Service, Functions, Container Apps.
    AppService {
        /// `X-IDENTITY-HEADER`, which proves that we run there.
        header: Secret,
    },
    /// A machine elsewhere that Azure Arc knows.
    Arc {
        /// The only directory of which a challenge file is read.
        key_dir: PathBuf,
    },
}
