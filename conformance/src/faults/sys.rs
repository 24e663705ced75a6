//! ptrace(2), as far as the supervisor of faults needs it. All requests for a task come from the thread that follows
//! it: the kernel asks for that.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// What a followed task reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stop {
    /// It is gone: the exit code, or 128 and the signal.
    Ended(i32),
    /// It is about to make this call, with these arguments.
    Enter(u64, [u64; 6]),
    /// A call is done.
    Leave,
    /// It has made this task; and waits until that is another program, or has ended.
    Made(i32, bool),
    /// It has become another program.
    Executed,
    /// It gets this signal, unless that is kept from it.
    Signal(i32),
    /// Nothing of interest.
    Other,
}

fn check(value: libc::c_long) -> io::Result<libc::c_long> {
    if value < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

/// Lets the program that a command becomes be followed by the thread that spawns it.
pub(super) fn be_followed(command: &mut Command) {
    // SAFETY: the closure makes one system call, which is safe between fork and exec.
    unsafe {
        command.pre_exec(|| check(libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0)).map(drop));
    }
}

/// Follows what a task makes, too. The task must be in its first stop.
pub(super) fn follow_all(task: i32) -> io::Result<()> {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC;
    // SAFETY: the call takes numbers only.
    check(unsafe { libc::ptrace(libc::PTRACE_SETOPTIONS, task, 0, options) }).map(drop)
}

/// Waits for the next report; `None` when there is nobody left who could make one.
pub(super) fn next() -> io::Result<Option<(i32, Stop)>> {
    let mut status = 0;
    // SAFETY: the number outlives the call.
    let task = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
    if task < 0 {
        let error = io::Error::last_os_error();
        return match error.raw_os_error() {
            Some(libc::ECHILD) => Ok(None),
            Some(libc::EINTR) => Ok(Some((0, Stop::Other))),
            _ => Err(error),
        };
    }
    match stop(task, status) {
        // Killed while it stood still: its end is the next report.
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(Some((task, Stop::Other))),
        stop => Ok(Some((task, stop?))),
    }
}

fn stop(task: i32, status: i32) -> io::Result<Stop> {
    if libc::WIFEXITED(status) {
        return Ok(Stop::Ended(libc::WEXITSTATUS(status)));
    }
    if libc::WIFSIGNALED(status) {
        return Ok(Stop::Ended(128 + libc::WTERMSIG(status)));
    }
    match (status >> 16, libc::WSTOPSIG(status)) {
        (libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK, _) => {
            let mut made: libc::c_ulong = 0;
            // SAFETY: the number outlives the call.
            check(unsafe { libc::ptrace(libc::PTRACE_GETEVENTMSG, task, 0, &raw mut made) })?;
            let waits = status >> 16 == libc::PTRACE_EVENT_VFORK;
            Ok(Stop::Made(i32::try_from(made).unwrap_or(0), waits))
        }
        (libc::PTRACE_EVENT_EXEC, _) => Ok(Stop::Executed),
        (0, signal) if signal == libc::SIGTRAP | 0x80 => call(task),
        (0, signal) => Ok(Stop::Signal(signal)),
        _ => Ok(Stop::Other),
    }
}

/// The call at whose begin or end a task stands.
fn call(task: i32) -> io::Result<Stop> {
    // SAFETY: all bytes of the structure may be zero.
    let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
    let size = size_of_val(&info);
    // SAFETY: the kernel writes no more than `size` bytes to the structure.
    check(unsafe { libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, task, size, &raw mut info) })?;
    Ok(match info.op {
        libc::PTRACE_SYSCALL_INFO_ENTRY => {
            // SAFETY: of a begin the kernel has filled this member.
            let entry = unsafe { info.u.entry };
            Stop::Enter(entry.nr, entry.args)
        }
        libc::PTRACE_SYSCALL_INFO_EXIT => Stop::Leave,
        _ => Stop::Other,
    })
}

/// The number at an address of a task that stands still.
pub(super) fn number_at(task: i32, address: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    File::open(format!("/proc/{task}/mem")).ok()?.read_exact_at(&mut bytes, address).ok()?;
    Some(u32::from_ne_bytes(bytes))
}

/// The text at an address of a task that stands still, up to its NUL; none if there is none.
pub(super) fn text_at(task: i32, address: u64) -> Option<String> {
    let memory = File::open(format!("/proc/{task}/mem")).ok()?;
    let (mut bytes, mut part) = (Vec::new(), [0; 256]);
    // The next page may not be there; then the text ends in this one.
    while !bytes.contains(&0) && bytes.len() < 4096 {
        match memory.read_at(&mut part, address + bytes.len() as u64) {
            Ok(n @ 1..) => bytes.extend_from_slice(part.get(..n)?),
            _ => break,
        }
    }
    let text = bytes.split(|byte| *byte == 0).next()?;
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// Lets a task go on to the begin or end of its next call, with a signal if that is not 0.
pub(super) fn go_on(task: i32, signal: i32) {
    // A task that was killed meanwhile is gone; that is reported.
    // SAFETY: the call takes numbers only.
    let _ = unsafe { libc::ptrace(libc::PTRACE_SYSCALL, task, 0, signal) };
}

/// A task that was killed meanwhile is gone; that is reported.
#[cfg(target_arch = "x86_64")]
fn there(done: io::Result<libc::c_long>) -> io::Result<()> {
    match done {
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        done => done.map(drop),
    }
}

/// The places of the registers in what PTRACE_POKEUSER takes.
#[cfg(target_arch = "x86_64")]
mod registers {
    pub(super) const CALL: usize = std::mem::offset_of!(libc::user_regs_struct, orig_rax);
    pub(super) const ANSWER: usize = std::mem::offset_of!(libc::user_regs_struct, rax);
}

/// Takes the call away at whose begin a task stands: the kernel does nothing.
#[cfg(target_arch = "x86_64")]
pub(super) fn take_away(task: i32) -> io::Result<()> {
    // SAFETY: the call takes numbers only.
    there(check(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, task, registers::CALL, -1_i64) }))
}

/// Answers the call at whose end a task stands.
#[cfg(target_arch = "x86_64")]
pub(super) fn answer(task: i32, errno: i32) -> io::Result<()> {
    let value = -i64::from(errno);
    // SAFETY: the call takes numbers only.
    there(check(unsafe { libc::ptrace(libc::PTRACE_POKEUSER, task, registers::ANSWER, value) }))
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn take_away(_task: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_arch = "x86_64"))]
pub(super) fn answer(_task: i32, _errno: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
