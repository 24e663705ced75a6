//! The few kernel calls that std lacks. Each takes and returns ordinary values; a descriptor is
//! owned by exactly one `OwnedFd` or guard, so that nothing of a test leaks into the next one.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Whether the caller is root.
#[must_use]
pub fn is_root() -> bool {
    // SAFETY: geteuid has no arguments.
    unsafe { libc::geteuid() == 0 }
}

/// Gives the calling process a mount namespace of its own, cut off from the one it had. Must be
/// called before the process has a second thread.
///
/// # Errors
/// What the kernel answers.
pub fn private_mounts() -> io::Result<()> {
    // SAFETY: the call takes a number only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    propagation(Path::new("/"), libc::MS_REC | libc::MS_PRIVATE)
}

/// Sets the propagation of a mount (`MS_SHARED`, `MS_PRIVATE` and so on).
///
/// # Errors
/// What the kernel answers.
pub fn propagation(target: &Path, flags: libc::c_ulong) -> io::Result<()> {
    mount(Path::new("none"), target, "", flags)
}

/// `mount(2)` without data.
///
/// # Errors
/// What the kernel answers.
pub fn mount(source: &Path, target: &Path, kind: &str, flags: libc::c_ulong) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    let kind = CString::new(kind)?;
    // SAFETY: all three strings end in NUL and live until the call returns.
    let result =
        unsafe { libc::mount(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, std::ptr::null()) };
    check(result).map(drop)
}

/// Detaches a mount.
///
/// # Errors
/// What the kernel answers.
pub fn unmount(target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: the path ends in NUL.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Exchanges two names of one filesystem.
///
/// # Errors
/// What the kernel answers.
pub fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    let (one, other) = (c_path(one)?, c_path(other)?);
    // SAFETY: both paths end in NUL.
    let result = unsafe {
        libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE)
    };
    check(result).map(drop)
}

/// Enters the namespace at a path; a pid namespace is that of later children.
///
/// # Errors
/// What the kernel answers.
pub fn enter(path: &Path) -> io::Result<()> {
    let file = std::fs::File::open(path)?;
    // SAFETY: the descriptor is open; 0 takes a namespace of any kind.
    check(unsafe { libc::setns(file.as_raw_fd(), 0) }).map(drop)
}

/// Makes orphaned descendants children of the calling process.
///
/// # Errors
/// What the kernel answers.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }).map(drop)
}

/// Sends a signal to one process.
///
/// # Errors
/// What the kernel answers.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    if pid <= 1 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// A descriptor that becomes readable when the process ends.
///
/// # Errors
/// What the kernel answers, `ESRCH` if there is no such process.
pub fn pidfd(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: the call takes numbers only.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Waits until a descriptor is readable; false if the time is over first.
///
/// # Errors
/// What the kernel answers.
pub fn readable(fd: BorrowedFd<'_>, within: Duration) -> io::Result<bool> {
    let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let timeout = i32::try_from(within.as_millis()).unwrap_or(i32::MAX);
    loop {
        // SAFETY: the pointer is one valid pollfd.
        match check(unsafe { libc::poll(&mut entry, 1, timeout) }) {
            Ok(count) => return Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Waits until one of `fds` is readable or hung up. All `false` means that the time is over.
///
/// # Errors
/// What the kernel answers.
pub fn poll(fds: &[BorrowedFd<'_>], limit: Duration) -> io::Result<Vec<bool>> {
    let mut set: Vec<libc::pollfd> =
        fds.iter().map(|fd| libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 }).collect();
    let millis = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
    loop {
        // SAFETY: the pointer and the length describe `set`, which outlives the call.
        match check(unsafe { libc::poll(set.as_mut_ptr(), set.len() as libc::nfds_t, millis) }) {
            Ok(_) => return Ok(set.iter().map(|p| p.revents != 0).collect()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Blocks INT, TERM and HUP and returns a descriptor that is readable when one is pending.
///
/// # Errors
/// What the kernel answers.
pub fn block_signals() -> io::Result<OwnedFd> {
    // SAFETY: `set` is plain data, filled by sigemptyset before any other use, and the descriptor
    // is the kernel's newest.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut());
        check(libc::signalfd(-1, &set, libc::SFD_CLOEXEC)).map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// Makes the kernel kill the program that `command` starts when the thread that starts it ends.
pub fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one system call, which takes numbers only, and allocates nothing.
    unsafe {
        command.pre_exec(|| check(libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL)).map(drop));
    }
}

/// Collects the status of a child that has ended: the exit code, or 128 and the signal's number.
/// `None` if it has not ended. Pid -1 is any child.
///
/// # Errors
/// What the kernel answers, `ECHILD` if there is no such child.
pub fn reap(pid: i32) -> io::Result<Option<(i32, i32)>> {
    let mut status = 0;
    // SAFETY: the pointer is valid for writes.
    let pid = check(unsafe { libc::waitpid(pid, &mut status, libc::WNOHANG) })?;
    if pid == 0 {
        return Ok(None);
    }
    let code =
        if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
    Ok(Some((pid, code)))
}

/// A descriptor with a chosen number that programs started meanwhile inherit.
#[derive(Debug)]
pub struct Inherited(RawFd);

impl Inherited {
    /// Opens `path` as descriptor `number`.
    ///
    /// # Errors
    /// If the number is taken, or what the kernel answers.
    pub fn open(path: &Path, number: RawFd) -> io::Result<Self> {
        // SAFETY: F_GETFD takes any number.
        if unsafe { libc::fcntl(number, libc::F_GETFD) } >= 0 {
            return Err(io::Error::other(format!("descriptor {number} is in use")));
        }
        let file = std::fs::File::open(path)?;
        if file.as_raw_fd() == number {
            // SAFETY: the descriptor is open; without FD_CLOEXEC programs inherit it.
            check(unsafe { libc::fcntl(number, libc::F_SETFD, 0) })?;
            return Ok(Self(file.into_raw_fd()));
        }
        // SAFETY: `number` is free, as checked above, so nobody's descriptor is replaced.
        check(unsafe { libc::dup2(file.as_raw_fd(), number) })?;
        Ok(Self(number))
    }
}

impl Drop for Inherited {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours alone.
        unsafe { libc::close(self.0) };
    }
}

/// Receives one message with its descriptors from a unix socket.
///
/// # Errors
/// What the kernel answers.
pub fn receive(socket: BorrowedFd<'_>) -> io::Result<(Vec<u8>, Vec<OwnedFd>)> {
    let mut bytes = vec![0u8; 4096];
    let mut control = [0u64; 32];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: an all-zero msghdr is valid: no name, no buffers.
    let mut header: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    header.msg_controllen = size_of_val(&control);
    // SAFETY: the header points to live buffers of the stated sizes.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut header, libc::MSG_CMSG_CLOEXEC) };
    let got = usize::try_from(got).map_err(|_| io::Error::last_os_error())?;
    bytes.truncate(got);
    let mut fds = Vec::new();
    // SAFETY: the kernel has filled header and control buffer; the macros walk inside them, and
    // each descriptor in an SCM_RIGHTS message is new and ours.
    unsafe {
        let mut message = libc::CMSG_FIRSTHDR(&header);
        while let Some(head) = message.as_ref() {
            if head.cmsg_level == libc::SOL_SOCKET && head.cmsg_type == libc::SCM_RIGHTS {
                let count = (head.cmsg_len - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                let data = libc::CMSG_DATA(message).cast::<RawFd>();
                for index in 0..count {
                    fds.push(OwnedFd::from_raw_fd(data.add(index).read_unaligned()));
                }
            }
            message = libc::CMSG_NXTHDR(&header, message);
        }
    }
    Ok((bytes, fds))
}

/// Whether a descriptor is a terminal.
#[must_use]
pub fn is_terminal(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: isatty takes any number.
    unsafe { libc::isatty(fd.as_raw_fd()) == 1 }
}

/// A pseudo terminal for a caller that has one: its master end and the path of the other end.
///
/// # Errors
/// What the kernel answers.
pub fn open_pty() -> io::Result<(OwnedFd, String)> {
    // SAFETY: the call takes a number only.
    let fd = check(unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) })?;
    // SAFETY: the kernel has just given us this descriptor.
    let master = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the descriptor is a pty master.
    check(unsafe { libc::unlockpt(fd) })?;
    let mut name = [0 as libc::c_char; 64];
    // SAFETY: the buffer has the stated size.
    if unsafe { libc::ptsname_r(fd, name.as_mut_ptr(), name.len()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let name: Vec<u8> = name.iter().take_while(|c| **c != 0).flat_map(|c| c.to_ne_bytes()).collect();
    Ok((master, String::from_utf8_lossy(&name).into_owned()))
}

/// Sets the size of a terminal.
///
/// # Errors
/// What the kernel answers.
pub fn resize(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the call reads one winsize.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &size) }).map(drop)
}
