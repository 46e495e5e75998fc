//! The token endpoint and the control over HTTP. The expected texts are written by hand.

use crate::sandbox::faults::{Aadsts, Fault, FaultBody, Switch};
use crate::sandbox::{Faults, Options, Sandbox};
use reqwest::{Client, Method, Response};
use serde_json::Value;

const APP: &str = "0f8fad5b-d9cb-469f-a165-70867728950e";
const PUBLIC: &str = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
const SCOPE: &str = "https%3A%2F%2Foutlook.office365.com%2F.default";
const SECRET: &str = "Zk48Q~sandbox.only-not_a.real~secret-7dQ";

async fn start() -> Sandbox {
    Sandbox::start(Options::default()).await.expect("sandbox")
}

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().expect("client")
}

async fn post(url: &str, form: &str) -> Response {
    client()
        .post(url)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned())
        .send()
        .await
        .expect("answer")
}

async fn json(response: Response) -> Value {
    serde_json::from_str(&response.text().await.expect("text")).expect("json")
}

fn app_form() -> String {
    format!("grant_type=client_credentials&client_id={APP}&client_secret={SECRET}&scope={SCOPE}")
}

fn refresh_form(sandbox: &Sandbox, scope: &str) -> String {
    let token = sandbox.options().refresh_token.expose();
    format!("grant_type=refresh_token&client_id={PUBLIC}&refresh_token={token}&scope={scope}")
}

#[tokio::test]
async fn an_application_gets_a_token() {
    let sandbox = start().await;
    let by_id =
        sandbox.token_url().replace("contoso.onmicrosoft.com", &sandbox.options().tenant_id);
    for url in [sandbox.token_url(), by_id] {
        let response = post(&url, &app_form()).await;
        assert_eq!(response.status(), 200);
        for (name, value) in [
            ("content-type", "application/json; charset=utf-8"),
            ("cache-control", "no-store, no-cache"),
            ("pragma", "no-cache"),
            ("expires", "-1"),
        ] {
            assert_eq!(response.headers()[name], value);
        }
        let id = response.headers()["x-ms-request-id"].to_str().expect("text").to_owned();
        assert_eq!(id.len(), 36);
        let body = json(response).await;
        let keys: Vec<_> = body.as_object().expect("object").keys().cloned().collect();
        assert_eq!(keys, ["access_token", "expires_in", "ext_expires_in", "token_type"]);
        assert_eq!((&body["token_type"], &body["expires_in"]), (&"Bearer".into(), &3599.into()));
    }
    assert_eq!((sandbox.statistics().token_requests, sandbox.statistics().tokens), (2, 2));
}

/// Number, HTTP status, error and text of each refusal.
#[rustfmt::skip]
const REFUSALS: &[(u32, u16, &str, &str)] = &[
    (50059, 400, "invalid_request", "No tenant-identifying information found in either the request or implied by any provided credentials."),
    (70003, 400, "unsupported_grant_type", "The app requested an unsupported grant type 'magic'."),
    (70011, 400, "invalid_scope", "The provided value for the input parameter 'scope' isn't valid. The scope https://outlook.office.com/SMTP.SendAsApp isn't valid."),
    (90002, 400, "invalid_request", "Tenant 'fabrikam.com' not found. This may happen if there are no active subscriptions for the tenant. Check to make sure you have the correct tenant ID. Check with your subscription administrator."),
    (500_011, 400, "invalid_resource", "The resource principal named https://x.example was not found in the tenant named contoso.onmicrosoft.com. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant."),
    (700_016, 400, "unauthorized_client", "Application with identifier '11111111-1111-1111-1111-111111111111' was not found in the directory 'contoso.onmicrosoft.com'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant."),
    (700_025, 401, "invalid_client", "Client is public so neither 'client_assertion' nor 'client_secret' should be presented."),
    (700_027, 401, "invalid_client", "The certificate with identifier used to sign the client assertion is not registered on application. [Reason - The key was not found.]"),
    (900_023, 400, "invalid_request", "Specified tenant identifier 'contoso' is neither a valid DNS name, nor a valid external domain."),
    (900_144, 400, "invalid_request", "The request body must contain the following parameter: 'scope'."),
    (1_002_012, 400, "invalid_scope", "The provided value for scope https://outlook.office365.com/SMTP.Send is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI)."),
    (7_000_215, 401, "invalid_client", "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, for a secret added to app '0f8fad5b-d9cb-469f-a165-70867728950e'."),
    (7_000_218, 401, "invalid_client", "The request body must contain the following parameter: 'client_assertion' or 'client_secret'."),
    (9_002_313, 400, "invalid_grant", "Invalid request. Request is malformed or invalid."),
];

/// Tenant, form and the number they earn.
fn mistakes(sandbox: &Sandbox) -> Vec<(&'static str, String, u32)> {
    let (tenant, app, refresh) = ("contoso.onmicrosoft.com", app_form(), refresh_form(sandbox, ""));
    let no_secret = app.replace(&format!("&client_secret={SECRET}"), "");
    let as_app = refresh_form(sandbox, "https%3A%2F%2Foutlook.office.com%2FSMTP.SendAsApp");
    let scope = |scope: &str| app.replace(SCOPE, scope);
    vec![
        ("fabrikam.com", app.clone(), 90002),
        ("contoso", app.clone(), 900_023),
        ("common", app.clone(), 50059),
        (tenant, app.replace(APP, "11111111-1111-1111-1111-111111111111"), 700_016),
        (tenant, app.replace(SECRET, "wrong"), 7_000_215),
        (tenant, app.replace(SECRET, &sandbox.options().client_secret_id), 7_000_215),
        (tenant, no_secret.clone(), 7_000_218),
        (tenant, app.replace(APP, PUBLIC), 700_025),
        (tenant, no_secret.replace(APP, PUBLIC), 7_000_218),
        (tenant, format!("{no_secret}&client_assertion=a.b.c"), 700_027),
        (tenant, scope("https%3A%2F%2Foutlook.office365.com%2FSMTP.Send"), 1_002_012),
        (tenant, scope("https%3A%2F%2Fx.example%2F.default"), 500_011),
        (tenant, scope(""), 900_144),
        (tenant, app.replace("client_credentials", "magic"), 70003),
        (tenant, format!("{refresh}&client_secret=x"), 700_025),
        (tenant, refresh.replace("refresh_token=0", "refresh_token=1"), 9_002_313),
        (tenant, as_app, 70011),
    ]
}

#[tokio::test]
async fn each_mistake_has_its_number() {
    let sandbox = start().await;
    let mistakes = mistakes(&sandbox);
    for (tenant, form, code) in &mistakes {
        let url = format!("{}/{tenant}/oauth2/v2.0/token", sandbox.web_url());
        let response = post(&url, form).await;
        let (_, status, error, text) = REFUSALS.iter().find(|row| row.0 == *code).expect("row");
        let trace = response.headers()["x-ms-request-id"].to_str().expect("text").to_owned();
        assert_eq!(response.status().as_u16(), *status, "{code}");
        let body = json(response).await;
        let correlation = body["correlation_id"].as_str().expect("correlation");
        let timestamp = body["timestamp"].as_str().expect("timestamp");
        let shown = (body["error"].as_str(), &body["error_codes"]);
        assert_eq!(shown, (Some(*error), &Value::from(vec![*code])));
        assert_eq!(
            body["error_description"],
            format!(
                "AADSTS{code}: {text} Trace ID: {trace} Correlation ID: {correlation} Timestamp: {timestamp}"
            )
        );
        assert_eq!(body["trace_id"], trace);
        assert_eq!(
            body["error_uri"],
            format!("https://login.microsoftonline.com/error?code={code}")
        );
    }
    assert_eq!(sandbox.statistics().token_refusals, mistakes.len() as u64);
}

#[tokio::test]
async fn only_posts_of_forms_are_understood() {
    let sandbox = start().await;
    let response = client().get(sandbox.token_url()).send().await.expect("answer");
    let text = json(response).await["error_description"].to_string();
    assert!(text.contains(
        "AADSTS900561: The endpoint only accepts POST requests. Received a GET request."
    ));
    let response =
        client().post(sandbox.token_url()).body(app_form()).send().await.expect("answer");
    assert_eq!(
        json(response).await["error_codes"],
        Value::from(vec![900_144]),
        "without the content type"
    );
}

#[tokio::test]
async fn a_client_may_prove_itself_by_basic_and_name_its_request() {
    let sandbox = start().await;
    // What `printf '%s' ID:SECRET | base64` gives for the right secret.
    let basic = "MGY4ZmFkNWItZDljYi00NjlmLWExNjUtNzA4Njc3Mjg5NTBlOlprNDhRfnNhbmRib3gub25seS1ub3RfYS5yZWFsfnNlY3JldC03ZFE=";
    let wrong = "MGY4ZmFkNWItZDljYi00NjlmLWExNjUtNzA4Njc3Mjg5NTBlOndyb25n";
    let send = |authorization: String| {
        client()
            .post(sandbox.token_url())
            .header("authorization", format!("Basic {authorization}"))
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("client-request-id", "aaaa0000-bb11-2222-33cc-444444dddddd")
            .body(format!("grant_type=client_credentials&scope={SCOPE}"))
            .send()
    };
    assert_eq!(send(basic.into()).await.expect("answer").status(), 200);
    let refused = send(wrong.into()).await.expect("answer");
    assert_eq!(refused.status(), 401);
    assert_eq!(json(refused).await["correlation_id"], "aaaa0000-bb11-2222-33cc-444444dddddd");
}

#[tokio::test]
async fn a_refresh_brings_a_new_token_and_the_old_one_stays_good() {
    let sandbox = start().await;
    let form =
        refresh_form(&sandbox, "https%3A%2F%2Foutlook.office.com%2FSMTP.Send%20offline_access");
    let body = json(post(&sandbox.token_url(), &form).await).await;
    assert_eq!(body["scope"], "https://outlook.office.com/SMTP.Send");
    let new = body["refresh_token"].as_str().expect("rotated");
    assert_ne!(new, sandbox.options().refresh_token.expose());
    let renewed = form.replace(sandbox.options().refresh_token.expose(), new);
    for form in [&form, &renewed] {
        assert_eq!(post(&sandbox.token_url(), form).await.status(), 200);
    }
    let other = sandbox.token_url().replace("contoso.onmicrosoft.com", "common");
    assert_eq!(post(&other, &form).await.status(), 200, "refresh works at common");
    let consumers = sandbox.token_url().replace("contoso.onmicrosoft.com", "consumers");
    assert_eq!(
        json(post(&consumers, &form).await).await["error_codes"],
        Value::from(vec![9_002_332])
    );
    sandbox.revoke_refresh_tokens();
    let body = json(post(&sandbox.token_url(), &renewed).await).await;
    assert_eq!((&body["error_codes"][0], &body["suberror"]), (&50173.into(), &"bad_token".into()));
    assert_eq!(body["error"], "invalid_grant");
}

#[tokio::test]
async fn faults_of_the_token_endpoint() {
    let sandbox = start().await;
    let mut faults = Faults::default();
    faults.token.error = Some(Fault::times(Aadsts(50196), 1));
    faults.token.old_descriptions = true;
    sandbox.set_faults(faults);
    let body = json(post(&sandbox.token_url(), &app_form()).await).await;
    assert_eq!(body["error"], "invalid_grant");
    assert!(body["error_description"].as_str().expect("text").starts_with(
        "AADSTS50196: The server terminated an operation because it encountered a loop while processing a request\r\nTrace ID: "
    ));
    assert_eq!(post(&sandbox.token_url(), &app_form()).await.status(), 200, "once only");

    let mut faults = Faults::default();
    faults.token.status = Some(Fault::times(429, 1));
    faults.token.retry_after = Some("60".into());
    faults.token.body = FaultBody::Empty;
    sandbox.set_faults(faults);
    let response = post(&sandbox.token_url(), &app_form()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"].to_str().expect("text")),
        (429, &"60")
    );
    assert_eq!(response.text().await.expect("text"), "");

    let mut faults = Faults::default();
    faults.token.status = Some(Fault::times(503, 1));
    sandbox.set_faults(faults);
    let response = post(&sandbox.token_url(), &app_form()).await;
    assert_eq!(response.status(), 503);
    assert!(response.text().await.expect("text").contains("<h2>Service Unavailable</h2>"));

    let mut faults = Faults::default();
    faults.token.drop = Switch::Times(1);
    sandbox.set_faults(faults);
    let answer = client()
        .post(sandbox.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(app_form())
        .send()
        .await;
    assert!(answer.is_err(), "cut: {answer:?}");

    let mut faults = Faults::default();
    faults.token.expires_in = Some(5);
    faults.token.expires_in_as_text = true;
    sandbox.set_faults(faults);
    let body = json(post(&sandbox.token_url(), &app_form()).await).await;
    assert_eq!(body["expires_in"], "5");
}

#[tokio::test]
async fn a_held_request_is_answered_when_it_is_let_go() {
    let sandbox = start().await;
    let mut faults = Faults::default();
    faults.token.hold = true;
    sandbox.set_faults(faults);
    let url = sandbox.token_url();
    let request = tokio::spawn(async move { post(&url, &app_form()).await.status() });
    sandbox.wait_until(|statistics| statistics.token_requests == 1).await;
    assert_eq!(sandbox.statistics().tokens, 0);
    sandbox.set_faults(Faults::default());
    assert_eq!(request.await.expect("ended"), 200);
}

#[tokio::test]
async fn control_over_http() {
    let sandbox = start().await;
    let url = |path: &str| format!("{}{path}", sandbox.web_url());
    let call = |method: Method, path: &str, body: &str| {
        client()
            .request(method, url(path))
            .header("content-type", "application/json")
            .body(body.to_owned())
            .send()
    };
    let put = call(Method::PUT, "/sandbox/faults", r#"{"smtp": {"no_starttls": 2}}"#)
        .await
        .expect("answer");
    assert_eq!(put.status(), 204);
    assert_eq!(sandbox.faults().smtp.no_starttls, Switch::Times(2));
    let shown = json(call(Method::GET, "/sandbox/faults", "").await.expect("answer")).await;
    assert_eq!(shown["smtp"]["no_starttls"], 2);
    let wrong =
        call(Method::PUT, "/sandbox/faults", r#"{"smtp": {"nonsense": 2}}"#).await.expect("answer");
    assert!(wrong.status().is_client_error());
    assert!(wrong.text().await.expect("text").contains("nonsense"));
    assert_eq!(call(Method::DELETE, "/sandbox/faults", "").await.expect("answer").status(), 204);
    assert_eq!(sandbox.faults(), Faults::default());

    let put = call(Method::PUT, "/sandbox/limits", r#"{"connections": 1}"#).await.expect("answer");
    assert_eq!(put.status(), 204);
    let limits = json(call(Method::GET, "/sandbox/limits", "").await.expect("answer")).await;
    assert_eq!((&limits["connections"], &limits["messages_per_minute"]), (&1.into(), &30.into()));

    let statistics =
        json(call(Method::GET, "/sandbox/statistics", "").await.expect("answer")).await;
    assert_eq!(statistics["auth_before_tls"], 0);
    let page = call(Method::GET, "/sandbox", "").await.expect("answer").text().await.expect("text");
    assert!(page.contains("<title>submitd sandbox</title>"));
    let authority =
        call(Method::GET, "/sandbox/ca.pem", "").await.expect("answer").text().await.expect("text");
    assert_eq!(authority, std::fs::read_to_string(sandbox.ca_file()).expect("file"));
    assert_eq!(call(Method::GET, "/sandbox/messages/1", "").await.expect("answer").status(), 404);
}

#[tokio::test]
async fn a_stopped_sandbox_leaves_nothing_behind() {
    let sandbox = start().await;
    let (file, smtp) = (sandbox.ca_file().to_owned(), sandbox.smtp_addr());
    assert!(file.exists());
    sandbox.stop().await;
    assert!(!file.exists());
    assert!(tokio::net::TcpStream::connect(smtp).await.is_err());
}
