//! A second thread. Its calls are noted only when they fail: the note on the fault page is that of the process.

use super::{Errno, note_call, result, trap, unnoted};
use crate::kernel::{nr, *};

/// `clone3(2)`: a thread of this process on a stack of its own. It ends by [`end_thread`], or with the process.
pub fn thread(stack: &'static mut [u8], main: extern "C" fn() -> !) -> Result<(), Errno> {
    let args = CloneArgs {
        flags: CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM,
        stack: stack.as_mut_ptr() as u64,
        stack_size: stack.len() as u64,
        ..CloneArgs::default()
    };
    note_call(nr::CLONE3, [(&raw const args) as usize, size_of::<CloneArgs>(), 0, 0, 0, 0]);
    result(begin(&args, main)).map(drop)
}

/// `exit(2)`: the end of this thread alone.
pub fn end_thread() -> ! {
    loop {
        let _ = unnoted(nr::EXIT, [0; 6]);
        trap();
    }
}

/// The instruction and, in the new thread, the jump.
#[cfg(target_arch = "x86_64")]
fn begin(args: &CloneArgs, main: extern "C" fn() -> !) -> isize {
    let out: isize;
    // SAFETY: the new thread goes on with a stack that is its own, on which the call leaves what the calling
    // convention asks for, and never comes back to this one. The old thread changes only the registers named.
    unsafe {
        core::arch::asm!("syscall", "test rax, rax", "jnz 2f", "xor ebp, ebp", "call r12", "ud2", "2:",
            inlateout("rax") nr::CLONE3 as isize => out, in("rdi") args, in("rsi") size_of::<CloneArgs>(),
            in("r12") main, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    out
}

/// The instruction and, in the new thread, the jump.
#[cfg(target_arch = "aarch64")]
fn begin(args: &CloneArgs, main: extern "C" fn() -> !) -> isize {
    let out: isize;
    // SAFETY: as on x86_64.
    unsafe {
        core::arch::asm!("svc 0", "cbnz x0, 2f", "mov x29, xzr", "mov x30, xzr", "blr x20", "brk #1", "2:",
            in("x8") nr::CLONE3, inlateout("x0") args as *const CloneArgs as isize => out,
            in("x1") size_of::<CloneArgs>(), in("x20") main, options(nostack));
    }
    out
}

/// A call that is noted only if it fails.
fn late(nr: usize, [a, b, c, d]: [usize; 4]) -> Result<usize, Errno> {
    let args = [a, b, c, d, 0, 0];
    loop {
        match unnoted(nr, args) {
            Err(Errno(EINTR)) => {}
            Ok(v) => return Ok(v),
            Err(e) => {
                note_call(nr, args);
                return Err(e);
            }
        }
    }
}

/// `read(2)`.
pub fn read_late(fd: i32, buf: &mut [u8]) -> Result<usize, Errno> {
    late(nr::READ, [fd as usize, buf.as_mut_ptr() as usize, buf.len(), 0])
}

/// `accept4(2)`.
pub fn accept_late(socket: i32) -> Result<i32, Errno> {
    late(nr::ACCEPT4, [socket as usize, 0, 0, SOCK_CLOEXEC as usize]).map(|fd| fd as i32)
}

/// `sendmsg(2)`.
pub fn sendmsg_late(socket: i32, msg: &MsgHdr) -> Result<(), Errno> {
    let args = [socket as usize, (msg as *const MsgHdr) as usize, MSG_NOSIGNAL as usize, 0];
    late(nr::SENDMSG, args).map(drop)
}
