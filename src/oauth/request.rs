//! What is asked of the token endpoint: the form bodies of the grants. Pure.
//!
//! The `oauth2` crate writes them; here stands what is put into them. Everything goes in the body
//! (Entra's norm), encoded once; a public client sends no secret (AADSTS700025). It must not send
//! anything itself: whoever sends gives the request a way out.

use super::response::Granted;
use crate::config::{Account, Grant, IdentityHost, OAuth, Proof, SignIn, Transport};
use crate::diagnosis::fill;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
};
use oauth2::{
    AuthType, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet, Scope,
    StandardRevocableToken, TokenUrl,
};
use std::borrow::Cow;

/// The client of the `oauth2` crate that reads answers our way.
pub type Asking = Client<
    BasicErrorResponse,
    Granted,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointSet,
>;

/// The client for this grant at this endpoint.
pub fn asking(oauth: &OAuth, grant: &Grant) -> Asking {
    let client = Client::new(ClientId::new(client_id(grant).to_owned()))
        .set_auth_type(AuthType::RequestBody)
        .set_token_uri(TokenUrl::from_url(oauth.token_url.clone()));
    match client_secret(grant) {
        Some(secret) => client.set_client_secret(ClientSecret::new(secret.expose().to_owned())),
        None => client,
    }
}

/// What is asked for; an empty scope is left out.
pub fn scopes(oauth: &OAuth) -> impl Iterator<Item = Scope> + '_ {
    oauth.scope.split_ascii_whitespace().map(|word| Scope::new(word.to_owned()))
}

/// What a person is asked to allow in a browser, which may be for several services (Entra: the scope "can
/// cover multiple resources" there, and nowhere else). `.default` stands for all of one service and cannot
/// stand beside another.
pub fn consented(account: &Account) -> Cow<'_, str> {
    let own = account.oauth.scope.as_str();
    match &account.transport {
        Transport::Auto(graph)
            if ![own, &graph.scope].iter().any(|all| all.contains(".default")) =>
        {
            Cow::Owned(format!("{own} {}", graph.scope))
        }
        _ => Cow::Borrowed(own),
    }
}

/// The application (client) id of a grant; where it has none, words for it.
pub fn client_id(grant: &Grant) -> &str {
    match grant {
        Grant::ClientCredentials { application }
        | Grant::Password { application, .. }
        | Grant::SignIn(SignIn { application, .. })
        | Grant::RefreshToken { application, .. } => &application.client_id,
        Grant::ManagedIdentity { client_id, .. } => {
            client_id.as_deref().unwrap_or("the system-assigned identity")
        }
        Grant::ServiceAccount { .. } => "the service account",
        Grant::TokenCommand { .. } | Grant::TokenFile { .. } | Grant::Tokenless => {
            "the application"
        }
    }
}

/// What the placeholders of a remedy stand for ([`crate::diagnosis::fill`]).
pub fn names(account: &Account) -> [(&'static str, &str); 4] {
    [
        ("account", &account.name),
        ("client_id", client_id(&account.grant)),
        ("tenant", tenant(&account.oauth)),
        ("mailbox", account.mailbox.as_str()),
    ]
}

/// What a stored refresh token descends from, and whether that is a token itself; none where nothing is
/// stored. For a sign-in it names application, person and provider: a token goes to nobody else.
pub fn seed(account: &Account) -> Option<(Secret, bool)> {
    match &account.grant {
        Grant::RefreshToken { refresh_token, .. } => Some((refresh_token.clone(), true)),
        Grant::SignIn(SignIn { application, username, .. }) => {
            let provider = account.oauth.token_url.origin().ascii_serialization();
            let [client_id, username] =
                [&application.client_id, username].map(|text| text.to_lowercase());
            Some((Secret::new(format!("sign-in\n{client_id}\n{username}\n{provider}")), false))
        }
        _ => None,
    }
}

/// What tells whether two configurations mean the same application, person and provider, without
/// saying which; none where nobody signs in.
pub fn binding(account: &Account) -> Option<String> {
    let (seed, _) = seed(account).filter(|(_, is_token)| !is_token)?;
    let digest = ring::digest::digest(&ring::digest::SHA256, seed.expose().as_bytes());
    Some(URL_SAFE_NO_PAD.encode(digest))
}

/// A remedy filled in for this account; how somebody signs in again depends on the grant.
pub fn remedy(text: &str, account: &Account) -> String {
    let again = match account.grant {
        Grant::SignIn(_) => "submitd login {account}",
        _ => "put the new refresh token into `refresh_token` of account \"{account}\"",
    };
    fill(&text.replace("{sign_in}", again), &names(account))
}

/// The application's secret, if this grant has one.
pub fn client_secret(grant: &Grant) -> Option<&Secret> {
    match &grant.application()?.proof {
        Proof::Secret(secret) => Some(secret),
        Proof::None | Proof::Certificate(_) | Proof::Federated { .. } => None,
    }
}

/// What must not be shown, even if the provider repeats it.
pub fn secrets(grant: &Grant) -> impl Iterator<Item = &Secret> {
    let own = match grant {
        Grant::Password { password, .. } => Some(password),
        Grant::ManagedIdentity { host: IdentityHost::AppService { header }, .. } => Some(header),
        _ => None,
    };
    client_secret(grant).into_iter().chain(own)
}

/// What says that a signed proof stands for the application (RFC 7523 §2.2).
pub const BY_ASSERTION: (&str, &str) =
    ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");

/// A form in which the application names and, where it can, proves itself.
pub fn application_form(grant: &Grant, proof: Option<&Secret>, fields: &[(&str, &str)]) -> String {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("client_id", client_id(grant));
    form.extend_pairs(fields);
    if let Some(proof) = proof {
        form.append_pair(BY_ASSERTION.0, BY_ASSERTION.1);
        form.append_pair("client_assertion", proof.expose());
    } else if let Some(secret) = client_secret(grant) {
        form.append_pair("client_secret", secret.expose());
    }
    form.finish()
}

/// The form of a signed request for a token (RFC 7523 §2.1), Google's way.
pub fn bearer_form(assertion: &Secret) -> String {
    url::form_urlencoded::Serializer::new(String::new())
        .append_pair("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer")
        .append_pair("assertion", assertion.expose())
        .finish()
}

/// The resource of a scope: managed identities know no other word for it.
pub fn resource(oauth: &OAuth) -> &str {
    oauth.scope.strip_suffix("/.default").unwrap_or(&oauth.scope)
}

/// The tenant, as the endpoint's path names it; for endpoints of other makers, words for it.
pub fn tenant(oauth: &OAuth) -> &str {
    let path = oauth.token_url.path();
    let first = oauth.token_url.path_segments().and_then(|mut segments| segments.next());
    match first {
        // A managed identity's endpoint, `/metadata/identity/oauth2/token`, names none.
        Some("" | "metadata") | None => "your tenant",
        Some(tenant) if path.contains("/oauth2/") => tenant,
        Some(_) => "your tenant",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Application;
    use oauth2::{HttpRequest, HttpResponse, RefreshToken, RequestTokenError};

    #[derive(Debug, thiserror::Error)]
    #[error("taken")]
    struct Taken(Box<HttpRequest>);

    fn take(request: HttpRequest) -> Result<HttpResponse, Taken> {
        Err(Taken(Box::new(request)))
    }

    fn oauth(scope: &str) -> OAuth {
        OAuth {
            token_url: "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"
                .parse()
                .unwrap(),
            scope: scope.to_owned(),
            ca_file: None,
            proxy: crate::config::HttpProxy::Environment,
            timeout: std::time::Duration::from_secs(20),
            consent: Default::default(),
        }
    }

    fn application(secret: Option<&str>) -> Application {
        let proof = secret.map_or(Proof::None, |secret| Proof::Secret(Secret::new(secret)));
        Application { client_id: "id".to_owned(), proof }
    }

    fn written(oauth: &OAuth, grant: &Grant, refresh: Option<&str>) -> HttpRequest {
        let client = asking(oauth, grant);
        let result = match refresh {
            None => client.exchange_client_credentials().add_scopes(scopes(oauth)).request(&take),
            Some(token) => client
                .exchange_refresh_token(&RefreshToken::new(token.to_owned()))
                .add_scopes(scopes(oauth))
                .request(&take),
        };
        match result {
            Err(RequestTokenError::Request(Taken(request))) => *request,
            other => panic!("{other:?}"),
        }
    }

    fn form(request: &HttpRequest) -> Vec<(String, String)> {
        let mut pairs: Vec<_> = url::form_urlencoded::parse(request.body()).into_owned().collect();
        pairs.sort();
        pairs
    }

    fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
        of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn client_credentials_are_encoded_once() {
        let grant =
            Grant::ClientCredentials { application: application(Some("a~b.c_d-e+f/g=h i%20")) };
        let oauth = oauth("https://outlook.office365.com/.default");
        let request = written(&oauth, &grant, None);
        assert_eq!(request.method(), "POST");
        assert_eq!(
            request.uri().to_string(),
            "https://login.microsoftonline.com/contoso.com/oauth2/v2.0/token"
        );
        assert_eq!(request.headers()["content-type"], "application/x-www-form-urlencoded");
        assert!(!request.headers().contains_key("authorization"));
        assert_eq!(
            form(&request),
            pairs(&[
                ("client_id", "id"),
                ("client_secret", "a~b.c_d-e+f/g=h i%20"),
                ("grant_type", "client_credentials"),
                ("scope", "https://outlook.office365.com/.default"),
            ])
        );
    }

    #[test]
    fn refresh_token_of_a_public_client_sends_no_secret() {
        let grant = Grant::RefreshToken {
            application: application(None),
            refresh_token: Secret::new("seed"),
        };
        let request = written(&oauth("a  b"), &grant, Some("0.AX/+="));
        assert_eq!(
            form(&request),
            pairs(&[
                ("client_id", "id"),
                ("grant_type", "refresh_token"),
                ("refresh_token", "0.AX/+="),
                ("scope", "a b"),
            ])
        );
    }

    #[test]
    fn refresh_token_of_a_confidential_client_sends_it_and_an_empty_scope_is_left_out() {
        let grant = Grant::RefreshToken {
            application: application(Some("s")),
            refresh_token: Secret::new("seed"),
        };
        let request = written(&oauth(" "), &grant, Some("r"));
        assert_eq!(
            form(&request),
            pairs(&[
                ("client_id", "id"),
                ("client_secret", "s"),
                ("grant_type", "refresh_token"),
                ("refresh_token", "r"),
            ])
        );
    }

    #[test]
    fn tenant_is_read_from_the_path() {
        assert_eq!(tenant(&oauth("")), "contoso.com");
        let mut other = oauth("");
        for url in [
            "https://oauth2.googleapis.com/token",
            "http://169.254.169.254/metadata/identity/oauth2/token",
        ] {
            other.token_url = url.parse().unwrap();
            assert_eq!(tenant(&other), "your tenant");
        }
    }
}
