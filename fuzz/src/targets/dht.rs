//! Datagrams of the DHT: what was understood once is understood alike when written anew.

use proto::dht::{Body, Message};

/// Reads the input as a datagram.
pub fn run(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    let bytes = message.encode();
    if matches!(message.body, Body::Malformed(_)) {
        return;
    }
    assert_eq!(Message::decode(&bytes), Ok(message), "it fits, since it came in no fewer bytes");
}
