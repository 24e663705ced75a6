//! Executing init without waiting for it, and without copying a caller that may be large.
//!
//! What must hold in the child: it may share the caller's memory until the execveat, while the caller goes on. So it touches no
//! memory at all: it has nothing but its registers, makes system calls, and what they are pointed to is constant. All
//! signals are blocked in the caller's thread around it, and so in the child: no handler of the caller can run there. The
//! child's descriptor table is a copy; of all descriptors only the control socket survives the execveat, as 0.

use std::ffi::c_char;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::null;

/// What the execveat is pointed to.
#[repr(C)]
struct Constants {
    argv: [*const c_char; 2],
    envp: [*const c_char; 1],
    empty: [u8; 1],
}

// SAFETY: never written.
unsafe impl Sync for Constants {}

static CONSTANTS: Constants =
    Constants { argv: [c"oxrun-init".as_ptr(), null()], envp: [null()], empty: [0] };

/// `struct clone_args` of clone3(2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// That of libc is too narrow.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// What a process is born into.
pub(crate) struct Birth<'a> {
    /// Its new namespaces: `CLONE_NEW...`.
    pub(crate) namespaces: u64,
    /// Its v2 cgroup.
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
}

/// Spawns the program in `image` with `control` as its descriptor 0: its pid and a pidfd. The child has no exit signal
/// until the execveat, which sets SIGCHLD. If it cannot be executed the child exits with the errno.
///
/// One that is born `into` something gets a copy of the caller's memory for as long as that takes: whoever is killed for
/// want of memory in a cgroup takes along whoever shares its memory.
pub(crate) fn spawn(
    image: BorrowedFd<'_>,
    control: BorrowedFd<'_>,
    into: Option<&Birth<'_>>,
) -> io::Result<(u32, OwnedFd)> {
    let mut pidfd: RawFd = -1;
    let flags = into.map_or(libc::CLONE_VM as u64, |birth| birth.namespaces);
    let mut args = CloneArgs {
        flags: flags | libc::CLONE_PIDFD as u64,
        pidfd: (&raw mut pidfd) as u64,
        ..CloneArgs::default()
    };
    if let Some(cgroup) = into.and_then(|birth| birth.cgroup) {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    let mask = super::block_signals();
    let answer = clone(&args, image.as_raw_fd(), control.as_raw_fd());
    super::restore_signals(mask);
    match u32::try_from(answer) {
        // SAFETY: the kernel has written it; volatile because the compiler did not see that.
        Ok(pid) => Ok((pid, super::owned(unsafe { (&raw const pidfd).read_volatile() }.into())?)),
        Err(_) => Err(io::Error::from_raw_os_error(-answer as i32)),
    }
}

/// clone3(2), and all that the child does: its descriptor 0 is `control`, and all others close when it executes `image`,
/// which stays open until then.
#[cfg(target_arch = "x86_64")]
fn clone(args: &CloneArgs, image: RawFd, control: RawFd) -> isize {
    let answer: isize;
    // SAFETY: the kernel writes the pidfd before it comes back to the caller, in which no register but those named is
    // changed; the child comes to no other instruction than these, none of which uses memory.
    unsafe {
        std::arch::asm!("syscall", "test rax, rax", "jnz 3f",
            "mov edi, r12d", "xor esi, esi", "mov eax, {dup2}", "test edi, edi", "jnz 4f",
            // It is a copy of itself only if it stays open.
            "mov esi, {setfd}", "xor edx, edx", "mov eax, {fcntl}", "4:", "syscall", "test eax, eax", "js 2f",
            "mov eax, {close_range}", "mov edi, 1", "mov esi, -1", "mov edx, {cloexec}", "syscall",
            "test eax, eax", "js 2f",
            "mov eax, {execveat}", "mov edi, r13d", "lea rsi, [r14 + {empty}]", "lea rdx, [r14 + {argv}]",
            "lea r10, [r14 + {envp}]", "mov r8d, {empty_path}", "syscall",
            "2:", "mov edi, eax", "neg edi", "mov eax, {exit}", "syscall", "ud2", "3:",
            dup2 = const libc::SYS_dup2, fcntl = const libc::SYS_fcntl, setfd = const libc::F_SETFD,
            close_range = const libc::SYS_close_range, cloexec = const libc::CLOSE_RANGE_CLOEXEC,
            execveat = const libc::SYS_execveat, empty_path = const libc::AT_EMPTY_PATH,
            exit = const libc::SYS_exit_group, empty = const std::mem::offset_of!(Constants, empty),
            argv = const std::mem::offset_of!(Constants, argv), envp = const std::mem::offset_of!(Constants, envp),
            inlateout("rax") libc::SYS_clone3 as isize => answer,
            in("rdi") args, in("rsi") size_of::<CloneArgs>(),
            in("r12") control, in("r13") image, in("r14") &raw const CONSTANTS,
            lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    answer
}

/// clone3(2), and all that the child does: its descriptor 0 is `control`, and all others close when it executes `image`,
/// which stays open until then.
#[cfg(target_arch = "aarch64")]
fn clone(args: &CloneArgs, image: RawFd, control: RawFd) -> isize {
    let answer: isize;
    // SAFETY: as on x86_64.
    unsafe {
        std::arch::asm!("svc 0", "cbnz x0, 3f",
            "mov w0, w20", "mov x1, #0", "mov x2, #0", "mov x8, #{dup3}", "cbnz w0, 4f",
            // It is a copy of itself only if it stays open.
            "mov x1, #{setfd}", "mov x8, #{fcntl}", "4:", "svc 0", "tbnz w0, #31, 2f",
            "mov x8, #{close_range}", "mov x0, #1", "mov w1, #-1", "mov x2, #{cloexec}", "svc 0",
            "tbnz w0, #31, 2f",
            "mov x8, #{execveat}", "mov w0, w21", "add x1, x22, #{empty}", "add x2, x22, #{argv}",
            "add x3, x22, #{envp}", "mov x4, #{empty_path}", "svc 0",
            "2:", "neg w0, w0", "mov x8, #{exit}", "svc 0", "brk #1", "3:",
            dup3 = const libc::SYS_dup3, fcntl = const libc::SYS_fcntl, setfd = const libc::F_SETFD,
            close_range = const libc::SYS_close_range, cloexec = const libc::CLOSE_RANGE_CLOEXEC,
            execveat = const libc::SYS_execveat, empty_path = const libc::AT_EMPTY_PATH,
            exit = const libc::SYS_exit_group, empty = const std::mem::offset_of!(Constants, empty),
            argv = const std::mem::offset_of!(Constants, argv), envp = const std::mem::offset_of!(Constants, envp),
            in("x8") libc::SYS_clone3,
            inlateout("x0") args as *const CloneArgs as isize => answer, in("x1") size_of::<CloneArgs>(),
            in("x20") control, in("x21") image, in("x22") &raw const CONSTANTS, options(nostack));
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{ExitStatus, wait};
    use std::os::fd::AsFd;

    #[test]
    fn what_cannot_be_executed_ends_with_the_errno() {
        let (ours, theirs) = crate::sys::socketpair().unwrap();
        let no_program = crate::sys::memfd(c"nothing", 0).unwrap();
        let (pid, pidfd) = spawn(no_program.as_fd(), theirs.as_fd(), None).unwrap();
        assert!(pid > 0);
        assert_eq!(wait(&pidfd).unwrap(), ExitStatus::Exited(libc::ENOEXEC));
        drop(ours);
    }
}
