//! One packet at a time, with the runtime's own calls.

use super::{Received, SocketAddr, UdpSocket, io, send_each};

/// Nothing to do.
///
/// # Errors
/// None here.
pub fn prepare(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Here packets are always fragmented when they are too long.
///
/// # Errors
/// None here.
pub fn forbid_fragments(_socket: &UdpSocket, _local: SocketAddr, _forbid: bool) -> io::Result<()> {
    Ok(())
}

/// Receives one packet, without waiting.
///
/// # Errors
/// Those of the system.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    let (len, from) = socket.try_recv_from(buffer)?;
    Ok(Received { from, len, segment_len: len.max(1) })
}

/// Sends packets of `segment_len` bytes, the last perhaps shorter, without waiting; tells how many bytes left.
///
/// # Errors
/// Those of the system, when nothing left.
pub fn send(
    socket: &UdpSocket,
    to: SocketAddr,
    train: &[u8],
    segment_len: usize,
) -> io::Result<usize> {
    send_each(socket, to, train, segment_len)
}
