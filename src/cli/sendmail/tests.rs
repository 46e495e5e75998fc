//! Decisions of `sendmail` that need no daemon: whom it goes to, from whom, which exit code.

use super::*;

fn texts(found: Result<Vec<Address>, Failure>) -> Result<Vec<String>, u8> {
    found.map(|all| all.iter().map(ToString::to_string).collect()).map_err(|failure| failure.code)
}

#[test]
fn the_name_it_is_called_by() {
    for (word, expected) in [
        ("/usr/sbin/sendmail", Some(Called::Sendmail)),
        ("sendmail", Some(Called::Sendmail)),
        ("mailq", Some(Called::Mailq)),
        ("/usr/bin/newaliases", Some(Called::Newaliases)),
        ("submitd", None),
        ("", None),
    ] {
        assert_eq!(Called::by(&word.into()), expected, "{word}");
    }
}

#[test]
fn recipients_of_the_header() {
    for (header, expected) in [
        (
            "To: a@x\r\nCc: b@x,\r\n c@x\r\nBcc: d@x\r\nbcc: e@x\r\n",
            &["a@x", "b@x", "c@x", "d@x", "e@x"][..],
        ),
        ("To: a@x\r\nResent-To: b@x\r\nResent-Bcc: c@x\r\n", &["b@x", "c@x"]),
        ("To: undisclosed-recipients:;\r\nBcc: a@x\r\n", &["a@x"]),
        ("To: a@x\r\nTo: a@x\r\n", &["a@x"]),
        ("Subject: To: a@x\r\n", &[]),
    ] {
        let expected: Vec<String> = expected.iter().map(ToString::to_string).collect();
        assert_eq!(texts(written(header.as_bytes())), Ok(expected), "{header:?}");
    }
    assert_eq!(texts(written(b"To: Ann Smith\r\n")), Err(exit::DATA));
}

#[test]
fn recipients_of_the_command_line() {
    let words =
        |line: &[&str]| texts(named(&line.iter().map(ToString::to_string).collect::<Vec<_>>()));
    assert_eq!(
        words(&["a@x", "b@x, Ann <c@x>", "a@x"]),
        Ok(vec!["a@x".into(), "b@x".into(), "c@x".into()])
    );
    assert_eq!(words(&["root"]), Ok(vec!["root".into()]));
    assert_eq!(words(&["-v"]), Err(exit::USAGE));
    assert_eq!(words(&["a b"]), Err(exit::USAGE));
    assert_eq!(words(&["j\u{fffd}@x"]), Err(exit::USAGE));
}

#[test]
fn the_sender() {
    let own: Address = "ann@host".parse().expect("address");
    for (option, expected) in [
        (None, Ok(Some("ann@host"))),
        (Some(""), Ok(None)),
        (Some("<>"), Ok(None)),
        (Some("bob"), Ok(Some("bob@relay.test"))),
        (Some("bob@x"), Ok(Some("bob@x"))),
        (Some("Bob <bob@x>"), Ok(Some("bob@x"))),
        (Some("a@x, b@x"), Err(exit::USAGE)),
        (Some("a b"), Err(exit::USAGE)),
    ] {
        let options = Options { sender: option.map(Into::into), ..Options::default() };
        let found = sender(&options, "relay.test", &own);
        let found = found.map(|sender| sender.map(|address| address.to_string()));
        let expected = expected.map(|sender| sender.map(ToString::to_string));
        assert_eq!(found.map_err(|failure| failure.code), expected, "{option:?}");
    }
}

#[test]
fn what_the_daemon_says_is_an_exit_code() {
    for (reply, code) in [
        ("451 4.3.0 store failed", exit::TEMPORARY),
        ("421 4.3.2 shutting down", exit::TEMPORARY),
        ("452 4.3.1 queue is full", exit::TEMPORARY),
        ("530 5.7.0 authentication required", exit::NO_PERMISSION),
        ("550 5.7.1 sender not allowed", exit::NO_PERMISSION),
        ("552 5.3.4 message too large", exit::DATA),
        ("552 too large", exit::DATA),
        ("550 5.6.11 bare line feed", exit::DATA),
        ("501 5.1.7 bad sender", exit::DATA),
        ("554 5.4.6 mail loop", exit::UNAVAILABLE),
        ("garbage", exit::UNAVAILABLE),
        ("", exit::UNAVAILABLE),
    ] {
        let error = SubmitError::Refused { command: "MAIL".into(), reply: reply.into() };
        assert_eq!(refusal(&error).code, code, "{reply}");
    }
    let broken = SubmitError::Broken(io::ErrorKind::UnexpectedEof.into());
    assert_eq!(refusal(&broken).code, exit::TEMPORARY);
}

#[test]
fn a_refused_recipient_is_told_though_others_got_it() {
    let outcome = |reply: &str, taken: &[&str]| Outcome {
        taken: taken.iter().map(ToString::to_string).collect(),
        refused: vec![("a@x".parse().expect("address"), reply.into())],
    };
    let failure = report(outcome("550 5.1.1 nobody\u{7}", &["2.0.0 queued as 1"]), Ok(()), false);
    let failure = failure.expect_err("told");
    assert_eq!(failure.code, exit::NO_USER);
    assert_eq!(failure.why, "a@x: 550 5.1.1 nobody\\u{7} (it was taken for others)");
    let later = report(outcome("450 4.2.0 later", &[]), Ok(()), false).expect_err("told");
    assert_eq!((later.code, later.why.as_str()), (exit::TEMPORARY, "a@x: 450 4.2.0 later"));
    assert!(report(Outcome::default(), Ok(()), false).is_ok());
}
