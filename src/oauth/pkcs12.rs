//! Certificates and a key out of a PKCS#12 file (RFC 7292), as OpenSSL, Windows and Azure Key Vault make
//! them. Pure.
//!
//! It promises that a wrong password is told as one, that no octet of a key is shown, and that nothing is
//! believed before the file's own code (MAC) says it is whole, where it has one. It reads DER only.
//! Encryption: PBES2 with AES, and the old ways of PKCS#12, triple DES and RC2, which are still written.

use super::der::{OCTETS, OID, SEQUENCE, Walk, ZERO};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, KeyIvInit};
use ring::{digest, hmac, pbkdf2};
use std::num::NonZeroU32;
use zeroize::Zeroizing;

/// What a file holds.
#[derive(Default)]
pub(super) struct Safe {
    /// X.509 certificates, DER, in the order of the file.
    pub certificates: Vec<Vec<u8>>,
    /// The first private key, PKCS#8.
    pub key: Option<Zeroizing<Vec<u8>>>,
}

/// Why nothing was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// The password does not fit, or the file was changed.
    Password,
    /// No PKCS#12 in DER.
    Form,
    /// A way of encrypting or sealing that is not known here.
    Unknown,
}

/// More rounds than any program writes; each costs time.
const MOST_ROUNDS: u32 = 20_000_000;
/// Safes inside safes.
const DEEPEST: u32 = 4;

// Object identifiers, as they stand in DER.
const DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
const ENCRYPTED_DATA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x06];
/// 1.2.840.113549.1.12.10.1, and the kind of bag behind it.
const BAG: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x0a, 0x01];
const X509: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x16, 0x01];
/// 1.2.840.113549.1.12.1, and the way of encrypting behind it.
const PBE: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x0c, 0x01];
const PBES2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0d];
const PBKDF2: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x05, 0x0c];
/// 1.2.840.113549.2, and the hash behind it.
const HMAC: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x02];
/// 2.16.840.1.101.3.4.1, and length and mode behind it.
const AES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x01];
/// 2.16.840.1.101.3.4.2, and the length of the hash behind it.
const SHA2: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];
const SHA1: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1a];

/// Opens a file. An empty password stands for none as well.
pub(super) fn open(der: &[u8], password: &str) -> Result<Safe, Unread> {
    let mut file = Walk(der).inside().ok_or(Unread::Form)?;
    file.number().filter(|version| *version == 3).ok_or(Unread::Form)?;
    let (kind, content) = content(file.inside().ok_or(Unread::Form)?).ok_or(Unread::Form)?;
    if kind != DATA {
        return Err(Unread::Unknown);
    }
    let content = Walk(content).one(OCTETS).ok_or(Unread::Form)?;
    let password = Password::find(file, content, password)?;
    let mut safe = Safe::default();
    let mut parts = Walk(content).inside().ok_or(Unread::Form)?;
    while !parts.is_done() {
        part(parts.inside().ok_or(Unread::Form)?, &password, &mut safe)?;
    }
    Ok(safe)
}

/// ContentInfo: what it is, and what stands in its `[0]`.
fn content(mut info: Walk<'_>) -> Option<(&[u8], &[u8])> {
    Some((info.one(OID)?, info.one(ZERO)?))
}

/// The password in both ways of writing it.
struct Password {
    /// UTF-8, for PBES2.
    plain: Zeroizing<Vec<u8>>,
    /// UTF-16, big end first, two zeros behind it (RFC 7292 B.1), for the old ways.
    wide: Zeroizing<Vec<u8>>,
}

impl Password {
    /// Tried at the file's code. Of an empty password some programs leave out the zeros too.
    fn find(mut rest: Walk<'_>, content: &[u8], text: &str) -> Result<Self, Unread> {
        let plain = Zeroizing::new(text.as_bytes().to_vec());
        let units = text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes);
        let wide = Zeroizing::new(units.collect::<Vec<u8>>());
        if rest.is_done() {
            return Ok(Self { plain, wide });
        }
        let mac = Mac::read(rest.inside().ok_or(Unread::Form)?)?;
        let bare = Zeroizing::new(Vec::new());
        let ways = if text.is_empty() { vec![wide, bare] } else { vec![wide] };
        let fits = ways.into_iter().find(|wide| mac.fits(wide, content));
        Ok(Self { plain, wide: fits.ok_or(Unread::Password)? })
    }
}

/// MacData.
struct Mac<'a> {
    hash: &'static digest::Algorithm,
    code: &'a [u8],
    salt: &'a [u8],
    rounds: u32,
}

impl<'a> Mac<'a> {
    fn read(mut mac: Walk<'a>) -> Result<Self, Unread> {
        let mut sealed = mac.inside().ok_or(Unread::Form)?;
        let oid = sealed.inside().and_then(|mut algorithm| algorithm.one(OID));
        let hash = match oid.ok_or(Unread::Form)? {
            SHA1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            oid => match oid.strip_prefix(SHA2).ok_or(Unread::Unknown)? {
                [1] => &digest::SHA256,
                [2] => &digest::SHA384,
                [3] => &digest::SHA512,
                _ => return Err(Unread::Unknown),
            },
        };
        let code = sealed.one(OCTETS).ok_or(Unread::Form)?;
        let salt = mac.one(OCTETS).ok_or(Unread::Form)?;
        // One is the default of the standard, and so left out.
        let rounds = if mac.is_done() { 1 } else { mac.number().ok_or(Unread::Form)? };
        Ok(Self { hash, code, salt, rounds: bounded(rounds)? })
    }

    fn fits(&self, password: &[u8], content: &[u8]) -> bool {
        let length = self.hash.output_len();
        let key = derive(self.hash, Purpose::Mac, password, self.salt, self.rounds, length);
        let algorithm = match length {
            20 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            32 => hmac::HMAC_SHA256,
            48 => hmac::HMAC_SHA384,
            _ => hmac::HMAC_SHA512,
        };
        hmac::verify(&hmac::Key::new(algorithm, &key), content, self.code).is_ok()
    }
}

fn bounded(rounds: u32) -> Result<u32, Unread> {
    if (1..=MOST_ROUNDS).contains(&rounds) { Ok(rounds) } else { Err(Unread::Form) }
}

/// What a derived key is for (RFC 7292 B.3).
#[derive(Clone, Copy)]
enum Purpose {
    Key = 1,
    Vector = 2,
    Mac = 3,
}

/// RFC 7292 B.2.
fn derive(
    hash: &'static digest::Algorithm,
    purpose: Purpose,
    password: &[u8],
    salt: &[u8],
    rounds: u32,
    length: usize,
) -> Zeroizing<Vec<u8>> {
    let block = hash.block_len();
    let fill = |text: &[u8]| {
        let whole = text.len().div_ceil(block) * block;
        text.iter().copied().cycle().take(whole).collect::<Vec<u8>>()
    };
    let mut input = Zeroizing::new(fill(salt));
    input.extend_from_slice(&Zeroizing::new(fill(password)));
    let mut out = Zeroizing::new(Vec::with_capacity(length + hash.output_len()));
    loop {
        let mut context = digest::Context::new(hash);
        context.update(&vec![purpose as u8; block]);
        context.update(&input);
        let mut round = context.finish();
        for _ in 1..rounds {
            round = digest::digest(hash, round.as_ref());
        }
        out.extend_from_slice(round.as_ref());
        if out.len() >= length {
            out.truncate(length);
            return out;
        }
        // Each block of the input grows by B + 1, as numbers of that many octets.
        for piece in input.chunks_mut(block) {
            let mut carry = 1;
            for (at, octet) in piece.iter_mut().enumerate().rev() {
                let add = u16::from(round.as_ref()[at % hash.output_len()]);
                let sum = u16::from(*octet) + add + carry;
                *octet = sum.to_be_bytes()[1];
                carry = sum >> 8;
            }
        }
    }
}

/// One part of the file: bags in the clear, or encrypted together.
fn part(info: Walk<'_>, password: &Password, safe: &mut Safe) -> Result<(), Unread> {
    let (kind, inside) = content(info).ok_or(Unread::Form)?;
    match kind {
        DATA => bags(Walk(inside).one(OCTETS).ok_or(Unread::Form)?, password, safe, 0),
        ENCRYPTED_DATA => {
            let mut data = Walk(inside).inside().ok_or(Unread::Form)?;
            data.number().ok_or(Unread::Form)?;
            let mut content = data.inside().ok_or(Unread::Form)?;
            content.one(OID).ok_or(Unread::Form)?;
            let algorithm = content.inside().ok_or(Unread::Form)?;
            // [0] IMPLICIT OCTET STRING
            let sealed = content.one(0x80).ok_or(Unread::Form)?;
            bags(&decrypt(algorithm, sealed, password)?, password, safe, 0)
        }
        // Encrypted for somebody's public key: no password opens that.
        _ => Err(Unread::Unknown),
    }
}

fn bags(octets: &[u8], password: &Password, safe: &mut Safe, depth: u32) -> Result<(), Unread> {
    let mut all = whole(octets).ok_or(Unread::Form)?;
    while !all.is_done() {
        let (kind, value) = all.inside().and_then(content).ok_or(Unread::Form)?;
        match kind.strip_prefix(BAG) {
            Some([1]) => keep(&mut safe.key, value),
            Some([2]) => {
                let mut sealed = Walk(value).inside().ok_or(Unread::Form)?;
                let algorithm = sealed.inside().ok_or(Unread::Form)?;
                let octets = sealed.one(OCTETS).ok_or(Unread::Form)?;
                let found = decrypt(algorithm, octets, password)?;
                // One wrong password in 256 leaves a padding that looks right.
                whole(&found).ok_or(Unread::Password)?;
                keep(&mut safe.key, &found);
            }
            Some([3]) => {
                let bag = Walk(value).inside().and_then(content);
                let (kind, value) = bag.ok_or(Unread::Form)?;
                if kind == X509 {
                    let certificate = Walk(value).one(OCTETS).ok_or(Unread::Form)?;
                    safe.certificates.push(certificate.to_vec());
                }
            }
            Some([6]) if depth < DEEPEST => bags(value, password, safe, depth + 1)?,
            // Lists of revoked certificates, secrets of other kinds.
            _ => {}
        }
    }
    Ok(())
}

/// Inside a sequence behind which nothing stands.
fn whole(octets: &[u8]) -> Option<Walk<'_>> {
    let mut walk = Walk(octets);
    let inside = walk.inside()?;
    walk.is_done().then_some(inside)
}

fn keep(key: &mut Option<Zeroizing<Vec<u8>>>, found: &[u8]) {
    if key.is_none() {
        *key = Some(Zeroizing::new(found.to_vec()));
    }
}

/// Decrypts by an AlgorithmIdentifier.
fn decrypt(
    mut algorithm: Walk<'_>,
    sealed: &[u8],
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let oid = algorithm.one(OID).ok_or(Unread::Form)?;
    let mut terms = algorithm.inside().ok_or(Unread::Form)?;
    if oid == PBES2 {
        return pbes2(terms, sealed, password);
    }
    let way = oid.strip_prefix(PBE).ok_or(Unread::Unknown)?;
    let salt = terms.one(OCTETS).ok_or(Unread::Form)?;
    let rounds = bounded(terms.number().ok_or(Unread::Form)?)?;
    let hash = &digest::SHA1_FOR_LEGACY_USE_ONLY;
    let made = |purpose, length| derive(hash, purpose, &password.wide, salt, rounds, length);
    let vector = made(Purpose::Vector, 8);
    match way {
        [3] => cbc::<des::TdesEde3>(&made(Purpose::Key, 24), &vector, sealed),
        [4] => cbc::<des::TdesEde2>(&made(Purpose::Key, 16), &vector, sealed),
        [5] => rc2(&made(Purpose::Key, 16), 128, &vector, sealed),
        [6] => rc2(&made(Purpose::Key, 5), 40, &vector, sealed),
        _ => Err(Unread::Unknown),
    }
}

/// RFC 8018 §6.2.
fn pbes2(
    mut terms: Walk<'_>,
    sealed: &[u8],
    password: &Password,
) -> Result<Zeroizing<Vec<u8>>, Unread> {
    let mut derivation = terms.inside().ok_or(Unread::Form)?;
    let mut cipher = terms.inside().ok_or(Unread::Form)?;
    if derivation.one(OID).ok_or(Unread::Form)? != PBKDF2 {
        return Err(Unread::Unknown);
    }
    let mut derivation = derivation.inside().ok_or(Unread::Form)?;
    let salt = derivation.one(OCTETS).ok_or(Unread::Form)?;
    let rounds = bounded(derivation.number().ok_or(Unread::Form)?)?;
    // The length of the key may stand here; the cipher says it too.
    let _ = derivation.number();
    let hash = match derivation.one(SEQUENCE).map(|prf| Walk(prf).one(OID)) {
        None => pbkdf2::PBKDF2_HMAC_SHA1,
        Some(oid) => match oid.and_then(|oid| oid.strip_prefix(HMAC)) {
            Some([7]) => pbkdf2::PBKDF2_HMAC_SHA1,
            Some([9]) => pbkdf2::PBKDF2_HMAC_SHA256,
            Some([10]) => pbkdf2::PBKDF2_HMAC_SHA384,
            Some([11]) => pbkdf2::PBKDF2_HMAC_SHA512,
            _ => return Err(Unread::Unknown),
        },
    };
    let oid = cipher.one(OID).ok_or(Unread::Form)?;
    let vector = cipher.one(OCTETS).ok_or(Unread::Form)?;
    let rounds = NonZeroU32::new(rounds).ok_or(Unread::Form)?;
    let made = |length| {
        let mut key = Zeroizing::new(vec![0; length]);
        pbkdf2::derive(hash, rounds, salt, &password.plain, &mut key);
        key
    };
    match oid.strip_prefix(AES) {
        Some([2]) => cbc::<aes::Aes128>(&made(16), vector, sealed),
        Some([22]) => cbc::<aes::Aes192>(&made(24), vector, sealed),
        Some([42]) => cbc::<aes::Aes256>(&made(32), vector, sealed),
        _ => Err(Unread::Unknown),
    }
}

/// Where the password is wrong and no code told it, the padding almost surely does.
fn cbc<C>(key: &[u8], vector: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unread>
where
    C: cbc::cipher::BlockCipherDecrypt + cbc::cipher::KeyInit,
{
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, vector).map_err(|_| Unread::Form)?;
    let open = cipher.decrypt_padded_vec::<Pkcs7>(sealed).map_err(|_| Unread::Password)?;
    Ok(Zeroizing::new(open))
}

/// RC2 says besides the key how many bits of it count (RFC 2268).
fn rc2(
    key: &[u8],
    bits: usize,
    vector: &[u8],
    sealed: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Unread> {
    use cbc::cipher::InnerIvInit;
    let cipher = rc2::Rc2::new_with_eff_key_len(key, bits);
    let cipher = cbc::Decryptor::<rc2::Rc2>::inner_iv_slice_init(cipher, vector);
    let cipher = cipher.map_err(|_| Unread::Form)?;
    let open = cipher.decrypt_padded_vec::<Pkcs7>(sealed).map_err(|_| Unread::Password)?;
    Ok(Zeroizing::new(open))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const CERTIFICATE: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/src/sandbox/keys/application.crt");
    const KEY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/sandbox/keys/application.key");

    /// A file as openssl(1) makes it with these words.
    fn made(password: &str, words: &[&str]) -> Vec<u8> {
        let output = Command::new("openssl")
            .args([
                "pkcs12",
                "-export",
                "-in",
                CERTIFICATE,
                "-passout",
                &format!("pass:{password}"),
            ])
            .args(words)
            .output()
            .expect("openssl(1) is needed: scripts/install-test-tools");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    /// As they are written: by OpenSSL 3, by Windows with either of its two ways, by Azure Key Vault.
    const WAYS: &[(&str, &str, &[&str])] = &[
        ("OpenSSL 3", "hunter2", &[]),
        ("OpenSSL 1, and older Windows: RC2 and 3DES", "hunter2", &["-legacy"]),
        (
            "Windows, TripleDES_SHA1",
            "hunter2",
            &[
                "-legacy",
                "-certpbe",
                "PBE-SHA1-3DES",
                "-keypbe",
                "PBE-SHA1-3DES",
                "-macalg",
                "sha1",
            ],
        ),
        (
            "Windows, AES256_SHA256",
            "hunter2",
            &["-certpbe", "AES-256-CBC", "-keypbe", "AES-256-CBC", "-macalg", "sha256"],
        ),
        (
            "Azure Key Vault",
            "",
            &["-certpbe", "PBE-SHA1-3DES", "-keypbe", "PBE-SHA1-3DES", "-legacy"],
        ),
        ("empty, new", "", &[]),
        ("beyond ASCII", "grüße-価格-😀", &[]),
        ("beyond ASCII, old", "grüße-価格-😀", &["-legacy"]),
        ("AES-128", "hunter2", &["-certpbe", "AES-128-CBC", "-keypbe", "AES-192-CBC"]),
        ("other hashes", "hunter2", &["-macalg", "sha512"]),
        ("SHA-384", "hunter2", &["-macalg", "sha384"]),
        ("many rounds", "hunter2", &["-iter", "20000"]),
        ("one round", "hunter2", &["-noiter", "-nomaciter"]),
        ("certificate in the clear", "hunter2", &["-certpbe", "NONE"]),
        ("all in the clear", "hunter2", &["-certpbe", "NONE", "-keypbe", "NONE"]),
        ("RC2-128", "hunter2", &["-legacy", "-certpbe", "PBE-SHA1-RC2-128"]),
        ("without a code", "hunter2", &["-nomac"]),
    ];

    fn kind(result: Result<Safe, Unread>) -> Result<(usize, bool), Unread> {
        result.map(|safe| (safe.certificates.len(), safe.key.is_some()))
    }

    #[test]
    fn files_of_every_maker_are_read_and_a_wrong_password_is_told() {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let pem = std::fs::read(CERTIFICATE).unwrap();
        let expected = CertificateDer::from_pem_slice(&pem).unwrap().to_vec();
        for (way, password, words) in WAYS {
            let file = made(password, &[words, &["-inkey", KEY][..]].concat());
            let safe = open(&file, password).unwrap_or_else(|why| panic!("{way}: {why:?}"));
            assert_eq!(safe.certificates.as_slice(), std::slice::from_ref(&expected), "{way}");
            let key = ring::rsa::KeyPair::from_pkcs8(&safe.key.expect(way));
            assert!(key.is_ok(), "{way}");
            // Without a code only the padding tells, and one in 256 wrong ones looks right.
            for wrong in ["hunter3", "Hunter2", "hunter2 "] {
                let found = kind(open(&file, wrong));
                let is_told = matches!(found, Err(Unread::Password | Unread::Form));
                assert!(is_told, "{way}: {wrong}: {found:?}");
            }
        }
    }

    #[test]
    fn a_file_without_a_key_or_with_none_of_our_ways_is_read_as_far_as_it_goes() {
        assert_eq!(kind(open(&made("x", &["-nokeys"]), "x")), Ok((1, false)));
        let file = made("x", &["-inkey", KEY, "-certpbe", "camellia-256-cbc"]);
        assert_eq!(kind(open(&file, "x")), Err(Unread::Unknown));
        for garbage in [&b""[..], b"-----BEGIN CERTIFICATE-----", &[0x30, 0x80, 0, 0], &[0x30; 200]]
        {
            assert_eq!(kind(open(garbage, "x")), Err(Unread::Form), "{garbage:?}");
        }
    }

    #[test]
    fn a_file_cut_anywhere_or_changed_anywhere_never_panics_and_is_never_believed() {
        for words in [&["-noiter", "-nomaciter"][..], &["-legacy", "-noiter", "-nomaciter"]] {
            let file = made("x", &[words, &["-inkey", KEY][..]].concat());
            for end in 0..file.len() {
                assert!(open(&file[..end], "x").is_err(), "cut at {end}");
            }
            for at in 0..file.len() {
                let mut changed = file.clone();
                changed[at] ^= 0x01;
                if let Ok(safe) = open(&changed, "x") {
                    let whole = open(&file, "x").expect("sound");
                    assert_eq!(safe.certificates, whole.certificates, "changed at {at}");
                    assert_eq!(safe.key, whole.key, "changed at {at}");
                }
            }
        }
    }

    #[test]
    fn the_old_derivation_gives_what_others_give() {
        // Vectors by which the implementations of this are held against each other: "smeg", "queeg".
        let wide = |text: &str| -> Vec<u8> {
            text.encode_utf16().chain([0]).flat_map(u16::to_be_bytes).collect()
        };
        let sha1 = &digest::SHA1_FOR_LEGACY_USE_ONLY;
        for (purpose, password, salt, rounds, expected) in [
            (
                Purpose::Key,
                "smeg",
                0x0a58_cf64_530d_823f_u64,
                1,
                "8aaae6297b6cb04642ab5b077851284eb7128f1a2a7fbca3",
            ),
            (Purpose::Vector, "smeg", 0x0a58_cf64_530d_823f, 1, "79993dfe048d3b76"),
            (
                Purpose::Mac,
                "smeg",
                0x3d83_c0e4_546a_c140,
                1,
                "8d967d88f6caa9d714800ab3d48051d63f73a312",
            ),
            (
                Purpose::Key,
                "queeg",
                0x05de_c959_acff_72f7,
                1000,
                "ed2034e36328830ff09df1e1a07dd357185dac0d4f9eb3d4",
            ),
            (
                Purpose::Mac,
                "queeg",
                0x2632_16fc_c2fa_b31c,
                1000,
                "5ec4c7a80df652294c3925b6489a7ab857c83476",
            ),
        ] {
            let salt = salt.to_be_bytes();
            let made = derive(sha1, purpose, &wide(password), &salt, rounds, expected.len() / 2);
            let hexadecimal: String = made.iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(hexadecimal, expected, "{password} {rounds}");
        }
    }
}
