//! The largest mail of each program arrives as it was sent.

use crate::support::mails;
use crate::support::programs::{Form, Job, Kind, Login, Program, Way};
use crate::support::world::World;
use std::path::PathBuf;

#[test]
fn a_mail_of_25_mb_arrives_octet_for_octet() {
    let world = World::new();
    let daemon = world.daemon();
    let way = Way { starttls: false, login: Login::None, kind: Kind::Large };
    // All other programs send 10 MB in compatibility.rs.
    let chosen = ["curl", "msmtp", "smtplib (Python)", "swaks"].map(Program::named);
    for (count, program) in chosen.iter().enumerate() {
        assert_eq!(program.form, Form::Given);
        let sent = mails::large("large", 25_000_000);
        let file = world.path().join("mail.eml");
        std::fs::write(&file, &sent).unwrap();
        let job = Job {
            way,
            port: daemon.port(),
            recipients: vec!["ann@example.org"],
            files: vec![file],
            subjects: vec!["large".into()],
            attachment: None,
            authority: PathBuf::new(),
        };
        assert_eq!((program.send)(&[job]), [Ok(())], "{}", program.name);
        let arrived = world.messages(count + 1).pop().unwrap();
        mails::assert_same(mails::without_our_received(&arrived.raw), &sent, program.name);
    }
}
