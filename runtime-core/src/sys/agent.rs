//! System calls for the listener of a filter and the agent that gets it.

use super::{check, owned};
use std::io;
use std::mem::offset_of;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;
use std::time::Duration;

/// An address in the filesystem, and its length.
fn address(path: &Path) -> io::Result<(libc::sockaddr_un, libc::socklen_t)> {
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
    Ok((address, (offset_of!(libc::sockaddr_un, sun_path) + bytes.len() + 1) as libc::socklen_t))
}

/// socket(2) of the domain AF_UNIX.
fn socket(kind: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    owned(unsafe { libc::socket(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0) }.into())
}

/// setsockopt(2) at the level of sockets.
fn set<T>(socket: &OwnedFd, name: libc::c_int, value: &T) -> io::Result<()> {
    let (fd, len) = (socket.as_raw_fd(), size_of::<T>() as libc::socklen_t);
    // SAFETY: a valid value with its size.
    check(unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, name, ptr::from_ref(value).cast(), len) }.into())
        .map(drop)
}

/// bind(2), listen(2): a socket for messages, in a directory that may have any path.
pub(crate) fn listen(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let socket = socket(libc::SOCK_SEQPACKET)?;
    let (address, len) = address(&in_directory(dir, name))?;
    let fd = socket.as_raw_fd();
    // SAFETY: a valid structure; its path ends with a NUL inside the length.
    check(unsafe { libc::bind(fd, (&raw const address).cast(), len) }.into())?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd, 1) }.into())?;
    Ok(socket)
}

/// connect(2) to the same. What comes says which process sent it.
pub(crate) fn connect_to(dir: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let socket = socket(libc::SOCK_SEQPACKET)?;
    tell_senders(&socket)?;
    connect_socket(&socket, &in_directory(dir, name))?;
    Ok(socket)
}

/// The path of a name in an open directory: that of a socket may have 107 bytes only.
fn in_directory(dir: impl AsFd, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/{name}", dir.as_fd().as_raw_fd()))
}

/// setsockopt(SO_PASSCRED): with each message comes who sent it.
pub(crate) fn tell_senders(socket: &OwnedFd) -> io::Result<()> {
    set(socket, libc::SO_PASSCRED, &1i32)
}

/// A message with a descriptor.
pub(crate) struct Sent {
    /// How many bytes it has.
    pub(crate) len: usize,
    pub(crate) fd: Option<OwnedFd>,
    /// The process that sent it, as this process's pid namespace counts.
    pub(crate) pid: Option<u32>,
}

/// Receives one message. No bytes at the end of the stream.
pub(crate) fn receive(socket: impl AsFd, buf: &mut [u8]) -> io::Result<Sent> {
    let mut control = [0u64; 16];
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: null pointers and zeroes are a valid empty header.
    let mut msg: libc::msghdr = unsafe { std::mem::zeroed() };
    (msg.msg_iov, msg.msg_iovlen) = (&raw mut iov, 1);
    msg.msg_control = control.as_mut_ptr().cast();
    msg.msg_controllen = size_of_val(&control) as _;
    let len = loop {
        // SAFETY: all buffers live until the call returns.
        let r = unsafe { libc::recvmsg(socket.as_fd().as_raw_fd(), &raw mut msg, libc::MSG_CMSG_CLOEXEC) };
        match check(r as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.raw_os_error() == Some(libc::ECONNRESET) => break 0,
            r => break r? as usize,
        }
    };
    let mut sent = Sent { len, fd: None, pid: None };
    // SAFETY: the header and control buffer were filled by the kernel.
    let mut header = unsafe { libc::CMSG_FIRSTHDR(&raw const msg) };
    while !header.is_null() {
        // SAFETY: a non-null header inside the control buffer, whose data is what its type says: one descriptor, for
        // which alone there is room in a message of init, or credentials.
        unsafe {
            let data = libc::CMSG_DATA(header);
            match (*header).cmsg_type {
                libc::SCM_RIGHTS => sent.fd = Some(owned(data.cast::<RawFd>().read_unaligned().into())?),
                libc::SCM_CREDENTIALS => {
                    sent.pid = u32::try_from(data.cast::<libc::ucred>().read_unaligned().pid).ok();
                }
                _ => {}
            }
            header = libc::CMSG_NXTHDR(&raw const msg, header);
        }
    }
    Ok(sent)
}

/// A connection to a stream socket of the filesystem. Neither this nor sending waits longer than `seconds` for who
/// listens: then they fail with EAGAIN.
pub(crate) fn connect(path: &Path, seconds: u64) -> io::Result<OwnedFd> {
    super::connect(path.as_os_str().as_bytes(), Duration::from_secs(seconds)).map(OwnedFd::from)
}

fn connect_socket(socket: &OwnedFd, path: &Path) -> io::Result<()> {
    let (address, len) = address(path)?;
    loop {
        // SAFETY: a valid structure; its path ends with a NUL inside the length.
        match check(unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) }.into()) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(drop),
        }
    }
}
