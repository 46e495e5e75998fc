//! The outside of the project: unit files, container, scripts, and documents that point at each other.
//!
//! What can be read is read here; what must be run as root is in `scripts/test-systemd` and
//! `scripts/test-container`. A program that is missing fails its test and says how to get it: a check that
//! is skipped in silence is none.

#![allow(clippy::unwrap_used, reason = "a test that cannot read its subject has failed")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn run(command: &mut Command) -> Output {
    command.output().unwrap_or_else(|error| {
        panic!("{:?}: {error}; run scripts/install-test-tools", command.get_program())
    })
}

fn said(output: &Output) -> String {
    format!(
        "{}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// The values of a key in a unit file, in order.
fn values<'a>(unit: &'a str, key: &str) -> Vec<&'a str> {
    unit.lines()
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| *name == key)
        .map(|(_, value)| value)
        .collect()
}

/// A directory with the unit files, whose program is there: `verify` wants to see it.
fn installed() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let program = env!("CARGO_BIN_EXE_submitd");
    for name in ["submitd.service", "submitd.socket"] {
        let unit = text(&format!("systemd/{name}"))
            .replace("ExecStart=/usr/bin/submitd ", &format!("ExecStart={program} "));
        std::fs::write(folder.path().join(name), unit).unwrap();
    }
    folder
}

#[test]
fn systemd_understands_every_line() {
    let folder = installed();
    for name in ["submitd.service", "submitd.socket"] {
        let output = run(Command::new("systemd-analyze")
            .args(["verify", "--man=no"])
            .arg(folder.path().join(name)));
        let warnings = String::from_utf8_lossy(&output.stderr);
        // Other units of the machine are loaded with it; their faults are not ours.
        let ours: Vec<_> = warnings.lines().filter(|line| line.contains("submitd")).collect();
        assert!(ours.is_empty() && output.status.success(), "{name}: {}", said(&output));
    }
}

#[test]
fn systemd_finds_a_planted_mistake() {
    let folder = installed();
    let file = folder.path().join("submitd.service");
    let unit = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, unit.replace("ProtectHome=", "ProtectHouse=")).unwrap();
    let output = run(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file));
    assert!(said(&output).contains("ProtectHouse"), "{}", said(&output));
}

#[test]
fn the_service_is_little_exposed() {
    let unit = root().join("systemd/submitd.service");
    let security = |file: &Path| {
        run(Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--threshold=15", "--no-pager"])
            .arg(file))
    };
    let output = security(&unit);
    assert!(output.status.success(), "{}", said(&output));

    // The threshold bites: without its filter of system calls the same unit is refused.
    let folder = tempfile::tempdir().unwrap();
    let weaker = folder.path().join("submitd.service");
    let kept: Vec<_> =
        unit_lines().into_iter().filter(|line| !line.starts_with("SystemCall")).collect();
    std::fs::write(&weaker, kept.join("\n")).unwrap();
    assert!(!security(&weaker).status.success());
}

fn unit_lines() -> Vec<String> {
    text("systemd/submitd.service").lines().map(str::to_owned).collect()
}

#[test]
fn the_service_starts_without_any_credential() {
    let unit = text("systemd/submitd.service");
    for key in ["LoadCredential", "LoadCredentialEncrypted", "ImportCredential", "EnvironmentFile"]
    {
        // `-` in front means: where it is there.
        let needed: Vec<_> =
            values(&unit, key).into_iter().filter(|value| !value.starts_with('-')).collect();
        assert!(needed.is_empty(), "{key}: {needed:?}");
    }
}

#[test]
fn a_wrong_configuration_is_not_tried_again() {
    // sysexits.h: EX_USAGE 64, EX_CONFIG 78. The program is asked, so that the two cannot part.
    let unit = text("systemd/submitd.service");
    let never = values(&unit, "RestartPreventExitStatus").join(" ");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("submitd.toml");
    std::fs::write(&file, "nonsense = [\n").unwrap();
    let wrong = run(Command::new(env!("CARGO_BIN_EXE_submitd"))
        .env_clear()
        .args(["run", "--config"])
        .arg(&file));
    let unknown = run(Command::new(env!("CARGO_BIN_EXE_submitd")).arg("no-such-command"));
    for output in [&wrong, &unknown] {
        let code = output.status.code().unwrap().to_string();
        assert!(never.split(' ').any(|one| one == code), "{never:?} lacks {}", said(output));
    }
    assert_eq!(wrong.status.code(), Some(78), "{}", said(&wrong));
}

#[test]
fn systemd_waits_longer_than_the_daemon_drains() {
    let unit = text("systemd/submitd.service");
    let stop: u64 = values(&unit, "TimeoutStopSec")[0].parse().unwrap();
    let output = run(Command::new(env!("CARGO_BIN_EXE_submitd"))
        .env_clear()
        .envs(ACCOUNT.iter().copied())
        .args(["config", "show", "--all"]));
    let shown = String::from_utf8_lossy(&output.stdout);
    let drain = shown
        .lines()
        .find_map(|line| line.strip_prefix("drain_timeout"))
        .unwrap_or_else(|| panic!("no drain_timeout in `config show --all`: {}", said(&output)));
    let drain: u64 = drain.trim_matches([' ', '=', '"', 's']).parse().unwrap();
    // Once for sessions, then once for deliveries.
    assert!(2 * drain < stop, "drains twice {drain} s, killed after {stop} s");
}

/// An account from the environment alone, as `docs/operations.md` has it for containers.
const ACCOUNT: &[(&str, &str)] = &[
    ("SUBMITD_ACCOUNT__ERP__MAILBOX", "erp@contoso.com"),
    ("SUBMITD_ACCOUNT__ERP__GRANT", "client_credentials"),
    ("SUBMITD_ACCOUNT__ERP__TENANT", "contoso.onmicrosoft.com"),
    ("SUBMITD_ACCOUNT__ERP__CLIENT_ID", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("SUBMITD_ACCOUNT__ERP__CLIENT_SECRET", "not-a-secret"),
];

#[test]
fn all_agree_on_the_port() {
    let socket = text("systemd/submitd.socket");
    assert_eq!(values(&socket, "ListenStream"), ["127.0.0.1:2525", "[::1]:2525"]);
    assert!(text("Dockerfile").lines().any(|line| line == "EXPOSE 2525"));
    let output = run(Command::new(env!("CARGO_BIN_EXE_submitd"))
        .env_clear()
        .envs(ACCOUNT.iter().copied())
        .args(["config", "show", "--all"]));
    assert!(output.status.success(), "{}", said(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("2525"), "{}", said(&output));
}

#[test]
fn sysusers_makes_the_user_of_the_unit() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("etc")).unwrap();
    let output = run(Command::new("systemd-sysusers")
        .arg(format!("--root={}", folder.path().display()))
        .arg(root().join("systemd/submitd.sysusers")));
    let passwd = std::fs::read_to_string(folder.path().join("etc/passwd"))
        .unwrap_or_else(|error| panic!("{error}: {}", said(&output)));
    let line = passwd.lines().find(|line| line.starts_with("submitd:")).expect(&passwd);
    let fields: Vec<_> = line.split(':').collect();
    assert_eq!((fields[5], fields[6]), ("/var/lib/submitd", "/usr/sbin/nologin"));
    let unit = text("systemd/submitd.service");
    assert_eq!((values(&unit, "User"), values(&unit, "Group")), (vec!["submitd"], vec!["submitd"]));
}

#[test]
fn the_image_is_as_small_as_it_says() {
    let dockerfile = text("Dockerfile");
    let (_, last) = dockerfile.split_once("\nFROM scratch\n").expect("the last stage is not empty");
    let lines: BTreeSet<_> = last.lines().collect();
    for line in [
        "USER 65532:65532",
        "VOLUME [\"/var/lib/submitd\"]",
        "ENTRYPOINT [\"/submitd\"]",
        "CMD [\"run\"]",
    ] {
        assert!(lines.contains(line), "no line {line:?} in the last stage");
    }
    // Nothing can be run while building an empty image, and nothing may come from elsewhere.
    for line in last.lines() {
        assert!(!line.starts_with("RUN") && !line.starts_with("ADD"), "{line}");
        assert!(!line.starts_with("COPY") || line.contains("--from=build"), "{line}");
    }
    let manifest = text("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
    let image = format!("rust:{}-slim", version.trim_matches('"'));
    assert!(dockerfile.contains(&image), "the image builds with another Rust than {image}");
}

#[test]
fn secrets_stay_out_of_the_build() {
    let ignored = text(".dockerignore");
    for pattern in [".git", "target", "**/*.secret", "**/*.pem", "**/*.key"] {
        assert!(ignored.lines().any(|line| line == pattern), "{pattern} gets into the build");
    }
}

#[test]
fn scripts_are_sound() {
    let scripts: Vec<PathBuf> = [".ci", "scripts"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(root().join(folder)).unwrap())
        .map(|entry| entry.unwrap().path())
        .collect();
    assert!(scripts.len() >= 5, "{scripts:?}");
    for script in &scripts {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(script).unwrap().permissions().mode();
        assert_eq!(mode & 0o111, 0o111, "{} cannot be run", script.display());
        let text = std::fs::read_to_string(script).unwrap();
        let first = text.lines().next().unwrap_or_default();
        assert!(["#!/bin/bash", "#!/bin/sh"].contains(&first), "{}: {first}", script.display());
        assert!(
            text.lines().any(|line| line == "set -eu"),
            "{} goes on after a failure",
            script.display()
        );
    }
    let output = run(Command::new("shellcheck").args(&scripts));
    assert!(output.status.success(), "{}", said(&output));
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for target in links(&text) {
            let (path, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let file = if path.is_empty() {
                document.clone()
            } else {
                document.parent().unwrap().join(path)
            };
            let found = file.exists()
                && (anchor.is_empty()
                    || std::fs::read_to_string(&file)
                        .is_ok_and(|text| anchors(&text).contains(anchor)));
            if !found {
                broken.push(format!("{}: {target}", document.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn files_that_documents_name_exist() {
    let mut missing = Vec::new();
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        for path in named_files(&text) {
            let bases = ["", "src", "tests", "tests/system"];
            if !bases.iter().any(|base| root().join(base).join(&path).exists()) {
                missing.push(format!("{}: {path}", document.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn planted_files_are_found() {
    let text = "`a/b.rs` and `c.rs`, (`d/e.rs`) `f/`\n    `no/code.rs`\n`x y/z.rs`";
    assert_eq!(named_files(text), ["a/b.rs", "d/e.rs"]);
}

/// Files of code in backticks, with their folder; a name alone stands beside the one before it.
fn named_files(text: &str) -> Vec<String> {
    let quoted = prose(text).flat_map(|line| line.split('`').skip(1).step_by(2));
    let is_file = |word: &&str| word.contains('/') && word.ends_with(".rs") && !word.contains(' ');
    quoted.filter(is_file).map(str::to_owned).collect()
}

#[test]
fn planted_links_are_found() {
    let text =
        "[a](b.md#c) and [d]( https://e )\n    [code](no.md)\n```\n[code](no.md)\n```\n![f](g.png)";
    assert_eq!(links(text), ["b.md#c", "g.png"]);
    let anchors = anchors("# A b\n## `C.d` — e, F!\ntext\n# A b");
    assert!(anchors.contains("a-b") && anchors.contains("cd--e-f"), "{anchors:?}");
}

fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in [root(), root().join("docs")] {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// Targets of `[text](target)` in prose that are no web addresses.
fn links(text: &str) -> Vec<String> {
    prose(text)
        .flat_map(|line| line.split("](").skip(1).filter_map(|rest| rest.split_once(')')))
        .map(|(target, _)| target.trim().to_owned())
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .collect()
}

/// Lines outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence && !line.starts_with("    ")
    })
}

/// Headings as the usual renderers make anchors of them.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter(|line| line.starts_with('#'))
        .map(|line| {
            line.trim_start_matches('#')
                .trim()
                .to_lowercase()
                .chars()
                .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
                .map(|c| if c == ' ' { '-' } else { c })
                .collect()
        })
        .collect()
}
