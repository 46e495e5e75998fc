//! The key of the vault: where it comes from, what it may look like.
//!
//! It promises that a file others can read is refused and that no error shows a key.

use super::{VaultError, io_at, random, read_private};
use crate::durable;
use crate::secret::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Where the key comes from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// A file that systemd lays out for this service only. Its group bits are not looked at: they
    /// show the mask of an access list that systemd sets, not readers.
    Credential(PathBuf),
    /// The value of `$SUBMITD_VAULT_KEY`.
    Text(Secret),
    /// A key file of the operator, `$SUBMITD_VAULT_KEY_FILE`.
    File(PathBuf),
    /// `state_dir/vault.key`, made at the first start.
    Own(PathBuf),
}

impl KeySource {
    /// The first there is, of: the systemd credential `submitd-vault-key`, `$SUBMITD_VAULT_KEY`,
    /// `$SUBMITD_VAULT_KEY_FILE`, `state_dir/vault.key`.
    pub fn find(state_dir: &Path, environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let credential = environment("CREDENTIALS_DIRECTORY")
            .map(|directory| PathBuf::from(directory).join("submitd-vault-key"))
            .filter(|path| path.exists());
        if let Some(path) = credential {
            return Self::Credential(path);
        }
        if let Some(text) = environment("SUBMITD_VAULT_KEY") {
            return Self::Text(Secret::new(text.to_string_lossy()));
        }
        match environment("SUBMITD_VAULT_KEY_FILE") {
            Some(path) => Self::File(path.into()),
            None => Self::Own(state_dir.join("vault.key")),
        }
    }

    pub(super) fn read(&self) -> Result<Zeroizing<[u8; 32]>, VaultError> {
        match self {
            Self::Text(text) => key(text.expose().as_bytes(), "$SUBMITD_VAULT_KEY"),
            Self::Credential(path) => {
                let octets = std::fs::read(path).map(Zeroizing::new).map_err(io_at(path))?;
                key(&octets, &path.display().to_string())
            }
            Self::File(path) => key(&read_private(path)?, &path.display().to_string()),
            Self::Own(path) => match read_private(path) {
                Ok(octets) => key(&octets, &path.display().to_string()),
                Err(VaultError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {
                    let fresh = Zeroizing::new(random::<32>()?);
                    let text = Zeroizing::new(format!("{}\n", STANDARD.encode(*fresh)));
                    durable::replace(path, text.as_bytes()).map_err(io_at(path))?;
                    Ok(fresh)
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// 32 octets, plain or in base64.
pub(super) fn key(octets: &[u8], place: &str) -> Result<Zeroizing<[u8; 32]>, VaultError> {
    let plain = octets.trim_ascii();
    let decoded = STANDARD.decode(plain).map(Zeroizing::new).ok();
    let found = match decoded {
        Some(decoded) if decoded.len() == 32 => <[u8; 32]>::try_from(decoded.as_slice()),
        _ => <[u8; 32]>::try_from(octets),
    };
    found.map(Zeroizing::new).map_err(|_| VaultError::Key(place.to_owned()))
}

/// A name for a key: half a hash of it and of what it is for.
pub(super) fn name(key: &[u8; 32]) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(b"submitd vault key\0");
    context.update(key);
    STANDARD.encode(&context.finish().as_ref()[..16])
}
