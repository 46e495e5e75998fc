//! The fuzz targets over their corpora, on stable and without instruments: what was found once stays a test.
//!
//! The targets are those of `fuzz/`, compiled here once more; `scripts/fuzz` lets them make up octets.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its subject has failed")]

use std::path::{Path, PathBuf};

#[allow(missing_docs, reason = "they are documented where they stand")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn every_target_holds_over_its_corpus() {
    let mut broken = Vec::new();
    for (name, check) in targets::TARGETS {
        let files = corpus(name);
        assert!(files.len() >= 3, "{name} has next to no corpus");
        for file in files {
            let octets = std::fs::read(&file).unwrap();
            if std::panic::catch_unwind(|| check(&octets)).is_err() {
                broken.push(file);
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_target_holds_over_the_beginnings_of_its_corpus() {
    // Cut off anywhere, as connections and files are.
    for (name, check) in targets::TARGETS {
        for file in corpus(name).iter().take(40) {
            let octets = std::fs::read(file).unwrap();
            let step = 1 + octets.len() / 50;
            (0..octets.len()).step_by(step).for_each(|end| check(&octets[..end]));
        }
    }
}

#[test]
fn the_lists_of_targets_agree() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = std::fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let built: Vec<&str> =
        manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/")).collect();
    let names: Vec<String> =
        targets::TARGETS.iter().map(|(name, _)| format!("{name}.rs\"")).collect();
    assert_eq!(built, names);
    for (name, _) in targets::TARGETS {
        assert!(root.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
    }
}
