//! Sockets to the kernel's routing tables (netlink(7), rtnetlink(7)), in the caller's network namespace or another.
//!
//! What must hold: the calling thread never leaves its network namespace. A socket stays in the one it was made in,
//! and keeps that alive, so a thread that enters it, makes the socket and ends is enough.

use super::{check, owned};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

/// A socket in the network namespace of the calling thread.
pub(crate) fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let socket = owned(unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_ROUTE) }.into())?;
    // The kernel's own words on what failed, without the question; and it looks at what a question asks for.
    for option in [libc::NETLINK_EXT_ACK, libc::NETLINK_CAP_ACK, libc::NETLINK_GET_STRICT_CHK] {
        let (fd, on) = (socket.as_raw_fd(), 1i32);
        let (level, len) = (libc::SOL_NETLINK, size_of_val(&on) as libc::socklen_t);
        // SAFETY: a valid number with its size.
        let r = unsafe { libc::setsockopt(fd, level, option, (&raw const on).cast(), len) };
        check(r.into())?;
    }
    Ok(socket)
}

/// A socket in the network namespace of the process behind `pidfd`.
pub(crate) fn socket_of(pidfd: impl AsFd) -> io::Result<OwnedFd> {
    let process = pidfd.as_fd().try_clone_to_owned()?;
    let body = move || {
        // SAFETY: no pointers; the call changes this thread alone.
        check(unsafe { libc::setns(process.as_raw_fd(), libc::CLONE_NEWNET) }.into())?;
        socket()
    };
    // No handler of the embedding program is to run elsewhere.
    let mask = super::block_signals();
    let thread = std::thread::Builder::new().name("oxrun-netns".to_owned()).stack_size(64 << 10).spawn(body);
    super::restore_signals(mask);
    thread?.join().unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::Other)))
}

/// Sends one message to the kernel.
pub(crate) fn send(socket: impl AsFd, bytes: &[u8]) -> io::Result<()> {
    let fd = socket.as_fd().as_raw_fd();
    loop {
        // SAFETY: the pointer and the length of a live slice.
        let r = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) };
        match check(r as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(drop),
        }
    }
}

/// Receives one datagram, which may be of several messages, whatever its length.
pub(crate) fn receive(socket: impl AsFd) -> io::Result<Vec<u8>> {
    let fd = socket.as_fd().as_raw_fd();
    let get = |buf: &mut [u8], flags| loop {
        // SAFETY: a valid buffer with its length.
        let r = unsafe { libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), flags) };
        match check(r as libc::c_long) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            r => return r.map(|n| n as usize),
        }
    };
    let mut bytes = vec![0; get(&mut [], libc::MSG_PEEK | libc::MSG_TRUNC)?];
    let n = get(&mut bytes, 0)?;
    bytes.truncate(n);
    Ok(bytes)
}

/// The thread that the kernel is told of by its id.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: no arguments, cannot fail.
    (unsafe { libc::gettid() }) as u32
}
