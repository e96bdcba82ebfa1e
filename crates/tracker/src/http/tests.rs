//! Whole connections: where plain requests and all others meet.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::routing::{get, post};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::*;
use crate::{Plain, Routers, TlsConfig, Tracker, TrackerConfig};

const HASH: &str = "info_hash=aaaaaaaaaaaaaaaaaaaa";
const PATIENCE: Duration = Duration::from_secs(30);
const PEER: &str = "peer_id=-TE0100-000000000000&port=7000&left=5";

struct Server {
    tracker: Tracker,
    addr: SocketAddr,
    _folder: TempDir,
}

/// A tracker whose router answers `/page` and `/echo`.
async fn start(change: impl FnOnce(&mut TrackerConfig)) -> Server {
    let folder = TempDir::new().unwrap();
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    let mut config = TrackerConfig { listen, ..TrackerConfig::default() };
    change(&mut config);
    let public = Router::new()
        .route("/page", get(|| async { "a page" }))
        .route("/echo", post(|body: String| async move { body }));
    let routers = |_| Routers { public, admin: Router::new() };
    let home = ("here".to_owned(), folder.path().to_owned());
    let tracker = Tracker::start(home, config, routers).await.unwrap();
    let addr = tracker.listeners()[0].addr;
    Server { tracker, addr, _folder: folder }
}

impl Server {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).await.unwrap()
    }

    /// What comes back until the tracker closes, each part of the bytes sent once the one before is on
    /// its way.
    async fn say<'b>(&self, parts: impl IntoIterator<Item = &'b [u8]>) -> String {
        let mut stream = self.connect().await;
        stream.set_nodelay(true).unwrap();
        for part in parts {
            stream.write_all(part).await.unwrap();
            tokio::task::yield_now().await;
        }
        until_closed(&mut stream).await
    }

    async fn ask(&self, target: &str, lines: &str) -> String {
        let request = format!("GET {target} HTTP/1.1\r\nConnection: close\r\n{lines}\r\n");
        self.say([request.as_bytes()]).await
    }
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let whole = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await;
    whole.expect("it closes").expect("it closes in good order");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The answers, without the times in them.
fn without_dates(answers: &str) -> String {
    let lines = answers.split_inclusive("\r\n").filter(|line| !line.starts_with("date: "));
    lines.collect()
}

fn statuses(answers: &str) -> Vec<&str> {
    answers.match_indices("HTTP/1.1 ").map(|(at, _)| &answers[at + 9..at + 12]).collect()
}

#[tokio::test]
async fn plain_requests_are_answered_as_all_others_are() {
    let server = start(|_| {}).await;
    // Not plain, and of no other effect.
    let other = "Upgrade: nothing\r\n";
    for target in [
        "/health".to_owned(),
        format!("/announce?{HASH}&{PEER}"),
        format!("/announce?{HASH}&{PEER}&compact=0"),
        format!("/announce?{HASH}"),
        format!("/announce?{HASH}&{PEER}&port=0"),
        format!("/scrape?{HASH}"),
        format!("/{}/scrape?{HASH}", "0123456789".repeat(4)),
        "/scrape".to_owned(),
    ] {
        let plain = server.ask(&target, "").await;
        assert!(plain.starts_with("HTTP/1.1 200 OK\r\n"), "{plain}");
        assert!(plain.contains("\r\ndate: "), "{plain}");
        let general = server.ask(&target, other).await;
        assert_eq!(without_dates(&plain), without_dates(&general), "{target}");
    }
    let requests = server.tracker.shared().http.requests.load(Ordering::Relaxed);
    assert_eq!(requests, 16);
    server.tracker.stop().await;
}

#[tokio::test]
async fn one_connection_carries_requests_of_all_kinds_however_they_are_split() {
    let server = start(|_| {}).await;
    let announce = format!("GET /announce?{HASH}&{PEER} HTTP/1.1\r\nHost: t\r\n\r\n");
    let page = "GET /page HTTP/1.1\r\nHost: t\r\n\r\n";
    let echo = "POST /echo HTTP/1.1\r\nHost: t\r\nContent-Length: 4\r\n\r\nbody";
    let last = "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n";
    let all = format!("{announce}{announce}{page}{echo}{announce}{last}");
    let expected = without_dates(&server.say([all.as_bytes()]).await);
    assert_eq!(statuses(&expected), ["200"; 6]);
    assert!(expected.contains("\r\n\r\na page") && expected.contains("\r\n\r\nbody"), "{expected}");
    assert!(expected.ends_with("ok\n"), "{expected}");
    for at in (1..all.len()).step_by(7) {
        let (first, second) = all.as_bytes().split_at(at);
        assert_eq!(without_dates(&server.say([first, second]).await), expected, "{at}");
    }
    assert_eq!(without_dates(&server.say(all.as_bytes().chunks(1)).await), expected);
    server.tracker.stop().await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_ever() {
    let server = start(|_| {}).await;
    let long = format!("GET /announce?{HASH}&x={} HTTP/1.1\r\n", "y".repeat(40_000));
    for wrong in [long.as_str(), "nonsense\r\n\r\n", "GET /announce HTTP/1.1\r\nA b: c\r\n\r\n"] {
        let (mut stream, mut answer) = (server.connect().await, Vec::new());
        stream.write_all(wrong.as_bytes()).await.unwrap();
        // Bytes that nobody read make it an error.
        _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it closes");
        assert!(answer.is_empty(), "{}", &wrong[..12]);
    }
    for (method, target, status) in [("PUT", "/announce", "405"), ("GET", "/nowhere", "404")] {
        let request = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n\r\n");
        assert_eq!(statuses(&server.say([request.as_bytes()]).await), [status]);
    }
    let old = format!("GET /announce?{HASH}&{PEER} HTTP/1.0\r\n\r\n");
    assert!(server.say([old.as_bytes()]).await.starts_with("HTTP/1.0 200 OK\r\n"));
    server.tracker.stop().await;
}

#[tokio::test]
async fn a_connection_that_is_kept_ends_when_the_tracker_stops() {
    let server = start(|_| {}).await;
    let mut idle = server.connect().await;
    idle.write_all(b"GET /health HTTP/1.1\r\n\r\n").await.unwrap();
    let mut answer = [0; 17];
    idle.read_exact(&mut answer).await.unwrap();
    let open = || server.tracker.shared().http.connections.open();
    assert_eq!((&answer, open()), (b"HTTP/1.1 200 OK\r\n", 1));
    let mut busy = server.connect().await;
    busy.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    while open() < 2 {
        tokio::task::yield_now().await;
    }
    let finish = async {
        // The idle one ends first, so the tracker is stopping.
        assert!(until_closed(&mut idle).await.ends_with("ok\n"));
        busy.write_all(b"\r\n").await.unwrap();
        until_closed(&mut busy).await
    };
    let (answer, ()) = tokio::join!(finish, server.tracker.stop());
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

#[tokio::test]
async fn who_asks_once_takes_nobodys_place() {
    let server = start(|config| config.connections_max = 1).await;
    let counters = Arc::clone(&server.tracker.shared().http);
    let evicted = || counters.connections.evicted.load(Ordering::Relaxed);
    let mut kept = server.connect().await;
    kept.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    while counters.connections.open() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(server.ask("/health", "").await.ends_with("ok\n"));
    assert_eq!((counters.connections.open(), evicted()), (1, 0));
    let mut other = server.connect().await;
    other.write_all(b"GET /health HTTP/1.1\r\n").await.unwrap();
    assert_eq!(until_closed(&mut kept).await, "", "it lost its place to one that stays");
    assert_eq!(evicted(), 1);
    server.tracker.stop().await;
}

#[tokio::test]
async fn proxies_are_believed_about_plain_requests() {
    let server = start(|config| config.proxies = vec!["127.0.0.1".parse().unwrap()]).await;
    let target = format!("/announce?{HASH}&{PEER}");
    let external =
        |answer: String| answer.split_once("11:external ip4:").unwrap().1[..4].to_owned();
    assert_eq!(
        external(server.ask(&target, "X-Forwarded-For: 9.9.9.9, 65.66.67.68\r\n").await),
        "ABCD"
    );
    assert_eq!(external(server.ask(&target, "Forwarded: for=65.66.67.68\r\n").await), "ABCD");
    let both = "X-Forwarded-For: 65.66.67.68\r\nForwarded: for=70.70.70.70\r\n";
    assert_eq!(external(server.ask(&target, both).await), "\x7f\0\0\x01");
    assert_eq!(external(server.ask(&target, "").await), "\x7f\0\0\x01");
    server.tracker.stop().await;
}

#[tokio::test]
async fn beside_tls_plain_requests_are_served_or_refused() {
    for (plain, status) in [(Plain::Served, "200"), (Plain::Refused, "426")] {
        let certificate = crate::CertificateSource::SelfSigned { names: Vec::new() };
        let server = start(|config| config.tls = Some(TlsConfig { certificate, plain })).await;
        let request = "GET /health HTTP/1.1\r\nConnection: close\r\n\r\n".as_bytes();
        let at_once = server.say([request]).await;
        assert_eq!(statuses(&at_once), [status]);
        let parts = server.say(request.chunks(3)).await;
        assert_eq!(without_dates(&parts), without_dates(&at_once));
        server.tracker.stop().await;
    }
}
