//! Somebody reads while it comes.

use std::ops::Range;

use proto::FileIndex;

use super::*;
use crate::{Priority, ReaderKey};

const COUNT: u32 = 64;
const LEN: u64 = PIECE_LEN as u64;

/// One file of many pieces, and its reader.
fn many() -> Arc<Info> {
    let file = NewFile { len: u64::from(COUNT) * LEN, ..NewFile::default() };
    let layout = Layout::plan("many", Shape::File, vec![file], PIECE_LEN, Format::V1).unwrap();
    let v1_pieces = vec![PieceHash::default(); COUNT as usize];
    let hashes = ContentHashes { v1_pieces, files: Vec::new() };
    Arc::new(layout.build(hashes, Details::default()).unwrap().info)
}

impl Play {
    fn of_many() -> Self {
        let mut play = Self::unopened(true);
        let have = Bitfield::empty(COUNT);
        play.swarm.handle_opened(play.now, many(), PieceLayers::default(), have);
        play
    }

    fn giver(&mut self, host: u8) -> PeerKey {
        let key = self.connect(host, host, Direction::Outgoing);
        self.tell(key, [PeerEvent::Has(Bitfield::full(COUNT)), PeerEvent::Unchoked]);
        key
    }

    fn read(&mut self, key: u64, rest: Range<u64>) {
        self.swarm.handle_command(self.now, Command::Read(ReaderKey(key), rest));
    }

    /// A second passes in which the peer gives that much.
    fn gives(&mut self, key: PeerKey, bytes: u64) {
        self.swarm.peers.get_mut(&key).unwrap().down.add(bytes);
        self.wait(1);
    }
}

fn starts(blocks: &[Block]) -> Vec<u32> {
    let mut pieces: Vec<_> = blocks.iter().map(|block| block.piece.0).collect();
    pieces.dedup();
    pieces
}

fn cancelled(actions: &[Action], key: PeerKey) -> Vec<Block> {
    let blocks = actions.iter().filter_map(|action| {
        let Action::Peer(to, PeerCommand::Cancel(block)) = action else { return None };
        (*to == key).then_some(*block)
    });
    blocks.collect()
}

#[test]
fn what_a_reader_needs_is_asked_first_and_in_order() {
    let mut play = Play::of_many();
    play.read(1, 20 * LEN + 5..LEN * 64);
    let peer = play.giver(1);
    let asked = starts(&play.requests(peer));
    assert_eq!(asked[..8], [20, 21, 22, 23, 24, 25, 26, 27]);
}

#[test]
fn a_jump_makes_way_and_is_answered_beyond_the_window() {
    let mut play = Play::of_many();
    let peer = play.giver(1);
    let before = play.requests(peer);
    assert_eq!(before.len(), 32, "all of its first window");
    let target = (0..COUNT).rev().find(|piece| !starts(&before).contains(piece)).unwrap();
    let at = u64::from(target) * LEN;
    play.read(1, at..at + LEN);
    let actions = play.actions();
    let asked = requests_in(&actions, peer);
    assert_eq!(starts(&asked), [target]);
    let mut back = cancelled(&actions, peer);
    back.sort_unstable();
    let mut all = before.clone();
    all.sort_unstable();
    assert_eq!(back, all, "nobody waits for the rest");
    // What was taken back is asked for again when there is room, or comes all the same.
    for block in &before[1..] {
        play.tell(peer, [PeerEvent::Rejected(*block)]);
    }
    let data = BlockBuf::copy_of(&vec![0; before[0].len as usize]);
    play.tell(peer, [PeerEvent::Block(before[0], data)]);
    assert_eq!(play.swarm.stats().wasted, 0);
    assert!(!play.requests(peer).is_empty());
}

#[test]
fn who_is_slow_is_not_asked_for_what_is_needed_at_once() {
    let mut play = Play::of_many();
    let (slow, fast) = (play.giver(1), play.giver(2));
    play.swarm.peers.get_mut(&slow).unwrap().down.add(10_000);
    play.gives(fast, 1_000_000);
    play.actions();
    let busy: Vec<u32> = (0..COUNT)
        .filter(|piece| !play.swarm.torrent.as_ref().unwrap().rarity.may_pick(PieceIndex(*piece)))
        .collect();
    let target =
        (0..COUNT - 2).find(|piece| (0..2).all(|next| !busy.contains(&(piece + next)))).unwrap();
    let at = u64::from(target) * LEN;
    play.read(1, at..at + 2 * LEN);
    let actions = play.actions();
    assert!(!starts(&requests_in(&actions, slow)).contains(&target));
    assert!(starts(&requests_in(&actions, fast)).contains(&target));
}

#[test]
fn what_is_late_is_asked_of_a_second_peer() {
    let mut play = Play::of_many();
    let first = play.giver(1);
    play.requests(first);
    play.read(1, 63 * LEN..64 * LEN);
    let asked: Vec<_> =
        play.requests(first).into_iter().filter(|block| block.piece.0 == 63).collect();
    let second = play.giver(2);
    let twice = |play: &mut Play| {
        let again = play.requests(second);
        again.into_iter().filter(|block| block.piece.0 == 63).collect::<Vec<_>>()
    };
    if asked.is_empty() {
        // It was under way before the reader came.
        assert!(play.swarm.torrent.as_ref().unwrap().open.is_open(PieceIndex(63)));
    }
    assert!(twice(&mut play).is_empty(), "it may be on its way");
    play.wait(1);
    assert_eq!(twice(&mut play).len(), 2);
}

#[test]
fn nothing_is_done_for_a_reader_that_left_or_a_piece_that_nobody_wants() {
    let mut play = Play::of_many();
    play.swarm.handle_command(play.now, Command::Prioritize(vec![(FileIndex(0), Priority::Skip)]));
    play.read(1, 0..LEN);
    let peer = play.giver(1);
    assert!(play.requests(peer).is_empty());
    let before = play.swarm.poll_timeout();
    play.swarm.handle_command(play.now, Command::ReadEnded(ReaderKey(1)));
    assert!(play.swarm.readers.is_empty() && play.swarm.poll_timeout() >= before);
    for key in 0..200 {
        play.read(key, 0..LEN);
    }
    for key in 0..200 {
        play.swarm.handle_command(play.now, Command::ReadEnded(ReaderKey(key)));
    }
    assert!(play.swarm.readers.is_empty());
}

#[test]
fn the_window_ahead_grows_with_the_reader() {
    let mut readers = super::super::readers::Readers::default();
    let mut now = crate::test_now();
    let all = 1 << 30;
    let ahead = |readers: &super::super::readers::Readers| readers.window_of(ReaderKey(1)).unwrap();
    readers.note(now, ReaderKey(1), 0..all);
    assert_eq!(ahead(&readers), 4 << 20);
    for step in 1..20 {
        readers.note(now, ReaderKey(1), (step << 20)..all);
        now += Duration::from_secs(1);
        readers.tick(now);
    }
    assert!((9 << 20..=10 << 20).contains(&ahead(&readers)), "{}", ahead(&readers));
}
