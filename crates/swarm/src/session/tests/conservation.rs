//! Two sessions, random commands, random portions: every request ends once, and it does not matter
//! how the bytes are read.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proto::peer::RUN_LEN_MAX;

use super::*;
use crate::test_now;

#[derive(Debug, Clone)]
enum Op {
    Request(Vec<u32>),
    Cancel(u32),
    Choke(bool),
    /// The leecher has a new piece, so that its requests are mixed with other messages.
    Have(u32),
    /// The seeder tells of something between its blocks.
    Interest(bool),
    /// The seeder reads from its disk.
    Serve(u32),
    FailRead,
    /// Bytes move: up to so many to the seeder, to the leecher.
    Move(usize, usize),
}

fn op() -> impl Strategy<Value = Op> {
    let number = 0..PIECES * 4;
    prop_oneof![
        3 => (number.clone(), 1..12_u32)
            .prop_map(|(first, count)| Op::Request((first..(first + count).min(32)).collect())),
        1 => number.prop_map(Op::Cancel),
        1 => any::<bool>().prop_map(Op::Choke),
        1 => (0..PIECES).prop_map(Op::Have),
        1 => any::<bool>().prop_map(Op::Interest),
        3 => (1..300_000_u32).prop_map(Op::Serve),
        1 => Just(Op::FailRead),
        5 => (1..2000_usize, 1..200_000_usize).prop_map(|(up, down)| Op::Move(up, down)),
    ]
}

struct Pair {
    now: Instant,
    seeder: Session,
    leecher: Session,
    to_seeder: Vec<u8>,
    to_leecher: Vec<u8>,
    scatter: bool,
    /// How many requests of each block were made, and how many ended.
    asked: BTreeMap<u32, usize>,
    ended: BTreeMap<u32, usize>,
    log: Vec<String>,
}

impl Pair {
    fn new((kind, runs): (Kind, bool), scatter: bool) -> Self {
        let now = test_now();
        let mut seeder = Session::new(now, config(kind));
        seeder.handle_command(now, torrent(Bitfield::full(PIECES)));
        seeder.handle_command(now, PeerCommand::Choke(false));
        let mut leecher = Session::new(now, config(kind));
        leecher.handle_command(now, torrent(Bitfield::empty(PIECES)));
        let (to_seeder, to_leecher) = (Vec::new(), Vec::new());
        let (asked, ended, log) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        let mut pair =
            Self { now, seeder, leecher, to_seeder, to_leecher, scatter, asked, ended, log };
        pair.apply(&Op::Move(10_000, 10_000));
        if !runs {
            pair.leecher.remote.run_len = BLOCK_LEN;
        }
        pair
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Request(numbers) => {
                numbers.iter().for_each(|number| *self.asked.entry(*number).or_default() += 1);
                let blocks = numbers.iter().map(|number| block(*number)).collect();
                self.leecher.handle_command(self.now, PeerCommand::Request(blocks));
            }
            Op::Cancel(number) => {
                self.leecher.handle_command(self.now, PeerCommand::Cancel(block(*number)));
            }
            Op::Choke(flag) => self.seeder.handle_command(self.now, PeerCommand::Choke(*flag)),
            Op::Have(piece) => {
                let have = PeerCommand::Have(PieceIndex(*piece));
                self.leecher.handle_command(self.now, have);
            }
            Op::Interest(flag) => {
                self.seeder.handle_command(self.now, PeerCommand::Interest(*flag));
            }
            Op::Serve(len_max) => _ = serve(&mut self.seeder, *len_max),
            Op::FailRead => {
                if let Some(run) = self.seeder.poll_upload(u32::MAX) {
                    self.seeder.upload_failed(run);
                }
            }
            Op::Move(up, down) => self.move_bytes(*up, *down),
        }
        self.note_events();
    }

    fn move_bytes(&mut self, up: usize, down: usize) {
        self.to_seeder.extend(written(self.now, &mut self.leecher));
        self.to_leecher.extend(written(self.now, &mut self.seeder));
        let up: Vec<_> = self.to_seeder.drain(..up.min(self.to_seeder.len())).collect();
        self.seeder.handle_bytes(self.now, &up).unwrap();
        let down: Vec<_> = self.to_leecher.drain(..down.min(self.to_leecher.len())).collect();
        if !self.scatter {
            self.leecher.handle_bytes(self.now, &down).unwrap();
            return;
        }
        let mut rest = &down[..];
        while !rest.is_empty() {
            rest = &rest[land(self.now, &mut self.leecher, rest).unwrap()..];
        }
    }

    fn note_events(&mut self) {
        events(&mut self.seeder);
        let mut events = Vec::new();
        self.leecher.poll_events(&mut events);
        for event in events {
            if let PeerEvent::Block(block, _)
            | PeerEvent::Rejected(block)
            | PeerEvent::Dropped(block) = &event
            {
                *self.ended.entry(name(*block)).or_default() += 1;
            }
            self.log.push(describe(&event));
        }
    }

    /// Lets everything under way come to its end. Without the fast extension only a choke ends
    /// requests that the seeder could not read.
    fn settle(&mut self) {
        for _ in 0..20 {
            self.apply(&Op::Move(100_000, 500_000));
        }
        self.apply(&Op::Choke(true));
        for _ in 0..20 {
            self.apply(&Op::Move(100_000, 500_000));
        }
        self.apply(&Op::Choke(false));
        for _ in 0..100 {
            self.apply(&Op::Serve(u32::MAX));
            self.apply(&Op::Move(100_000, 500_000));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_request_ends_once_however_bytes_are_read(
        ops in prop::collection::vec(op(), 1..60),
        kind in prop_oneof![Just(Kind::Plain), Just(Kind::Fast)],
        runs: bool,
    ) {
        let [plain, scatter] = [false, true].map(|scatter| {
            let mut pair = Pair::new((kind, runs), scatter);
            ops.iter().for_each(|op| pair.apply(op));
            pair.settle();
            pair
        });
        prop_assert_eq!(plain.leecher.outstanding(), 0);
        prop_assert_eq!(scatter.leecher.outstanding(), 0);
        prop_assert_eq!(&plain.asked, &plain.ended);
        prop_assert_eq!(plain.log, scatter.log);
    }

    #[test]
    fn any_bytes_are_read_alike_or_refused_alike(
        messages in prop::collection::vec((0..28_u8, 0..40_u32), 1..40),
        noise in prop::collection::vec(any::<u8>(), 0..40),
        cuts in prop::collection::vec(1..40_000_usize, 1..20),
        kind in prop_oneof![Just(Kind::Plain), Just(Kind::Fast), Just(Kind::FastV2)],
        runs: bool,
    ) {
        let now = test_now();
        let mut stream = Vec::new();
        Message::Unchoke.encode(&mut stream);
        for (id, number) in messages {
            encode_some(id, number, &mut stream);
        }
        stream.extend(noise);
        let [whole, scattered] = [false, true].map(|scatter| {
            let mut session = opened(now, kind, Bitfield::full(PIECES));
            session.remote.choking = false;
            session.remote.run_len = if runs { RUN_LEN_MAX } else { BLOCK_LEN };
            session.handle_command(now, PeerCommand::Request((0..32).map(block).collect()));
            let mut rest = &stream[..];
            let mut cuts = cuts.iter().cycle();
            let mut result = Ok(());
            while result.is_ok() && !rest.is_empty() {
                let (part, more) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = more;
                result = if scatter {
                    let mut part = part;
                    loop {
                        match land(now, &mut session, part) {
                            Ok(taken) => part = &part[taken..],
                            Err(fault) => break Err(fault),
                        }
                        if part.is_empty() {
                            break Ok(());
                        }
                    }
                } else {
                    session.handle_bytes(now, part)
                };
            }
            // Which limit a broken length breaks first depends on the cut.
            (result.map_err(|fault| std::mem::discriminant(&fault)), events(&mut session))
        });
        prop_assert_eq!(whole, scattered);
    }
}

/// A message that makes sense now and then.
fn encode_some(id: u8, number: u32, out: &mut Vec<u8>) {
    let (block, piece) = (block(number), PieceIndex(number % 9));
    let run = Block { len: BLOCK_LEN * (4 - number % 4).min(1 + number % 3), ..block };
    let block = if id < 20 { block } else { run };
    let data = content(block);
    let message = match id {
        0 => Message::Choke,
        1 => Message::Unchoke,
        2 => Message::Interested,
        3 => Message::Have(piece),
        4 => Message::Request(block),
        5 => Message::Cancel(block),
        6 => Message::Reject(block),
        7 => Message::KeepAlive,
        8 => Message::AllowedFast(piece),
        9 => Message::Extended(0, b"d1:md11:ut_metadatai1eee"),
        10 => Message::HashRequest(rules::range()),
        11 => Message::Bitfield(&[0x0f]),
        _ => Message::Block(block, &data),
    };
    message.encode(out);
}
