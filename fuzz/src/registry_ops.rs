//! Operations on a shard: whatever comes in whatever order, its totals are the sums of its swarms, an
//! answer names nobody twice and never the asker, and in the end everything expires.

use std::collections::BTreeSet;
use std::net::{Ipv6Addr, SocketAddr};

use proto::tracker::{Announce, AnnounceEvent, Announced, ClaimedAddrs};
use proto::{InfoHash, PeerId};
use registry::{
    ClientClass, Families, HashKey, Intervals, Names, Presence, Role, Secs, Shard, Visit,
};

const SWARMS: u8 = 6;
/// Longer than any life.
const FOREVER_SECS: u32 = 4 * 3_600;

/// Reads the input as operations of four bytes each.
pub fn run(data: &[u8]) {
    let mut shard =
        Shard::new(HashKey::new([1; 16]), Intervals::default(), registry::Caps::default());
    let mut now = Secs(0);
    let mut feed = Vec::new();
    for &[kind, swarm, peer, detail] in data.as_chunks::<4>().0 {
        let hash = InfoHash([swarm % SWARMS; 20]);
        match kind % 16 {
            0..8 => announce(&mut shard, now, (hash, peer, detail)),
            8 => now = now.plus(u32::from(detail) * 4),
            9 => {
                shard.sweep(now, usize::from(detail));
            }
            10 => {
                // Two fixed hybrids: a hash has one place in one of them.
                let first = InfoHash([swarm % 2; 20]);
                let second = InfoHash([swarm % 2 + 2; 20]);
                let displaced = shard.redirect(second, first);
                shard.adopt(now, first, second, displaced);
            }
            11 => {
                let swarm = shard.route(&hash).swarm;
                shard.intake(now, swarm, &presence(peer, detail));
            }
            12 => {
                let swarm = shard.route(&hash).swarm;
                shard.intake_left(&swarm, addr(peer));
            }
            13 => shard.enable_feed(),
            14 => {
                feed.clear();
                shard.drain_feed(usize::from(detail), &mut feed);
                assert!(feed.iter().all(|swarm| !swarm.changes.is_empty()));
            }
            _ => {
                let swarm = shard.route(&hash).swarm;
                shard.pin(now, swarm);
            }
        }
        check_totals(&mut shard, now);
    }
    now = now.plus(FOREVER_SECS);
    // The first round may start in the middle.
    for _ in 0..2 {
        while !shard.sweep(now, 100) {}
    }
    assert_eq!((shard.totals().peers, shard.totals().swarms), (0, 0));
}

fn announce(shard: &mut Shard, now: Secs, (info_hash, peer, detail): (InfoHash, u8, u8)) {
    let event = match detail % 8 {
        0 => AnnounceEvent::Stopped,
        1 => AnnounceEvent::Completed,
        2 => AnnounceEvent::Started,
        _ => AnnounceEvent::None,
    };
    let announce = Announce {
        info_hash,
        peer_id: PeerId([peer; 20]),
        port: 1,
        uploaded: 0,
        downloaded: 0,
        left: u64::from(detail >> 4 & 1),
        event,
        num_want: (detail >> 5 != 0).then_some(u32::from(detail >> 5)),
        key: None,
        claimed: ClaimedAddrs::default(),
    };
    let visit = Visit {
        route: shard.route(&info_hash),
        peer: addr(peer),
        families: Families::Both,
        peers_max: 100,
        chance: u64::from(detail) << 8 | u64::from(peer),
    };
    let mut reply = Announced::default();
    shard.announce(now, &announce, &visit, &mut reply);
    let named: BTreeSet<_> = reply.peers.iter().map(|peer| peer.addr).collect();
    assert_eq!(named.len(), reply.peers.len(), "nobody twice");
    assert!(!named.contains(&visit.peer), "not the asker");
    assert!(reply.peers.len() <= (reply.seeders + reply.leechers) as usize);
    assert!(event != AnnounceEvent::Stopped || named.is_empty());
}

fn presence(peer: u8, detail: u8) -> Presence {
    Presence {
        peer: addr(peer),
        role: if detail & 1 == 0 { Role::Seeder } else { Role::Leecher },
        names: if detail & 2 == 0 { Names::FIRST } else { Names::BOTH },
        class: ClientClass::from_number(detail >> 2),
        life_secs: u32::from(detail) * 100,
    }
}

fn addr(peer: u8) -> SocketAddr {
    if peer < 64 {
        SocketAddr::from((Ipv6Addr::from_bits(u128::from(peer / 2)), 1 + u16::from(peer)))
    } else {
        SocketAddr::from(([10, 0, 0, peer / 2], 1 + u16::from(peer)))
    }
}

fn check_totals(shard: &mut Shard, now: Secs) {
    let (mut peers, mut swarms) = (0, 0);
    for number in 0..SWARMS {
        let hash = InfoHash([number; 20]);
        if shard.route(&hash).swarm != hash {
            assert_eq!(shard.scrape(now, &hash), None, "a second hash keeps no swarm");
            continue;
        }
        let Some(counts) = shard.scrape(now, &hash) else { continue };
        let all = (counts.seeders + counts.leechers) as usize;
        peers += all;
        swarms += usize::from(all > 0);
    }
    assert_eq!((shard.totals().peers, shard.totals().swarms), (peers, swarms));
}
