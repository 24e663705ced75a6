//! Executing init without copying the caller.
//!
//! What must hold in the child: it shares the caller's memory until execveat, so it allocates
//! nothing, takes no lock, and calls nothing but async-signal-safe system calls; the caller's thread
//! stands still meanwhile (CLONE_VFORK), so its stack and arguments stay valid. All signals are
//! blocked in both around it: no handler of the caller can run in the child. The child's descriptor table is
//! a copy; of all descriptors only the control socket survives the execveat, as 0.

use std::ffi::c_void;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

/// The child needs a few frames only.
const STACK: usize = 32 << 10;

struct Child {
    image: RawFd,
    control: RawFd,
    errno: i32,
}

/// Spawns the program in `image` with `control` as its descriptor 0: its pid and a pidfd. The child
/// has no exit signal until the execveat, which sets SIGCHLD.
pub(crate) fn spawn(image: BorrowedFd<'_>, control: BorrowedFd<'_>) -> io::Result<(u32, OwnedFd)> {
    // Not filled: only the pages that the child touches are ever made.
    let mut stack = Vec::<u128>::with_capacity(STACK / 16);
    let top = stack.spare_capacity_mut().as_mut_ptr_range().end.cast::<c_void>();
    let mut child = Child { image: image.as_raw_fd(), control: control.as_raw_fd(), errno: 0 };
    let mut pidfd: RawFd = -1;
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    let mask = super::block_signals();
    // SAFETY: `run` obeys the contract above; the stack, `child` and `pidfd` outlive the child's
    // use of them because CLONE_VFORK holds this thread until the child has executed or exited.
    let pid = unsafe { libc::clone(run, top, flags, (&raw mut child).cast(), &raw mut pidfd) };
    let failed = io::Error::last_os_error();
    super::restore_signals(&mask);
    drop(stack);
    if pid < 0 {
        return Err(failed);
    }
    let pidfd = super::owned(pidfd.into())?;
    // SAFETY: read after the child is gone from this memory; volatile because the compiler did not
    // see the child's write.
    let errno = unsafe { (&raw const child.errno).read_volatile() };
    if errno != 0 {
        super::wait(&pidfd)?;
        return Err(io::Error::from_raw_os_error(errno));
    }
    Ok((pid as u32, pidfd))
}

extern "C" fn run(arg: *mut c_void) -> libc::c_int {
    let child = arg.cast::<Child>();
    // SAFETY: `arg` is the caller's Child, alive while the caller's thread stands still. Only
    // system calls are made. If the execveat fails the errno is left for the caller.
    unsafe {
        let (image, control) = ((*child).image, (*child).control);
        // CLOSE_RANGE_CLOEXEC leaves the image open until it runs. Descriptor 0 is the socket.
        let prepared = libc::dup2(control, 0) == 0
            && libc::fcntl(0, libc::F_SETFD, 0) == 0
            && libc::syscall(libc::SYS_close_range, 1, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0;
        if prepared {
            let argv = [c"oxrun-init".as_ptr(), std::ptr::null()];
            let envp = [std::ptr::null::<libc::c_char>()];
            libc::syscall(
                libc::SYS_execveat,
                image,
                c"".as_ptr(),
                argv.as_ptr(),
                envp.as_ptr(),
                libc::AT_EMPTY_PATH,
            );
        }
        (&raw mut (*child).errno).write_volatile(*libc::__errno_location());
    }
    // The caller learns the errno and waits for this.
    127
}
