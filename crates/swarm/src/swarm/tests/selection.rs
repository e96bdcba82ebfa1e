//! Some files are wanted, others are not, and that changes on the way.

use proto::FileIndex;

use super::*;
use crate::Priority;
use crate::Priority::{High, Low, Normal, Skip};

/// Three files end to end over eight pieces: pieces 2 and 5 are shared.
fn three_files() -> Arc<Info> {
    let lens = [5 * BLOCK_LEN, 6 * BLOCK_LEN, 5 * BLOCK_LEN];
    let files = ["a", "b", "c"].into_iter().zip(lens).map(|(name, len)| NewFile {
        path: vec![name.to_owned()],
        len: u64::from(len),
        ..NewFile::default()
    });
    let files = files.collect();
    let layout = Layout::plan("three", Shape::Folder, files, PIECE_LEN, Format::V1).unwrap();
    let hashes = ContentHashes { v1_pieces: vec![PieceHash::default(); 8], files: Vec::new() };
    Arc::new(layout.build(hashes, Details::default()).unwrap().info)
}

impl Play {
    /// The three files, with these wishes from the start.
    fn wishing(priorities: [Priority; 3], order: crate::PieceOrder) -> Self {
        let mut play = Self::unopened(true);
        // Few blocks at once: the order of requests is the order of picks.
        let config = Config { order, piece_budget: 1, ..play.swarm.config.clone() };
        play.swarm = Swarm::new(play.now, config);
        play.wish(priorities);
        let have = Bitfield::empty(8);
        play.swarm.handle_opened(play.now, three_files(), PieceLayers::default(), have);
        play
    }

    fn wish(&mut self, priorities: [Priority; 3]) {
        let changes = (0..).map(FileIndex).zip(priorities).collect();
        self.swarm.handle_command(self.now, Command::Prioritize(changes));
    }

    fn full(&mut self, host: u8) -> PeerKey {
        let key = self.connect(host, host, Direction::Outgoing);
        self.tell(key, [PeerEvent::Has(Bitfield::full(8)), PeerEvent::Unchoked]);
        key
    }

    /// Gives all that is asked for; the pieces in the order in which they came, and whether it is said
    /// that all is there.
    fn fetch_all(&mut self, from: PeerKey) -> (Vec<u32>, bool) {
        let (mut pieces, mut complete) = (Vec::new(), false);
        loop {
            let actions = self.actions();
            complete |=
                actions.iter().any(|action| matches!(action, Action::Notice(Notice::Complete)));
            let blocks = requests_in(&actions, from);
            if blocks.is_empty() {
                return (pieces, complete);
            }
            for piece in self.send_all(from, &blocks) {
                pieces.push(piece.0);
                self.swarm.handle_disk(self.now, DiskEvent::Stored { piece, digests: None });
            }
        }
    }

    /// As `send`, and what else is to be done stays to be done.
    fn send_all(&mut self, key: PeerKey, blocks: &[Block]) -> Vec<PieceIndex> {
        let before = self.actions();
        let mut pieces = Vec::new();
        for block in blocks {
            let data = BlockBuf::copy_of(&vec![0; block.len as usize]);
            self.tell(key, [PeerEvent::Block(*block, data)]);
        }
        let mut actions = self.actions();
        actions.retain(|action| {
            let Action::Disk(DiskJob::Store { piece, .. }) = action else { return true };
            pieces.push(*piece);
            false
        });
        self.swarm.actions.extend(before.into_iter().chain(actions));
        pieces
    }

    fn left_announced(&mut self) -> u64 {
        self.swarm.announce(
            "t".into(),
            three_files().hashes().primary(),
            crate::AnnounceEvent::None,
        );
        let left = self.actions().into_iter().find_map(|action| {
            let Action::Announce(told) = action else { return None };
            Some(told.left)
        });
        left.unwrap()
    }
}

#[test]
fn only_pieces_of_wanted_files_are_fetched_and_then_all_is_there() {
    let mut play = Play::wishing([Skip, Normal, Skip], crate::PieceOrder::RarestFirst);
    assert_eq!(play.left_announced(), u64::from(6 * BLOCK_LEN));
    let seeder = play.full(1);
    let (mut pieces, complete) = play.fetch_all(seeder);
    pieces.sort_unstable();
    assert_eq!(pieces, [2, 3, 4, 5]);
    assert!(complete);
    let stats = play.swarm.stats();
    assert_eq!((stats.wanted_len, stats.wanted_verified), (6 * 16_384, 6 * 16_384));
    assert_eq!(stats.verified, 8 * 16_384, "what shares a piece came along");
    assert_eq!(play.left_announced(), 1, "it is no seeder: not everything can be had from it");
}

#[test]
fn who_has_all_that_it_wants_tells_peers_and_not_trackers_that_it_completed() {
    for (priorities, completed) in [([Normal; 3], true), ([Normal, Skip, Normal], false)] {
        let mut play = Play::unopened(true);
        let trackers = vec![vec!["http://t/announce".to_owned()]];
        play.swarm = Swarm::new(play.now, Config { trackers, ..play.swarm.config.clone() });
        play.wish(priorities);
        let have = Bitfield::empty(8);
        play.swarm.handle_opened(play.now, three_files(), PieceLayers::default(), have);
        play.swarm.handle_timeout(play.now);
        let told = play.actions().into_iter().find_map(|action| {
            let Action::Announce(told) = action else { return None };
            Some(told)
        });
        let interval = Duration::from_secs(1800);
        let (min_interval, seeders, leechers) = (None, None, None);
        let answer =
            super::super::TrackerAnswer { interval, min_interval, seeders, leechers, our_ip: None };
        let found = Found { by: Nearness::Internet, peers: Vec::new() };
        let answer = Ok((answer, found));
        play.swarm.handle_announced(play.now, &told.unwrap(), answer);
        let leecher = play.connect(9, 9, Direction::Incoming);
        play.tell(leecher, [PeerEvent::Has(Bitfield::empty(8)), PeerEvent::Interested]);
        let seeder = play.full(1);
        let mut said = Vec::new();
        while !play.swarm.stats().complete {
            let actions = play.actions();
            let blocks = requests_in(&actions, seeder);
            assert!(!blocks.is_empty());
            for piece in play.send_all(seeder, &blocks) {
                play.swarm.handle_disk(play.now, DiskEvent::Stored { piece, digests: None });
            }
        }
        said.extend(play.actions());
        let is_completed = |action: &Action| matches!(action, Action::Announce(told) if told.event == crate::AnnounceEvent::Completed);
        assert_eq!(said.iter().any(is_completed), completed);
        let is_upload_only = |action: &Action| matches!(action, Action::Peer(key, PeerCommand::UploadOnly(true)) if *key == leecher);
        assert!(said.iter().any(is_upload_only));
    }
}

#[test]
fn files_of_high_priority_come_first_and_those_of_low_priority_last() {
    for order in [crate::PieceOrder::RarestFirst, crate::PieceOrder::Sequential] {
        let mut play = Play::wishing([Low, Normal, High], order);
        let seeder = play.full(1);
        let (pieces, complete) = play.fetch_all(seeder);
        let mut parts: Vec<_> = [0..3, 3..6, 6..8].map(|part| pieces[part].to_vec()).into();
        parts.iter_mut().for_each(|part| part.sort_unstable());
        assert_eq!(parts, [vec![5, 6, 7], vec![2, 3, 4], vec![0, 1]], "{order:?}");
        assert!(complete);
    }
}

#[test]
fn what_is_not_wanted_any_more_is_taken_back_and_what_comes_of_it_is_thrown_away() {
    let mut play = Play::wishing([Normal, Skip, Skip], crate::PieceOrder::Sequential);
    let seeder = play.full(1);
    let asked = play.requests(seeder);
    assert_eq!(asked[0].piece, PieceIndex(0));
    assert!(play.send(seeder, &asked[..1]).is_empty());
    play.wish([Skip, Skip, Normal]);
    let actions = play.actions();
    let cancelled: Vec<_> = actions
        .iter()
        .filter_map(|action| {
            let Action::Peer(_, PeerCommand::Cancel(block)) = action else { return None };
            Some(*block)
        })
        .collect();
    assert_eq!(cancelled, asked[1..]);
    assert!(actions.iter().any(|action| matches!(action, Action::Recycle(_))));
    let wasted = play.swarm.stats().wasted;
    assert_eq!(wasted, u64::from(BLOCK_LEN));
    play.swarm.actions.extend(actions);
    let data = BlockBuf::copy_of(&vec![0; asked[1].len as usize]);
    play.tell(seeder, [PeerEvent::Block(asked[1], data)]);
    assert_eq!(play.swarm.stats().wasted, 2 * wasted);
    for block in &asked[2..] {
        play.tell(seeder, [PeerEvent::Rejected(*block)]);
    }
    let (mut pieces, complete) = play.fetch_all(seeder);
    pieces.sort_unstable();
    assert_eq!((pieces, complete), (vec![5, 6, 7], true));
}

#[test]
fn when_more_is_wanted_later_it_is_fetched_from_who_was_left() {
    let mut play = Play::wishing([Normal, Skip, Skip], crate::PieceOrder::RarestFirst);
    let seeder = play.full(1);
    let (pieces, complete) = play.fetch_all(seeder);
    assert_eq!((pieces.len(), complete), (3, true));
    play.swarm.handle_disconnected(play.now, seeder, None);
    play.wait(600);
    let dials = |play: &mut Play| {
        let actions = play.actions();
        let more = actions.iter().any(|a| matches!(a, Action::Notice(Notice::Incomplete)));
        (more, actions.iter().filter(|action| matches!(action, Action::Dial(..))).count())
    };
    assert_eq!(dials(&mut play), (false, 0));
    play.wish([Normal, Normal, Skip]);
    assert_eq!(dials(&mut play), (true, 1));
    let seeder = play.full(1);
    let (mut pieces, complete) = play.fetch_all(seeder);
    pieces.sort_unstable();
    assert_eq!((pieces, complete), (vec![3, 4, 5], true));
}

#[test]
fn who_has_only_what_is_not_wanted_is_no_source() {
    let mut play = Play::wishing([Normal, Skip, Skip], crate::PieceOrder::RarestFirst);
    let peer = play.connect(1, 1, Direction::Outgoing);
    let mut has = Bitfield::empty(8);
    has.insert(PieceIndex(7));
    play.tell(peer, [PeerEvent::Has(has), PeerEvent::Unchoked]);
    let wanted = |play: &Play| play.swarm.peers().map(|peer| peer.wanted).sum::<u32>();
    assert_eq!(wanted(&play), 0);
    assert!(play.requests(peer).is_empty());
    play.wish([Normal, Skip, Low]);
    assert_eq!(wanted(&play), 1);
    let interested =
        |action: &Action| matches!(action, Action::Peer(_, PeerCommand::Interest(true)));
    assert!(play.actions().iter().any(interested));
}
