//! Web seeds among peers.

use super::*;

impl Play {
    fn web_seed(&mut self) -> PeerKey {
        let key = self.swarm.handle_web_seed(self.now);
        self.tell(key, [PeerEvent::Has(Bitfield::full(PIECES)), PeerEvent::Unchoked]);
        key
    }

    /// A second passes in which the peer gives that much.
    fn second(&mut self, key: PeerKey, bytes: u64) -> Vec<Action> {
        self.swarm.peers.get_mut(&key).unwrap().down.add(bytes);
        self.wait(1);
        self.actions()
    }
}

fn bans(actions: &[Action]) -> Vec<PeerKey> {
    let bans = actions.iter().filter_map(|action| {
        let Action::Notice(Notice::BannedWebSeed(key, _)) = action else { return None };
        Some(*key)
    });
    bans.collect()
}

#[test]
fn a_web_seed_gives_pieces_in_a_row_and_leaves_when_all_is_there() {
    let mut play = Play::new(false);
    let server = play.web_seed();
    let blocks = play.requests(server);
    assert_eq!(blocks.len(), 2 * PIECES as usize);
    let starts: Vec<_> = blocks.iter().step_by(2).map(|block| block.piece.0).collect();
    for (at, next) in starts.iter().map(|piece| piece + 1).enumerate().take(3) {
        let goes_on = starts[at + 1] == next || next == PIECES || starts[..at].contains(&next);
        assert!(goes_on, "{starts:?}");
    }
    for piece in play.send(server, &blocks) {
        play.swarm.handle_disk(play.now, DiskEvent::Stored { piece, digests: None });
    }
    assert_eq!(disconnects(&play.actions()), [(server, Goodbye::Useless)]);
    let late = play.swarm.handle_web_seed(play.now);
    assert_eq!(disconnects(&play.actions()), [(late, Goodbye::Useless)]);
}

#[test]
fn a_web_seed_rests_while_peers_give_enough() {
    let mut play = Play::new(false);
    let seeder = play.seeder(1);
    let asked = play.requests(seeder);
    assert_eq!(asked.len(), 2 * PIECES as usize);
    play.second(seeder, 20 << 20);
    let server = play.web_seed();
    play.swarm.handle_disconnected(play.now, seeder, None);
    assert!(play.requests(server).is_empty(), "until it is known that nobody else gives");
    play.wait(1);
    assert_eq!(play.requests(server).len(), 2 * PIECES as usize);
}

#[test]
fn a_web_seed_fills_the_gaps_of_fast_peers() {
    let mut play = Play::new(false);
    let peer = play.connect(1, 1, Direction::Outgoing);
    let mut half = Bitfield::empty(PIECES);
    half.insert(PieceIndex(0));
    half.insert(PieceIndex(2));
    play.tell(peer, [PeerEvent::Has(half), PeerEvent::Choked]);
    let server = play.swarm.handle_web_seed(play.now);
    play.second(peer, 20 << 20);
    play.tell(server, [PeerEvent::Has(Bitfield::full(PIECES)), PeerEvent::Unchoked]);
    let mut pieces: Vec<_> = play.requests(server).iter().map(|block| block.piece.0).collect();
    pieces.sort_unstable();
    assert_eq!(pieces, [1, 1, 3, 3]);
}

#[test]
fn a_slow_peer_lets_the_web_seed_work() {
    let mut play = Play::new(false);
    let seeder = play.seeder(1);
    play.second(seeder, 100);
    play.swarm.handle_disconnected(play.now, seeder, None);
    let server = play.web_seed();
    assert!(!play.requests(server).is_empty());
}

#[test]
fn who_sent_a_bad_piece_is_banned_and_no_other_web_seed() {
    let mut play = Play::new(false);
    let liar = play.web_seed();
    let blocks = play.requests(liar);
    let other = play.web_seed();
    let piece = play.send(liar, &blocks[..2])[0];
    let digests = vec![Some(proto::MerkleHash([9; 32])); 2];
    play.swarm.handle_disk(play.now, DiskEvent::Bad { piece, digests, inconsistent: false });
    let actions = play.actions();
    assert_eq!(bans(&actions), [liar]);
    assert_eq!(disconnects(&actions), [(liar, Goodbye::Banned)]);
    play.swarm.handle_disconnected(play.now, liar, None);
    let again = requests_in(&actions, other).len() + play.requests(other).len();
    assert_eq!(again, 2 * PIECES as usize);
}

#[test]
fn web_seeds_are_no_peers_to_others() {
    let mut play = Play::new(false);
    let servers: Vec<_> = (0..20).map(|_| play.web_seed()).collect();
    assert!(play.swarm.is_alone() && play.swarm.wants_dialling());
    let peer = play.seeder(1);
    assert!(disconnects(&play.actions()).is_empty(), "they take no peer's place");
    assert_eq!(play.swarm.peer_count(), 1);
    let told = play.swarm.peers.values().filter_map(super::super::Peer::listen_addr);
    assert_eq!(told.count(), 1, "who cannot be dialled is told to nobody");
    play.swarm.choke_round();
    let unchoked = play.actions().into_iter().any(|action| {
        matches!(action, Action::Peer(key, PeerCommand::Choke(false)) if servers.contains(&key))
    });
    assert!(!unchoked);
    assert!(play.swarm.peers().filter(|peer| peer.web_seed).all(|peer| peer.wanted == 0));
    play.swarm.handle_disconnected(play.now, peer, None);
    assert!(play.swarm.is_alone());
}
