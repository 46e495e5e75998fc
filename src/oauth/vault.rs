//! Refresh tokens at rest: `state_dir/tokens`, sealed with XChaCha20-Poly1305.
//!
//! It promises that what was stored is on the disk when the call comes back, that a file or key
//! others can read is refused, and that nothing is lost by a damaged file: it is kept as
//! `tokens.bad`. An entry is bound to its account's name, so that swapping two entries is found out.
//! The key is never derived from a client's password: a mistyped one would lose the tokens. It must
//! not decide which token is the right one beyond the rule of the seed.
//!
//! The seed is the refresh token of the configuration. A stored token goes before it, until the
//! configured one is changed: then somebody has signed in again and the stored one is history. Where people
//! sign in with `submitd login` there is no such token; then the seed says who signs in where, and sign-ins
//! are counted: what an older one brings never replaces a newer one.
//!
//! Other processes may write the file too (`login` without a daemon, `check`): each change reads it anew,
//! under a lock, and changes one account.

use super::ends::Held;
use crate::durable;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{Key, XChaCha20Poly1305, XNonce};
use ring::rand::{SecureRandom, SystemRandom};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use zeroize::Zeroizing;

mod key;
mod rotation;

pub use key::KeySource;
pub use rotation::rotate;

use key::name;

/// Why the vault cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// Others can read it. The operator runs `chmod 600`.
    #[error("{} can be read by others (mode {mode:03o}): chmod 600 {}", path.display(), path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key is not 32 octets, plain or in base64. The operator corrects it.
    #[error("{0} is not a key: 32 octets in base64, as `openssl rand -base64 32` prints them")]
    Key(String),
    /// The file is of a later version of this program. The operator upgrades.
    #[error("{} is of version {version}, which this program does not know: upgrade it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// The file system said no.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Its words.
        error: io::Error,
    },
    /// Another process exchanged the key. Nothing was written; the operator restarts submitd.
    #[error("the vault was given another key meanwhile: restart submitd")]
    Rekeyed,
    /// The key comes from elsewhere, and the one before it is needed to read what is stored.
    #[error(
        "the vault's key does not lie in state_dir: exchange it where it comes from, and name the old one with --old FILE"
    )]
    NoOldKey,
    /// An exchange of keys was refused, because entries do not open with the old one.
    #[error("{0} stored refresh tokens do not open with the old key; nothing was changed")]
    OldKey(usize),
    /// Neither randomness nor encryption may fail; when they do nothing is written.
    #[error("the system gives no random numbers")]
    Random,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
struct Written {
    version: u32,
    /// Which key seals it, so that a process with another one leaves it alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    accounts: BTreeMap<String, Sealed>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Sealed {
    nonce: String,
    sealed: String,
}

/// What is inside an entry.
#[derive(Serialize, Deserialize)]
struct Inside {
    /// SHA-256 of the configured refresh token from which this one descends, base64.
    seed: String,
    /// Empty where the sign-in was revoked.
    refresh_token: String,
    /// Counts sign-ins and revocations.
    #[serde(default)]
    sign_in: u64,
    /// When it came, in seconds since 1970: from then on it lives unused.
    #[serde(default)]
    used: Option<u64>,
    /// When it ends, where the provider said so.
    #[serde(default)]
    ends: Option<u64>,
}

/// What a sign-in left.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The refresh token that came last.
    pub refresh: Secret,
    /// Which sign-in it descends from.
    pub sign_in: u64,
}

const VERSION: u32 = 1;

/// The open vault.
pub struct Vault {
    path: PathBuf,
    cipher: XChaCha20Poly1305,
    /// Names the key and tells nothing of it.
    key: String,
    entries: Mutex<BTreeMap<String, Sealed>>,
    is_sound: bool,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Vault {
    /// Opens `state_dir/tokens`; without the file nothing is stored yet. Blocks.
    ///
    /// A damaged file, or entries this key does not open, are kept as `tokens.bad` and left out.
    pub fn open(state_dir: &Path, source: &KeySource) -> Result<Self, VaultError> {
        // Two processes that start at once must not each make a key.
        let held = match source {
            KeySource::Own(_) => Some(lock(state_dir)?),
            _ => None,
        };
        rotation::finish(state_dir, source)?;
        let mut vault = Self::with(state_dir, &*source.read()?);
        drop(held);
        let written = match read_private(&vault.path) {
            Ok(written) => written,
            Err(VaultError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(vault);
            }
            Err(error) => return Err(error),
        };
        let (sound, damaged) = vault.sort(&written)?;
        vault.is_sound = damaged == 0;
        if damaged > 0 {
            let aside = vault.path.with_extension("bad");
            durable::replace(&aside, &written).map_err(io_at(&aside))?;
            tracing::error!(
                file = %vault.path.display(), kept = %aside.display(), entries = damaged,
                "stored refresh tokens cannot be read, the configured ones are used: \
                 was the vault key exchanged?"
            );
        }
        vault.entries = Mutex::new(sound);
        Ok(vault)
    }

    /// Nothing read yet.
    fn with(state_dir: &Path, key: &[u8; 32]) -> Self {
        let cipher = XChaCha20Poly1305::new(&Key::from(*key));
        let path = state_dir.join("tokens");
        Self { path, cipher, key: name(key), entries: Mutex::default(), is_sound: true }
    }

    /// Whether every entry opened with our key.
    pub fn is_sound(&self) -> bool {
        self.is_sound
    }

    /// What another process wrote meanwhile counts from now on. Blocks.
    pub fn look_again(&self) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_in(&mut entries);
    }

    /// What on the disk opens goes before what is held: a change is on the disk first.
    fn take_in(&self, entries: &mut BTreeMap<String, Sealed>) {
        let read = read_private(&self.path).ok().and_then(|written| self.sort(&written).ok());
        if let Some((sound, _)) = read {
            entries.extend(sound);
        }
    }

    /// The refresh token to use: the stored one if it descends from this seed, else the seed.
    pub fn current(&self, account: &str, seed: &Secret) -> Secret {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        match entries.get(account).and_then(|entry| self.unseal(account, entry)) {
            Some(inside) if inside.seed == digest(seed) => Secret::new(inside.refresh_token),
            _ => seed.clone(),
        }
    }

    /// What is known of the stored token's life; none where nothing of this seed is stored.
    pub fn held(&self, account: &str, seed: &Secret) -> Option<Held> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = self.unseal(account, entries.get(account)?)?;
        let at = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let is_ours = inside.seed == digest(seed) && !inside.refresh_token.is_empty();
        is_ours.then(|| Held { used: inside.used.and_then(at), ends: inside.ends.and_then(at) })
    }

    /// What a sign-in for this seed left; none where nobody signed in, or it was revoked.
    pub fn stored(&self, account: &str, seed: &Secret) -> Option<Stored> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = self.unseal(account, entries.get(account)?)?;
        let is_ours = inside.seed == digest(seed) && !inside.refresh_token.is_empty();
        is_ours
            .then(|| Stored { refresh: Secret::new(inside.refresh_token), sign_in: inside.sign_in })
    }

    /// Stores the refresh token that came back, durably, with what is known of its life; `sign_in` is the one
    /// it descends from, 0 where the seed is a token itself. Nothing is written where somebody signed in meanwhile, nor where
    /// `still`, asked at the last moment, says no: the configuration has another seed by now. Blocks.
    pub fn store(
        &self,
        account: &str,
        seed: &Secret,
        refresh: &Secret,
        (sign_in, life): (u64, Held),
        still: impl FnOnce() -> bool,
    ) -> Result<(), VaultError> {
        let refresh_token = refresh.expose().to_owned();
        let [used, ends] = [life.used, life.ends].map(|time| time.map(seconds));
        let inside = Inside { seed: digest(seed), refresh_token, sign_in, used, ends };
        self.change(account, |held| {
            let newer = held.is_some_and(|held| held.seed == inside.seed && held.sign_in > sign_in);
            (!newer && still()).then_some(inside)
        })
    }

    /// Stores what a new sign-in brought, in place of whatever was there; which sign-in it is. Blocks.
    pub fn sign_in(
        &self,
        account: &str,
        seed: &Secret,
        refresh: &Secret,
    ) -> Result<u64, VaultError> {
        let mut number = 0;
        self.change(account, |held| {
            number = held.map_or(1, |held| held.sign_in.saturating_add(1));
            let refresh_token = refresh.expose().to_owned();
            let used = Some(seconds(SystemTime::now()));
            Some(Inside { seed: digest(seed), refresh_token, sign_in: number, used, ends: None })
        })?;
        Ok(number)
    }

    /// Forgets what is stored, for good: what an older sign-in still brings is not taken. Blocks.
    pub fn forget(&self, account: &str) -> Result<(), VaultError> {
        self.change(account, |held| {
            let held = held?;
            let sign_in = held.sign_in.saturating_add(1);
            Some(Inside { refresh_token: String::new(), sign_in, ..held })
        })
    }

    /// Changes one entry to what `change` makes of it; durable on return. None = nothing is written.
    fn change(
        &self,
        account: &str,
        change: impl FnOnce(Option<Inside>) -> Option<Inside>,
    ) -> Result<(), VaultError> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let _held = lock(self.path.parent().unwrap_or(Path::new(".")))?;
        if self.is_sound && self.sealed_by().is_some_and(|key| key != self.key) {
            return Err(VaultError::Rekeyed);
        }
        let mut accounts = entries.clone();
        self.take_in(&mut accounts);
        let held = accounts.get(account).and_then(|entry| self.unseal(account, entry));
        if let Some(inside) = change(held) {
            accounts.insert(account.to_owned(), self.seal(account, &inside)?);
            self.write(accounts.clone())?;
        }
        *entries = accounts;
        Ok(())
    }

    fn write(&self, accounts: BTreeMap<String, Sealed>) -> Result<(), VaultError> {
        let written = Written { version: VERSION, key: Some(self.key.clone()), accounts };
        let text = serde_json::to_vec_pretty(&written).map_err(|_| VaultError::Random)?;
        durable::replace(&self.path, &text).map_err(io_at(&self.path))
    }

    /// The key that seals the file now, by its name; none where the file does not say.
    fn sealed_by(&self) -> Option<String> {
        serde_json::from_slice::<Written>(&read_private(&self.path).ok()?).ok()?.key
    }

    /// The entries that open, and how many do not.
    fn sort(&self, written: &[u8]) -> Result<(BTreeMap<String, Sealed>, usize), VaultError> {
        #[derive(Deserialize)]
        struct Head {
            version: u32,
        }
        if let Ok(Head { version }) = serde_json::from_slice(written)
            && version > VERSION
        {
            return Err(VaultError::Newer { path: self.path.clone(), version });
        }
        let Ok(Written { accounts, .. }) = serde_json::from_slice(written) else {
            return Ok((BTreeMap::new(), 1));
        };
        let all = accounts.len();
        let sound: BTreeMap<_, _> =
            accounts.into_iter().filter(|(name, e)| self.unseal(name, e).is_some()).collect();
        let damaged = all - sound.len();
        Ok((sound, damaged))
    }

    fn seal(&self, account: &str, inside: &Inside) -> Result<Sealed, VaultError> {
        let nonce = random::<24>()?;
        let msg = Zeroizing::new(serde_json::to_vec(inside).map_err(|_| VaultError::Random)?);
        let payload = Payload { msg: &msg, aad: account.as_bytes() };
        let sealed =
            self.cipher.encrypt(&XNonce::from(nonce), payload).map_err(|_| VaultError::Random)?;
        Ok(Sealed { nonce: STANDARD.encode(nonce), sealed: STANDARD.encode(sealed) })
    }

    fn unseal(&self, account: &str, entry: &Sealed) -> Option<Inside> {
        let nonce: [u8; 24] = STANDARD.decode(&entry.nonce).ok()?.try_into().ok()?;
        let sealed = STANDARD.decode(&entry.sealed).ok()?;
        let payload = Payload { msg: &sealed, aad: account.as_bytes() };
        let open = self.cipher.decrypt(&XNonce::from(nonce), payload).ok().map(Zeroizing::new)?;
        serde_json::from_slice(&open).ok()
    }
}

/// Held until it is dropped.
fn lock(state_dir: &Path) -> Result<std::fs::File, VaultError> {
    let path = state_dir.join("tokens.lock");
    durable::lock(&path).map_err(io_at(&path))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn digest(seed: &Secret) -> String {
    STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, seed.expose().as_bytes()))
}

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut octets = [0; N];
    SystemRandom::new().fill(&mut octets).map_err(|_| VaultError::Random)?;
    Ok(octets)
}

fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, VaultError> {
    let mode = std::fs::metadata(path).map_err(io_at(path))?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(VaultError::Exposed { path: path.to_owned(), mode });
    }
    std::fs::read(path).map(Zeroizing::new).map_err(io_at(path))
}

fn io_at(path: &Path) -> impl Fn(io::Error) -> VaultError {
    let path = path.to_owned();
    move |error| VaultError::Io { path: path.clone(), error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsString;

    fn plain(sign_in: u64) -> (u64, Held) {
        (sign_in, Held::default())
    }

    fn own(directory: &Path) -> KeySource {
        KeySource::find(directory, |_| None)
    }

    fn open(directory: &Path) -> Vault {
        Vault::open(directory, &own(directory)).unwrap()
    }

    fn store(vault: &Vault, account: &str, seed: &str, refresh: &str) {
        vault.store(account, &Secret::new(seed), &Secret::new(refresh), plain(0), || true).unwrap();
    }

    fn current(vault: &Vault, account: &str, seed: &str) -> String {
        vault.current(account, &Secret::new(seed)).expose().to_owned()
    }

    #[test]
    fn b15_what_was_stored_is_there_after_opening_again_and_a_changed_seed_goes_before_it() {
        let directory = tempfile::tempdir().unwrap();
        let vault = open(directory.path());
        assert_eq!(current(&vault, "erp", "seed"), "seed");
        store(&vault, "erp", "seed", "rotated-1");
        store(&vault, "crm", "other", "rotated-c");
        store(&vault, "erp", "seed", "rotated-2");
        drop(vault);
        let vault = open(directory.path());
        assert_eq!(current(&vault, "erp", "seed"), "rotated-2");
        assert_eq!(current(&vault, "crm", "other"), "rotated-c");
        assert_eq!(current(&vault, "erp", "signed in again"), "signed in again");
        assert_eq!(current(&vault, "erp", "seed"), "rotated-2");
    }

    #[test]
    fn nothing_readable_stands_in_the_file_and_modes_are_0600() {
        let directory = tempfile::tempdir().unwrap();
        let vault = open(directory.path());
        store(&vault, "erp", "planted-seed", "planted-refresh");
        for name in ["tokens", "vault.key"] {
            let path = directory.path().join(name);
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap();
            assert!(!text.contains("planted"), "{text}");
            assert!(!text.contains(&STANDARD.encode("planted-refresh")));
        }
        assert!(!format!("{vault:?}").contains("planted"));
    }

    #[test]
    fn files_others_can_read_are_refused() {
        for name in ["tokens", "vault.key"] {
            for mode in [0o640, 0o604, 0o660, 0o644, 0o610] {
                let directory = tempfile::tempdir().unwrap();
                store(&open(directory.path()), "erp", "seed", "r");
                let path = directory.path().join(name);
                std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
                let error = Vault::open(directory.path(), &own(directory.path())).unwrap_err();
                assert!(matches!(&error, VaultError::Exposed { mode: m, .. } if *m == mode));
                assert!(error.to_string().contains("chmod 600"), "{error}");
            }
        }
    }

    #[test]
    fn an_entry_is_bound_to_its_account() {
        let directory = tempfile::tempdir().unwrap();
        let vault = open(directory.path());
        store(&vault, "erp", "seed", "of-erp");
        let path = directory.path().join("tokens");
        let text = std::fs::read_to_string(&path).unwrap().replace("\"erp\"", "\"crm\"");
        std::fs::write(&path, text).unwrap();
        let vault = open(directory.path());
        assert_eq!(current(&vault, "crm", "seed"), "seed");
        assert!(directory.path().join("tokens.bad").exists());
    }

    #[test]
    fn t17_a_file_cut_anywhere_is_kept_aside_and_the_seed_is_used() {
        let directory = tempfile::tempdir().unwrap();
        let vault = open(directory.path());
        store(&vault, "erp", "seed", "rotated");
        let path = directory.path().join("tokens");
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let vault = open(directory.path());
            assert_eq!(current(&vault, "erp", "seed"), "seed", "cut at {cut}");
            assert_eq!(std::fs::read(directory.path().join("tokens.bad")).unwrap(), &whole[..cut]);
        }
    }

    #[test]
    fn another_key_opens_nothing_and_loses_nothing() {
        let directory = tempfile::tempdir().unwrap();
        store(&open(directory.path()), "erp", "seed", "rotated");
        let before = std::fs::read(directory.path().join("tokens")).unwrap();
        let other = KeySource::Text(Secret::new(STANDARD.encode([7; 32])));
        let vault = Vault::open(directory.path(), &other).unwrap();
        assert_eq!(current(&vault, "erp", "seed"), "seed");
        store(&vault, "crm", "s", "r");
        assert_eq!(std::fs::read(directory.path().join("tokens.bad")).unwrap(), before);
    }

    #[test]
    fn a_newer_file_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        durable::replace(&path, br#"{"version":2,"vaults":[]}"#).unwrap();
        let error = Vault::open(directory.path(), &own(directory.path())).unwrap_err();
        assert!(matches!(error, VaultError::Newer { version: 2, .. }));
        assert_eq!(std::fs::read(&path).unwrap(), br#"{"version":2,"vaults":[]}"#);
    }

    #[test]
    fn keys_come_from_credential_environment_file_or_are_made() {
        let directory = tempfile::tempdir().unwrap();
        let text = STANDARD.encode([3; 32]);
        let credential = directory.path().join("submitd-vault-key");
        std::fs::write(&credential, [3_u8; 32]).unwrap();
        let file = directory.path().join("key");
        durable::replace(&file, format!("{text}\n").as_bytes()).unwrap();
        let tables: [&[(&str, OsString)]; 3] = [
            &[
                ("CREDENTIALS_DIRECTORY", directory.path().into()),
                ("SUBMITD_VAULT_KEY", "x".into()),
            ],
            &[("CREDENTIALS_DIRECTORY", "/nonexistent".into()), ("SUBMITD_VAULT_KEY", text.into())],
            &[("SUBMITD_VAULT_KEY_FILE", file.into())],
        ];
        for table in tables {
            let source = KeySource::find(directory.path(), |name| {
                table.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone())
            });
            assert_eq!(*source.read().unwrap(), [3; 32], "{source:?}");
        }
        let made = own(directory.path()).read().unwrap();
        assert_eq!(made, own(directory.path()).read().unwrap());
        assert_ne!(*made, [0; 32]);
    }

    #[test]
    fn what_is_no_key_is_refused_without_showing_it() {
        for text in ["", "planted", "cGxhbnRlZA=="] {
            let error = KeySource::Text(Secret::new(text)).read().unwrap_err();
            assert!(matches!(error, VaultError::Key(_)));
            assert!(!format!("{error} {error:?}").contains("planted"));
        }
    }

    #[test]
    fn nothing_is_written_for_a_seed_that_was_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let vault = open(directory.path());
        store(&vault, "erp", "new", "of-new");
        vault.store("erp", &Secret::new("old"), &Secret::new("late"), plain(0), || false).unwrap();
        assert_eq!(current(&vault, "erp", "new"), "of-new");
        assert_eq!(current(&open(directory.path()), "erp", "new"), "of-new");
    }

    #[test]
    fn b15_what_an_older_sign_in_brings_late_never_replaces_a_newer_one() {
        let directory = tempfile::tempdir().unwrap();
        let vault = open(directory.path());
        let seed = Secret::new("who and where");
        let stored = |vault: &Vault| {
            let stored = vault.stored("erp", &seed)?;
            Some((stored.refresh.expose().to_owned(), stored.sign_in))
        };
        assert_eq!(stored(&vault), None);
        assert_eq!(vault.sign_in("erp", &seed, &Secret::new("one")).unwrap(), 1);
        // Another process: `login` without the daemon's socket.
        let other = open(directory.path());
        assert_eq!(other.sign_in("erp", &seed, &Secret::new("two")).unwrap(), 2);
        vault.store("erp", &seed, &Secret::new("late"), plain(1), || true).unwrap();
        assert_eq!(stored(&vault), Some(("two".into(), 2)));
        vault.store("erp", &seed, &Secret::new("two-rotated"), plain(2), || true).unwrap();
        other.look_again();
        assert_eq!(stored(&other), Some(("two-rotated".into(), 2)));
        assert!(vault.stored("erp", &Secret::new("another person")).is_none());
        // Revoked: nothing comes back, not even after opening again.
        vault.forget("erp").unwrap();
        vault.store("erp", &seed, &Secret::new("late"), plain(2), || true).unwrap();
        assert_eq!(stored(&open(directory.path())), None);
        assert_eq!(vault.sign_in("erp", &seed, &Secret::new("three")).unwrap(), 4);
    }

    #[test]
    fn two_processes_lose_nothing_of_each_other() {
        let directory = tempfile::tempdir().unwrap();
        let (one, other) = (open(directory.path()), open(directory.path()));
        store(&one, "erp", "seed", "of-one");
        store(&other, "crm", "seed", "of-other");
        store(&one, "shop", "seed", "of-one");
        let third = open(directory.path());
        assert_eq!(current(&third, "erp", "seed"), "of-one");
        assert_eq!(current(&third, "crm", "seed"), "of-other");
        assert_eq!(current(&third, "shop", "seed"), "of-one");
    }

    #[test]
    fn a_write_that_fails_keeps_what_was_stored() {
        let directory = tempfile::tempdir().unwrap();
        let vault = open(directory.path());
        store(&vault, "erp", "seed", "one");
        let path = directory.path().join("tokens");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let failed =
            vault.store("erp", &Secret::new("seed"), &Secret::new("two"), plain(0), || true);
        assert!(matches!(failed, Err(VaultError::Io { .. })));
        assert_eq!(current(&vault, "erp", "seed"), "one");
    }
}
