//! What a client in direct mode hears: the upstream's own words under a code that says what the judge says.
//! Pure.
//!
//! It promises that no 5xx reaches a client for what is the account's or a quota's fault (its program would
//! throw the mail away), that a 421 never does (it would end the client's session), and that after a lost
//! answer nobody is told that the mail was not taken.

use crate::delivery::places::Turned;
use crate::delivery::plan::Lesson;
use crate::delivery::trouble::Cause;
use crate::delivery::verdict::{Reach, Verdict, explain, judge};
use crate::delivery::words::{clean, temporary_status};
use crate::oauth::TokenError;
use crate::smtp::{Enhanced, Reply};
use crate::upstream::{Failure, Fault, Stage};

/// Characters of another server's words that a client hears; a reply line has 512 octets.
const LONGEST: usize = 480;

/// MAIL was taken by us, since Graph is not asked about it.
pub const SENDER_OK: Reply = Reply::new(250, Enhanced(2, 1, 0), "sender ok");
/// RCPT likewise.
pub const RECIPIENT_OK: Reply = Reply::new(250, Enhanced(2, 1, 5), "recipient ok");
/// DATA likewise.
pub const START_INPUT: Reply = Reply::plain(354, "end data with <CR><LF>.<CR><LF>");
/// Of a mail that goes in one request nobody takes the rest of the recipients later.
pub const TOO_MANY_RECIPIENTS: Reply =
    Reply::new(452, Enhanced(4, 5, 3), "too many recipients for one mail of this account");
/// DATA without a recipient that was taken (RFC 5321 §3.3).
pub const NO_RECIPIENTS: Reply = Reply::new(554, Enhanced(5, 5, 1), "no valid recipients");
/// What is gathered would eat into the disk's reserve.
pub const DISK_FULL: Reply =
    Reply::new(452, Enhanced(4, 3, 1), "no room for this mail now, try again later");
/// The disk said no.
pub const UNSTORED: Reply =
    Reply::new(451, Enhanced(4, 3, 0), "mail could not be taken, try again later");

/// Nobody knows whether the mail was taken.
const LOST_ANSWER: &str =
    "the server's answer to the end of the mail was lost; it may have been delivered all the same";

/// The upstream's yes, in its own words.
pub fn taken(reply: Reply) -> Reply {
    let is_plain =
        reply.text.len() <= LONGEST && reply.text.bytes().all(|c| matches!(c, b' '..=b'~'));
    if is_plain {
        return Reply { enhanced: fitting(reply.code, reply.enhanced), ..reply };
    }
    said(reply.code, reply.enhanced, &reply.text)
}

/// What the client hears of a failure.
pub fn reply(failure: &Failure) -> Reply {
    let words = words(failure);
    let code = |code, enhanced| said(code, Some(enhanced), &words);
    match judge(failure) {
        Verdict::Bounce { status, .. } => match &failure.fault {
            Fault::Reply(reply) => said(reply.code, Some(status), &words),
            // RFC 1870 §6.2, RFC 6152 §3, RFC 6531 §3.5; Graph says 413.
            _ if status == Enhanced(5, 3, 4) => code(552, status),
            _ => code(550, status),
        },
        Verdict::Surplus => code(452, Enhanced(4, 5, 3)),
        Verdict::Busy { .. } => code(451, temporary_status(failure)),
        Verdict::PauseAccount(pause) if pause.quota => code(451, temporary_status(failure)),
        Verdict::PauseAccount(_) | Verdict::RenewToken { .. } => code(454, Enhanced(4, 7, 0)),
        Verdict::Uncertain => {
            let text = match &failure.fault {
                // Graph's 500, 502 and 504 tell nothing of what was done.
                Fault::Http { .. } => &format!("it may have been delivered all the same: {words}"),
                _ => LOST_ANSWER,
            };
            said(451, Some(Enhanced(4, 4, 2)), text)
        }
        Verdict::Local => code(451, Enhanced(4, 3, 0)),
        Verdict::Retry { reach, .. } => retry(failure, reach, &words),
    }
}

fn retry(failure: &Failure, reach: Reach, words: &str) -> Reply {
    let code = match &failure.fault {
        // At MAIL and later a client knows what to make of the code; greeting, EHLO and AUTH were not his.
        Fault::Reply(reply) if reach == Reach::Mail && reply.is_transient() => match reply.code {
            421 => 451,
            code => code,
        },
        _ if failure.stage == Stage::Auth => {
            return said(454, Some(Enhanced(4, 7, 0)), words);
        }
        _ => 451,
    };
    said(code, Some(temporary_status(failure)), words)
}

/// The upstream's words, or ours where it said none.
fn words(failure: &Failure) -> String {
    match &failure.fault {
        Fault::Reply(reply) => reply.text.clone().into_owned(),
        // What stands in the way of this very mail.
        Fault::Unfit(why) => why.clone(),
        fault @ Fault::Oversize { .. } => fault.to_string(),
        // Of these the words name files and addresses of this machine's network.
        Fault::Local(_) => "the mail could not be sent from here, try again later".to_owned(),
        Fault::Tls(distrust) => format!("no safe connection to the server: {}", distrust.what),
        _ => explain(failure).map_or_else(|| failure.to_string(), str::to_owned),
    }
}

/// What the client hears who goes on with a mail that is over.
pub fn lost() -> Reply {
    Reply::new(451, Enhanced(4, 4, 2), "the connection to the server was lost, try again later")
}

/// What the client hears where there is no token.
pub fn without_token(error: &TokenError) -> Reply {
    said(454, Some(Enhanced(4, 7, 0)), &format!("no token for this mailbox: {}", error.message))
}

/// What the client hears who got no turn.
pub fn turned(why: &Turned) -> Reply {
    match why {
        Turned::Late => Reply::new(
            451,
            Enhanced(4, 7, 0),
            "no connection of this mailbox came free in time, try again later",
        ),
        Turned::DayIsFull => Reply::new(
            451,
            Enhanced(4, 7, 0),
            "the recipients that this mailbox may have in a day are used up, try again later",
        ),
        Turned::Closing => Reply::new(
            451,
            Enhanced(4, 3, 2),
            "mail of this account is not taken now, try again later",
        ),
        Turned::Ill(Cause::Server { words }) => {
            said(451, Some(Enhanced(4, 4, 1)), &format!("the server cannot be used: {words}"))
        }
        Turned::Ill(Cause::Account { quota: true, words, .. }) => {
            said(451, Some(Enhanced(4, 2, 0)), words)
        }
        Turned::Ill(Cause::Account { words, .. }) => said(454, Some(Enhanced(4, 7, 0)), words),
    }
}

/// What a failure says about account and upstream.
pub fn lesson(failure: &Failure) -> Lesson {
    let words = clean(&failure.to_string());
    match judge(failure) {
        Verdict::PauseAccount(pause) | Verdict::RenewToken { pause } => {
            Lesson::Account(pause, words)
        }
        Verdict::Busy { known, retry_after } => Lesson::Busy(known, retry_after),
        Verdict::Retry { reach: Reach::Server, .. } => Lesson::Server(words),
        Verdict::Local => Lesson::Local(words),
        Verdict::Bounce { .. }
        | Verdict::Retry { reach: Reach::Mail, .. }
        | Verdict::Surplus
        | Verdict::Uncertain => Lesson::Well,
    }
}

/// One line of bounded length, whatever a peer wrote.
fn said(code: u16, enhanced: Option<Enhanced>, text: &str) -> Reply {
    let text: String = clean(text).chars().take(LONGEST).collect();
    Reply { code, enhanced: fitting(code, enhanced), text: text.into() }
}

/// The enhanced code never contradicts the code, and a 3xx has none (RFC 2034 §4).
fn fitting(code: u16, enhanced: Option<Enhanced>) -> Option<Enhanced> {
    let class = u8::try_from(code / 100).ok().filter(|class| *class != 3)?;
    enhanced.map(|Enhanced(_, subject, detail)| Enhanced(class, subject, detail))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnosis::Class;

    fn heard(stage: Stage, code: u16, enhanced: (u8, u16, u16), text: &str) -> Failure {
        let enhanced = Some(Enhanced(enhanced.0, enhanced.1, enhanced.2));
        let reply = Reply { code, enhanced, text: text.to_owned().into() };
        Failure { stage, fault: Fault::Reply(reply) }
    }

    fn fault(stage: Stage, fault: Fault) -> Failure {
        Failure { stage, fault }
    }

    #[test]
    fn b05_no_5xx_for_what_is_not_the_mails_fault_and_never_421() {
        for (failure, expected) in [
            (heard(Stage::Rcpt, 550, (5, 1, 1), "no such user"), "550 5.1.1 no such user"),
            // A contrary enhanced code is mended (RFC 2034 §4).
            (heard(Stage::Rcpt, 550, (4, 1, 1), "odd"), "550 5.0.0 odd"),
            (heard(Stage::Rcpt, 450, (4, 2, 1), "busy"), "450 4.2.1 busy"),
            (heard(Stage::Rcpt, 421, (4, 4, 2), "gone"), "451 4.4.2 gone"),
            (heard(Stage::Rcpt, 452, (4, 5, 3), "Too many"), "452 4.5.3 Too many"),
            (heard(Stage::Mail, 535, (5, 7, 3), "no"), "454 4.7.0 no"),
            (heard(Stage::Auth, 535, (5, 7, 3), "no"), "454 4.7.0 no"),
            (heard(Stage::Auth, 454, (4, 7, 1), "later"), "454 4.7.0 later"),
            (heard(Stage::Greeting, 554, (5, 3, 2), "no"), "451 4.0.0 no"),
            (
                heard(Stage::Dot, 554, (5, 2, 0), "SubmissionQuotaExceededException; x"),
                "451 4.0.0 SubmissionQuotaExceededException; x",
            ),
            (
                heard(Stage::Mail, 432, (4, 3, 2), "Concurrent connections limit exceeded"),
                "451 4.3.2 Concurrent connections limit exceeded",
            ),
            (fault(Stage::Mail, Fault::TooLarge { limit: 9 }), "552 5.3.4 the mail is larger"),
            (
                fault(Stage::Body, Fault::Oversize { size: 9, why: "it is signed" }),
                "552 5.3.4 9 octets are too many for one request of Graph, and it goes in no other way: it is signed",
            ),
            (fault(Stage::Mail, Fault::NotOffered("SMTPUTF8")), "550 5.6.7 an address or header"),
            (fault(Stage::Mail, Fault::NotOffered("8BITMIME")), "550 5.6.3 the mail was declared"),
            (fault(Stage::Rcpt, Fault::Closed), "451 4.4.2 RCPT TO: connection closed"),
            (fault(Stage::Rcpt, Fault::Timeout), "451 4.4.2 RCPT TO: no answer in time"),
            (
                fault(Stage::Connect, Fault::Network("10.0.0.1: x".into())),
                "451 4.4.1 the server was",
            ),
            (
                fault(Stage::Tls, Fault::Tls(crate::tls::Distrust::new("expired"))),
                "451 4.4.2 no safe connection to the server: expired",
            ),
            (fault(Stage::Dot, Fault::Closed), "451 4.4.2 the server's answer to the end"),
            (
                fault(Stage::Body, Fault::Local("/secret/path".into())),
                "451 4.3.0 the mail could not",
            ),
        ] {
            let reply = reply(&failure).to_string();
            assert!(reply.starts_with(expected), "{failure:?}: {reply}");
        }
    }

    #[test]
    fn what_waits_is_told_in_the_words_of_its_cause() {
        let cause = |quota| Cause::Account {
            class: Class::Administrator,
            quota,
            meaning: "m".into(),
            remedy: "r".into(),
            words: "535 5.7.3 no".into(),
        };
        for (why, expected) in [
            (Turned::Late, "451 4.7.0 no connection"),
            (Turned::DayIsFull, "451 4.7.0 the recipients"),
            (Turned::Closing, "451 4.3.2 mail of this account"),
            (Turned::Ill(cause(false)), "454 4.7.0 535 5.7.3 no"),
            (Turned::Ill(cause(true)), "451 4.2.0 535 5.7.3 no"),
            (Turned::Ill(Cause::Server { words: "gone".into() }), "451 4.4.1 the server cannot"),
        ] {
            let reply = turned(&why).to_string();
            assert!(reply.starts_with(expected), "{reply}");
        }
    }

    #[test]
    fn b05_foreign_words_are_one_line_of_bounded_length() {
        let text = format!("eins\nzwei\u{7}\u{fffd} {}", "x".repeat(5_000));
        let reply =
            taken(Reply { code: 250, enhanced: Some(Enhanced(5, 0, 0)), text: text.into() });
        assert_eq!(reply.enhanced, Some(Enhanced(2, 0, 0)));
        assert!(reply.text.starts_with("eins zwei \u{fffd} xxx") && reply.text.len() < 500);
        let mut out = bytes::BytesMut::new();
        reply.write(&mut out);
        assert!(out.len() <= 512 && out.is_ascii());
        // 354 bears none (RFC 2034 §4).
        let go = Reply { code: 354, enhanced: Some(Enhanced(2, 0, 0)), text: "go".into() };
        assert_eq!(taken(go).to_string(), "354 go");
    }
}
