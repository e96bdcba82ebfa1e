//! Messages of the extension protocol: what was understood once is understood alike when written anew.

use proto::peer::extension::{decode_dont_have, decode_upload_only};
use proto::peer::{ExtensionHandshake, HolePunch, MetadataMessage};

/// Reads the input as each kind of message.
pub fn run(data: &[u8]) {
    if let Ok(handshake) = ExtensionHandshake::decode(data) {
        let client = handshake.client.as_deref().unwrap_or("x");
        assert!((1..=64).contains(&client.chars().count()));
        assert!(!client.chars().any(char::is_control));
        let mut encoded = Vec::new();
        handshake.encode(&mut encoded);
        assert_eq!(ExtensionHandshake::decode(&encoded), Ok(handshake));
    }
    if let Ok(message) = MetadataMessage::decode(data) {
        if let MetadataMessage::Data { data: part, .. } = message {
            assert!(data.ends_with(part) && part.len() < data.len());
        }
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        if message != MetadataMessage::Unknown {
            assert_eq!(MetadataMessage::decode(&encoded), Ok(message));
        }
    }
    if let Ok(message) = HolePunch::decode(data) {
        let mut encoded = Vec::new();
        message.encode(&mut encoded);
        if message != HolePunch::Unknown {
            assert_eq!(HolePunch::decode(&encoded), Ok(message));
        }
    }
    let _ = decode_dont_have(data);
    let _ = decode_upload_only(data);
}
