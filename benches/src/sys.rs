//! The syscalls that std does not have, and all unsafe code of this program. What must hold: each
//! function is safe for any argument and turns -1 into an `io::Error`.

#![allow(unsafe_code)]

use std::ffi::CString;
use std::io::{Error, Result};
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
#[cfg(target_arch = "x86_64")]
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn check(result: i64) -> Result<i64> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

fn c_path(path: &Path) -> Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Orphans of the runtimes (a container's init) become our children.
pub(crate) fn become_subreaper() -> Result<()> {
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) })).map(drop)
}

/// From now on SIGINT and SIGTERM only set a flag: see [`interrupted`].
pub(crate) fn catch_interrupts() -> Result<()> {
    extern "C" fn handler(_: libc::c_int) {
        INTERRUPTED.store(true, Ordering::Relaxed);
    }
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: sigaction is plain data; the handler only stores to an atomic.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as *const () as usize;
            check(i64::from(libc::sigaction(signal, &raw const action, std::ptr::null_mut())))?;
        }
    }
    Ok(())
}

/// Whether the user asked us to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::Relaxed)
}

/// ptrace(2): executes a command step by step. Each address in `range` that it executes, in the order of the first time.
#[cfg(target_arch = "x86_64")]
pub(crate) fn trace(command: &mut Command, range: Range<u64>) -> Result<Vec<u64>> {
    let traceme = || {
        // SAFETY: no pointers; async-signal-safe.
        check(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) }).map(drop)
    };
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null());
    // SAFETY: one system call.
    let child = unsafe { command.pre_exec(traceme) }.spawn()?;
    let pid = i32::try_from(child.id()).map_err(Error::other)?;
    let mut seen = vec![false; usize::try_from(range.end - range.start).map_err(Error::other)?];
    let mut addresses = Vec::new();
    loop {
        let mut status = 0;
        // SAFETY: a valid buffer.
        check(i64::from(unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) }))?;
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            let failed = || Error::other(format!("ended with status {status:#x}"));
            return if status == 0 { Ok(addresses) } else { Err(failed()) };
        }
        // SAFETY: plain numbers; zeroes are valid.
        let mut registers: libc::user_regs_struct = unsafe { std::mem::zeroed() };
        // SAFETY: a valid buffer.
        check(unsafe { libc::ptrace(libc::PTRACE_GETREGS, pid, 0, &raw mut registers) })?;
        let offset = registers.rip.checked_sub(range.start).and_then(|n| usize::try_from(n).ok());
        if let Some(seen) = offset.and_then(|offset| seen.get_mut(offset))
            && !std::mem::replace(seen, true)
        {
            addresses.push(registers.rip);
        }
        let signal = Some(libc::WSTOPSIG(status)).filter(|signal| *signal != libc::SIGTRAP).unwrap_or(0);
        // SAFETY: no pointers.
        check(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, pid, 0, i64::from(signal)) })?;
    }
}

/// Written for x86_64 alone.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn trace(_: &mut Command, _: Range<u64>) -> Result<Vec<u64>> {
    Err(std::io::ErrorKind::Unsupported.into())
}

/// A pidfd of a process.
pub(crate) fn pidfd_open(pid: i32) -> Result<OwnedFd> {
    // SAFETY: no pointers; the fd is new and ours.
    unsafe {
        let fd = check(libc::syscall(libc::SYS_pidfd_open, pid, 0))?;
        Ok(OwnedFd::from_raw_fd(fd as i32))
    }
}

/// SIGKILL by pidfd.
pub(crate) fn kill(pidfd: &OwnedFd) -> Result<()> {
    let (fd, info) = (pidfd.as_raw_fd(), std::ptr::null::<libc::siginfo_t>());
    // SAFETY: the kernel takes a null siginfo.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, libc::SIGKILL, info, 0) };
    check(result).map(drop)
}

/// Waits until one of the fds is readable or the time is over; returns which are readable.
pub(crate) fn poll(fds: &[&OwnedFd], timeout: Duration) -> Result<Vec<bool>> {
    let mut list: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let ms = timeout.as_millis().try_into().unwrap_or(i32::MAX);
    // SAFETY: pointer and length belong to `list`.
    check(i64::from(unsafe { libc::poll(list.as_mut_ptr(), list.len() as libc::nfds_t, ms) }))?;
    Ok(list.iter().map(|entry| entry.revents != 0).collect())
}

/// A child that was reaped.
pub(crate) struct Reaped {
    /// Its pid.
    pub(crate) pid: i32,
    /// The status as wait4 gives it.
    pub(crate) status: i32,
    /// User and system time of it and of all children it reaped itself.
    pub(crate) cpu: Duration,
    /// The most memory that it, or one child it reaped, had resident, in KiB. What the process that made
    /// it had is the least there can be: the kernel counts the time before the exec.
    pub(crate) peak_kib: u64,
}

/// Reaps `pid` (-1: any child) if it has ended.
pub(crate) fn reap(pid: i32) -> Option<Reaped> {
    let mut status = 0;
    // SAFETY: rusage is plain data; both pointers are to locals.
    let (pid, usage) = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        (libc::wait4(pid, &raw mut status, libc::WNOHANG, &raw mut usage), usage)
    };
    (pid > 0).then(|| Reaped {
        pid,
        status,
        cpu: cpu(&usage),
        peak_kib: u64::try_from(usage.ru_maxrss).unwrap_or(0),
    })
}

fn cpu(usage: &libc::rusage) -> Duration {
    let time = |t: libc::timeval| {
        Duration::new(t.tv_sec.try_into().unwrap_or(0), 0)
            + Duration::from_micros(t.tv_usec.try_into().unwrap_or(0))
    };
    time(usage.ru_utime) + time(usage.ru_stime)
}

fn usage(who: libc::c_int) -> Result<libc::rusage> {
    // SAFETY: rusage is plain data; the pointer is to a local.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        check(i64::from(libc::getrusage(who, &raw mut usage)))?;
        Ok(usage)
    }
}

/// CPU time of this process, all its threads, and of the children it has reaped.
pub(crate) fn cpu_of_us_and_ours() -> Result<Duration> {
    Ok(cpu(&usage(libc::RUSAGE_SELF)?) + cpu(&usage(libc::RUSAGE_CHILDREN)?))
}

/// The most memory this process ever had resident, in KiB.
pub(crate) fn peak_kib() -> Result<u64> {
    Ok(u64::try_from(usage(libc::RUSAGE_SELF)?.ru_maxrss).unwrap_or(0))
}

/// CPU time that all threads of a living process have used so far.
pub(crate) fn cpu_of(pid: i32) -> Result<Duration> {
    // SAFETY: both pointers are to locals.
    unsafe {
        let mut clock = 0;
        match libc::clock_getcpuclockid(pid, &raw mut clock) {
            0 => {}
            errno => return Err(Error::from_raw_os_error(errno)),
        }
        let mut time: libc::timespec = std::mem::zeroed();
        check(i64::from(libc::clock_gettime(clock, &raw mut time)))?;
        Ok(Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0)))
    }
}

/// A mount namespace of our own; nothing that is mounted in it is seen outside.
pub(crate) fn private_mounts() -> Result<()> {
    // SAFETY: no pointers.
    check(i64::from(unsafe { libc::unshare(libc::CLONE_NEWNS) }))?;
    mount("none", Path::new("/"), "", libc::MS_REC | libc::MS_PRIVATE, "")
}

/// mount(2).
pub(crate) fn mount(source: &str, target: &Path, kind: &str, flags: u64, data: &str) -> Result<()> {
    let (source, target) = (CString::new(source)?, c_path(target)?);
    let (kind, data) = (CString::new(kind)?, CString::new(data)?);
    // SAFETY: all are C strings.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, data.as_ptr().cast()) };
    check(i64::from(result)).map(drop)
}

/// Detaches the mount at `target` with all below it.
pub(crate) fn detach(target: &Path) -> Result<()> {
    let target = c_path(target)?;
    // SAFETY: a C string.
    check(i64::from(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) })).map(drop)
}
