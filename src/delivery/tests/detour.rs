//! `transport = "auto"`: when the detour by Graph is taken, kept and left.

use super::*;
use crate::config::{Audience, Graph, Transport, Upload};

/// SMTP and Graph, each by its script.
struct Ways {
    smtp: Arc<Script>,
    graph: Arc<Script>,
}

impl Ways {
    fn new(smtp: &Arc<Script>, graph: &Arc<Script>) -> Arc<Self> {
        Arc::new(Self { smtp: smtp.clone(), graph: graph.clone() })
    }
}

impl Courier for Ways {
    async fn deliver(&self, mail: Outgoing<'_>, credential: &Credential) -> Outcome {
        match credential.audience {
            Audience::Smtp => self.smtp.deliver(mail, credential).await,
            Audience::Graph => self.graph.deliver(mail, credential).await,
        }
    }
}

const OFF: &str = "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled";
const OFF_HERE: &str = "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Mailbox. Visit https://aka.ms/smtp_auth_disabled";

fn start(house: &House, ways: &Arc<Ways>) -> Delivery {
    let ways = ways.clone();
    let graph = Graph {
        url: "https://graph.microsoft.com/v1.0".parse().expect("url"),
        scope: "https://graph.microsoft.com/.default".to_owned(),
        recipients: Default::default(),
        upload: Upload::Off,
        max_size: 2_200_000,
        is_me: false,
    };
    let account = account("erp", "erp@contoso.com");
    Delivery::start(
        house.queue.clone(),
        house.tokens.clone(),
        move |_: &Account| ways.clone(),
        Passages::default(),
        house.settings.clone(),
        vec![Arc::new(Account { transport: Transport::Auto(graph), ..account })],
    )
}

fn denied(code: &str) -> Result<Reply, Failure> {
    let (status, code, text) = (403, code.to_owned(), String::new());
    let fault = Fault::Http { status, code, text, retry_after: None };
    Err(Failure { stage: Stage::Posted, fault })
}

#[tokio::test(start_paused = true)]
async fn b24_where_smtp_auth_is_off_the_mail_goes_by_graph_in_the_same_try() {
    for text in [OFF, OFF_HERE] {
        let house = House::new();
        let smtp = Script::new(|seen| all(seen, &no(Stage::Auth, 535, Enhanced(5, 7, 139), text)));
        let graph = Script::new(|seen| all(seen, &ok()));
        let delivery = start(&house, &Ways::new(&smtp, &graph));
        house.send("erp", FROM, &["a@b.example"]).await;
        house.empty().await;
        house.send("erp", FROM, &["c@b.example"]).await;
        house.empty().await;
        assert_eq!((smtp.seen().len(), graph.seen().len()), (1, 2), "{text}");
        assert_eq!(delivery.standings(), [], "{text}");
        assert!(delivery.watch().detour("erp").is_some(), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn b24_nothing_else_that_smtp_says_leads_to_graph() {
    const OTHER: Enhanced = Enhanced(5, 7, 139);
    for (stage, code, enhanced, text) in [
        (
            Stage::Auth,
            535,
            OTHER,
            "Authentication unsuccessful, user is locked by your organization's security defaults policy. Contact your administrator.",
        ),
        (
            Stage::Auth,
            535,
            OTHER,
            "Authentication unsuccessful, the request did not meet the criteria to be authenticated successfully. Contact your administrator.",
        ),
        (
            Stage::Auth,
            535,
            OTHER,
            "Authentication unsuccessful, account has an issue. Contact your administrator.",
        ),
        (Stage::Auth, 535, OTHER, "Authentication unsuccessful, basic authentication is disabled."),
        (
            Stage::Auth,
            535,
            OTHER,
            "Authentication unsuccessful, the user credentials were incorrect.",
        ),
        (Stage::Auth, 535, OTHER, "Authentication unsuccessful"),
        (Stage::Auth, 535, Enhanced(5, 7, 3), "Authentication unsuccessful"),
        (Stage::Auth, 454, Enhanced(4, 7, 0), "Temporary authentication failure"),
        (Stage::Mail, 451, Enhanced(4, 7, 500), "Server busy"),
        (Stage::Dot, 554, Enhanced(5, 2, 252), "SendAsDenied"),
    ] {
        let house = House::new();
        // Once with the first token and once with the next; a report that follows goes out.
        let times = if stage == Stage::Auth { 2 } else { 1 };
        let smtp = Script::new(move |seen| match seen.nth < times {
            true => all(seen, &no(stage, code, enhanced, text)),
            false => all(seen, &ok()),
        });
        let graph = Script::new(|seen| all(seen, &ok()));
        let delivery = start(&house, &Ways::new(&smtp, &graph));
        house.send("erp", FROM, &["a@b.example"]).await;
        house.empty().await;
        assert_eq!(graph.seen().len(), 0, "{code} {text}");
        assert_eq!(delivery.watch().detour("erp"), None);
    }
}

#[tokio::test(start_paused = true)]
async fn b24_a_detour_that_does_not_work_leaves_the_word_to_smtp() {
    let house = House::new();
    let smtp = Script::new(|seen| match seen.nth {
        0 | 1 => all(seen, &no(Stage::Auth, 535, Enhanced(5, 7, 139), OFF)),
        _ => all(seen, &ok()),
    });
    let graph = Script::new(|seen| all(seen, &denied("ErrorAccessDenied")));
    let delivery = start(&house, &Ways::new(&smtp, &graph));
    house.send("erp", FROM, &["a@b.example"]).await;
    while delivery.standings().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let standing = delivery.standings().remove(0);
    assert!(standing.remedy.contains("Set-CASMailbox"), "{standing:?}");
    assert_eq!(delivery.watch().detour("erp"), None);
    house.empty().await;
    assert!(smtp.seen().len() >= 2);
}

#[tokio::test(start_paused = true)]
async fn b24_where_graph_cannot_be_reached_either_smtp_is_asked_again_after_an_hour() {
    let house = House::new();
    let smtp = Script::new(|seen| match seen.nth {
        0 => off(seen),
        _ => all(seen, &ok()),
    });
    let away = || Err(Failure { stage: Stage::Connect, fault: Fault::Timeout });
    let graph = Script::new(move |seen| all(seen, &away()));
    let _delivery = start(&house, &Ways::new(&smtp, &graph));
    house.send("erp", FROM, &["a@b.example"]).await;
    house.empty().await;
    assert_eq!(smtp.seen().len(), 2, "the mail, and no report");
    assert!(graph.seen().len() > 1);
}

fn off(seen: &Seen) -> Answers {
    all(seen, &no(Stage::Auth, 535, Enhanced(5, 7, 139), OFF))
}

fn sent(scripts: [&Arc<Script>; 2]) -> [usize; 2] {
    scripts.map(|script| script.seen().len())
}

#[tokio::test(start_paused = true)]
async fn b24_the_way_is_remembered_over_a_restart_and_smtp_is_asked_again_after_an_hour() {
    let mut house = House::new();
    let is_off = Arc::new(AtomicBool::new(true));
    let asked = is_off.clone();
    let smtp = Script::new(move |seen| match asked.load(Ordering::SeqCst) {
        true => off(seen),
        false => all(seen, &ok()),
    });
    let graph = Script::new(|seen| all(seen, &ok()));
    let ways = Ways::new(&smtp, &graph);
    let delivery = start(&house, &ways);
    house.send("erp", FROM, &["a@b.example"]).await;
    house.empty().await;
    let since = delivery.watch().detour("erp").expect("a detour").since;
    delivery.drain(Duration::from_secs(1)).await;

    house.reopen().await;
    let delivery = start(&house, &ways);
    let known = delivery.watch().detour("erp").expect("the same detour").since;
    // The store keeps milliseconds.
    assert!(since.duration_since(known).expect("not later") < Duration::from_millis(1));
    house.send("erp", FROM, &["c@b.example"]).await;
    house.empty().await;
    assert_eq!(sent([&smtp, &graph]), [1, 2], "SMTP was not asked after the restart");

    // Still off: one more answer of SMTP, and the mail goes all the same.
    tokio::time::sleep(Duration::from_secs(61 * 60)).await;
    house.send("erp", FROM, &["d@b.example"]).await;
    house.empty().await;
    assert_eq!(sent([&smtp, &graph]), [2, 3]);
    let detour = delivery.watch().detour("erp").expect("a detour");
    assert_eq!(detour.since, known, "it is the same detour");
    assert!(detour.again > known + Duration::from_secs(100 * 60), "{detour:?}");

    // Somebody says that it was mended: SMTP is asked at once, and the detour is over for good.
    is_off.store(false, Ordering::SeqCst);
    delivery.resume("erp");
    while delivery.watch().detour("erp").is_some() {
        house.send("erp", FROM, &["e@b.example"]).await;
        house.empty().await;
    }
    delivery.drain(Duration::from_secs(1)).await;
    house.reopen().await;
    assert_eq!(house.queue.detours(), []);
}

#[tokio::test(start_paused = true)]
async fn b24_what_graph_says_of_a_mail_or_a_stale_token_does_not_end_the_detour() {
    let house = House::new();
    let smtp = Script::new(off);
    let stale = |token: &str| Failure {
        stage: Stage::Posted,
        fault: Fault::Http {
            status: 401,
            code: "InvalidAuthenticationToken".into(),
            text: token.to_owned(),
            retry_after: None,
        },
    };
    let graph = Script::new(move |seen| match seen.nth {
        0 => all(seen, &ok()),
        // The first token is revoked; its successor is good.
        _ if seen.token == "t0" => all(seen, &Err(stale(&seen.token))),
        2 => all(seen, &ok()),
        3 => all(seen, &denied("ErrorSendAsDenied")),
        _ => all(seen, &ok()),
    });
    let delivery = start(&house, &Ways::new(&smtp, &graph));
    for _ in 0..3 {
        house.send("erp", FROM, &["a@b.example"]).await;
        house.empty().await;
    }
    assert!(delivery.watch().detour("erp").is_some());
    assert_eq!(smtp.seen().len(), 1, "SMTP was asked once");
    assert_eq!(delivery.standings(), []);
}
