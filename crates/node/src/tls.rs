//! Whom we believe over TLS: the authorities of this machine, and certificates known by sight.
//!
//! A tracker of one's own seldom has a certificate that an authority vouches for. Its certificate is
//! pinned by its SHA-256 instead, for one host and port: there that one and no other is accepted, and
//! an authority's word counts for nothing. Who decides what to pin, and keeps it, is our caller; a
//! failed exchange says which certificate was shown.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, LazyLock, OnceLock};

use parking_lot::Mutex;
use proto::Fingerprint;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{self, CryptoProvider};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Url;

use crate::http::HttpError;

/// Whom we believe. Cheap to clone; clones share what is pinned, and the sessions to take up again.
#[derive(Debug, Clone, Default)]
pub struct Trust(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pinned: Mutex<HashMap<Server, Pinned>>,
    /// Read when it is needed first.
    authorities: OnceLock<Arc<ClientConfig>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Server {
    /// Lower case, IPv6 without brackets.
    host: String,
    port: u16,
}

#[derive(Debug)]
struct Pinned {
    fingerprint: Fingerprint,
    config: Arc<ClientConfig>,
}

/// Why a server's certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateFault {
    /// Another one is pinned.
    #[error("it has changed: {pinned} is known, {found} was shown")]
    Changed {
        /// The one to be shown.
        pinned: Fingerprint,
        /// The one that was.
        found: Fingerprint,
    },
    /// Nobody vouches for it. Those who know it can pin it.
    #[error("no authority known to this machine vouches for {found}")]
    Unknown {
        /// The one that was shown.
        found: Fingerprint,
    },
    /// It is out of date, revoked or somebody else's.
    #[error("{reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

impl Trust {
    /// From now on accepts this certificate from that server, and no other.
    pub fn pin(&self, host: &str, port: u16, fingerprint: Fingerprint) {
        let config = config(Judge::Pin(fingerprint));
        self.0.pinned.lock().insert(Server::new(host, port), Pinned { fingerprint, config });
    }

    /// What is pinned for a server.
    #[must_use]
    pub fn pinned(&self, host: &str, port: u16) -> Option<Fingerprint> {
        self.0.pinned.lock().get(&Server::new(host, port)).map(|pinned| pinned.fingerprint)
    }

    /// Does the handshake with the server of an `https` URL.
    pub(crate) async fn connect(
        &self,
        url: &Url,
        stream: TcpStream,
    ) -> Result<TlsStream<TcpStream>, HttpError> {
        let refused = || HttpError::Url(url.to_string());
        let host = url.host_str().ok_or_else(refused)?.trim_matches(['[', ']']);
        let port = url.port_or_known_default().ok_or_else(refused)?;
        let name = ServerName::try_from(host.to_owned()).map_err(|_| refused())?;
        let connector = TlsConnector::from(self.config_for(host, port).await);
        connector.connect(name, stream).await.map_err(|source| {
            let host = host.to_owned();
            match fault_in(&source) {
                Some(fault) => HttpError::Certificate { host, fault },
                None => HttpError::Tls { host, source },
            }
        })
    }

    async fn config_for(&self, host: &str, port: u16) -> Arc<ClientConfig> {
        let server = Server::new(host, port);
        if let Some(pinned) = self.0.pinned.lock().get(&server) {
            return Arc::clone(&pinned.config);
        }
        if let Some(config) = self.0.authorities.get() {
            return Arc::clone(config);
        }
        let inner = Arc::clone(&self.0);
        // Reading some hundred certificates takes a moment.
        let read = tokio::task::spawn_blocking(move || Arc::clone(inner.authorities()));
        read.await.unwrap_or_else(|_| Arc::clone(self.0.authorities()))
    }
}

impl Inner {
    fn authorities(&self) -> &Arc<ClientConfig> {
        self.authorities.get_or_init(|| {
            let found = rustls_native_certs::load_native_certs();
            for error in found.errors {
                tracing::warn!(%error, "reading this machine's certificate authorities");
            }
            let mut roots = RootCertStore::empty();
            // Stores hold certificates of all ages; those that cannot be read help nobody.
            roots.add_parsable_certificates(found.certs);
            let provider = Arc::clone(&PROVIDER);
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build();
            config(Judge::Authorities(verifier.ok()))
        })
    }
}

fn config(judge: Judge) -> Arc<ClientConfig> {
    let algorithms = PROVIDER.signature_verification_algorithms;
    let verifier = Arc::new(Verifier { judge, algorithms });
    let mut config = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
        .with_safe_default_protocol_versions()
        .expect("the provider has suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

static PROVIDER: LazyLock<Arc<CryptoProvider>> =
    LazyLock::new(|| Arc::new(crypto::aws_lc_rs::default_provider()));

impl Server {
    fn new(host: &str, port: u16) -> Self {
        Self { host: host.trim_matches(['[', ']']).to_ascii_lowercase(), port }
    }
}

/// Decides about certificates; who shows one has to hold its key, whoever vouches for it.
#[derive(Debug)]
struct Verifier {
    judge: Judge,
    algorithms: crypto::WebPkiSupportedAlgorithms,
}

/// Whose word counts.
#[derive(Debug)]
enum Judge {
    /// One certificate is accepted and no other.
    Pin(Fingerprint),
    /// The authorities are asked. Without any of them everything is unknown.
    Authorities(Option<Arc<WebPkiServerVerifier>>),
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = fingerprint(end_entity);
        let unknown = || refused(CertificateFault::Unknown { found });
        let authorities = match &self.judge {
            Judge::Pin(pinned) if found == *pinned => return Ok(ServerCertVerified::assertion()),
            Judge::Pin(pinned) => {
                return Err(refused(CertificateFault::Changed { pinned: *pinned, found }));
            }
            Judge::Authorities(authorities) => authorities.as_ref().ok_or_else(unknown)?,
        };
        let verified = authorities.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        verified.map_err(|error| {
            let rustls::Error::InvalidCertificate(fault) = error else { return error };
            if is_definite(&fault) {
                refused(CertificateFault::Invalid { reason: fault.to_string() })
            } else {
                unknown()
            }
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// An authority vouched for it, but not here and now. All other faults come of certificates that
/// their servers made themselves, in the most different ways.
const fn is_definite(fault: &CertificateError) -> bool {
    matches!(
        fault,
        CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. }
            | CertificateError::Revoked
            | CertificateError::BadEncoding
            | CertificateError::NotValidForName
            | CertificateError::NotValidForNameContext { .. }
    )
}

/// SHA-256 of a certificate.
fn fingerprint(certificate: &CertificateDer<'_>) -> Fingerprint {
    Fingerprint(digest::sha256(certificate))
}

fn refused(fault: CertificateFault) -> rustls::Error {
    CertificateError::Other(OtherError(Arc::new(fault))).into()
}

/// The fault that [`refused`] put into a handshake's error.
fn fault_in(error: &io::Error) -> Option<CertificateFault> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(fault))) = error
    else {
        return None;
    };
    fault.downcast_ref::<CertificateFault>().cloned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_for_one_host_and_port() {
        let trust = Trust::default();
        let one = Fingerprint([1; 32]);
        trust.pin("NAS.lan", 443, one);
        trust.pin("::1", 443, one);
        assert_eq!(trust.pinned("nas.lan", 443), Some(one));
        assert_eq!(trust.pinned("[::1]", 443), Some(one));
        assert_eq!(trust.pinned("nas.lan", 6969), None);
        let two = Fingerprint([2; 32]);
        trust.pin("nas.lan", 443, two);
        assert_eq!(trust.pinned("nas.lan", 443), Some(two));
    }

    #[test]
    fn a_fault_is_found_again_in_the_error_of_a_handshake() {
        let fault = CertificateFault::Unknown { found: Fingerprint([1; 32]) };
        let error = io::Error::new(io::ErrorKind::InvalidData, refused(fault.clone()));
        assert_eq!(fault_in(&error), Some(fault));
        assert_eq!(fault_in(&io::ErrorKind::UnexpectedEof.into()), None);
    }
}
