//! The certificate that the tracker shows: read from files, or made once and kept.
//!
//! What the tracker makes itself vouches for nobody: clients know it again by its fingerprint. So it
//! is never replaced silently, and its key is readable by its owner only from the first byte on.

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use proto::Fingerprint;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rcgen::{IsCa, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, date_time_ymd};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::whole_file::{EVERYBODY, OWNER, write_whole};

/// Where the certificate comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CertificateSource {
    /// Two PEM files: the chain, the server's certificate first, and its key.
    Files {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
    },
    /// Made at the first start and kept in the data folder.
    SelfSigned {
        /// The names and addresses that it is for.
        names: Vec<String>,
    },
}

/// The certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A file has no PEM of the kind that it should have.
    #[error("{}: {reason}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// They do not belong together, or are of a kind that cannot be used.
    #[error("{} with the key {}: {reason}", chain.display(), key.display())]
    Pair {
        /// The chain.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// No certificate could be made.
    #[error("make a certificate: {0}")]
    Made(rcgen::Error),
    /// No TLS can be spoken with it.
    #[error("prepare TLS: {0}")]
    Config(rustls::Error),
}

/// The two files, and how they looked when they were read.
#[derive(Debug, Clone)]
pub(super) struct Files {
    chain: PathBuf,
    key: PathBuf,
}

/// How two files look from outside; a replaced one looks different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Looks([Option<(u64, SystemTime)>; 2]);

impl Files {
    /// The files of a source; those of a self-signed certificate are made if they are not there.
    pub(super) fn of(source: &CertificateSource, folder: &Path) -> Result<Self, CertificateError> {
        match source {
            CertificateSource::Files { chain, key } => {
                Ok(Self { chain: chain.clone(), key: key.clone() })
            }
            CertificateSource::SelfSigned { names } => {
                let files = Self { chain: folder.join(CHAIN_FILE), key: folder.join(KEY_FILE) };
                // The certificate is written last: without it nobody has seen the key at work.
                if !files.chain.exists() {
                    files.make(names)?;
                }
                Ok(files)
            }
        }
    }

    /// How they look now.
    pub(super) fn looks(&self) -> Looks {
        Looks([&self.chain, &self.key].map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.len(), metadata.modified().ok()?))
        }))
    }

    /// Reads both.
    pub(super) fn load(
        &self,
        provider: &CryptoProvider,
    ) -> Result<(CertifiedKey, Fingerprint), CertificateError> {
        let chain = read_chain(&self.chain)?;
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .map_err(|error| unreadable(&self.key, error, "a private key"))?;
        let fingerprint = fingerprint(&chain[0]);
        let pair = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
            let reason = if matches!(error, rustls::Error::InconsistentKeys(_)) {
                "they do not belong together".to_owned()
            } else {
                error.to_string()
            };
            CertificateError::Pair { chain: self.chain.clone(), key: self.key.clone(), reason }
        })?;
        Ok((pair, fingerprint))
    }

    fn make(&self, names: &[String]) -> Result<(), CertificateError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CertificateError::Made)?;
        let certificate = parameters(names).self_signed(&key).map_err(CertificateError::Made)?;
        write(&self.key, &key.serialize_pem(), OWNER)?;
        write(&self.chain, &certificate.pem(), EVERYBODY)
    }
}

/// SHA-256 of a certificate.
fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(digest::sha256(certificate))
}

/// At least one certificate.
fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let refused = |error| unreadable(path, error, "a certificate");
    let chain = CertificateDer::pem_file_iter(path).map_err(refused)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(refused)?;
    if chain.is_empty() {
        return Err(refused(pem::Error::NoItemsFound));
    }
    Ok(chain)
}

fn unreadable(path: &Path, error: pem::Error, wanted: &str) -> CertificateError {
    let path = path.to_owned();
    let reason = if matches!(error, pem::Error::NoItemsFound) {
        format!("there is no {wanted} in PEM in it")
    } else {
        error.to_string()
    };
    if let pem::Error::Io(source) = error {
        return CertificateError::File { path, source };
    }
    CertificateError::Pem { path, reason }
}

/// A server's certificate for all of the names that can stand in one.
fn parameters(names: &[String]) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.subject_alt_names = names.iter().filter_map(|name| alternative_name(name)).collect();
    let mut subject = DistinguishedName::new();
    subject.push(DnType::CommonName, "Teem tracker");
    parameters.distinguished_name = subject;
    // Clients compare its fingerprint: an end would only be a day on which all of them fail.
    parameters.not_before = date_time_ymd(2020, 1, 1);
    parameters.not_after = date_time_ymd(2120, 1, 1);
    parameters.is_ca = IsCa::ExplicitNoCa;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

fn alternative_name(name: &str) -> Option<SanType> {
    if let Ok(ip) = name.parse() {
        return Some(SanType::IpAddress(ip));
    }
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let is_name = (1..=253).contains(&name.len()) && name.bytes().all(is_fine);
    is_name.then(|| name.try_into().ok().map(SanType::DnsName)).flatten()
}

fn write(path: &Path, pem: &str, mode: u32) -> Result<(), CertificateError> {
    write_whole(path, mode, |file| file.write_all(pem.as_bytes()))
        .map_err(|source| CertificateError::File { path: path.to_owned(), source })
}

/// The files of a certificate of our own, in the order in which they are made.
pub(crate) const OWN_FILES: [&str; 2] = [KEY_FILE, CHAIN_FILE];
const CHAIN_FILE: &str = "tls-cert.pem";
const KEY_FILE: &str = "tls-key.pem";

#[cfg(test)]
mod tests {
    use super::*;

    fn self_signed() -> CertificateSource {
        let names = ["localhost", "127.0.0.1", "::1", "nas.lan", "not a name", "ü"];
        CertificateSource::SelfSigned { names: names.map(str::to_owned).to_vec() }
    }

    fn provider() -> CryptoProvider {
        rustls::crypto::aws_lc_rs::default_provider()
    }

    fn made() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::of(&self_signed(), folder.path()).unwrap();
        (folder, files)
    }

    #[test]
    fn a_certificate_is_made_once_and_stays() {
        let (folder, files) = made();
        let (_, first) = files.load(&provider()).unwrap();
        let again = Files::of(&self_signed(), folder.path()).unwrap();
        assert_eq!(again.load(&provider()).unwrap().1, first);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "no draft is left");
    }

    #[test]
    #[cfg(unix)]
    fn the_key_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let (folder, _) = made();
        let mode =
            |name| fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(KEY_FILE), 0o600);
        assert_eq!(mode(CHAIN_FILE) & 0o200, 0o200);
    }

    #[test]
    fn a_first_start_that_was_cut_short_starts_over() {
        let (folder, files) = made();
        fs::remove_file(folder.path().join(CHAIN_FILE)).unwrap();
        let again = Files::of(&self_signed(), folder.path()).unwrap();
        assert!(again.load(&provider()).is_ok());
        assert!(files.load(&provider()).is_ok(), "the same files");
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let (folder, files) = made();
        let (other_folder, other) = made();
        let strange = Files { chain: files.chain.clone(), key: other.key };
        let error = strange.load(&provider()).unwrap_err();
        assert!(matches!(error, CertificateError::Pair { .. }), "{error}");
        assert!(error.to_string().ends_with("they do not belong together"), "{error}");

        let missing = Files { chain: folder.path().join("none"), key: files.key.clone() };
        assert!(matches!(missing.load(&provider()), Err(CertificateError::File { .. })));

        fs::write(other_folder.path().join("empty"), "hello").unwrap();
        let empty = Files { chain: other_folder.path().join("empty"), key: files.key.clone() };
        assert!(matches!(empty.load(&provider()), Err(CertificateError::Pem { .. })));
        let swapped = Files { chain: files.key, key: files.chain };
        assert!(matches!(swapped.load(&provider()), Err(CertificateError::Pem { .. })));
    }

    #[test]
    fn a_replaced_file_looks_different() {
        let (folder, files) = made();
        let before = files.looks();
        assert_eq!(files.looks(), before);
        fs::write(folder.path().join(KEY_FILE), "x").unwrap();
        assert_ne!(files.looks(), before);
        fs::remove_file(folder.path().join(KEY_FILE)).unwrap();
        assert_ne!(files.looks(), before);
    }
}
