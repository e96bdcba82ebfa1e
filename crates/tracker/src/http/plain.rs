//! Plain requests on a connection, answered without a whole server of HTTP; what is not plain is handed
//! over to one, with the bytes that were read.
//!
//! Clients of trackers ask once and close. So what has come by the time that a connection is accepted is
//! answered at once if that is all: such a connection takes no seat, no timer, and is never watched.

use std::io::{self, Read as _};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;

use bytes::BufMut as _;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use proto::tracker::http::Head;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::answer::Asked;
use super::dialogue::{Dialogue, Next};
use super::general::{self, serve_stream};
use super::patience::{Patience, WaitsTo};
use super::rewound::Rewound;
use super::{Connection, Port};
use crate::accept::{Newcomer, Seat};
use crate::limits::HTTP_BUFFER_LEN;

/// Answers a connection that says everything at once; true when nothing is left to do for it. Otherwise
/// what was read is in `dialogue`.
pub(super) fn answer_at_once(newcomer: &Newcomer, dialogue: &mut Dialogue, port: &Port) -> bool {
    let Newcomer { stream, remote } = newcomer;
    if port.shared.tls.as_ref().is_some_and(|tls| !tls.serves_plain(stream)) {
        return false;
    }
    let mut buffer = [0; HTTP_BUFFER_LEN];
    let len = match (&*stream).read(&mut buffer) {
        Ok(0) => return true,
        Ok(len) => len,
        // What is wrong, if anything is, will be seen again.
        Err(_) => return false,
    };
    dialogue.input.extend_from_slice(&buffer[..len]);
    let next = dialogue.advance(|head| answer(head, remote.ip(), port));
    // With bytes left unread the system would throw away what it has not sent yet.
    if next != Next::Close || !dialogue.input.is_empty() || len == buffer.len() {
        return false;
    }
    match sys::tcp::send_last(stream, &dialogue.output) {
        Ok(len) => dialogue.on_sent(len),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(_) => return true,
    }
    dialogue.output.is_empty()
}

/// Goes on with a connection until the client, the time or the tracker ends.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    mut dialogue: Dialogue,
    ends: Connection,
    seat: &Seat,
    port: &Port,
) -> io::Result<()> {
    let stop = port.shared.gate.stop();
    let stopped = pin!(stop.cancelled());
    let mut patience = Patience::begin(stopped);
    loop {
        if patience.is_ending() {
            dialogue.end_soon();
        }
        let next = dialogue.advance(|head| answer(head, ends.remote.ip(), port));
        if !dialogue.output.is_empty() {
            seat.on_completed();
            let send = async {
                stream.write_all(&dialogue.output).await?;
                stream.flush().await
            };
            patience.bound(WaitsTo::Send, send).await?;
            dialogue.on_sent(dialogue.output.len());
            patience.on_answered();
        }
        match next {
            Next::Go => {}
            Next::Receive => {
                let waits_to = if dialogue.is_idle() { WaitsTo::Begin } else { WaitsTo::Receive };
                let room = dialogue.make_room();
                let mut input = (&mut dialogue.input).limit(room);
                if patience.bound(waits_to, stream.read_buf(&mut input)).await? == 0 {
                    return Ok(());
                }
            }
            Next::Close => return patience.bound(WaitsTo::Send, stream.shutdown()).await,
            Next::HandOver => break,
        }
    }
    let stream = Rewound::new(dialogue.input, stream);
    let respond = |request| general::answer(request, ends, port);
    // It is large, and seldom needed.
    Box::pin(serve_stream(stream, seat, patience.deadlines(), respond, stop)).await
}

/// The body of the answer to a plain request, if the tracker itself has one.
fn answer(head: &Head<'_>, nearest: IpAddr, port: &Port) -> Option<Vec<u8>> {
    let Port { proxies, shared } = port;
    let (path, query) = head.split_target();
    let asked = Asked::of(path, query)?;
    shared.counters.requests.fetch_add(1, Ordering::Relaxed);
    let client =
        if proxies.trust(nearest) { proxies.client(nearest, &forwarded(head)) } else { nearest };
    Some(asked.answer(client, shared))
}

fn forwarded(head: &Head<'_>) -> HeaderMap {
    let lines = head.forwarded.iter().filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value).ok()?))
    });
    let mut headers = HeaderMap::new();
    lines.for_each(|(name, value)| _ = headers.append(name, value));
    headers
}
