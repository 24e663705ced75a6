//! The kernel calls of this test: what a process is made of, two changes of it that must be noticed,
//! and the fork that the library does not do.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The disposition of a signal: handler, flags, mask; `None` for a number that has none.
pub(crate) fn disposition(signal: i32) -> Option<(usize, i32, Vec<i32>)> {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the call only fills the buffer.
    let action = unsafe {
        if libc::sigaction(signal, std::ptr::null(), action.as_mut_ptr()) != 0 {
            return None;
        }
        action.assume_init()
    };
    // SAFETY: the set was filled by the call above.
    let member = |s: &i32| unsafe { libc::sigismember(&raw const action.sa_mask, *s) == 1 };
    Some((action.sa_sigaction, action.sa_flags, (1..=64).filter(member).collect()))
}

/// The dumpable flag and the subreaper flag.
pub(crate) fn flags() -> (i32, i32) {
    let mut subreaper = 0i32;
    // SAFETY: the first call takes numbers only, the second a valid pointer.
    let dumpable = unsafe {
        libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut subreaper, 0, 0, 0);
        libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0)
    };
    (dumpable, subreaper)
}

/// The two flag words of a descriptor.
pub(crate) fn descriptor_flags(fd: i32) -> (i32, i32) {
    // SAFETY: both calls take numbers only.
    unsafe { (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) }
}

/// fork(2) as it is, in a process with threads: `busy` runs in the child, which then executes
/// `program`. Returns the child's pid.
pub(crate) fn fork_and_go_on(program: &Path, busy: impl FnOnce()) -> io::Result<i32> {
    let program = CString::new(program.as_os_str().as_bytes())?;
    // SAFETY: none. POSIX allows the child nothing but async-signal-safe calls, and `busy` does
    // others: that they can hang is what is shown here. The child ends in any case without running
    // anything of its parent's: by the execv, or by _exit.
    unsafe {
        match libc::fork() {
            0 => {
                busy();
                let argv = [program.as_ptr(), std::ptr::null()];
                libc::execv(program.as_ptr(), argv.as_ptr());
                libc::_exit(127)
            }
            pid if pid < 0 => Err(io::Error::last_os_error()),
            pid => Ok(pid),
        }
    }
}

/// Waits for a child that has ended or will.
pub(crate) fn wait(pid: i32) -> io::Result<()> {
    // SAFETY: no status is asked for.
    match unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) } {
        got if got == pid => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Changes the file mode creation mask.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: the call takes a number and cannot fail.
    unsafe { libc::umask(mask) };
}

/// Ignores a signal.
pub(crate) fn ignore(signal: i32) {
    // SAFETY: SIG_IGN is no function: nothing of this process runs in a handler.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}
