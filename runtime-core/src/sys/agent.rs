//! System calls for the listener of a filter and the agent that gets it.

use super::{check, owned};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// pipe2(2): the reading and the writing end.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) }.into())?;
    Ok((owned(fds[0].into())?, owned(fds[1].into())?))
}

/// fcntl(F_SETPIPE_SZ): makes a pipe as small as the kernel has them, one page.
pub(crate) fn smallest_pipe(pipe: impl AsFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::fcntl(pipe.as_fd().as_raw_fd(), libc::F_SETPIPE_SZ, 1) }.into()).map(drop)
}

/// pidfd_getfd(2): a descriptor of another process, by its number there.
pub(crate) fn descriptor_of(pidfd: impl AsFd, number: u32) -> io::Result<OwnedFd> {
    let fd = pidfd.as_fd().as_raw_fd();
    // SAFETY: no pointers.
    owned(unsafe { libc::syscall(libc::SYS_pidfd_getfd, fd, number, 0) })
}

/// socket(2) and connect(2) to a stream socket of the filesystem. Neither this nor sending waits longer than
/// `seconds` for who listens: then they fail with EAGAIN.
pub(crate) fn connect(path: &Path, seconds: i64) -> io::Result<OwnedFd> {
    // SAFETY: plain bytes; zeroes are valid.
    let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
    let bytes = path.as_os_str().as_bytes();
    if bytes.len() >= address.sun_path.len() {
        return Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG));
    }
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    for (slot, byte) in address.sun_path.iter_mut().zip(bytes) {
        *slot = *byte as libc::c_char;
    }
    // SAFETY: no pointers.
    let socket =
        owned(unsafe { libc::socket(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    let fd = socket.as_raw_fd();
    let time = libc::timeval { tv_sec: seconds, tv_usec: 0 };
    let len = size_of_val(&time) as libc::socklen_t;
    let (level, name) = (libc::SOL_SOCKET, libc::SO_SNDTIMEO);
    // SAFETY: a valid structure with its size.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const time).cast(), len) }.into())?;
    let len = (offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + 1) as libc::socklen_t;
    loop {
        // SAFETY: a valid structure; its path ends with a NUL inside the length.
        match check(unsafe { libc::connect(fd, (&raw const address).cast(), len) }.into()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(|_| socket),
        }
    }
}
