//! Whole trains with `sendmsg` and `recvmsg`, cut and joined by the kernel.

use std::mem;
use std::os::fd::AsRawFd as _;
use std::ptr;

use tokio::io::Interest;

use super::{Received, SocketAddr, UdpSocket, io, send_each};
use crate::address;
use crate::option::set;

/// Room for one control message with a number, and to spare: in 64-bit words, for its alignment.
const CONTROL_WORDS: usize = 8;

/// Asks the system to join packets that come.
///
/// # Errors
/// Those of the system; then packets come one by one.
pub fn prepare(socket: &UdpSocket) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Whether packets that are too long for their path are dropped, or cut into fragments. `local` is the socket's
/// address: its family says which option it is.
///
/// # Errors
/// Those of the system.
pub fn forbid_fragments(socket: &UdpSocket, local: SocketAddr, forbid: bool) -> io::Result<()> {
    if local.is_ipv4() {
        let value = if forbid { libc::IP_PMTUDISC_PROBE } else { libc::IP_PMTUDISC_DONT };
        set(socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, value)
    } else {
        let value = if forbid { libc::IPV6_PMTUDISC_PROBE } else { libc::IPV6_PMTUDISC_DONT };
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, value)
    }
}

/// Receives a train, without waiting.
///
/// # Errors
/// Those of the system.
pub fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    // SAFETY: a socket address of zeros is a valid value (of no family).
    let mut from: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut control = [0_u64; CONTROL_WORDS];
    let mut vector = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let mut header = blank();
    header.msg_name = (&raw mut from).cast();
    header.msg_namelen = size_of_val(&from) as libc::socklen_t;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control) as _;
    let len = socket.try_io(Interest::READABLE, || {
        // SAFETY: the header points to memory of this function and of the caller's buffer, as long as it
        // says, which nothing else touches during the call.
        let len = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) };
        usize::try_from(len).map_err(|_| io::Error::last_os_error())
    })?;
    let from = address::decode(&from)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "an address of no family"))?;
    let segment_len = segment_len(&control, header.msg_controllen as _).unwrap_or(len);
    Ok(Received { from, len, segment_len: segment_len.max(1) })
}

/// The length of the packets that were joined, from the control message that tells it.
fn segment_len(control: &[u64; CONTROL_WORDS], len: usize) -> Option<usize> {
    let header_len = size_of::<libc::cmsghdr>();
    if len < header_len + size_of::<libc::c_int>() {
        return None;
    }
    // SAFETY: the buffer is longer than a header and aligned for it; any bytes are a valid header.
    let header = unsafe { ptr::read(control.as_ptr().cast::<libc::cmsghdr>()) };
    if (header.cmsg_level, header.cmsg_type) != (libc::SOL_UDP, libc::UDP_GRO) {
        return None;
    }
    // SAFETY: the data follows the header and is inside the buffer (checked above); unaligned reads need no
    // more.
    let value = unsafe {
        control.as_ptr().cast::<u8>().add(header_len).cast::<libc::c_int>().read_unaligned()
    };
    usize::try_from(value).ok().filter(|value| *value > 0)
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
    if train.len() <= segment_len {
        return send_each(socket, to, train, segment_len);
    }
    match send_joined(socket, to, train, segment_len) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
        // This device, or this length, cannot be cut by the kernel.
        Err(_) => send_each(socket, to, train, segment_len),
        sent @ Ok(_) => sent,
    }
}

fn send_joined(
    socket: &UdpSocket,
    to: SocketAddr,
    train: &[u8],
    segment_len: usize,
) -> io::Result<usize> {
    let (name, name_len) = address::encode(to);
    let mut control = [0_u64; CONTROL_WORDS];
    let mut vector =
        libc::iovec { iov_base: train.as_ptr().cast_mut().cast(), iov_len: train.len() };
    let segment = u16::try_from(segment_len)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "no such packet"))?;
    // SAFETY: the buffer is aligned for a control message and has room for its header and two bytes; both are
    // plain numbers.
    let control_len = unsafe {
        let cmsg = control.as_mut_ptr().cast::<libc::cmsghdr>();
        (*cmsg).cmsg_level = libc::SOL_UDP;
        (*cmsg).cmsg_type = libc::UDP_SEGMENT;
        (*cmsg).cmsg_len = libc::CMSG_LEN(size_of_val(&segment) as u32) as _;
        libc::CMSG_DATA(cmsg).cast::<u16>().write_unaligned(segment);
        libc::CMSG_SPACE(size_of_val(&segment) as u32)
    };
    let mut header = blank();
    header.msg_name = (&raw const name).cast_mut().cast();
    header.msg_namelen = name_len;
    header.msg_iov = &raw mut vector;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = control_len as _;
    socket.try_io(Interest::WRITABLE, || {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: as for receiving; the call only reads what the header points to.
        let len = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, flags) };
        usize::try_from(len).map_err(|_| io::Error::last_os_error())
    })
}

fn blank() -> libc::msghdr {
    // SAFETY: a message header of zeros is valid: no name, no vectors, no control messages.
    unsafe { mem::zeroed() }
}
