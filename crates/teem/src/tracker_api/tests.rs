//! The API and HTTP announces, against a running tracker and with requests written by hand.

use std::net::SocketAddr;

use proto::InfoHash;
use proto::bencode::DictEncoder;
use proto::magnet::Magnet;
use proto::metainfo::Metainfo;
use proto::tracker::http::{announce_query, decode_announced, decode_scraped, scrape_query};
use proto::tracker::{Announce, AnnounceEvent, ClaimedAddrs};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tracker::{Tracker, TrackerConfig};

mod rows;

use super::dto::{EntryWithPeers, Page, Published, Refusal, RefusalCode, Status, Unpublished};
use super::statistics::{Client, Statistics, TorrentByClient, TorrentPage};

struct Reply {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Reply {
    fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&self.body)))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

struct Server {
    tracker: Tracker,
    addr: SocketAddr,
    admin: SocketAddr,
}

async fn start_at(folder: &TempDir, listen: &str) -> Server {
    start_with(folder, listen, false).await
}

async fn start_with(folder: &TempDir, listen: &str, private: bool) -> Server {
    let config = TrackerConfig {
        private,
        listen: vec![listen.parse().unwrap()],
        admin: tracker::Extra { listen: vec!["127.0.0.1:0".parse().unwrap()], required: true },
        ..TrackerConfig::default()
    };
    let home = ("here".to_owned(), folder.path().to_owned());
    let hosts = crate::own_hosts::OwnHosts::new(std::iter::empty());
    let tracker = Tracker::start(home, config, |shared| super::routers(shared, hosts));
    let tracker = tracker.await.unwrap();
    let addr = tracker.listeners()[0].addr;
    let at_admin = |listener: &&tracker::Listener| listener.protocol == tracker::Protocol::Admin;
    let admin = tracker.listeners().iter().find(at_admin).unwrap().addr;
    Server { tracker, addr, admin }
}

async fn start(folder: &TempDir) -> Server {
    start_at(folder, "127.0.0.1:0").await
}

impl Server {
    async fn send(&self, method: &str, path: &str, body: &[u8]) -> Reply {
        self.send_as("", method, path, body).await
    }

    /// With more lines in the head.
    async fn send_as(&self, lines: &str, method: &str, path: &str, body: &[u8]) -> Reply {
        let headers = format!("Host: nas:7000\r\n{lines}");
        self.ask(self.addr, (method, path), &headers, body).await
    }

    /// One request; `headers` are whole lines.
    async fn ask(
        &self,
        at: SocketAddr,
        (method, path): (&str, &str),
        headers: &str,
        body: &[u8],
    ) -> Reply {
        let len = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\
             Content-Length: {len}\r\n\r\n"
        );
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        // A refusal may come before all of the body is sent.
        _ = stream.write_all(body).await;
        let mut bytes = Vec::new();
        _ = stream.read_to_end(&mut bytes).await;
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n").expect("a whole head");
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let status = head[9..12].parse().unwrap();
        Reply { status, head, body: bytes[end + 4..].to_vec() }
    }

    async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, b"").await
    }

    /// The operator's port, asked as the operator does.
    async fn operator(&self, path: &str) -> Reply {
        self.ask(self.admin, ("GET", path), "Host: localhost\r\n", b"").await
    }

    async fn announce(&self, info_hash: InfoHash, port: u16, left: u64, extra: &str) -> Reply {
        let announce = Announce {
            info_hash,
            peer_id: proto::PeerId(*b"-TE0100-000000000000"),
            port,
            uploaded: 0,
            downloaded: 0,
            left,
            event: AnnounceEvent::None,
            num_want: None,
            key: None,
            claimed: ClaimedAddrs::default(),
        };
        let query = announce_query(&announce).replace("&compact=1", extra);
        self.get(&format!("/announce?{query}")).await
    }
}

fn peers(reply: &Reply) -> Vec<SocketAddr> {
    let announced = decode_announced(&reply.body).unwrap().unwrap();
    let mut peers: Vec<_> = announced.peers.into_iter().map(|peer| peer.addr).collect();
    peers.sort();
    peers
}

fn torrent(fill: u8) -> Vec<u8> {
    let mut info = DictEncoder::new();
    info.bytes(b"name", b"content").int(b"length", 30_000);
    info.int(b"piece length", 16_384).bytes(b"pieces", &[fill; 40]);
    let mut root = DictEncoder::new();
    root.bytes(b"announce", b"http://127.0.0.1:1/announce");
    root.dict(b"info", &info);
    root.finish()
}

fn hash_of(torrent: &[u8]) -> InfoHash {
    Metainfo::decode(torrent).unwrap().info.hashes().primary()
}

#[tokio::test]
async fn name_is_published_once_and_other_content_refused() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    let path = "/api/v1/catalogue/team%2Fbig";
    let reply = server.send("PUT", path, &torrent(1)).await;
    assert_eq!(reply.status, 201);
    let published: Published = reply.json();
    assert!(published.created);
    assert_eq!(published.entry.name, "team/big");
    assert_eq!(published.trackers, ["http://nas:7000/announce", "udp://nas:7000/announce"]);
    assert_eq!(server.send("PUT", path, &torrent(1)).await.status, 200);
    let reply = server.send("PUT", path, &torrent(2)).await;
    assert_eq!(reply.status, 409);
    let refusal: Refusal = reply.json();
    assert_eq!(refusal.code, RefusalCode::NameTaken);
    for fill in [1, 2] {
        assert!(refusal.error.contains(&hash_of(&torrent(fill)).to_string()), "{refusal:?}");
    }
}

const ANNA: &str = "Authorization: Bearer anna-s-long-secret\r\n";
const BERT: &str = "Authorization: Bearer bert-s-long-secret\r\n";

#[tokio::test]
async fn owner_publishes_versions_and_takes_them_back() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    let path = "/api/v1/catalogue/big?description=A%20model&tag=June&tag=model";
    assert_eq!(server.send_as(ANNA, "PUT", path, &torrent(1)).await.status, 201);
    let path = "/api/v1/catalogue/big";
    let refused = server.send_as(BERT, "PUT", path, &torrent(2)).await;
    let Refusal { code, .. } = refused.json();
    assert_eq!((refused.status, code), (409, RefusalCode::NameTaken));
    let updated = server.send_as(ANNA, "PUT", path, &torrent(2)).await;
    let published: Published = updated.json();
    assert_eq!((updated.status, published.created), (201, true));
    let entry = published.entry;
    assert_eq!((entry.version, entry.versions, entry.mine), (2, 2, true));
    assert_eq!(
        (entry.description.as_str(), entry.tags),
        ("A model", vec!["june".into(), "model".into()])
    );

    server.announce(hash_of(&torrent(1)), 7001, 0, "").await;
    for (name, version, seeders) in [("big", 2, 0), ("big@1", 1, 1), ("big@latest", 2, 0)] {
        let path = format!("/api/v1/catalogue/{}", name.replace('@', "%40"));
        let found: EntryWithPeers = server.send_as(BERT, "GET", &path, b"").await.json();
        assert_eq!((found.entry.version, found.entry.seeders), (version, seeders), "{name}");
        assert!(!found.entry.mine, "{name}");
        let history: Vec<_> = found.history.iter().map(|one| (one.version, one.seeders)).collect();
        assert_eq!(history, [(2, 0), (1, 1)]);
    }
    let reply = server.get("/api/v1/catalogue/big@1/torrent").await;
    let first = Metainfo::decode(&reply.body).unwrap().info.hashes().primary();
    assert_eq!(first, hash_of(&torrent(1)));
    let page = server.send_as(ANNA, "GET", "/api/v1/catalogue?q=june+mod", b"").await;
    assert!(page.json::<Page>().entries[0].mine);

    let refused = server.send_as(BERT, "DELETE", path, b"").await;
    let Refusal { code, .. } = refused.json();
    assert_eq!((refused.status, code), (403, RefusalCode::Forbidden));
    for (name, status, versions) in
        [("big@2", 200, &[2][..]), ("big@2", 404, &[]), ("big", 200, &[1]), ("big", 404, &[])]
    {
        let path = format!("/api/v1/catalogue/{name}");
        let reply = server.send_as(ANNA, "DELETE", &path, b"").await;
        assert_eq!(reply.status, status, "{name}");
        if status == 200 {
            let gone: Unpublished = reply.json();
            assert_eq!((gone.name.as_str(), gone.versions.as_slice()), ("big", versions));
        }
    }
    // Its peers go on.
    assert_eq!(peers(&server.announce(hash_of(&torrent(1)), 7002, 5, "").await).len(), 1);
}

#[tokio::test]
async fn paths_inside_are_found_and_named() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    server.send("PUT", "/api/v1/catalogue/big", &torrent(1)).await;
    let page: Page = server.get("/api/v1/catalogue?q=CONTENT").await.json();
    assert_eq!(
        (page.entries[0].in_paths, page.entries[0].path.as_deref()),
        (true, Some("content"))
    );
    let page: Page = server.get("/api/v1/catalogue?q=big").await.json();
    assert_eq!((page.entries[0].in_paths, page.entries[0].path.as_deref()), (false, None));
}

#[tokio::test]
async fn downloads_are_counted_across_restarts() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    server.send("PUT", "/api/v1/catalogue/big", &torrent(1)).await;
    let hash = hash_of(&torrent(1));
    server.announce(hash, 7001, 9, "").await;
    server.announce(hash, 7001, 0, "&event=completed").await;
    server.tracker.stop().await;
    let server = start(&folder).await;
    let found: EntryWithPeers = server.get("/api/v1/catalogue/big").await.json();
    assert_eq!((found.entry.completed, found.entry.seeders), (1, 0));
    server.tracker.stop().await;
}

#[tokio::test]
async fn bad_requests_are_refused_in_words() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    let long = vec![b'x'; tracker::limits::METAINFO_LEN_MAX + 1];
    let hash_name = format!("/api/v1/catalogue/{}", "ab".repeat(20));
    let many_tags = format!("/api/v1/catalogue/x?{}", "tag=a&".repeat(17));
    let cases: [(&str, &str, &[u8], u16, RefusalCode); 12] = [
        ("PUT", "/api/v1/catalogue/x@2", &torrent(1), 400, RefusalCode::BadName),
        ("PUT", &many_tags, &torrent(1), 400, RefusalCode::BadAbout),
        ("PUT", "/api/v1/catalogue/x?about=y", &torrent(1), 400, RefusalCode::BadRequest),
        ("DELETE", "/api/v1/catalogue/x", b"", 404, RefusalCode::NotFound),
        ("PUT", "/api/v1/catalogue/x", b"nonsense", 400, RefusalCode::BadTorrent),
        ("PUT", "/api/v1/catalogue/..%2Fx", &torrent(1), 400, RefusalCode::BadName),
        ("PUT", &hash_name, &torrent(1), 400, RefusalCode::BadName),
        ("PUT", "/api/v1/catalogue/x", &long, 413, RefusalCode::TooLarge),
        ("GET", "/api/v1/catalogue/x", b"", 404, RefusalCode::NotFound),
        ("GET", "/api/v1/catalogue?limit=-1", b"", 400, RefusalCode::BadRequest),
        ("GET", "/elsewhere", b"", 404, RefusalCode::NotFound),
        ("POST", "/api/v1/status", b"", 405, RefusalCode::BadMethod),
    ];
    for (method, path, body, status, code) in cases {
        let reply = server.send(method, path, body).await;
        assert_eq!(reply.status, status, "{method} {path}");
        let refusal: Refusal = reply.json();
        assert_eq!(refusal.code, code, "{method} {path}");
        assert!(!refusal.error.is_empty());
    }
}

#[tokio::test]
async fn entry_comes_with_its_peers_torrent_and_magnet() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    let bytes = torrent(1);
    let hash = hash_of(&bytes);
    server.send("PUT", "/api/v1/catalogue/big", &bytes).await;
    server.announce(hash, 7001, 0, "").await;
    server.announce(hash, 7002, 5, "").await;
    for name in ["big".to_owned(), hash.to_string()] {
        let found: EntryWithPeers = server.get(&format!("/api/v1/catalogue/{name}")).await.json();
        assert_eq!((found.entry.seeders, found.entry.leechers, found.peers.len()), (1, 1, 2));
        assert!(found.peers.iter().all(|peer| peer.v1 && !peer.v2));
    }
    let reply = server.get("/api/v1/catalogue/big/torrent").await;
    assert!(reply.head.contains("content-type: application/x-bittorrent"), "{}", reply.head);
    assert!(reply.head.contains("127.0.0.1:7001") && reply.head.contains("127.0.0.1:7002"));
    let metainfo = Metainfo::decode(&reply.body).unwrap();
    assert_eq!(metainfo.info.hashes().primary(), hash);
    let own = ["http://nas:7000/announce", "udp://nas:7000/announce"];
    assert_eq!(metainfo.trackers, [own], "the one on loopback is left out");
    let reply = server.get("/api/v1/catalogue/big/magnet").await;
    let magnet: Magnet = reply.text().trim().parse().unwrap();
    assert_eq!(
        (magnet.hashes.primary(), magnet.trackers.as_slice()),
        (hash, &own.map(String::from)[..])
    );
}

#[tokio::test]
async fn catalogue_is_searched_and_survives_a_restart() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    for (fill, name) in ["a.iso", "b.iso", "c.txt"].iter().enumerate() {
        let path = format!("/api/v1/catalogue/{name}");
        assert_eq!(server.send("PUT", &path, &torrent(fill as u8)).await.status, 201);
    }
    let page: Page = server.get("/api/v1/catalogue?q=ISO&limit=1").await.json();
    assert_eq!((page.entries.len(), page.next.as_deref()), (1, Some("a.iso")));
    let page: Page = server.get("/api/v1/catalogue?q=ISO&after=a.iso").await.json();
    assert_eq!((page.entries[0].name.as_str(), page.next), ("b.iso", None));
    server.tracker.stop().await;
    let server = start(&folder).await;
    let status: Status = server.get("/api/v1/status").await.json();
    assert_eq!((status.name.as_str(), status.torrents, status.listeners.len()), ("here", 3, 2));
    assert_eq!(server.get("/health").await.text(), "ok\n");
    let metrics = server.operator("/metrics").await;
    let samples = super::exposition::check(metrics.text());
    assert_eq!((samples["teem_torrents"], samples["teem_admin_connections_open"]), (3.0, 1.0));
    assert!(samples["teem_catalogue_seconds_count"] >= 2.0, "{}", metrics.text());
    server.tracker.stop().await;
}

#[tokio::test]
async fn http_announces_in_both_forms_know_peers_by_address_and_port() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    let hash = InfoHash([7; 20]);
    for port in 1..=3 {
        // An address that is claimed does not count.
        server.announce(hash, port, 0, "&compact=1&ip=192.0.2.1").await;
    }
    let seeders: Vec<SocketAddr> = (1..=3).map(|port| ([127, 0, 0, 1], port).into()).collect();
    for form in ["&compact=1", "&compact=0", ""] {
        let reply = server.announce(hash, 4, 9, form).await;
        assert_eq!(peers(&reply), seeders, "{form}");
        let is_compact = !form.ends_with('0');
        assert_eq!(reply.body.windows(9).any(|part| part == b"5:peers18"), is_compact, "{form}");
    }
    let leecher: SocketAddr = ([127, 0, 0, 1], 4).into();
    assert_eq!(peers(&server.announce(hash, 1, 0, "").await), [leecher], "no seeders");
    let reply = server.get(&format!("/scrape?{}", scrape_query(&[hash]))).await;
    assert!(decode_scraped(&reply.body, &[hash]).is_ok());
    assert!(reply.body.windows(12).any(|part| part == b"8:completei3"), "three seeders");
    for bad in ["/announce", "/announce?info_hash=x", "/scrape"] {
        let reply = server.get(bad).await;
        assert!(reply.body.starts_with(b"d14:failure reason"), "{bad}");
    }
    assert!(server.announce(hash, 0, 1, "").await.body.starts_with(b"d14:failure reason"));
    assert_eq!(server.send("POST", "/announce", b"").await.status, 405);
}

#[tokio::test]
async fn ipv6_peers_go_out_over_http() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let folder = TempDir::new().unwrap();
    let server = start_at(&folder, "[::1]:0").await;
    let hash = InfoHash([7; 20]);
    server.announce(hash, 1, 0, "").await;
    for form in ["&compact=1", "&compact=0"] {
        let expected: SocketAddr = "[::1]:1".parse().unwrap();
        assert_eq!(peers(&server.announce(hash, 2, 9, form).await), [expected], "{form}");
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    let mut stream = TcpStream::connect(server.addr).await.unwrap();
    let request = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(format!("{request}{request}{last}").as_bytes()).await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    let statuses: Vec<&str> =
        text.match_indices("HTTP/1.1 ").map(|(at, _)| &text[at + 9..at + 12]).collect();
    assert_eq!(statuses, ["200", "200", "404"]);
}

#[tokio::test]
async fn statistics_tell_clients_and_counts_but_no_address() {
    let folder = TempDir::new().unwrap();
    let server = start(&folder).await;
    server.send("PUT", "/api/v1/catalogue/big%3Cb%3E", &torrent(1)).await;
    let hash = hash_of(&torrent(1));
    server.announce(hash, 7001, 0, "").await;
    server.announce(hash, 7002, 5, "").await;
    let all: Statistics = server.operator("/api/v1/statistics").await.json();
    assert_eq!((all.torrents, all.swarms, all.peers, all.seeders), (1, 1, 2, 1));
    let client = |client: &Client| (client.client.clone(), client.seeders_v4, client.leechers_v4);
    let expected = [("Teem".to_owned(), 1, 1)];
    assert_eq!(all.clients.iter().map(client).collect::<Vec<_>>(), expected);
    assert_eq!(all.largest[0].info_hash, hash.to_string());
    let page: TorrentPage = server.operator("/api/v1/statistics/torrents?limit=1").await.json();
    assert_eq!(page.torrents, all.largest);
    let path = format!("/api/v1/statistics/torrents/{hash}");
    let reply = server.operator(&path).await;
    assert!(!reply.text().contains("127.0.0.1"), "{}", reply.text());
    let one: TorrentByClient = reply.json();
    assert_eq!((one.torrent.leechers, one.clients.len()), (1, 1));
    for (path, status) in [
        ("/api/v1/statistics/torrents/xyz", 400),
        ("/api/v1/statistics/torrents?cursor=x", 400),
        (&format!("/api/v1/statistics/torrents/{}", "ab".repeat(20)), 404),
    ] {
        assert_eq!(server.operator(path).await.status, status, "{path}");
    }
    let page = server.operator("/").await;
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{}", page.head);
    assert!(page.text().contains("big&lt;b&gt;") && !page.text().contains("<script"));
}
