//! Another key for the vault.
//!
//! It promises that at every point at which it may be killed the stored tokens open with a key that is still
//! there, and that nothing is changed where one of them does not open with the old key. The daemon must not
//! run meanwhile; one that does all the same writes nothing more, because it sees the other key.

use super::key::{key, name};
use super::{Inside, KeySource, Sealed, Vault, VaultError, Written, io_at, lock};
use super::{random, read_private};
use crate::durable;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The key of tomorrow, until the tokens are sealed with it.
fn next(path: &Path) -> PathBuf {
    path.with_extension("key.new")
}

/// Seals every stored token with another key; says how many there were. Blocks.
///
/// The key of `state_dir` is made anew: it is written beside the old one, the tokens are replaced as a whole,
/// then it takes the old one's place. A key that comes from elsewhere has been exchanged there already, and
/// `old` is the file of the one before.
///
/// # Errors
/// [`VaultError`]; the tokens are then as they were.
pub fn rotate(
    state_dir: &Path,
    source: &KeySource,
    old: Option<&Path>,
) -> Result<usize, VaultError> {
    let _held = lock(state_dir)?;
    finish(state_dir, source)?;
    let (before, after) = match (old, source) {
        (Some(old), _) => {
            let before = key(&read_private(old)?, &old.display().to_string())?;
            (before, source.read()?)
        }
        (None, KeySource::Own(path)) => {
            let before = source.read()?;
            let fresh = Zeroizing::new(random::<32>()?);
            let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*fresh)));
            durable::replace(&next(path), text.as_bytes()).map_err(io_at(path))?;
            (before, fresh)
        }
        (None, _) => return Err(VaultError::NoOldKey),
    };
    let count = seal(state_dir, &before, &after);
    if count.is_err() && old.is_none() {
        // The tokens are as they were, so nothing needs the new key.
        finish(state_dir, source)?;
    }
    let count = count?;
    finish(state_dir, source)?;
    Ok(count)
}

/// Seals with `after` what is sealed with `before`, in one write.
fn seal(state_dir: &Path, before: &[u8; 32], after: &[u8; 32]) -> Result<usize, VaultError> {
    let (old, new) = (Vault::with(state_dir, before), Vault::with(state_dir, after));
    let written = match read_private(&old.path) {
        Ok(written) => written,
        Err(VaultError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            // So that whoever opens it knows which key counts.
            new.write(BTreeMap::new())?;
            return Ok(0);
        }
        Err(error) => return Err(error),
    };
    let (sound, damaged) = old.sort(&written)?;
    if damaged > 0 {
        return Err(VaultError::OldKey(damaged));
    }
    let mut accounts: BTreeMap<String, Sealed> = BTreeMap::new();
    for (account, entry) in &sound {
        let inside: Inside = old.unseal(account, entry).ok_or(VaultError::OldKey(1))?;
        accounts.insert(account.clone(), new.seal(account, &inside)?);
    }
    new.write(accounts)?;
    Ok(sound.len())
}

/// Ends an exchange that was begun: the new key takes its place where the tokens are sealed with it, and is
/// removed where they are not. The caller holds the lock.
pub(super) fn finish(state_dir: &Path, source: &KeySource) -> Result<(), VaultError> {
    let KeySource::Own(path) = source else { return Ok(()) };
    let next = next(path);
    let fresh = match read_private(&next) {
        Ok(octets) => octets,
        Err(VaultError::Io { error, .. }) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let wanted = key(&fresh, &next.display().to_string()).ok().map(|key| name(&key));
    let tokens = read_private(&state_dir.join("tokens")).ok();
    let written = tokens.and_then(|text| serde_json::from_slice::<Written>(&text).ok());
    let used = written.and_then(|written| written.key);
    if used.is_some() && used == wanted {
        durable::replace(path, &fresh).map_err(io_at(path))?;
    }
    std::fs::remove_file(&next).map_err(io_at(&next))
}

#[cfg(test)]
mod tests {
    use super::super::Held;
    use super::*;
    use crate::secret::Secret;

    fn own(directory: &Path) -> KeySource {
        KeySource::find(directory, |_| None)
    }

    fn filled(directory: &Path) -> Vault {
        let vault = Vault::open(directory, &own(directory)).unwrap();
        for account in ["erp", "crm"] {
            let (seed, token) = (Secret::new("seed"), Secret::new(format!("of-{account}")));
            vault.store(account, &seed, &token, (0, Held::default()), || true).unwrap();
        }
        vault
    }

    fn holds(directory: &Path, source: &KeySource) {
        let vault = Vault::open(directory, source).unwrap();
        assert!(vault.is_sound());
        for account in ["erp", "crm"] {
            let token = vault.current(account, &Secret::new("seed"));
            assert_eq!(token.expose(), format!("of-{account}"));
        }
        assert!(!directory.join("vault.key.new").exists());
    }

    #[test]
    fn tokens_are_sealed_with_the_new_key_and_the_old_one_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let running = filled(directory.path());
        let before = std::fs::read(directory.path().join("vault.key")).unwrap();
        assert_eq!(rotate(directory.path(), &own(directory.path()), None).unwrap(), 2);
        assert_ne!(std::fs::read(directory.path().join("vault.key")).unwrap(), before);
        holds(directory.path(), &own(directory.path()));
        // A process that still has the old key must not write over it.
        let seed = Secret::new("seed");
        let late = running.store("erp", &seed, &seed, (0, Held::default()), || true);
        assert!(matches!(late, Err(VaultError::Rekeyed)));
        holds(directory.path(), &own(directory.path()));
    }

    #[test]
    fn killed_at_any_point_the_tokens_open_all_the_same() {
        // As the disk looks after each step of an exchange.
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let path = |name: &str| directory.path().join(name);
        let old_key = std::fs::read(path("vault.key")).unwrap();
        let old_tokens = std::fs::read(path("tokens")).unwrap();
        rotate(directory.path(), &own(directory.path()), None).unwrap();
        let new_key = std::fs::read(path("vault.key")).unwrap();
        let new_tokens = std::fs::read(path("tokens")).unwrap();
        for (key, next, tokens) in [
            (&old_key, None, &old_tokens),
            (&old_key, Some(&new_key[..20]), &old_tokens),
            (&old_key, Some(&new_key[..]), &old_tokens),
            (&old_key, Some(&new_key[..]), &new_tokens),
            (&new_key, Some(&new_key[..]), &new_tokens),
            (&new_key, None, &new_tokens),
        ] {
            durable::replace(&path("vault.key"), key).unwrap();
            durable::replace(&path("tokens"), tokens).unwrap();
            if let Some(next) = next {
                durable::replace(&path("vault.key.new"), next).unwrap();
            }
            holds(directory.path(), &own(directory.path()));
        }
        assert!(!path("tokens.bad").exists());
    }

    #[test]
    fn a_key_from_elsewhere_is_exchanged_with_the_old_one_at_hand() {
        let directory = tempfile::tempdir().unwrap();
        filled(directory.path());
        let old = directory.path().join("vault.key");
        let other = KeySource::Text(Secret::new(STANDARD.encode([7; 32])));
        assert!(matches!(rotate(directory.path(), &other, None), Err(VaultError::NoOldKey)));
        assert_eq!(rotate(directory.path(), &other, Some(&old)).unwrap(), 2);
        holds(directory.path(), &other);
        // The wrong old key changes nothing.
        let wrong = directory.path().join("wrong");
        durable::replace(&wrong, STANDARD.encode([9; 32]).as_bytes()).unwrap();
        let before = std::fs::read(directory.path().join("tokens")).unwrap();
        let refused = rotate(directory.path(), &own(directory.path()), Some(&wrong));
        assert!(matches!(refused, Err(VaultError::OldKey(2))));
        assert_eq!(std::fs::read(directory.path().join("tokens")).unwrap(), before);
    }
}
