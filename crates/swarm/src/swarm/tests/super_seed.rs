//! One piece at a time, until there are copies enough.

use super::*;

fn play() -> Play {
    let mut play = Play::unopened(true);
    play.swarm.config.super_seed = true;
    play.swarm.handle_opened(play.now, info(), PieceLayers::default(), Bitfield::full(PIECES));
    play
}

/// The pieces that a peer is told of.
fn told(actions: &[Action], key: PeerKey) -> Vec<PieceIndex> {
    let pieces = actions.iter().filter_map(|action| {
        let Action::Peer(to, PeerCommand::Have(piece)) = action else { return None };
        (*to == key).then_some(*piece)
    });
    pieces.collect()
}

/// What a peer is told to be there as a whole.
fn shown(actions: &[Action], key: PeerKey) -> Option<u32> {
    actions.iter().rev().find_map(|action| {
        let Action::Peer(to, PeerCommand::Torrent { have, .. }) = action else { return None };
        (*to == key).then(|| have.count())
    })
}

#[test]
fn each_peer_is_told_of_one_piece_and_of_the_next_when_another_one_reports_it() {
    let mut play = play();
    let one = play.connect(1, 1, Direction::Incoming);
    let two = play.connect(2, 2, Direction::Incoming);
    let actions = play.actions();
    let ([first], [second]) = (&told(&actions, one)[..], &told(&actions, two)[..]) else {
        panic!("not one piece each: {actions:?}");
    };
    assert_ne!(first, second);
    assert_eq!((shown(&actions, one), shown(&actions, two)), (Some(0), Some(0)));
    let alone = |action: &Action| matches!(action, Action::Peer(_, PeerCommand::UploadOnly(true)));
    assert!(!actions.iter().any(alone));
    [one, two].into_iter().for_each(|key| play.tell(key, [PeerEvent::Interested]));
    play.tell(one, [PeerEvent::Have(*first)]);
    assert_eq!(told(&play.actions(), one), [], "nobody has it from that peer yet");
    play.tell(two, [PeerEvent::Have(*first)]);
    let actions = play.actions();
    let [next] = told(&actions, one)[..] else { panic!("no next piece: {actions:?}") };
    assert!(next != *first && next != *second);
    assert_eq!(told(&actions, two), []);
}

#[test]
fn who_passes_nothing_on_waits_and_who_has_nobody_to_pass_it_on_to_does_not() {
    let mut play = play();
    let one = play.connect(1, 1, Direction::Incoming);
    let first = told(&play.actions(), one)[0];
    play.tell(one, [PeerEvent::Have(first)]);
    let second = told(&play.actions(), one);
    assert_eq!(second.len(), 1);
    let two = play.connect(2, 2, Direction::Incoming);
    play.tell(two, [PeerEvent::Interested]);
    play.tell(one, [PeerEvent::Have(second[0])]);
    assert_eq!(told(&play.actions(), one), []);
    play.wait(11);
    assert_eq!(told(&play.actions(), one).len(), 1);
    play.swarm.handle_disconnected(play.now, two, None);
    assert!(play.swarm.is_super_seeding());
}

#[test]
fn with_each_piece_at_two_others_all_are_told_of_all() {
    let mut play = play();
    let keys = [1, 2, 3].map(|host| play.connect(host, host, Direction::Incoming));
    let mut most = Bitfield::full(PIECES);
    most.remove(PieceIndex(0));
    play.tell(keys[0], [PeerEvent::Has(most.clone())]);
    play.tell(keys[1], [PeerEvent::Has(most)]);
    play.wait(3);
    assert!(play.swarm.is_super_seeding(), "one piece is missing");
    play.tell(keys[0], [PeerEvent::Have(PieceIndex(0))]);
    play.tell(keys[1], [PeerEvent::Have(PieceIndex(0))]);
    play.actions();
    play.wait(3);
    assert!(!play.swarm.is_super_seeding());
    assert_eq!(shown(&play.actions(), keys[2]), Some(PIECES));
}

#[test]
fn a_piece_that_is_lost_ends_it() {
    let mut play = play();
    let one = play.connect(1, 1, Direction::Incoming);
    play.actions();
    play.swarm.handle_disk(play.now, DiskEvent::Lost(vec![PieceIndex(2)]));
    assert!(!play.swarm.is_super_seeding());
    assert_eq!(shown(&play.actions(), one), Some(PIECES));
}

#[test]
fn who_wants_other_pieces_is_soon_told_of_another_and_idlers_hold_up_nobody() {
    let mut play = play();
    let one = play.connect(1, 1, Direction::Incoming);
    let idler = play.connect(2, 2, Direction::Incoming);
    let first = told(&play.actions(), one);
    assert_eq!(first.len(), 1);
    // It does not want that one.
    play.wait(4);
    let second = told(&play.actions(), one);
    assert!(second.len() == 1 && second != first);
    play.tell(one, [PeerEvent::Interested]);
    play.wait(4);
    assert_eq!(told(&play.actions(), one), [], "it is fetching");
    play.tell(one, [PeerEvent::Have(second[0])]);
    assert_eq!(told(&play.actions(), one).len(), 1, "the idler wants nothing of it");
    play.swarm.handle_disconnected(play.now, idler, None);
}

#[test]
fn a_piece_that_its_only_other_owner_lost_is_told_of_first() {
    for lost in (0..PIECES).map(PieceIndex) {
        let mut play = play();
        let one = play.connect(1, 1, Direction::Incoming);
        let first = told(&play.actions(), one)[0];
        if lost == first {
            continue;
        }
        for piece in (0..PIECES).map(PieceIndex).filter(|piece| *piece != first) {
            play.tell(one, [PeerEvent::Have(piece)]);
        }
        play.tell(one, [PeerEvent::DontHave(lost)]);
        play.actions();
        let two = play.connect(2, 2, Direction::Incoming);
        assert_eq!(told(&play.actions(), two), [lost]);
    }
}
