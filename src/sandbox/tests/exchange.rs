//! Sessions with the mail server, compared octet for octet.

use super::client::{ACCEPTED, Client, MAIL, app_token, sandbox, xoauth2};
use crate::sandbox::Limits;
use crate::secret::Secret;

const HOST: &str = "SBX1P282CA0097.outlook.office365.com";

/// `[host date id]` cut off the end of a reply, its form checked.
fn without_trailer(reply: &str) -> &str {
    let (text, trailer) = reply.rsplit_once(" [").expect("trailer");
    let parts: Vec<_> = trailer.trim_end_matches("]\r\n").split(' ').collect();
    assert_eq!(parts[0], "SBX1P282CA0097.SBXP282.PROD.OUTLOOK.COM");
    assert!(parts[1].len() == 24 && parts[1].ends_with('Z') && parts[1].contains('T'), "{trailer}");
    assert!(parts[2].len() == 16 && parts[2].bytes().all(|b| b.is_ascii_hexdigit()), "{trailer}");
    text
}

#[tokio::test]
async fn the_recorded_session() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut client = Client::connect(&sandbox).await;
    let greeting = client.reply().await;
    let rest = greeting
        .strip_prefix(&format!("220 {HOST} Microsoft ESMTP MAIL Service ready at "))
        .expect(&greeting);
    let (date, id) = rest.trim_end().split_once(" [").expect("id");
    assert!(
        date.ends_with(" +0000") && date.len() == "Sun, 23 Nov 2025 11:12:20 +0000".len(),
        "{date}"
    );
    assert_eq!(id.len(), 17);
    assert_eq!(
        client.ask("EHLO client").await,
        format!(
            "250-{HOST} Hello [127.0.0.1]\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-DSN\r\n\
             250-ENHANCEDSTATUSCODES\r\n250-STARTTLS\r\n250-8BITMIME\r\n250-BINARYMIME\r\n250-CHUNKING\r\n\
             250 SMTPUTF8\r\n"
        )
    );
    assert_eq!(client.ask("STARTTLS").await, "220 2.0.0 SMTP server ready\r\n");
    let mut client = client.handshake(&sandbox, "localhost").await.expect("TLS");
    assert_eq!(
        client.ask("MAIL FROM:<a@x>").await,
        "503 5.5.2 Send hello first\r\n",
        "TLS forgets EHLO"
    );
    assert_eq!(
        client.ask("EHLO client").await,
        format!(
            "250-{HOST} Hello [127.0.0.1]\r\n250-SIZE 157286400\r\n250-PIPELINING\r\n250-DSN\r\n\
             250-ENHANCEDSTATUSCODES\r\n250-AUTH LOGIN XOAUTH2\r\n250-8BITMIME\r\n250-BINARYMIME\r\n\
             250-CHUNKING\r\n250 SMTPUTF8\r\n"
        )
    );
    let token = app_token(&sandbox);
    assert_eq!(
        client.log_in("ERP@contoso.com", &token).await,
        "235 2.7.0 Authentication successful\r\n"
    );
    assert_eq!(client.send(MAIL).await, ACCEPTED);
    assert_eq!(client.ask("QUIT").await, "221 2.0.0 Service closing transmission channel\r\n");
    assert!(client.is_closed().await);
    let statistics = sandbox.statistics();
    assert_eq!((statistics.logins, statistics.messages, statistics.quits), (1, 1, 1));
}

#[tokio::test]
async fn the_certificate_is_good_for_all_its_names() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    for name in ["localhost", "127.0.0.1", "::1", "smtp.sandbox.example"] {
        let mut client = Client::connect(&sandbox).await;
        client.reply().await;
        client.ask("EHLO client").await;
        client.ask("STARTTLS").await;
        assert!(client.handshake(&sandbox, name).await.is_ok(), "{name}");
    }
}

#[tokio::test]
async fn fixed_replies() {
    let sandbox = sandbox(Limits { errors: 0, ..Limits::EXCHANGE }).await;
    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    assert_eq!(client.ask("MAIL FROM:<a@x>").await, "503 5.5.2 Send hello first\r\n");
    client.ask("EHLO client").await;
    let needs_tls = "530 5.7.0 Must issue a STARTTLS command first\r\n";
    assert_eq!(client.ask("AUTH XOAUTH2").await, needs_tls);
    assert_eq!(client.ask("auth login").await, needs_tls);
    assert_eq!(sandbox.statistics().auth_before_tls, 2);
    let unauthenticated = "530 5.7.57 Client not authenticated to send mail.\r\n";
    assert_eq!(client.ask("MAIL FROM:<erp@contoso.com>").await, unauthenticated);
    let mut client = Client::logged_in(&sandbox).await;
    for (command, reply) in [
        ("NOOP", "250 2.0.0 OK\r\n"),
        ("RSET", "250 2.0.0 Resetting\r\n"),
        ("FOO", "500 5.3.3 Unrecognized command\r\n"),
        ("STARTTLS", "503 5.5.2 Only one STARTTLS command can be issued per session\r\n"),
        ("AUTH XOAUTH2", "503 5.5.2 Auth command already specified\r\n"),
        ("RCPT TO:<a@x>", "503 5.5.2 Need mail command\r\n"),
        (
            "MAIL FROM:<>",
            "550 5.7.60 SMTP; Client does not have permissions to send as this sender\r\n",
        ),
        ("MAIL FROM:<a b@x>", "501 5.1.7 Invalid address\r\n"),
        (
            "MAIL FROM:<erp@contoso.com> SIZE=157286401",
            "552 5.3.4 Message size exceeds fixed maximum size\r\n",
        ),
        (
            "MAIL FROM:<erp@contoso.com> SIZE=1000 BODY=8BITMIME RET=HDRS ENVID=QQ",
            "250 2.1.0 Sender OK\r\n",
        ),
        ("MAIL FROM:<erp@contoso.com>", "503 5.5.2 Sender already specified\r\n"),
        ("DATA", "503 5.5.2 Need rcpt command\r\n"),
        ("RCPT TO:<a@x> NOTIFY=NEVER ORCPT=rfc822;a@x", "250 2.1.5 Recipient OK\r\n"),
    ] {
        assert_eq!(client.ask(command).await, reply, "{command}");
    }
}

#[tokio::test]
async fn no_password_is_good() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut client = Client::inside_tls(&sandbox).await;
    assert_eq!(client.ask("AUTH PLAIN").await, "504 5.7.4 Unrecognized authentication type\r\n");
    assert_eq!(client.ask("AUTH LOGIN").await, "334 VXNlcm5hbWU6\r\n");
    assert_eq!(client.ask("ZXJwQGNvbnRvc28uY29t").await, "334 UGFzc3dvcmQ6\r\n");
    let reply = client.ask("c2VjcmV0").await;
    let text = "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.";
    assert_eq!(without_trailer(&reply), text);
    let refused = client.ask("MAIL FROM:<erp@contoso.com>").await;
    assert_eq!(
        without_trailer(&refused),
        format!("530 5.7.57 Client not authenticated to send mail. Error: {text}"),
        "the stored reason is told again"
    );
    let statistics = sandbox.statistics();
    assert_eq!(
        (statistics.password_logins, statistics.login_failures, statistics.logins),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn a_token_opens_its_mailbox_only() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut client = Client::inside_tls(&sandbox).await;
    let token = app_token(&sandbox);
    let refused = "535 5.7.3 Authentication unsuccessful";
    for (user, token) in [
        ("erp@contoso.com", &Secret::new("EwBAAl3BAAUFFpUAo7J3Ve0bjLBWZWCclRC3EoAA")),
        ("nobody@contoso.com", &token),
    ] {
        assert_eq!(without_trailer(&client.log_in(user, token).await), refused);
    }
    assert_eq!(client.ask("AUTH XOAUTH2").await, "334 \r\n");
    assert_eq!(client.ask("*").await, format!("{refused}\r\n"));
    let one_step = format!("AUTH XOAUTH2 {}", xoauth2("erp@contoso.com", &token));
    assert_eq!(
        client.ask(&one_step).await,
        "235 2.7.0 Authentication successful\r\n",
        "long line and all"
    );
    sandbox.revoke_access_tokens();
    let mut other = Client::inside_tls(&sandbox).await;
    assert_eq!(without_trailer(&other.log_in("erp@contoso.com", &token).await), refused);
}

#[tokio::test]
async fn what_was_sent_is_what_is_kept() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut client = Client::logged_in(&sandbox).await;
    client
        .write(
            b"MAIL FROM:<erp@contoso.com> BODY=8BITMIME RET=HDRS ENVID=Q1\r\nRCPT TO:<A@x.example>\r\n\
              RCPT TO:<b@x.example> NOTIFY=FAILURE\r\nDATA\r\n",
        )
        .await;
    for expected in ["250 2.1.0 ", "250 2.1.5 ", "250 2.1.5 ", "354 "] {
        assert!(client.reply().await.starts_with(expected));
    }
    client.write(b"From: <erp@contoso.com>\r\n\r\n..\r\n..dots\r\n\xe4\xff\r\n.\r\n").await;
    let accepted = client.reply().await;
    let id = accepted.split(' ').nth(3).expect("id").to_owned();
    assert!(id.starts_with('<') && id.ends_with(".PROD.OUTLOOK.COM>"), "made up: {accepted}");
    let messages = sandbox.wait_for_messages(1).await;
    let message = &messages[0];
    assert_eq!(&message.raw[..], b"From: <erp@contoso.com>\r\n\r\n.\r\n.dots\r\n\xe4\xff\r\n");
    assert_eq!(message.recipients(), ["A@x.example", "b@x.example"]);
    assert_eq!((message.message_id.as_str(), message.client.as_str()), (id.as_str(), "client"));
    assert_eq!(message.envelope.envid.as_deref(), Some("Q1"));
    assert!(message.envelope.recipients[1].notify.is_some_and(|notify| notify.failure));
}

#[tokio::test]
async fn chunks_are_taken_octet_for_octet() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut client = Client::logged_in(&sandbox).await;
    client.ask("MAIL FROM:<erp@contoso.com> BODY=BINARYMIME").await;
    client.ask("RCPT TO:<a@x.example>").await;
    client.write(b"BDAT 24\r\nFrom: erp@contoso.com\r\n\r").await;
    assert_eq!(client.reply().await, "250 2.6.0 CHUNK received OK, 24 octets\r\n");
    client.write(b"BDAT 9 LAST\r\n\n\0\xff\r\n.\r\n\n").await;
    assert!(client.reply().await.starts_with("250 2.0.0 OK <"));
    let messages = sandbox.wait_for_messages(1).await;
    assert_eq!(&messages[0].raw[..], b"From: erp@contoso.com\r\n\r\n\0\xff\r\n.\r\n\n");
}

#[tokio::test]
async fn a_foreign_sender_is_refused_after_the_dot_in_one_long_line() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut client = Client::logged_in(&sandbox).await;
    let reply = client.send("From: noreply@contoso.com\r\n\r\nHello\r\n").await;
    assert!(reply.starts_with(
        "554 5.2.252 SendAsDenied; erp@contoso.com not allowed to send as noreply@contoso.com; \
         STOREDRV.Submission.Exception:SendAsDeniedException.MapiExceptionSendAsDenied; Failed to process message \
         due to a permanent exception with message [BeginDiagnosticData]Cannot submit message. "
    ));
    assert!(
        reply.ends_with(
            "[EndDiagnosticData] [Hostname=SBX1P282MB2635.SBXP282.PROD.OUTLOOK.COM]\r\n"
        )
    );
    assert!(reply.len() > 1500 && reply.matches('\n').count() == 1);
    let refused = client.send("Subject: no From\r\n\r\n").await;
    assert_eq!(
        refused,
        "550 5.7.512 Access denied, message must be RFC 5322 section 3.6.2 compliant\r\n"
    );
    let bare = client.send("From: erp@contoso.com\n\r\n").await;
    assert_eq!(bare, "554 5.6.0 Invalid message content, contains bare linefeeds\r\n");
    assert_eq!(client.send(MAIL).await, ACCEPTED, "the session goes on");
    assert_eq!(sandbox.statistics().message_refusals, 3);
}

#[tokio::test]
async fn silence_ends_the_session() {
    let sandbox = sandbox(Limits { idle_seconds: 1, ..Limits::EXCHANGE }).await;
    let mut client = Client::connect(&sandbox).await;
    client.reply().await;
    assert_eq!(client.reply().await, "421 4.4.1 Connection timed out\r\n");
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn mails_are_shown_over_http_and_their_text_is_escaped() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut client = Client::logged_in(&sandbox).await;
    let mail = "From: erp@contoso.com\r\nSubject: <script>alert(1)</script>\r\n\r\n\u{e4}..\r\n";
    client.send(mail).await;
    let get = async |path: &str| {
        let url = format!("{}/sandbox{path}", sandbox.web_url());
        let http = reqwest::Client::builder().no_proxy().build().expect("client");
        http.get(url).send().await.expect("answer")
    };
    let _ = rustls::crypto::ring::default_provider().install_default();
    let page = get("").await.text().await.expect("text");
    assert!(
        page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && !page.contains("<script"),
        "{page}"
    );
    let raw = get("/messages/1").await;
    assert_eq!(raw.headers()["content-type"], "message/rfc822");
    assert_eq!(raw.bytes().await.expect("octets"), mail.as_bytes());
    let envelope: serde_json::Value =
        serde_json::from_str(&get("/messages/1/envelope").await.text().await.expect("text"))
            .expect("json");
    assert_eq!(envelope["envelope"]["sender"], "erp@contoso.com");
    assert_eq!(envelope["envelope"]["recipients"][0]["address"], "a@x.example");
    assert_eq!(envelope["mailbox"], "erp@contoso.com");
    let all: serde_json::Value =
        serde_json::from_str(&get("/messages").await.text().await.expect("text")).expect("json");
    assert_eq!(all[0], envelope);
}
