//! What Microsoft Graph answers, and what becomes of the mail and its account then.

use crate::graph::{ANN, ERP, answer, start, taken};
use crate::support::daemon::Daemon;
use crate::support::mails;
use crate::support::world::World;
use std::time::{Duration, Instant, SystemTime};
use submitd::queue::{Filter, State, open_read_only};
use submitd::sandbox::faults::{Fault, GraphAnswer, GraphStep};

/// An answer with `Retry-After`.
fn later(status: u16, code: &str, retry_after: String) -> GraphAnswer {
    GraphAnswer { retry_after: Some(retry_after), ..GraphAnswer::error(status, code, "Later.") }
}

fn begin(answered: GraphAnswer) -> (World, Daemon) {
    let world = World::new();
    let daemon = start(&world, "");
    answer(&world, answered);
    taken(&daemon, &[ANN], &mails::plain("answered"));
    (world, daemon)
}

#[test]
fn b24_retry_after_is_obeyed_in_seconds_and_as_a_date_with_429_and_503() {
    let date = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    for (status, code, retry_after) in [
        (429, "ApplicationThrottled", "3".to_owned()),
        (429, "ApplicationThrottled", date()),
        (503, "serviceNotAvailable", "3".to_owned()),
        (503, "serviceNotAvailable", date()),
    ] {
        let begun = Instant::now();
        let (world, _daemon) = begin(later(status, code, retry_after.clone()));
        assert_eq!(world.messages(1).len(), 1);
        // A date has no parts of seconds.
        assert!(begun.elapsed() >= Duration::from_millis(2900), "{status} {retry_after}");
        assert_eq!(world.sandbox.statistics().graph_requests, 2, "{status} {retry_after}");
    }
}

#[test]
fn b24_401_renews_the_token_once() {
    const REFUSED: &str = "Lifetime validation failed, the token is expired.";
    let refused = || GraphAnswer::error(401, "InvalidAuthenticationToken", REFUSED);
    let (world, daemon) = begin(refused());
    assert_eq!(world.messages(1).len(), 1);
    let statistics = world.sandbox.statistics();
    assert_eq!((statistics.tokens, statistics.graph_requests), (2, 2));
    // Again and again: the account waits, and its mail with it.
    world.faults(|faults| {
        faults.graph.answers.insert(GraphStep::SendMail, Fault::times(refused(), 2));
    });
    taken(&daemon, &[ANN], &mails::plain("waits"));
    let told = daemon.log.wait_for("account paused, its mail is kept");
    assert!(told.contains("the token must be made for Graph"), "{told}");
    assert_eq!(world.sandbox.statistics().tokens, 3, "renewed once more");
    assert_eq!(world.sandbox.messages().len(), 1);
}

#[test]
fn b24_403_and_404_are_told_apart_by_their_codes() {
    // This mail may not; the next one may.
    for (status, code, words, expected, remedy) in [
        (
            403,
            "ErrorSendAsDenied",
            "does not have the right to send mail",
            "Status: 5.7.1",
            "Add-RecipientPermission",
        ),
        (
            400,
            "ErrorInvalidRecipients",
            "At least one recipient is not valid.",
            "Status: 5.0.0",
            "one bad address fails the whole mail",
        ),
        (
            400,
            "ErrorMessageSizeExceeded",
            "The message exceeds the size.",
            "Status: 5.3.4",
            "-MaxSendSize",
        ),
    ] {
        let (world, _daemon) = begin(GraphAnswer::error(status, code, words));
        let report = &world.messages(1)[0];
        assert_eq!(report.recipients(), [ERP], "{code}");
        let text = report.text();
        assert!(text.contains(expected) && text.contains(code), "{code}: {text}");
        let told = text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(told.contains(remedy), "{code}: {text}");
    }
    // No mail of this account may.
    for (status, code, expected) in [
        (403, "ErrorAccessDenied", "Mail.Send"),
        (403, "Authorization_RequestDenied", "Mail.Send"),
        (404, "ErrorInvalidUser", "the tenant knows no erp@contoso.com"),
        (404, "ResourceNotFound", "the tenant knows no erp@contoso.com"),
        (404, "MailboxNotEnabledForRESTAPI", "no mailbox of Exchange Online"),
        (507, "ErrorQuotaExceeded", "erp@contoso.com is full"),
    ] {
        let (world, daemon) = begin(GraphAnswer::error(status, code, "No."));
        let told = daemon.log.wait_for("account paused, its mail is kept");
        assert!(told.contains(expected), "{code}: {told}");
        assert!(world.sandbox.messages().is_empty(), "{code}");
    }
}

#[test]
fn b24_500_502_and_504_leave_the_fate_open() {
    for status in [500, 502, 504] {
        let done = GraphAnswer { done: true, ..GraphAnswer::status(status) };
        let (world, daemon) = begin(done);
        daemon.log.wait_for("possibly delivered");
        let queue = open_read_only(&world.path().join("state/queue")).unwrap();
        let entry = queue.list(&Filter::default()).unwrap().remove(0);
        assert!(entry.uncertain || entry.state == State::Attempting, "{status}: {entry:?}");
        assert_eq!(world.sandbox.messages().len(), 1, "{status}: not sent again");
    }
}
