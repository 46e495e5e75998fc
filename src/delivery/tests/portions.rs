//! A mailbox's day, mails that go in several transactions, and senders that take turns.

use super::*;

/// `r0@b.example`, `r1@b.example`, ...
fn many(count: usize) -> Vec<Recipient> {
    (0..count).map(|n| Recipient::new(address(&format!("r{n}@b.example")))).collect()
}

fn limited(name: &str, mailbox: &str, day: u32) -> Account {
    let mut account = account(name, mailbox);
    account.upstream.recipients_per_day = Limit::AtMost(day);
    account
}

const DAYS: Duration = Duration::from_secs(86_400);

#[tokio::test(start_paused = true)]
async fn b21_a_full_day_waits_until_it_slid_on_and_other_mailboxes_do_not() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let (erp, other) = (limited("erp", "erp@contoso.com", 5), account("other", "o@contoso.com"));
    // Two were sent by an earlier run, a quarter of an hour short of a day ago.
    let at = (house.settings.clock)() - DAYS + 15 * MINUTE;
    let lane = "erp@contoso.com smtp.office365.com".to_owned();
    house.queue.charge(Charge { lane, recipients: 2, at }).await.expect("charge");
    let delivery = house.start(&script, &[&erp, &other]);
    let id = house.send("erp", FROM, &["a@b.c", "b@b.c", "c@b.c"]).await;
    house.until(id, |_| false).await;
    let waits = house.send("erp", FROM, &["f@b.c"]).await;
    while delivery.standings().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let standing = delivery.standings().remove(0);
    assert_eq!((standing.account.as_str(), standing.class), ("erp", Class::Transient));
    assert!(standing.meaning.contains("5 recipients in 24 hours"), "{standing:?}");
    assert!(standing.remedy.contains("recipients_per_day"), "{standing:?}");
    let wait = standing.until.duration_since((house.settings.clock)()).expect("later");
    assert!(wait > 5 * MINUTE && wait <= 16 * MINUTE, "{wait:?}");
    let free = house.send("other", FROM, &["g@b.c"]).await;
    house.until(free, |_| false).await;
    let entry = house.queue.show(waits).await.expect("show").expect("kept");
    assert_eq!((entry.attempts, entry.state), (0, State::Queued));
    assert_eq!(script.seen().len(), 2);
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 3);
    assert!(seen[2].at - house.start >= 15 * MINUTE);
    while !delivery.standings().is_empty() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn b21_a_day_counts_what_was_taken_and_what_may_have_been_also_over_a_restart() {
    let house = House::new();
    let script = Script::new(|seen| {
        let answer = |to: &String| match to.as_str() {
            "gone@b.c" => no(Stage::Rcpt, 550, Enhanced(5, 1, 1), "no such user"),
            "lost@b.c" if seen.nth == 0 => Err(Failure { stage: Stage::Dot, fault: Fault::Closed }),
            _ => ok(),
        };
        seen.recipients.iter().map(answer).collect()
    });
    let mut erp = limited("erp", "erp@contoso.com", 100);
    erp.on_uncertain = OnUncertain::Hold;
    let delivery = house.start(&script, &[&erp]);
    let held = house.send("erp", FROM, &["lost@b.c"]).await;
    house.until(held, |entry| entry.state == State::Held).await;
    // Two of three, then the report to the sender.
    let id = house.send("erp", FROM, &["a@b.c", "gone@b.c", "b@b.c"]).await;
    house.until(id, |_| false).await;
    while house.queue.list(Filter::default()).await.expect("list").len() > 1 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(delivery.drain(MINUTE).await, 0);
    let spent = house.queue.spent("erp@contoso.com smtp.office365.com").await.expect("spent");
    assert_eq!(spent.iter().map(|charge| charge.recipients).sum::<u32>(), 1 + 2 + 1);
    let House { queue, dir, .. } = house;
    queue.close().await;
    drop(queue);
    // After the restart there is room for one more.
    let house = House::at(dir);
    let _delivery = house.start(&script, &[&limited("erp", "ERP@contoso.com", 5)]);
    let before = script.seen().len();
    for to in ["c@b.c", "d@b.c"] {
        house.send("erp", FROM, &[to]).await;
    }
    while script.seen().len() == before {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    tokio::time::sleep(HOUR).await;
    assert_eq!(script.seen().len(), before + 1, "the other one waits");
}

#[tokio::test(start_paused = true)]
async fn b21_a_quota_reply_of_the_provider_works_besides_and_costs_nothing_of_the_day() {
    let house = House::new();
    let script = Script::new(|seen| match seen.nth {
        0 | 1 => {
            let text = "STOREDRV.Submission.Exception:SubmissionQuotaExceededException";
            all(seen, &no(Stage::Dot, 554, Enhanced(5, 2, 0), text))
        }
        _ => all(seen, &ok()),
    });
    let _delivery = house.start(&script, &[&limited("erp", "erp@contoso.com", 1)]);
    house.send("erp", FROM, &["a@b.c"]).await;
    house.empty().await;
    assert_eq!(script.seen().len(), 3, "refused ones are not counted, or the day would be full");
}

#[tokio::test(start_paused = true)]
async fn more_recipients_than_a_day_has_go_day_by_day() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let _delivery = house.start(&script, &[&limited("erp", "erp@contoso.com", 4)]);
    house.send_to("erp", FROM, many(6), false).await;
    house.empty().await;
    let sizes: Vec<usize> = script.seen().iter().map(|seen| seen.recipients.len()).collect();
    assert_eq!(sizes, [4, 2]);
    assert!(house.start.elapsed() >= DAYS);
}

#[tokio::test(start_paused = true)]
async fn b06_more_recipients_than_a_transaction_takes_go_in_several_each_once() {
    let house = House::new();
    let script = Script::offering(false, |seen| {
        let answer = |to: &String| match to.as_str() {
            "r3@b.example" => no(Stage::Rcpt, 550, Enhanced(5, 1, 1), "no such user"),
            "r4@b.example" if seen.nth < 3 => no(Stage::Rcpt, 450, Enhanced(4, 2, 0), "later"),
            _ => ok(),
        };
        seen.recipients.iter().map(answer).collect()
    });
    let mut erp = account("erp", "erp@contoso.com");
    erp.upstream.max_recipients = Limit::AtMost(500);
    let _delivery = house.start(&script, &[&erp]);
    let mut recipients = many(1_200);
    for index in [0, 700] {
        recipients[index].notify = Some(Notify { success: true, failure: true, delay: false });
    }
    let id = house.send_to("erp", FROM, recipients, false).await;
    let put_off = house
        .until(id, |entry| matches!(entry.recipients[1_199], RecipientState::Delivered { .. }))
        .await
        .expect("one was put off");
    assert_eq!(put_off.attempts, 1, "three transactions are one try");
    house.empty().await;
    let seen = script.seen();
    let (reports, mails): (Vec<&Seen>, Vec<&Seen>) =
        seen.iter().partition(|seen| seen.body.contains("multipart/report"));
    let sizes: Vec<usize> = mails.iter().map(|seen| seen.recipients.len()).collect();
    assert_eq!(sizes, [500, 500, 200, 1]);
    assert!(mails[2].at - mails[0].at < MINUTE / 2, "the rest follows at once");
    assert!(mails[3].at - mails[2].at >= MINUTE * 8 / 10, "who was put off waits as ever");
    let mut to: Vec<&String> = mails[..3].iter().flat_map(|seen| &seen.recipients).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), 1_200);
    // Each is told of once, in the report of its own transaction.
    let told = |to: &str| {
        let line = format!("Final-Recipient: rfc822; {to}\r\n");
        reports.iter().map(|seen| seen.body.matches(&line).count()).sum::<usize>()
    };
    let of = ["r0@b.example", "r3@b.example", "r700@b.example", "r4@b.example", "r1@b.example"];
    assert_eq!(of.map(told), [1, 1, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn b06_all_put_off_by_a_large_mail_come_round_again_none_left_out() {
    let house = House::new();
    // Six transactions of two put everybody off; then all are taken.
    let script = Script::new(|seen| match seen.nth {
        0..6 => all(seen, &no(Stage::Rcpt, 450, Enhanced(4, 2, 0), "greylisted")),
        _ => all(seen, &ok()),
    });
    let mut erp = account("erp", "erp@contoso.com");
    erp.upstream.max_recipients = Limit::AtMost(2);
    let _delivery = house.start(&script, &[&erp]);
    house.send_to("erp", FROM, many(6), false).await;
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 9);
    for (round, pause) in [(1, MINUTE), (2, 5 * MINUTE)] {
        let first = &seen[round * 3];
        let mut to: Vec<&String> =
            seen[round * 3..][..3].iter().flat_map(|seen| &seen.recipients).collect();
        to.sort();
        to.dedup();
        assert_eq!(to.len(), 6, "round {round}");
        assert!(first.at - seen[round * 3 - 1].at >= pause * 8 / 10, "round {round}");
        assert!(seen[round * 3 + 2].at - first.at < MINUTE / 2, "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn b04_a_connection_that_fails_costs_a_large_mail_no_turn() {
    let house = House::new();
    let script = Script::new(|seen| match seen.nth {
        0 => all(seen, &Err(Failure { stage: Stage::Connect, fault: Fault::Timeout })),
        _ => all(seen, &ok()),
    });
    let mut erp = account("erp", "erp@contoso.com");
    erp.upstream.max_recipients = Limit::AtMost(2);
    let _delivery = house.start(&script, &[&erp]);
    house.send_to("erp", FROM, many(4), false).await;
    house.empty().await;
    let sent: Vec<_> = script.seen().iter().map(|seen| seen.recipients.clone()).collect();
    assert_eq!(sent.len(), 3, "{sent:?}");
    assert_eq!(sent[0], sent[1]);
    assert_eq!(sent[2], ["r2@b.example", "r3@b.example"]);
}

#[tokio::test(start_paused = true)]
async fn b05_a_bare_452_behind_the_first_recipients_sends_the_rest_at_once() {
    let house = House::new();
    let script = Script::new(|seen| {
        let surplus = || {
            let fault = Fault::Reply(Reply::plain(452, "enough"));
            Err(Failure { stage: Stage::Rcpt, fault })
        };
        (0..seen.recipients.len()).map(|n| if n < 2 { ok() } else { surplus() }).collect()
    });
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com")]);
    let id = house.send_to("erp", FROM, many(5), false).await;
    house.until(id, |_| false).await;
    let sizes: Vec<usize> = script.seen().iter().map(|seen| seen.recipients.len()).collect();
    assert_eq!(sizes, [5, 3, 1]);
    assert!(house.start.elapsed() < MINUTE / 2);
    let history = house.queue.history(None, 1).await.expect("history");
    assert_eq!(history[0].attempts, 1);
}

#[tokio::test(start_paused = true)]
async fn b22_senders_of_one_account_take_turns() {
    let house = House::new();
    let script = Script::new(|seen| all(seen, &ok()));
    let mut erp = account("erp", "erp@contoso.com");
    erp.upstream.connections = Limit::AtMost(1);
    for _ in 0..60 {
        house.send("erp", Some("bulk@contoso.com"), &["a@b.c"]).await;
    }
    for _ in 0..5 {
        house.send("erp", Some("Desk@contoso.com"), &["b@b.c"]).await;
    }
    house.send("erp", None, &["c@b.c"]).await;
    let _delivery = house.start(&script, &[&erp]);
    house.empty().await;
    let order: String =
        script.seen().iter().map(|seen| seen.recipients[0].split_at(1).0.to_owned()).collect();
    assert_eq!(order.len(), 66);
    assert!(
        ["cabababababa", "abcababababa"].contains(&&order[..12]) || order.starts_with("cab"),
        "{order}"
    );
    assert!(!order[11..].contains('b'), "{order}");
}

#[tokio::test(start_paused = true)]
async fn b23_reports_go_through_the_account_that_is_named_for_them() {
    let mut house = House::new();
    let desk = account("desk", "desk@contoso.com");
    house.settings.bounces = Some(Arc::new(desk.clone()));
    let script = Script::new(|seen| match seen.sender.as_deref() {
        Some("desk@contoso.com") => all(seen, &ok()),
        _ => all(seen, &no(Stage::Rcpt, 550, Enhanced(5, 1, 1), "no such user")),
    });
    // Its own reports and those to it are not told of again.
    let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com"), &desk]);
    house.send("erp", FROM, &["gone@b.c"]).await;
    house.empty().await;
    let seen = script.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[1].sender.as_deref(), Some("desk@contoso.com"));
    assert_eq!(seen[1].recipients, ["erp@contoso.com"]);
    assert!(seen[1].never && seen[1].body.contains("Final-Recipient: rfc822; gone@b.c"));
    let history = house.queue.history(Some("desk"), 9).await.expect("history");
    assert_eq!((history.len(), history[0].is_bounce), (1, true));
}

#[tokio::test(start_paused = true)]
async fn b22_a_sender_hears_of_a_broken_account_through_another_and_the_mail_is_kept() {
    for elsewhere in [true, false] {
        let mut house = House::new();
        let desk = account("desk", "desk@contoso.com");
        house.settings.schedule.expire = 6 * HOUR;
        house.settings.bounces = elsewhere.then(|| Arc::new(desk.clone()));
        let script = Script::new(|seen| match seen.sender.as_deref() {
            Some("desk@contoso.com") => all(seen, &ok()),
            _ => all(
                seen,
                &no(Stage::Auth, 535, Enhanced(5, 7, 139), "SmtpClientAuthentication is disabled"),
            ),
        });
        let _delivery = house.start(&script, &[&account("erp", "erp@contoso.com"), &desk]);
        let id = house.send("erp", FROM, &["a@b.c"]).await;
        let kept = || async { house.queue.show(id).await.expect("show").expect("kept").state };
        while kept().await != State::Failed {
            tokio::time::sleep(HOUR).await;
        }
        while house.queue.list(Filter::default()).await.expect("list").len() > 1 {
            tokio::time::sleep(MINUTE).await;
        }
        let reports =
            script.seen().iter().filter(|seen| seen.body.contains("multipart/report")).count();
        assert_eq!(reports, usize::from(elsewhere));
    }
}

#[tokio::test(start_paused = true)]
async fn b21_two_ways_to_one_mailbox_keep_no_idle_connections_beside_each_other() {
    let house = House::new();
    let scripts = [(); 3].map(|()| Script::new(|seen| all(seen, &ok())));
    let accounts =
        [("one", "erp@contoso.com"), ("two", "erp@contoso.com"), ("else", "o@contoso.com")];
    let mut accounts = accounts.map(|(name, mailbox)| account(name, mailbox));
    accounts[1].upstream.idle_timeout = HOUR;
    let ways = scripts.clone();
    let _delivery = Delivery::start(
        house.queue.clone(),
        house.tokens.clone(),
        move |account: &Account| match account.name.as_str() {
            "one" => ways[0].clone(),
            "two" => ways[1].clone(),
            _ => ways[2].clone(),
        },
        Passages::default(),
        house.settings.clone(),
        accounts.into_iter().map(Arc::new).collect(),
    );
    for name in ["one", "two", "two", "else"] {
        let id = house.send(name, FROM, &["a@b.c"]).await;
        house.until(id, |_| false).await;
    }
    let closed = scripts.each_ref().map(|script| script.closed.load(Ordering::SeqCst));
    assert_eq!(closed, [2, 1, 0], "each before the other one is used");
}
