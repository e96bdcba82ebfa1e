//! One client's plain requests and their answers, without the connection: bytes in, bytes out.
//!
//! Requests may be pipelined: all that are whole are answered before anything is sent. The first one
//! that is not plain, or not ours to answer, is left in `input` with all that follows it, for a whole
//! server of HTTP.

use proto::tracker::http::{Head, Read, encode_head};

use super::date::with_date;
use crate::limits::{HTTP_ANSWERS_LEN_MAX, HTTP_BUFFER_LEN, HTTP_HEAD_LEN_MAX};

/// What was received and not answered yet, and what was answered and not sent yet.
#[derive(Debug, Default)]
pub(super) struct Dialogue {
    pub(super) input: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// Bytes of `input` known to be a part of a head, without its end.
    part_len: usize,
    /// Some request was answered.
    has_answered: bool,
    /// The next answer is the last.
    ends_soon: bool,
    /// The last request was answered.
    has_ended: bool,
}

/// What to do once the output is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Receive more.
    Receive,
    /// Ask again: requests are left.
    Go,
    /// Close.
    Close,
    /// Hand what is left of the input to a whole server of HTTP.
    HandOver,
}

impl Dialogue {
    /// Answers what can be answered by now. `answer` gives a body, or `None` for what it does not
    /// answer.
    pub(super) fn advance(&mut self, answer: impl FnMut(&Head<'_>) -> Option<Vec<u8>>) -> Next {
        if self.has_ended {
            return Next::Close;
        }
        // A head that comes byte by byte is read twice, not each time.
        let fresh = &self.input[self.part_len.saturating_sub(END_LEN_MAX - 1)..];
        if self.part_len > 0 && self.input.len() < HTTP_HEAD_LEN_MAX && !has_end(fresh) {
            return Next::Receive;
        }
        let next = self.answer_whole(answer);
        self.part_len = if next == Next::Receive { self.input.len() } else { 0 };
        next
    }

    fn answer_whole(&mut self, mut answer: impl FnMut(&Head<'_>) -> Option<Vec<u8>>) -> Next {
        let Self { input, output, .. } = self;
        let mut at = 0;
        let next = loop {
            let rest = &input[at..];
            if rest.is_empty() {
                break Next::Receive;
            }
            if output.len() >= HTTP_ANSWERS_LEN_MAX {
                break Next::Go;
            }
            let head = match Read::of(rest) {
                Read::Part if rest.len() < HTTP_HEAD_LEN_MAX => break Next::Receive,
                Read::Part | Read::Other => break Next::HandOver,
                Read::Whole(head) => head,
            };
            let Some(body) = answer(&head) else { break Next::HandOver };
            let ends = head.closes || self.ends_soon;
            output.reserve(HEAD_LEN + body.len());
            with_date(|date| encode_head(output, body.len(), ends, date));
            output.extend_from_slice(&body);
            at += head.len;
            self.has_answered = true;
            if ends {
                self.has_ended = true;
                break Next::Close;
            }
        };
        self.input.drain(..at);
        next
    }

    /// The next request is the last one.
    pub(super) const fn end_soon(&mut self) {
        self.ends_soon = true;
    }

    /// Nothing was received yet.
    pub(super) const fn is_new(&self) -> bool {
        self.input.is_empty() && !self.has_answered
    }

    /// Requests were answered, and no other one has begun.
    pub(super) const fn is_idle(&self) -> bool {
        self.has_answered && self.input.is_empty()
    }

    /// Forgets what was sent of the output.
    pub(super) fn on_sent(&mut self, len: usize) {
        self.output.drain(..len);
        if self.output.is_empty() {
            self.output.shrink_to(HTTP_BUFFER_LEN);
        }
    }

    /// Makes room for what is received; tells how many bytes may be.
    pub(super) fn make_room(&mut self) -> usize {
        if self.input.is_empty() {
            self.input.shrink_to(HTTP_BUFFER_LEN);
        }
        if self.input.capacity() - self.input.len() < HTTP_BUFFER_LEN / 4 {
            self.input.reserve(HTTP_BUFFER_LEN);
        }
        HTTP_HEAD_LEN_MAX.saturating_sub(self.input.len())
    }
}

/// Whether a head may end there, as tolerant servers see it.
fn has_end(bytes: &[u8]) -> bool {
    bytes.windows(END_LEN_MAX).any(|part| part == b"\n\r\n")
        || bytes.windows(2).any(|part| part == b"\n\n")
}

const END_LEN_MAX: usize = 3;

/// Bytes of an answer's head, about.
const HEAD_LEN: usize = 160;

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"GET /announce?a=1 HTTP/1.1\r\nHost: t\r\n\r\n";
    const LAST: &[u8] = b"GET /announce?a=2 HTTP/1.1\r\nConnection: close\r\n\r\n";
    const OTHERS: &[u8] = b"GET /api/v1/status HTTP/1.1\r\nHost: t\r\n\r\n";

    /// Answers announces with their query.
    fn advance(dialogue: &mut Dialogue) -> Next {
        dialogue.advance(|head| {
            let (path, query) = head.split_target();
            (path == "/announce").then(|| query.as_bytes().to_vec())
        })
    }

    /// What comes of these bytes when they come in such parts: the answers without their heads, what to
    /// do then, and the input that is left.
    fn run<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> (Vec<String>, Next, Vec<u8>) {
        let (mut dialogue, mut sent, mut next) = (Dialogue::default(), Vec::new(), Next::Receive);
        for part in parts {
            if matches!(next, Next::Receive) {
                assert!(dialogue.make_room() >= part.len());
            }
            dialogue.input.extend_from_slice(part);
            loop {
                next = advance(&mut dialogue);
                sent.append(&mut dialogue.output);
                if next != Next::Go {
                    break;
                }
            }
        }
        let sent = String::from_utf8(sent).unwrap();
        let bodies = sent.split("HTTP/1.1 200 OK\r\n").skip(1);
        let bodies = bodies.map(|answer| answer.split_once("\r\n\r\n").unwrap().1.to_owned());
        (bodies.collect(), next, dialogue.input)
    }

    #[test]
    fn requests_are_answered_wherever_they_are_split() {
        let bytes = [ONE, ONE, LAST, b"more"].concat();
        let expected =
            (vec!["a=1".to_owned(), "a=1".into(), "a=2".into()], Next::Close, b"more".to_vec());
        assert_eq!(run([bytes.as_slice()]), expected);
        for at in 0..bytes.len() {
            let (first, second) = bytes.split_at(at);
            assert_eq!(run([first, second]), expected, "{at}");
        }
        assert_eq!(run(bytes.chunks(1)), expected);
    }

    #[test]
    fn what_is_not_ours_is_handed_over_with_all_that_follows() {
        for other in [OTHERS, b"POST / HTTP/1.1\r\n", b"\x16\x03", b"GET / HTTP/1.0\r\n\r\n"] {
            let rest = [other, ONE].concat();
            let bytes = [ONE, &rest].concat();
            assert_eq!(run([bytes.as_slice()]), (vec!["a=1".to_owned()], Next::HandOver, rest));
        }
        for at in 0..OTHERS.len() {
            let (first, second) = OTHERS.split_at(at);
            assert_eq!(run([first, second]), (vec![], Next::HandOver, OTHERS.to_vec()), "{at}");
        }
    }

    #[test]
    fn a_head_that_does_not_end_is_handed_over_when_it_is_too_long() {
        let mut endless = b"GET /announce HTTP/1.1\r\nA: ".to_vec();
        endless.resize(HTTP_HEAD_LEN_MAX - 1, b'x');
        let parts = || endless.chunks(1_000);
        assert_eq!(run(parts()), (vec![], Next::Receive, endless.clone()));
        let (answers, next, left) = run(parts().chain([&b"x"[..]]));
        assert_eq!((answers.len(), next, left.len()), (0, Next::HandOver, HTTP_HEAD_LEN_MAX));
    }

    #[test]
    fn many_answers_are_sent_before_there_are_too_many() {
        let mut dialogue = Dialogue::default();
        let count = HTTP_HEAD_LEN_MAX / ONE.len();
        dialogue.input = ONE.repeat(count);
        let mut answers = 0;
        loop {
            let next = dialogue.advance(|_| {
                answers += 1;
                Some(vec![b'x'; 4_000])
            });
            if next != Next::Go {
                break;
            }
            let len = dialogue.output.len();
            assert!((HTTP_ANSWERS_LEN_MAX..HTTP_ANSWERS_LEN_MAX + 5_000).contains(&len));
            dialogue.on_sent(len);
        }
        assert_eq!(answers, count);
    }

    #[test]
    fn the_answer_before_the_end_says_so() {
        let mut dialogue = Dialogue { input: [ONE, ONE].concat(), ..Dialogue::default() };
        dialogue.end_soon();
        assert_eq!(advance(&mut dialogue), Next::Close);
        let sent = String::from_utf8_lossy(&dialogue.output).into_owned();
        assert_eq!(sent.matches("connection: close\r\n").count(), 1, "{sent}");
        assert_eq!(advance(&mut dialogue), Next::Close, "nothing is answered after it");
    }

    #[test]
    fn buffers_are_small_again_once_they_are_empty() {
        let mut dialogue = Dialogue { input: ONE.repeat(500), ..Dialogue::default() };
        while advance(&mut dialogue) == Next::Go {
            dialogue.on_sent(dialogue.output.len());
        }
        dialogue.on_sent(dialogue.output.len());
        assert!(dialogue.is_idle());
        assert_eq!(dialogue.make_room(), HTTP_HEAD_LEN_MAX);
        let capacity = dialogue.input.capacity() + dialogue.output.capacity();
        assert!(capacity <= 2 * HTTP_BUFFER_LEN, "{capacity}");
    }
}
