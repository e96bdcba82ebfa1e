//! Sends many UDP packets with one call, each from a local address of choice, and takes answers in.
//!
//! For the load tester: one socket bound to all addresses is as many clients as there are addresses of
//! this machine (all of 127.0.0.0/8 is). Neighbouring packets of one length from one address can be
//! one message, which the system cuts (`UDP_SEGMENT`): then sending costs a fraction of receiving,
//! and it is the server that is measured. Linux only.

use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::ptr;

use crate::address;

/// Bytes of one packet that are kept on receiving.
pub const PACKET_LEN_MAX: usize = 2_048;

/// Packets in one message at most: below what every system that cuts messages allows.
pub const SEGMENTS_MAX: usize = 32;

/// 64-bit words for two control messages, the source address and the length of a packet.
const CONTROL_WORDS: usize = 12;

/// Messages that wait to be sent.
pub struct Volley {
    messages: Vec<Message>,
    filled: usize,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

/// Some packets of one length from one address.
struct Message {
    payload: Vec<u8>,
    control: [u64; CONTROL_WORDS],
    control_len: usize,
}

/// Places for packets that came.
pub struct Inbox {
    buffers: Vec<[u8; PACKET_LEN_MAX]>,
    lens: Vec<usize>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the only fields that are not `Send` are raw pointers, written before each call and never read
// after it.
unsafe impl Send for Volley {}
// SAFETY: as above.
unsafe impl Send for Inbox {}

impl std::fmt::Debug for Volley {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Volley").field("filled", &self.filled).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Inbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").field("places", &self.buffers.len()).finish_non_exhaustive()
    }
}

impl Volley {
    /// Room for that many messages.
    #[must_use]
    pub fn new(messages: usize) -> Self {
        let message =
            || Message { payload: Vec::new(), control: [0; CONTROL_WORDS], control_len: 0 };
        Self {
            messages: std::iter::repeat_with(message).take(messages.max(1)).collect(),
            filled: 0,
            vectors: Vec::new(),
            headers: Vec::new(),
        }
    }

    /// No message finds room any more.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.filled == self.messages.len()
    }

    /// Adds a message from `source` whose packets have `packet_len` bytes each, at most
    /// [`SEGMENTS_MAX`] of them; `write` appends them. False when there was no room.
    pub fn push(
        &mut self,
        source: IpAddr,
        packet_len: usize,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> bool {
        let Some(message) = self.messages.get_mut(self.filled) else { return false };
        message.payload.clear();
        write(&mut message.payload);
        message.control_len = 0;
        match source {
            IpAddr::V4(ip) => {
                let mut info = [0; size_of::<libc::in_pktinfo>()];
                info[4..8].copy_from_slice(&ip.octets());
                message.control(libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            IpAddr::V6(ip) => {
                let mut info = [0; size_of::<libc::in6_pktinfo>()];
                info[..16].copy_from_slice(&ip.octets());
                message.control(libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
        if message.payload.len() > packet_len {
            let len = (packet_len as u16).to_ne_bytes();
            message.control(libc::SOL_UDP, libc::UDP_SEGMENT, &len);
        }
        self.filled += 1;
        true
    }

    /// Sends the messages. Those that the system does not take are lost, as packets may be.
    pub fn send(&mut self, socket: &UdpSocket, to: SocketAddr) {
        let (to, to_len) = address::encode(to);
        self.vectors.clear();
        self.headers.clear();
        let messages = &mut self.messages[..mem::take(&mut self.filled)];
        self.vectors.extend(messages.iter_mut().map(|message| libc::iovec {
            iov_base: message.payload.as_mut_ptr().cast(),
            iov_len: message.payload.len(),
        }));
        for (message, vector) in messages.iter_mut().zip(&mut self.vectors) {
            let mut header = blank();
            header.msg_hdr.msg_name = (&raw const to).cast_mut().cast();
            header.msg_hdr.msg_namelen = to_len;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = message.control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = message.control_len as _;
            self.headers.push(header);
        }
        let mut at = 0;
        while at < self.headers.len() {
            let rest = &mut self.headers[at..];
            // SAFETY: there are as many headers as the length says; each points to memory that is as long
            // as it says and lives through the call, which writes the headers' own lengths only.
            let count = unsafe {
                libc::sendmmsg(socket.as_raw_fd(), rest.as_mut_ptr(), rest.len() as libc::c_uint, 0)
            };
            // An error is about the first of the rest.
            at += usize::try_from(count).unwrap_or(0).max(1);
        }
    }
}

impl Message {
    /// Adds a control message, aligned as the system wants it.
    fn control(&mut self, level: libc::c_int, kind: libc::c_int, data: &[u8]) {
        let header_len = size_of::<libc::cmsghdr>();
        let start = self.control_len;
        let end = start + (header_len + data.len()).next_multiple_of(size_of::<usize>());
        assert!(end <= size_of_val(&self.control), "there is room for the two that are used");
        // SAFETY: the header of zeros is valid.
        let mut header: libc::cmsghdr = unsafe { mem::zeroed() };
        header.cmsg_len = (header_len + data.len()) as _;
        header.cmsg_level = level;
        header.cmsg_type = kind;
        // SAFETY: header and data fit, as asserted; the destination is this message's own array.
        unsafe {
            let place = self.control.as_mut_ptr().cast::<u8>().add(start);
            place.cast::<libc::cmsghdr>().write_unaligned(header);
            ptr::copy_nonoverlapping(data.as_ptr(), place.add(header_len), data.len());
        }
        self.control_len = end;
    }
}

impl Inbox {
    /// Room for that many packets.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let buffers = std::iter::repeat_with(|| [0; PACKET_LEN_MAX]);
        let buffers = buffers.take(places.max(1)).collect();
        Self { buffers, lens: Vec::new(), vectors: Vec::new(), headers: Vec::new() }
    }

    /// No room at all and no memory: to stand in for one that is being read.
    #[must_use]
    pub const fn empty() -> Self {
        Self { buffers: Vec::new(), lens: Vec::new(), vectors: Vec::new(), headers: Vec::new() }
    }

    /// Takes in what has come, without waiting for more.
    ///
    /// # Errors
    /// Those of the system, but for there being nothing.
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<()> {
        self.lens.clear();
        self.vectors.clear();
        self.headers.clear();
        self.vectors.extend(self.buffers.iter_mut().map(|buffer| libc::iovec {
            iov_base: buffer.as_mut_ptr().cast(),
            iov_len: PACKET_LEN_MAX,
        }));
        for vector in &mut self.vectors {
            let mut header = blank();
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            self.headers.push(header);
        }
        // SAFETY: as for sending; each buffer is as long as its header says.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                ptr::null_mut(),
            )
        };
        let Ok(count) = usize::try_from(count) else {
            let error = io::Error::last_os_error();
            return if crate::datagrams::is_transient(&error) { Ok(()) } else { Err(error) };
        };
        self.lens.extend(self.headers[..count].iter().map(|header| header.msg_len as usize));
        Ok(())
    }

    /// What came at last.
    pub fn packets(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.lens.iter().zip(&self.buffers).map(|(len, buffer)| &buffer[..*len])
    }
}

fn blank() -> libc::mmsghdr {
    // SAFETY: a message header of zeros is valid: no name, no vectors, no control messages.
    unsafe { mem::zeroed() }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends five packets of three bytes from one address and one from another, and has them echoed.
    fn check(bind: &str, sources: [&str; 2], to: &str) {
        let Ok(server) = UdpSocket::bind((to, 0)) else { return };
        server.set_read_timeout(Some(Duration::from_secs(5))).expect("it is allowed");
        let client = UdpSocket::bind((bind, 0)).expect("it is free");
        let mut volley = Volley::new(2);
        let sources = sources.map(|source| source.parse::<IpAddr>().expect("an address"));
        assert!(volley.push(sources[0], 3, |out| out.extend_from_slice(b"aaabbbcccdddeee")));
        assert!(volley.push(sources[1], 3, |out| out.extend_from_slice(b"fff")));
        assert!(!volley.push(sources[1], 3, |_| panic!("there is no room")));
        volley.send(&client, server.local_addr().expect("it is bound"));
        let mut came = Vec::new();
        for _ in 0..6 {
            let mut buffer = [0; 16];
            let (len, from) = server.recv_from(&mut buffer).expect("it was sent");
            assert_eq!(from.ip(), sources[usize::from(&buffer[..len] == b"fff")]);
            came.push(buffer[..len].to_vec());
            server.send_to(&buffer[..len], from).expect("it can be answered");
        }
        let expected = ["aaa", "bbb", "ccc", "ddd", "eee", "fff"];
        assert_eq!(came, expected.map(|word| word.as_bytes().to_vec()));
        let mut inbox = Inbox::new(4);
        let mut back = Vec::new();
        // They are there already: on loopback a packet is delivered before the call ends.
        for _ in 0..2 {
            inbox.receive(&client).expect("the socket is whole");
            back.extend(inbox.packets().map(<[u8]>::to_vec));
        }
        assert_eq!(back, came);
    }

    #[test]
    fn packets_come_from_the_addresses_that_were_named() {
        check("0.0.0.0", ["127.1.2.3", "127.3.2.1"], "127.0.0.1");
        check("::", ["::1", "::1"], "::1");
    }
}
