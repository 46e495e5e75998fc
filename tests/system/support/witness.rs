//! Keeps every secret and every output, and finds the one in the other, in whatever form it was written.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use std::collections::{BTreeSet, HashMap};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A piece of a long token that would be too much already.
const PIECE: usize = 40;

/// What must not be seen, and what was seen.
#[derive(Default)]
pub struct Witness {
    secrets: Vec<(String, String)>,
    outputs: Vec<(String, Vec<u8>)>,
}

impl Witness {
    /// This text is a secret.
    pub fn secret(&mut self, label: &str, text: &str) {
        assert!(text.len() >= 8, "{label}: too short to tell it from chance");
        self.secrets.push((label.to_owned(), text.to_owned()));
    }

    /// This was printed.
    pub fn output(&mut self, name: &str, octets: impl AsRef<[u8]>) {
        self.outputs.push((name.to_owned(), octets.as_ref().to_vec()));
    }

    /// All files below `directory`, which nobody but their owner may read.
    pub fn state(&mut self, directory: &Path) {
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(directory), 0o700, "{}", directory.display());
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                self.state(&path);
            } else if path.is_file() {
                // A socket holds nothing.
                assert_eq!(mode(&path), 0o600, "{}", path.display());
                self.output(&path.display().to_string(), std::fs::read(&path).unwrap());
            }
        }
    }

    /// Every secret that stands in an output, as `label in name`.
    pub fn found(&self) -> Vec<String> {
        let mut needles = Needles::default();
        for (label, secret) in &self.secrets {
            for (form, needle) in forms(secret) {
                needles.add(format!("{label} ({form})"), needle);
            }
        }
        let mut found = BTreeSet::new();
        for (name, octets) in &self.outputs {
            needles.find(octets, |what| {
                found.insert(format!("{what} in {name}"));
            });
        }
        found.into_iter().collect()
    }

    /// Fails where a secret was seen.
    pub fn assert_clean(&self) {
        assert!(!self.secrets.is_empty() && !self.outputs.is_empty());
        let found = self.found();
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}

/// Many texts that are looked for in one pass: there are hundreds, and logs are long.
#[derive(Default)]
struct Needles {
    /// By their first four octets.
    all: HashMap<[u8; 4], Vec<(String, Vec<u8>)>>,
}

impl Needles {
    /// Shorter ones are left out.
    fn add(&mut self, what: String, needle: Vec<u8>) {
        if let Some(head) = needle.first_chunk() {
            self.all.entry(*head).or_default().push((what, needle));
        }
    }

    fn find(&self, octets: &[u8], mut found: impl FnMut(&str)) {
        // Rules out nearly every place without a hash.
        let mut begins = vec![false; 1 << 16];
        let pair = |octets: &[u8]| usize::from(octets[0]) << 8 | usize::from(octets[1]);
        self.all.keys().for_each(|head| begins[pair(head)] = true);
        for (at, head) in octets.windows(4).enumerate() {
            if !begins[pair(head)] {
                continue;
            }
            let here = head.first_chunk().and_then(|head| self.all.get(head));
            for (what, needle) in here.into_iter().flatten() {
                if octets[at..].starts_with(needle) {
                    found(what);
                }
            }
        }
    }
}

/// The ways a text can be written: as it is, in pieces, in base64 at any place of something longer (an
/// XOAUTH2 or PLAIN response), in a form, in hexadecimal.
fn forms(secret: &str) -> Vec<(&'static str, Vec<u8>)> {
    let mut forms = vec![("as it is", secret.as_bytes().to_vec())];
    if secret.len() > 3 * PIECE {
        let middle = secret.len() / 2;
        // The head of a token says only which algorithm signed it.
        for start in [middle - PIECE, middle, secret.len() - PIECE] {
            forms.push(("a piece", secret.as_bytes()[start..start + PIECE].to_vec()));
        }
    }
    for offset in 0..3 {
        let mut octets = vec![b'x'; offset];
        octets.extend_from_slice(secret.as_bytes());
        // Only groups of three octets that are wholly the secret's look the same in any surroundings.
        let begin = offset.div_ceil(3) * 4;
        let end = octets.len() / 3 * 4;
        for (form, engine) in [("base64", &STANDARD), ("base64url", &URL_SAFE)] {
            let text = engine.encode(&octets);
            forms.push((form, text.as_bytes()[begin..end].to_vec()));
        }
    }
    let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    forms.push(("form", encoded.into_bytes()));
    let hexadecimal: String = secret.bytes().map(|octet| format!("{octet:02x}")).collect();
    forms.push(("hexadecimal", hexadecimal.into_bytes()));
    forms
}
