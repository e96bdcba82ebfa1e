use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::{sha1, sha256};

/// A message as a list of stretches; a stretch of zeros has no bytes of its own.
#[derive(Debug, Clone)]
enum Stretch {
    Bytes(Vec<u8>),
    Zeros(u64),
}

fn stretch() -> impl Strategy<Value = Stretch> {
    prop_oneof![
        4 => vec(any::<u8>(), 0..300).prop_map(Stretch::Bytes),
        1 => (any::<u8>(), 16_000..40_000_usize).prop_map(|(byte, len)| {
            Stretch::Bytes((0..len).map(|i| byte ^ (i % 253) as u8).collect())
        }),
        1 => (0..40_000_u64).prop_map(Stretch::Zeros),
    ]
}

fn part(stretch: &Stretch) -> Part<'_> {
    match stretch {
        Stretch::Bytes(bytes) => Part::Bytes(bytes),
        Stretch::Zeros(len) => Part::Zeros(*len),
    }
}

fn flat(parts: &[Part<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        match part {
            Part::Bytes(more) => bytes.extend_from_slice(more),
            Part::Zeros(len) => bytes.resize(bytes.len() + *len as usize, 0),
        }
    }
    bytes
}

/// Every back end must agree with one message at a time.
fn check(messages: &[&[Part<'_>]]) {
    let whole: Vec<Vec<u8>> = messages.iter().map(|parts| flat(parts)).collect();
    let slices: Vec<&[u8]> = whole.iter().map(Vec::as_slice).collect();
    let expected1: Vec<_> = slices.iter().map(|bytes| sha1(bytes)).collect();
    let expected256: Vec<_> = slices.iter().map(|bytes| sha256(bytes)).collect();
    for backend in Backend::available() {
        let (mut out1, mut out256) = (vec![[0; 20]; whole.len()], vec![[0; 32]; whole.len()]);
        backend.sha1_many(messages, &mut out1);
        assert_eq!(out1, expected1, "{}", backend.name());
        backend.sha256_many(&slices, &mut out256);
        assert_eq!(out256, expected256, "{}", backend.name());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn lanes_agree_with_one_stream(messages in vec(vec(stretch(), 0..6), 0..40)) {
        let parts: Vec<Vec<Part<'_>>> =
            messages.iter().map(|message| message.iter().map(part).collect()).collect();
        check(&parts.iter().map(Vec::as_slice).collect::<Vec<_>>());
    }

    #[test]
    fn pairs_agree_with_one_stream(nodes in vec(any::<[[u8; 32]; 2]>(), 0..70)) {
        let expected: Vec<_> = nodes.iter().map(|pair| sha256(pair.as_flattened())).collect();
        for backend in Backend::available() {
            let mut out = vec![[0; 32]; nodes.len()];
            backend.sha256_pairs(nodes.as_flattened(), &mut out);
            prop_assert_eq!(&out, &expected, "{}", backend.name());
        }
    }
}

#[test]
fn every_length_around_a_block_agrees() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300).collect();
    let parts: Vec<[Part<'_>; 1]> = (0..300).map(|len| [Part::Bytes(&bytes[..len])]).collect();
    check(&parts.iter().map(<[_; 1]>::as_slice).collect::<Vec<_>>());
}

#[test]
fn equal_messages_fill_all_lanes() {
    let bytes: Vec<u8> = (0..16_384_u32).map(|i| ((i * 31) >> 3) as u8).collect();
    for count in 0..35 {
        let parts = [Part::Bytes(&bytes[count..])];
        check(&vec![parts.as_slice(); count]);
    }
}

#[test]
fn fips_180_examples_in_every_lane() {
    let million = vec![b'a'; 1_000_000];
    let parts = [Part::Bytes(&million)];
    let messages = [parts.as_slice(); 17];
    let expected = [
        0x34, 0xaa, 0x97, 0x3c, 0xd4, 0xc4, 0xda, 0xa4, 0xf6, 0x1e, 0xeb, 0x2b, 0xdb, 0xad, 0x27,
        0x31, 0x65, 0x34, 0x01, 0x6f,
    ];
    for backend in Backend::available() {
        let mut out = [[0; 20]; 17];
        backend.sha1_many(&messages, &mut out);
        assert_eq!(out, [expected; 17], "{}", backend.name());
    }
    check(&messages);
}
