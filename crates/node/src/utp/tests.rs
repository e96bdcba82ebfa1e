use std::net::UdpSocket as StdSocket;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::carrier::Carrier;
use crate::datagram::{self, Outgoing, Routes};
use crate::stream::Stream;

/// An endpoint on a port of its own, and what ends it.
fn host(bind: &str) -> (Arc<Host>, SocketAddr, CancellationToken) {
    let socket = StdSocket::bind(bind).unwrap();
    socket.set_nonblocking(true).unwrap();
    let local = socket.local_addr().unwrap();
    let host = Hosts::default().add(local);
    let (_, mut bound) = Outgoing::over(vec![socket]);
    let closing = CancellationToken::new();
    let routes = Routes { dht: None, utp: Some(host.clone()) };
    tokio::spawn(datagram::run(bound.remove(0), routes, closing.clone()));
    (host, local, closing)
}

/// A stream between two of them, both ends.
async fn pair(bind: &str) -> (Stream, Stream, [CancellationToken; 2]) {
    let (one, from, ends_one) = host(bind);
    let (other, to, ends_other) = host(bind);
    let stream = one.connect(to).await.unwrap();
    // Whoever was called knows it for sure when the first bytes come.
    let (accepted, addr) = other.accept().await;
    assert_eq!(addr, from);
    (Carrier::Utp(stream).into(), Carrier::Utp(accepted).into(), [ends_one, ends_other])
}

fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 13) as u8).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_travel_both_ways_and_the_end_is_told() {
    for bind in ["127.0.0.1:0", "[::1]:0"] {
        let (one, other, _ends) = pair(bind).await;
        let (mut read_one, mut write_one) = tokio::io::split(one);
        let (mut read_other, mut write_other) = tokio::io::split(other);
        let (there, back) = (bytes(8_000_000), bytes(3_000_000));
        let (send_there, send_back) = (there.clone(), back.clone());
        let sending = [
            tokio::spawn(async move {
                write_one.write_all(&send_there).await.unwrap();
                write_one.shutdown().await.unwrap();
            }),
            tokio::spawn(async move {
                write_other.write_all(&send_back).await.unwrap();
                write_other.shutdown().await.unwrap();
            }),
        ];
        let (mut got_there, mut got_back) = (Vec::new(), Vec::new());
        let (first, second) = tokio::join!(
            read_other.read_to_end(&mut got_there),
            read_one.read_to_end(&mut got_back)
        );
        assert_eq!((first.unwrap(), second.unwrap()), (there.len(), back.len()));
        assert!(got_there == there && got_back == back);
        for each in sending {
            each.await.unwrap();
        }
    }
}

#[tokio::test]
async fn dropped_stream_delivers_what_was_written() {
    let (mut one, mut other, _ends) = pair("127.0.0.1:0").await;
    one.write_all(b"last words").await.unwrap();
    drop(one);
    let mut got = Vec::new();
    other.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"last words");
}

#[tokio::test]
async fn reader_that_waits_is_woken() {
    let (mut one, mut other, _ends) = pair("127.0.0.1:0").await;
    let reading = tokio::spawn(async move {
        let mut got = [0; 5];
        other.read_exact(&mut got).await.unwrap();
        got
    });
    tokio::task::yield_now().await;
    one.write_all(b"hello").await.unwrap();
    assert_eq!(&reading.await.unwrap(), b"hello");
}

/// A task that looks at once whether it could do something.
struct Eager {
    host: Arc<Host>,
    found: std::sync::Mutex<Vec<bool>>,
    woken: Notify,
}

impl std::task::Wake for Eager {
    fn wake(self: Arc<Self>) {
        self.found.lock().unwrap().push(self.host.held.try_lock().is_some());
        self.woken.notify_one();
    }
}

#[tokio::test]
async fn nobody_is_woken_for_a_lock_that_is_held() {
    let (mut one, other, _ends) = pair("127.0.0.1:0").await;
    let Carrier::Utp(other) = other.into_carrier() else { panic!("it is uTP") };
    let (found, woken) = (std::sync::Mutex::default(), Notify::new());
    let eager = Arc::new(Eager { host: other.host.clone(), found, woken });
    let waker = Waker::from(eager.clone());
    assert!(other.poll_readable(&Context::from_waker(&waker)).is_pending());
    one.write_all(b"hello").await.unwrap();
    eager.woken.notified().await;
    assert_eq!(*eager.found.lock().unwrap(), [true]);
}

#[tokio::test]
async fn attempt_that_is_given_up_leaves_nothing() {
    let (one, _, _ends) = host("127.0.0.1:0");
    let silent = StdSocket::bind("127.0.0.1:0").unwrap();
    let attempt = one.connect(silent.local_addr().unwrap());
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(20), attempt).await;
    assert!(given_up.is_err());
    let held = one.held.lock();
    assert_eq!((held.endpoint.stats().connections, held.wakers.len()), (0, 0));
}
