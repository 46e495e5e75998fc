//! An identity provider on loopback for the tests of this module: answers as told, counts, can be
//! held at a gate. It must not imitate a real one's judgement: what it answers is written by hand.

use crate::config::{
    Account, Application, Grant, Limit, OAuth, OnUncertain, Proof, SignIn, SignInBy, Upstream,
    UpstreamTls,
};
use crate::mail::Address;
use crate::secret::Secret;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};

/// One answer.
#[derive(Clone)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    /// Does not wait at the gate.
    pub at_once: bool,
}

impl Reply {
    pub fn json(status: u16, body: &str) -> Self {
        let headers = vec![("content-type", "application/json; charset=utf-8".to_owned())];
        Self { status, headers, body: body.to_owned(), at_once: false }
    }

    pub fn html(status: u16) -> Self {
        let headers = vec![("content-type", "text/html".to_owned())];
        Self { status, headers, body: "<html>planted-in-html</html>".to_owned(), at_once: false }
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub fn at_once(mut self) -> Self {
        self.at_once = true;
        self
    }

    pub fn token(access: &str, refresh: Option<&str>, seconds: u32) -> Self {
        let mut body = serde_json::json!(
            {"token_type": "Bearer", "expires_in": seconds, "access_token": access});
        if let Some(refresh) = refresh {
            body["refresh_token"] = refresh.into();
        }
        Self::json(200, &body.to_string())
    }

    pub fn refused(status: u16, error: &str, code: u32) -> Self {
        let body = serde_json::json!({
            "error": error, "error_codes": [code],
            "error_description": format!("AADSTS{code}: Said.\r\nTrace ID: x"),
        });
        Self::json(status, &body.to_string())
    }
}

struct Inner {
    replies: Mutex<VecDeque<Reply>>,
    forms: Mutex<Vec<HashMap<String, String>>>,
    arrived: watch::Sender<usize>,
    gate: Semaphore,
}

/// The provider. Unless told otherwise it answers `token-N` for an hour, N counting requests.
#[derive(Clone)]
pub struct StandIn {
    inner: Arc<Inner>,
    pub url: url::Url,
}

impl StandIn {
    /// Listening on a free port, gate open.
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url =
            format!("http://{}/contoso.com/oauth2/v2.0/token", listener.local_addr().unwrap());
        let inner = Arc::new(Inner {
            replies: Mutex::default(),
            forms: Mutex::default(),
            arrived: watch::Sender::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
        });
        let router = axum::Router::new().fallback(answer).with_state(Arc::clone(&inner));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { inner, url: url.parse().unwrap() }
    }

    /// The next answers, in order.
    pub fn will(&self, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.inner.replies.lock().unwrap().extend(replies);
        self
    }

    /// No answer leaves until `open`.
    pub fn close(&self) {
        self.inner.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub fn open(&self) {
        self.inner.gate.add_permits(1_000_000);
    }

    /// Waits until so many requests have arrived in all.
    pub async fn arrived(&self, count: usize) {
        let mut arrived = self.inner.arrived.subscribe();
        arrived.wait_for(|now| *now >= count).await.unwrap();
    }

    pub fn count(&self) -> usize {
        *self.inner.arrived.borrow()
    }

    /// One field of the n-th request, from 1.
    pub fn field(&self, request: usize, name: &str) -> String {
        self.inner.forms.lock().unwrap()[request - 1].get(name).cloned().unwrap_or_default()
    }
}

async fn answer(State(inner): State<Arc<Inner>>, body: String) -> (StatusCode, HeaderMap, String) {
    let form = url::form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let (count, reply) = {
        let mut forms = inner.forms.lock().unwrap();
        forms.push(form);
        (forms.len(), inner.replies.lock().unwrap().pop_front())
    };
    inner.arrived.send_replace(count);
    let reply = reply.unwrap_or_else(|| Reply::token(&format!("token-{count}"), None, 3600));
    if !reply.at_once {
        inner.gate.acquire().await.unwrap().forget();
    }
    let headers = reply.headers.into_iter().map(|(name, value)| {
        (HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap())
    });
    (StatusCode::from_u16(reply.status).unwrap(), headers.collect(), reply.body)
}

/// With a secret, or a public one.
pub fn application(secret: Option<&str>) -> Application {
    let proof = secret.map_or(Proof::None, |secret| Proof::Secret(Secret::new(secret)));
    Application { client_id: "client-id".to_owned(), proof }
}

/// An app-only account at this endpoint.
pub fn app_only(name: &str, url: &url::Url) -> Account {
    Account {
        name: name.to_owned(),
        mailbox: Address::parse(&format!("{name}@contoso.com")).unwrap(),
        grant: Grant::ClientCredentials { application: application(Some("planted-client-secret")) },
        transport: crate::config::Transport::Smtp,
        upstream: Upstream {
            host: "smtp.office365.com".to_owned(),
            port: 587,
            tls: UpstreamTls::StartTls,
            login: crate::config::Login::Token,
            sasl: crate::config::Sasl::Auto,
            proxy: None,
            ca_file: None,
            connections: Limit::AtMost(3),
            messages_per_minute: Limit::AtMost(30),
            recipients_per_day: Limit::Unlimited,
            max_recipients: Limit::Unlimited,
            max_message_size: 35 << 20,
            connect_timeout: Duration::from_secs(10),
            command_timeout: Duration::from_secs(10),
            data_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(10),
            binarymime: true,

            chunking: crate::config::Chunking::Auto,
        },
        oauth: OAuth {
            token_url: url.clone(),
            scope: "https://outlook.office365.com/.default".to_owned(),
            ca_file: None,
            proxy: crate::config::HttpProxy::Environment,
            timeout: Duration::from_secs(20),
            consent: Default::default(),
        },
        on_uncertain: OnUncertain::Hold,
        networks: Vec::new(),
        senders: Vec::new(),
        rewrite_from: crate::mail::rewrite::When::Off,
        client_secret_expires: None,
    }
}

/// An account with a refresh token at this endpoint.
pub fn delegated(name: &str, url: &url::Url, seed: &str) -> Account {
    let grant =
        Grant::RefreshToken { application: application(None), refresh_token: Secret::new(seed) };
    Account { grant, ..app_only(name, url) }
}

/// An account that somebody signs in for at this endpoint.
pub fn signed_in(name: &str, url: &url::Url) -> Account {
    let grant = Grant::SignIn(SignIn {
        by: SignInBy::Browser,
        application: application(None),
        redirect_uri: "http://localhost".to_owned(),
        username: format!("{name}@contoso.com"),
    });
    Account { grant, ..app_only(name, url) }
}
