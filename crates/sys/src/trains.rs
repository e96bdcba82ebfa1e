//! Trains: UDP packets of one length to or from one address, many with one call.
//!
//! On Linux the kernel cuts a train into packets as late as it can, and joins them again as early (UDP
//! segmentation offload). Elsewhere, and where a device cannot, they go one by one.

use std::io;
use std::net::SocketAddr;

use tokio::net::UdpSocket;

#[cfg(target_os = "linux")]
#[path = "trains/linux.rs"]
mod system;
#[cfg(not(target_os = "linux"))]
#[path = "trains/plain.rs"]
mod system;

// So that the code for other systems is compiled and tested here too.
#[cfg(all(test, target_os = "linux"))]
#[path = "trains/plain.rs"]
#[expect(unreachable_pub, reason = "it is public where it is the real one")]
mod plain;

pub use system::{forbid_fragments, prepare, receive, send};

/// A train that came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Received {
    /// Who sent it.
    pub from: SocketAddr,
    /// Bytes of all packets, back to back in the buffer.
    pub len: usize,
    /// Bytes of each packet; the last may be shorter.
    pub segment_len: usize,
}

/// Sends the packets of a train one by one; those that the system refuses are lost, as packets may be.
fn send_each(
    socket: &UdpSocket,
    to: SocketAddr,
    train: &[u8],
    segment_len: usize,
) -> io::Result<usize> {
    let mut sent = 0;
    for packet in train.chunks(segment_len.max(1)) {
        match socket.try_send_to(packet, to) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && sent == 0 => {
                return Err(error);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(sent),
            Err(error) if sent + packet.len() == train.len() && sent == 0 => return Err(error),
            Ok(_) | Err(_) => sent += packet.len(),
        }
    }
    Ok(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! exchange {
        ($name:ident, $module:ident, $bind:literal) => {
            #[tokio::test]
            async fn $name() {
                let one = UdpSocket::bind($bind).await.unwrap();
                let other = UdpSocket::bind($bind).await.unwrap();
                $module::prepare(&one).unwrap();
                $module::prepare(&other).unwrap();
                let from = one.local_addr().unwrap();
                $module::forbid_fragments(&one, from, false).unwrap();
                let train: Vec<u8> = (0..25_000_u32).map(|at| (at / 7) as u8).collect();
                one.writable().await.unwrap();
                let sent = $module::send(&one, other.local_addr().unwrap(), &train, 1_200);
                assert_eq!(sent.unwrap(), train.len());
                let (mut buffer, mut got) = (vec![0; 65_535], Vec::new());
                while got.len() < train.len() {
                    other.readable().await.unwrap();
                    let Ok(received) = $module::receive(&other, &mut buffer) else { continue };
                    assert_eq!(received.from, from);
                    assert!(
                        received.segment_len == 1_200 || received.segment_len == 25_000 % 1_200
                    );
                    got.extend_from_slice(&buffer[..received.len]);
                }
                assert!(got == train);
            }
        };
    }

    exchange!(train_arrives_in_order, system, "127.0.0.1:0");
    exchange!(train_arrives_in_order_over_ipv6, system, "[::1]:0");
    #[cfg(target_os = "linux")]
    exchange!(train_arrives_packet_by_packet, plain, "127.0.0.1:0");

    #[tokio::test]
    async fn single_packet_is_a_train_too() {
        let one = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let other = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        prepare(&other).unwrap();
        let from = one.local_addr().unwrap();
        forbid_fragments(&one, from, true).unwrap();
        one.writable().await.unwrap();
        assert_eq!(send(&one, other.local_addr().unwrap(), b"alone", 5).unwrap(), 5);
        forbid_fragments(&one, from, false).unwrap();
        other.readable().await.unwrap();
        let mut buffer = [0; 100];
        let received = receive(&other, &mut buffer).unwrap();
        assert_eq!((&buffer[..received.len], received.segment_len), (&b"alone"[..], 5));
        assert_eq!(receive(&other, &mut buffer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    }
}
