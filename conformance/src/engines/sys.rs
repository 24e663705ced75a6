//! Every block here is one system call with arguments that live longer than the call. Nothing
//! else in the engine suite needs `unsafe`.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

pub(super) use crate::sys::{block_signals, poll};

fn check(ret: libc::c_int) -> io::Result<libc::c_int> {
    if ret < 0 { Err(io::Error::last_os_error()) } else { Ok(ret) }
}

fn own(ret: libc::c_int) -> io::Result<OwnedFd> {
    let fd: RawFd = check(ret)?;
    // SAFETY: the kernel has just returned this descriptor and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Leaves the namespaces named by `flags`. With `CLONE_NEWPID` only later children are affected.
pub(super) fn unshare(flags: libc::c_int) -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// `mount(2)`.
pub(super) fn mount(
    source: &str,
    target: &str,
    fstype: &str,
    flags: libc::c_ulong,
    data: &str,
) -> io::Result<()> {
    let [source, target, fstype, data] = [source, target, fstype, data].map(CString::new);
    let (source, target, fstype, data) = (source?, target?, fstype?, data?);
    // SAFETY: four strings that end in a zero byte and outlive the call.
    check(unsafe {
        libc::mount(source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr().cast())
    })
    .map(drop)
}

/// A descriptor that becomes readable when the process ends.
pub(super) fn pidfd(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointer. The value fits: descriptors are small integers.
    own(unsafe { libc::syscall(libc::SYS_pidfd_open, pid as libc::pid_t, 0) } as libc::c_int)
}

/// Gives every signal its default action, so that a daemon does not inherit what a shell ignored.
/// The C library refuses to touch two of them, the kernel does not.
pub(super) fn reset_signals() {
    // Handler SIG_DFL, no flags, no restorer, empty mask: all zero, on every architecture.
    let default = [0u64; 4];
    for signal in 1..=64 {
        // SAFETY: the kernel reads its sigaction, at most 32 bytes, from `default` and installs
        // no handler. The two signals that may not be changed give an error.
        unsafe {
            libc::syscall(libc::SYS_rt_sigaction, signal, default.as_ptr(), std::ptr::null_mut::<u64>(), 8)
        };
    }
}

/// The calling process is killed when its parent ends.
pub(super) fn die_with_parent() -> io::Result<()> {
    // SAFETY: takes no pointer.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

/// A pseudo terminal of 80 columns and 24 lines: our end and the program's end.
pub(super) fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let (mut ours, mut theirs) = (-1, -1);
    let size = libc::winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: two integers to write to, no name wanted, default settings, a size to read.
    check(unsafe { libc::openpty(&mut ours, &mut theirs, std::ptr::null_mut(), std::ptr::null(), &size) })?;
    let (ours, theirs) = (own(ours)?, own(theirs)?);
    for fd in [&ours, &theirs] {
        // SAFETY: takes no pointer.
        check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFD, libc::FD_CLOEXEC) })?;
    }
    Ok((ours, theirs))
}

/// Changes the size of a pseudo terminal; its foreground processes get SIGWINCH.
pub(super) fn resize(terminal: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel reads one winsize, which outlives the call.
    check(unsafe { libc::ioctl(terminal.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) }).map(drop)
}
