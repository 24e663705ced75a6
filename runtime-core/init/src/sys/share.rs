//! A clone that goes on with the memory of the process that made it, which only says so and ends.

use super::{Errno, note_call, result};
use crate::kernel::{nr, *};
use core::cell::UnsafeCell;
use core::ptr::null_mut;

/// What the process that clones still reads when its stack is the clone's.
#[repr(C)]
struct Last {
    words: [u32; 2],
    iov: IoVec,
    one: OneFd,
    msg: MsgHdr,
}

struct Place(UnsafeCell<Last>);

// SAFETY: written once, before there is a clone; afterwards only by the kernel and by the process that cloned.
unsafe impl Sync for Place {}

/// Zeroes, so that they take no room in the file.
static LAST: Place = Place(UnsafeCell::new(Last {
    words: [0; 2],
    iov: IoVec { base: null_mut(), len: 0 },
    one: OneFd { len: 0, level: 0, kind: 0, fd: 0, pad: 0 },
    msg: MsgHdr {
        name: null_mut(),
        name_len: 0,
        iov: null_mut(),
        iov_len: 0,
        control: null_mut(),
        control_len: 0,
        flags: 0,
    },
}));

/// `clone3(2)` with `CLONE_VM | CLONE_PIDFD`: comes back in the clone, with this very stack. The process that made it
/// sends the number of the step, the clone's pid and its pidfd, and exits: 0, or the errno if it could not.
pub fn clone_sharing(mut args: CloneArgs, control: i32, step: u32) -> Result<(), Errno> {
    let last = LAST.0.get();
    // SAFETY: there is no other thread and no clone yet; the place is static.
    unsafe {
        (*last).words[0] = step;
        (*last).iov = IoVec { base: (&raw mut (*last).words).cast(), len: 8 };
        (*last).one = OneFd { len: 20, level: SOL_SOCKET, kind: SCM_RIGHTS, fd: -1, pad: 0 };
        (*last).msg.iov = &raw mut (*last).iov;
        (*last).msg.iov_len = 1;
        (*last).msg.control = (&raw mut (*last).one).cast();
        (*last).msg.control_len = size_of::<OneFd>();
        args.pidfd = (&raw mut (*last).one.fd) as u64;
    }
    note_call(nr::CLONE3, [(&raw const args) as usize, size_of::<CloneArgs>(), 0, 0, 0, 0]);
    result(part(&args, last, control)).map(drop)
}

/// The instruction, and all that the process that cloned does after it. It touches no stack.
#[cfg(target_arch = "x86_64")]
fn part(args: &CloneArgs, last: *mut Last, control: i32) -> isize {
    let out: isize;
    // SAFETY: the kernel reads `args` and writes the pidfd before it comes back; in the clone and after a failure no
    // register but those named is changed, and the old process never comes back.
    unsafe {
        core::arch::asm!("syscall", "test rax, rax", "jle 2f",
            "mov dword ptr [r12 + 4], eax",
            "mov eax, {sendmsg}", "mov edi, r13d", "lea rsi, [r12 + {msg}]", "mov edx, {nosignal}", "syscall",
            "xor edi, edi", "test rax, rax", "jns 3f", "sub edi, eax",
            "3:", "mov eax, {exit}", "syscall", "ud2", "2:",
            sendmsg = const nr::SENDMSG, exit = const nr::EXIT_GROUP, nosignal = const MSG_NOSIGNAL,
            msg = const core::mem::offset_of!(Last, msg),
            inlateout("rax") nr::CLONE3 as isize => out, in("rdi") args, in("rsi") size_of::<CloneArgs>(),
            in("r12") last, in("r13") control, lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    out
}

/// The instruction, and all that the process that cloned does after it. It touches no stack.
#[cfg(target_arch = "aarch64")]
fn part(args: &CloneArgs, last: *mut Last, control: i32) -> isize {
    let out: isize;
    // SAFETY: as on x86_64.
    unsafe {
        core::arch::asm!("svc 0", "cmp x0, #0", "b.le 2f",
            "str w0, [x20, #4]",
            "mov x8, #{sendmsg}", "mov w0, w21", "add x1, x20, #{msg}", "mov x2, #{nosignal}", "svc 0",
            "neg w1, w0", "cmp x0, #0", "mov w0, #0", "b.ge 3f", "mov w0, w1",
            "3:", "mov x8, #{exit}", "svc 0", "brk #1", "2:",
            sendmsg = const nr::SENDMSG, exit = const nr::EXIT_GROUP, nosignal = const MSG_NOSIGNAL,
            msg = const core::mem::offset_of!(Last, msg),
            in("x8") nr::CLONE3, inlateout("x0") args as *const CloneArgs as isize => out,
            in("x1") size_of::<CloneArgs>(), in("x20") last, in("x21") control, options(nostack));
    }
    out
}
