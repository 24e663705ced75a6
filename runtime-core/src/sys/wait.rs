//! How processes end: children by waitid(2), others by what the kernel tells through a pidfd.

use super::{check, fd_of, pidfd_signal, poll_exit, read_record};
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(i32),
    /// A signal killed it.
    Signaled(i32),
    /// Somebody else reaped it and the kernel does not remember (before 6.15).
    Unknown,
}

impl ExitStatus {
    /// What wait(2) calls the status: the code in the second byte, the signal in the first.
    fn of(status: i32) -> ExitStatus {
        match status & 0x7f {
            0 => ExitStatus::Exited((status >> 8) & 0xff),
            signal => ExitStatus::Signaled(signal),
        }
    }
}

/// Waits for a process to end: waitid(P_PIDFD), which reaps it, for a child. How another one ended the kernel tells
/// from 6.15 on, and as long as nobody has reaped it.
pub(crate) fn wait(pidfd: impl AsFd) -> io::Result<ExitStatus> {
    let fd = pidfd.as_fd().as_raw_fd();
    loop {
        // SAFETY: plain numbers; zeroes are valid.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WEXITED | libc::__WALL;
        // SAFETY: a valid buffer.
        let r = unsafe { libc::waitid(libc::P_PIDFD, fd as libc::id_t, &raw mut info, flags) };
        if r == 0 {
            // SAFETY: waitid filled the child's part.
            let status = unsafe { info.si_status() };
            return Ok(match info.si_code {
                libc::CLD_EXITED => ExitStatus::Exited(status),
                _ => ExitStatus::Signaled(status),
            });
        }
        let e = io::Error::last_os_error();
        match e.raw_os_error() {
            Some(libc::EINTR) => {}
            Some(libc::ECHILD) => {
                poll_exit(fd_of(fd), None)?;
                return Ok(told(fd_of(fd)));
            }
            _ => return Err(e),
        }
    }
}

/// The same, for so many milliseconds: whoever stands still in a freezer of v1 does not end, killed or not.
/// [`ExitStatus::Unknown`] if it did not; a child then stays to be reaped.
pub(crate) fn wait_within(pidfd: impl AsFd, millis: i32) -> io::Result<ExitStatus> {
    match poll_exit(pidfd.as_fd(), Some(millis)) {
        Ok(false) => Ok(ExitStatus::Unknown),
        _ => wait(pidfd),
    }
}

/// How somebody else's child ended, that has.
fn told(pidfd: BorrowedFd<'_>) -> ExitStatus {
    // The kernel tells once it is reaped; until then /proc does. It may be reaped in between.
    remembered(pidfd).or_else(|| zombie(pidfd)).or_else(|| remembered(pidfd)).unwrap_or(ExitStatus::Unknown)
}

/// `struct pidfd_info` in its first version (linux/pidfd.h).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: `_IOWR(0xff, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::Ioctl = (3 << 30 | size_of::<PidfdInfo>() << 16 | 0xff << 8 | 11) as libc::Ioctl;

/// `PIDFD_INFO_EXIT`.
const EXIT: u64 = 1 << 3;

/// ioctl(PIDFD_GET_INFO): what the kernel remembers of one that was reaped.
fn remembered(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    // SAFETY: a valid structure of the size that the request says.
    let r = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
    (check(r.into()).is_ok() && info.mask & EXIT != 0).then(|| ExitStatus::of(info.exit_code))
}

/// Field 52 of /proc/PID/stat, of one that nobody has reaped.
fn zombie(pidfd: BorrowedFd<'_>) -> Option<ExitStatus> {
    let info = read_record(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd())).ok()?;
    let pid: u32 = info.lines().find_map(|l| l.strip_prefix("Pid:\t"))?.trim().parse().ok()?;
    let stat = read_record(format!("/proc/{pid}/stat")).ok()?;
    // The name may contain blanks and parentheses: the last one ends it. What follows begins with field 3.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split_whitespace().collect();
    // The status of one that this process may not look at is said to be 0.
    let looked = std::fs::read_link(format!("/proc/{pid}/ns/pid"));
    if looked.is_err_and(|e| e.raw_os_error() == Some(libc::EACCES)) {
        return None;
    }
    let status = fields.get(49)?.parse().ok().filter(|_| fields.first() == Some(&"Z"))?;
    // If it is still there, the number was not given to another one before.
    pidfd_signal(pidfd, 0).ok().map(|()| ExitStatus::of(status))
}
