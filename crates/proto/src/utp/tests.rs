use proptest::prelude::*;

use super::*;

const HEADER: Header = Header {
    kind: Kind::State,
    connection_id: 0x1234,
    sent_micros: 0xdead_beef,
    delay_micros: 7,
    window: 1_048_576,
    seq: Seq(65_535),
    ack: Seq(2),
};

fn encoded(sack: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    HEADER.encode(sack, &mut bytes);
    bytes
}

#[test]
fn header_has_the_layout_of_bep_29() {
    let expected =
        [0x21, 0, 0x12, 0x34, 0xde, 0xad, 0xbe, 0xef, 0, 0, 0, 7, 0, 0x10, 0, 0, 0xff, 0xff, 0, 2];
    assert_eq!(encoded(&[]), expected);
    assert_eq!(Packet::decode(&expected).unwrap().header, HEADER);
}

#[test]
fn selective_ack_starts_two_after_the_acknowledged_packet() {
    let bytes = encoded(&[0b1000_0001, 0, 0, 0b10]);
    let packet = Packet::decode(&bytes).unwrap();
    let received: Vec<u16> = packet.sack.unwrap().received().map(|seq| seq.0).collect();
    assert_eq!(received, [4, 11, 4 + 25]);
}

#[test]
fn mask_may_have_any_length() {
    for len in [0, 1, 6, 11, SACK_LEN_MAX] {
        let mut bytes = encoded(&[]);
        bytes[1] = SACK;
        bytes.extend_from_slice(&[0, len as u8]);
        bytes.resize(bytes.len() + len, 0xff);
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!(packet.sack.unwrap().received().count(), len * 8);
    }
}

#[test]
fn unknown_extensions_are_skipped() {
    let mut bytes = encoded(&[]);
    bytes[1] = 2;
    bytes.extend_from_slice(&[1, 3, 9, 9, 9]);
    bytes.extend_from_slice(&[99, 4, 1, 0, 0, 0]);
    bytes.extend_from_slice(&[0, 0]);
    bytes.extend_from_slice(b"payload");
    let packet = Packet::decode(&bytes).unwrap();
    assert_eq!(packet.payload, b"payload");
    assert_eq!(packet.sack.unwrap().received().count(), 1);
}

#[track_caller]
fn check_refused(bytes: &[u8], error: &DecodeError) {
    assert_eq!(Packet::decode(bytes).as_ref(), Err(error));
}

#[test]
fn malformed_packets_are_refused() {
    let good = encoded(&[]);
    for len in 0..HEADER_LEN {
        check_refused(&good[..len], &DecodeError::Truncated { what: WHAT });
    }
    let with = |at: usize, value: u8, tail: &[u8]| {
        let mut bytes = good.clone();
        bytes[at] = value;
        bytes.extend_from_slice(tail);
        bytes
    };
    check_refused(&with(0, 0x22, &[]), &DecodeError::invalid(WHAT, "not version 1"));
    check_refused(&with(0, 0x51, &[]), &DecodeError::invalid(WHAT, "unknown type"));
    check_refused(&with(1, 1, &[0]), &DecodeError::Truncated { what: WHAT });
    check_refused(&with(1, 1, &[0, 4, 1, 2, 3]), &DecodeError::Truncated { what: WHAT });
    let endless = [7, 0].repeat(100);
    check_refused(
        &with(1, 7, &endless),
        &DecodeError::TooLong { what: "uTP extensions", limit: EXTENSIONS_MAX as u64 },
    );
}

#[test]
fn other_protocols_of_the_port_are_told_apart() {
    assert!(is_packet(&[0x01]) && is_packet(&[0x41]));
    for first in [b'd', 0x51, 0x02, 0x00, 0xff] {
        assert!(!is_packet(&[first]), "{first:#x}");
    }
    assert!(!is_packet(&[]));
}

#[test]
fn sequence_numbers_wrap() {
    assert_eq!(Seq(1).since(Seq(65_535)), 2);
    assert_eq!(Seq(65_535).since(Seq(1)), -2);
    assert_eq!(Seq(65_535).plus(2), Seq(1));
    assert_eq!(Seq(1).minus(2), Seq(65_535));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        Just(Kind::Data),
        Just(Kind::Fin),
        Just(Kind::State),
        Just(Kind::Reset),
        Just(Kind::Syn)
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes(
        kind in kinds(),
        ids in any::<(u16, u16, u16)>(),
        words in any::<(u32, u32, u32)>(),
        sack in prop::collection::vec(any::<u8>(), 0..=SACK_LEN_MAX),
        payload in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let header = Header {
            kind,
            connection_id: ids.0,
            sent_micros: words.0,
            delay_micros: words.1,
            window: words.2,
            seq: Seq(ids.1),
            ack: Seq(ids.2),
        };
        let mut bytes = Vec::new();
        header.encode(&sack, &mut bytes);
        bytes.extend_from_slice(&payload);
        prop_assert!(is_packet(&bytes));
        let packet = Packet::decode(&bytes).unwrap();
        prop_assert_eq!(packet.header, header);
        prop_assert_eq!(packet.sack.map_or(&[][..], SelectiveAck::mask), &sack[..]);
        prop_assert_eq!(packet.payload, &payload[..]);
    }

    #[test]
    fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(packet) = Packet::decode(&bytes) {
            prop_assert!(is_packet(&bytes));
            prop_assert!(packet.payload.len() + HEADER_LEN <= bytes.len());
        }
    }
}
