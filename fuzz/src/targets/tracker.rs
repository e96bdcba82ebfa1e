//! Tracker packets, queries and bodies: what was understood once is understood alike when written
//! anew.

use proto::InfoHash;
use proto::tracker::http::{
    Read, announce_query, decode_announce, decode_announced, decode_scrape, decode_scraped,
    encode_announced, encode_refused, scrape_query, scrape_url,
};
use proto::tracker::json::{self, Framer, JsonError};
use proto::tracker::udp::{self, Family, Request, Response};

/// Reads the input as everything that a tracker or its client reads.
pub fn run(data: &[u8]) {
    udp_request(data);
    for family in [Family::V4, Family::V6] {
        udp_response(data, family);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        http_request(text);
    }
    http_reply(data);
    http_heads(data);
    json_requests(data);
}

/// The same objects are found however the bytes come.
fn json_requests(data: &[u8]) {
    let whole = json_objects(data, data.len().max(1));
    assert_eq!(whole, json_objects(data, 7));
    for object in whole.into_iter().flatten() {
        let _ = json::Request::decode(&object);
        let _ = json::ChunkRequest::decode(&object);
    }
    first_bytes(data);
}

/// What was told apart once stays told apart, whatever follows.
fn first_bytes(data: &[u8]) {
    let mut told = json::Beginning::Unclear;
    for len in 0..=data.len().min(80) {
        let now = json::Beginning::of(&data[..len]);
        assert!(told == json::Beginning::Unclear || told == now);
        told = now;
    }
}

/// The objects up to the first fault, if there is one.
fn json_objects(data: &[u8], step: usize) -> Vec<Result<Vec<u8>, JsonError>> {
    let (mut framer, mut buffer, mut found) = (Framer::default(), Vec::new(), Vec::new());
    for part in data.chunks(step) {
        buffer.extend_from_slice(part);
        loop {
            match framer.scan(&buffer) {
                Ok(Some(framed)) => {
                    found.push(Ok(buffer[framed.range.clone()].to_vec()));
                    buffer.drain(..framed.range.end);
                }
                Ok(None) => break,
                Err(error) => {
                    found.push(Err(error));
                    return found;
                }
            }
        }
    }
    found
}

fn udp_request(data: &[u8]) {
    let Ok(request) = Request::decode(data) else { return };
    let mut once = Vec::new();
    request.encode(&mut once);
    // Numbers above what trackers read are cut when written, so compare what is written.
    let mut twice = Vec::new();
    Request::decode(&once).expect("what we write is read").encode(&mut twice);
    assert_eq!(once, twice);
}

fn udp_response(data: &[u8], family: Family) {
    let Ok(response) = Response::decode(data, family) else { return };
    let mut encoded = Vec::new();
    match &response {
        Response::Connected { transaction, connection } => {
            udp::encode_connected(&mut encoded, *transaction, *connection);
        }
        Response::Announced { transaction, announced } => {
            udp::encode_announced(&mut encoded, *transaction, announced, family);
        }
        Response::Scraped { transaction, scraped } => {
            udp::encode_scraped(&mut encoded, *transaction, &scraped.swarms);
        }
        Response::Refused { transaction, refusal } => {
            udp::encode_refused(&mut encoded, *transaction, &refusal.reason);
        }
    }
    assert_eq!(Response::decode(&encoded, family), Ok(response));
}

fn http_request(text: &str) {
    if let Ok(query) = decode_announce(text) {
        let once = announce_query(&query.announce);
        let again = decode_announce(&once).expect("what we write is read");
        assert_eq!(announce_query(&again.announce), once);
    }
    if let Ok(info_hashes) = decode_scrape(text) {
        assert_eq!(decode_scrape(&scrape_query(&info_hashes)), Ok(info_hashes));
    }
    if let Some(url) = scrape_url(text) {
        assert_eq!(url.len() + 2, text.len(), "announce became scrape");
    }
}

/// More bytes never change what was read, and a whole head ends where it says.
fn http_heads(data: &[u8]) {
    let mut known = Read::Part;
    for len in 0..=data.len().min(500) {
        let now = Read::of(&data[..len]);
        assert!(known == Read::Part || known == now);
        known = now;
    }
    if let Read::Whole(head) = Read::of(data) {
        let bytes = &data[..head.len];
        assert!(bytes.starts_with(b"GET /") && bytes.ends_with(b"\r\n\r\n"));
        assert!(bytes.is_ascii() && !bytes.contains(&0), "nothing that others read in other ways");
        assert_eq!(bytes.windows(4).position(|end| end == b"\r\n\r\n"), Some(head.len - 4));
    }
}

fn http_reply(data: &[u8]) {
    match decode_announced(data) {
        Ok(Ok(announced)) => {
            let mut encoded = Vec::new();
            encode_announced(&mut encoded, &announced, false, false);
            assert_eq!(decode_announced(&encoded), Ok(Ok(announced)));
        }
        Ok(Err(refusal)) => {
            let mut encoded = Vec::new();
            encode_refused(&mut encoded, &refusal);
            assert_eq!(decode_announced(&encoded), Ok(Err(refusal)));
        }
        Err(_) => {}
    }
    let _ = decode_scraped(data, &[InfoHash([b'a'; 20])]);
}
