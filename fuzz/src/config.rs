//! Configuration texts: each is taken or refused with places and remedies, never with a panic, and what is
//! shown of one that was taken shows no secret and is one again.

use submitd::config::Config;

/// Nobody's configuration is longer.
const LONGEST: usize = 64 * 1024;

/// The text of a file; behind a line `=env=`, variables as `NAME=value`.
pub fn check(octets: &[u8]) {
    let text = String::from_utf8_lossy(&octets[..octets.len().min(LONGEST)]);
    // Files named in it are opened: not those that never end or that wait for a writer.
    if ["dev", "proc", "sys", "run", "\\u", "\\U"].iter().any(|name| text.contains(name)) {
        return;
    }
    let (text, variables) = text.split_once("=env=\n").unwrap_or((&text, ""));
    let variables: Vec<(String, String)> = variables
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    match Config::from_text("/nowhere/submitd.toml", text, &variables) {
        Ok(config) => {
            assert!(!config.listeners.is_empty() && !config.accounts.is_empty());
            for all in [false, true] {
                let shown = config.show(all);
                assert!(!shown.contains("planted-secret"), "a secret is shown");
            }
            let _ = format!("{config:?}");
            assert!(!format!("{config:?}").contains("planted-secret"), "a secret is shown");
        }
        Err(problems) => {
            assert!(!problems.0.is_empty(), "refused without a reason");
            for problem in &problems.0 {
                assert!(!problem.what.is_empty(), "{problem:?}");
            }
            for colour in [false, true] {
                let _ = problems.render(colour);
            }
            let said = problems.to_string();
            assert!(!said.contains(|c: char| c.is_control() && c != '\n'), "{said:?}");
        }
    }
}
