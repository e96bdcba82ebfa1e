//! The stream between peers: what decodes is written again as it came, and headers are read alike.

use proto::peer::{BLOCK_HEADER_LEN, Handshake, Head, Id, Message, decode_block_header};

/// The longest bitfield that the stream may hold.
const BITFIELD_LEN_MAX: u32 = 64;

/// Reads a handshake, if there are enough bytes, then messages to the end.
pub fn run(data: &[u8]) {
    if let Some(bytes) = data.first_chunk::<{ Handshake::LEN }>()
        && let Ok(handshake) = Handshake::decode(bytes)
    {
        assert_eq!(Handshake::decode(&handshake.encode()), Ok(handshake));
        return messages(&data[Handshake::LEN..]);
    }
    messages(data);
}

fn messages(mut rest: &[u8]) {
    loop {
        if let Some(header) = rest.first_chunk::<BLOCK_HEADER_LEN>() {
            let head = Head::decode(header, BITFIELD_LEN_MAX);
            let is_block = matches!(head, Ok(Some(Head::Message(Id::Block, _))));
            assert_eq!(decode_block_header(header).is_some(), is_block);
        }
        let Ok(Some((message, len))) = Message::decode_prefix(rest, BITFIELD_LEN_MAX) else {
            return;
        };
        if !matches!(message, Message::Unknown(_)) {
            let mut encoded = Vec::new();
            message.encode(&mut encoded);
            assert_eq!(encoded, rest[..len], "a message has one spelling");
        }
        if let Message::HashRequest(range) = message
            && range.is_valid()
        {
            assert!(range.index % range.length == 0 && range.length >= 2);
        }
        rest = &rest[len..];
    }
}
