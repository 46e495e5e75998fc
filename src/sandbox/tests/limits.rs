//! Limits per mailbox, over the wire.

use super::client::{ACCEPTED, Client, MAIL, sandbox};
use crate::sandbox::{Excess, Limits};

#[tokio::test]
async fn the_fourth_connection_is_refused_at_mail() {
    let sandbox = sandbox(Limits::EXCHANGE).await;
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Client::logged_in(&sandbox).await);
    }
    for client in &mut clients[..3] {
        assert_eq!(client.send(MAIL).await, ACCEPTED);
    }
    let refused = "432 4.3.2 Concurrent connections limit exceeded\r\n";
    assert_eq!(clients[3].ask("MAIL FROM:<erp@contoso.com>").await, refused);
    clients[0].ask("QUIT").await;
    sandbox.wait_until(|statistics| statistics.open_connections == 3).await;
    assert_eq!(clients[3].send(MAIL).await, ACCEPTED, "a place became free");
    let statistics = sandbox.statistics();
    assert_eq!((statistics.max_open_connections, statistics.connection_refusals), (4, 1));
}

#[tokio::test]
async fn a_mail_above_the_rate_is_delayed() {
    let sandbox = sandbox(Limits { messages_per_minute: 1, ..Limits::EXCHANGE }).await;
    let mut client = Client::logged_in(&sandbox).await;
    assert_eq!(client.send(MAIL).await, ACCEPTED);
    let second = tokio::spawn(async move { client.send(MAIL).await });
    sandbox.wait_until(|statistics| statistics.delayed == 1).await;
    assert_eq!(sandbox.statistics().messages, 1);
    second.abort();
}

#[tokio::test]
async fn a_mail_above_the_rate_is_refused_by_the_switch() {
    let limits = Limits { messages_per_minute: 1, excess: Excess::Refuse, ..Limits::EXCHANGE };
    let sandbox = sandbox(limits).await;
    let mut client = Client::logged_in(&sandbox).await;
    assert_eq!(client.send(MAIL).await, ACCEPTED);
    assert_eq!(
        client.ask("MAIL FROM:<erp@contoso.com>").await,
        "421 4.4.2 Message submission rate for this client has exceeded the configured limit\r\n"
    );
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn recipients_of_a_mail_and_of_a_day() {
    let limits = Limits { recipients_per_message: 2, recipients_per_day: 2, ..Limits::EXCHANGE };
    let sandbox = sandbox(limits).await;
    let mut client = Client::logged_in(&sandbox).await;
    client.ask("MAIL FROM:<erp@contoso.com>").await;
    for expected in [
        "250 2.1.5 Recipient OK\r\n",
        "250 2.1.5 Recipient OK\r\n",
        "452 4.5.3 Too many recipients\r\n",
    ] {
        assert_eq!(client.ask("RCPT TO:<a@x.example>").await, expected);
    }
    client.ask("DATA").await;
    client.write(MAIL).await;
    assert_eq!(client.ask(".").await, ACCEPTED);
    let quota = client.send(MAIL).await;
    assert!(
        quota.starts_with(
            "554 5.2.0 STOREDRV.Submission.Exception:SubmissionQuotaExceededException; "
        ),
        "{quota}"
    );
}

#[tokio::test]
async fn a_mail_larger_than_the_mailbox_may_send() {
    let sandbox = sandbox(Limits { message_size: 1000, ..Limits::EXCHANGE }).await;
    let mut client = Client::logged_in(&sandbox).await;
    let large = format!("{MAIL}{}\r\n", "x".repeat(990));
    assert_eq!(client.send(&large).await, "552 5.3.4 Message size exceeds fixed maximum size\r\n");
    assert_eq!(client.send(MAIL).await, ACCEPTED);
}

#[tokio::test]
async fn too_many_wrong_commands() {
    let sandbox = sandbox(Limits { errors: 3, ..Limits::EXCHANGE }).await;
    let mut client = Client::inside_tls(&sandbox).await;
    client.ask("FOO").await;
    client.ask("FOO").await;
    assert_eq!(
        client.ask("FOO").await,
        "421 4.7.0 Too many errors on this connection, closing transmission channel\r\n"
    );
    assert!(client.is_closed().await);
}
