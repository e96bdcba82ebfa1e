//! Options of sockets that the standard library does not know.

use std::io;
use std::os::fd::AsRawFd;

/// Sets an option whose value is a number.
pub(crate) fn set(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = size_of_val(&value) as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: the pointer and the length are those of the argument, which lives through the call.
    let status = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, value, len) };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
