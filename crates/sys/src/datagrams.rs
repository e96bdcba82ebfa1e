//! Receives and answers UDP packets in batches, without taking memory.
//!
//! A [`Batch`] owns a fixed number of places. [`Batch::receive`] fills some of them, the caller writes
//! answers into the same places, [`Batch::send`] sends each answer to where its question came from,
//! and from the very address that the question went to: on a socket bound to all addresses the system
//! would pick one by its routes, and clients drop answers from strangers.
//!
//! On Linux a call moves a whole batch (`recvmmsg`, `sendmmsg`); elsewhere one packet, and the system
//! picks the source.

use std::io;
use std::net::{SocketAddr, UdpSocket};

#[cfg(target_os = "linux")]
#[path = "datagrams/linux.rs"]
mod batch;
#[cfg(not(target_os = "linux"))]
#[path = "datagrams/plain.rs"]
mod batch;

// So that the code for other systems is compiled and tested here too.
#[cfg(all(test, target_os = "linux"))]
#[path = "datagrams/plain.rs"]
#[expect(unreachable_pub, reason = "it is public where it is the real one")]
mod plain;

pub use batch::{Batch, prepare};

/// Bytes of a question that are kept; longer ones are dropped.
pub const QUESTION_LEN_MAX: usize = 2_048;

/// Bytes of an answer at most: what crosses an Ethernet in one piece, IPv6 header included.
pub const ANSWER_LEN_MAX: usize = 1_452;

/// A failed call that says nothing about the socket: no packet in time, a signal, or the news that an
/// earlier answer could not be delivered.
#[must_use]
pub fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock
            | io::ErrorKind::TimedOut
            | io::ErrorKind::Interrupted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    macro_rules! exchange {
        ($name:ident, $module:ident) => {
            #[test]
            fn $name() {
                let server = UdpSocket::bind("127.0.0.1:0").unwrap();
                server.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                $module::prepare(&server).unwrap();
                let clients: Vec<UdpSocket> =
                    (0..5).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
                for (number, client) in clients.iter().enumerate() {
                    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
                    client.send_to(&vec![b'q'; number + 1], server.local_addr().unwrap()).unwrap();
                }
                let mut batch = $module::Batch::new(4);
                let mut left = clients.len();
                while left > 0 {
                    let count = batch.receive(&server).unwrap();
                    assert!(batch.question(count).is_none());
                    for at in 0..count {
                        let (from, question) = batch.question(at).unwrap();
                        assert_eq!(clients[question.len() - 1].local_addr().unwrap(), from);
                        batch.answer(at, |_, question, answer| {
                            answer[..question.len()].fill(b'a');
                            // The client with three letters gets no answer.
                            if question.len() == 3 { 0 } else { question.len() }
                        });
                    }
                    let silent = (0..count).filter(|&at| batch.is_silent(at)).count();
                    assert_eq!(batch.send(&server).unwrap(), count - silent);
                    left -= count;
                }
                let mut buffer = [0; 64];
                for (number, client) in clients.iter().enumerate().filter(|(n, _)| *n != 2) {
                    let (len, from) = client.recv_from(&mut buffer).unwrap();
                    assert_eq!(&buffer[..len], vec![b'a'; number + 1]);
                    assert_eq!(from, server.local_addr().unwrap());
                }
                clients[2].set_nonblocking(true).unwrap();
                assert!(clients[2].recv(&mut buffer).is_err());
            }
        };
    }

    exchange!(answers_go_back_in_batches, batch);
    #[cfg(target_os = "linux")]
    exchange!(answers_go_back_one_by_one, plain);

    #[cfg(target_os = "linux")]
    #[test]
    fn answer_comes_from_the_address_that_was_asked() {
        for (bind, asked) in [("0.0.0.0:0", "127.0.0.7"), ("[::]:0", "::1")] {
            let Ok(server) = UdpSocket::bind(bind) else { continue };
            prepare(&server).unwrap();
            let port = server.local_addr().unwrap().port();
            let asked = SocketAddr::new(asked.parse().unwrap(), port);
            let bind = if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
            let client = UdpSocket::bind(bind).unwrap();
            client.connect(asked).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            client.send(b"?").unwrap();
            let mut batch = Batch::new(2);
            assert_eq!(batch.receive(&server).unwrap(), 1);
            batch.answer(0, |from, _, answer| {
                assert_eq!(from, client.local_addr().unwrap());
                answer[0] = b'!';
                1
            });
            assert_eq!(batch.send(&server).unwrap(), 1);
            let mut buffer = [0; 8];
            assert_eq!(client.recv(&mut buffer).unwrap(), 1, "a connected client takes no other");
        }
    }

    #[test]
    fn too_long_a_question_is_dropped() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(&[1; QUESTION_LEN_MAX + 1], server.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new(2);
        for at in 0..batch.receive(&server).unwrap() {
            assert!(batch.question(at).is_none());
            batch.answer(at, |_, _, _| panic!("it is cut"));
        }
        assert_eq!(batch.send(&server).unwrap(), 0);
    }
}
