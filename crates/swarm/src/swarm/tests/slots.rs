//! Who gets an upload slot when, and what those that wait are told.

use proto::peer::Place;

use super::*;
use crate::UploadState::{Available, Connected, Unavailable};

/// A peer far away that wants something.
fn leecher(play: &mut Play, host: u8) -> PeerKey {
    let key = play.connect(host, host, Direction::Incoming);
    play.tell(key, [PeerEvent::Has(Bitfield::empty(PIECES)), PeerEvent::Interested]);
    key
}

/// The places that peers were told of.
fn told(play: &mut Play) -> Vec<(PeerKey, Option<u32>)> {
    let told = play.actions().into_iter().filter_map(|action| {
        let Action::Peer(key, PeerCommand::Place(place)) = action else { return None };
        Some((key, place.map(Place::get)))
    });
    told.collect()
}

/// How each peer stands with us.
fn gets(play: &Play) -> Vec<Option<(crate::UploadState, Option<u32>)>> {
    play.swarm.peers().map(|peer| peer.gets.map(|gets| (gets.state, gets.place))).collect()
}

#[test]
fn who_waits_is_told_its_place_once_a_round_and_only_when_it_changed() {
    let mut play = Play::new(true);
    let peers: Vec<_> = (1..=4).map(|host| leecher(&mut play, host)).collect();
    play.wait(1);
    assert_eq!(told(&mut play), [(peers[1], Some(1)), (peers[2], Some(2)), (peers[3], Some(3))]);
    let waits = |place| Some((Connected, Some(place)));
    assert_eq!(gets(&play), [Some((Available, None)), waits(1), waits(2), waits(3)]);
    let slots = crate::Slots { total: 1, used: 1, waiting: 3, guests: 0 };
    assert_eq!(play.swarm.slots(), slots);
    play.wait(60);
    assert_eq!(told(&mut play), [], "nothing changed");
    // Two leave, at different times within a round: others hear of it once.
    play.wait(1);
    play.swarm.handle_disconnected(play.now, peers[1], None);
    play.wait(2);
    assert_eq!(told(&mut play), [(peers[2], Some(1)), (peers[3], Some(2))]);
    play.tell(peers[2], [PeerEvent::NotInterested]);
    play.wait(2);
    assert_eq!(told(&mut play), [], "until the next round");
    play.wait(10);
    assert_eq!(told(&mut play), [(peers[3], Some(1))]);
    assert_eq!(gets(&play), [Some((Available, None)), None, waits(1)]);
}

#[test]
fn a_slot_that_becomes_free_goes_to_the_first_of_the_queue_at_once() {
    let mut play = Play::new(true);
    let peers: Vec<_> = (1..=3).map(|host| leecher(&mut play, host)).collect();
    play.wait(2);
    // Who says that it wants something again waits behind the others.
    play.tell(peers[1], [PeerEvent::NotInterested, PeerEvent::Interested]);
    play.actions();
    play.swarm.handle_disconnected(play.now, peers[0], None);
    let chokes = |play: &mut Play| {
        let chokes = play.actions().into_iter().filter_map(|action| {
            let Action::Peer(key, PeerCommand::Choke(choke)) = action else { return None };
            Some((key, choke))
        });
        chokes.collect::<Vec<_>>()
    };
    assert_eq!(chokes(&mut play), [(peers[2], false)]);
    play.tell(peers[2], [PeerEvent::NotInterested]);
    assert_eq!(chokes(&mut play), [(peers[2], true), (peers[1], false)]);
    play.tell(peers[2], [PeerEvent::Interested]);
    assert_eq!(chokes(&mut play), [], "it had left its slot");
    play.tell(peers[1], [PeerEvent::NotInterested, PeerEvent::Interested]);
    assert_eq!(chokes(&mut play), [(peers[1], true), (peers[2], false)]);
    assert_eq!(play.swarm.slots().used, 1);
}

#[test]
fn sources_are_told_apart_by_three_words() {
    let mut play = Play::new(false);
    let (free, busy) = (play.seeder(1), play.seeder(2));
    let other = play.connect(3, 3, Direction::Outgoing);
    play.tell(other, [PeerEvent::Has(Bitfield::empty(PIECES))]);
    play.tell(busy, [PeerEvent::Choked, PeerEvent::Place(Place::new(7))]);
    let gives = |play: &Play| {
        let all = play.swarm.peers().map(|peer| peer.gives.map(|gives| (gives.state, gives.place)));
        all.collect::<Vec<_>>()
    };
    let expected = [Some((Available, None)), Some((Connected, Some(7))), None];
    assert_eq!(gives(&play), expected);
    // Its place goes with its slot, and does not come back with the next choke.
    play.tell(busy, [PeerEvent::Unchoked, PeerEvent::Place(Place::new(3)), PeerEvent::Choked]);
    assert_eq!(gives(&play)[1], Some((Connected, None)));
    // Who owes blocks for too long gives nothing.
    play.wait(30);
    assert_eq!(gives(&play)[0], Some((Unavailable, None)));
    play.swarm.handle_disconnected(play.now, free, Some("lied".into()));
    assert_eq!(play.swarm.unavailable(), (vec![SocketAddr::from(([20, 0, 1, 1], 6881))], 1));
}
