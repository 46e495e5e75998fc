//! Properties of whole ways through the library: what is written is read as the same, however it is cut.
//!
//! The tables and the properties of one file stand in that file; here meet two or more. At the end both
//! halves of SMTP speak with each other in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot build its subject has failed")]

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::BTreeSet;
use std::sync::Arc;
use submitd::mail::addressed::{Addressees, Strangers, settle};
use submitd::mail::{Address, BodyKind, Envelope, Id, Notify, Recipient, Ret};
use submitd::secret::Secret;
use submitd::smtp::data::LineEnds;
use submitd::smtp::extension::Extension;
use submitd::smtp::reply::Reader;
use submitd::smtp::sasl::{self, Mechanism};
use submitd::smtp::{Enhanced, Reply, client, sasl_client, server};

/// The pieces of `octets` between these cuts.
fn pieces<'o>(octets: &'o [u8], cuts: &[Index]) -> Vec<&'o [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(octets.len() + 1)).collect();
    at.extend([0, octets.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &octets[pair[0]..pair[1]]).collect()
}

fn cuts() -> impl Strategy<Value = Vec<Index>> {
    proptest::collection::vec(any::<Index>(), 0..12)
}

/// Lines in which dots and line ends stand where they hurt; each ends in CRLF.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => Just(b"\r\n".to_vec()),
        2 => Just(b".".to_vec()),
        1 => Just(b"\r\n.\r\n".to_vec()),
        1 => Just(b"MAIL FROM:<x@y>\r\n".to_vec()),
        4 => proptest::collection::vec(
            any::<u8>().prop_filter("no line end", |octet| !matches!(octet, b'\r' | b'\n')),
            0..12
        ),
    ];
    proptest::collection::vec(word, 0..40).prop_map(|mut words| {
        words.push(b"\r\n".to_vec());
        words.concat()
    })
}

fn address() -> impl Strategy<Value = Address> {
    let local = prop_oneof![
        4 => "[a-zA-Z0-9!#$%&'*+/=?^_`{|}~-]{1,12}(\\.[a-z0-9]{1,6}){0,2}",
        1 => "\"([a-z @<>,;]|\\\\[\"\\\\]){0,12}\"",
        1 => "[a-zäöü]{1,8}",
    ];
    let domain = prop_oneof![
        4 => "[a-z0-9][a-z0-9_-]{0,8}(\\.[a-z]{2,6}){0,3}",
        1 => "\\[(127\\.0\\.0\\.1|IPv6:::1)\\]",
        1 => "bäcker\\.example",
    ];
    (local, proptest::option::weighted(0.9, domain)).prop_map(|(local, domain)| {
        let text = domain.map_or(local.clone(), |domain| format!("{local}@{domain}"));
        Address::parse(&text).unwrap()
    })
}

fn recipient() -> impl Strategy<Value = Recipient> {
    let notify = (any::<bool>(), any::<bool>(), any::<bool>())
        .prop_map(|(success, failure, delay)| Notify { success, failure, delay });
    let orcpt = "rfc822;([!-*,-<>-~]|\\+[0-9A-F]{2}){1,20}";
    (address(), proptest::option::of(notify), proptest::option::of(orcpt))
        .prop_map(|(address, notify, orcpt)| Recipient { address, notify, orcpt })
}

fn envelope() -> impl Strategy<Value = Envelope> {
    let body = proptest::sample::select(vec![
        BodyKind::Undeclared,
        BodyKind::SevenBit,
        BodyKind::EightBitMime,
    ]);
    let ret = proptest::sample::select(vec![None, Some(Ret::Full), Some(Ret::Headers)]);
    (
        proptest::option::weighted(0.9, address()),
        body,
        any::<bool>(),
        ret,
        proptest::option::of("([!-*,-<>-~]|\\+[0-9A-F]{2}){1,30}"),
        proptest::collection::vec(recipient(), 1..5),
    )
        .prop_map(|(sender, body, smtputf8, ret, envid, recipients)| {
            // A client that uses such an address has to say so (RFC 6531 §3.4).
            let addresses = sender.iter().chain(recipients.iter().map(|r| &r.address));
            let smtputf8 = smtputf8 || addresses.into_iter().any(Address::needs_smtputf8);
            Envelope { sender, body, smtputf8, ret, envid, recipients }
        })
}

/// Text of one reply line: no control characters, no blank at its end, no enhanced code at its front.
const REPLY_TEXT: &str = "[a-zA-Z<>@.:;()-]{1,20}( [a-zA-Z0-9<>@.:;()-]{1,20}){0,6}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_reply_is_read_as_it_was_written(
        code in 200..600_u16,
        enhanced in proptest::option::of((any::<u16>(), any::<u16>())),
        lines in proptest::collection::vec(REPLY_TEXT, 1..6),
        cuts in cuts(),
    ) {
        // RFC 2034 §4: of class 2, 4 and 5 only, and the class is the code's.
        let class = (code / 100) as u8;
        let enhanced = enhanced.filter(|_| class != 3).map(|(a, b)| Enhanced(class, a, b));
        let reply = Reply { code, enhanced, text: lines.join("\n").into() };
        let mut wire = BytesMut::new();
        reply.write(&mut wire);
        let mut reader = Reader::new();
        let mut found = Vec::new();
        for mut piece in pieces(&wire, &cuts) {
            found.extend(reader.read(&mut piece).unwrap());
        }
        prop_assert_eq!(found, [reply]);
        prop_assert!(!reader.is_midway());
    }

    #[test]
    fn a_login_is_read_as_it_was_written(user in "[^\\x00-\\x1f\\x7f-\\x9f]{1,40}", password in "[^\\x00]{0,60}", token in "[!-~]{1,200}", port: u16) {
        let answer = sasl::decode(&sasl::encode(&format!("\0{user}\0{password}"))).unwrap();
        let plain = sasl::plain(&answer);
        prop_assert_eq!(plain, Some((user.clone(), Secret::new(password.as_str()))));
        let answer = sasl::decode(&sasl::encode(&user)).unwrap();
        prop_assert_eq!(sasl::user(&answer), Some(user.clone()));
        let answer = sasl::decode(&sasl::encode(&password)).unwrap();
        prop_assert_eq!(sasl::password(&answer), Secret::new(password));

        let token = Secret::new(token);
        let response = sasl_client::xoauth2(&user, &token).unwrap();
        let answer = sasl::decode(response.expose()).unwrap();
        prop_assert_eq!(sasl::xoauth2(&answer), Some((user.clone(), token.clone())));
        let response = sasl_client::oauthbearer(&user, &token, "h.example", port).unwrap();
        let answer = sasl::decode(response.expose()).unwrap();
        prop_assert_eq!(sasl::oauthbearer(&answer), Some((user, token)));
    }

    #[test]
    fn an_envelope_is_read_from_the_queue_as_it_was_written(envelope in envelope()) {
        let json = serde_json::to_string(&envelope).unwrap();
        prop_assert_eq!(serde_json::from_str::<Envelope>(&json).unwrap(), envelope);
    }

    #[test]
    fn an_address_is_read_as_it_was_written(address in address()) {
        prop_assert_eq!(Address::parse(&address.to_string()), Ok(address.clone()));
        let line = format!("TO:<{address}> NOTIFY=NEVER");
        let found = submitd::smtp::command::recipient(&line);
        prop_assert_eq!(found, Ok((address, "NOTIFY=NEVER")));
    }

    #[test]
    fn ids_are_read_as_written_and_sort_by_time(a in 0..(1_u64 << 47), b in 0..(1_u64 << 47), random: (u32, u32)) {
        let at = |millis| std::time::UNIX_EPOCH + std::time::Duration::from_millis(millis);
        let (first, second) = (Id::new(at(a), random.0), Id::new(at(b), random.1));
        prop_assert_eq!(first.to_string().parse(), Ok(first));
        if a != b {
            prop_assert_eq!(first < second, a < b);
        }
    }

    #[test]
    fn chunks_keep_every_octet_of_clean_text(text in body(), cuts in cuts()) {
        let mut ends = LineEnds::default();
        let mut found = Vec::new();
        for piece in pieces(&text, &cuts) {
            found.extend_from_slice(&ends.mend(Bytes::copy_from_slice(piece), false));
        }
        found.extend_from_slice(&ends.mend(Bytes::new(), true));
        prop_assert_eq!(found, text);
        prop_assert!(!ends.has_bare_newline());
    }

    #[test]
    fn what_arrives_is_what_was_sent(
        mails in proptest::collection::vec((envelope(), body()), 1..4),
        to_server in cuts(),
        to_client in cuts(),
        pipelining: bool,
        reject: bool,
    ) {
        let sent: Vec<(Envelope, Vec<u8>)> = mails;
        let (arrived, results) = talk(&sent, &to_server, &to_client, pipelining, reject);
        prop_assert_eq!(arrived, sent.clone());
        let counts: Vec<usize> = sent.iter().map(|(mail, _)| mail.recipients.len()).collect();
        prop_assert_eq!(results, counts);
    }
}

/// An address in any of the ways in which one is written.
fn person() -> impl Strategy<Value = String> {
    let plain = "[a-e]@[x-z]\\.example";
    prop_oneof![
        6 => plain.prop_map(|one| one),
        1 => "[A-E]@[X-Z]\\.EXAMPLE",
        1 => plain.prop_map(|one| one.replacen('@', " @ ", 1)),
        1 => plain.prop_map(|one| format!("\"{}\"@{}", &one[..1], &one[2..])),
    ]
}

/// Address fields as programs write them: names, groups, folds, encoded words, comments; some of them broken.
fn address_field() -> impl Strategy<Value = String> {
    let member = prop_oneof![
        4 => person(),
        2 => person().prop_map(|one| format!("Ann <{one}>")),
        2 => person().prop_map(|one| format!("\"Smith, Bob <{one}>\" <{one}>")),
        1 => person().prop_map(|one| format!("=?utf-8?Q?J=C3=B6rg?= <{one}>")),
        1 => person().prop_map(|one| format!("=?utf-8?B?SsO2cmc=?=\r\n =?utf-8?Q?_Lang?= <{one}>")),
        // Read as words before it is read as a list, this names somebody else.
        1 => (person(), person()).prop_map(|(one, other)| format!("=?utf-8?Q?{}=2C?= <{other}>", one.replace('@', "=40"))),
        1 => person().prop_map(|one| format!("=?utf-8?Q?{}?=", one.replace('@', "=40"))),
        1 => person().prop_map(|one| format!("{one} (in (sales))")),
        1 => (person(), person()).prop_map(|(one, other)| format!("({other}) {one} (<{other}>, {other})")),
        1 => person().prop_map(|one| format!("Ann\r\n\t<{one}\r\n >")),
        1 => (person(), person()).prop_map(|(one, other)| format!("Team: {one}, <{other}>;")),
        1 => (person(), person()).prop_map(|(one, other)| format!("\"A; B\":\r\n {one} (x;),\r\n Ann <{other}>\r\n ;")),
        1 => (person(), person()).prop_map(|(one, other)| format!("A: {one};, B: {other};")),
        1 => (person(), person()).prop_map(|(one, other)| format!("A: B: {one}; , {other};")),
        1 => (person(), person()).prop_map(|(one, other)| format!("<@{other}:{one}>")),
        1 => (person(), person()).prop_map(|(one, other)| format!("{one} <{other}>")),
        1 => Just("undisclosed-recipients:;".to_owned()),
        1 => Just(String::new()),
        1 => "[a-e@<>,:;\"()\\\\ =?]{0,8}",
    ];
    let name = prop_oneof![
        4 => Just("To"),
        1 => Just("to"),
        2 => Just("Cc"),
        1 => Just("BCC"),
        1 => Just("Resent-To"),
        1 => Just("Resent-Cc"),
        1 => Just("resent-bcc"),
        1 => Just("X-To"),
        1 => Just("To "),
        1 => Just("Reply-To"),
    ];
    let members = proptest::collection::vec(member, 0..4);
    (name, members, prop_oneof![Just(", "), Just(",\r\n\t"), Just(",\r\n \r\n "), Just("; ")])
        .prop_map(|(name, members, parting)| format!("{name}: {}\r\n", members.join(parting)))
}

/// Who receives a message, as a server sees it that knows no envelope.
fn receivers(message: &[u8]) -> BTreeSet<String> {
    let parsed = mail_parser::MessageParser::default().parse(message).unwrap();
    let fields = parsed.headers().iter().filter(|field| {
        ["to", "cc", "bcc"].iter().any(|name| field.name.as_str().eq_ignore_ascii_case(name))
    });
    let addresses = fields.filter_map(|field| field.value.as_address());
    let all = addresses.flat_map(|addresses| addresses.iter());
    // Quotes that are not needed name the same mailbox (RFC 5321 §4.1.2).
    let plain = |one: &str| one.to_lowercase().replace('"', "");
    all.filter_map(|one| one.address.as_deref()).map(plain).collect()
}

proptest! {
    #[test]
    fn b24_whoever_receives_a_message_without_an_envelope_is_the_envelope(
        fields in proptest::collection::vec(address_field(), 0..5),
        to in proptest::collection::btree_set("[a-e]@[x-z]\\.example", 1..6),
        // Who receives it in another transaction is no stranger, and does not receive it in this one.
        others in proptest::collection::btree_set("[a-e]@[x-z]\\.example", 0..3),
        rewrite in any::<bool>(),
    ) {
        let people = |all: &BTreeSet<String>| {
            all.iter().map(|one| Recipient::new(Address::parse(one).unwrap())).collect::<Vec<_>>()
        };
        let (now, ever) = (people(&to), people(&to.union(&others).cloned().collect()));
        let header = format!("From: erp@contoso.com\r\n{}Subject: s\r\n", fields.concat());
        let strangers = if rewrite { Strangers::Rewrite } else { Strangers::Refuse };
        let settled = settle(header.as_bytes(), Addressees { now: &now, ever: &ever }, strangers);
        match settled {
            Ok(settled) => {
                let message = [&settled[..], b"\r\nHello\r\n"].concat();
                prop_assert_eq!(receivers(&message), to);
                prop_assert!(settled.starts_with(b"From: erp@contoso.com\r\n"));
            }
            Err(error) => prop_assert!(!rewrite, "{error}: {header:?}"),
        }
    }
}

/// Takes all mail; remembers what came.
#[derive(Default)]
struct Post {
    open: Option<Envelope>,
    body: Vec<u8>,
    arrived: Vec<(Envelope, Vec<u8>)>,
}

impl Post {
    fn take(&mut self, event: server::Event) -> Option<Reply> {
        let ok = Reply::new(250, Enhanced(2, 0, 0), "OK");
        match event {
            server::Event::Authenticate(server::Credentials::Bearer { token, .. }) => {
                assert!(token.matches("token"));
                Some(Reply::new(235, Enhanced(2, 7, 0), "good"))
            }
            server::Event::Mail(server::Mail { sender, size: _, body, smtputf8, ret, envid }) => {
                let recipients = Vec::new();
                self.open = Some(Envelope { sender, body, smtputf8, ret, envid, recipients });
                Some(ok)
            }
            server::Event::Rcpt(recipient) => {
                self.open.as_mut().unwrap().recipients.push(recipient);
                Some(ok)
            }
            server::Event::Data => Some(server::Phrases::OURS.start_input.clone()),
            server::Event::Body(piece) => {
                self.body.extend_from_slice(&piece);
                None
            }
            server::Event::BodyEnd(verdict) => {
                verdict.unwrap();
                let mail = (self.open.take().unwrap(), std::mem::take(&mut self.body));
                self.arrived.push(mail);
                Some(ok)
            }
            server::Event::Hello => None,
            other => panic!("{other:?}"),
        }
    }
}

fn terms(pipelining: bool, reject_bare_newline: bool) -> server::Terms {
    let mut extensions = vec![
        Extension::Size,
        Extension::EightBitMime,
        Extension::SmtpUtf8,
        Extension::Dsn,
        Extension::Auth,
        Extension::StartTls,
    ];
    extensions.extend(pipelining.then_some(Extension::Pipelining));
    server::Terms {
        hostname: "there.example".to_owned(),
        greeting: "ESMTP".to_owned(),
        hello: "hello".to_owned(),
        extensions,
        mechanisms: vec![Mechanism::XOAuth2],
        hello_required: true,
        auth_needs_tls: true,
        auth_required: true,
        tls_required: true,
        bearer_refusal: None,
        max_message_size: 1 << 20,
        max_recipients: 100,
        max_errors: 1,
        max_reply_line: 512,
        reject_bare_newline,
        phrases: server::Phrases::OURS,
    }
}

/// Lets the server do what it can with what it has heard.
fn serve(server: &mut server::Dialogue, post: &mut Post) {
    loop {
        match server.advance() {
            server::Event::NeedInput | server::Event::StartTls => return,
            event => {
                if let Some(answer) = post.take(event) {
                    server.answer(&answer);
                }
            }
        }
    }
}

/// The two halves, each hearing the other's octets in pieces; TLS is only said. What arrived, and the
/// recipients of each mail that the client holds for taken.
fn talk(
    mails: &[(Envelope, Vec<u8>)],
    to_server: &[Index],
    to_client: &[Index],
    pipelining: bool,
    reject: bool,
) -> (Vec<(Envelope, Vec<u8>)>, Vec<usize>) {
    let mut server = server::Dialogue::new(Arc::new(terms(pipelining, reject)), false);
    let token = Secret::new("token");
    let server_name = ("mail.example", 587);
    let login = sasl_client::Login::bearer("erp@contoso.com", &token, server_name, None).unwrap();
    let terms = client::Terms { hostname: "here.example".to_owned(), starttls: true, login };
    let mut client = client::Dialogue::new(terms);
    let mut post = Post::default();
    let mut unsent = mails.iter();
    let mut body: &[u8] = b"";
    let mut results = Vec::new();
    let mut wants_tls = false;
    // A group of mails needs some ten rounds; a hundred are a standstill.
    for _ in 0..100 {
        let said = server.output().split();
        for piece in pieces(&said, to_client) {
            client.feed(piece);
            loop {
                match client.advance() {
                    client::Event::NeedInput => break,
                    client::Event::StartTls => {
                        wants_tls = true;
                        break;
                    }
                    client::Event::Ready => match unsent.next() {
                        Some((envelope, text)) => {
                            body = text;
                            client.send(envelope, text.len() as u64);
                        }
                        None => return (post.arrived, results),
                    },
                    client::Event::Body => {
                        pieces(body, to_server).iter().for_each(|piece| client.body(piece));
                        client.body_end();
                    }
                    client::Event::Commit => client.dot(),
                    client::Event::Finished(all) => {
                        results.push(all.iter().filter(|result| result.is_ok()).count());
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        let said = client.output().split();
        for piece in pieces(&said, to_server) {
            server.feed(piece);
            serve(&mut server, &mut post);
        }
        if wants_tls && server.output().is_empty() {
            wants_tls = false;
            server.tls_started();
            client.tls_started();
            // The client's EHLO lies in its output: one more round brings it over.
            let said = client.output().split();
            server.feed(&said);
            while let server::Event::Hello = server.advance() {}
        }
    }
    panic!("they stand still");
}
