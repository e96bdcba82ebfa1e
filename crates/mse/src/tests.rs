//! Callers and answerers against each other, and against what is not one of them.

use proptest::prelude::*;
use proto::InfoHash;

use super::*;
use crate::keys::Secret;

const TORRENT: InfoHash = InfoHash([7; 20]);
const HELLO: &[u8] = b"the handshake of BitTorrent";

fn chance(number: u8, pad_len: usize) -> Chance {
    Chance { secret: [number; 20], pad: vec![number; pad_len] }
}

fn caller(methods: Methods, pad_len: usize) -> Caller {
    Caller::new(TORRENT, methods, HELLO.to_vec(), chance(1, pad_len))
}

fn answerer(methods: Methods, pad_len: usize) -> Answerer {
    Answerer::new(methods, chance(2, pad_len))
}

fn find(key: [u8; 20]) -> Option<InfoHash> {
    (key == torrent_key(TORRENT)).then_some(TORRENT)
}

/// Both sides' ends, when the bytes of each direction come in parts of so many; `after` is what each side
/// sends as soon as it may.
fn meet(
    mut caller: Caller,
    mut answerer: Answerer,
    part_len: usize,
    after: &[u8],
) -> Result<(Settled, Settled), MseError> {
    let (mut to_answerer, mut to_caller) = (caller.take_output(), Vec::new());
    let (mut called, mut answered): (Option<Settled>, Option<Settled>) = (None, None);
    while called.is_none() || answered.is_none() {
        assert!(!to_answerer.is_empty() || !to_caller.is_empty(), "both wait");
        let part: Vec<u8> = to_answerer.drain(..part_len.min(to_answerer.len())).collect();
        if let Some((torrent, mut settled)) = answerer.receive(&part, find)? {
            assert_eq!(torrent, TORRENT);
            to_caller.append(&mut answerer.take_output());
            let mut stream = after.to_vec();
            if let Some(ciphers) = &mut settled.ciphers {
                ciphers.ours.apply(&mut stream);
            }
            to_caller.append(&mut stream);
            answered = Some(settled);
        }
        to_caller.append(&mut answerer.take_output());
        if called.is_none() {
            let part: Vec<u8> = to_caller.drain(..part_len.min(to_caller.len())).collect();
            called = caller.receive(&part)?;
        }
        to_answerer.append(&mut caller.take_output());
    }
    let (mut called, answered) = (called.expect("it ended"), answered.expect("it ended"));
    // What was still under way.
    if let Some(ciphers) = &mut called.ciphers {
        ciphers.theirs.apply(&mut to_caller);
    }
    called.received.append(&mut to_caller);
    Ok((called, answered))
}

/// Made with another program, of nothing but big integers, SHA-1 and RC4.
#[test]
fn the_bytes_are_those_that_others_send() {
    let sha1 = |bytes: &[u8]| InfoHash(digest::sha1(bytes)).to_string();
    let (mut caller, mut answerer) = (caller(Methods::Any, 0), answerer(Methods::Any, 0));
    let first = caller.take_output();
    assert_eq!(sha1(&first), "5bd409f611a4d480d9633c484980636997739ddf");
    answerer.receive(&first, find).unwrap();
    let second = answerer.take_output();
    caller.receive(&second).unwrap();
    let third = caller.take_output();
    assert_eq!(sha1(&third), "34f418221bcb1025832a75a5d7638d010a18451f");
    answerer.receive(&third, find).unwrap();
    let fourth = [second, answerer.take_output()].concat();
    assert_eq!(sha1(&fourth), "66ffa5b3bda5c76754da9110d2330b095d7fa8b2");
}

#[test]
fn plain_bytes_are_preferred_and_rc4_is_used_when_one_side_insists() {
    for (ours, theirs, noise) in [
        (Methods::Any, Methods::Any, false),
        (Methods::Any, Methods::Rc4, true),
        (Methods::Rc4, Methods::Any, true),
        (Methods::Rc4, Methods::Rc4, true),
    ] {
        let ends = meet(caller(ours, 0), answerer(theirs, 0), usize::MAX, b"welcome").unwrap();
        let (called, answered) = ends;
        assert_eq!((called.ciphers.is_some(), answered.ciphers.is_some()), (noise, noise));
        assert_eq!(answered.received, HELLO);
        assert_eq!(called.received, b"welcome");
    }
}

#[test]
fn the_stream_goes_on_where_the_handshake_ended() {
    let ends = meet(caller(Methods::Rc4, 0), answerer(Methods::Rc4, 0), usize::MAX, b"");
    let (called, answered) = ends.unwrap();
    let (mut called, mut answered) = (called.ciphers.unwrap(), answered.ciphers.unwrap());
    for text in [&b"one"[..], b"and another"] {
        let mut bytes = text.to_vec();
        called.ours.apply(&mut bytes);
        assert_ne!(bytes, text);
        answered.theirs.apply(&mut bytes);
        assert_eq!(bytes, text);
        answered.ours.apply(&mut bytes);
        called.theirs.apply(&mut bytes);
        assert_eq!(bytes, text);
    }
}

#[test]
fn a_stranger_learns_nothing_but_the_key() {
    let mut answerer = answerer(Methods::Any, 3);
    let mut stranger = Caller::new(InfoHash([8; 20]), Methods::Any, HELLO.to_vec(), chance(1, 0));
    assert!(answerer.receive(&stranger.take_output(), find).unwrap().is_none());
    let answer = answerer.take_output();
    assert_eq!(answer.len(), 96 + 3);
    stranger.receive(&answer).unwrap();
    let refused = answerer.receive(&stranger.take_output(), find).unwrap_err();
    assert_eq!(refused, MseError::OtherTorrent);
    assert!(answerer.take_output().is_empty());
}

#[test]
fn keys_that_give_no_secret_are_refused() {
    for start in [&[0_u8; 96][..], &[0xff; 96]] {
        let mut key = start.to_vec();
        assert_eq!(answerer(Methods::Any, 0).receive(&key, find).unwrap_err(), MseError::BadKey);
        assert_eq!(caller(Methods::Any, 0).receive(&key).unwrap_err(), MseError::BadKey);
        key.pop();
        assert!(caller(Methods::Any, 0).receive(&key).unwrap().is_none());
    }
}

#[test]
fn noise_without_a_mark_ends_when_it_is_too_long() {
    let mut answerer = answerer(Methods::Any, 0);
    assert!(answerer.receive(&[0x55; 96 + PAD_LEN_MAX + 19], find).unwrap().is_none());
    assert_eq!(answerer.receive(&[0x55], find).unwrap_err(), MseError::NoSync);
    let mut caller = caller(Methods::Any, 0);
    assert!(caller.receive(&[0x55; 96 + PAD_LEN_MAX + 7]).unwrap().is_none());
    assert_eq!(caller.receive(&[0x55]).unwrap_err(), MseError::NoSync);
}

#[test]
fn a_first_payload_too_long_is_refused() {
    let long = vec![0; 4_097];
    let caller = Caller::new(TORRENT, Methods::Any, long, chance(1, 0));
    let refused = meet(caller, answerer(Methods::Any, 0), usize::MAX, b"").unwrap_err();
    assert_eq!(refused.to_string(), "first payload of 4097 bytes; at most 4096 are allowed");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sides_meet_however_the_bytes_come(
        part_len in 1_usize..700,
        pads in (0..=PAD_LEN_MAX, 0..=PAD_LEN_MAX),
        insists: (bool, bool),
        after in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let methods = |insists| if insists { Methods::Rc4 } else { Methods::Any };
        let caller = caller(methods(insists.0), pads.0);
        let answerer = answerer(methods(insists.1), pads.1);
        let (called, answered) = meet(caller, answerer, part_len, &after).unwrap();
        prop_assert_eq!(answered.received, HELLO);
        prop_assert_eq!(called.received, after);
    }

    /// Behind the keys, where noise from a stranger never comes.
    #[test]
    fn who_knows_the_torrent_may_say_anything(
        constant_is_right: bool,
        bytes in prop::collection::vec(prop_oneof![Just(0), Just(1), Just(2), any::<u8>()], 0..700),
    ) {
        let mut answerer = answerer(Methods::Any, 0);
        let secret = Secret::new(&[1; 20]);
        answerer.receive(&secret.public(), find).unwrap();
        let shared = secret.shared(answerer.take_output().first_chunk().unwrap()).unwrap();
        let mut message = shared.mark().to_vec();
        message.extend_from_slice(&shared.cover(torrent_key(TORRENT)));
        let said = if constant_is_right { [&CONSTANT[..], &bytes].concat() } else { bytes };
        shared.ciphers(TORRENT).0.append(&mut message, &said);
        if let Ok(Some((_, settled))) = answerer.receive(&message, find) {
            prop_assert!(settled.received.len() <= said.len());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 1..6),
    ) {
        let (mut caller, mut answerer) = (caller(Methods::Any, 0), answerer(Methods::Any, 0));
        for part in &parts {
            if caller.receive(part).is_err() {
                break;
            }
        }
        for part in &parts {
            if answerer.receive(part, find).is_err() {
                break;
            }
        }
    }
}
