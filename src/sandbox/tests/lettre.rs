//! An independent client: lettre sends through the sandbox.

use super::client::{app_token, sandbox};
use crate::sandbox::Limits;
use lettre::message::Message;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Tokio1Executor};

#[tokio::test]
async fn lettre_sends_with_starttls_and_xoauth2() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let root = Certificate::from_pem(sandbox.ca_pem().as_bytes()).expect("PEM");
    let tls = TlsParameters::builder("localhost".into())
        .add_root_certificate(root)
        .build_rustls()
        .expect("TLS");
    let token = app_token(&sandbox).expose().to_owned();
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(sandbox.smtp_addr().port())
        .tls(Tls::Required(tls))
        .authentication(vec![Mechanism::Xoauth2])
        .credentials(Credentials::new("erp@contoso.com".into(), token))
        .build();
    let mail = Message::builder()
        .from("ERP <erp@contoso.com>".parse().expect("from"))
        .to("a@x.example".parse().expect("to"))
        .subject("Invoice")
        .body("Hello\r\n.\r\nworld\r\n".to_owned())
        .expect("mail");
    let answer = transport.send(mail).await.expect("sent");
    assert!(answer.message().next().expect("line").contains("OK <"), "{answer:?}");
    let messages = sandbox.wait_for_messages(1).await;
    // lettre itself puts one more CRLF behind the body.
    let text = messages[0].text();
    assert!(text.contains("\r\n\r\nHello\r\n.\r\nworld\r\n"), "{text:?}");
    assert_eq!(messages[0].recipients(), ["a@x.example"]);
}
