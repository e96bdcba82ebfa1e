//! uTP packets: what decodes says the same when it is written again.

use proto::utp::{HEADER_LEN, Packet, SelectiveAck, is_packet};

/// Reads one datagram.
pub fn run(data: &[u8]) {
    let Ok(packet) = Packet::decode(data) else { return };
    assert!(is_packet(data));
    assert!(packet.payload.len() + HEADER_LEN <= data.len());
    let mask = packet.sack.map_or(&[][..], SelectiveAck::mask);
    let mut encoded = Vec::new();
    packet.header.encode(mask, &mut encoded);
    encoded.extend_from_slice(packet.payload);
    assert_eq!(Packet::decode(&encoded).as_ref(), Ok(&packet), "unknown extensions say nothing");
    let received = packet.sack.map_or(0, |sack| sack.received().count());
    assert_eq!(received, mask.iter().map(|byte| byte.count_ones() as usize).sum::<usize>());
}
