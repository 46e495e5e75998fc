//! `transport = "auto"`: when the detour by Graph is taken, kept and left.

use super::*;
use crate::config::Audience;

/// SMTP and Graph, each by its script.
struct Ways {
    smtp: Arc<Script>,
    graph: Arc<Script>,
    by_graph: AtomicBool,
    told: AtomicBool,
}

impl Ways {
    fn new(smtp: &Arc<Script>, graph: &Arc<Script>) -> Arc<Self> {
        let [by_graph, told] = [AtomicBool::new(false), AtomicBool::new(false)];
        Arc::new(Self { smtp: smtp.clone(), graph: graph.clone(), by_graph, told })
    }
}

impl Courier for Ways {
    async fn deliver(&self, mail: Outgoing<'_>, credential: &Credential) -> Outcome {
        match credential.audience {
            Audience::Smtp => self.smtp.deliver(mail, credential).await,
            Audience::Graph => self.graph.deliver(mail, credential).await,
        }
    }

    fn audience(&self) -> Audience {
        if self.by_graph.load(Ordering::SeqCst) { Audience::Graph } else { Audience::Smtp }
    }

    fn detour(&self) -> bool {
        true
    }

    fn detoured(&self, works: bool) -> bool {
        self.by_graph.store(works, Ordering::SeqCst);
        works && !self.told.swap(true, Ordering::SeqCst)
    }
}

const OFF: &str = "Authentication unsuccessful, SmtpClientAuthentication is disabled for the Tenant. Visit https://aka.ms/smtp_auth_disabled";

fn start(house: &House, ways: &Arc<Ways>) -> Delivery {
    let ways = ways.clone();
    Delivery::start(
        house.queue.clone(),
        house.tokens.clone(),
        move |_: &Account| ways.clone(),
        Passages::default(),
        house.settings.clone(),
        vec![Arc::new(account("erp", "erp@contoso.com"))],
    )
}

fn denied(code: &str) -> Result<Reply, Failure> {
    let (status, code, text) = (403, code.to_owned(), String::new());
    let fault = Fault::Http { status, code, text, retry_after: None };
    Err(Failure { stage: Stage::Posted, fault })
}

#[tokio::test(start_paused = true)]
async fn b24_where_smtp_auth_is_off_the_mail_goes_by_graph_in_the_same_try() {
    let house = House::new();
    let smtp = Script::new(|seen| all(seen, &no(Stage::Auth, 535, Enhanced(5, 7, 139), OFF)));
    let graph = Script::new(|seen| all(seen, &ok()));
    let delivery = start(&house, &Ways::new(&smtp, &graph));
    house.send("erp", FROM, &["a@b.example"]).await;
    house.empty().await;
    house.send("erp", FROM, &["c@b.example"]).await;
    house.empty().await;
    assert_eq!((smtp.seen().len(), graph.seen().len()), (1, 2));
    assert_eq!(delivery.standings(), []);
    assert_eq!(delivery.watch().health().way("erp"), Some("graph"));
}

#[tokio::test(start_paused = true)]
async fn b24_nothing_else_that_smtp_says_leads_to_graph() {
    for (stage, code, enhanced, text) in [
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
        assert_eq!(delivery.watch().health().way("erp"), None);
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
    assert_eq!(delivery.watch().health().way("erp"), None);
    house.empty().await;
    assert!(smtp.seen().len() >= 2);
}
