//! What the queue promises, tried through its own door.

use super::*;
use crate::mail::{Address, BodyKind, Envelope, Recipient};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::SystemTime;

const HOUR: Duration = Duration::from_secs(3600);

fn settings(dir: &Path) -> Settings {
    Settings {
        dir: dir.join("q"),
        max_size: 1 << 40,
        reserve: 0,
        history: 24 * HOUR,
        hold: vec!["h".into()],
    }
}

fn store() -> (tempfile::TempDir, Queue) {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(settings(dir.path())).unwrap();
    (dir, queue)
}

/// A second, uninvited connection.
fn sqlite(dir: &Path) -> Connection {
    Connection::open(dir.join("q/queue.db")).unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir.join("q/body")).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn moment(second: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + second)
}

fn id(number: u32) -> Id {
    Id::new(moment(0), number)
}

fn envelope(recipients: usize) -> Envelope {
    let address = |text: String| Address::parse(&text).unwrap();
    Envelope {
        sender: Some(address("erp@contoso.com".into())),
        body: BodyKind::EightBitMime,
        smtputf8: false,
        ret: None,
        envid: Some("QQ314159".into()),
        recipients: (0..recipients)
            .map(|n| Recipient::new(address(format!("r{n}@example.org"))))
            .collect(),
    }
}

/// Octets that differ everywhere.
fn octets(size: usize) -> Vec<u8> {
    (0..size).map(|n| (n * 31 + n / 251) as u8).collect()
}

async fn submission(queue: &Queue, number: u32, size: usize) -> Submission {
    let mut writer = queue.spool();
    for chunk in octets(size).chunks(10_000) {
        writer.write(chunk).await.unwrap();
    }
    Submission {
        id: id(number),
        account: "a".into(),
        envelope: envelope(2),
        body: writer.finish().await.unwrap(),
        accepted: moment(u64::from(number)),
        is_bounce: false,
    }
}

async fn accept(queue: &Queue, number: u32, size: usize) -> Id {
    let receipt = queue.accept(submission(queue, number, size).await).await.unwrap();
    assert_eq!(receipt.id(), id(number));
    receipt.id()
}

async fn due(queue: &Queue, most: usize) -> Vec<Entry> {
    queue.due("a", moment(1_000_000), most, &[]).await.unwrap()
}

async fn read_whole(queue: &Queue, entry: &Entry) -> Result<Vec<u8>, StoreError> {
    let (got, end) = read_some(queue, entry).await;
    end.map(|()| got)
}

/// What was handed out, and how it ended.
async fn read_some(queue: &Queue, entry: &Entry) -> (Vec<u8>, Result<(), StoreError>) {
    let mut got = Vec::new();
    let mut reader = match queue.body(entry).await {
        Ok(reader) => reader,
        Err(error) => return (got, Err(error)),
    };
    loop {
        match reader.chunk().await {
            Ok(Some(chunk)) => got.extend_from_slice(&chunk),
            Ok(None) => return (got, Ok(())),
            Err(error) => {
                assert!(reader.chunk().await.is_err(), "after an error comes no end");
                return (got, Err(error));
            }
        }
    }
}

#[tokio::test]
async fn a_body_is_read_again_from_any_octet() {
    for size in [1000, body::INLINE, 3 * body::CHUNK + 77 + body::INLINE] {
        let (_dir, queue) = store();
        accept(&queue, 1, size).await;
        let entry = due(&queue, 1).await.remove(0);
        let whole = octets(size);
        let mut reader = queue.body(&entry).await.unwrap();
        // First before all of it was read once, then after.
        for from in [0, 7, size / 2, 0, size - 1, body::CHUNK.min(size), size] {
            reader.again(from as u64);
            let mut got = Vec::new();
            while let Some(chunk) = reader.chunk().await.unwrap() {
                got.extend_from_slice(&chunk);
                if got.len() > size / 3 && from == 7 {
                    break;
                }
            }
            let expected = if from == 7 { &whole[from..from + got.len()] } else { &whole[from..] };
            assert!(got == expected, "{size} from {from}");
        }
    }
}

#[tokio::test]
async fn a_damaged_body_is_not_read_to_its_end_from_any_octet() {
    let (dir, queue) = store();
    let size = 6 * body::CHUNK;
    let id = accept(&queue, 1, size).await;
    let path = dir.path().join("q/body").join(id.as_str());
    let mut damaged = octets(size);
    damaged[10] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    let entry = due(&queue, 1).await.remove(0);
    let mut reader = queue.body(&entry).await.unwrap();
    reader.again((2 * body::CHUNK) as u64);
    let mut got = 0;
    let end = loop {
        match reader.chunk().await {
            Ok(Some(chunk)) => got += chunk.len(),
            Ok(None) => break None,
            Err(error) => break Some(error),
        }
    };
    assert!(end.is_some() && got < 4 * body::CHUNK, "{end:?} after {got}");
}

fn settlement(next: Next) -> Settlement {
    let delivered = RecipientState::Delivered { reply: "250 2.6.0 queued".into() };
    let failed = RecipientState::Failed { reason: "550 5.1.1 no \"such\" user".into() };
    Settlement {
        recipients: vec![delivered, failed],
        next,
        uncertain: false,
        counts: true,
        delay_told: false,
        error: None,
        report: None,
        refund: None,
    }
}

async fn state(queue: &Queue, id: Id) -> Option<State> {
    queue.show(id).await.unwrap().map(|entry| entry.state)
}

/// Waits for what an earlier note to the writer does: work is done in the order it was sent.
async fn settled_down(queue: &Queue) {
    let _ = queue.hold(id(u32::MAX)).await;
}

#[tokio::test]
async fn b01_what_was_accepted_is_there_after_reopening() {
    let (dir, queue) = store();
    for (number, size) in [(1, 0), (2, 10_000), (3, 300_000)] {
        accept(&queue, number, size).await;
    }
    let before = due(&queue, 10).await;
    drop(queue);
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(queue.recovery(), &Recovery::default());
    assert_eq!(queue.used(), 310_000);
    let entries = due(&queue, 10).await;
    assert_eq!(entries, before);
    for (entry, size) in entries.iter().zip([0, 10_000, 300_000]) {
        assert_eq!(entry.envelope, envelope(2));
        assert_eq!(entry.recipients, [RecipientState::Waiting, RecipientState::Waiting]);
        assert_eq!((entry.size, entry.attempts), (size as u64, 0));
        assert!(read_whole(&queue, entry).await.unwrap() == octets(size));
    }
    assert_eq!(entries[1].accepted, moment(2));
}

#[tokio::test]
async fn b01_attempting_becomes_uncertain_at_reopening_and_says_so() {
    let (dir, queue) = store();
    let (sent, waiting) = (accept(&queue, 1, 10).await, accept(&queue, 2, 10).await);
    queue.attempting(sent).await.unwrap();
    assert_eq!(state(&queue, sent).await, Some(State::Attempting));
    assert_eq!(due(&queue, 10).await.len(), 1, "an entry under way is not due");
    drop(queue);
    for expected in [vec![sent.to_string()], vec![]] {
        let queue = Queue::open(settings(dir.path())).unwrap();
        assert_eq!(queue.recovery().uncertain, expected);
        let entries = due(&queue, 10).await;
        let seen: Vec<_> = entries.iter().map(|entry| (entry.id, entry.uncertain)).collect();
        assert_eq!(seen, [(sent, true), (waiting, false)]);
        let error = entries[0].last_error.as_deref().unwrap();
        assert!(error.contains("may have been delivered before"), "{error}");
    }
}

#[tokio::test]
async fn b01_a_mail_whose_fate_is_unknown_again_is_not_sent_by_every_start() {
    let (dir, queue) = store();
    let sent = accept(&queue, 1, 10).await;
    queue.attempting(sent).await.unwrap();
    drop(queue);
    let queue = Queue::open(settings(dir.path())).unwrap();
    let before = SystemTime::now();
    assert!(queue.show(sent).await.unwrap().unwrap().due < before, "the first time at once");
    queue.attempting(sent).await.unwrap();
    drop(queue);
    let queue = Queue::open(settings(dir.path())).unwrap();
    let due = queue.show(sent).await.unwrap().unwrap().due;
    assert!(due > before + Duration::from_secs(299), "{due:?}");
    drop(queue);
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(queue.show(sent).await.unwrap().unwrap().due, due, "a start that finds nothing");
}

#[tokio::test]
async fn b16_mail_that_a_wrong_clock_put_far_ahead_is_found() {
    let (_dir, queue) = store();
    for number in [1, 500, 9_000] {
        accept(&queue, number, 10).await;
    }
    let due = |beyond: Option<u64>, most| {
        let queue = queue.clone();
        async move {
            let beyond = beyond.map(moment);
            let found = queue.look("a", (moment(100), beyond), most, &[], "").await.unwrap();
            found.entries.iter().map(|entry| entry.id).collect::<Vec<_>>()
        }
    };
    assert_eq!(due(None, 10).await, [id(1)]);
    assert_eq!(due(Some(1_000), 10).await, [id(1), id(9_000)]);
    assert_eq!(due(Some(1_000), 1).await, [id(1)], "what is due goes first");
}

#[tokio::test]
async fn b18_a_second_opener_is_refused_and_told_who_holds_it() {
    let (dir, queue) = store();
    let Err(OpenError::InUse { holder, .. }) = Queue::open(settings(dir.path())) else {
        panic!("opened twice");
    };
    assert_eq!(holder, std::process::id().to_string());
    accept(&queue, 1, 10).await;
    drop(queue);
    // What a process that was killed left behind does not matter.
    std::fs::write(dir.path().join("q/lock"), "4711\n").unwrap();
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(due(&queue, 10).await.len(), 1);
}

#[tokio::test]
async fn files_and_directories_are_closed_to_others() {
    let (dir, queue) = store();
    accept(&queue, 1, 300_000).await;
    let mode = |name: &str| {
        std::fs::metadata(dir.path().join("q").join(name)).unwrap().permissions().mode() & 0o777
    };
    let body = format!("body/{}", id(1));
    for name in ["queue.db", "queue.db-wal", "queue.db-shm", "lock", &body] {
        assert_eq!(mode(name), 0o600, "{name}");
    }
    for name in ["", "body"] {
        assert_eq!(mode(name), 0o700, "{name}");
    }
}

#[tokio::test]
async fn bodies_of_256_kb_lie_inside_larger_ones_in_files() {
    let (dir, queue) = store();
    for (number, size) in [(1, body::INLINE - 1), (2, body::INLINE), (3, body::INLINE + 1)] {
        accept(&queue, number, size).await;
    }
    assert_eq!(files(dir.path()), [id(3).to_string()]);
    for entry in due(&queue, 10).await {
        assert!(read_whole(&queue, &entry).await.unwrap() == octets(entry.size as usize));
    }
    queue.settle(id(3), settlement(Next::Done)).await.unwrap();
    queue.close().await;
    assert_eq!(files(dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_body_given_up_leaves_nothing() {
    let (dir, queue) = store();
    let mut writer = queue.spool();
    writer.write(&octets(400_000)).await.unwrap();
    assert_eq!(files(dir.path()).len(), 1);
    drop(writer);
    assert_eq!(files(dir.path()), [""; 0]);
    drop(submission(&queue, 1, 400_000).await);
    assert_eq!(files(dir.path()), [""; 0]);
    assert_eq!(due(&queue, 10).await, []);
}

#[tokio::test]
async fn b01_bodies_without_a_row_are_removed_at_start_and_nothing_else() {
    let (dir, queue) = store();
    accept(&queue, 1, 300_000).await;
    accept(&queue, 2, 10).await;
    drop(queue);
    let orphans = [id(7).to_string(), "17-0.part".into(), id(2).to_string()];
    for name in orphans.iter().map(String::as_str).chain(["README"]) {
        std::fs::write(dir.path().join("q/body").join(name), "x").unwrap();
    }
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(queue.recovery().orphans, 3);
    assert_eq!(files(dir.path()), [id(1).to_string(), "README".into()]);
}

#[tokio::test]
async fn b02_a_body_file_that_is_cut_gone_or_changed_is_kept_shown_and_never_sent_whole() {
    for (fault, reopen) in
        [("cut", true), ("cut", false), ("gone", true), ("gone", false), ("flip", false)]
    {
        let (dir, mut queue) = store();
        let hurt = accept(&queue, 1, 300_000).await;
        let sound = accept(&queue, 2, 300_000).await;
        let path = dir.path().join("q/body").join(hurt.as_str());
        let mut content = octets(300_000);
        match fault {
            "cut" => std::fs::write(&path, &content[..299_999]).unwrap(),
            "gone" => std::fs::remove_file(&path).unwrap(),
            _ => {
                content[299_998] ^= 1;
                std::fs::write(&path, &content).unwrap();
            }
        }
        let mut damaged = 0;
        if reopen {
            drop(queue);
            queue = Queue::open(settings(dir.path())).unwrap();
            damaged = 1;
        } else {
            let (got, end) = read_some(&queue, &due(&queue, 1).await[0]).await;
            assert!(end.is_err() && got.len() < 299_998, "{fault}: {}", got.len());
            settled_down(&queue).await;
        }
        assert_eq!(queue.recovery().damaged.len(), damaged, "{fault}");
        let left: Vec<Id> = due(&queue, 10).await.iter().map(|entry| entry.id).collect();
        assert_eq!(left, [sound], "{fault}");
        let shown = queue.show(hurt).await.unwrap().unwrap();
        assert_eq!(shown.state, State::Damaged, "{fault}");
        assert!(shown.last_error.is_some() && path.exists() == (fault != "gone"));
        // A lane that had it in hand does not bring it back.
        let retry = settlement(Next::Retry(moment(5)));
        queue.settle(hurt, retry).await.unwrap();
        assert_eq!(state(&queue, hurt).await, Some(State::Damaged));
        assert_eq!(queue.check().await.unwrap().problems.len(), 1, "{fault}");
    }
}

#[tokio::test]
async fn b02_what_is_changed_in_the_store_itself_is_damage_not_a_crash() {
    for sql in [
        "UPDATE body SET octets = CAST(x'FF' || substr(octets, 2) AS BLOB)",
        "UPDATE body SET octets = substr(octets, 2)",
        "DELETE FROM body",
        "UPDATE mail SET digest = x'00'",
        "UPDATE mail SET envelope = replace(envelope, 'r0', 'r7')",
        "UPDATE mail SET envelope = '{'",
        "UPDATE mail SET envelope = x'ff'",
        "UPDATE mail SET envelope = CAST(x'ff' AS TEXT)",
        "UPDATE mail SET recipients = '[]'",
        "UPDATE mail SET recipients = replace(recipients, 'waiting', 'delivered')",
        "UPDATE mail SET size = -1",
        "UPDATE mail SET size = 'x'",
        "UPDATE mail SET account = x'00'",
        "UPDATE mail SET state = 'lost'",
        "UPDATE mail SET accepted = 'x'",
        "UPDATE mail SET id = 'no id at all'",
        "UPDATE mail SET attempts = 'many'",
    ] {
        let (dir, queue) = store();
        let hurt = accept(&queue, 1, 1000).await;
        drop(queue);
        sqlite(dir.path()).execute_batch(sql).unwrap();
        let queue = Queue::open(settings(dir.path())).unwrap();
        for entry in due(&queue, 10).await {
            assert!(read_whole(&queue, &entry).await.is_err(), "{sql}");
        }
        settled_down(&queue).await;
        assert_eq!(due(&queue, 10).await, [], "{sql}");
        let list = queue.list(Filter::default()).await.unwrap();
        let seen: Vec<_> = list.iter().map(|entry| entry.state).collect();
        assert_eq!(seen, [State::Damaged], "{sql}");
        assert!(list[0].last_error.is_some());
        assert_eq!(queue.check().await.unwrap().problems.len(), 1, "{sql}");
        assert_eq!(queue.counts().await.unwrap().len(), 1, "{sql}");
        // The others go on.
        accept(&queue, 2, 1000).await;
        assert_eq!(due(&queue, 10).await.len(), 1, "{sql}");
        // Ordered to retry, it is looked at again: a row is judged when it is due, a body when read.
        let _ = queue.retry(hurt).await;
        let later = SystemTime::now() + HOUR;
        let again = queue.due("a", later, 10, &[]).await.unwrap();
        let is_mended = sql.contains(" body") || sql.contains("SET state");
        assert_eq!(again.len(), 1 + usize::from(is_mended), "{sql}");
    }
}

#[tokio::test]
async fn b02_a_torn_write_at_the_end_of_the_log_loses_nothing_acknowledged() {
    let (dir, queue) = store();
    for number in 0..20 {
        accept(&queue, number, 5000).await;
    }
    // What the disk holds at this moment, as after a power cut, with half a frame behind it.
    let copy = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("q"), copy.path().join("q"));
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(from.join("queue.db"), to.join("queue.db")).unwrap();
    let mut log = std::fs::read(from.join("queue.db-wal")).unwrap();
    assert!(!log.is_empty());
    log.extend_from_slice(&log.clone()[32..32 + 3000]);
    std::fs::write(to.join("queue.db-wal"), log).unwrap();
    let queue = Queue::open(settings(copy.path())).unwrap();
    assert_eq!(due(&queue, 100).await.len(), 20);
    assert_eq!(queue.check().await.unwrap().problems, []);
}

#[tokio::test]
async fn a_newer_store_and_a_foreign_file_are_refused_untouched() {
    let (dir, queue) = store();
    accept(&queue, 1, 10).await;
    drop(queue);
    let file = dir.path().join("q/queue.db");
    for (sql, newer) in [("PRAGMA user_version = 4", true), ("PRAGMA application_id = 7", false)] {
        sqlite(dir.path()).execute_batch(sql).unwrap();
        let before = std::fs::read(&file).unwrap();
        for _ in 0..2 {
            let error = Queue::open(settings(dir.path())).unwrap_err();
            let is_newer = matches!(error, OpenError::Newer { found: 4, known: 3, .. });
            assert_eq!(is_newer, newer, "{error}");
            assert!(open_read_only(&dir.path().join("q")).is_err());
        }
        assert!(std::fs::read(&file).unwrap() == before);
    }
    std::fs::write(&file, "no database at all, but long enough to be taken for one").unwrap();
    assert!(matches!(Queue::open(settings(dir.path())), Err(OpenError::Failed { .. })));
    assert!(std::fs::read(&file).unwrap().starts_with(b"no database"));
}

/// What schema 1 did not have is taken away again.
const OLDER: &str = "DROP INDEX mail_turn; ALTER TABLE mail DROP COLUMN sender; DROP TABLE spent; \
     DROP TABLE detour; PRAGMA user_version = 1";

#[tokio::test]
async fn an_older_store_is_brought_up_with_all_its_mail_damaged_rows_too() {
    let (dir, queue) = store();
    for number in 0..3 {
        let mut mail = submission(&queue, number, 10).await;
        mail.envelope.sender =
            [None, Address::parse("ERP@contoso.com").ok(), None][number as usize].take();
        queue.accept(mail).await.unwrap();
    }
    drop(queue);
    let conn = sqlite(dir.path());
    conn.execute_batch(OLDER).unwrap();
    let sql = "UPDATE mail SET envelope = 'no JSON' WHERE id = ?1";
    assert_eq!(conn.execute(sql, [id(2).as_str()]).unwrap(), 1);
    drop(conn);
    // Whoever only reads leaves it as it is.
    let view = open_read_only(&dir.path().join("q")).unwrap();
    assert_eq!(view.list(&Filter::default()).unwrap().len(), 3);
    drop(view);
    for _ in 0..2 {
        let queue = Queue::open(settings(dir.path())).unwrap();
        let entries = queue.list(Filter::default()).await.unwrap();
        let states: Vec<State> = entries.iter().map(|entry| entry.state).collect();
        assert_eq!(states, [State::Queued, State::Queued, State::Damaged]);
        queue.attempting_charged(id(0), Some(charge("erp", 2, 0))).await.unwrap();
        assert_eq!(queue.check().await.unwrap().problems.len(), 1);
        queue.close().await;
    }
    let conn = sqlite(dir.path());
    let mut select = conn.prepare("SELECT sender FROM mail ORDER BY id").unwrap();
    let senders: Vec<String> =
        select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(senders, ["<>", "erp@contoso.com", "<>"]);
}

#[tokio::test]
async fn b24_a_detour_survives_until_its_end_is_noted() {
    let (dir, queue) = store();
    let detour = |account: &str, again| Detour {
        account: account.into(),
        since: moment(40),
        again: moment(again),
    };
    queue.note_detour(detour("erp", 50)).await.unwrap();
    queue.note_detour(detour("lms", 50)).await.unwrap();
    queue.note_detour(detour("erp", 90)).await.unwrap();
    assert_eq!(queue.detours(), [], "as it stood when the store was opened");
    queue.end_detour("lms").await.unwrap();
    queue.end_detour("nobody").await.unwrap();
    queue.close().await;
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(queue.detours(), [detour("erp", 90)]);
}

#[tokio::test]
async fn a_body_that_is_laid_aside_is_read_twice_and_leaves_nothing() {
    let (dir, queue) = store();
    let files = || std::fs::read_dir(dir.path().join("q/body")).unwrap().count();
    for size in [0, 10, 256 * 1024, 256 * 1024 + 1, 3_000_000] {
        let octets: Vec<u8> = (0..size).map(|number| (number % 251) as u8).collect();
        let mut writer = queue.spool();
        for piece in octets.chunks(10_000) {
            writer.write(piece).await.unwrap();
        }
        let aside = writer.lay_aside().await.unwrap();
        assert_eq!((aside.size(), files()), (size as u64, usize::from(size > body::INLINE)));
        for _ in 0..2 {
            let mut reader = aside.reader().await.unwrap();
            let mut read = Vec::new();
            while let Some(chunk) = reader.chunk().await.unwrap() {
                read.extend_from_slice(&chunk);
            }
            assert!(read == octets, "{size}");
        }
        drop(aside);
        assert_eq!(files(), 0, "{size}");
    }
    assert_eq!(queue.used(), 0);
}

fn charge(lane: &str, recipients: u32, minute: u64) -> Charge {
    Charge { lane: lane.into(), recipients, at: moment(40 + minute * 60) }
}

#[tokio::test]
async fn b21_what_a_lane_used_of_its_day_is_counted_with_the_mark_and_survives() {
    let (dir, queue) = store();
    for number in 0..3 {
        accept(&queue, number, 10).await;
    }
    for (number, charge) in
        [(0, charge("one", 5, 0)), (1, charge("two", 7, 0)), (2, charge("one", 2, 3))]
    {
        queue.attempting_charged(id(number), Some(charge)).await.unwrap();
    }
    // What is not marked is not counted: it was not sent.
    assert!(queue.attempting_charged(id(9), Some(charge("one", 100, 3))).await.is_err());
    // Two of the five were refused.
    let refund = Some(charge("one", 2, 0));
    let done = Settlement { refund, ..settlement(Next::Done) };
    queue.settle(id(0), done).await.unwrap();
    // As after kill -9: the other two are of unknown fate, and stay counted.
    queue.close().await;
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(queue.recovery().uncertain.len(), 2);
    let spent = queue.spent("one").await.unwrap();
    assert_eq!(spent, [charge("one", 3, 0), charge("one", 2, 3)]);
    assert_eq!(queue.spent("two").await.unwrap(), [charge("two", 7, 0)]);
    assert_eq!(queue.spent("three").await.unwrap(), []);
    // Mail that passes by the queue.
    queue.charge(charge("three", 4, 1)).await.unwrap();
    queue.refund(charge("three", 1, 1)).await.unwrap();
    queue.refund(charge("three", 9, 2)).await.unwrap();
    assert_eq!(queue.spent("three").await.unwrap(), [charge("three", 3, 1)]);
    // Two days later none of it is kept; the day before, all.
    let ledger = sqlite(dir.path());
    tally::prune(&ledger, moment(2 * 86_400)).unwrap();
    assert_eq!(tally::read(&ledger, "one").unwrap().len(), 2);
    tally::prune(&ledger, moment(2 * 86_400 + 300)).unwrap();
    assert_eq!(tally::read(&ledger, "one").unwrap(), []);
}

/// Mails as accept writes them, in one transaction; `due` in seconds.
fn fill(dir: &Path, mails: impl Iterator<Item = (u32, String, u64)>) {
    let conn = sqlite(dir);
    conn.execute_batch("PRAGMA synchronous = OFF; BEGIN").unwrap();
    let states = serde_json::to_string(&[RecipientState::Waiting]).unwrap();
    let digest = row::digest(b"x");
    let mut body = conn.prepare("INSERT INTO body VALUES (?1, x'78')").unwrap();
    let mut mail = conn
        .prepare(
            "INSERT INTO mail (id, account, state, accepted, due, size, digest, envelope, seal, \
             recipients, recipients_seal, inline, sender) \
             VALUES (?1, 'a', 'queued', 0, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )
        .unwrap();
    for (number, sender, due) in mails {
        let key = id(number).to_string();
        let sender = Address::parse(&sender).unwrap();
        let envelope = Envelope { sender: Some(sender.clone()), ..envelope(1) };
        let text = serde_json::to_string(&envelope).unwrap();
        let seal = row::seal_of_mail(&key, "a", 0, 1, &digest, &text);
        let states_seal = row::seal_of_recipients(&key, &states);
        body.execute([number]).unwrap();
        let due = row::millis(moment(due));
        let sender = turn::key(Some(&sender));
        mail.execute(rusqlite::params![
            key,
            due,
            digest,
            text,
            seal,
            states,
            states_seal,
            number,
            sender
        ])
        .unwrap();
    }
    drop((body, mail));
    conn.execute_batch("COMMIT").unwrap();
}

/// Takes mails as a lane does, one after the other, and gives their senders.
async fn taken(queue: &Queue, most: usize, rounds: usize) -> Vec<(String, Id)> {
    let (mut last, mut all) = (String::new(), Vec::new());
    for _ in 0..rounds {
        let skip: Vec<Id> = all.iter().map(|(_, id)| *id).collect();
        let skip = &skip[skip.len().saturating_sub(3)..];
        let now = (moment(1_000), None);
        for entry in queue.look("a", now, most, skip, &last).await.unwrap().entries {
            last = entry.turn();
            all.push((last.clone(), entry.id));
            queue.hold(entry.id).await.unwrap();
        }
    }
    all
}

#[tokio::test]
async fn b22_a_sender_with_five_thousand_mails_holds_up_no_other() {
    let (dir, queue) = store();
    drop(queue);
    // The small ones came last.
    let large = (0..5_000).map(|n| (n, "bulk@contoso.com".to_owned(), u64::from(n) / 10));
    let small = (5_000..5_010).map(|n| (n, "desk@contoso.com".to_owned(), 600 + u64::from(n % 10)));
    let one = std::iter::once((5_010, "alarm@contoso.com".to_owned(), 700));
    fill(dir.path(), large.chain(small).chain(one));
    let queue = Queue::open(settings(dir.path())).unwrap();
    for most in [1, 3] {
        let taken = taken(&queue, most, 12).await;
        let of = |sender: &str| -> Vec<Id> {
            taken.iter().filter(|(from, _)| from == sender).map(|(_, id)| *id).collect()
        };
        let small: Vec<Id> = of("desk@contoso.com");
        assert!(small.len() >= 5, "{most}: {taken:?}");
        assert!(small.is_sorted() && of("bulk@contoso.com").is_sorted(), "FIFO within a sender");
        if most == 1 {
            assert_eq!(of("alarm@contoso.com"), [id(5_010)]);
            let first = taken.iter().position(|(from, _)| from == "alarm@contoso.com");
            assert!(first < Some(3), "{taken:?}");
        }
    }
}

#[tokio::test]
async fn b17_fair_order_among_a_hundred_thousand_looks_at_few() {
    let (dir, queue) = store();
    drop(queue);
    let bulk = (0..350).map(|n| (n, "bulk@contoso.com".to_owned(), 1));
    let desk = (350..352).map(|n| (n, "zz@contoso.com".to_owned(), 2));
    fill(dir.path(), bulk.chain(desk));
    // Thirty thousand senders of one mail each wait for tomorrow, and the bulk is seventy thousand. Nobody
    // gets to read these rows, so they hold nothing.
    let more = |sender: &str, due: u64, count: u32| {
        let sql = format!(
            "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {count}) \
             INSERT INTO mail (id, account, state, accepted, due, size, digest, envelope, seal, \
             recipients, recipients_seal, inline, sender) \
             SELECT '{due}-' || x, 'a', 'queued', 0, {due}, 1, x'00', '', 0, '', 0, 0, {sender} FROM n"
        );
        sqlite(dir.path()).execute_batch(&sql).unwrap();
    };
    more("'s' || x || '@contoso.com'", 1_800_000_000_000, 30_000);
    more("'bulk@contoso.com'", 1_700_000_900_000, 70_000);
    let queue = Queue::open(settings(dir.path())).unwrap();
    let begin = std::time::Instant::now();
    let taken = taken(&queue, 3, 100).await;
    println!("100 looks of 3 among 100,000: {:?}", begin.elapsed());
    assert_eq!(taken.len(), 300, "what is due is found though most senders wait");
    let desks = taken.iter().filter(|(sender, _)| sender == "zz@contoso.com").count();
    assert_eq!(desks, 2, "a look goes on where the last one gave up");
    let conn = sqlite(dir.path());
    let plan: String = conn
        .query_row(
            "EXPLAIN QUERY PLAN SELECT sender, due FROM mail WHERE account = 'a' AND state = 'queued' \
             AND sender > 'b' ORDER BY sender, due LIMIT 1",
            [],
            |row| row.get(3),
        )
        .unwrap();
    assert!(plan.contains("USING COVERING INDEX mail_turn (account=? AND sender>?)"), "{plan}");
}

#[tokio::test]
async fn b02_a_damaged_turn_or_time_stops_no_lane() {
    let (dir, queue) = store();
    for number in 0..4 {
        accept(&queue, number, 10).await;
    }
    let conn = sqlite(dir.path());
    for (number, change) in [(0, "sender = x'ff00'"), (1, "due = x'31'"), (2, "account = x'61'")] {
        let sql = format!("UPDATE mail SET {change} WHERE id = ?1");
        assert_eq!(conn.execute(&sql, [id(number).as_str()]).unwrap(), 1);
    }
    let now = (moment(1_000), None);
    for most in [1, 10] {
        let found = queue.look("a", now, most, &[], "").await.unwrap().entries;
        assert!(!found.is_empty(), "{most}");
    }
    assert!(queue.next_due("a", &[id(0), id(3)]).await.is_ok());
    assert_eq!(queue.list(Filter::default()).await.unwrap().len(), 4, "all are shown");
}

#[tokio::test]
async fn b17_ten_thousand_open_and_come_in_order_page_by_page() {
    let (dir, queue) = store();
    drop(queue);
    // Rows as accept writes them, due in the reverse order of their ids.
    let conn = sqlite(dir.path());
    conn.execute_batch("BEGIN").unwrap();
    let envelope = serde_json::to_string(&envelope(1)).unwrap();
    let states = serde_json::to_string(&[RecipientState::Waiting]).unwrap();
    let digest = row::digest(b"x");
    for number in 0..10_000_u32 {
        let key = id(number).to_string();
        let seal = row::seal_of_mail(&key, "a", 0, 1, &digest, &envelope);
        conn.execute("INSERT INTO body VALUES (?1, x'78')", [number]).unwrap();
        conn.execute(
            "INSERT INTO mail (id, account, state, accepted, due, size, digest, envelope, seal, \
             recipients, recipients_seal, inline) \
             VALUES (?1, 'a', 'queued', 0, ?2, 1, ?3, ?4, ?5, ?6, ?7, ?8)",
            rusqlite::params![
                key,
                20_000 - number,
                digest,
                envelope,
                seal,
                states,
                row::seal_of_recipients(&key, &states),
                number
            ],
        )
        .unwrap();
    }
    conn.execute_batch("COMMIT").unwrap();
    drop(conn);
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(queue.used(), 10_000);
    let first = due(&queue, 3).await;
    let ids: Vec<Id> = first.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [id(9999), id(9998), id(9997)]);
    let next = queue.due("a", moment(0), 2, &ids).await.unwrap();
    assert_eq!([next[0].id, next[1].id], [id(9996), id(9995)]);
    let soonest = queue.next_due("a", &ids[..1]).await.unwrap();
    assert_eq!(soonest, Some(first[1].due));
    let counts = queue.counts().await.unwrap();
    assert_eq!((counts.len(), counts[0].mails, counts[0].octets), (1, 10_000, 10_000));
}

#[tokio::test]
async fn due_is_ordered_by_time_then_id_and_knows_its_account() {
    let (_dir, queue) = store();
    for number in [3, 1, 2] {
        let mut mail = submission(&queue, number, 10).await;
        mail.accepted = moment(if number == 1 { 50 } else { 40 });
        queue.accept(mail).await.unwrap();
    }
    let mut other = submission(&queue, 4, 10).await;
    other.account = "b".into();
    queue.accept(other).await.unwrap();
    let ids: Vec<Id> = due(&queue, 10).await.iter().map(|entry| entry.id).collect();
    assert_eq!(ids, [id(2), id(3), id(1)]);
    assert_eq!(queue.due("a", moment(39), 10, &[]).await.unwrap(), []);
    assert_eq!(queue.due("a", moment(40), 10, &[]).await.unwrap().len(), 2);
    assert_eq!(queue.next_due("a", &[]).await.unwrap(), Some(moment(40)));
    assert_eq!(queue.next_due("nobody", &[]).await.unwrap(), None);
    assert_eq!(queue.next_due("a", &[id(2), id(3)]).await.unwrap(), Some(moment(50)));
    assert_eq!(queue.next_due("a", &[id(1), id(2), id(3)]).await.unwrap(), None);
}

#[tokio::test]
async fn a_settled_mail_leaves_and_is_listed() {
    let (dir, queue) = store();
    let (small, large) = (accept(&queue, 1, 10).await, accept(&queue, 2, 300_000).await);
    for id in [small, large] {
        queue.attempting(id).await.unwrap();
        let done = Settlement { uncertain: id == large, ..settlement(Next::Done) };
        queue.settle(id, done).await.unwrap();
    }
    assert_eq!(queue.used(), 0);
    assert_eq!(queue.list(Filter::default()).await.unwrap(), []);
    let history = queue.history(Some("a"), 10).await.unwrap();
    let ids: Vec<_> = history.iter().map(|settled| (settled.id, settled.uncertain)).collect();
    assert_eq!(ids, [(large, true), (small, false)], "the latest first");
    let first = &history[1];
    assert_eq!((first.attempts, first.size, first.removed), (1, 10, false));
    assert_eq!(first.sender, envelope(0).sender);
    assert_eq!(first.recipients[1].0.as_str(), "r1@example.org");
    assert!(
        matches!(&first.recipients[1].1, RecipientState::Failed { reason } if reason.contains("5.1.1"))
    );
    assert_eq!(queue.history(Some("b"), 10).await.unwrap(), []);
    queue.close().await;
    assert_eq!(files(dir.path()), [""; 0]);
    let left: i64 =
        sqlite(dir.path()).query_row("SELECT count(*) FROM body", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_retry_keeps_what_was_learnt() {
    let (_dir, queue) = store();
    let mail = accept(&queue, 1, 10).await;
    queue.attempting(mail).await.unwrap();
    let retry = Settlement {
        uncertain: true,
        delay_told: true,
        error: Some("451 busy".into()),
        ..settlement(Next::Retry(moment(700)))
    };
    queue.settle(mail, retry).await.unwrap();
    assert_eq!(queue.next_due("a", &[]).await.unwrap(), Some(moment(700)));
    queue.attempting(mail).await.unwrap();
    let broken_account = Settlement { counts: false, ..settlement(Next::Retry(moment(800))) };
    queue.settle(mail, broken_account).await.unwrap();
    let entry = queue.show(mail).await.unwrap().unwrap();
    assert_eq!((entry.attempts, entry.state, entry.due), (1, State::Queued, moment(800)));
    assert!(entry.uncertain && entry.delay_told);
    assert_eq!(entry.last_error.as_deref(), Some("451 busy"));
    assert_eq!(entry.recipients, settlement(Next::Done).recipients);
    assert_eq!(entry.accepted, moment(1));
    for (next, state) in [(Next::Hold, State::Held), (Next::Failed, State::Failed)] {
        queue.settle(mail, settlement(next)).await.unwrap();
        let entry = queue.show(mail).await.unwrap().unwrap();
        assert_eq!(entry.state, state);
    }
    assert_eq!(due(&queue, 10).await, []);
}

#[tokio::test]
async fn a_report_is_queued_with_the_settlement_or_not_at_all() {
    for size in [500, 300_000] {
        let (dir, queue) = store();
        let mail = accept(&queue, 1, 10).await;
        let commits = queue.commits();
        let mut report = submission(&queue, 2, size).await;
        report.is_bounce = true;
        let done = Settlement { report: Some(report), ..settlement(Next::Done) };
        queue.settle(mail, done).await.unwrap();
        assert_eq!(queue.commits(), commits + 1);
        let entries = due(&queue, 10).await;
        assert_eq!((entries.len(), entries[0].id, entries[0].is_bounce), (1, id(2), true));
        assert!(read_whole(&queue, &entries[0]).await.unwrap() == octets(size));

        // The report's id is taken: neither it nor the settlement is noted.
        let mail = accept(&queue, 3, 10).await;
        let twin =
            Settlement { report: Some(submission(&queue, 2, 20).await), ..settlement(Next::Done) };
        assert!(queue.settle(mail, twin).await.is_err());
        assert_eq!(state(&queue, mail).await, Some(State::Queued));
        assert!(read_whole(&queue, &entries[0]).await.unwrap() == octets(size));
        assert_eq!(files(dir.path()).len(), usize::from(size > body::INLINE));
    }
}

#[tokio::test]
async fn an_id_that_is_taken_harms_neither_mail_nor_neighbours() {
    let (_dir, queue) = store();
    for size in [10, 300_000] {
        let number = size as u32;
        let first = accept(&queue, number, size).await;
        let twin = submission(&queue, number, 300_001).await;
        let (good, bad) =
            tokio::join!(queue.accept(submission(&queue, number + 1, 7).await), queue.accept(twin));
        assert!(good.is_ok() && matches!(bad, Err(AcceptError::Store(_))));
        let entry = queue.show(first).await.unwrap().unwrap();
        assert!(read_whole(&queue, &entry).await.unwrap() == octets(size));
    }
}

#[tokio::test]
async fn b03_full_at_max_size_and_room_again_after_settling() {
    let dir = tempfile::tempdir().unwrap();
    let queue = Queue::open(Settings { max_size: 1_000_000, ..settings(dir.path()) }).unwrap();
    accept(&queue, 1, 600_000).await;
    assert!(queue.has_room(400_000).is_ok());
    let Err(AcceptError::Full(why)) = queue.has_room(400_001) else { panic!("no bound") };
    assert!(why.contains("max_size"), "{why}");
    for size in [400_001, 200_000] {
        let refused = queue.accept(submission(&queue, 2, size).await).await;
        let fits = size == 200_000;
        assert_eq!(refused.is_ok(), fits);
        assert!(fits || matches!(refused, Err(AcceptError::Full(_))));
    }
    assert_eq!(files(dir.path()), [id(1).to_string()], "a refused body leaves nothing");
    // Settling works when it is full, with a report too.
    let report = submission(&queue, 3, 500_000).await;
    let failed = Settlement { report: Some(report), ..settlement(Next::Failed) };
    queue.settle(id(2), failed).await.unwrap();
    assert_eq!(queue.used(), 1_300_000);
    queue.settle(id(1), settlement(Next::Done)).await.unwrap();
    assert!(queue.has_room(300_000).is_ok());
    accept(&queue, 4, 300_000).await;
}

#[tokio::test]
async fn b03_below_the_reserve_nothing_is_taken_but_what_is_there_is_settled() {
    let (dir, queue) = store();
    accept(&queue, 1, 10).await;
    drop(queue);
    let queue = Queue::open(Settings { reserve: u64::MAX, ..settings(dir.path()) }).unwrap();
    assert!(matches!(queue.has_room(0), Err(AcceptError::Full(why)) if why.contains("reserve")));
    let refused = queue.accept(submission(&queue, 2, 10).await).await;
    assert!(matches!(refused, Err(AcceptError::Full(_))));
    queue.attempting(id(1)).await.unwrap();
    queue.settle(id(1), settlement(Next::Done)).await.unwrap();
}

#[tokio::test]
async fn many_at_once_share_commits() {
    let (_dir, queue) = store();
    let before = queue.commits();
    let mut mails = Vec::new();
    for number in 0..300 {
        mails.push(submission(&queue, number, 100).await);
    }
    let tasks: Vec<_> = mails
        .into_iter()
        .map(|mail| {
            let queue = queue.clone();
            tokio::spawn(async move { queue.accept(mail).await.unwrap().id() })
        })
        .collect();
    let mut ids = BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids.len(), 300);
    let commits = queue.commits() - before;
    assert!(commits < 150, "{commits} commits for 300 mails");
    assert_eq!(due(&queue, 1000).await.len(), 300);
}

#[tokio::test]
async fn orders_of_a_person() {
    let (_dir, queue) = store();
    let mail = accept(&queue, 1, 10).await;
    queue.hold(mail).await.unwrap();
    assert_eq!(due(&queue, 10).await, []);
    assert!(queue.attempting(mail).await.is_err(), "held while a lane had it in hand");
    queue.settle(mail, settlement(Next::Retry(moment(9)))).await.unwrap();
    assert_eq!(state(&queue, mail).await, Some(State::Held), "a lane does not release");
    queue.release(mail).await.unwrap();
    assert!(queue.next_due("a", &[]).await.unwrap().unwrap() <= SystemTime::now());
    queue.attempting(mail).await.unwrap();
    for refused in [queue.hold(mail).await, queue.retry(mail).await, queue.remove(mail).await] {
        assert!(matches!(refused, Err(SteerError::State { state: State::Attempting, .. })));
    }
    queue.settle(mail, settlement(Next::Failed)).await.unwrap();
    queue.retry(mail).await.unwrap();
    let entry = queue.show(mail).await.unwrap().unwrap();
    assert!(matches!(entry.recipients[0], RecipientState::Delivered { .. }));
    assert_eq!(entry.recipients[1], RecipientState::Waiting);
    assert_eq!(entry.state, State::Queued);
    queue.remove(mail).await.unwrap();
    assert!(matches!(queue.remove(mail).await, Err(SteerError::Unknown(_))));
    let history = queue.history(None, 10).await.unwrap();
    assert!(history[0].removed && queue.used() == 0);
    assert!(queue.attempting(mail).await.is_err());
    queue.settle(mail, settlement(Next::Done)).await.unwrap();
    assert_eq!(queue.history(None, 10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn lists_are_filtered_and_go_on() {
    let (_dir, queue) = store();
    for number in 0..6 {
        let mut mail = submission(&queue, number, 10).await;
        mail.account = if number % 2 == 0 { "a" } else { "b" }.into();
        queue.accept(mail).await.unwrap();
    }
    queue.hold(id(2)).await.unwrap();
    let list = |filter: Filter| {
        let queue = queue.clone();
        async move {
            let list = queue.list(filter).await.unwrap();
            list.iter().map(|entry| entry.id).collect::<Vec<_>>()
        }
    };
    let all = Filter::default();
    let account = Some("a".to_owned());
    assert_eq!(list(Filter { most: 2, ..all.clone() }).await, [id(0), id(1)]);
    assert_eq!(
        list(Filter { after: Some(id(3).to_string()), ..all.clone() }).await,
        [id(4), id(5)]
    );
    assert_eq!(
        list(Filter { account: account.clone(), ..all.clone() }).await,
        [id(0), id(2), id(4)]
    );
    let held = Filter { account, state: Some(State::Held), ..all };
    assert_eq!(list(held).await, [id(2)]);
    let counts = queue.counts().await.unwrap();
    let seen: Vec<_> = counts
        .iter()
        .map(|count| (&*count.account, count.state, count.mails, count.oldest))
        .collect();
    assert_eq!(
        seen,
        [
            ("a", State::Held, 1, moment(2)),
            ("a", State::Queued, 2, moment(0)),
            ("b", State::Queued, 3, moment(1)),
        ]
    );
}

#[tokio::test]
async fn changes_wake_the_account_they_belong_to() {
    let (_dir, queue) = store();
    let mail = accept(&queue, 1, 10).await;
    queue.changed("a").await;
    let waiting = tokio::spawn({
        let queue = queue.clone();
        async move { queue.changed("a").await }
    });
    // Not by a settlement: whoever settles knows of it.
    queue.settle(mail, settlement(Next::Retry(moment(3)))).await.unwrap();
    assert!(!waiting.is_finished());
    queue.hold(mail).await.unwrap();
    waiting.await.unwrap();
    queue.release(mail).await.unwrap();
    queue.changed("a").await;
}

#[tokio::test]
async fn a_closed_queue_refuses_and_can_be_opened_again() {
    let (dir, queue) = store();
    let mail = accept(&queue, 1, 10).await;
    let late = submission(&queue, 2, 300_000).await;
    queue.close().await;
    queue.close().await;
    assert!(matches!(queue.accept(late).await, Err(AcceptError::Store(_))));
    assert!(queue.attempting(mail).await.is_err());
    let again = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(due(&again, 10).await.len(), 1);
    assert_eq!(files(dir.path()), [""; 0]);
}

#[tokio::test]
async fn a_view_reads_beside_the_daemon_and_without_it() {
    let (dir, queue) = store();
    let place = dir.path().join("q");
    assert!(open_read_only(dir.path()).is_err());
    let (small, large) = (accept(&queue, 1, 10).await, accept(&queue, 2, 300_000).await);
    for running in [true, false] {
        let view = open_read_only(&place).unwrap();
        assert_eq!(view.list(&Filter::default()).unwrap().len(), 2, "{running}");
        assert_eq!(view.whole_body(small).unwrap(), octets(10));
        assert!(view.whole_body(large).unwrap() == octets(300_000));
        assert!(view.whole_body(id(9)).is_err());
        let findings = view.check().unwrap();
        assert_eq!((findings.mails, findings.octets), (2, 300_010));
        assert_eq!(findings.problems, []);
        queue.close().await;
    }
    Queue::open(settings(dir.path())).unwrap();
}

#[tokio::test]
async fn old_history_is_dropped() {
    let (dir, queue) = store();
    for number in 0..3 {
        accept(&queue, number, 10).await;
        queue.settle(id(number), settlement(Next::Done)).await.unwrap();
    }
    drop(queue);
    let conn = sqlite(dir.path());
    conn.execute("UPDATE history SET settled = 1000 WHERE key < 3", []).unwrap();
    let ledger = work::Ledger { conn, next_key: 1, used: 0 };
    ledger.prune(moment(0), moment(0)).unwrap();
    let left: Vec<Id> = open_read_only(&dir.path().join("q"))
        .unwrap()
        .history(None, 9)
        .unwrap()
        .iter()
        .map(|s| s.id)
        .collect();
    assert_eq!(left, [id(2)]);
    ledger.prune(SystemTime::now() + HOUR, moment(0)).unwrap();
    assert_eq!(open_read_only(&dir.path().join("q")).unwrap().history(None, 9).unwrap(), []);
}

#[tokio::test]
async fn a_history_that_is_young_is_bounded_by_number() {
    let (dir, queue) = store();
    drop(queue);
    let conn = sqlite(dir.path());
    conn.execute_batch(
        "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 101500) \
         INSERT INTO history SELECT x, 'i', 'a', '', '', 0, 1700000000000, 1, 1, 0, 0, 0 FROM n",
    )
    .unwrap();
    let ledger = work::Ledger { conn, next_key: 1, used: 0 };
    let range = |sql| ledger.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    for oldest in [1_001, 1_501, 1_501] {
        ledger.prune(moment(0), moment(0)).unwrap();
        assert_eq!(range("SELECT min(key) FROM history"), oldest, "a thousand at once");
    }
    assert_eq!(range("SELECT count(*) FROM history"), 100_000);
}

#[tokio::test]
async fn b03_a_store_that_was_taken_away_marks_nothing_and_goes_on_when_it_is_back() {
    let (dir, queue) = store();
    let mail = accept(&queue, 1, 10).await;
    let (place, away) = (dir.path().join("q"), dir.path().join("away"));
    std::fs::rename(&place, &away).unwrap();
    queue.shared().room.look_again();
    assert!(queue.attempting(mail).await.is_err());
    assert!(matches!(queue.has_room(1), Err(AcceptError::Full(_))));
    std::fs::rename(&away, &place).unwrap();
    queue.shared().room.look_again();
    queue.attempting(mail).await.unwrap();
    assert!(queue.has_room(1).is_ok());
}

#[tokio::test]
async fn a_fresh_body_is_not_read_from_the_store_until_it_is_settled() {
    let (dir, queue) = store();
    let mail = accept(&queue, 1, 1000).await;
    let entry = due(&queue, 1).await.remove(0);
    sqlite(dir.path()).execute("UPDATE body SET octets = x'00'", []).unwrap();
    assert!(read_whole(&queue, &entry).await.unwrap() == octets(1000));
    queue.settle(mail, settlement(Next::Retry(moment(2)))).await.unwrap();
    assert!(read_whole(&queue, &entry).await.is_err());
}

#[tokio::test]
async fn a_writer_that_breaks_off_is_told_at_once_and_loses_nothing_it_answered() {
    let (dir, queue) = store();
    accept(&queue, 1, 10).await;
    let (ended, hurt) = tokio::join!(queue.ended(), queue.inner.store.perform(work::Work::Break));
    assert!((ended, hurt.is_err()) == ((), true));
    assert!(queue.accept(submission(&queue, 2, 10).await).await.is_err());
    queue.close().await;
    drop(queue);
    let queue = Queue::open(settings(dir.path())).unwrap();
    assert_eq!(due(&queue, 9).await.len(), 1);
    assert!(queue.alive().elapsed() < HOUR);
}
