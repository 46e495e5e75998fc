//! Each fault of the mail server, seen by a client.

use super::client::{ACCEPTED, Client, MAIL, app_token, sandbox};
use crate::sandbox::faults::{AuthRefusal, Certificate, Fault, Point, ReplyText, Stage, Switch};
use crate::sandbox::{Faults, Limits, Sandbox};
use crate::secret::Secret;
use std::time::{Duration, Instant};

async fn with(change: impl FnOnce(&mut Faults)) -> Sandbox {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut faults = Faults::default();
    change(&mut faults);
    sandbox.set_faults(faults);
    sandbox
}

async fn greeted(sandbox: &Sandbox) -> Client {
    let mut client = Client::connect(sandbox).await;
    client.reply().await;
    client
}

fn once(text: &str) -> Fault<ReplyText> {
    Fault::times(ReplyText::new(text).expect("reply"), 1)
}

#[tokio::test]
async fn starttls_is_not_offered() {
    let sandbox = with(|faults| faults.smtp.no_starttls = Switch::Times(1)).await;
    let mut client = greeted(&sandbox).await;
    assert!(!client.ask("EHLO client").await.contains("STARTTLS"));
    assert_eq!(client.ask("STARTTLS").await, "500 5.3.3 Unrecognized command\r\n");
    let mut next = greeted(&sandbox).await;
    assert!(next.ask("EHLO client").await.contains("STARTTLS"), "once only");
}

#[tokio::test]
async fn dsn_is_not_offered() {
    let sandbox = with(|faults| faults.smtp.no_dsn = Switch::Times(1)).await;
    let mut client = greeted(&sandbox).await;
    assert!(!client.ask("EHLO client").await.contains("DSN"));
    let mut next = greeted(&sandbox).await;
    assert!(next.ask("EHLO client").await.contains("DSN"), "once only");
}

#[tokio::test]
async fn starttls_is_refused() {
    let sandbox = with(|faults| faults.smtp.starttls_refused = Switch::Times(1)).await;
    let mut client = greeted(&sandbox).await;
    client.ask("EHLO client").await;
    assert_eq!(
        client.ask("STARTTLS").await,
        "454 4.7.0 TLS not available due to temporary reason\r\n"
    );
    client.ask("EHLO client").await;
    assert_eq!(
        client.ask("STARTTLS").await,
        "220 2.0.0 SMTP server ready\r\n",
        "clear text went on"
    );
    assert!(client.handshake(&sandbox, "localhost").await.is_ok());
}

#[tokio::test]
async fn clear_text_is_injected_behind_starttls() {
    let sandbox = with(|faults| faults.smtp.starttls_injection = Switch::On).await;
    let mut client = greeted(&sandbox).await;
    client.ask("EHLO client").await;
    assert_eq!(client.ask("STARTTLS").await, "220 2.0.0 SMTP server ready\r\n");
    assert_eq!(client.reply().await, "250-attacker.example Hello\r\n250 AUTH LOGIN PLAIN\r\n");
}

#[tokio::test]
async fn wrong_certificates() {
    for (certificate, error) in [
        (Certificate::Expired, "Expired"),
        (Certificate::WrongName, "NotValidForName"),
        (Certificate::UnknownAuthority, "UnknownIssuer"),
    ] {
        let sandbox =
            with(|faults| faults.smtp.certificate = Some(Fault::times(certificate, 1))).await;
        let mut client = greeted(&sandbox).await;
        client.ask("EHLO client").await;
        client.ask("STARTTLS").await;
        let refused = client.handshake(&sandbox, "localhost").await.err().expect("refused");
        assert!(format!("{refused:?}").contains(error), "{certificate:?}: {refused:?}");
        sandbox.wait_until(|statistics| statistics.tls_failures == 1).await;
        Client::inside_tls(&sandbox).await;
    }
}

#[tokio::test]
async fn replies_at_each_stage() {
    let sandbox = with(|faults| {
        for stage in [Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot, Stage::Quit] {
            faults.smtp.replies.insert(stage, once(&format!("451 4.7.500 Busy\n{stage:?}")));
        }
    })
    .await;
    let busy = |stage: &str| format!("451-4.7.500 Busy\r\n451 {stage}\r\n");
    let mut client = greeted(&sandbox).await;
    assert_eq!(client.ask("EHLO client").await, busy("Ehlo"));
    let mut client = Client::logged_in(&sandbox).await;
    assert_eq!(client.ask("MAIL FROM:<erp@contoso.com>").await, busy("Mail"));
    client.ask("MAIL FROM:<erp@contoso.com>").await;
    assert_eq!(client.ask("RCPT TO:<a@x.example>").await, busy("Rcpt"));
    client.ask("RCPT TO:<a@x.example>").await;
    assert_eq!(client.ask("DATA").await, busy("Data"));
    client.ask("RSET").await;
    assert_eq!(client.send(MAIL).await, busy("Dot"));
    assert_eq!(client.send(MAIL).await, ACCEPTED);
    assert_eq!(client.ask("QUIT").await, busy("Quit"));
    assert_eq!(sandbox.statistics().messages, 1);
    assert!(sandbox.faults().smtp.replies.is_empty());
}

#[tokio::test]
async fn replies_to_greeting_starttls_and_auth() {
    let sandbox = with(|faults| {
        faults.smtp.replies.insert(Stage::Greeting, once("421 4.3.2 Service not active"));
        faults.smtp.replies.insert(Stage::Starttls, once("454 4.7.0 later"));
        faults.smtp.replies.insert(Stage::Auth, once("451 4.7.0 Temporary server error. PRX4"));
    })
    .await;
    let mut client = Client::connect(&sandbox).await;
    assert_eq!(client.reply().await, "421 4.3.2 Service not active\r\n");
    assert!(client.is_closed().await);
    let mut client = greeted(&sandbox).await;
    client.ask("EHLO client").await;
    assert_eq!(client.ask("STARTTLS").await, "454 4.7.0 later\r\n");
    let mut client = Client::inside_tls(&sandbox).await;
    let token = app_token(&sandbox);
    assert_eq!(
        client.log_in("erp@contoso.com", &token).await,
        "451 4.7.0 Temporary server error. PRX4\r\n"
    );
    assert_eq!(
        client.log_in("erp@contoso.com", &token).await,
        "235 2.7.0 Authentication successful\r\n"
    );
}

#[tokio::test]
async fn a_421_closes_wherever_it_comes() {
    for stage in [Stage::Ehlo, Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        let sandbox = sandbox(Limits::EXCHANGE).await;
        let mut client = Client::logged_in(&sandbox).await;
        let mut faults = Faults::default();
        faults.smtp.replies.insert(stage, once("421 4.4.2 Connection dropped"));
        sandbox.set_faults(faults);
        client.write("EHLO x\r\n").await;
        client.write("MAIL FROM:<erp@contoso.com>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n").await;
        client.write(format!("{MAIL}.\r\n")).await;
        let mut last = String::new();
        loop {
            match client.reply().await {
                reply if reply.is_empty() => break,
                reply => last = reply,
            }
        }
        assert_eq!(last, "421 4.4.2 Connection dropped\r\n", "{stage:?}");
        assert_eq!(sandbox.statistics().messages, 0);
    }
}

#[tokio::test]
async fn replies_to_single_recipients() {
    let sandbox = with(|faults| {
        faults.smtp.recipients.insert("bad@x.example".into(), once("550 5.1.1 no"));
    })
    .await;
    let mut client = Client::logged_in(&sandbox).await;
    client.ask("MAIL FROM:<erp@contoso.com>").await;
    assert_eq!(client.ask("RCPT TO:<Bad@x.example>").await, "550 5.1.1 no\r\n");
    client.ask("RCPT TO:<good@x.example>").await;
    client.ask("DATA").await;
    client.write(MAIL).await;
    assert_eq!(client.ask(".").await, ACCEPTED);
    assert_eq!(sandbox.wait_for_messages(1).await[0].recipients(), ["good@x.example"]);
}

#[tokio::test]
async fn the_connection_is_cut_before_tls() {
    for (point, commands) in [
        (Point::Connect, &[][..]),
        (Point::Ehlo, &["EHLO x"][..]),
        (Point::Starttls, &["EHLO x", "STARTTLS"]),
        (Point::TlsHandshake, &["EHLO x", "STARTTLS"]),
    ] {
        let sandbox = with(|faults| {
            faults.smtp.drop_at.insert(point, Switch::Times(1));
        })
        .await;
        let mut client = Client::connect(&sandbox).await;
        let mut last = client.reply().await;
        for command in commands {
            last = client.ask(command).await;
        }
        let expected =
            if point == Point::TlsHandshake { "220 2.0.0 SMTP server ready\r\n" } else { "" };
        assert_eq!(last, expected, "{point:?}");
        assert!(client.is_closed().await);
        Client::inside_tls(&sandbox).await;
    }
}

#[tokio::test]
async fn the_connection_is_cut_inside_tls() {
    for (point, taken) in [
        (Point::Auth, 0),
        (Point::Mail, 0),
        (Point::Rcpt, 0),
        (Point::Data, 0),
        (Point::Body, 0),
        (Point::AfterDotBeforeAccept, 0),
        (Point::AfterDotAfterAccept, 1),
        (Point::Quit, 1),
    ] {
        let sandbox = with(|faults| {
            faults.smtp.drop_at.insert(point, Switch::Times(1));
        })
        .await;
        let mut client = Client::inside_tls(&sandbox).await;
        let auth = super::client::xoauth2("erp@contoso.com", &app_token(&sandbox));
        client.write(format!("AUTH XOAUTH2\r\n{auth}\r\n")).await;
        client.write("MAIL FROM:<erp@contoso.com>\r\nRCPT TO:<a@x.example>\r\nDATA\r\n").await;
        client.write(format!("{MAIL}.\r\nQUIT\r\n")).await;
        let mut replies = 0;
        while !client.reply().await.is_empty() {
            replies += 1;
        }
        sandbox.wait_until(|statistics| statistics.open_connections == 0).await;
        assert_eq!(sandbox.statistics().messages, taken, "{point:?}");
        assert!(replies < 7, "{point:?}: {replies}");
    }
}

#[tokio::test]
async fn logins_are_refused_in_each_way() {
    let tenant = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. \
                  Visit https://aka.ms/smtp_auth_disabled for more information. [";
    let mailbox = "535 5.7.139 Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. \
                   Visit https://aka.ms/smtp_auth_disabled for more information. [";
    for (refusal, text) in [
        (AuthRefusal::Rejected, "535 5.7.3 Authentication unsuccessful ["),
        (AuthRefusal::TenantDisabled, tenant),
        (AuthRefusal::MailboxDisabled, mailbox),
        (
            AuthRefusal::SecurityDefaults,
            "535 5.7.139 Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator. [",
        ),
        (
            AuthRefusal::ConditionalAccess,
            "535 5.7.139 Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator. [",
        ),
        (
            AuthRefusal::AccountIssue,
            "535 5.7.139 Authentication unsuccessful, account has an issue. Contact your administrator. [",
        ),
        (AuthRefusal::Temporary, "454 4.7.0 Temporary authentication failure\r\n"),
        (
            AuthRefusal::ExpiresSoon,
            "501 5.5.127 Invalid XOAUTH2 auth data - Token will expire soon error\r\n",
        ),
    ] {
        let sandbox = with(|faults| faults.smtp.auth = Some(Fault::times(refusal, 1))).await;
        let mut client = Client::inside_tls(&sandbox).await;
        let token = app_token(&sandbox);
        let reply = client.log_in("erp@contoso.com", &token).await;
        assert!(reply.starts_with(text), "{refusal:?}: {reply}");
        assert!(client.log_in("erp@contoso.com", &token).await.starts_with("235 "), "{refusal:?}");
    }
}

#[tokio::test]
async fn googles_challenge_awaits_an_empty_line() {
    let sandbox =
        with(|faults| faults.smtp.auth = Some(Fault::always(AuthRefusal::GmailChallenge))).await;
    let mut client = Client::inside_tls(&sandbox).await;
    let challenge = client.log_in("erp@contoso.com", &Secret::new("x")).await;
    assert_eq!(
        challenge,
        "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIiwic2NvcGUiOiJodHRwczovL21haWwuZ29vZ2xlLmNvbS8ifQ==\r\n"
    );
    assert_eq!(
        client.ask("").await,
        "535-5.7.8 Username and Password not accepted. For more information, go to\r\n\
         535 5.7.8  https://support.google.com/mail/?p=BadCredentials 5b1f17b1804b1-sandbox - gsmtp\r\n"
    );
}

#[tokio::test]
async fn slow_octets_and_distance() {
    let sandbox = with(|faults| {
        faults.smtp.delay_ms = 20;
        faults.smtp.slow_octets_us = 1;
    })
    .await;
    let mut client = Client::logged_in(&sandbox).await;
    let start = Instant::now();
    client.ask("NOOP").await;
    assert!(start.elapsed() >= Duration::from_millis(20));
    assert_eq!(client.send(MAIL).await, ACCEPTED);
}

#[tokio::test]
async fn the_dot_is_held() {
    let sandbox = with(|faults| faults.smtp.hold_dot = true).await;
    let mut client = Client::logged_in(&sandbox).await;
    let sending = tokio::spawn(async move { client.send(MAIL).await });
    sandbox.wait_until(|statistics| statistics.bodies == 1).await;
    assert_eq!(sandbox.statistics().messages, 0);
    sandbox.set_faults(Faults::default());
    assert_eq!(sending.await.expect("ended"), ACCEPTED);
}

#[tokio::test]
async fn tokens_without_permission_or_for_graph_are_refused() {
    use crate::sandbox::entra::decide;
    let sandbox = with(|faults| {
        faults.token.wrong_audience = Switch::Times(1);
    })
    .await;
    let options = sandbox.options();
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", options.client_id.as_str()),
        ("client_secret", options.client_secret.expose()),
        ("scope", "https://outlook.office365.com/.default"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let now = std::time::SystemTime::now();
    let token =
        || decide(&sandbox.world, &options.tenant, "", &form, now).expect("token").access_token;
    let mut client = Client::inside_tls(&sandbox).await;
    assert!(client.log_in("erp@contoso.com", &token()).await.starts_with("535 5.7.3 "));
    let mut faults = Faults::default();
    faults.token.no_permission = Switch::Times(1);
    sandbox.set_faults(faults);
    assert!(client.log_in("erp@contoso.com", &token()).await.starts_with("535 5.7.3 "));
    assert!(client.log_in("erp@contoso.com", &token()).await.starts_with("235 "));
}
