//! A mail of each program arrives as it was sent.

use crate::support::mails;
use crate::support::programs::{Login, PASSWORD, PROGRAMS, USER};
use crate::support::world::World;

/// A daemon's listener and user for programs that log in.
fn with_user() -> String {
    format!(
        "{}[[user]]\nname = \"{USER}\"\npassword = \"{PASSWORD}\"\naccount = \"erp\"\n",
        World::listener("")
    )
}

#[test]
fn every_program_sends_without_a_password_and_with_plain_and_login() {
    let world = World::new();
    let daemon = world.start(&world.config(&with_user())).run();
    let mut count = 0;
    for program in PROGRAMS {
        for login in [Login::None, Login::Plain, Login::Login] {
            let sent = mails::plain(&format!("{program:?}-{login:?}"));
            let file = world.path().join("mail.eml");
            std::fs::write(&file, &sent).unwrap();
            program.send(daemon.port(), login, &file);
            count += 1;
            let arrived = world.messages(count).pop().unwrap();
            let what = format!("{program:?} {login:?}");
            mails::assert_same(mails::without_our_received(&arrived.raw), &sent, &what);
            assert_eq!(
                arrived.envelope.sender.as_ref().unwrap().as_str(),
                "erp@contoso.com",
                "{what}"
            );
            assert_eq!(arrived.recipients(), ["ann@example.org"], "{what}");
            let protocol = if login == Login::None { "with ESMTP id" } else { "with ESMTPA id" };
            assert!(String::from_utf8_lossy(&arrived.raw).contains(protocol), "{what}");
        }
    }
}

#[test]
fn every_program_s_mail_arrives_byte_for_byte() {
    let world = World::new();
    let daemon = world.daemon();
    let mut count = 0;
    for program in PROGRAMS {
        for (kind, sent) in [
            ("8-bit", mails::eight_bit(&format!("{program:?}-8bit"))),
            ("dots", mails::dots(&format!("{program:?}-dots"))),
            ("25 MB", mails::large(&format!("{program:?}-large"))),
        ] {
            let file = world.path().join("mail.eml");
            std::fs::write(&file, &sent).unwrap();
            program.send(daemon.port(), Login::None, &file);
            count += 1;
            let arrived = world.messages(count).pop().unwrap();
            let what = format!("{program:?} {kind}");
            mails::assert_same(mails::without_our_received(&arrived.raw), &sent, &what);
        }
    }
}
