//! Who may prove themselves to the sandbox, besides the application with its secret.
//!
//! The keys beside this file are as public as the secret: they guard nothing but a sandbox.

use crate::secret::Secret;
use std::path::PathBuf;

/// Proofs that the sandbox accepts.
#[derive(Clone, Debug)]
pub struct Identities {
    /// The password of every mailbox, for the grant that takes one.
    pub password: Secret,
    /// Certificates uploaded at the application, PEM.
    pub certificates: Vec<String>,
    /// The key of the first of them, PEM.
    pub key: Secret,
    /// Issuer of the tokens that the application trusts.
    pub federated_issuer: String,
    /// Their subject.
    pub federated_subject: String,
    /// Their audience.
    pub federated_audience: String,
    /// Client id of the user-assigned managed identity; the system-assigned one needs none.
    pub managed_client_id: String,
    /// `IDENTITY_HEADER` of App Service.
    pub identity_header: Secret,
    /// Where Azure Arc lays its challenges; without it there is no Arc.
    pub arc_key_dir: Option<PathBuf>,
    /// The application at Google that people consent to, of the kind for a desktop.
    pub google_client_id: String,
    /// Its secret. Google wants one of these too, though it cannot be kept there.
    pub google_client_secret: Secret,
    /// Address of Google's service account.
    pub service_account: String,
    /// Its key, PEM.
    pub service_account_key: Secret,
}

impl Default for Identities {
    fn default() -> Self {
        Self {
            password: Secret::new("Correct-horse-battery-staple-1"),
            certificates: vec![include_str!("keys/application.crt").to_owned()],
            key: Secret::new(include_str!("keys/application.key")),
            federated_issuer: "https://kubernetes.sandbox.example/".into(),
            federated_subject: "system:serviceaccount:mail:submitd".into(),
            federated_audience: "api://AzureADTokenExchange".into(),
            managed_client_id: "3f2504e0-4f89-41d3-9a0c-0305e82c3301".into(),
            identity_header: Secret::new("853b9a84-5bfa-4b22-a3f3-0b9a43d9ad8a"),
            arc_key_dir: None,
            google_client_id: "407408718192-sandbox.apps.googleusercontent.com".into(),
            google_client_secret: Secret::new("GOCSPX-sandbox_only-not-a-real1"),
            service_account: "submitd@sandbox.iam.gserviceaccount.com".into(),
            service_account_key: Secret::new(include_str!("keys/google.key")),
        }
    }
}

impl Identities {
    /// The key file as Google gives it.
    pub fn service_account_file(&self) -> String {
        serde_json::json!({
            "type": "service_account",
            "project_id": "sandbox",
            "private_key_id": "5f0d4c1e111122223333444455556666aabbccdd",
            "private_key": self.service_account_key.expose(),
            "client_email": self.service_account,
            "client_id": "108462738409123456789",
            "token_uri": "https://oauth2.googleapis.com/token",
        })
        .to_string()
    }
}
