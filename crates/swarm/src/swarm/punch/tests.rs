//! Who meets whom, who is told what, and how often.

use std::time::Duration;

use proto::metainfo::{Info, PieceLayers};
use proto::peer::{PeerExchange, PeerFlags};
use proto::{Bitfield, PeerId};

use super::super::tests::{Play, info};
use super::super::{Command, Config};
use super::*;
use crate::{Connected, Direction, PeerEvent, PeerInfo};

const PUNCHES: PeerInfo = PeerInfo {
    client: None,
    reqq: None,
    run_blocks: 0,
    metadata_len: None,
    upload_only: false,
    listen_port: None,
    exchanges: true,
    punches: true,
};

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

/// A torrent that is open, with uTP and exchange.
fn play() -> Play {
    play_of(&info(), true)
}

fn play_of(info: &std::sync::Arc<Info>, punch: bool) -> Play {
    let mut play = Play::unopened(true);
    let config = Config { exchange: true, punch, ..play.swarm.config.clone() };
    play.swarm = Swarm::new(play.now, config);
    let pieces = info.geometry().piece_count();
    play.swarm.handle_opened(
        play.now,
        info.clone(),
        PieceLayers::default(),
        Bitfield::empty(pieces),
    );
    play
}

/// Somebody comes who has hole punching, by TCP, and says at which port it listens.
fn comes(play: &mut Play, from: &str, listens: u16) -> PeerKey {
    let key = connects(play, from, false);
    let heard = PeerInfo { listen_port: Some(listens), ..PUNCHES };
    play.tell(key, [PeerEvent::Extended(heard)]);
    play.actions();
    key
}

fn connects(play: &mut Play, from: &str, utp: bool) -> PeerKey {
    let id = play.swarm.next_key as u8;
    let connected = Connected {
        addr: addr(from),
        direction: Direction::Incoming,
        peer_id: PeerId([100 + id; 20]),
        info_hash: info().hashes().primary(),
        v2: false,
        fast: true,
        extended: true,
        dht: false,
        utp,
    };
    let key = play.swarm.handle_connected(play.now, connected);
    play.actions();
    key
}

fn say(play: &mut Play, key: PeerKey, message: HolePunch) -> Vec<Action> {
    play.tell(key, [PeerEvent::HolePunch(message)]);
    play.actions()
}

/// What was told to whom.
fn words(actions: &[Action]) -> Vec<(PeerKey, HolePunch)> {
    let words = actions.iter().filter_map(|action| {
        let Action::Peer(key, PeerCommand::HolePunch(message)) = action else { return None };
        Some((*key, *message))
    });
    words.collect()
}

fn punches(actions: &[Action]) -> Vec<(SocketAddr, Nearness)> {
    let punches = actions.iter().filter_map(|action| {
        let Action::Punch(to, by) = action else { return None };
        Some((*to, *by))
    });
    punches.collect()
}

fn ask(play: &mut Play, key: PeerKey, wanted: &str) -> Vec<(PeerKey, HolePunch)> {
    let wish = HolePunch::Rendezvous(addr(wanted));
    words(&say(play, key, wish))
}

fn failed(key: PeerKey, wanted: &str, error: PunchError) -> Vec<(PeerKey, HolePunch)> {
    vec![(key, HolePunch::Failed(addr(wanted), error))]
}

#[test]
fn two_that_can_be_brought_together_hear_where_the_other_is() {
    let mut play = play();
    let (one, two) =
        (comes(&mut play, "9.0.1.1:40000", 7), comes(&mut play, "9.0.2.1:40000", 6881));
    let both = [
        (two, HolePunch::Connect(addr("9.0.1.1:7"))),
        (one, HolePunch::Connect(addr("9.0.2.1:6881"))),
    ];
    assert_eq!(ask(&mut play, one, "9.0.2.1:6881"), both);
    let mapped = "[::ffff:9.0.2.1]:6881";
    assert_eq!(ask(&mut play, one, mapped), both, "the same address");
}

#[test]
fn who_comes_by_utp_is_where_it_comes_from() {
    let mut play = play();
    let one = comes(&mut play, "9.0.1.1:40000", 7);
    let two = connects(&mut play, "9.0.2.1:50123", true);
    let heard = PeerInfo { listen_port: Some(6881), ..PUNCHES };
    play.tell(two, [PeerEvent::Extended(heard)]);
    let told = ask(&mut play, one, "9.0.2.1:6881");
    assert_eq!(told[1], (one, HolePunch::Connect(addr("9.0.2.1:50123"))), "its router chose that");
}

#[test]
fn errors_say_why_nobody_meets() {
    use PunchError::{NoSelf, NoSuchPeer, NoSupport, NotConnected};
    let mut play = play();
    let one = comes(&mut play, "9.0.1.1:40000", 7);
    let plain = connects(&mut play, "9.0.2.1:40000", false);
    let heard = PeerInfo { listen_port: Some(6881), punches: false, ..PUNCHES };
    play.tell(plain, [PeerEvent::Extended(heard)]);
    let mut check = |wanted: &str, error| {
        assert_eq!(ask(&mut play, one, wanted), failed(one, wanted, error), "{wanted}");
    };
    check("0.0.0.0:6881", NoSuchPeer);
    check("9.0.2.1:0", NoSuchPeer);
    check("239.1.1.1:6881", NoSuchPeer);
    check("9.0.3.1:6881", NotConnected);
    check("9.0.2.1:6882", NotConnected);
    check("9.0.2.1:6881", NoSupport);
    check("9.0.1.1:7", NoSelf);
    check("9.0.1.1:40000", NoSelf);
    assert_eq!(ask(&mut play, plain, "9.0.1.1:7"), [], "it could not be told");
}

#[test]
fn nobody_hears_of_addresses_nearer_than_they_are() {
    let mut play = play();
    let far = comes(&mut play, "9.0.1.1:40000", 7);
    let near = comes(&mut play, "10.0.0.2:40000", 6881);
    let unknown = failed(far, "10.0.0.2:6881", PunchError::NotConnected);
    assert_eq!(ask(&mut play, far, "10.0.0.2:6881"), unknown, "as if it were not there");
    let unheard = failed(near, "9.0.1.1:7", PunchError::NotConnected);
    assert_eq!(ask(&mut play, near, "9.0.1.1:7"), unheard, "the other would hear of it");
    let neighbour = comes(&mut play, "10.0.0.3:40000", 6881);
    assert_eq!(ask(&mut play, near, "10.0.0.3:6881").len(), 2, "{neighbour:?}");
}

#[test]
fn families_do_not_meet() {
    let mut play = play();
    let one = comes(&mut play, "9.0.1.1:40000", 7);
    comes(&mut play, "[2001:4860::1]:40000", 6881);
    let told = ask(&mut play, one, "[2001:4860::1]:6881");
    assert_eq!(told, failed(one, "[2001:4860::1]:6881", PunchError::NoSupport));
}

#[test]
fn wishes_are_counted_by_asker_by_target_and_in_all() {
    let mut play = play();
    let target = "9.0.99.1:6881";
    comes(&mut play, target, 6881);
    let one = comes(&mut play, "9.0.1.1:40000", 7);
    let mut heard = 0;
    for _ in 0..100 {
        heard += ask(&mut play, one, "9.0.77.1:1").len();
    }
    assert_eq!(heard, RELAYED_FOR_ONE, "errors cost, too");
    play.now += MINUTE;
    for number in 1..=2 {
        let asker = comes(&mut play, &format!("9.1.{number}.1:40000"), 7);
        for _ in 0..RELAYED_TO_ONE {
            heard += ask(&mut play, asker, target).len();
        }
    }
    assert_eq!(heard - RELAYED_FOR_ONE, 2 * RELAYED_TO_ONE, "it is bothered so often by all");
    play.now += MINUTE;
    let (now, mut punching) = (play.now, Punching::default());
    let mut answers = 0;
    for number in 1_000..2_000 {
        answers += punching.relay(now, &play.swarm.peers, PeerKey(number), addr(target)).len();
    }
    assert_eq!(answers, RELAYED_TOTAL);
    assert_eq!(punching.relayed.0.len(), RELAYED_TOTAL, "and no more is remembered");
}

#[test]
fn third_peer_leads_us_by_utp_and_no_nearer_than_it_is() {
    let mut play = play();
    let by = comes(&mut play, "9.0.1.1:40000", 7);
    let mut check = |to: &str, expected: bool| {
        let begun = punches(&say(&mut play, by, HolePunch::Connect(addr(to))));
        let expected: &[_] = if expected { &[(addr(to), Nearness::Internet)] } else { &[] };
        assert_eq!(begun, expected, "{to}");
    };
    for near in ["127.0.0.1:22", "10.0.0.1:80", "169.254.169.254:80", "100.64.0.1:1", "[::1]:80"] {
        check(near, false);
    }
    check("9.0.2.1:0", false);
    check("9.0.1.1:40000", false);
    check("9.0.1.1:7", false);
    check("9.0.2.1:6881", true);
    check("9.0.2.1:6881", false);
    let neighbour = comes(&mut play, "10.0.0.2:40000", 7);
    let begun = punches(&say(&mut play, neighbour, HolePunch::Connect(addr("10.0.0.3:6881"))));
    assert_eq!(begun, [(addr("10.0.0.3:6881"), Nearness::Network)]);
}

#[test]
fn words_that_lead_us_are_counted_by_peer_by_network_and_in_all() {
    let mut play = play();
    let by: Vec<_> =
        (1..=9).map(|host| comes(&mut play, &format!("9.0.{host}.1:40000"), 7)).collect();
    let mut begun = |key: PeerKey, to: &str| {
        let to = addr(to);
        let count = punches(&say(&mut play, key, HolePunch::Connect(to))).len();
        // It fails at once, so that dials under way are not what holds back.
        if count > 0 {
            play.swarm.handle_dial_failed(play.now, to, false);
        }
        count
    };
    let victim: usize =
        (0..50).map(|host| begun(by[host % 5], &format!("8.8.8.{}:{host}", host + 1))).sum();
    assert_eq!(victim, BEGUN_TO_ONE);
    let one: usize = (0..50).map(|host| begun(by[8], &format!("8.1.{host}.1:1"))).sum();
    assert_eq!(one, BEGUN_BY_ONE);
    let all: usize = (0..50).map(|host| begun(by[host % 8], &format!("8.2.{host}.1:1"))).sum();
    assert_eq!(victim + one + all, BEGUN_TOTAL);
    play.now += MINUTE;
    let later = say(&mut play, by[0], HolePunch::Connect(addr("8.8.8.8:1")));
    assert_eq!(punches(&later).len(), 1);
}

/// `by` tells of an address, which is dialled in vain; what is said then.
fn dialled_in_vain(play: &mut Play, by: &[PeerKey], to: &str, holepunch: bool) -> Vec<Action> {
    for key in by {
        let flags = PeerFlags { holepunch, utp: true, ..PeerFlags::default() };
        let message = PeerExchange { added: vec![(addr(to), flags)], dropped: Vec::new() };
        play.tell(*key, [PeerEvent::Exchanged(message)]);
    }
    play.actions();
    fail(play, to)
}

fn fail(play: &mut Play, to: &str) -> Vec<Action> {
    play.swarm.handle_dial_failed(play.now, addr(to), false);
    play.actions()
}

#[test]
fn who_told_of_a_peer_that_cannot_be_reached_is_asked() {
    let wish = HolePunch::Rendezvous(addr("9.0.2.1:6881"));
    for holepunch in [true, false] {
        let mut play = play();
        let by = comes(&mut play, "9.0.1.1:40000", 7);
        let asked = dialled_in_vain(&mut play, &[by], "9.0.2.1:6881", holepunch);
        let expected: &[_] = if holepunch { &[(by, wish)] } else { &[] };
        assert_eq!(words(&asked), expected);
        assert_eq!(words(&fail(&mut play, "9.0.3.1:6881")), [], "nobody told of that one");
    }
}

#[test]
fn who_left_or_took_it_back_is_not_asked() {
    let to = "9.0.2.1:6881";
    let mut gone = play();
    let by = comes(&mut gone, "9.0.1.1:40000", 7);
    dialled_in_vain(&mut gone, &[by], to, false);
    gone.swarm.handle_disconnected(gone.now, by, None);
    assert_eq!(words(&dialled_in_vain(&mut gone, &[by], to, true)), []);
    let mut dropped = play();
    let by = comes(&mut dropped, "9.0.1.1:40000", 7);
    let flags = PeerFlags { holepunch: true, ..PeerFlags::default() };
    let told = PeerExchange { added: vec![(addr(to), flags)], dropped: Vec::new() };
    dropped.tell(by, [PeerEvent::Exchanged(told)]);
    dropped.now += MINUTE;
    let taken_back = PeerExchange { added: Vec::new(), dropped: vec![addr(to)] };
    dropped.tell(by, [PeerEvent::Exchanged(taken_back)]);
    assert_eq!(words(&fail(&mut dropped, to)), []);
}

#[test]
fn address_is_asked_about_a_few_times_ever_more_rarely() {
    let (mut play, to) = (play(), "9.0.2.1:6881");
    let by = comes(&mut play, "9.0.1.1:40000", 7);
    let mut asked_at = Vec::new();
    let begun = play.now;
    asked_at.extend(words(&dialled_in_vain(&mut play, &[by], to, true)).iter().map(|_| 0));
    for second in 1..1_000 {
        play.now = begun + Duration::from_secs(second);
        asked_at.extend(words(&fail(&mut play, to)).iter().map(|_| second));
    }
    assert_eq!(asked_at, [0, 30, 90]);
}

#[test]
fn another_is_asked_when_the_first_cannot_help() {
    let (mut play, to) = (play(), "9.0.2.1:6881");
    let (one, two) = (comes(&mut play, "9.0.1.1:40000", 7), comes(&mut play, "9.0.3.1:40000", 7));
    let wish = HolePunch::Rendezvous(addr(to));
    assert_eq!(words(&dialled_in_vain(&mut play, &[one, two], to, true)), [(one, wish)]);
    let no = HolePunch::Failed(addr(to), PunchError::NotConnected);
    assert_eq!(words(&say(&mut play, two, no)), [], "it was not asked");
    assert_eq!(words(&say(&mut play, one, no)), [(two, wish)]);
    assert_eq!(words(&say(&mut play, two, no)), [], "and nobody is left");
}

#[test]
fn failed_meeting_is_no_reason_for_another_one_at_once() {
    let (mut play, to) = (play(), "9.0.2.1:6881");
    let by = comes(&mut play, "9.0.1.1:40000", 7);
    dialled_in_vain(&mut play, &[by], "9.0.4.1:6881", true);
    play.now += MINUTE;
    let told = HolePunch::Connect(addr(to));
    assert_eq!(punches(&say(&mut play, by, told)).len(), 1);
    assert_eq!(words(&dialled_in_vain(&mut play, &[by], to, true)), [], "it was met in vain");
    assert_eq!(words(&fail(&mut play, to)).len(), 1, "and then dialled in vain");
}

#[test]
fn wishes_of_our_own_are_bounded_and_so_is_what_is_remembered() {
    let (now, mut punching) = (crate::test_now(), Punching::default());
    let host = |number: u32| SocketAddr::from((std::net::Ipv4Addr::from(0x0900_0000 + number), 1));
    let one = (0..100).filter(|number| punching.ask(now, PeerKey(1), host(*number))).count();
    assert_eq!(one, ASKED_OF_ONE);
    let all = (100..300).filter(|n| punching.ask(now, PeerKey(u64::from(*n)), host(*n))).count();
    assert_eq!(one + all, ASKED_TOTAL);
    for minute in 1..100 {
        for number in 0..100 {
            let to = host(1_000 + minute * 100 + number);
            punching.ask(now + MINUTE * minute, PeerKey(u64::from(number)), to);
        }
    }
    assert_eq!(punching.asked.len(), ASKED_MAX);
    assert!(punching.asked_of.0.len() <= ASKED_TOTAL);
}

#[test]
fn private_torrents_and_those_without_utp_bring_nobody_together() {
    let mut raw = info().raw().to_vec();
    raw.pop();
    raw.extend_from_slice(b"7:privatei1ee");
    let private = std::sync::Arc::new(Info::decode(&raw).expect("a private torrent"));
    for (info, punch) in [(private, true), (info(), false)] {
        let mut play = play_of(&info, punch);
        assert!(!play.swarm.punches());
        let one = comes(&mut play, "9.0.1.1:40000", 7);
        comes(&mut play, "9.0.2.1:40000", 6881);
        assert_eq!(ask(&mut play, one, "9.0.2.1:6881"), []);
        let told = say(&mut play, one, HolePunch::Connect(addr("9.0.3.1:6881")));
        assert_eq!(punches(&told), []);
    }
}

#[test]
fn nobody_is_met_after_the_end_or_when_there_is_no_room() {
    let told = HolePunch::Connect(addr("9.0.3.1:6881"));
    let mut ended = play();
    let by = comes(&mut ended, "9.0.1.1:40000", 7);
    ended.swarm.handle_command(ended.now, Command::Stop);
    assert_eq!(punches(&say(&mut ended, by, told)), []);
    let mut full = play();
    let keys: Vec<_> =
        (0..10).map(|host| comes(&mut full, &format!("9.1.{host}.1:40000"), 7)).collect();
    assert_eq!(punches(&say(&mut full, keys[0], told)), []);
}
