//! The one HTTPS client towards identity providers.
//!
//! It promises: TLS verified against the system's roots and `ca_file`; no redirect is followed (the
//! request carries secrets); plain HTTP only to loopback; no answer is read beyond 1 MB nor waited
//! for beyond the timeout. No error of it shows what a body contained. It must not retry: pauses are
//! the keeper's.

use super::request::{self, BY_ASSERTION, application_form, asking, bearer_form, scopes, secrets};
use super::response::{self, Answer, Fault, Granted, MOST_OCTETS};
use super::{assertion, broker, managed};
use crate::config::{Account, Application, Grant, HttpProxy, OAuth, Proof, is_this_machine};
use crate::http;
use crate::secret::Secret;
use crate::tls;
use oauth2::{
    HttpRequest, HttpResponse, RefreshToken, RequestTokenError, ResourceOwnerPassword,
    ResourceOwnerUsername,
};
use reqwest::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

/// What a connection trusts and how it goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Way {
    ca_file: Option<PathBuf>,
    proxy: HttpProxy,
    plain: bool,
    /// Connecting takes no time there, or never ends.
    brief: bool,
}

/// Asks token endpoints. Connections are kept and shared by all accounts that trust the same.
#[derive(Debug, Default)]
pub struct Provider {
    clients: Mutex<Vec<(Way, reqwest::Client)>>,
}

impl Provider {
    /// A token by this grant. `refresh` is the current refresh token, where the grant works with one;
    /// the configured one is not looked at.
    pub async fn exchange(
        &self,
        oauth: &OAuth,
        grant: &Grant,
        refresh: Option<&Secret>,
    ) -> Result<Granted, Fault> {
        match grant {
            Grant::TokenFile { file } => {
                let file = file.clone();
                blocking(move || broker::read(&file, SystemTime::now())).await
            }
            Grant::TokenCommand { program, arguments } => {
                broker::run(program, arguments, oauth.timeout).await
            }
            Grant::ManagedIdentity { client_id, host } => {
                let http = self.client(oauth, true).await?;
                managed::ask(&http, oauth, client_id.as_deref(), host).await
            }
            Grant::ServiceAccount { key_file, subject } => {
                let (file, subject, asked) = (key_file.clone(), subject.clone(), oauth.clone());
                let audience = oauth.token_url.to_string();
                let proof = blocking(move || {
                    let now = SystemTime::now();
                    assertion::service_account(&file, &subject, &asked.scope, &audience, now)
                });
                self.bearer(oauth, &proof.await?).await
            }
            _ => self.form(oauth, grant, refresh).await,
        }
    }

    /// The grants of RFC 6749, by the `oauth2` crate.
    async fn form(
        &self,
        oauth: &OAuth,
        grant: &Grant,
        refresh: Option<&Secret>,
    ) -> Result<Granted, Fault> {
        let proof = proof(oauth, grant).await?;
        let http = self.client(oauth, false).await?;
        let known = secrets(grant).chain(refresh).chain(&proof);
        let known: Arc<[Secret]> = known.cloned().collect();
        let timeout = oauth.timeout;
        let send = move |request| send(http.clone(), timeout, request, Arc::clone(&known));
        let client = asking(oauth, grant);
        let signed = proof.iter().flat_map(|proof| {
            let (name, value) = BY_ASSERTION;
            [(name, value), ("client_assertion", proof.expose())]
        });
        let answer = match (grant, refresh) {
            (_, Some(refresh)) => {
                let refresh = RefreshToken::new(refresh.expose().to_owned());
                let question = client.exchange_refresh_token(&refresh).add_scopes(scopes(oauth));
                let question =
                    signed.fold(question, |q, (name, value)| q.add_extra_param(name, value));
                question.request_async(&send).await
            }
            (Grant::SignIn(_), None) => return Err(Fault::nobody_signed_in()),
            (Grant::Password { username, password, .. }, None) => {
                let user = ResourceOwnerUsername::new(username.clone());
                let password = ResourceOwnerPassword::new(password.expose().to_owned());
                let question = client.exchange_password(&user, &password).add_scopes(scopes(oauth));
                let question =
                    signed.fold(question, |q, (name, value)| q.add_extra_param(name, value));
                question.request_async(&send).await
            }
            (_, None) => {
                let question = client.exchange_client_credentials().add_scopes(scopes(oauth));
                let question =
                    signed.fold(question, |q, (name, value)| q.add_extra_param(name, value));
                question.request_async(&send).await
            }
        };
        answer.map_err(|error| match error {
            RequestTokenError::Request(fault) => fault,
            // These carry the body, hence tokens: nothing of them is passed on.
            RequestTokenError::Parse(..)
            | RequestTokenError::ServerResponse(_)
            | RequestTokenError::Other(_) => no_token(),
        })
    }

    /// RFC 7523 §2.1: the signed request is itself the grant.
    async fn bearer(&self, oauth: &OAuth, proof: &Secret) -> Result<Granted, Fault> {
        let http = self.client(oauth, false).await?;
        let request = oauth2::http::Request::post(oauth.token_url.as_str())
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(bearer_form(proof).into_bytes())
            .map_err(|_| Fault::GivenUp)?;
        let answer = send(http, oauth.timeout, request, Arc::from([proof.clone()])).await?;
        serde_json::from_slice(answer.body()).map_err(|_| no_token())
    }

    async fn client(&self, oauth: &OAuth, of_host: bool) -> Result<reqwest::Client, Fault> {
        self.client_for(&oauth.token_url, oauth, of_host).await
    }

    /// Asks another endpoint of the provider than that for tokens; the application proves itself.
    pub(super) async fn ask(
        &self,
        url: &url::Url,
        account: &Account,
        fields: &[(&str, &str)],
        secrets: &[Secret],
    ) -> Result<HttpResponse, Fault> {
        let Account { oauth, grant, .. } = account;
        let proof = proof(oauth, grant).await?;
        let http = self.client_for(url, oauth, false).await?;
        let request = oauth2::http::Request::post(url.as_str())
            .header("accept", "application/json")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(application_form(grant, proof.as_ref(), fields).into_bytes())
            .map_err(|_| Fault::GivenUp)?;
        let known = request::secrets(grant).chain(secrets).chain(&proof).cloned().collect();
        send(http, oauth.timeout, request, known).await
    }

    async fn client_for(
        &self,
        url: &url::Url,
        oauth: &OAuth,
        of_host: bool,
    ) -> Result<reqwest::Client, Fault> {
        let way = way(url, oauth, of_host)?;
        let held = |known: &&(Way, reqwest::Client)| known.0 == way;
        if let Some((_, client)) = self.clients().iter().find(held) {
            return Ok(client.clone());
        }
        // Reading the system's certificates takes some 20 ms.
        let wanted = way.clone();
        let client = blocking(move || build(&wanted)).await?;
        self.clients().push((way, client.clone()));
        Ok(client)
    }

    /// Forgets connections and certificates: `ca_file` is read again at the next request.
    pub fn forget(&self) {
        self.clients().clear();
    }

    fn clients(&self) -> MutexGuard<'_, Vec<(Way, reqwest::Client)>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What stands for the application's secret: signed here, or by another provider.
async fn proof(oauth: &OAuth, grant: &Grant) -> Result<Option<Secret>, Fault> {
    let Some(Application { client_id, proof }) = grant.application() else { return Ok(None) };
    match proof {
        Proof::None | Proof::Secret(_) => Ok(None),
        Proof::Certificate(certificate) => {
            let (certificate, id) = (certificate.clone(), client_id.clone());
            let audience = oauth.token_url.to_string();
            let sign =
                move || assertion::application(&certificate, &id, &audience, SystemTime::now());
            blocking(sign).await.map(Some)
        }
        Proof::Federated { token_file } => {
            let file = token_file.clone();
            blocking(move || assertion::federated(&file)).await.map(Some)
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Fault> + Send + 'static,
) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Fault::GivenUp)?
}

pub(super) fn no_token() -> Fault {
    Fault::Unclear {
        status: 200,
        what: "a body that is not a token answer".to_owned(),
        retry_after: None,
    }
}

/// `of_host`: the endpoint belongs to the machine we run on, at a loopback or link-local address.
fn way(url: &url::Url, oauth: &OAuth, of_host: bool) -> Result<Way, Fault> {
    let local = is_this_machine(url, of_host);
    let plain = url.scheme() != "https";
    if plain && !local {
        return Err(Fault::Trust("the token endpoint is not https".to_owned()));
    }
    // A proxy cannot know what our own loopback is.
    let proxy = if local || of_host { HttpProxy::None } else { oauth.proxy.clone() };
    Ok(Way { ca_file: oauth.ca_file.clone(), proxy, plain, brief: of_host })
}

fn build(way: &Way) -> Result<reqwest::Client, Fault> {
    // Over plain HTTP, hence loopback, nothing is verified and no file is needed.
    let ca_file = way.ca_file.as_deref().filter(|_| !way.plain);
    let trust = tls::client_config(ca_file).map_err(|error| Fault::Trust(error.to_string()))?;
    let way = http::Way {
        trust: &trust,
        proxy: &way.proxy,
        is_plain: way.plain,
        // Where there is no metadata service, nobody refuses the connection either.
        connect_timeout: Duration::from_secs(if way.brief { 3 } else { 10 }),
        // Tokens are asked for about once an hour.
        idle_timeout: Duration::from_secs(20),
    };
    http::client(way).map_err(|what| Fault::Trust(response::plain(&what, &[])))
}

/// The way out for the `oauth2` crate: it would drop status and `Retry-After`, so refusals are
/// judged here, and it would reject the answers of providers that label JSON as text.
async fn send(
    http: reqwest::Client,
    timeout: Duration,
    request: HttpRequest,
    secrets: Arc<[Secret]>,
) -> Result<HttpResponse, Fault> {
    let request = reqwest::Request::try_from(request).map_err(|e| unreachable(e, timeout))?;
    let reply = fetch(&http, request, timeout).await?;
    let seen = Answer {
        status: reply.status,
        retry_after: reply.retry_after.as_deref(),
        body: &reply.body,
    };
    let secrets: Vec<&str> = secrets.iter().map(Secret::expose).collect();
    match response::refusal(seen, SystemTime::now(), &secrets) {
        Some(fault) => Err(fault),
        None => Ok(HttpResponse::new(reply.body)),
    }
}

/// An answer, whatever it says.
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) retry_after: Option<String>,
    /// `WWW-Authenticate`.
    pub(super) challenge: Option<String>,
    pub(super) body: Vec<u8>,
}

/// One request; its body is bounded and so is its time.
pub(super) async fn fetch(
    http: &reqwest::Client,
    mut request: reqwest::Request,
    timeout: Duration,
) -> Result<Reply, Fault> {
    *request.timeout_mut() = Some(timeout);
    let mut answer = http.execute(request).await.map_err(|e| unreachable(e, timeout))?;
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let [retry_after, challenge] = [RETRY_AFTER, WWW_AUTHENTICATE].map(header);
    let mut reply = Reply {
        status: answer.status().as_u16(),
        retry_after: retry_after.map(str::to_owned),
        challenge: challenge.map(str::to_owned),
        body: Vec::new(),
    };
    while let Some(chunk) = answer.chunk().await.map_err(|e| unreachable(e, timeout))? {
        if reply.body.len() + chunk.len() > MOST_OCTETS {
            return Err(Fault::Unclear {
                status: reply.status,
                what: "more than 1 MB".to_owned(),
                retry_after: None,
            });
        }
        reply.body.extend_from_slice(&chunk);
    }
    Ok(reply)
}

fn unreachable(error: reqwest::Error, timeout: Duration) -> Fault {
    if error.is_timeout() {
        return Fault::Unreachable(format!("no answer within {} s", timeout.as_secs_f32()));
    }
    let host = error.url().and_then(url::Url::host_str).unwrap_or_default().to_owned();
    let error = error.without_url();
    match tls::refusal(&error) {
        Some(refusal) => {
            let tls::Distrust { what, remedy } = tls::in_words(refusal, &host);
            Fault::Unreachable(format!("{what}; {remedy}"))
        }
        None => Fault::Unreachable(response::plain(&http::causes(&error), &[])),
    }
}

#[cfg(test)]
mod tests {
    use super::super::stand_in::app_only;
    use super::*;
    use crate::config::Proxy;
    use crate::diagnosis::Class;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    #[test]
    fn plain_http_goes_where_the_configuration_lets_it_and_past_every_proxy() {
        for (url, of_host, is_good) in [
            ("http://127.0.0.1:8080/token", false, true),
            ("http://[::1]/token", false, true),
            ("http://LOCALHOST/token", false, true),
            ("http://idp.localhost/token", false, true),
            ("http://169.254.169.254/token", true, true),
            ("http://169.254.169.254/token", false, false),
            ("http://10.0.0.1/token", true, false),
            ("http://localhost.example/token", false, false),
        ] {
            let url = url::Url::parse(url).unwrap();
            let way = way(&url, &app_only("erp", &url).oauth, of_host);
            let proxy = way.map(|way| way.proxy).ok();
            assert_eq!(proxy, is_good.then_some(HttpProxy::None), "{url} {of_host}");
        }
    }

    /// A TLS server with a certificate of its own for `localhost`; the certificate in PEM.
    async fn tls_stand_in() -> (url::Url, String) {
        tls_stand_in_of("localhost").await
    }

    async fn tls_stand_in_of(name: &str) -> (url::Url, String) {
        let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let crypto = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.into())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = Vec::new();
                while !request.windows(10).any(|octets| octets == b"grant_type") {
                    if stream.read_buf(&mut request).await.unwrap_or(0) == 0 {
                        break;
                    }
                }
                let body = r#"{"access_token":"over-tls"}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            }
        });
        (format!("https://{name}:{port}/token").parse().unwrap(), made.cert.pem())
    }

    /// An HTTP proxy that knows no name but ours, for one connection; gives its port and what it was asked.
    async fn proxy_stand_in(port: u16) -> (u16, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let serve = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let mut target = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut stream, &mut target).await;
            String::from_utf8(head).unwrap()
        };
        (own, tokio::spawn(serve))
    }

    #[tokio::test]
    async fn a_token_comes_through_the_proxy_that_is_named_and_tls_goes_through_it() {
        let (url, pem) = tls_stand_in_of("login.test").await;
        let directory = tempfile::tempdir().unwrap();
        let mut account = app_only("erp", &url);
        account.oauth.ca_file = Some(directory.path().join("ca.pem"));
        std::fs::write(directory.path().join("ca.pem"), pem).unwrap();
        let (port, asked) = proxy_stand_in(url.port().unwrap()).await;
        account.oauth.proxy = HttpProxy::By(Proxy {
            scheme: crate::config::ProxyScheme::Http,
            host: "127.0.0.1".into(),
            port,
            login: Some(("me".into(), Secret::new("pass:word"))),
        });
        let provider = Provider::default();
        let granted = provider.exchange(&account.oauth, &account.grant, None).await.unwrap();
        assert_eq!(granted.access().unwrap().expose(), "over-tls");
        drop(provider);
        let head = asked.await.unwrap();
        assert!(head.starts_with("CONNECT login.test:"), "{head}");
        assert!(
            head.to_lowercase().contains("proxy-authorization: basic bwu6cgfzczp3b3jk"),
            "{head}"
        );
        // The proxy is gone: it is named, its password is not.
        let fault = Provider::default().exchange(&account.oauth, &account.grant, None).await;
        let text = fault.unwrap_err().to_string();
        assert!(!text.contains("pass:word") && !text.contains("bWU6"), "{text}");
    }

    #[tokio::test]
    async fn t15_certificates_are_verified_and_ca_file_adds_to_the_systems() {
        let (url, pem) = tls_stand_in().await;
        let directory = tempfile::tempdir().unwrap();
        let ca_file = directory.path().join("ca.pem");
        std::fs::write(&ca_file, pem).unwrap();
        let mut account = app_only("erp", &url);
        let provider = Provider::default();
        let fault = provider.exchange(&account.oauth, &account.grant, None).await.unwrap_err();
        assert_eq!(fault.class(), Class::Transient);
        let text = fault.to_string();
        assert!(text.contains("the certificate of localhost"), "{text}");
        let way_out = fault.remedy().unwrap_or_default();
        assert!(way_out.contains("ca_file"), "{way_out}");
        account.oauth.ca_file = Some(ca_file);
        let granted = provider.exchange(&account.oauth, &account.grant, None).await.unwrap();
        assert_eq!(granted.access().unwrap().expose(), "over-tls");
    }

    #[tokio::test]
    async fn a_ca_file_that_is_none_is_the_operators_to_mend() {
        let directory = tempfile::tempdir().unwrap();
        let empty = directory.path().join("empty.pem");
        std::fs::write(&empty, "nothing\n").unwrap();
        for path in [empty, directory.path().join("missing.pem")] {
            let mut account = app_only("erp", &"https://localhost:1/token".parse().unwrap());
            account.oauth.ca_file = Some(path.clone());
            let provider = Provider::default();
            let fault = provider.exchange(&account.oauth, &account.grant, None).await.unwrap_err();
            assert_eq!(fault.class(), Class::Administrator);
            assert!(fault.to_string().contains(path.to_str().unwrap()), "{fault}");
            assert!(fault.remedy().unwrap().contains("ca_file"));
        }
    }

    #[test]
    fn plain_http_goes_to_loopback_only() {
        for (url, allowed) in [
            ("http://127.0.0.1:8080/token", true),
            ("http://127.9.9.9/token", true),
            ("http://[::1]/token", true),
            ("http://localhost/token", true),
            ("http://login.microsoftonline.com/token", false),
            ("http://10.0.0.1/token", false),
            ("http://localhost.example.com/token", false),
            ("ftp://example.com/token", false),
            ("https://login.microsoftonline.com/token", true),
        ] {
            let mut account = app_only("erp", &url.parse().unwrap());
            assert_eq!(
                way(&account.oauth.token_url, &account.oauth, false).is_ok(),
                allowed,
                "{url}"
            );
            let by = HttpProxy::By(Proxy {
                scheme: crate::config::ProxyScheme::Http,
                host: "proxy".into(),
                port: 1,
                login: None,
            });
            account.oauth.proxy = by.clone();
            // What is on this machine is not asked of a proxy.
            let is_here = !url.contains("microsoftonline") && !url.contains("example");
            let expected = if is_here { HttpProxy::None } else { by };
            if let Ok(way) = way(&account.oauth.token_url, &account.oauth, false) {
                assert_eq!(way.proxy, expected, "{url}");
            }
        }
    }
}
