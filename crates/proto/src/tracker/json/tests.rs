use super::limits::{DEPTH_MAX, OBJECT_LEN_MAX};
use super::*;

fn decode(text: &str) -> Result<Request, JsonError> {
    Request::decode(text.as_bytes())
}

fn line(reply: &Reply) -> String {
    let mut out = Vec::new();
    reply.encode(&mut out);
    String::from_utf8(out).unwrap()
}

fn session(peer_id: &str, token: &str) -> Session {
    Session { peer_id: peer_id.to_owned(), token: token.to_owned() }
}

#[test]
fn the_documents_own_examples_are_read() {
    let auth = decode("{\n    \"type\": \"AUTH\",\n    \"peer_id\": \"unique_peer_identifier\"\n}");
    let peer_id = "unique_peer_identifier".to_owned();
    assert_eq!(auth, Ok(Request::Auth { peer_id, secret: None }));
    let register = decode(
        r#"{"type": "REGISTER", "peer_id": "p", "token": "token_p", "port": 8080,
            "files": {"document.pdf": 5, "video.mp4": 20, "image.jpg": 1}}"#,
    );
    let files = [("document.pdf", 5), ("image.jpg", 1), ("video.mp4", 20)];
    let files = files.map(|(name, parts)| (name.to_owned(), parts)).into();
    let expected = Request::Register { session: session("p", "token_p"), port: 8080, files };
    assert_eq!(register, Ok(expected));
    for word in ["PEER_LIST", "REQUEST"] {
        let text =
            format!(r#"{{"type":"{word}","peer_id":"p","token":"t","file_name":"document.pdf"}}"#);
        let file_name = "document.pdf".to_owned();
        let expected = Request::PeerList { session: session("p", "t"), file_name };
        assert_eq!(decode(&text), Ok(expected));
    }
}

#[test]
fn the_documents_own_replies_are_written() {
    let token = Reply::token("token_x".to_owned());
    assert_eq!(line(&token), "{\"status\":\"OK\",\"token\":\"token_x\"}\n");
    assert_eq!(line(&Reply::registered()), "{\"status\":\"REGISTERED\"}\n");
    let error = "{\"status\":\"ERROR\",\"error\":\"Invalid token\"}\n";
    assert_eq!(line(&Reply::invalid_token()), error);
    let ip = [192, 168, 1, 101].into();
    let peers = vec![Peer { peer_id: "peer1".to_owned(), ip, port: 8080 }];
    assert_eq!(
        line(&Reply::Peers { peers, total_parts: 5 }),
        "{\"peers\":[{\"peer_id\":\"peer1\",\"ip\":\"192.168.1.101\",\"port\":8080}],\"total_parts\":5}\n"
    );
    assert_eq!(
        line(&Reply::chunk_count("a".to_owned(), 2, Some(524_288), Some(600_000))),
        "{\"type\":\"CHUNK_COUNT\",\"file_name\":\"a\",\"count\":2,\"chunk_size\":524288,\"size\":600000}\n"
    );
}

#[test]
fn what_is_wrong_is_named() {
    let cases = [
        (r#"{"type":"AUTH"}"#, "peer_id"),
        (r#"{"type":"FLY","peer_id":"p"}"#, "FLY"),
        (r#"{"peer_id":"p"}"#, "type"),
        (r#"{"type":"AUTH","peer_id":""}"#, "peer_id is empty"),
        (r#"{"type":"AUTH","peer_id":"a\nb"}"#, "control characters"),
        (r#"{"type":"AUTH","peer_id":7}"#, "string"),
        (r#"{"type":"REGISTER","peer_id":"p","token":"t","port":0,"files":{}}"#, "port"),
        (r#"{"type":"REGISTER","peer_id":"p","token":"t","port":70000,"files":{}}"#, "70000"),
        (r#"{"type":"REGISTER","peer_id":"p","token":"t","port":1,"files":{"a":0}}"#, "\"a\""),
        (
            r#"{"type":"BECOME_SEEDER","peer_id":"p","token":"t","file_name":"a","parts":2147483648}"#,
            "parts",
        ),
        (r#"{"type":"AUTH","peer_id":"p""#, "EOF"),
    ];
    for (text, named) in cases {
        let error = decode(text).expect_err(text);
        assert!(error.to_string().contains(named), "{text}: {error}");
        assert!(!error.ends_stream(), "{text}");
    }
    let long = format!(r#"{{"type":"AUTH","peer_id":"{}"}}"#, "x".repeat(256));
    assert!(decode(&long).is_err());
}

#[test]
fn objects_are_found_however_they_come() {
    let stream = b" \r\n{\"a\": \"}\\\"{\", \"b\": [1, {}]}\n{\"c\":1}\r\n{\"d\":2}";
    for step in 1..=stream.len() {
        let (mut framer, mut buffer, mut found) = (Framer::default(), Vec::new(), Vec::new());
        for part in stream.chunks(step) {
            buffer.extend_from_slice(part);
            while let Some(framed) = framer.scan(&buffer).unwrap() {
                found.push(String::from_utf8(buffer[framed.range.clone()].to_vec()).unwrap());
                buffer.drain(..framed.range.end);
            }
        }
        assert_eq!(
            found,
            ["{\"a\": \"}\\\"{\", \"b\": [1, {}]}", "{\"c\":1}", "{\"d\":2}"],
            "{step}"
        );
    }
}

#[test]
fn a_newline_behind_the_object_means_that_more_follows() {
    let goes_on = |text: &[u8]| Framer::default().scan(text).unwrap().unwrap().goes_on;
    assert!(goes_on(b"{}\n"));
    assert!(goes_on(b"{}\r\n"));
    assert!(!goes_on(b"{}"));
    assert!(!goes_on(b"{} \n"));
    assert!(!goes_on(b"{}{}"));
}

#[test]
fn what_cannot_be_an_object_ends_the_stream() {
    let scan = |bytes: &[u8]| Framer::default().scan(bytes);
    assert_eq!(scan(b"hello"), Err(JsonError::NotAnObject));
    assert_eq!(scan(b"\x16\x03\x01"), Err(JsonError::NotAnObject));
    let deep = "{\"a\":".repeat(100_000);
    assert_eq!(scan(deep.as_bytes()), Err(JsonError::TooDeep));
    assert!(scan("[".repeat(9).as_bytes()).is_err());
    let fits = format!("{{\"a\":{}1{}}}", "[".repeat(DEPTH_MAX as usize - 1), "]".repeat(7));
    assert!(scan(fits.as_bytes()).unwrap().is_some());
    let long = [b"{\"a\":\"".as_slice(), &vec![b'x'; OBJECT_LEN_MAX]].concat();
    assert_eq!(scan(&long), Err(JsonError::TooLong(OBJECT_LEN_MAX)));
    assert_eq!(scan(&vec![b' '; 3 * OBJECT_LEN_MAX]), Err(JsonError::TooLong(OBJECT_LEN_MAX)));
}
