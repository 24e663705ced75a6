//! System calls about a child process and what it is given. What is called while the child's last note
//! stands on the fault page leaves that note.

use super::{Errno, Fd, call, short, unnoted};
use crate::kernel::{nr, *};
use core::ffi::CStr;

/// `getpid(2)`: as this process's own namespace counts.
pub fn getpid() -> u32 {
    sc!(nr::GETPID).unwrap_or(0) as u32
}

/// `personality(2)`.
pub fn personality(domain: u32) -> Result<usize, Errno> {
    sc!(nr::PERSONALITY, domain)
}

/// `memfd_create(2)`, close-on-exec.
pub fn memfd(name: &CStr) -> Result<Fd, Errno> {
    sc!(nr::MEMFD_CREATE, name.as_ptr(), MFD_CLOEXEC).map(Fd::own)
}

/// `pwrite(2)` of everything: the file's own position stays.
pub fn write_at(fd: &Fd, mut bytes: &[u8], mut at: usize) -> Result<usize, Errno> {
    while !bytes.is_empty() {
        let n = sc!(nr::PWRITE64, fd.raw(), bytes.as_ptr(), bytes.len(), at)?;
        bytes = bytes.get(n..).unwrap_or(b"");
        at += n;
    }
    Ok(at)
}

/// `pread(2)` from the start.
pub fn read_start(fd: &Fd, buf: &mut [u8]) -> usize {
    let args = [fd.raw() as usize, buf.as_mut_ptr() as usize, buf.len(), 0, 0, 0];
    unnoted(nr::PREAD64, args).unwrap_or(0).min(buf.len())
}

/// `ppoll(2)`: without end if `seconds` is 0. Whether anything happened.
pub fn poll(fds: &mut [PollFd], seconds: u64) -> Result<bool, Errno> {
    let mut time = [seconds.min(i64::MAX as u64), 0u64];
    let limit = if seconds == 0 { 0 } else { time.as_mut_ptr() as usize };
    let args = [fds.as_mut_ptr() as usize, fds.len(), limit, 0, 8, 0];
    loop {
        // The kernel writes what is left of the time.
        match unnoted(nr::PPOLL, args) {
            Err(Errno(EINTR)) => {}
            r => return r.map(|n| n != 0),
        }
    }
}

/// `pidfd_send_signal(SIGKILL)`.
pub fn kill(pidfd: &Fd) {
    let args = [pidfd.raw() as usize, SIGKILL as usize, 0, 0, 0, 0];
    let _ = unnoted(nr::PIDFD_SEND_SIGNAL, args);
}

/// `waitid(P_PIDFD)`: how the process ended (`CLD_...`) and its exit status or signal.
pub fn wait(pidfd: &Fd) -> Result<(u32, u32), Errno> {
    let mut info = SigInfo::default();
    let at = (&raw mut info) as usize;
    let args = [P_PIDFD as usize, pidfd.raw() as usize, at, WEXITED as usize, 0, 0];
    loop {
        match unnoted(nr::WAITID, args) {
            Err(Errno(EINTR)) => {}
            r => return r.map(|_| (info.code as u32, info.status as u32)),
        }
    }
}
