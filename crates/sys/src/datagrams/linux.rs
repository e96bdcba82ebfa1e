//! Whole batches with `recvmmsg` and `sendmmsg`.
//!
//! The message headers hold raw pointers into the batch's own arrays. They are written anew before
//! each call, so a batch can move between calls and no pointer outlives the borrow it came from.

use std::mem;
use std::os::fd::AsRawFd as _;
use std::ptr;

use super::{ANSWER_LEN_MAX, QUESTION_LEN_MAX, SocketAddr, UdpSocket, io};
use crate::{address, option};

/// Room for one control message with the address that a packet went to, and to spare: in 64-bit
/// words, for its alignment.
const CONTROL_WORDS: usize = 8;

/// Asks the system to tell, with each packet, the address that it went to. A socket that is bound to one
/// address needs no telling: that saves some of the system's time for each packet.
///
/// # Errors
/// Those of the system.
pub fn prepare(socket: &UdpSocket) -> io::Result<()> {
    let local = socket.local_addr()?;
    if !local.ip().is_unspecified() {
        return Ok(());
    }
    let (level, name) = match local {
        SocketAddr::V4(_) => (libc::IPPROTO_IP, libc::IP_PKTINFO),
        SocketAddr::V6(_) => (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO),
    };
    option::set(socket, level, name, 1)
}

/// Places for questions and their answers.
pub struct Batch {
    places: Vec<Place>,
    filled: usize,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
}

// SAFETY: the only fields that are not `Send` are raw pointers in `vectors` and `headers`, which are
// written before each call and never read after it.
unsafe impl Send for Batch {}

/// One question and its answer.
struct Place {
    from: libc::sockaddr_storage,
    from_len: libc::socklen_t,
    control: [u64; CONTROL_WORDS],
    control_len: usize,
    question: Box<[u8; QUESTION_LEN_MAX]>,
    /// `None` when it did not fit.
    question_len: Option<usize>,
    answer: Box<[u8; ANSWER_LEN_MAX]>,
    answer_len: usize,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("places", &self.places.len()).finish_non_exhaustive()
    }
}

impl Place {
    fn new() -> Self {
        Self {
            // SAFETY: a socket address of zeros is a valid value (of no family).
            from: unsafe { mem::zeroed() },
            from_len: 0,
            control: [0; CONTROL_WORDS],
            control_len: 0,
            question: Box::new([0; QUESTION_LEN_MAX]),
            question_len: None,
            answer: Box::new([0; ANSWER_LEN_MAX]),
            answer_len: 0,
        }
    }
}

impl Batch {
    /// A batch with that many places, at least one.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let places = places.max(1);
        Self {
            places: (0..places).map(|_| Place::new()).collect(),
            filled: 0,
            vectors: Vec::with_capacity(places),
            headers: Vec::with_capacity(places),
        }
    }

    /// Waits for packets, up to the socket's read timeout; tells how many came.
    ///
    /// # Errors
    /// Those of the system, see [`super::is_transient`].
    pub fn receive(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.filled = 0;
        self.vectors.clear();
        self.headers.clear();
        self.vectors.extend(self.places.iter_mut().map(|place| libc::iovec {
            iov_base: place.question.as_mut_ptr().cast(),
            iov_len: QUESTION_LEN_MAX,
        }));
        for (place, vector) in self.places.iter_mut().zip(&mut self.vectors) {
            let mut header = blank();
            header.msg_hdr.msg_name = (&raw mut place.from).cast();
            header.msg_hdr.msg_namelen = size_of_val(&place.from) as libc::socklen_t;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = place.control.as_mut_ptr().cast();
            header.msg_hdr.msg_controllen = size_of_val(&place.control) as _;
            self.headers.push(header);
        }
        // SAFETY: there are as many headers as the length says; each points to memory of this batch
        // that is as long as the header says, and nothing else touches it during the call.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                self.headers.len() as libc::c_uint,
                libc::MSG_WAITFORONE as _,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        for (place, header) in self.places.iter_mut().zip(&self.headers).take(count) {
            let is_cut = header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0;
            place.from_len = header.msg_hdr.msg_namelen;
            place.control_len = header.msg_hdr.msg_controllen;
            place.question_len = (!is_cut).then_some(header.msg_len as usize);
            place.answer_len = 0;
            forget_interface(&mut place.control, place.control_len);
        }
        self.filled = count;
        Ok(count)
    }

    /// The question at a place and who asks, if it is one that [`Batch::answer`] would have answered.
    #[must_use]
    pub fn question(&self, place: usize) -> Option<(SocketAddr, &[u8])> {
        let place = self.places[..self.filled].get(place)?;
        Some((address::decode(&place.from)?, place.question.get(..place.question_len?)?))
    }

    /// Has the question at a place answered: `answerer` gets the asker, the question and room for the
    /// answer, and tells the answer's length, 0 for silence.
    pub fn answer(
        &mut self,
        place: usize,
        answerer: impl FnOnce(SocketAddr, &[u8], &mut [u8]) -> usize,
    ) {
        let Some(place) = self.places[..self.filled].get_mut(place) else { return };
        let (Some(from), Some(len)) = (address::decode(&place.from), place.question_len) else {
            return;
        };
        let question = place.question.get(..len).unwrap_or_default();
        place.answer_len = answerer(from, question, &mut place.answer[..]).min(ANSWER_LEN_MAX);
    }

    /// The question at a place has no answer.
    #[must_use]
    pub fn is_silent(&self, place: usize) -> bool {
        self.places[..self.filled].get(place).is_none_or(|place| place.answer_len == 0)
    }

    /// Sends the answers; tells how many went out. An answer that cannot be delivered is left out.
    ///
    /// # Errors
    /// Those of the system, see [`super::is_transient`].
    pub fn send(&mut self, socket: &UdpSocket) -> io::Result<usize> {
        self.vectors.clear();
        self.headers.clear();
        let filled = mem::take(&mut self.filled);
        let answered = || self.places[..filled].iter().filter(|place| place.answer_len > 0);
        self.vectors.extend(answered().map(|place| libc::iovec {
            iov_base: place.answer.as_ptr().cast_mut().cast(),
            iov_len: place.answer_len,
        }));
        for (place, vector) in answered().zip(&mut self.vectors) {
            let mut header = blank();
            header.msg_hdr.msg_name = (&raw const place.from).cast_mut().cast();
            header.msg_hdr.msg_namelen = place.from_len;
            header.msg_hdr.msg_iov = vector;
            header.msg_hdr.msg_iovlen = 1;
            if place.control_len > 0 {
                header.msg_hdr.msg_control = place.control.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_controllen = place.control_len as _;
            }
            self.headers.push(header);
        }
        let mut sent = 0;
        let mut at = 0;
        while at < self.headers.len() {
            let rest = &mut self.headers[at..];
            // SAFETY: as for receiving; the call reads what the headers point to and writes only the
            // headers' own lengths.
            let count = unsafe {
                libc::sendmmsg(
                    socket.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_NOSIGNAL as _,
                )
            };
            match usize::try_from(count) {
                Ok(count) => {
                    sent += count;
                    at += count.max(1);
                }
                // The error is about the first of the rest: go on after it.
                Err(_) => at += 1,
            }
        }
        Ok(sent)
    }
}

fn blank() -> libc::mmsghdr {
    // SAFETY: a message header of zeros is valid: no name, no vectors, no control messages.
    unsafe { mem::zeroed() }
}

/// An answer leaves by whatever interface its route has; only its source address is given. (Answers
/// to link-local askers find their interface by the asker's scope.)
fn forget_interface(control: &mut [u64; CONTROL_WORDS], len: usize) {
    let header_len = size_of::<libc::cmsghdr>();
    if len < header_len {
        return;
    }
    // SAFETY: the buffer is longer than a header and aligned for it; any bytes are a valid header.
    let header = unsafe { ptr::read(control.as_ptr().cast::<libc::cmsghdr>()) };
    let payload = len - header_len;
    // SAFETY: a control message's data follows its header, both are inside the buffer (checked by the
    // sizes), and the fields are plain numbers. Unaligned writes do not need more.
    unsafe {
        let data = control.as_mut_ptr().cast::<u8>().add(header_len);
        let is_v4 = (header.cmsg_level, header.cmsg_type) == (libc::IPPROTO_IP, libc::IP_PKTINFO);
        let is_v6 =
            (header.cmsg_level, header.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
        if is_v4 && payload >= size_of::<libc::in_pktinfo>() {
            let info = data.cast::<libc::in_pktinfo>();
            (&raw mut (*info).ipi_ifindex).write_unaligned(0);
        } else if is_v6 && payload >= size_of::<libc::in6_pktinfo>() {
            let info = data.cast::<libc::in6_pktinfo>();
            (&raw mut (*info).ipi6_ifindex).write_unaligned(0);
        }
    }
}
