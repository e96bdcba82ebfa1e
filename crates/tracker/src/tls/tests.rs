//! Handshakes between a client and the tracker's side, over loopback.

use std::path::PathBuf;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsConnector;

use super::*;

struct Server {
    tls: Tls,
    listener: TcpListener,
    patience: Duration,
    folder: TempDir,
}

async fn server(plain: Plain) -> Server {
    let folder = tempfile::tempdir().unwrap();
    let names = vec!["localhost".to_owned()];
    let config = TlsConfig { certificate: CertificateSource::SelfSigned { names }, plain };
    let tls = Tls::open(&config, folder.path()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    Server { tls, listener, patience: Duration::from_secs(30), folder }
}

impl Server {
    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A client that knows the server's certificate as it is now.
    fn client(&self, version: &'static SupportedProtocolVersion) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let chain = CertificateDer::from_pem_file(self.file("tls-cert.pem")).unwrap();
        roots.add(chain).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).unwrap();
        TlsConnector::from(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
    }

    async fn accept(&self) -> io::Result<Begun> {
        let (stream, _) = self.listener.accept().await.unwrap();
        self.tls.begin(stream, self.patience).await
    }

    /// What becomes of a connection that begins with `bytes`.
    async fn after(&self, bytes: &[u8]) -> (io::Result<Begun>, TcpStream) {
        let mut client = TcpStream::connect(self.listener.local_addr().unwrap()).await.unwrap();
        client.write_all(bytes).await.unwrap();
        (self.accept().await, client)
    }

    /// One handshake, a byte there and one back.
    async fn talk(&self, client: &TlsConnector) -> io::Result<()> {
        let name = ServerName::try_from("localhost").unwrap();
        let stream = TcpStream::connect(self.listener.local_addr().unwrap()).await?;
        let (client, server) = tokio::join!(client.connect(name, stream), self.accept());
        let (mut client, Begun::Tls(mut server)) = (client?, server?) else { panic!("no TLS") };
        echo(&mut client, &mut server).await
    }

    fn counts(&self) -> [u64; 3] {
        let counters = self.tls.counters();
        [&counters.handshakes, &counters.resumed, &counters.failures]
            .map(|counter| counter.load(Ordering::Relaxed))
    }
}

async fn echo(
    client: &mut tokio_rustls::client::TlsStream<TcpStream>,
    server: &mut TlsStream<Bounded<TcpStream>>,
) -> io::Result<()> {
    client.write_all(b"?").await?;
    assert_eq!(server.read_u8().await?, b'?');
    server.write_all(b"!").await?;
    assert_eq!(client.read_u8().await?, b'!');
    Ok(())
}

#[tokio::test]
async fn a_client_that_comes_again_takes_up_its_session() {
    let server = server(Plain::Served).await;
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let before = server.counts();
        let client = server.client(version);
        server.talk(&client).await.unwrap();
        server.talk(&client).await.unwrap();
        assert_eq!(server.counts(), [before[0] + 2, before[1] + 1, 0], "{version:?}");
    }
}

#[tokio::test]
async fn the_first_byte_tells_tls_from_plain() {
    let server = server(Plain::Served).await;
    for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"{", b"\x15"] {
        assert!(matches!(server.after(bytes).await.0, Ok(Begun::Plain(_))), "{bytes:?}");
    }
    let strict = self::server(Plain::Refused).await;
    assert!(matches!(strict.after(b"{").await.0, Ok(Begun::PlainRefused(_))));
    strict.talk(&strict.client(&rustls::version::TLS13)).await.unwrap();
}

#[tokio::test]
async fn what_is_no_handshake_is_a_failure() {
    let server = server(Plain::Served).await;
    for bytes in [&b"\x16\x03\x01\x00\x05hello"[..], b"\x16GET / HTTP/1.1\r\n\r\n"] {
        assert!(server.after(bytes).await.0.is_err(), "{bytes:?}");
    }
    // A greeting of 60,000 bytes, in records of 16 KiB.
    let mut long = b"\x16\x03\x01\x40\x00\x01\x00\xea\x60".to_vec();
    long.resize(long.len() + 16_380, 0);
    long.extend_from_slice(b"\x16\x03\x01\x40\x00");
    long.resize(long.len() + 16_384, 0);
    assert!(server.after(&long).await.0.is_err(), "too long");
    assert_eq!(server.counts(), [0, 0, 3]);
}

#[tokio::test]
async fn the_silent_and_the_slow_are_left() {
    let mut server = server(Plain::Served).await;
    server.tls.handshake_timeout = Duration::from_millis(50);
    server.patience = Duration::from_millis(50);
    for bytes in [&b""[..], b"\x16", b"\x16\x03\x01\x00\xff"] {
        let (begun, _client) = server.after(bytes).await;
        let error = begun.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{bytes:?}");
    }
    assert_eq!(server.counts(), [0, 0, 2]);
}

#[tokio::test]
async fn a_new_certificate_is_shown_while_connections_go_on() {
    let server = server(Plain::Served).await;
    let old_client = server.client(&rustls::version::TLS13);
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(server.listener.local_addr().unwrap()).await.unwrap();
    let (client, begun) = tokio::join!(old_client.connect(name, stream), server.accept());
    let (mut client, Ok(Begun::Tls(mut open))) = (client.unwrap(), begun) else { panic!("no TLS") };
    let first = server.tls.fingerprint();
    assert_eq!(server.tls.reload_if_changed().unwrap(), Reloaded::Same);

    let other = self::server(Plain::Served).await;
    let replace = |name: &str| std::fs::copy(other.file(name), server.file(name)).unwrap();
    replace("tls-cert.pem");
    assert!(server.tls.reload().is_err(), "half of a pair");
    assert_eq!(server.tls.fingerprint(), first);
    server.talk(&old_client).await.expect("the old one is still shown");

    replace("tls-key.pem");
    assert_eq!(server.tls.reload().unwrap(), Reloaded::New(other.tls.fingerprint()));
    assert_eq!(server.tls.fingerprint(), other.tls.fingerprint());
    server.talk(&server.client(&rustls::version::TLS13)).await.unwrap();
    assert!(server.talk(&old_client).await.is_err(), "no ticket outlives its certificate");
    echo(&mut client, &mut open).await.unwrap();
}
