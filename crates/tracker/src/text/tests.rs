use std::net::SocketAddr;
use std::time::Duration;

use proto::tracker::text::limits::REPLY_LEN_MAX;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::{Routers, Tracker, TrackerConfig};

const LISTENING: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 0, 0, 1));
const NOW: Secs = Secs(0);

/// A whole tracker that speaks text on two free ports.
struct Server {
    tracker: Tracker,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start(public: bool, external: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let external = external.iter().map(|ip| ip.parse().unwrap()).collect();
        let config = TrackerConfig {
            listen: vec![any],
            text: TextConfig { listen: vec![any], public, external },
            ..TrackerConfig::default()
        };
        let home = ("test".to_owned(), folder.path().to_owned());
        let tracker = Tracker::start(home, config, |_| Routers::default()).await.unwrap();
        Self { tracker, _folder: folder }
    }

    fn text(&self) -> &Arc<TextShared> {
        &self.tracker.text.text
    }

    fn ask(&self, from: &str, question: &str) -> String {
        let mut packet = Vec::new();
        let from = from.parse().unwrap();
        udp::handle(self.text(), NOW, (from, LISTENING), question.as_bytes(), &mut packet);
        String::from_utf8(packet).unwrap()
    }

    fn lists_addr(&self) -> SocketAddr {
        (LISTENING, self.text().lists_port).into()
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text
}

#[tokio::test]
async fn the_source_wins_over_the_claimed_address() {
    let server = Server::start(false, &["198.51.100.1"]).await;
    let port = server.text().lists_port;
    for (source, claimed, shown) in [
        ("127.0.0.9", "8.8.8.8", "127.0.0.9"),
        ("203.0.113.5", "8.8.8.8", "203.0.113.5"),
        ("203.0.113.5", "198.51.100.1", "203.0.113.5"),
        ("127.0.0.9", "198.51.100.1", "198.51.100.1"),
        ("192.168.7.7", "198.51.100.1", "198.51.100.1"),
    ] {
        assert_eq!(server.ask(source, &format!("register; a; {claimed}; 7000; 0")), "");
        let expected = format!("[('a', '{shown}', 7000, {port}, 0)]");
        assert_eq!(server.ask("127.0.0.1", "list_seeder"), expected, "{source} {claimed}");
        server.text().seeders.lock().sweep(Secs(1_000));
        server.text().seeders.lock().sweep(Secs(2_000));
    }
}

#[tokio::test]
async fn the_routers_word_counts_unless_the_operator_has_said_it() {
    for (said, shown) in [(vec![], "198.51.100.1"), (vec!["203.0.113.7"], "127.0.0.9")] {
        let server = Server::start(false, &said).await;
        let port = server.text().lists_port;
        server.tracker.shared().note_external(["198.51.100.1".parse().unwrap()].into_iter());
        server.ask("127.0.0.9", "register; a; 198.51.100.1; 7000; 0");
        let expected = format!("[('a', '{shown}', 7000, {port}, 0)]");
        assert_eq!(server.ask("127.0.0.1", "list_seeder"), expected, "{said:?}");
    }
}

#[tokio::test]
async fn who_may_be_forged_hears_of_nobody() {
    let server = Server::start(false, &[]).await;
    server.ask("127.0.0.9", "register; a; 1.2.3.4; 7000; 0");
    let full = server.ask("127.0.0.1", "list_seeder");
    for near in ["10.0.0.1", "192.168.0.1", "fd00::1", "::1"] {
        assert_eq!(server.ask(near, "list_seeder"), full, "{near}");
    }
    for far in ["203.0.113.5", "2001:db8::1", "100.64.0.1"] {
        assert_eq!(server.ask(far, "list_seeder"), "[]", "{far}");
        server.text().proofs.lock().note(NOW, far.parse().unwrap());
        assert_eq!(server.ask(far, "list_seeder"), full, "{far} has shown itself");
    }
    assert_eq!(server.text().counters().unproven.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn what_the_public_gets_is_bounded_when_it_is_asked_for() {
    let server = Server::start(true, &[]).await;
    server.ask("127.0.0.9", "register; a; 1.2.3.4; 7000; 0");
    let answers = (0..200).map(|_| server.ask("203.0.113.5", "list_seeder"));
    let full = answers.filter(|answer| answer != "[]").count();
    assert_eq!(full, TEXT_PUBLIC_REPLIES_A_SECOND as usize);
    assert_ne!(server.ask("127.0.0.1", "list_seeder"), "[]", "who is near has no such bound");
}

#[tokio::test]
async fn anything_else_is_silence_and_a_counter() {
    let server = Server::start(false, &[]).await;
    let long = "list_seeder".to_owned() + &" ".repeat(600);
    for noise in ["", "hello", "register", "register; a; b; c; d", &long] {
        assert_eq!(server.ask("127.0.0.1", noise), "", "{noise}");
    }
    assert_eq!(server.text().counters().malformed.load(Ordering::Relaxed), 5);
    assert_eq!(server.ask("127.0.0.1", "list_seeder"), "[]");
}

#[tokio::test]
async fn a_long_list_is_cut_to_its_limit_and_everybody_has_a_turn() {
    let server = Server::start(false, &[]).await;
    for number in 0..100 {
        let source = format!("127.0.1.{}", number / 50);
        server.ask(&source, &format!("register; seeder {number:02}; 1.2.3.4; 7000; 0"));
    }
    let mut seen = BTreeSet::new();
    for _ in 0..200 {
        let answer = server.ask("127.0.0.1", "list_seeder");
        assert!(answer.len() <= REPLY_LEN_MAX && answer.ends_with(")]"), "{answer}");
        let names = answer.split('\'').filter(|part| part.starts_with("seeder "));
        let names: Vec<_> = names.map(str::to_owned).collect();
        assert!(names.len() > 20 && names.is_sorted());
        seen.extend(names);
    }
    assert_eq!(seen.len(), 100);
}

#[tokio::test]
async fn a_silent_seeder_is_tried_once_and_gone_when_nobody_answers() {
    let server = Server::start(false, &[]).await;
    let alive = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dead = TcpListener::bind("127.0.0.1:0").await.unwrap();
    for (name, listener) in [("alive", &alive), ("dead", &dead)] {
        let port = listener.local_addr().unwrap().port();
        server.ask("127.0.0.1", &format!("register; {name}; 1.2.3.4; {port}; 0"));
    }
    drop(dead);
    let text = server.text();
    text.forget_silent(Secs(179));
    assert_eq!(text.seeders.lock().totals().0, 2);
    text.forget_silent(Secs(180));
    alive.accept().await.unwrap();
    // The try that was accepted here ends there a moment later.
    while text.permits.tries.available_permits() < TEXT_TRIES_AT_ONCE {
        tokio::task::yield_now().await;
    }
    text.forget_silent(Secs(190));
    assert!(text.seeders.lock().find("dead").is_none());
    assert!(text.seeders.lock().find("alive").is_some());
}

#[tokio::test]
async fn a_list_that_came_before_its_register_is_kept_for_it() {
    let server = Server::start(false, &[]).await;
    let mut seeder = TcpStream::connect(server.lists_addr()).await.unwrap();
    seeder.write_all(b"['a', 'b']").await.unwrap();
    server.ask("127.0.0.1", "register; alice; 1.2.3.4; 7000; 10");
    assert_eq!(read_all(&mut seeder).await, "");
    let mut leecher = TcpStream::connect(server.lists_addr()).await.unwrap();
    leecher.write_all(b"alice\n").await.unwrap();
    assert_eq!(read_all(&mut leecher).await, "['a', 'b']");
    assert_eq!(server.text().counters().delivered.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn who_connects_out_of_a_network_has_shown_its_address() {
    let server = Server::start(false, &[]).await;
    assert!(!server.text().proofs.lock().holds(NOW, LISTENING));
    let mut leecher = TcpStream::connect(server.lists_addr()).await.unwrap();
    leecher.shutdown().await.unwrap();
    assert_eq!(read_all(&mut leecher).await, "", "there is no list");
    assert!(server.text().proofs.lock().holds(NOW, LISTENING));
}

#[tokio::test]
async fn stopping_waits_for_nobody_who_is_silent() {
    let server = Server::start(false, &[]).await;
    let _silent = TcpStream::connect(server.lists_addr()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), server.tracker.stop()).await.unwrap();
}
