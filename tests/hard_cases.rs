//! docs/hard-cases.md names the tests of every row, and they exist: `BLESS=1` writes them in.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Test functions by the id that their names begin with, `a01` to `b25`.
fn tests() -> BTreeMap<String, BTreeSet<String>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in sources(&root.join("src")).into_iter().chain(sources(&root.join("tests"))) {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let place = file.strip_prefix(root).expect("below the root").display().to_string();
        for line in text.lines() {
            let line = line.trim_start().trim_start_matches("async ");
            let Some(name) = line.strip_prefix("fn ").and_then(|rest| rest.split('(').next())
            else {
                continue;
            };
            // Some rows share a test: `b12_b22_…`.
            for id in name.split('_').take_while(|word| is_id(word)) {
                found.entry(id.to_uppercase()).or_default().insert(format!("`{place}` {name}"));
            }
        }
    }
    found
}

fn is_id(word: &str) -> bool {
    matches!(word.as_bytes(), [b'a' | b'b', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit())
}

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    files
}

/// The document with the tests of each row below its sentence.
fn with_tests(document: &str, tests: &BTreeMap<String, BTreeSet<String>>) -> String {
    let mut out = String::new();
    for line in document.lines().filter(|line| !line.starts_with("  * ")) {
        out.push_str(line);
        out.push('\n');
        let id = line.strip_prefix("* **").and_then(|rest| rest.get(..3)).unwrap_or_default();
        for test in tests.get(id).into_iter().flatten() {
            out.push_str(&format!("  * {test}\n"));
        }
    }
    out
}

#[test]
fn every_hard_case_has_tests_and_the_document_names_them() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/hard-cases.md");
    let document = std::fs::read_to_string(&path).expect("docs/hard-cases.md");
    let tests = tests();
    let rows: BTreeSet<String> = document
        .lines()
        .filter_map(|line| line.strip_prefix("* **")?.get(..3).map(str::to_owned))
        .collect();
    for row in &rows {
        assert!(tests.contains_key(row), "{row} has no test");
    }
    for id in tests.keys() {
        assert!(rows.contains(id), "{id} is tested and has no row");
    }
    let wanted = with_tests(&document, &tests);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &wanted).expect("written");
        return;
    }
    assert!(
        document == wanted,
        "run `BLESS=1 cargo test --test hard_cases` and look at the change"
    );
}

#[test]
fn a_row_without_a_test_and_a_test_without_its_line_are_found() {
    let tests = BTreeMap::from([("A01".to_owned(), BTreeSet::from(["`x` a01_y".to_owned()]))]);
    assert_eq!(with_tests("* **A01** z\n", &tests), "* **A01** z\n  * `x` a01_y\n");
    assert_eq!(
        with_tests("* **A01** z\n  * `x` a01_old\n", &tests),
        "* **A01** z\n  * `x` a01_y\n"
    );
    assert!(is_id("b12") && !is_id("be1") && !is_id("b123"));
}
