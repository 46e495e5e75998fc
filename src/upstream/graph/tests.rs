//! Graph against a server on loopback that answers as told: what goes out, and what each answer and each
//! loss comes to.

use super::*;
use crate::config::Audience;
use crate::config::{Chunking, HttpProxy, Limit, UpstreamTls};
use crate::mail::addressed::Strangers;
use crate::mail::{Address, Envelope, Id, Recipient};
use crate::secret::Secret;
use crate::upstream::Body;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// What the server does with the next request.
#[derive(Clone, Copy)]
enum Act {
    /// Reads all of it and answers: status, further header lines, body.
    Answer(u16, &'static str, &'static str),
    /// Answers without reading the body.
    Early(u16, &'static str),
    /// Hangs up behind the head.
    LoseBody,
    /// Hangs up behind the last octet.
    LoseAnswer,
}

#[derive(Debug)]
struct Request {
    line: String,
    head: String,
    body: Vec<u8>,
}

#[derive(Clone, Default)]
struct StandIn {
    acts: Arc<Mutex<VecDeque<Act>>>,
    seen: Arc<Mutex<Vec<Request>>>,
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StandIn {
    async fn start(acts: &[Act]) -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let url = format!("http://{}/v1.0", listener.local_addr().expect("address"));
        let stand_in =
            Self { acts: Arc::new(Mutex::new(acts.iter().copied().collect())), ..Self::default() };
        let own = stand_in.clone();
        let root = url.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (own, root) = (own.clone(), root.clone());
                tokio::spawn(async move { own.serve(BufReader::new(stream), &root).await });
            }
        });
        (stand_in, url)
    }

    async fn serve(self, mut stream: BufReader<TcpStream>, root: &str) {
        loop {
            let mut head = String::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
                    return;
                }
                if line == "\r\n" {
                    break;
                }
                head.push_str(&line);
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.trim().parse::<usize>().ok())?
            });
            let act = lock(&self.acts).pop_front().unwrap_or(Act::Answer(202, "", ""));
            let line = head.lines().next().unwrap_or_default().to_owned();
            let mut body = vec![0; length.unwrap_or(0)];
            match act {
                Act::LoseBody => return self.note(line, head, Vec::new()),
                Act::Early(status, text) => {
                    self.note(line, head, Vec::new());
                    let _ = stream
                        .write_all(answer(status, "Connection: close\r\n", text).as_bytes())
                        .await;
                    // What still comes is read, or the answer would be lost with the connection.
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                    return;
                }
                Act::Answer(..) | Act::LoseAnswer => {
                    if stream.read_exact(&mut body).await.is_err() {
                        return self.note(format!("cut {line}"), head, body);
                    }
                    self.note(line, head, body);
                }
            }
            let Act::Answer(status, lines, text) = act else { return };
            let text = answer(status, lines, &text.replace("{root}", root));
            if stream.write_all(text.as_bytes()).await.is_err() {
                return;
            }
        }
    }

    fn note(&self, line: String, head: String, body: Vec<u8>) {
        lock(&self.seen).push(Request { line, head, body });
    }

    fn lines(&self) -> Vec<String> {
        lock(&self.seen).iter().map(|request| request.line.clone()).collect()
    }
}

fn answer(status: u16, lines: &str, text: &str) -> String {
    format!(
        "HTTP/1.1 {status} x\r\n{lines}request-id: r-1\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

fn settings(url: &str) -> config::Graph {
    config::Graph {
        url: url.parse().expect("url"),
        scope: String::new(),
        recipients: Strangers::Refuse,
        upload: Upload::Off,
        max_size: 2_200_000,
        is_me: false,
    }
}

fn times() -> Upstream {
    let patience = Duration::from_secs(20);
    Upstream {
        host: "smtp.office365.com".to_owned(),
        port: 587,
        tls: UpstreamTls::StartTls,
        ca_file: None,
        proxy: None,
        login: crate::config::Login::Token,
        sasl: crate::config::Sasl::Auto,
        connections: Limit::AtMost(4),
        messages_per_minute: Limit::Unlimited,
        recipients_per_day: Limit::Unlimited,
        max_recipients: Limit::Unlimited,
        max_message_size: 35 << 20,
        connect_timeout: patience,
        command_timeout: patience,
        data_timeout: patience,
        idle_timeout: patience,
        binarymime: false,
        chunking: Chunking::Auto,
    }
}

/// A body that is given in pieces.
struct Text {
    whole: Bytes,
    at: usize,
}

impl Body for Text {
    fn chunk(
        &mut self,
    ) -> Pin<Box<dyn Future<Output = Result<Option<Bytes>, String>> + Send + '_>> {
        let piece = self.whole.slice(self.at..self.whole.len().min(self.at + 10_000));
        self.at += piece.len();
        Box::pin(std::future::ready(Ok(Some(piece).filter(|piece| !piece.is_empty()))))
    }

    fn again(&mut self, from: u64) -> Result<(), String> {
        self.at = usize::try_from(from).expect("within");
        Ok(())
    }
}

/// One mail to these recipients; also whether the mark was set.
async fn send(settings: config::Graph, text: &[u8], to: &[&str], may: bool) -> (Outcome, bool) {
    let tls = crate::tls::client_config(None).expect("tls");
    let graph = Graph::new(settings, times(), HttpProxy::None, &tls);
    let recipients: Vec<_> =
        to.iter().map(|one| Recipient::new(Address::parse(one).expect("address"))).collect();
    let envelope = Envelope { recipients, ..Envelope::default() };
    let credential = Credential {
        mailbox: Address::parse("erp@contoso.com").expect("address"),
        audience: Audience::Graph,
        token: Secret::new("the-token"),
        usable_until: std::time::Instant::now() + Duration::from_secs(60),
    };
    let mut is_marked = false;
    let commit = pin!(async {
        is_marked = true;
        if may { Ok(()) } else { Err("no mark".to_owned()) }
    });
    let mail = Outgoing {
        id: Id::new(SystemTime::UNIX_EPOCH, 1),
        envelope: &envelope,
        everybody: &envelope.recipients,
        size: text.len() as u64,
        body: &mut Text { whole: Bytes::copy_from_slice(text), at: 0 },
        commit,
    };
    (graph.deliver(mail, &credential).await, is_marked)
}

/// The one result of a mail to one recipient, as words.
async fn word(act: Act) -> String {
    let (_, url) = StandIn::start(&[act]).await;
    let (outcome, _) = send(settings(&url), TEXT, &["a@x.example"], true).await;
    words(&outcome)
}

fn words(outcome: &Outcome) -> String {
    match &outcome.recipients[0] {
        Ok(reply) => reply.to_string(),
        Err(failure) => failure.to_string(),
    }
}

const TEXT: &[u8] = b"From: erp@contoso.com\r\nTo: A <a@x.example>\r\nSubject: s\r\n\r\nHello\r\n";

#[tokio::test]
async fn b24_a_mail_goes_as_base64_of_all_of_it() {
    let (server, url) = StandIn::start(&[]).await;
    let body: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
    for length in [0, 1, 2, 3, 49_151, 49_152, 150_000, 300_000] {
        let text = [TEXT, &body[..length]].concat();
        let (outcome, is_marked) = send(settings(&url), &text, &["a@x.example"], true).await;
        assert_eq!(words(&outcome), "250 2.0.0 202 taken by Microsoft Graph (request-id r-1)");
        assert!(is_marked && !outcome.dsn);
        let request = lock(&server.seen).pop().expect("seen");
        assert_eq!(request.line, "POST /v1.0/users/erp@contoso.com/sendMail HTTP/1.1");
        let head = request.head.to_lowercase();
        assert!(head.contains("authorization: bearer the-token"), "{head}");
        assert!(head.contains("content-type: text/plain"), "{head}");
        assert!(!head.contains("transfer-encoding"), "{head}");
        assert_eq!(STANDARD.decode(&request.body).expect("base64"), text, "{length}");
    }
}

#[tokio::test]
async fn b24_a_person_sends_as_me() {
    let (server, url) = StandIn::start(&[]).await;
    let settings = config::Graph { is_me: true, ..settings(&url) };
    send(settings, TEXT, &["a@x.example"], true).await;
    assert_eq!(server.lines(), ["POST /v1.0/me/sendMail HTTP/1.1"]);
}

#[tokio::test]
async fn b24_who_is_not_named_is_bcc_and_who_is_a_stranger_stops_it() {
    let (server, url) = StandIn::start(&[]).await;
    let (outcome, _) = send(settings(&url), TEXT, &["a@x.example", "b@y.example"], true).await;
    assert_eq!(outcome.recipients.len(), 2);
    let sent = STANDARD.decode(&lock(&server.seen)[0].body).expect("base64");
    let sent = String::from_utf8(sent).expect("text");
    assert!(sent.contains("Subject: s\r\nBcc: <b@y.example>\r\n\r\nHello"), "{sent}");
    let (outcome, is_marked) = send(settings(&url), TEXT, &["b@y.example"], true).await;
    assert!(words(&outcome).contains("a@x.example, not among RCPT TO"), "{}", words(&outcome));
    assert!(!is_marked);
    assert_eq!(server.lines().len(), 1, "nothing was asked");
    let rewriting = config::Graph { recipients: Strangers::Rewrite, ..settings(&url) };
    let (outcome, _) = send(rewriting, TEXT, &["b@y.example"], true).await;
    assert!(outcome.recipients[0].is_ok());
}

#[tokio::test]
async fn b24_every_answer_is_a_fact() {
    const THROTTLED: &str =
        r#"{"error":{"code":"ApplicationThrottled","message":"over its limit"}}"#;
    for (act, expected) in [
        (Act::Answer(200, "", ""), "sendMail: HTTP 200:  (request-id r-1)"),
        (
            Act::Answer(403, "", r#"{"error":{"code":"ErrorSendAsDenied","message":"no"}}"#),
            "sendMail: HTTP 403 ErrorSendAsDenied: no (request-id r-1)",
        ),
        (
            Act::Answer(500, "", "oops"),
            "sendMail (it may have been taken): HTTP 500: oops (request-id r-1)",
        ),
        (
            Act::Answer(307, "Location: http://127.0.0.1:1/\r\n", ""),
            "sendMail: HTTP 307:  (request-id r-1)",
        ),
    ] {
        assert_eq!(word(act).await, expected);
    }
    for lines in ["Retry-After: 7\r\n", "retry-after: 7\r\n", "RETRY-AFTER: 7\r\n"] {
        let (_, url) = StandIn::start(&[Act::Answer(429, lines, THROTTLED)]).await;
        let (outcome, _) = send(settings(&url), TEXT, &["a@x.example"], true).await;
        let Err(Failure { fault: Fault::Http { retry_after, .. }, .. }) = &outcome.recipients[0]
        else {
            panic!("{outcome:?}")
        };
        assert_eq!(*retry_after, Some(Duration::from_secs(7)), "{lines}");
    }
}

#[tokio::test]
async fn b24_a_lost_answer_is_told_as_one_and_a_lost_body_is_not() {
    let lost = word(Act::LoseAnswer).await;
    assert!(lost.starts_with("sendMail (it may have been taken): "), "{lost}");
    // Larger than what sockets and channels hold, so that the loss is met on the way.
    let text = [TEXT, &vec![b'x'; 2_000_000]].concat();
    let (_, url) = StandIn::start(&[Act::LoseBody]).await;
    let (outcome, is_marked) = send(settings(&url), &text, &["a@x.example"], true).await;
    assert!(words(&outcome).starts_with("sending the body: "), "{}", words(&outcome));
    assert!(!is_marked);
    let (outcome, _) =
        send(settings("http://127.0.0.1:1/v1.0"), TEXT, &["a@x.example"], true).await;
    assert!(words(&outcome).starts_with("connecting: "), "{}", words(&outcome));
}

#[tokio::test]
async fn b24_an_answer_that_comes_early_is_heard() {
    let text = [TEXT, &vec![b'x'; 2_000_000]].concat();
    let (_, url) =
        StandIn::start(&[Act::Early(413, r#"{"error":{"code":"RequestEntityTooLarge"}}"#)]).await;
    let (outcome, is_marked) = send(settings(&url), &text, &["a@x.example"], true).await;
    assert!(words(&outcome).starts_with("sending the body: HTTP 413"), "{}", words(&outcome));
    assert!(!is_marked);
}

#[tokio::test]
async fn b24_without_the_mark_the_last_octet_never_leaves() {
    let (server, url) = StandIn::start(&[]).await;
    let text = [TEXT, &vec![b'x'; 500_000]].concat();
    let (outcome, is_marked) = send(settings(&url), &text, &["a@x.example"], false).await;
    assert!(is_marked);
    assert_eq!(words(&outcome), "sending the body: no mark");
    while server.lines().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(server.lines()[0].starts_with("cut POST"), "{:?}", server.lines());
}

#[tokio::test]
async fn b24_too_large_for_one_request() {
    let (server, url) = StandIn::start(&[]).await;
    let small = config::Graph { max_size: 64 << 10, ..settings(&url) };
    let text = [TEXT, &vec![b'x'; 200_000]].concat();
    let (outcome, _) = send(small, &text, &["a@x.example"], true).await;
    assert!(words(&outcome).contains("larger than the 65536 octets"), "{}", words(&outcome));
    assert!(server.lines().is_empty());
}

/// A message with one attachment of so many octets.
fn with_attachment(octets: usize) -> Vec<u8> {
    let code = STANDARD.encode(vec![7; octets]);
    let mut text = b"From: erp@contoso.com\r\nTo: a@x.example\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=B\r\n\r\n--B\r\nContent-Type: text/plain\r\n\r\nHello\r\n\
        --B\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=a.pdf\r\n\r\n".to_vec();
    for line in code.as_bytes().chunks(76) {
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"--B--\r\n");
    text
}

#[tokio::test]
async fn b24_a_large_mail_becomes_a_draft_and_its_parts_are_uploaded() {
    const MADE: Act = Act::Answer(201, "", r#"{"id":"AA=/1"}"#);
    const SESSION: Act = Act::Answer(201, "", r#"{"uploadUrl":"{root}/up?authtoken=x"}"#);
    const MORE: Act = Act::Answer(200, "", r#"{"nextExpectedRanges":["3276800"]}"#);
    const LAST: Act = Act::Answer(201, "", "");
    let (server, url) = StandIn::start(&[MADE, SESSION, MORE, LAST]).await;
    let on = |url: &str| config::Graph { upload: Upload::On, max_size: 64 << 10, ..settings(url) };
    let (outcome, is_marked) =
        send(on(&url), &with_attachment(4_000_000), &["a@x.example"], true).await;
    assert!(outcome.recipients[0].is_ok() && is_marked, "{outcome:?}");
    assert_eq!(
        server.lines(),
        [
            "POST /v1.0/users/erp@contoso.com/messages HTTP/1.1",
            "POST /v1.0/users/erp@contoso.com/messages/AA%3D%2F1/attachments/createUploadSession HTTP/1.1",
            "PUT /v1.0/up?authtoken=x HTTP/1.1",
            "PUT /v1.0/up?authtoken=x HTTP/1.1",
            "POST /v1.0/users/erp@contoso.com/messages/AA%3D%2F1/send HTTP/1.1",
        ]
    );
    {
        let seen = lock(&server.seen);
        let draft = STANDARD.decode(&seen[0].body).expect("base64");
        assert!(draft.ends_with(b"Hello\r\n--B--\r\n"));
        assert!(seen[2].head.to_lowercase().contains("content-range: bytes 0-3276799/4000000"));
        assert!(
            !seen[2].head.to_lowercase().contains("authorization"),
            "it has a token of its own"
        );
        assert_eq!([&seen[2].body[..], &seen[3].body[..]].concat(), vec![7; 4_000_000]);
    }
    // A small part goes in one request; one that fails takes the draft away.
    let (server, url) = StandIn::start(&[
        MADE,
        Act::Answer(503, "Retry-After: 3\r\n", ""),
        Act::Answer(204, "", ""),
    ])
    .await;
    let (outcome, is_marked) =
        send(on(&url), &with_attachment(100_000), &["a@x.example"], true).await;
    assert!(words(&outcome).starts_with("sending the body: HTTP 503"), "{}", words(&outcome));
    assert!(!is_marked);
    assert_eq!(server.lines()[2], "DELETE /v1.0/users/erp@contoso.com/messages/AA%3D%2F1 HTTP/1.1");
    // Without the permission for drafts it is too large, and it is said why.
    let (_, url) = StandIn::start(&[Act::Answer(403, "", "")]).await;
    let (outcome, _) = send(on(&url), &with_attachment(100_000), &["a@x.example"], true).await;
    assert!(words(&outcome).contains("lacks Mail.ReadWrite"), "{}", words(&outcome));
}

#[tokio::test]
async fn b24_what_graph_swallows_goes_as_a_draft_and_is_marked_once() {
    const MADE: Act = Act::Answer(201, "", r#"{"id":"1"}"#);
    const ADDED: Act = Act::Answer(201, "", "");
    const TOLD: &str = r#"{"error":{"code":"BadRequest","message":"The maximum request length supported is 4MB."}}"#;
    let text = with_attachment(1_400_000);
    for refused in [Act::Answer(200, "", ""), Act::Answer(400, "", TOLD), Act::Early(413, "")] {
        let (server, url) = StandIn::start(&[refused, MADE, ADDED]).await;
        let on = config::Graph { upload: Upload::On, ..settings(&url) };
        let (outcome, is_marked) = send(on, &text, &["a@x.example"], true).await;
        assert!(outcome.recipients[0].is_ok() && is_marked, "{outcome:?}");
        let asked: Vec<_> = server
            .lines()
            .iter()
            .map(|line| line.replace("/v1.0/users/erp@contoso.com/", ""))
            .collect();
        assert_eq!(
            asked,
            ["sendMail", "messages", "messages/1/attachments", "messages/1/send"]
                .map(|place| format!("POST {place} HTTP/1.1"))
        );
    }
    // Where there is no other way it is told as what it is; a small mail met something else.
    let (_, url) = StandIn::start(&[Act::Answer(200, "", "")]).await;
    let (outcome, _) = send(settings(&url), &text, &["a@x.example"], true).await;
    let Err(Failure { fault: Fault::Oversize { why, .. }, .. }) = &outcome.recipients[0] else {
        panic!("{outcome:?}")
    };
    assert!(why.contains("answered 200"), "{why}");
    let (_, url) = StandIn::start(&[Act::Answer(200, "", "")]).await;
    let on = config::Graph { upload: Upload::On, ..settings(&url) };
    let (outcome, _) = send(on, TEXT, &["a@x.example"], true).await;
    assert_eq!(words(&outcome), "sendMail: HTTP 200:  (request-id r-1)");
}

#[tokio::test]
async fn b24_a_file_goes_in_one_request_up_to_three_megabytes() {
    const MADE: Act = Act::Answer(201, "", r#"{"id":"1"}"#);
    const ADDED: Act = Act::Answer(201, "", "");
    const SESSION: Act = Act::Answer(201, "", r#"{"uploadUrl":"{root}/up"}"#);
    const SMALL: Act = Act::Answer(
        400,
        "",
        r#"{"error":{"code":"ErrorAttachmentSizeShouldNotBeLessThanMinimumSize","message":"x"}}"#,
    );
    const WHOLE: &str = "attachments HTTP/1.1";
    for (size, acts, expected) in [
        (2_999_999, &[MADE, ADDED][..], &[WHOLE][..]),
        (3_000_000, &[MADE, SESSION, ADDED], &["createUploadSession HTTP/1.1", "up HTTP/1.1"]),
        // Whatever their least size is, one of both ways is open.
        (3_100_000, &[MADE, SMALL, ADDED], &["createUploadSession HTTP/1.1", WHOLE]),
    ] {
        let (server, url) = StandIn::start(acts).await;
        let on = config::Graph { upload: Upload::On, ..settings(&url) };
        let (outcome, _) = send(on, &with_attachment(size), &["a@x.example"], true).await;
        assert!(outcome.recipients[0].is_ok(), "{size}: {outcome:?}");
        let seen = lock(&server.seen);
        let files = &seen[1..seen.len() - 1];
        assert_eq!(files.len(), expected.len(), "{size}");
        for (file, end) in files.iter().zip(expected) {
            assert!(file.line.ends_with(end), "{size}: {}", file.line);
            if *end == WHOLE {
                assert!(size > 3_000_000 || file.body.len() < 4 << 20, "{size}");
                let json: serde_json::Value = serde_json::from_slice(&file.body).expect("json");
                let code = json["contentBytes"].as_str().expect("content");
                assert!(STANDARD.decode(code).expect("base64") == vec![7; size], "{size}");
                assert_eq!((&json["name"], &json["isInline"]), (&"a.pdf".into(), &false.into()));
            }
        }
    }
}

#[tokio::test]
async fn b24_a_draft_that_may_have_been_sent_is_told_as_one_and_stays() {
    const MADE: Act = Act::Answer(201, "", r#"{"id":"1"}"#);
    const ADDED: Act = Act::Answer(201, "", "");
    const GONE: Act = Act::Answer(204, "", "");
    const DENIED: &str = r#"{"error":{"code":"ErrorSendAsDenied","message":"no"}}"#;
    for (act, expected, is_removed) in [
        (Act::Answer(502, "", ""), "sendMail (it may have been taken): HTTP 502", false),
        (Act::LoseAnswer, "sendMail (it may have been taken): ", false),
        (Act::Answer(403, "", DENIED), "sendMail: HTTP 403 ErrorSendAsDenied", true),
    ] {
        let (server, url) = StandIn::start(&[MADE, ADDED, act, GONE]).await;
        let on = config::Graph { upload: Upload::On, max_size: 64 << 10, ..settings(&url) };
        let (outcome, _) = send(on, &with_attachment(100_000), &["a@x.example"], true).await;
        assert!(words(&outcome).starts_with(expected), "{}", words(&outcome));
        let is_delete = |line: &String| line.starts_with("DELETE");
        assert_eq!(server.lines().iter().any(is_delete), is_removed, "{expected}");
    }
}

#[tokio::test]
async fn b24_what_cannot_be_taken_apart_is_not_sent_at_all() {
    let (server, url) = StandIn::start(&[]).await;
    let on = config::Graph { upload: Upload::On, max_size: 64 << 10, ..settings(&url) };
    let signed = String::from_utf8(with_attachment(300_000)).expect("text");
    let signed = signed.replace("multipart/mixed", "multipart/signed");
    let (outcome, is_marked) = send(on, signed.as_bytes(), &["a@x.example"], true).await;
    assert!(words(&outcome).contains("signed or encrypted"), "{}", words(&outcome));
    assert!(server.lines().is_empty() && !is_marked);
}

#[tokio::test]
async fn b24_a_probe_holds_no_message() {
    const OPEN: &str =
        r#"{"error":{"code":"ErrorMimeContentInvalidBase64String","message":"Invalid"}}"#;
    let tls = crate::tls::client_config(None).expect("tls");
    for (act, good) in [
        (Act::Answer(400, "", OPEN), true),
        (Act::Answer(403, "", ""), false),
        (Act::Answer(202, "", ""), false),
    ] {
        let (server, url) = StandIn::start(&[act]).await;
        let graph = Graph::new(settings(&url), times(), HttpProxy::None, &tls);
        let credential = Credential {
            mailbox: Address::parse("erp@contoso.com").expect("address"),
            audience: Audience::Graph,
            token: Secret::new("the-token"),
            usable_until: std::time::Instant::now() + Duration::from_secs(60),
        };
        assert_eq!(graph.probe(&credential).await.is_ok(), good);
        assert_eq!(lock(&server.seen)[0].body, b"*");
    }
}
