//! The client against small trackers on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proto::Fingerprint;
use proto::tracker::udp::{
    ConnectionId, Family, Request, encode_announced, encode_connected, encode_refused,
    encode_scraped,
};
use proto::tracker::{SwarmCounts, http};
use swarm::AnnounceEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;
use crate::tls::CertificateFault;

fn told(url: String) -> AnnounceTo {
    AnnounceTo {
        url,
        info_hash: InfoHash([7; 20]),
        event: AnnounceEvent::Started,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        num_want: 50,
    }
}

fn me() -> Identity {
    Identity { peer_id: PeerId([9; 20]), port: 6881, key: 0xabc }
}

fn answer() -> Announced {
    let peer = SocketAddr::from(([127, 0, 0, 2], 5000));
    Announced {
        interval: 60,
        seeders: 1,
        leechers: 2,
        peers: vec![peer.into()],
        ..Announced::default()
    }
}

/// A UDP tracker that does not answer the first `deaf` packets and takes only connection ids that it
/// gave out since it started. Counts connects and announces.
async fn udp_tracker(socket: UdpSocket, id: u64, deaf: usize, counts: Arc<[AtomicUsize; 2]>) {
    let mut packet = vec![0; 2048];
    for number in 0.. {
        let (len, from) = socket.recv_from(&mut packet).await.unwrap();
        if number < deaf {
            continue;
        }
        let mut out = Vec::new();
        match Request::decode(&packet[..len]).unwrap() {
            Request::Connect { transaction } => {
                counts[0].fetch_add(1, Ordering::SeqCst);
                encode_connected(&mut out, transaction, ConnectionId(id));
            }
            Request::Announce { connection, transaction, announce, .. } => {
                if connection != ConnectionId(id) {
                    continue;
                }
                counts[1].fetch_add(1, Ordering::SeqCst);
                assert_eq!((announce.port, announce.left, announce.key), (6881, 3, Some(0xabc)));
                if announce.event == AnnounceEvent::Stopped {
                    encode_refused(&mut out, transaction, "not you");
                } else {
                    encode_announced(&mut out, transaction, &answer(), Family::V4);
                }
            }
            Request::Scrape { transaction, info_hashes, .. } => {
                let counts = SwarmCounts { seeders: 4, completed: 5, leechers: 6 };
                encode_scraped(&mut out, transaction, &vec![counts; info_hashes.len()]);
            }
        }
        socket.send_to(&out, from).await.unwrap();
    }
}

struct UdpTracker {
    url: String,
    counts: Arc<[AtomicUsize; 2]>,
    task: tokio::task::JoinHandle<()>,
}

impl UdpTracker {
    async fn start(port: u16, id: u64, deaf: usize) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", port)).await.unwrap();
        let url = format!("udp://{}/announce", socket.local_addr().unwrap());
        let counts = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let task = tokio::spawn(udp_tracker(socket, id, deaf, Arc::clone(&counts)));
        Self { url, counts, task }
    }

    fn counts(&self) -> [usize; 2] {
        [0, 1].map(|index: usize| self.counts[index].load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_connection_id_serves_many_announces() {
    let tracker = UdpTracker::start(0, 77, 0).await;
    let client = TrackerClient::default();
    for _ in 0..3 {
        let announced = client.announce(&told(tracker.url.clone()), &me()).await.unwrap();
        assert_eq!(announced, (answer(), Nearness::Machine));
    }
    assert_eq!(tracker.counts(), [1, 3]);
}

#[tokio::test]
async fn lost_packets_are_sent_again() {
    let tracker = UdpTracker::start(0, 77, 1).await;
    let announced = TrackerClient::default().announce(&told(tracker.url), &me()).await;
    assert_eq!(announced.unwrap().0, answer());
}

#[tokio::test]
async fn a_tracker_that_started_anew_is_found_again() {
    let first = UdpTracker::start(0, 77, 0).await;
    let client = TrackerClient::default();
    client.announce(&told(first.url.clone()), &me()).await.unwrap();
    let port = Url::parse(&first.url).unwrap().port().unwrap();
    first.task.abort();
    assert!(first.task.await.unwrap_err().is_cancelled());
    let second = UdpTracker::start(port, 78, 0).await;
    client.announce(&told(second.url.clone()), &me()).await.unwrap();
    assert_eq!(second.counts(), [1, 1]);
}

#[tokio::test]
async fn a_refusal_says_why() {
    let tracker = UdpTracker::start(0, 77, 0).await;
    let stopped = AnnounceTo { event: AnnounceEvent::Stopped, ..told(tracker.url) };
    let refused = TrackerClient::default().announce(&stopped, &me()).await.unwrap_err();
    assert_eq!(refused.to_string(), "the tracker refused: not you");
}

#[tokio::test]
async fn nobody_there_is_known_at_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    drop(socket);
    let error = TrackerClient::default().announce(&told(url), &me()).await.unwrap_err();
    assert!(matches!(error, TrackerError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn scrapes_go_over_udp_in_portions() {
    let tracker = UdpTracker::start(0, 77, 0).await;
    let hashes = vec![InfoHash([1; 20]); 100];
    let scraped = TrackerClient::default().scrape(&tracker.url, &hashes).await.unwrap();
    assert_eq!(scraped.swarms, vec![SwarmCounts { seeders: 4, completed: 5, leechers: 6 }; 100]);
}

/// Answers one HTTP request with `body`; returns its target.
async fn http_tracker(listener: TcpListener, status: &str, body: &[u8]) -> String {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
    }
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    String::from_utf8(bytes).unwrap().split(' ').nth(1).unwrap().to_owned()
}

type Answer = Result<(Announced, Nearness), TrackerError>;

async fn over_http(status: &str, body: &[u8]) -> (Answer, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/announce?passkey=k", listener.local_addr().unwrap());
    let client = TrackerClient::default();
    let (told, me) = (told(url), me());
    tokio::join!(client.announce(&told, &me), http_tracker(listener, status, body))
}

#[tokio::test]
async fn announces_go_over_http_behind_the_urls_own_query() {
    let mut body = Vec::new();
    http::encode_announced(&mut body, &answer(), true, true);
    let (announced, target) = over_http("200 OK", &body).await;
    assert_eq!(announced.unwrap().0, answer());
    let query = target.strip_prefix("/announce?passkey=k&").unwrap();
    let decoded = http::decode_announce(query).unwrap().announce;
    assert_eq!((decoded.info_hash, decoded.left), (InfoHash([7; 20]), 3));
    assert_eq!((decoded.key, decoded.num_want), (Some(0xabc), Some(50)));
}

#[tokio::test]
async fn http_failures_are_told_apart() {
    let mut body = Vec::new();
    http::encode_refused(&mut body, &Refusal::new("closed"));
    let (refused, _) = over_http("200 OK", &body).await;
    assert_eq!(refused.unwrap_err().to_string(), "the tracker refused: closed");
    let (status, _) = over_http("502 Bad Gateway", b"<html>").await;
    assert!(matches!(status, Err(TrackerError::Status(502))));
    let (malformed, _) = over_http("200 OK", b"<html>").await;
    assert!(matches!(malformed, Err(TrackerError::Malformed(_))));
}

/// A TLS server with a certificate of its own making.
fn tls_server() -> (tokio_rustls::TlsAcceptor, Fingerprint) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let fingerprint = Fingerprint(digest::sha256(made.cert.der()));
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (Arc::new(config).into(), fingerprint)
}

/// Announces over HTTPS to a tracker that answers, if the client likes its certificate.
async fn over_https(server: &tokio_rustls::TlsAcceptor, pin: Option<Fingerprint>) -> Answer {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let trust = Trust::default();
    if let Some(pin) = pin {
        trust.pin("127.0.0.1", addr.port(), pin);
    }
    let serve = async {
        let (stream, _) = listener.accept().await.unwrap();
        let Ok(mut stream) = server.accept(stream).await else { return };
        let mut bytes = Vec::new();
        while !bytes.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(stream.read_buf(&mut bytes).await.unwrap() > 0);
        }
        let mut body = Vec::new();
        http::encode_announced(&mut body, &answer(), true, true);
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.unwrap();
        stream.write_all(&body).await.unwrap();
        stream.shutdown().await.unwrap();
    };
    let (client, told, me) = (
        TrackerClient::new(trust, Gate::default()),
        told(format!("https://{addr}/announce")),
        me(),
    );
    tokio::join!(client.announce(&told, &me), serve).0
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_good_where_it_is_pinned() {
    let (server, own) = tls_server();
    assert_eq!(over_https(&server, Some(own)).await.unwrap().0, answer());

    let fault = |answer| match answer {
        Err(TrackerError::Http(HttpError::Certificate { host, fault })) => (host, fault),
        other => panic!("{other:?}"),
    };
    let (host, unknown) = fault(over_https(&server, None).await);
    assert_eq!((host.as_str(), unknown), ("127.0.0.1", CertificateFault::Unknown { found: own }));
    let pinned = Fingerprint([1; 32]);
    let (_, changed) = fault(over_https(&server, Some(pinned)).await);
    assert_eq!(changed, CertificateFault::Changed { pinned, found: own });
}

#[tokio::test]
async fn a_tracker_without_tls_is_not_announced_to_over_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/announce", listener.local_addr().unwrap());
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        stream.shutdown().await.unwrap();
        _ = stream.read_to_end(&mut Vec::new()).await;
    };
    let client = TrackerClient::default();
    let (told, me) = (told(url), me());
    let (answer, ()) = tokio::join!(client.announce(&told, &me), serve);
    assert!(matches!(answer, Err(TrackerError::Http(HttpError::Tls { .. }))), "{answer:?}");
}

#[tokio::test]
async fn other_kinds_of_trackers_are_refused() {
    for url in ["wss://x/announce", "ftp://x/announce", "udp://x/announce", "x"] {
        let refused = TrackerClient::default().announce(&told(url.to_owned()), &me()).await;
        assert!(matches!(refused, Err(TrackerError::Url(_))), "{url}");
    }
}

#[tokio::test]
async fn the_second_family_adds_its_peers_or_stands_in() {
    let said = |answer| async { Ok((answer, Nearness::Internet)) };
    let late = Announced { peers: vec![SocketAddr::from(([1, 2, 3, 4], 5)).into()], ..answer() };
    let near = Nearness::Network;
    let merged = both(said(answer()), async { Ok((late.clone(), near)) }).await.unwrap();
    assert_eq!((merged.0.peers.len(), merged.1), (2, near));
    let failed = || async { Err(TrackerError::NoScrape) };
    assert_eq!(both(failed(), said(answer())).await.unwrap().0, answer());
    assert_eq!(both(said(answer()), failed()).await.unwrap().0, answer());
    let silent = both(said(answer()), std::future::pending()).await;
    assert_eq!(silent.unwrap().0, answer());
}

#[tokio::test]
async fn torrents_send_nothing_but_announces_into_our_own_network() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    for path in ["", "/", "/shutdown", "/announce/../shutdown", "/_search?q=announce"] {
        let told = told(format!("http://{addr}{path}"));
        let refused = TrackerClient::default().announce(&told, &me()).await;
        assert!(matches!(refused, Err(TrackerError::NoTracker { .. })), "{path}: {refused:?}");
    }
    let nobody = timeout(Duration::ZERO, listener.accept()).await;
    assert!(nobody.is_err(), "somebody connected");
}
