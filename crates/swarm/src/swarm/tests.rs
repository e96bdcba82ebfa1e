//! Whole swarms by script: events in, actions out.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proto::egress::Nearness;
use proto::metainfo::{ContentHashes, Details, Format, Info, Layout, NewFile, PieceLayers, Shape};
use proto::{BLOCK_LEN, Bitfield, Block, InfoHashes, PeerId, PieceHash, PieceIndex};

use super::{Command, Config, Swarm};
use crate::{
    Action, BlockBuf, Connected, Direction, DiskEvent, DiskJob, Found, Goodbye, Notice,
    PeerCommand, PeerEvent, PeerInfo, PeerKey,
};

mod reading;
mod room;
mod selection;
mod slots;
mod super_seed;
mod web_seeds;

const PIECES: u32 = 4;
const PIECE_LEN: u32 = 2 * BLOCK_LEN;

/// A v1 torrent of zeros; nothing here is hashed.
pub(super) fn info() -> Arc<Info> {
    let len = u64::from(PIECES * PIECE_LEN);
    let file = NewFile { len, ..NewFile::default() };
    let layout = Layout::plan("zeros", Shape::File, vec![file], PIECE_LEN, Format::V1).unwrap();
    let v1_pieces = vec![PieceHash::default(); PIECES as usize];
    let hashes = ContentHashes { v1_pieces, files: Vec::new() };
    Arc::new(layout.build(hashes, Details::default()).unwrap().info)
}

/// A swarm, its clock, and what it said since it was last asked.
pub(super) struct Play {
    pub(super) now: Instant,
    pub(super) swarm: Swarm,
}

impl Play {
    fn new(complete: bool) -> Self {
        let mut play = Self::unopened(true);
        let have = if complete { Bitfield::full(PIECES) } else { Bitfield::empty(PIECES) };
        play.swarm.handle_opened(play.now, info(), PieceLayers::default(), have);
        play
    }

    /// Its files are not open yet.
    pub(super) fn unopened(metadata_known: bool) -> Self {
        let (now, info) = (crate::test_now(), info());
        let config = Config {
            seed: 1,
            peer_id: PeerId([5; 20]),
            info_hashes: InfoHashes::new(info.hashes().v1(), None).unwrap(),
            trackers: Vec::new(),
            max_peers: 10,
            upload_slots: Some(1),
            piece_budget: 1 << 20,
            fetch: true,
            super_seed: false,
            metadata_known,
            order: crate::PieceOrder::default(),
            exchange: false,
            dht: false,
            punch: false,
        };
        Self { now, swarm: Swarm::new(now, config) }
    }

    fn connect(&mut self, host: u8, id: u8, direction: Direction) -> PeerKey {
        let port = if direction == Direction::Outgoing { 6881 } else { 40_000 };
        let connected = Connected {
            addr: SocketAddr::from(([20, 0, host, 1], port)),
            direction,
            peer_id: PeerId([id; 20]),
            info_hash: info().hashes().primary(),
            v2: false,
            fast: true,
            extended: true,
            dht: false,
            utp: false,
        };
        self.swarm.handle_connected(self.now, connected)
    }

    fn seeder(&mut self, host: u8) -> PeerKey {
        let key = self.connect(host, host, Direction::Outgoing);
        self.tell(key, [PeerEvent::Has(Bitfield::full(PIECES)), PeerEvent::Unchoked]);
        key
    }

    pub(super) fn tell<const N: usize>(&mut self, key: PeerKey, events: [PeerEvent; N]) {
        self.swarm.handle_peer(self.now, key, &mut Vec::from(events));
    }

    pub(super) fn actions(&mut self) -> Vec<Action> {
        let mut actions = Vec::new();
        self.swarm.poll_actions(&mut actions);
        actions
    }

    /// The blocks that `key` is asked for.
    fn requests(&mut self, key: PeerKey) -> Vec<Block> {
        requests_in(&self.actions(), key)
    }

    /// Sends blocks, and gives back the pieces that go to the disk.
    fn send(&mut self, key: PeerKey, blocks: &[Block]) -> Vec<PieceIndex> {
        for block in blocks {
            let data = BlockBuf::copy_of(&vec![0; block.len as usize]);
            self.tell(key, [PeerEvent::Block(*block, data)]);
        }
        let jobs = self.actions().into_iter().filter_map(|action| {
            let Action::Disk(DiskJob::Store { piece, .. }) = action else { return None };
            Some(piece)
        });
        jobs.collect()
    }

    fn wait(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        while let Some(due) = self.swarm.poll_timeout().filter(|due| *due <= end) {
            self.now = due.max(self.now);
            self.swarm.handle_timeout(self.now);
        }
        self.now = end;
    }
}

fn requests_in(actions: &[Action], key: PeerKey) -> Vec<Block> {
    let asked = actions.iter().filter_map(|action| {
        let Action::Peer(to, PeerCommand::Request(blocks)) = action else { return None };
        (*to == key).then_some(blocks)
    });
    asked.flatten().copied().collect()
}

fn disconnects(actions: &[Action]) -> Vec<(PeerKey, Goodbye)> {
    let ends = actions.iter().filter_map(|action| {
        let Action::Disconnect(key, goodbye) = action else { return None };
        Some((*key, *goodbye))
    });
    ends.collect()
}

#[test]
fn no_more_peers_connect_than_the_limit() {
    let mut play = Play::new(true);
    for host in 11..=20 {
        play.connect(host, host, Direction::Incoming);
    }
    assert_eq!(disconnects(&play.actions()), []);
    let late = play.connect(21, 21, Direction::Incoming);
    assert_eq!(disconnects(&play.actions()), [(late, Goodbye::TooMany)]);
}

#[test]
fn a_seeder_is_asked_for_everything_and_then_parted_from() {
    let mut play = Play::new(false);
    let seeder = play.seeder(1);
    let blocks = play.requests(seeder);
    assert_eq!(blocks.len() as u32, 2 * PIECES);
    let pieces = play.send(seeder, &blocks);
    assert_eq!(pieces.len() as u32, PIECES);
    for piece in pieces {
        play.swarm.handle_disk(play.now, DiskEvent::Stored { piece, digests: None });
    }
    let actions = play.actions();
    assert!(actions.iter().any(|action| matches!(action, Action::Notice(Notice::Complete))));
    assert_eq!(disconnects(&actions), [(seeder, Goodbye::Useless)]);
    play.swarm.handle_disconnected(play.now, seeder, None);
    play.wait(600);
    let dials = play.actions().iter().filter(|action| matches!(action, Action::Dial(..))).count();
    assert_eq!(dials, 0, "seeders have nothing for each other");
}

#[test]
fn a_full_disk_is_tried_again_with_one_piece() {
    let mut play = Play::new(false);
    let seeder = play.seeder(1);
    let blocks = play.requests(seeder);
    for piece in play.send(seeder, &blocks) {
        let reason = "full".to_owned();
        play.swarm.handle_disk(play.now, DiskEvent::Failed { piece, reason, full: true });
    }
    let paused = |action: &Action| matches!(action, Action::Notice(Notice::Paused(_)));
    assert_eq!(play.actions().iter().filter(|action| paused(action)).count(), 1);
    play.wait(4);
    assert!(play.requests(seeder).is_empty(), "it waits for room");
    play.wait(3);
    let again = play.requests(seeder);
    assert_eq!(again.len(), 2, "one piece to see whether there is room");
    for piece in play.send(seeder, &again) {
        play.swarm.handle_disk(play.now, DiskEvent::Stored { piece, digests: None });
    }
    assert!(play.requests(seeder).len() > 2, "there is room: several pieces at once again");
}

#[test]
fn a_silent_peers_blocks_go_to_another() {
    let mut play = Play::new(false);
    let silent = play.seeder(1);
    assert_eq!(play.requests(silent).len() as u32, 2 * PIECES);
    let other = play.seeder(2);
    play.actions();
    play.wait(2);
    assert!(!play.requests(other).is_empty());
}

#[test]
fn of_two_connections_to_one_peer_the_one_that_the_greater_id_dialled_stays() {
    let mut play = Play::new(false);
    let ours = play.connect(1, 9, Direction::Outgoing);
    play.actions();
    let theirs = play.connect(1, 9, Direction::Incoming);
    assert_eq!(disconnects(&play.actions()), [(ours, Goodbye::Duplicate)]);
    play.swarm.handle_disconnected(play.now, ours, None);
    let ours = play.connect(1, 9, Direction::Outgoing);
    assert_eq!(disconnects(&play.actions()), [(ours, Goodbye::Duplicate)]);
    assert_ne!(ours, theirs);
}

#[test]
fn a_banned_peer_is_known_by_where_it_listens() {
    let mut play = Play::new(false);
    let liar = play.connect(1, 1, Direction::Outgoing);
    play.swarm.handle_disconnected(play.now, liar, Some("lied".into()));
    let back = play.connect(1, 1, Direction::Incoming);
    assert!(disconnects(&play.actions()).is_empty(), "another peer may be behind that address");
    let info = PeerInfo { listen_port: Some(6881), ..PeerInfo::default() };
    play.tell(back, [PeerEvent::Extended(info)]);
    assert_eq!(disconnects(&play.actions()), [(back, Goodbye::Banned)]);
}

#[test]
fn who_sent_a_bad_piece_alone_is_banned_and_its_other_blocks_are_asked_of_others() {
    let mut play = Play::new(false);
    let liar = play.seeder(1);
    let blocks = play.requests(liar);
    let honest = play.seeder(2);
    let pieces = play.send(liar, &blocks[..3]);
    assert_eq!(pieces, [blocks[0].piece]);
    let digests = vec![Some(proto::MerkleHash::default()); 2];
    let bad = DiskEvent::Bad { piece: pieces[0], digests, inconsistent: false };
    play.swarm.handle_disk(play.now, bad);
    let actions = play.actions();
    assert_eq!(disconnects(&actions), [(liar, Goodbye::Banned)]);
    let mut again = requests_in(&actions, honest);
    play.swarm.handle_disconnected(play.now, liar, None);
    play.wait(2);
    again.extend(play.requests(honest));
    while again.len() < blocks.len() {
        let more = again.clone();
        play.send(honest, &more);
        play.wait(1);
        let next = play.requests(honest);
        assert!(!next.is_empty(), "{} blocks were asked for again", again.len());
        again.extend(next);
    }
}

#[test]
fn lost_pieces_are_told_and_wanted_again() {
    let mut play = Play::new(true);
    let peer = play.connect(1, 1, Direction::Incoming);
    play.tell(peer, [PeerEvent::Has(Bitfield::empty(PIECES)), PeerEvent::Interested]);
    play.tell(peer, [PeerEvent::Have(PieceIndex(2))]);
    play.actions();
    play.swarm.handle_disk(play.now, DiskEvent::Lost(vec![PieceIndex(2)]));
    let actions = play.actions();
    let told = |wanted: fn(&PeerCommand) -> bool| {
        actions.iter().any(|action| matches!(action, Action::Peer(_, command) if wanted(command)))
    };
    assert!(told(|command| matches!(command, PeerCommand::Lost(PieceIndex(2)))));
    assert!(told(|command| matches!(command, PeerCommand::UploadOnly(false))));
    assert!(told(|command| matches!(command, PeerCommand::Interest(true))));
}

#[test]
fn a_piece_that_turns_up_by_itself_is_not_asked_for() {
    let mut play = Play::new(false);
    let piece = PieceIndex(1);
    play.swarm.handle_disk(play.now, DiskEvent::Stored { piece, digests: None });
    let seeder = play.seeder(1);
    let asked = play.requests(seeder);
    assert_eq!(asked.len(), 2 * (PIECES as usize - 1));
    assert!(asked.iter().all(|block| block.piece != piece));
}

#[test]
fn slots_are_given_at_once_and_no_more_than_there_are() {
    let mut play = Play::new(true);
    let mut unchoked = 0;
    for host in 1..4 {
        let peer = play.connect(host, host, Direction::Incoming);
        play.tell(peer, [PeerEvent::Has(Bitfield::empty(PIECES)), PeerEvent::Interested]);
        let given = |action: &Action| matches!(action, Action::Peer(_, PeerCommand::Choke(false)));
        unchoked += play.actions().iter().filter(|action| given(action)).count();
    }
    assert_eq!(unchoked, 1);
}

#[test]
fn stopping_ends_every_connection_and_refuses_new_ones() {
    let mut play = Play::new(false);
    let peer = play.seeder(1);
    play.actions();
    play.swarm.handle_command(play.now, Command::Stop);
    assert_eq!(disconnects(&play.actions()), [(peer, Goodbye::Stopping)]);
    let late = play.connect(2, 2, Direction::Incoming);
    assert_eq!(disconnects(&play.actions()), [(late, Goodbye::Stopping)]);
    assert_eq!(play.swarm.poll_timeout(), None);
}

#[test]
fn known_metadata_is_not_asked_for_while_the_files_are_opened() {
    for known in [false, true] {
        let mut play = Play::unopened(known);
        let key = play.connect(1, 1, Direction::Outgoing);
        let info = PeerInfo { metadata_len: Some(100), ..PeerInfo::default() };
        play.tell(key, [PeerEvent::Extended(info)]);
        let asked = play
            .actions()
            .into_iter()
            .any(|action| matches!(action, Action::Peer(_, PeerCommand::RequestMetadata(0))));
        assert_eq!(asked, !known);
    }
}

#[test]
fn of_mixed_v1_pieces_one_at_a_time_is_checked() {
    for good in [true, false] {
        let mut play = Play::new(false);
        let first = play.seeder(1);
        let blocks = play.requests(first);
        let second = play.seeder(2);
        // Piece by piece, one block from each.
        let [one, two] = [0, 1].map(|half| [blocks[half], blocks[half + 2]]);
        assert!(play.send(first, &one).is_empty());
        let checked = play.send(second, &two);
        assert_eq!(checked, [blocks[0].piece], "the other one waits");
        let piece = checked[0];
        let event = match good {
            true => DiskEvent::Stored { piece, digests: None },
            false => {
                let digests = vec![Some(proto::MerkleHash::default()); 2];
                DiskEvent::Bad { piece, digests, inconsistent: false }
            }
        };
        play.swarm.handle_disk(play.now, event);
        let next = play.send(first, &[]);
        assert_eq!(next.contains(&blocks[2].piece), good, "a suspect's blocks are thrown away");
    }
}

mod strangers {
    use proto::metainfo::OpenHash;
    use proto::peer::{PeerExchange, PeerFlags};

    use super::*;

    fn searches(play: &mut Play) -> Vec<OpenHash> {
        let mut actions = Vec::new();
        play.swarm.handle_timeout(play.now);
        play.swarm.poll_actions(&mut actions);
        let search = |action| if let Action::Search(hash) = action { Some(hash) } else { None };
        actions.into_iter().filter_map(search).collect()
    }

    fn play(metadata_known: bool, dht: bool) -> Play {
        let mut play = Play::unopened(metadata_known);
        play.swarm = Swarm::new(play.now, Config { dht, ..play.swarm.config.clone() });
        play
    }

    fn open(play: &mut Play, info: Arc<Info>) {
        let have = Bitfield::empty(info.geometry().piece_count());
        play.swarm.handle_opened(play.now, info, PieceLayers::default(), have);
    }

    /// The same torrent, private.
    fn private() -> Arc<Info> {
        let info = info();
        let raw = info.raw();
        let raw = [&raw[..raw.len() - 1], b"7:privatei1ee"].concat();
        Arc::new(Info::decode(&raw).unwrap())
    }

    #[test]
    fn a_magnet_link_is_looked_for_and_announced_once_it_is_known_to_be_open() {
        let mut play = play(false, true);
        let asked = searches(&mut play);
        assert!(asked.len() == 1 && !asked[0].may_announce());
        open(&mut play, info());
        let asked = searches(&mut play);
        assert!(asked.len() == 1 && asked[0].may_announce());
    }

    #[test]
    fn strangers_never_hear_of_a_private_torrent_again() {
        for known in [true, false] {
            let mut play = play(known, true);
            assert_eq!(searches(&mut play).len(), usize::from(!known));
            open(&mut play, private());
            for _ in 0..100 {
                assert!(searches(&mut play).is_empty());
                play.now += Duration::from_secs(60);
            }
        }
    }

    /// Which peers are told of which, when two that want to know have been there for a while.
    fn exchanged(info: Arc<Info>, exchange: bool) -> Vec<(PeerKey, SocketAddr)> {
        let mut play = play(true, true);
        play.swarm = Swarm::new(play.now, Config { exchange, ..play.swarm.config.clone() });
        open(&mut play, info);
        for host in [1, 2] {
            let key = play.connect(host, host, Direction::Outgoing);
            let heard = PeerInfo { exchanges: true, ..PeerInfo::default() };
            play.tell(key, [PeerEvent::Extended(heard)]);
        }
        play.now += Duration::from_secs(2);
        play.swarm.handle_timeout(play.now);
        let told = play.actions().into_iter().filter_map(|action| {
            let Action::Peer(key, PeerCommand::Exchange(message)) = action else { return None };
            Some((key, message.added[0].0))
        });
        told.collect()
    }

    #[test]
    fn peers_hear_of_each_other_unless_the_torrent_is_private() {
        let addr = |host| SocketAddr::from(([20, 0, host, 1], 6881));
        let told = exchanged(info(), true);
        assert_eq!(told, [(PeerKey(1), addr(2)), (PeerKey(2), addr(1))]);
        assert_eq!(exchanged(private(), true), []);
        assert_eq!(exchanged(info(), false), []);
    }

    #[test]
    fn whom_a_peer_tells_of_is_dialled_unless_the_torrent_is_private() {
        for (info, dials) in [(info(), true), (private(), false)] {
            let mut play = play(true, true);
            play.swarm =
                Swarm::new(play.now, Config { exchange: true, ..play.swarm.config.clone() });
            open(&mut play, info);
            let key = play.connect(1, 1, Direction::Outgoing);
            let addr = SocketAddr::from(([20, 0, 0, 9], 6881));
            let added = vec![(addr, PeerFlags::default())];
            play.actions();
            play.tell(key, [PeerEvent::Exchanged(PeerExchange { added, dropped: Vec::new() })]);
            let is_dial = |action: &Action| matches!(action, Action::Dial(to, _) if *to == addr);
            assert_eq!(play.actions().iter().any(is_dial), dials);
        }
    }

    #[test]
    fn nobody_is_asked_without_a_dht_or_after_the_end() {
        let mut off = play(false, false);
        assert!(searches(&mut off).is_empty());
        open(&mut off, info());
        assert!(searches(&mut off).is_empty());
        let mut ended = play(true, true);
        open(&mut ended, info());
        ended.swarm.handle_command(ended.now, Command::Stop);
        assert!(searches(&mut ended).is_empty());
    }

    #[test]
    fn peers_of_strangers_are_dialled() {
        let mut play = play(true, true);
        open(&mut play, info());
        let hash = searches(&mut play)[0].info_hash();
        let addr = SocketAddr::from(([20, 0, 0, 1], 6881));
        play.swarm.handle_found(play.now, Found { by: Nearness::Machine, peers: vec![addr] });
        let mut actions = Vec::new();
        play.swarm.poll_actions(&mut actions);
        assert!(actions.iter().any(|action| matches!(action, Action::Dial(to, _) if *to == addr)));
        play.swarm.handle_searched(play.now, hash, 8);
        assert!(searches(&mut play).is_empty(), "not at once");
        play.now += Duration::from_secs(2);
        assert_eq!(searches(&mut play).len(), 1, "nobody is there yet");
    }
}

#[test]
fn a_seeder_that_changes_its_mind_is_counted_piece_by_piece_and_leaves_nothing_behind() {
    let mut play = Play::new(false);
    let counts = |play: &Play| {
        let torrent = play.swarm.torrent.as_ref().expect("it is open");
        (0..PIECES).map(|piece| torrent.rarity.count(PieceIndex(piece))).collect::<Vec<_>>()
    };
    let key = play.seeder(1);
    assert_eq!(counts(&play), vec![0; PIECES as usize], "seeders are counted apart");
    let lost = PieceIndex(2);
    for _ in 0..3 {
        play.tell(key, [PeerEvent::DontHave(lost)]);
        let one_each: Vec<_> = (0..PIECES).map(|piece| u16::from(piece != lost.0)).collect();
        assert_eq!(counts(&play), one_each);
        play.tell(key, [PeerEvent::Have(lost)]);
        assert_eq!(counts(&play), vec![1; PIECES as usize]);
    }
    play.tell(key, [PeerEvent::Has(Bitfield::full(PIECES))]);
    assert_eq!(counts(&play), vec![1; PIECES as usize]);
    play.swarm.handle_disconnected(play.now, key, None);
    assert_eq!(counts(&play), vec![0; PIECES as usize]);
}
