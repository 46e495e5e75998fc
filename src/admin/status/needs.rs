//! What a person is needed for. Pure.
//!
//! It promises that what passes by itself is no need: a server that cannot be reached, a pause, a queue
//! that is long. Whoever is woken at night has something to do.

use crate::admin::wire::{Account, Lane, Need, Queue, Time};
use crate::diagnosis::Class;
use crate::queue::StoreError;
use std::time::{Duration, SystemTime};

/// So long before its end a certificate or secret is called for.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// The delivery loop shows every second that it lives.
const SILENCE: Duration = Duration::from_secs(15);

/// Everything a person is needed for; `silent`: since when the delivery loop has not shown itself.
pub(super) fn needs(
    accounts: &[Account],
    queue: Result<&Queue, &StoreError>,
    lanes: &[Lane],
    silent: Duration,
    now: SystemTime,
) -> Vec<Need> {
    let mut needs: Vec<Need> =
        accounts.iter().flat_map(|account| of_account(account, now)).collect();
    match queue {
        Ok(queue) => needs.extend(of_queue(queue, accounts)),
        Err(error) => needs.push(need(
            "queue",
            format!("the store cannot be read: {error}"),
            "look at the disk of state_dir",
        )),
    }
    for lane in lanes.iter().filter(|lane| lane.stuck) {
        let what = format!("what became of a mail of {} cannot be noted", lane.mailbox);
        needs.push(need(
            "queue",
            what,
            "look at the disk of state_dir; nothing more is sent there until then",
        ));
    }
    if silent > SILENCE {
        let what = format!("the delivery loop has been silent for {} s", silent.as_secs());
        needs.push(need("delivery", what, "restart submitd and report this"));
    }
    needs
}

fn need(subject: impl Into<String>, meaning: impl Into<String>, remedy: impl Into<String>) -> Need {
    Need { subject: subject.into(), meaning: meaning.into(), remedy: remedy.into() }
}

fn is_for_a_person(class: &str) -> bool {
    class != Class::Transient.as_str()
}

fn of_account(account: &Account, now: SystemTime) -> Vec<Need> {
    let subject = format!("account {}", account.name);
    let mut needs = Vec::new();
    let token = account.token.as_ref().and_then(|token| token.error.as_ref());
    if let Some(error) = token.filter(|error| is_for_a_person(&error.class)) {
        let remedy =
            error.remedy.clone().unwrap_or_else(|| format!("submitd check {}", account.name));
        needs.push(need(&subject, format!("no token: {}", error.message), remedy));
    } else if let Some(pause) = account.pause.as_ref().filter(|pause| is_for_a_person(&pause.class))
    {
        // Without a token delivery pauses for the same reason: it is told once.
        needs.push(need(&subject, pause.meaning.clone(), pause.remedy.clone()));
    }
    let ends = [
        ("certificate", account.certificate_expires, "upload another one and replace the file"),
        ("client secret", account.client_secret_expires, "make another one and replace it"),
        ("sign-in", account.sign_in_expires, "let its person sign in again"),
    ];
    for (what, end, remedy) in ends {
        let Some(Time(end)) = end else { continue };
        let left = end.duration_since(now).unwrap_or_default();
        if left.is_zero() {
            needs.push(need(&subject, format!("its {what} ended at {}", Time(end)), remedy));
        } else if left < SOON {
            needs.push(need(&subject, format!("its {what} ends at {}", Time(end)), remedy));
        }
    }
    needs
}

fn of_queue(queue: &Queue, accounts: &[Account]) -> Vec<Need> {
    let mut needs = Vec::new();
    if let Some(full) = &queue.full {
        needs.push(need(
            "queue",
            full.clone(),
            "no new mail is taken: make room, or raise queue.max_size",
        ));
    }
    for (state, meaning, remedy) in [
        (
            "held",
            "wait for a person",
            "submitd queue list --state held; then submitd queue release or remove",
        ),
        (
            "failed",
            "were given up and kept",
            "submitd queue list --state failed; then submitd queue retry or remove",
        ),
        (
            "damaged",
            "cannot be read and are kept unsent",
            "submitd queue check; put the file back and submitd queue retry, or submitd queue remove",
        ),
    ] {
        let mails: u64 =
            queue.counts.iter().filter(|count| count.state == state).map(|count| count.mails).sum();
        if mails > 0 {
            needs.push(need("queue", format!("{mails} {state} mails {meaning}"), remedy));
        }
    }
    for count in
        queue.counts.iter().filter(|count| ["queued", "attempting"].contains(&count.state.as_str()))
    {
        if accounts.iter().all(|account| account.name != count.account) {
            let what =
                format!("{} mails wait for it, and it is not in the configuration", count.mails);
            let remedy = "add the account again, or submitd queue remove --account";
            needs.push(need(format!("account {}", count.account), what, remedy));
        }
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::wire::{Count, Pause, Token, TokenFault};
    use std::time::UNIX_EPOCH;

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_795_248_956)
    }

    fn account() -> Account {
        Account {
            name: "erp".into(),
            mailbox: "erp@contoso.com".into(),
            grant: "client_credentials".into(),
            transport: "smtp".into(),
            upstream: "smtp.office365.com:587".into(),
            token_url: String::new(),
            scope: String::new(),
            connections: Some(3),
            messages_per_minute: Some(30),
            senders: Vec::new(),
            networks: Vec::new(),
            certificate_expires: None,
            client_secret_expires: None,
            sign_in_expires: None,
            detour: None,
            token: None,
            pause: None,
        }
    }

    fn pause(class: Class) -> Option<Pause> {
        Some(Pause {
            class: class.as_str().into(),
            meaning: "SMTP AUTH is switched off".into(),
            remedy: "Set-CASMailbox".into(),
            words: "535".into(),
            until: Time(now()),
        })
    }

    fn token(class: Class) -> Option<Token> {
        let error = TokenFault {
            class: class.as_str().into(),
            message: "AADSTS7000222".into(),
            remedy: Some("make a new secret".into()),
            retry_at: None,
        };
        Some(Token {
            condition: "failed".into(),
            good_until: None,
            failures: 1,
            error: Some(error),
        })
    }

    fn found(account: Account) -> Vec<String> {
        let queue = Queue::default();
        let needs = needs(&[account], Ok(&queue), &[], Duration::ZERO, now());
        needs
            .into_iter()
            .map(|need| format!("{}: {}; {}", need.subject, need.meaning, need.remedy))
            .collect()
    }

    #[test]
    fn an_account_needs_a_person_only_where_it_does_not_mend_itself() {
        let none: [&str; 0] = [];
        for class in [Class::SignIn, Class::Administrator] {
            assert_eq!(
                found(Account { pause: pause(class), ..account() }),
                ["account erp: SMTP AUTH is switched off; Set-CASMailbox"]
            );
            assert_eq!(
                found(Account { pause: pause(class), token: token(class), ..account() }),
                ["account erp: no token: AADSTS7000222; make a new secret"],
                "told once"
            );
        }
        let passing = Account {
            pause: pause(Class::Transient),
            token: token(Class::Transient),
            certificate_expires: Some(Time(now() + DAY * 15)),
            ..account()
        };
        assert_eq!(found(passing), none);
    }

    #[test]
    fn an_end_that_is_near_is_told_before_it_comes() {
        for (left, words) in
            [(13, "its certificate ends at 2026-12-04"), (0, "its certificate ended at 2026-11-21")]
        {
            let end = Some(Time(now() + DAY * left));
            let all = found(Account { certificate_expires: end, ..account() });
            assert!(all.len() == 1 && all[0].contains(words), "{all:?}");
        }
    }

    #[test]
    fn mail_that_waits_for_a_person_is_counted_and_other_mail_is_not() {
        let count = |account: &str, state: &str, mails| Count {
            account: account.into(),
            state: state.into(),
            mails,
            octets: 0,
            oldest: Time(now()),
        };
        let queue = Queue {
            counts: vec![
                count("erp", "queued", 9),
                count("erp", "held", 1),
                count("gone", "held", 2),
                count("gone", "queued", 4),
            ],
            ..Queue::default()
        };
        let all = needs(&[account()], Ok(&queue), &[], Duration::ZERO, now());
        let meanings: Vec<_> = all.iter().map(|need| need.meaning.as_str()).collect();
        assert_eq!(
            meanings,
            [
                "3 held mails wait for a person",
                "4 mails wait for it, and it is not in the configuration"
            ]
        );
    }

    #[test]
    fn a_store_that_cannot_be_read_and_a_loop_that_hangs_need_a_person() {
        let error = StoreError("disk I/O error".into());
        let all = needs(&[], Err(&error), &[], SILENCE + DAY, now());
        let subjects: Vec<_> = all.iter().map(|need| need.subject.as_str()).collect();
        assert_eq!(subjects, ["queue", "delivery"]);
    }
}
