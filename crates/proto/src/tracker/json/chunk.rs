//! What clients ask of a peer: whole parts of a file, in the same JSON as they speak with the tracker.
//!
//! A peer's port also takes BitTorrent connections; the first bytes tell which one it is.

use serde::{Deserialize, Serialize};

use super::JsonError;
use super::request::{check_name, decode};

/// A request to a peer. Whatever else the object has (a peer's name, a token) does not matter here.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChunkRequest {
    /// Asks how many parts a file has.
    GetCount {
        /// The file.
        file_name: String,
    },
    /// Asks for a part of a file.
    Get {
        /// The file.
        file_name: String,
        /// The part, from 0.
        index: u32,
    },
    /// Asks how busy the peer is.
    State,
}

/// How busy a peer is, for who asks: the words of `docs/protocols/slots.md`, as this protocol has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum UploadState {
    /// It serves at once.
    Available,
    /// It serves who asks just now.
    Connected,
    /// It serves others; who asks for a part waits.
    Unavailable,
}

/// What the first bytes of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beginning {
    /// A request of this protocol.
    Json,
    /// Something else: BitTorrent, encrypted or not, or noise.
    Other,
    /// Too few to tell.
    Unclear,
}

impl ChunkRequest {
    /// Longest request in bytes: a name whose every character is escaped fits.
    pub const LEN_MAX: usize = 4 << 10;

    /// Reads one object, as [`super::Framer`] found it.
    pub fn decode(object: &[u8]) -> Result<Self, JsonError> {
        let request: Self = decode(object)?;
        match &request {
            Self::GetCount { file_name } | Self::Get { file_name, .. } => {
                check_name("file_name", file_name)?;
            }
            Self::State => {}
        }
        Ok(request)
    }
}

impl Beginning {
    /// Tells what begins with these bytes: `{`, white space and `"type"` are this protocol's. An
    /// encrypted handshake (MSE) begins with random bytes and looks like that once in 2^56 times.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let Some((first, rest)) = bytes.split_first() else { return Self::Unclear };
        let key = rest.trim_ascii_start();
        if *first != b'{' {
            Self::Other
        } else if key.starts_with(KEY) {
            Self::Json
        } else if KEY.starts_with(key) {
            Self::Unclear
        } else {
            Self::Other
        }
    }
}

const KEY: &[u8] = b"\"type\"";

#[cfg(test)]
mod tests {
    use super::super::Reply;
    use super::*;

    #[test]
    fn a_peer_understands_three_requests_and_nothing_else() {
        let decode = |text: &str| ChunkRequest::decode(text.as_bytes());
        let file_name = "a/b.bin".to_owned();
        assert_eq!(
            decode(r#"{"type":"GET","file_name":"a/b.bin","index":7}"#),
            Ok(ChunkRequest::Get { file_name: file_name.clone(), index: 7 })
        );
        assert_eq!(
            decode(r#"{"type":"GET_COUNT","peer_id":"p","token":"t","file_name":"a/b.bin"}"#),
            Ok(ChunkRequest::GetCount { file_name })
        );
        assert_eq!(decode(r#"{ "type" : "STATE", "peer_id": "p" }"#), Ok(ChunkRequest::State));
        let wrong = [
            (r#"{"type":"GET","file_name":"a"}"#, "index"),
            (r#"{"type":"GET","file_name":"a","index":-1}"#, "-1"),
            (r#"{"type":"GET","file_name":"a","index":4294967296}"#, "4294967296"),
            (r#"{"type":"GET","file_name":"a","index":1.5}"#, "1.5"),
            (r#"{"type":"GET","file_name":"","index":1}"#, "empty"),
            (r#"{"type":"REGISTER","file_name":"a"}"#, "REGISTER"),
            (r#"{"type":"GET","file_name":["a"],"index":1}"#, "string"),
        ];
        for (text, named) in wrong {
            let error = decode(text).expect_err(text);
            assert!(error.to_string().contains(named), "{text}: {error}");
        }
    }

    #[test]
    fn the_first_bytes_tell_which_protocol_it_is() {
        let check =
            |bytes: &[u8], expected| assert_eq!(Beginning::of(bytes), expected, "{bytes:?}");
        check(b"", Beginning::Unclear);
        check(b"{", Beginning::Unclear);
        check(b"{ \r\n\t", Beginning::Unclear);
        check(b"{\"typ", Beginning::Unclear);
        check(b"{\"type\"", Beginning::Json);
        check(b"{\n    \"type\": \"GET\"", Beginning::Json);
        check(b"{\"name\"", Beginning::Other);
        check(b"\x13BitTorrent protocol", Beginning::Other);
        check(b" {\"type\"", Beginning::Other);
        check(b"{}", Beginning::Other);
    }

    #[test]
    fn replies_are_one_line() {
        let line = |reply: Reply| {
            let mut out = Vec::new();
            reply.encode(&mut out);
            String::from_utf8(out).unwrap()
        };
        let data = "{\"type\":\"CHUNK_DATA\",\"index\":3,\"length\":524288}\n";
        assert_eq!(line(Reply::chunk_data(3, 524_288)), data);
        let state = "{\"type\":\"STATE\",\"state\":\"UNAVAILABLE\",\"queue\":2}\n";
        assert_eq!(line(Reply::state(UploadState::Unavailable, 2)), state);
        assert!(line(Reply::state(UploadState::Available, 0)).contains("\"AVAILABLE\""));
        assert!(line(Reply::state(UploadState::Connected, 0)).contains("\"CONNECTED\""));
    }
}
