//! TLS (RFC 8446, RFC 5246) on the ports that speak HTTP and JSON, beside the plain protocols.
//!
//! A TLS connection begins with the byte 0x16, no request does: so the first byte tells. A handshake
//! costs more than all else that the tracker does for a client together, hence tickets, so that a
//! client which comes again pays less, and a bound on handshakes that are worked on side by side, so
//! that plain clients and those at work are never out of breath. The certificate can be replaced
//! while connections are open.

mod bounded;
mod certificate;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use proto::Fingerprint;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::CertificateDer;
use rustls::server::Acceptor;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{HandshakeKind, ServerConfig};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{timeout, timeout_at};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use bounded::Bounded;
pub(crate) use certificate::OWN_FILES;
pub use certificate::{CertificateError, CertificateSource};
use certificate::{Files, Looks};

use crate::limits::{TLS_HANDSHAKE_LEN_MAX, TLS_HANDSHAKE_TIMEOUT, TLS_LOOK_EVERY};

/// How TLS is to be spoken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// What to show.
    pub certificate: CertificateSource,
    /// Whether plain connections are served beside it.
    pub plain: Plain,
}

/// What becomes of plain connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plain {
    /// They are served.
    Served,
    /// They are told to come over TLS.
    Refused,
}

/// What TLS has done.
#[derive(Debug, Default)]
pub struct TlsCounters {
    /// Handshakes that ended well.
    pub handshakes: AtomicU64,
    /// Of these, taken up from a ticket.
    pub resumed: AtomicU64,
    /// Handshakes that did not end well, or not in time.
    pub failures: AtomicU64,
}

/// The certificate in use, and everything to speak TLS with it.
#[derive(Debug)]
pub struct Tls {
    plain: Plain,
    files: Files,
    provider: Arc<CryptoProvider>,
    current: RwLock<Current>,
    handshake_timeout: Duration,
    /// Handshakes in which our part is being computed.
    computing: Semaphore,
    counters: TlsCounters,
}

#[derive(Debug)]
struct Current {
    server: Arc<ServerConfig>,
    chain: Vec<CertificateDer<'static>>,
    fingerprint: Fingerprint,
    /// The files that it was read from, as they were just before.
    looks: Looks,
}

/// What a new look at the files brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The same certificate as before.
    Same,
    /// Another one, in use from now on.
    New(Fingerprint),
}

/// How a connection begins.
#[derive(Debug)]
pub(crate) enum Begun {
    /// Without TLS.
    Plain(TcpStream),
    /// Without TLS, where only TLS is spoken.
    PlainRefused(TcpStream),
    /// With TLS; the handshake is done.
    Tls(Box<TlsStream<Bounded<TcpStream>>>),
}

impl Tls {
    /// Reads the certificate, or makes it in `folder`. Blocks.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub(crate) fn open(config: &TlsConfig, folder: &Path) -> Result<Self, CertificateError> {
        let files = Files::of(&config.certificate, folder)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let current = Current::load(&files, &provider)?;
        // Half of what serves is left to everybody else.
        let runtime = tokio::runtime::Handle::try_current();
        let threads = runtime.map_or(1, |runtime| runtime.metrics().num_workers());
        Ok(Self {
            plain: config.plain,
            files,
            provider,
            current: RwLock::new(current),
            handshake_timeout: TLS_HANDSHAKE_TIMEOUT,
            computing: Semaphore::new((threads / 2).max(1)),
            counters: TlsCounters::default(),
        })
    }

    /// The certificate's fingerprint, which clients can compare.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.current.read().fingerprint
    }

    /// Whether plain connections are served too.
    #[must_use]
    pub const fn plain(&self) -> Plain {
        self.plain
    }

    /// What it has done.
    #[must_use]
    pub const fn counters(&self) -> &TlsCounters {
        &self.counters
    }

    /// Reads the certificate again and uses it for new connections; those at work keep theirs. One
    /// that cannot be used leaves the one before in use. Blocks for a moment.
    ///
    /// # Errors
    /// When the files cannot be used.
    pub fn reload(&self) -> Result<Reloaded, CertificateError> {
        // Before it reads, so that a file replaced meanwhile is seen the next time.
        let looks = self.files.looks();
        let loaded = Current::load(&self.files, &self.provider);
        let mut current = self.current.write();
        current.looks = looks;
        let new = loaded?;
        if new.chain == current.chain {
            // Its clients keep their tickets.
            return Ok(Reloaded::Same);
        }
        let fingerprint = new.fingerprint;
        *current = new;
        drop(current);
        tracing::info!(%fingerprint, "the TLS certificate was replaced");
        Ok(Reloaded::New(fingerprint))
    }

    /// [`Tls::reload`] when a file looks different than at the last reading.
    fn reload_if_changed(&self) -> Result<Reloaded, CertificateError> {
        if self.files.looks() == self.current.read().looks {
            return Ok(Reloaded::Same);
        }
        self.reload()
    }

    /// Whether a connection, by what has come already, is one without TLS that is served.
    pub(crate) fn serves_plain(&self, stream: &std::net::TcpStream) -> bool {
        let mut first = [0];
        let plain = match stream.peek(&mut first) {
            Ok(len) => !asks_for_handshake(&first[..len]),
            // Nobody knows yet.
            Err(_) => false,
        };
        plain && self.plain == Plain::Served
    }

    /// Waits for a connection's first byte, no longer than `patience`, and does the handshake if it
    /// asks for one.
    pub(crate) async fn begin(&self, stream: TcpStream, patience: Duration) -> io::Result<Begun> {
        let mut first = [0];
        let len = timeout(patience, stream.peek(&mut first)).await??;
        if !asks_for_handshake(&first[..len]) {
            return Ok(match self.plain {
                Plain::Served => Begun::Plain(stream),
                Plain::Refused => Begun::PlainRefused(stream),
            });
        }
        let done = self.handshake(stream).await;
        let counter = match &done {
            Ok(_) => &self.counters.handshakes,
            Err(_) => &self.counters.failures,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let stream = done?;
        if stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed) {
            self.counters.resumed.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Begun::Tls(Box::new(stream)))
    }

    async fn handshake(&self, stream: TcpStream) -> io::Result<TlsStream<Bounded<TcpStream>>> {
        let deadline = tokio::time::Instant::now() + self.handshake_timeout;
        let stream = Bounded::new(stream, TLS_HANDSHAKE_LEN_MAX);
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let hello = timeout_at(deadline, hello).await??;
        // A client that is slow holds a permit no longer than our own part takes: signing.
        let rest = {
            let permit = timeout_at(deadline, self.computing.acquire()).await?;
            let _permit = permit.map_err(io::Error::other)?;
            let server = Arc::clone(&self.current.read().server);
            hello.into_stream(server)
        };
        let mut stream = timeout_at(deadline, rest).await??;
        stream.get_mut().0.lift();
        Ok(stream)
    }
}

impl Current {
    fn load(files: &Files, provider: &Arc<CryptoProvider>) -> Result<Self, CertificateError> {
        let looks = files.looks();
        let (pair, fingerprint) = files.load(provider)?;
        let chain = pair.cert.clone();
        let server = server_config(pair, provider).map_err(CertificateError::Config)?;
        Ok(Self { server: Arc::new(server), chain, fingerprint, looks })
    }
}

/// Looks at the files from time to time until the tracker stops.
pub(crate) async fn watch(tls: Arc<Tls>, stop: CancellationToken) {
    let mut rounds = tokio::time::interval(TLS_LOOK_EVERY);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = rounds.tick() => {}
            () = stop.cancelled() => return,
        }
        let tls = Arc::clone(&tls);
        let looked = tokio::task::spawn_blocking(move || tls.reload_if_changed()).await;
        if let Ok(Err(error)) = looked {
            tracing::error!(%error, "the new TLS certificate cannot be used; the old one stays");
        }
    }
}

/// TLS 1.3 and 1.2 with tickets of our own, which another certificate's clients cannot use.
fn server_config(
    pair: CertifiedKey,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.ticketer = Ticketer::new()?;
    // Most clients come again once: the second of the usual two would only cost bytes.
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn asks_for_handshake(first: &[u8]) -> bool {
    first.first() == Some(&HANDSHAKE_RECORD)
}

/// The type of a TLS record that carries a handshake (RFC 8446, 5.1).
const HANDSHAKE_RECORD: u8 = 0x16;

#[cfg(test)]
mod tests;
