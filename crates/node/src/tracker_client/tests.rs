//! The client against small trackers on loopback.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proto::tracker::udp::{
    ConnectionId, Family, Request, encode_announced, encode_connected, encode_refused,
    encode_scraped,
};
use proto::tracker::{SwarmCounts, http};
use swarm::AnnounceEvent;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, UdpSocket};

use super::*;

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
    Identity { peer_id: PeerId([9; 20]), port: 6881, key: 0xabc, bind: None }
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
        assert_eq!(announced, answer());
    }
    assert_eq!(tracker.counts(), [1, 3]);
}

#[tokio::test]
async fn lost_packets_are_sent_again() {
    let tracker = UdpTracker::start(0, 77, 1).await;
    let announced = TrackerClient::default().announce(&told(tracker.url), &me()).await;
    assert_eq!(announced.unwrap(), answer());
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
    let scraped = TrackerClient::default().scrape(&tracker.url, &hashes, None).await.unwrap();
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

async fn over_http(status: &str, body: &[u8]) -> (Result<Announced, TrackerError>, String) {
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
    assert_eq!(announced.unwrap(), answer());
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

#[tokio::test]
async fn other_kinds_of_trackers_are_refused() {
    for url in ["wss://x/announce", "https://x/announce", "udp://x/announce", "x"] {
        let refused = TrackerClient::default().announce(&told(url.to_owned()), &me()).await;
        assert!(matches!(refused, Err(TrackerError::Url(_))), "{url}");
    }
}

#[tokio::test]
async fn the_second_family_adds_its_peers_or_stands_in() {
    let late = Announced { peers: vec![SocketAddr::from(([1, 2, 3, 4], 5)).into()], ..answer() };
    let merged = both(async { Ok(answer()) }, async { Ok(late.clone()) }).await.unwrap();
    assert_eq!(merged.peers.len(), 2);
    let failed = || async { Err(TrackerError::NoScrape) };
    assert_eq!(both(failed(), async { Ok(answer()) }).await.unwrap(), answer());
    assert_eq!(both(async { Ok(answer()) }, failed()).await.unwrap(), answer());
    let silent = both(async { Ok(answer()) }, std::future::pending()).await;
    assert_eq!(silent.unwrap(), answer());
}
