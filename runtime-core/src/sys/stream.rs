//! Streams to local servers.

use super::{check, owned};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// socket(2) and connect(2): a stream to the socket of this name, which begins with NUL if it is no path. Waits
/// at most so long for a server that accepts nobody: EAGAIN.
pub(crate) fn connect(name: &[u8], patience: Duration) -> io::Result<UnixStream> {
    // SAFETY: plain bytes; zeroes are valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // A path ends with NUL.
    if name.is_empty() || name.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    for (place, byte) in address.sun_path.iter_mut().zip(name) {
        *place = *byte as libc::c_char;
    }
    let end = usize::from(name.first() != Some(&0));
    let length = std::mem::offset_of!(libc::sockaddr_un, sun_path) + name.len() + end;
    // SAFETY: no pointers.
    let socket =
        owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    let stream = UnixStream::from(socket);
    // connect(2) waits as sends do.
    stream.set_write_timeout(Some(patience.max(Duration::from_millis(1))))?;
    loop {
        // SAFETY: a valid address and its length.
        let r = unsafe {
            libc::connect(stream.as_raw_fd(), (&raw const address).cast(), length as libc::socklen_t)
        };
        match check(r.into()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(|_| stream),
        }
    }
}
