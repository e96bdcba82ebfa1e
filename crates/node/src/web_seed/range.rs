//! What a web server's reply to a range request is worth (RFC 9110, 14).

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{
    CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, HeaderMap, HeaderName, HeaderValue,
    RETRY_AFTER,
};

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Where it starts in the file.
    pub(super) start: u64,
    /// Its length; at least 1.
    pub(super) len: u64,
    /// Length of the whole file.
    pub(super) file_len: u64,
}

/// Why a web seed does not give what it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// It may later; after that time, if it says so.
    Later(String, Option<Duration>),
    /// It does not have the file.
    Missing(String),
    /// It never will.
    Useless(String),
}

impl Part {
    /// The value of the `Range` header.
    pub(super) fn header(&self) -> String {
        format!("bytes={}-{}", self.start, self.start + self.len - 1)
    }

    /// Bytes of the reply's body before the part, if the reply has the part.
    pub(super) fn judge(&self, status: StatusCode, headers: &HeaderMap) -> Result<u64, Fault> {
        let value = |name: HeaderName| headers.get(name).and_then(text);
        match status {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
            StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::FORBIDDEN
            | StatusCode::UNAUTHORIZED
            | StatusCode::RANGE_NOT_SATISFIABLE => return Err(Fault::Missing(answered(status))),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                return Err(Fault::Later(answered(status), value(RETRY_AFTER).and_then(wait)));
            }
            _ if status.is_server_error() => {
                return Err(Fault::Later(answered(status), value(RETRY_AFTER).and_then(wait)));
            }
            _ => return Err(Fault::Useless(answered(status))),
        }
        if value(CONTENT_ENCODING).is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
            return Err(Fault::Useless("it sends the file encoded".to_owned()));
        }
        if status == StatusCode::PARTIAL_CONTENT {
            return self.judge_range(value(CONTENT_RANGE));
        }
        let len = value(CONTENT_LENGTH).and_then(|len| len.parse().ok());
        if len.is_some_and(|len: u64| len != self.file_len) {
            return Err(Fault::Missing("its file has another length".to_owned()));
        }
        if self.len == self.file_len || self.file_len <= WHOLE_LEN_MAX {
            return Ok(self.start);
        }
        Err(Fault::Useless("it sends whole files only".to_owned()))
    }

    fn judge_range(&self, value: Option<&str>) -> Result<u64, Fault> {
        let wrong = || Fault::Useless("it sends another range than was asked for".to_owned());
        let (range, len) = value.and_then(content_range).ok_or_else(wrong)?;
        if len.is_some_and(|len| len != self.file_len) {
            return Err(Fault::Missing("its file has another length".to_owned()));
        }
        if range == (self.start, self.start + self.len - 1) { Ok(0) } else { Err(wrong()) }
    }
}

fn answered(status: StatusCode) -> String {
    format!("it answers {status}")
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok().map(str::trim)
}

/// `bytes FIRST-LAST/LENGTH`, where the length may be unknown.
fn content_range(value: &str) -> Option<((u64, u64), Option<u64>)> {
    let (range, len) = value.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let len = if len == "*" { None } else { Some(len.parse().ok()?) };
    Some(((first.parse().ok()?, last.parse().ok()?), len))
}

/// `Retry-After` in seconds; a date is not worth a calendar.
fn wait(value: &str) -> Option<Duration> {
    value.parse().ok().map(|seconds: u64| Duration::from_secs(seconds).min(WAIT_MAX))
}

/// A server that knows no ranges sends all of a file: a small one is worth it.
const WHOLE_LEN_MAX: u64 = 1 << 20;
/// However long a server asks us to wait.
const WAIT_MAX: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    const PART: Part = Part { start: 100, len: 50, file_len: 2 << 20 };

    fn judge(
        part: Part,
        status: StatusCode,
        headers: &[(HeaderName, &'static str)],
    ) -> Result<u64, Fault> {
        let value = |text: &&'static str| HeaderValue::from_static(text);
        let headers = headers.iter().map(|(name, text)| (name.clone(), value(text))).collect();
        part.judge(status, &headers)
    }

    #[test]
    fn a_range_must_be_the_one_that_was_asked_for() {
        let judge = |value| judge(PART, StatusCode::PARTIAL_CONTENT, &[(CONTENT_RANGE, value)]);
        assert_eq!(judge("bytes 100-149/2097152"), Ok(0));
        assert_eq!(judge("bytes 100-149/*"), Ok(0));
        for wrong in ["bytes 0-49/2097152", "bytes 100-148/*", "100-149/*", "bytes */5", "", "x"] {
            assert!(matches!(judge(wrong), Err(Fault::Useless(_))), "{wrong}");
        }
        assert!(matches!(judge("bytes 100-149/200"), Err(Fault::Missing(_))));
        let none = tests::judge(PART, StatusCode::PARTIAL_CONTENT, &[]);
        assert!(matches!(none, Err(Fault::Useless(_))));
        assert_eq!(PART.header(), "bytes=100-149");
    }

    #[test]
    fn a_whole_file_is_taken_when_it_is_wanted_or_small() {
        let whole = Part { start: 0, len: 2 << 20, file_len: 2 << 20 };
        let small = Part { start: 9, len: 1, file_len: 1 << 20 };
        assert_eq!(judge(whole, StatusCode::OK, &[]), Ok(0));
        assert_eq!(judge(small, StatusCode::OK, &[(CONTENT_LENGTH, "1048576")]), Ok(9));
        assert!(matches!(judge(PART, StatusCode::OK, &[]), Err(Fault::Useless(_))));
        let other = judge(small, StatusCode::OK, &[(CONTENT_LENGTH, "5")]);
        assert!(matches!(other, Err(Fault::Missing(_))));
        let packed = judge(whole, StatusCode::OK, &[(CONTENT_ENCODING, "gzip")]);
        assert!(matches!(packed, Err(Fault::Useless(_))));
    }

    #[test]
    fn statuses_say_whether_to_come_again() {
        let status = |number| StatusCode::from_u16(number).unwrap();
        let after = |number, value| match judge(PART, status(number), &[(RETRY_AFTER, value)]) {
            Err(Fault::Later(_, after)) => after.map(|after| after.as_secs()),
            other => panic!("{number}: {other:?}"),
        };
        assert_eq!(after(503, "7"), Some(7));
        assert_eq!(after(429, "99999999"), Some(600));
        assert_eq!(after(500, "Fri, 31 Dec 1999 23:59:59 GMT"), None);
        for number in [401, 403, 404, 410, 416] {
            assert!(matches!(judge(PART, status(number), &[]), Err(Fault::Missing(_))));
        }
        for number in [204, 304, 400, 405] {
            assert!(matches!(judge(PART, status(number), &[]), Err(Fault::Useless(_))));
        }
    }
}
