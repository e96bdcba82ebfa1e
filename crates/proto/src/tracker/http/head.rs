//! The heads of plain requests and their replies (RFC 9112), for trackers.
//!
//! Nearly all that a tracker is asked over HTTP is one `GET` of HTTP/1.1 with a handful of ordinary
//! headers. [`Read::of`] reads these and no others: whatever a whole server of HTTP might read in
//! another way, or refuse, is [`Read::Other`] and for such a server. So the two never differ.

use std::io::Write as _;

/// What the bytes from a client begin with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<'b> {
    /// A head that is plain as far as it goes.
    Part,
    /// A whole head, the end of a request without a body.
    Whole(Head<'b>),
    /// Anything else. More bytes do not change it.
    Other,
}

/// The head of a plain `GET`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head<'b> {
    /// What is asked for: begins with a slash, has a query or none, and no fragment.
    pub target: &'b str,
    /// The client wants no more than this on its connection.
    pub closes: bool,
    /// What proxies wrote (`Forwarded`, `X-Forwarded-…`), in order, each value without spaces
    /// around it.
    pub forwarded: Vec<(&'b str, &'b str)>,
    /// Bytes that the head takes, its empty line included.
    pub len: usize,
}

impl<'b> Read<'b> {
    /// Reads the first head.
    #[must_use]
    pub fn of(bytes: &'b [u8]) -> Self {
        match read(bytes) {
            Ok(head) => Self::Whole(head),
            Err(Stop::End) => Self::Part,
            Err(Stop::Unusual) => Self::Other,
        }
    }
}

impl<'b> Head<'b> {
    /// The path and the query, which is empty if there is none.
    #[must_use]
    pub fn split_target(&self) -> (&'b str, &'b str) {
        self.target.split_once('?').unwrap_or((self.target, ""))
    }
}

/// Appends the head of a reply with a body of text; `date` is the time in the form of HTTP.
pub fn encode_head(out: &mut Vec<u8>, body_len: usize, closes: bool, date: &str) {
    out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n");
    if closes {
        out.extend_from_slice(b"connection: close\r\n");
    }
    // Writing to a vector cannot fail.
    _ = write!(out, "content-length: {body_len}\r\ndate: {date}\r\n\r\n");
}

/// Why a head was not read to its end.
enum Stop {
    End,
    Unusual,
}

fn read(bytes: &[u8]) -> Result<Head<'_>, Stop> {
    let mut rest = Rest(bytes);
    rest.literal(b"GET ")?;
    let target = rest.run(is_plain_in_target)?;
    if !target.starts_with('/') {
        return Err(Stop::Unusual);
    }
    rest.literal(b" HTTP/1.1\r\n")?;
    let mut head = Head { target, closes: false, forwarded: Vec::new(), len: 0 };
    for _ in 0..HEADERS_MAX {
        if rest.peek()? == b'\r' {
            rest.literal(b"\r\n")?;
            head.len = bytes.len() - rest.0.len();
            return Ok(head);
        }
        let name = rest.run(is_plain_in_name)?;
        if name.is_empty() {
            return Err(Stop::Unusual);
        }
        rest.literal(b":")?;
        let value = rest.run(is_plain_in_value)?.trim_matches([' ', '\t']);
        rest.literal(b"\r\n")?;
        head.note(name, value)?;
    }
    Err(Stop::Unusual)
}

impl<'b> Head<'b> {
    /// Takes note of a header, if it matters.
    fn note(&mut self, name: &'b str, value: &'b str) -> Result<(), Stop> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        match name.len() {
            6 if is("expect") => Err(Stop::Unusual),
            7 if is("upgrade") => Err(Stop::Unusual),
            // A body follows.
            14 if is("content-length") && value != "0" => Err(Stop::Unusual),
            17 if is("transfer-encoding") => Err(Stop::Unusual),
            10 if is("connection") => {
                let mut options = value.split(',').map(str::trim);
                self.closes |= options.any(|option| option.eq_ignore_ascii_case("close"));
                Ok(())
            }
            _ => {
                let is_forwarded = |prefix: &str| {
                    let start = name.get(..prefix.len());
                    start.is_some_and(|start| start.eq_ignore_ascii_case(prefix))
                };
                if is("forwarded") || is_forwarded("x-forwarded-") {
                    self.forwarded.push((name, value));
                }
                Ok(())
            }
        }
    }
}

/// What has not been read yet.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn peek(&self) -> Result<u8, Stop> {
        self.0.first().copied().ok_or(Stop::End)
    }

    /// Exactly these bytes.
    fn literal(&mut self, expected: &[u8]) -> Result<(), Stop> {
        match self.0.split_at_checked(expected.len()) {
            Some((found, rest)) if found == expected => {
                self.0 = rest;
                Ok(())
            }
            Some(_) => Err(Stop::Unusual),
            None if expected.starts_with(self.0) => Err(Stop::End),
            None => Err(Stop::Unusual),
        }
    }

    /// Such bytes, as many as there are, up to another one.
    fn run(&mut self, fits: fn(&u8) -> bool) -> Result<&'b str, Stop> {
        let len = self.0.iter().position(|byte| !fits(byte)).ok_or(Stop::End)?;
        let (run, rest) = self.0.split_at(len);
        self.0 = rest;
        // All of them are ASCII.
        std::str::from_utf8(run).map_err(|_| Stop::Unusual)
    }
}

/// What every server takes for a part of a path or a query.
const fn is_plain_in_target(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'%' | b'&' | b'=' | b'+' | b':' | b',' | b';' | b'@'
        )
        || matches!(byte, b'/' | b'?' | b'!' | b'$' | b'\'' | b'(' | b')' | b'*')
}

const fn is_plain_in_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
}

const fn is_plain_in_value(byte: &u8) -> bool {
    matches!(byte, b' '..=b'~' | b'\t')
}

/// Browsers send some twenty.
const HEADERS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USUAL: &[u8] = b"GET /announce?info_hash=%12aB~&port=1 HTTP/1.1\r\nHost: t.example:6969\r\n\
        User-Agent: Transmission/4.0.5 (38c164933e)\r\nAccept: */*\r\nAccept-Encoding: gzip\r\n\r\n";

    #[track_caller]
    fn whole(bytes: &[u8]) -> Head<'_> {
        let Read::Whole(head) = Read::of(bytes) else { panic!("{}", bytes.escape_ascii()) };
        head
    }

    /// A request with these lines in its head.
    fn with(lines: &str) -> Vec<u8> {
        format!("GET /scrape HTTP/1.1\r\n{lines}\r\n").into_bytes()
    }

    #[test]
    fn a_usual_head_is_read_wherever_it_is_split() {
        let head = whole(USUAL);
        assert_eq!(head.split_target(), ("/announce", "info_hash=%12aB~&port=1"));
        assert_eq!((head.closes, head.len), (false, USUAL.len()));
        for len in 0..USUAL.len() {
            assert_eq!(Read::of(&USUAL[..len]), Read::Part, "{len}");
        }
        let two = [USUAL, b"\0\0\0"].concat();
        assert_eq!(whole(&two), head, "what follows is not looked at");
        assert_eq!(whole(b"GET /health HTTP/1.1\r\n\r\n").split_target(), ("/health", ""));
    }

    #[test]
    fn headers_that_matter_are_noted() {
        for line in ["Connection: close", "connection:CLOSE", "Connection: x , Close\t"] {
            assert!(whole(&with(&format!("{line}\r\n"))).closes, "{line}");
        }
        for line in ["Connection: keep-alive", "Connection: closed", "X-Connection: close"] {
            assert!(!whole(&with(&format!("{line}\r\n"))).closes, "{line}");
        }
        assert!(whole(&with("Connection: close\r\nConnection: keep-alive\r\n")).closes);
        let lines = "Forwarded: for=1.2.3.4\r\nX-Forwarded-For:  1.2.3.4 \r\nContent-Length: 0\r\n";
        let expected = [("Forwarded", "for=1.2.3.4"), ("X-Forwarded-For", "1.2.3.4")];
        assert_eq!(whole(&with(lines)).forwarded, expected);
    }

    #[test]
    fn what_a_whole_server_should_read_is_left_to_it() {
        let unusual: [&[u8]; 16] = [
            b"P",
            b"HEAD /announce HTTP/1.1\r\n\r\n",
            b"get / HTTP/1.1\r\n\r\n",
            b"\r\nGET / HTTP/1.1\r\n\r\n",
            b"GET  / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.0\r\n\r\n",
            b"GET http://a/announce HTTP/1.1\r\n\r\n",
            b"GET /announce#x HTTP/1.1\r\n\r\n",
            b"GET /\xc3\xbc HTTP/1.1\r\n\r\n",
            b"GET /a HTTP/1.1\n\n",
            b"GET /a\r\n",
            b"GET /a HTTP/1.1\r\n: x\r\n\r\n",
            b"GET /a HTTP/1.1\r\nA : x\r\n\r\n",
            b"GET /a HTTP/1.1\r\nA: x\r\n folded\r\n\r\n",
            b"GET /a HTTP/1.1\r\nA: \x00\r\n\r\n",
            b"\x16\x03\x01",
        ];
        for bytes in unusual {
            assert_eq!(Read::of(bytes), Read::Other, "{}", bytes.escape_ascii());
        }
        for line in [
            "Content-Length: 1",
            "Content-Length: 00",
            "Transfer-Encoding: chunked",
            "Expect: 100-continue",
            "Upgrade: h2c",
        ] {
            assert_eq!(Read::of(&with(&format!("{line}\r\n"))), Read::Other, "{line}");
        }
        assert_eq!(Read::of(&with(&"A: b\r\n".repeat(HEADERS_MAX))), Read::Other);
        assert_eq!(whole(&with(&"A: b\r\n".repeat(HEADERS_MAX - 1))).target, "/scrape");
    }

    #[test]
    fn a_reply_says_its_length_and_whether_it_is_the_last() {
        let mut out = b"before".to_vec();
        encode_head(&mut out, 42, true, "now");
        let expected = "beforeHTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nconnection: close\r\n\
                        content-length: 42\r\ndate: now\r\n\r\n";
        assert_eq!(out.escape_ascii().to_string(), expected.escape_default().to_string());
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_what_was_read(
            bytes in prop::collection::vec(prop::sample::select(b"GET /?a:%\r\n HTTP/1.1\0".to_vec()), 0..60),
            usual_len in 0..USUAL.len(),
        ) {
            let bytes = [&USUAL[..usual_len], &bytes].concat();
            let mut known = Read::Part;
            for len in 0..=bytes.len() {
                let now = Read::of(&bytes[..len]);
                prop_assert!(known == Read::Part || now == known);
                known = now;
            }
        }
    }
}
