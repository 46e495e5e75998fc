//! Microsoft Graph over HTTP. The expected texts are written by hand.

use crate::sandbox::faults::{Fault, GraphAnswer, GraphPoint, GraphStep, Switch};
use crate::sandbox::{Door, Faults, Limits, Mailbox, Options, Sandbox, SignIns};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, Response};
use serde_json::{Value, json};

const MAIL: &str = "From: \"ERP\" <erp@contoso.com>\r\nTo: a@x.example\r\nCc: b@x.example\r\nBcc: c@x.example\r\n\
                    Message-ID: <1@erp.example>\r\n\r\nHello\r\n";

fn client() -> Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder().no_proxy().build().expect("client")
}

async fn json_of(response: Response) -> Value {
    serde_json::from_str(&response.text().await.expect("text")).expect("json")
}

async fn token(sandbox: &Sandbox, form: &str) -> String {
    let answer = client()
        .post(sandbox.token_url())
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form.to_owned())
        .send()
        .await
        .expect("answer");
    let body = json_of(answer).await;
    body["access_token"].as_str().unwrap_or_else(|| panic!("{body}")).to_owned()
}

async fn app_token(sandbox: &Sandbox) -> String {
    let Options { client_id, client_secret, .. } = sandbox.options();
    let form = format!(
        "grant_type=client_credentials&client_id={client_id}&client_secret={}&scope=https://graph.microsoft.com/.default",
        client_secret.expose()
    );
    token(sandbox, &form).await
}

async fn person_token(sandbox: &Sandbox, scope: &str) -> String {
    let Options { public_client_id, refresh_token, .. } = sandbox.options();
    let form = format!(
        "grant_type=refresh_token&client_id={public_client_id}&refresh_token={}&scope={scope}",
        refresh_token.expose()
    );
    token(sandbox, &form).await
}

/// A request of an application to its mailbox.
struct Caller {
    sandbox: Sandbox,
    token: String,
}

impl Caller {
    async fn start(options: Options) -> Self {
        let sandbox = Sandbox::start(options).await.expect("sandbox");
        let token = app_token(&sandbox).await;
        Self { sandbox, token }
    }

    async fn post(&self, path: &str, kind: &str, body: impl Into<reqwest::Body>) -> Response {
        self.send(path, kind, body).await.expect("answer")
    }

    async fn send(
        &self,
        path: &str,
        kind: &str,
        body: impl Into<reqwest::Body>,
    ) -> reqwest::Result<Response> {
        let url = format!("{}/{path}", self.sandbox.graph_url());
        let request = client().post(url).bearer_auth(&self.token).header("content-type", kind);
        request.body(body).send().await
    }

    async fn mail(&self, raw: &str) -> Response {
        self.post("users/erp@contoso.com/sendMail", "text/plain", STANDARD.encode(raw)).await
    }
}

/// Status and code of a refusal.
async fn refusal(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert!(!response.headers()["request-id"].is_empty());
    let body = json_of(response).await;
    for name in ["date", "request-id", "client-request-id"] {
        assert!(body["error"]["innerError"][name].is_string(), "{body}");
    }
    (status, body["error"]["code"].as_str().expect("code").to_owned())
}

#[tokio::test]
async fn b24_a_mail_in_base64_reaches_whom_its_header_names() {
    let caller = Caller::start(Options::default()).await;
    let broken: Vec<u8> = STANDARD.encode(MAIL).into_bytes();
    let lines: String =
        broken.chunks(60).map(|line| format!("{}\r\n", String::from_utf8_lossy(line))).collect();
    for answer in [
        caller.mail(MAIL).await,
        caller
            .post("users/ERP%40contoso.com/sendMail", "text/plain; charset=us-ascii", lines)
            .await,
    ] {
        assert_eq!(answer.status(), 202);
        assert_eq!(answer.headers()["content-length"], "0");
        assert_eq!(answer.text().await.expect("body"), "");
    }
    for message in caller.sandbox.messages() {
        assert_eq!(message.recipients(), ["a@x.example", "b@x.example", "c@x.example"]);
        assert_eq!((message.mailbox.as_str(), message.door), ("erp@contoso.com", Door::Graph));
        assert_eq!(
            message.text(),
            "From: erp <erp@contoso.com>\r\nTo: a@x.example\r\nCc: b@x.example\r\n\
             Message-ID: <1@erp.example>\r\n\r\nHello\r\n"
        );
    }
    let statistics = caller.sandbox.statistics();
    assert_eq!((statistics.messages, statistics.graph_requests), (2, 2));
    assert_eq!(statistics.open_graph_requests, 0);
}

#[tokio::test]
async fn b24_what_is_refused_has_graphs_code() {
    let mailboxes = vec![Mailbox::new("erp@contoso.com"), Mailbox::new("other@contoso.com")];
    let sign_ins = SignIns { people: vec!["ann@contoso.com".into()], ..SignIns::default() };
    let scope = vec!["ERP@contoso.com".into()];
    let options = Options { mailboxes, sign_ins, graph_mailboxes: scope, ..Options::default() };
    let caller = Caller::start(options).await;
    let own = "users/erp@contoso.com/sendMail";
    let good = STANDARD.encode(MAIL);
    let foreign = STANDARD.encode(MAIL.replace("erp@contoso.com", "boss@contoso.com"));
    let nobody = STANDARD.encode("From: erp@contoso.com\r\nSubject: x\r\n\r\n");
    let four = "A".repeat(4 * 1_048_576 + 4);
    let text = "text/plain";
    for (path, kind, body, status, code) in [
        (own, text, "*", 400, "ErrorMimeContentInvalidBase64String"),
        (own, text, "", 400, "ErrorMimeContentInvalidBase64String"),
        (own, text, &nobody, 400, "ErrorInvalidRecipients"),
        (own, text, &foreign, 403, "ErrorSendAsDenied"),
        (own, text, &four, 413, "RequestEntityTooLarge"),
        (own, "message/rfc822", &good, 415, "RequestBodyRead"),
        (own, "application/json", &good, 400, "RequestBodyRead"),
        ("me/sendMail", text, &good, 400, "BadRequest"),
        ("users/other@contoso.com/sendMail", text, &good, 403, "ErrorAccessDenied"),
        ("users/ann@contoso.com/sendMail", text, &good, 404, "MailboxNotEnabledForRESTAPI"),
        ("users/nobody@contoso.com/sendMail", text, &good, 404, "ErrorInvalidUser"),
        ("users/erp@contoso.com/nonsense", text, &good, 400, "BadRequest"),
        ("users/erp@contoso.com/messages/1/send", text, "", 404, "ErrorItemNotFound"),
    ] {
        let answer = caller.post(path, kind, body.to_owned()).await;
        assert_eq!(refusal(answer).await, (status, code.to_owned()), "{path} {kind}");
    }
    assert!(caller.sandbox.messages().is_empty());
}

#[tokio::test]
async fn b24_tokens_need_audience_permission_and_time() {
    let sandbox = Sandbox::start(Options::default()).await.expect("sandbox");
    let send = "https://graph.microsoft.com/Mail.Send";
    let app = app_token(&sandbox).await;
    let own = person_token(&sandbox, send).await;
    let read = person_token(&sandbox, "https://graph.microsoft.com/Mail.Read").await;
    let smtp = person_token(&sandbox, "https://outlook.office.com/SMTP.Send").await;
    sandbox.set_faults(Faults {
        token: crate::sandbox::faults::TokenFaults { expires_in: Some(0), ..Default::default() },
        ..Faults::default()
    });
    let old = person_token(&sandbox, send).await;
    for (token, path, status, code) in [
        (&own, "me/sendMail", 202, ""),
        (&own, "users/erp@contoso.com/sendMail", 202, ""),
        (&app, "users/erp@contoso.com/sendMail", 202, ""),
        (&own, "me/messages", 403, "ErrorAccessDenied"),
        (&app, "users/erp@contoso.com/messages", 201, ""),
        (&read, "me/sendMail", 403, "ErrorAccessDenied"),
        (&smtp, "me/sendMail", 401, "InvalidAuthenticationToken"),
        (&old, "me/sendMail", 401, "InvalidAuthenticationToken"),
        (&"x".to_owned(), "me/sendMail", 401, "InvalidAuthenticationToken"),
    ] {
        let request = client().post(format!("{}/{path}", sandbox.graph_url())).bearer_auth(token);
        let request = request.header("content-type", "text/plain").body(STANDARD.encode(MAIL));
        let answer = request.send().await.expect("answer");
        assert_eq!(answer.status(), status, "{path}");
        if status == 401 {
            let realm = answer.headers()["www-authenticate"].to_str().expect("text");
            assert!(realm.starts_with("Bearer realm=\"\""), "{realm}");
        }
        if !code.is_empty() {
            assert_eq!(refusal(answer).await.1, code, "{path}");
        }
    }
    let answer = client().post(format!("{}/me/sendMail", sandbox.graph_url())).send().await;
    let body = json_of(answer.expect("answer")).await;
    assert_eq!(body["error"]["message"], "Access token is empty.");
}

#[tokio::test]
async fn b24_what_is_too_large_is_answered_200_and_lost() {
    let caller = Caller::start(Options::default()).await;
    let large = format!("{MAIL}{}\r\n", "x".repeat(2_250_000));
    let answer = caller.mail(&large).await;
    assert_eq!(
        (answer.status().as_u16(), answer.text().await.expect("body")),
        (200, String::new())
    );
    assert_eq!(caller.sandbox.statistics().graph_swallowed, 1);
    let mut faults = Faults::default();
    faults.graph.too_large_is_told = true;
    caller.sandbox.set_faults(faults);
    let code = refusal(caller.mail(&large).await).await;
    assert_eq!(code, (413, "RequestEntityTooLarge".to_owned()));
    assert!(caller.sandbox.messages().is_empty());
    let fits = format!("{MAIL}{}\r\n", "x".repeat(2_240_000));
    assert_eq!(caller.mail(&fits).await.status(), 202);
}

#[tokio::test]
async fn b24_the_fifth_request_at_once_waits_a_second() {
    let caller = Caller::start(Options::default()).await;
    let mut faults = Faults::default();
    faults.graph.hold = true;
    caller.sandbox.set_faults(faults);
    let held = async {
        let answers = tokio::join!(
            caller.mail(MAIL),
            caller.mail(MAIL),
            caller.mail(MAIL),
            caller.mail(MAIL),
        );
        for answer in [answers.0, answers.1, answers.2, answers.3] {
            assert_eq!(answer.status(), 202);
        }
    };
    let fifth = async {
        caller.sandbox.wait_until(|statistics| statistics.open_graph_requests == 4).await;
        let fifth = async { caller.mail(MAIL).await };
        let release = async {
            caller.sandbox.wait_until(|statistics| statistics.graph_throttled == 1).await;
            caller.sandbox.set_faults(Faults::default());
        };
        let (answer, ()) = tokio::join!(fifth, release);
        assert_eq!(answer.headers()["retry-after"], "1");
        let body = json_of(answer).await;
        assert_eq!(body["error"]["code"], "ApplicationThrottled");
        assert_eq!(body["error"]["message"], "Application is over its MailboxConcurrency limit.");
    };
    tokio::join!(held, fifth);
    let statistics = caller.sandbox.statistics();
    assert_eq!((statistics.messages, statistics.max_open_graph_requests), (4, 5));
}

#[tokio::test]
async fn b24_a_large_file_goes_in_pieces() {
    let caller = Caller::start(Options::default()).await;
    let own = "users/erp@contoso.com/messages";
    let draft = caller.post(own, "text/plain", STANDARD.encode(MAIL)).await;
    assert_eq!(draft.status(), 201);
    let id = json_of(draft).await["id"].as_str().expect("id").to_owned();
    let draft = format!("{own}/{id}");
    let small = json!({"@odata.type": "#microsoft.graph.fileAttachment", "name": "s.txt",
        "contentType": "text/plain", "contentBytes": STANDARD.encode("small")});
    let answer =
        caller.post(&format!("{draft}/attachments"), "application/json", small.to_string()).await;
    assert_eq!(answer.status(), 201);
    let size = 5_000_001;
    let open = |size: u64| json!({"AttachmentItem": {"attachmentType": "file", "name": "l.bin", "size": size}});
    let place = format!("{draft}/attachments/createUploadSession");
    let too_small = caller.post(&place, "application/json", open(2_000_000).to_string()).await;
    let code = "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize".to_owned();
    assert_eq!(refusal(too_small).await, (400, code));
    let opened =
        json_of(caller.post(&place, "application/json", open(size).to_string()).await).await;
    assert_eq!(opened["nextExpectedRanges"], json!(["0-"]));
    let url = opened["uploadUrl"].as_str().expect("url").to_owned();
    let put = |range: &str, length: usize, token: bool| {
        let request = client().put(&url).header("content-range", range).body(vec![7; length]);
        if token { request.bearer_auth(&caller.token) } else { request }.send()
    };
    let first = "bytes 0-2999999/5000001";
    assert_eq!(put(first, 3_000_000, true).await.expect("answer").status(), 401);
    assert_eq!(put(first, 2_999_999, false).await.expect("answer").status(), 400);
    assert_eq!(
        put("bytes 1-3000000/5000001", 3_000_000, false).await.expect("answer").status(),
        416
    );
    let answer = put(first, 3_000_000, false).await.expect("answer");
    assert_eq!(answer.status(), 200);
    assert_eq!(json_of(answer).await["nextExpectedRanges"], json!(["3000000"]));
    let last = put("bytes 3000000-5000000/5000001", 2_000_001, false).await.expect("answer");
    assert_eq!(last.status(), 201);
    assert!(last.headers().contains_key("location"));
    assert_eq!(caller.post(&format!("{draft}/send"), "application/json", "").await.status(), 202);
    let message = &caller.sandbox.messages()[0];
    assert_eq!(message.recipients(), ["a@x.example", "b@x.example", "c@x.example"]);
    assert!(!message.text().contains("Bcc"));
    assert!(message.text().contains("filename=\"s.txt\"") && message.size > 6_000_000);
    let statistics = caller.sandbox.statistics();
    assert_eq!((statistics.drafts, statistics.open_drafts, statistics.uploads), (1, 0, 1));
}

#[tokio::test]
async fn b24_a_draft_can_be_written_as_json_and_thrown_away() {
    let caller = Caller::start(Options::default()).await;
    let message = json!({"subject": "Hi", "body": {"contentType": "text", "content": "Hello"},
        "toRecipients": [{"emailAddress": {"address": "a@x.example"}}],
        "bccRecipients": [{"emailAddress": {"address": "c@x.example"}}]});
    let whole = json!({"message": message, "saveToSentItems": false});
    let own = "users/erp@contoso.com";
    let json = "application/json";
    let sent = caller.post(&format!("{own}/sendMail"), json, whole.to_string()).await;
    assert_eq!(sent.status(), 202);
    assert_eq!(caller.sandbox.messages()[0].recipients(), ["a@x.example", "c@x.example"]);
    let draft = caller.post(&format!("{own}/messages"), json, message.to_string()).await;
    let id = json_of(draft).await["id"].as_str().expect("id").to_owned();
    let url = format!("{}/{own}/messages/{id}", caller.sandbox.graph_url());
    for status in [204, 404] {
        let answer = client().delete(&url).bearer_auth(&caller.token).send().await.expect("answer");
        assert_eq!(answer.status(), status);
    }
    assert_eq!(caller.sandbox.statistics().open_drafts, 0);
    assert_eq!(caller.sandbox.messages().len(), 1);
}

#[tokio::test]
async fn b24_faults_answer_cut_and_wait() {
    let caller = Caller::start(Options { limits: Limits::NONE, ..Options::default() }).await;
    let fault = |change: &dyn Fn(&mut crate::sandbox::faults::GraphFaults)| {
        let mut faults = Faults::default();
        change(&mut faults.graph);
        caller.sandbox.set_faults(faults);
    };
    let busy = GraphAnswer {
        retry_after: Some("7".into()),
        ..GraphAnswer::error(503, "ErrorServerBusy", "Busy")
    };
    fault(&|graph| {
        graph.answers.insert(GraphStep::SendMail, Fault::times(busy.clone(), 1));
    });
    let answer = caller.mail(MAIL).await;
    assert_eq!(answer.headers()["retry-after"], "7");
    assert_eq!(refusal(answer).await, (503, "ErrorServerBusy".to_owned()));
    assert_eq!(caller.mail(MAIL).await.status(), 202, "once");
    let done = GraphAnswer { done: true, ..GraphAnswer::status(504) };
    fault(&|graph| {
        graph.answers.insert(GraphStep::SendMail, Fault::times(done.clone(), 1));
    });
    let answer = caller.mail(MAIL).await;
    assert_eq!(answer.status(), 504);
    assert!(answer.text().await.expect("page").contains("<HTML>"));
    for (point, taken) in [
        (GraphPoint::Head, 2),
        (GraphPoint::Body, 2),
        (GraphPoint::AfterBodyBeforeAccept, 2),
        (GraphPoint::AfterBodyAfterAccept, 3),
    ] {
        fault(&|graph| {
            graph.drop_at.insert(point, Switch::Times(1));
        });
        let sent =
            caller.send("users/erp@contoso.com/sendMail", "text/plain", STANDARD.encode(MAIL));
        assert!(sent.await.is_err(), "{point:?}");
        assert_eq!(caller.sandbox.messages().len(), taken, "{point:?}");
    }
    caller.sandbox.revoke_access_tokens();
    assert_eq!(refusal(caller.mail(MAIL).await).await.0, 401);
}
