//! How a token is had: what an account proves itself with. Types only.
//!
//! Files stand in it by name, because somebody renews them; secrets of the configuration as such.

use super::SecretFile;
use crate::secret::Secret;
use std::path::PathBuf;

/// How a token is had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grant {
    /// App-only: the application's own secret (RFC 6749 §4.4).
    ClientCredentials {
        /// The application (client) id.
        client_id: String,
        /// The secret's value, not its id.
        client_secret: Secret,
    },
    /// App-only: a certificate's key signs for the application (RFC 7523 §2.2).
    Certificate {
        /// The application (client) id.
        client_id: String,
        /// The certificate that is uploaded at the provider, PEM, the own one first.
        certificate: SecretFile,
        /// Its RSA key, PEM; may be the same file.
        key: SecretFile,
    },
    /// App-only: a token of another provider stands for the application (RFC 7523 §2.2).
    WorkloadIdentity {
        /// The application (client) id.
        client_id: String,
        /// The other provider's token; somebody renews it.
        token_file: SecretFile,
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
        /// The application (client) id.
        client_id: String,
        /// Only for confidential clients.
        client_secret: Option<Secret>,
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
    /// A refresh token that somebody obtained (RFC 6749 §6).
    RefreshToken {
        /// The application (client) id.
        client_id: String,
        /// Only for confidential clients; public ones must not send any (AADSTS700025).
        client_secret: Option<Secret>,
        /// The first refresh token; later ones live in the state directory.
        refresh_token: Secret,
    },
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
