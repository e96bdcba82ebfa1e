//! A web seed's task in front of servers by script.

use std::cell::OnceCell;

use proto::PieceHash;
use proto::metainfo::{ContentHashes, Details, Format, Layout, NewFile, Shape};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, LocalSet};

use super::*;
use crate::disk::BlockPool;

const LEN: u32 = 4 * proto::BLOCK_LEN;

/// A reply, and whether the server closes the connection behind it.
type Reply = (Vec<u8>, bool);

/// A server's replies and what it was asked; a torrent's ends of the channels.
struct Play {
    server: JoinHandle<Vec<String>>,
    commands: mpsc::UnboundedSender<PeerCommand>,
    events: mpsc::Receiver<FromPeer>,
    info: Arc<Info>,
}

impl Play {
    /// Two pieces of two blocks, one file.
    async fn new(by: Nearness, replies: Vec<Reply>) -> Self {
        let file = NewFile { len: u64::from(LEN), ..NewFile::default() };
        let layout = Layout::plan("a b", Shape::File, vec![file], LEN / 2, Format::V1).unwrap();
        let hashes = ContentHashes { v1_pieces: vec![PieceHash([1; 20]); 2], files: Vec::new() };
        let info = Arc::new(layout.build(hashes, Details::default()).unwrap().info);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/x/", listener.local_addr().unwrap());
        let (commands, from_torrent) = mpsc::unbounded_channel();
        let (to_torrent, events) = mpsc::channel(64);
        let way = Way {
            limits: http::Limits {
                by,
                deadline: Duration::from_millis(500),
                ..http::Limits::default()
            },
            connections: Arc::new(Semaphore::new(1)),
            rates: Limits::default(),
            limit_lan: false,
        };
        let shared =
            Rc::new(Shared { storage: OnceCell::new(), pool: Arc::new(BlockPool::new(8)) });
        let wires = Wires { commands: from_torrent, torrent: to_torrent };
        let seed = WebSeed::new((PeerKey(1), url), info.clone(), way, shared, wires);
        tokio::task::spawn_local(seed.run());
        let server = tokio::task::spawn_local(serve(listener, replies));
        Self { server, commands, events, info }
    }

    fn ask(&self, numbers: &[u32]) {
        let blocks = numbers.iter().map(|number| self.block(*number)).collect();
        self.commands.send(PeerCommand::Request(blocks)).unwrap();
    }

    fn block(&self, number: u32) -> Block {
        self.info.geometry().block(PieceIndex(number / 2), number % 2)
    }

    /// The next events up to one that is said like that.
    async fn until(&mut self, end: &str) -> Vec<String> {
        let mut told = Vec::new();
        while told.last().is_none_or(|last| last != end) {
            match self.events.recv().await.expect("more events") {
                FromPeer::Events(_, events) => told.extend(events.iter().map(said)),
                FromPeer::Ended(..) => told.push("ended".to_owned()),
            }
        }
        told
    }
}

fn said(event: &PeerEvent) -> String {
    let number = |block: &Block| block.piece.0 * 2 + block.number();
    if let PeerEvent::Block(block, data) = event {
        let first = (number(block) * proto::BLOCK_LEN) as usize;
        assert!(data.as_slice() == &content()[first..first + block.len as usize]);
        return format!("block {}", number(block));
    }
    if let PeerEvent::Dropped(block) = event {
        return format!("dropped {}", number(block));
    }
    // The name alone.
    let name: String =
        format!("{event:?}").chars().take_while(|letter| letter.is_alphabetic()).collect();
    name.to_lowercase()
}

fn content() -> Vec<u8> {
    (0..LEN).map(|at| (at / 7) as u8).collect()
}

/// Gives the replies one after the other, over as many connections as come.
async fn serve(listener: TcpListener, replies: Vec<Reply>) -> Vec<String> {
    let mut asked = Vec::new();
    let mut replies = replies.into_iter().peekable();
    let mut connections = 0;
    while replies.peek().is_some() {
        let (mut stream, _) = listener.accept().await.unwrap();
        connections += 1;
        while let Some((reply, close)) = replies.peek() {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { break };
                head.push(byte);
            }
            if head.is_empty() {
                break;
            }
            let head = String::from_utf8(head).unwrap();
            let line = head.lines().next().unwrap();
            let range = head.lines().find(|line| line.starts_with("range: ")).unwrap();
            asked.push(format!("{connections} {line} {range}"));
            stream.write_all(reply).await.unwrap();
            let close = *close;
            replies.next();
            if close {
                break;
            }
        }
    }
    asked
}

fn part(first: usize, last: usize) -> Reply {
    let body = &content()[first..=last];
    let head = format!(
        "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes {first}-{last}/{LEN}\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    ([head.as_bytes(), body].concat(), false)
}

fn plain(head: &str) -> Reply {
    (format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\n\r\n").into_bytes(), false)
}

#[tokio::test]
async fn neighbours_are_one_request_and_requests_share_a_connection() {
    let test = async {
        let replies = vec![part(0, 32_767), part(49_152, 65_535)];
        let mut play = Play::new(Nearness::Machine, replies).await;
        assert_eq!(play.until("unchoked").await, ["extended", "has", "unchoked"]);
        play.ask(&[1, 0, 3]);
        assert_eq!(play.until("block 3").await, ["block 0", "block 1", "block 3"]);
        assert_eq!(
            play.server.await.unwrap(),
            [
                "1 GET /x/a%20b HTTP/1.1 range: bytes=0-32767",
                "1 GET /x/a%20b HTTP/1.1 range: bytes=49152-65535"
            ]
        );
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn what_does_not_come_is_given_back_until_it_is_worth_another_try() {
    let test = async {
        let (mut short, _) = part(0, 65_535);
        short.truncate(short.len() - 40_000);
        let busy = plain("503 Busy\r\nRetry-After: 1");
        let mut play =
            Play::new(Nearness::Machine, vec![(short, true), busy, part(0, 16_383)]).await;
        play.until("unchoked").await;
        play.ask(&[0, 1, 2, 3]);
        let told = play.until("unchoked").await;
        let left = ["block 0", "dropped 1", "dropped 2", "dropped 3", "choked", "unchoked"];
        assert_eq!(told, left);
        play.ask(&[0]);
        assert_eq!(play.until("unchoked").await, ["dropped 0", "choked", "unchoked"]);
        play.ask(&[0]);
        assert_eq!(play.until("block 0").await, ["block 0"]);
        assert_eq!(play.server.await.unwrap().len(), 3);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn a_silent_server_is_a_server_in_trouble() {
    let test = async {
        let silence = (Vec::new(), false);
        let mut play = Play::new(Nearness::Machine, vec![silence, part(0, 16_383)]).await;
        play.until("unchoked").await;
        play.ask(&[0]);
        play.commands.send(PeerCommand::Cancel(play.block(3))).unwrap();
        assert_eq!(play.until("choked").await, ["dropped 0", "choked"]);
        play.until("unchoked").await;
        play.ask(&[0]);
        assert_eq!(play.until("block 0").await, ["block 0"]);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn what_is_taken_back_in_time_is_not_asked_for() {
    let test = async {
        let mut play = Play::new(Nearness::Machine, vec![part(0, 16_383)]).await;
        play.until("unchoked").await;
        play.ask(&[0, 3]);
        play.commands.send(PeerCommand::Cancel(play.block(3))).unwrap();
        let mut told = play.until("block 0").await;
        told.sort_unstable();
        assert_eq!(told, ["block 0", "dropped 3"]);
        drop(play.commands);
        assert!(matches!(play.events.recv().await, Some(FromPeer::Ended(_, None))));
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn who_has_none_of_it_or_cannot_send_parts_ends() {
    let test = async {
        for reply in [plain("404 Not Found"), plain("400 Bad"), part(1, 16_384)] {
            let mut play = Play::new(Nearness::Machine, vec![reply]).await;
            play.until("unchoked").await;
            play.ask(&[0]);
            assert_eq!(play.until("ended").await, ["ended"]);
        }
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn redirects_are_followed_once_for_a_file() {
    let test = async {
        let moved = plain("302 Found\r\nLocation: /y?key=1");
        let gone = plain("403 Forbidden");
        let replies = vec![
            moved.clone(),
            part(0, 16_383),
            part(49_152, 65_535),
            gone,
            moved,
            part(16_384, 32_767),
        ];
        let mut play = Play::new(Nearness::Machine, replies).await;
        play.until("unchoked").await;
        for (number, told) in [(0, "block 0"), (3, "block 3"), (1, "block 1")] {
            play.ask(&[number]);
            assert_eq!(play.until(told).await, [told]);
        }
        let asked = play.server.await.unwrap();
        let paths: Vec<_> = asked.iter().filter_map(|line| line.split(' ').nth(2)).collect();
        let (start, end) = ("/x/a%20b", "/y?key=1");
        // What it led to was good for a while: then it is asked from the start.
        assert_eq!(paths, [start, end, end, end, start, end]);
    };
    LocalSet::new().run_until(test).await;
}

#[tokio::test]
async fn strangers_web_seeds_do_not_lead_into_this_machine() {
    let test = async {
        let mut play = Play::new(Nearness::Internet, vec![part(0, 16_383)]).await;
        play.until("unchoked").await;
        play.ask(&[0]);
        assert_eq!(play.until("ended").await, ["ended"]);
        assert!(!play.server.is_finished(), "it was asked");
    };
    LocalSet::new().run_until(test).await;
}

#[test]
fn logs_show_no_passwords_and_no_keys() {
    assert_eq!(shown("https://me:secret@h:8443/a%20b?key=1#x"), "https://h:8443/a%20b");
    assert_eq!(shown("nothing"), "no URL");
}
