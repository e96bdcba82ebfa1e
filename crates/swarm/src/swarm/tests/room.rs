//! Who may stay when there are more peers than connections: ten here.

use super::*;

fn connected(play: &mut Play, addr: [u8; 4], direction: Direction) -> (PeerKey, Vec<PeerKey>) {
    let number = play.swarm.next_key;
    let mut id = [7; 20];
    id[..8].copy_from_slice(&number.to_be_bytes());
    let connected = Connected {
        addr: SocketAddr::from((addr, 6881)),
        direction,
        peer_id: PeerId(id),
        info_hash: info().hashes().primary(),
        v2: false,
        fast: true,
        extended: true,
        dht: false,
        utp: false,
    };
    let key = play.swarm.handle_connected(play.now, connected);
    let ended = disconnects(&play.actions());
    assert!(ended.iter().all(|(_, why)| *why == Goodbye::TooMany), "{ended:?}");
    (key, ended.into_iter().map(|(key, _)| key).collect())
}

/// It dials us; who has to go, itself perhaps.
fn dials(play: &mut Play, addr: [u8; 4]) -> (PeerKey, Vec<PeerKey>) {
    connected(play, addr, Direction::Incoming)
}

fn stays(play: &mut Play, addr: [u8; 4]) -> PeerKey {
    let (key, gone) = dials(play, addr);
    assert_eq!(gone, [], "{addr:?}");
    key
}

#[test]
fn the_network_with_most_connections_makes_room_and_no_other() {
    let mut play = Play::new(true);
    let crowd: Vec<_> = (1..=9).map(|host| stays(&mut play, [30, 0, 0, host])).collect();
    let single = stays(&mut play, [31, 0, 0, 1]);
    let (key, gone) = dials(&mut play, [30, 0, 0, 99]);
    assert_eq!(gone, [key], "one more of the same network");
    // It may linger, and neither takes up room nor makes any.
    let (_, gone) = dials(&mut play, [32, 0, 0, 1]);
    assert!(matches!(gone[..], [gone] if crowd.contains(&gone)), "{gone:?}");
    let (_, gone) = dials(&mut play, [33, 0, 0, 1]);
    assert!(matches!(gone[..], [gone] if crowd.contains(&gone)), "{gone:?}");
    assert_ne!(gone, [single]);
    assert_eq!(play.swarm.staying(), 10);
}

#[test]
fn who_takes_something_stays() {
    let mut play = Play::new(true);
    for host in 1..=10 {
        let key = stays(&mut play, [30, 0, 0, host]);
        play.tell(key, [PeerEvent::Sent(1 << 20)]);
    }
    play.wait(2);
    play.actions();
    let (key, gone) = dials(&mut play, [31, 0, 0, 1]);
    assert_eq!(gone, [key]);
}

#[test]
fn of_equals_the_one_of_higher_priority_stays_once_the_other_had_its_time() {
    let mut play = Play::new(true);
    let nets: Vec<_> = (1..=10).map(|net| [30, net, 0, 1]).collect();
    for addr in &nets {
        stays(&mut play, *addr);
    }
    let priority = |play: &Play, addr: [u8; 4]| {
        proto::peer::priority(play.swarm.our_addr(), SocketAddr::from((addr, 6881)))
    };
    let lowest = nets.iter().map(|addr| priority(&play, *addr)).min().unwrap();
    let all = (11..=250).map(|net| [30, net, 0, 1]);
    let (better, worse): (Vec<_>, Vec<_>) = all.partition(|addr| priority(&play, *addr) > lowest);
    let (key, gone) = dials(&mut play, better[0]);
    assert_eq!(gone, [key], "they are new");
    play.wait(30);
    if let Some(worse) = worse.first() {
        let (key, gone) = dials(&mut play, *worse);
        assert_eq!(gone, [key]);
    }
    let (key, gone) = dials(&mut play, better[0]);
    assert!(matches!(gone[..], [gone] if gone != key), "{gone:?}");
}

#[test]
fn a_host_has_one_connection_unless_there_is_plenty_of_room() {
    let mut play = Play::new(true);
    (1..=6).for_each(|_| _ = stays(&mut play, [30, 0, 0, 1]));
    let (key, gone) = dials(&mut play, [30, 0, 0, 1]);
    assert_eq!(gone, [key]);
    stays(&mut play, [31, 0, 0, 1]);
}

#[test]
fn a_quarter_is_kept_for_peers_that_we_dial_while_we_fetch() {
    for (complete, room) in [(false, 8), (true, 10)] {
        let mut play = Play::new(complete);
        let taken = (1..=10).take_while(|net| dials(&mut play, [30, *net, 0, 1]).1.is_empty());
        assert_eq!(taken.count(), room);
    }
    let mut play = Play::new(false);
    (1..=8).for_each(|net| _ = stays(&mut play, [30, net, 0, 1]));
    assert_eq!(connected(&mut play, [31, 1, 0, 1], Direction::Outgoing).1, []);
    assert_eq!(connected(&mut play, [31, 2, 0, 1], Direction::Outgoing).1, []);
}

#[test]
fn none_of_this_is_for_the_local_network() {
    let mut play = Play::new(false);
    (1..=10).for_each(|_| _ = stays(&mut play, [10, 0, 0, 1]));
    let (key, gone) = dials(&mut play, [10, 0, 0, 2]);
    assert_eq!(gone, [key], "it has the room that there is");
    let (key, gone) = dials(&mut play, [30, 0, 0, 1]);
    assert_eq!(gone, [key]);
}

#[test]
fn a_useless_peer_makes_room_for_an_address_of_a_better_network() {
    let mut play = Play::new(false);
    (1..=8).for_each(|host| _ = stays(&mut play, [30, 0, 0, host]));
    for host in 9..=10 {
        assert_eq!(connected(&mut play, [30, 0, 0, host], Direction::Outgoing).1, []);
    }
    let peers = vec![SocketAddr::from(([31, 0, 0, 1], 6881))];
    play.swarm.handle_found(play.now, Found { by: Nearness::Internet, peers: peers.clone() });
    play.wait(6);
    let actions = play.actions();
    let [(gone, Goodbye::TooMany), ..] = disconnects(&actions)[..] else { panic!("{actions:?}") };
    assert!(
        gone >= PeerKey(9),
        "one that we dialled: who dials us would take the place of another"
    );
    play.swarm.handle_disconnected(play.now, gone, None);
    let dialled = |action: &Action| matches!(action, Action::Dial(addr, _) if *addr == peers[0]);
    let later = play.actions();
    assert!(actions.iter().chain(&later).any(dialled), "{later:?}");
}
