//! The kernel calls of an agent: taking a notification from a listener and answering it.
#![allow(unsafe_code)]

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    id: u64,
    /// The process, as the agent sees it.
    pub(crate) pid: i32,
    /// The call's number.
    pub(crate) call: i64,
}

/// Waits for the next call; none when nobody is left who could make one.
pub(crate) fn next(listener: &OwnedFd) -> io::Result<Option<Asked>> {
    loop {
        let mut watched = libc::pollfd { fd: listener.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one valid structure.
        if unsafe { libc::poll(&mut watched, 1, 30_000) } < 1 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if watched.revents & libc::POLLIN == 0 {
            return Ok(None);
        }
        // SAFETY: plain numbers; the kernel wants zeroes.
        let mut asked: libc::seccomp_notif = unsafe { MaybeUninit::zeroed().assume_init() };
        // SAFETY: a valid buffer of the request's type.
        let got = unsafe { libc::ioctl(watched.fd, libc::SECCOMP_IOCTL_NOTIF_RECV, &mut asked) };
        if got == 0 {
            return Ok(Some(Asked {
                id: asked.id,
                pid: asked.pid.cast_signed(),
                call: i64::from(asked.data.nr),
            }));
        }
        // Who asked was killed in between.
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ENOENT) {
            return Err(error);
        }
    }
}

/// Lets the kernel carry out the call, or makes it fail with `errno`.
pub(crate) fn answer(listener: &OwnedFd, asked: Asked, errno: Option<i32>) -> io::Result<()> {
    const CONTINUE: u32 = 1;
    let mut answer = libc::seccomp_notif_resp {
        id: asked.id,
        val: 0,
        error: errno.map_or(0, |n| -n),
        flags: if errno.is_some() { 0 } else { CONTINUE },
    };
    // SAFETY: a valid structure of the request's type.
    let sent =
        unsafe { libc::ioctl(listener.as_fd().as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, &mut answer) };
    match sent {
        0 => Ok(()),
        // Who asked is dead.
        _ => match io::Error::last_os_error() {
            e if e.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            e => Err(e),
        },
    }
}
