//! The text protocol: datagrams and chunk lists are read alike however they come, and written anew they
//! mean the same.

use proto::tracker::text::{ChunkList, Item, ListWriter, Request, Scanner};

/// Reads the input as a datagram and as a chunk list.
pub fn run(data: &[u8]) {
    if let Ok(request) = Request::decode(data) {
        let mut encoded = Vec::new();
        request.encode(&mut encoded);
        assert_eq!(Request::decode(&encoded), Ok(request));
    }
    let whole = ChunkList::decode(data);
    let mut scanner = Scanner::default();
    let fed = data.chunks(3).try_for_each(|part| scanner.feed(part));
    let ended = fed.is_ok() && scanner.end().is_some();
    assert_eq!(whole.is_ok(), ended && std::str::from_utf8(data).is_ok());
    if let Ok(list) = whole {
        let (mut encoded, mut writer) = (Vec::new(), ListWriter::default());
        for item in list.items() {
            match item {
                Item::Text(text) => writer.text(&mut encoded, &text),
                Item::Integer(digits) => writer.integer(&mut encoded, digits),
            }
        }
        writer.finish(&mut encoded);
        // Escapes may make it longer than a list may be.
        if let Ok(again) = ChunkList::decode(&encoded) {
            assert!(again.items().eq(list.items()));
        }
    }
}
