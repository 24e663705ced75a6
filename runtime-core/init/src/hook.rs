//! Hooks that run inside: createContainer before the root changes, startContainer before the program.
//!
//! What must hold: a hook gets 0, 1, 2 and nothing else; it cannot block or kill this process (stdin and
//! output are memfds: no pipe that fills, no SIGPIPE); it is waited for and killed through its pidfd; and
//! this process makes no system call for it that a filter could deny.
//!
//! A startContainer hook runs under the program's filter, yet what it takes to run one (memfd_create,
//! clone3, waitid ...) is nothing that a profile has to allow. So this process loads its filter only when
//! all hooks are done. The copy of it that becomes the hook carries out what stands between here and
//! the program in the script, the filter and the last capset, and then calls execve: the same calls under
//! the filter as the program's process itself. Where the filter has a listener, each copy's is one of its own.
//!
//! ```text
//!   init:  state, output -> clone3(VFORK) ........ wait -> [next hook] -> filter -> capset -> execve
//!   hook:                        \-> 0 1 2, close -> filter -> capset -> execve
//! ```
//!
//! CLONE_VFORK holds this process until the execve, so that only one of the two writes on the fault page:
//! why a hook could not be executed is told there.

use crate::boot::Ctx;
use crate::fault::{Detail, ended};
use crate::identity;
use crate::kernel::*;
use crate::listener;
use crate::program;
use crate::script::{Op, Script, hook as flag, listener as whose};
use crate::sys::{self, Fd, Stop};

/// Where a hook's copy of the socket for the listener of its filter is until the execve.
const SOCKET: i32 = 3;

/// As much of a hook's output as is told, with how it ended in front.
const OUTPUT: usize = 1792;

/// Runs a hook. Anything but exit status 0 is a failure.
pub fn run(ctx: &mut Ctx, op: &Op<'static>, step: u32) -> Result<(), Stop> {
    let Op::Hook { flags, timeout, before, after, .. } = *op else {
        return Ok(());
    };
    ctx.sweep()?;
    let stdin = state(before.0, after.0)?;
    let output = sys::memfd(c"oxrun-hook")?;
    let mut pidfd = -1i32;
    let args = CloneArgs {
        flags: CLONE_PIDFD | CLONE_VFORK,
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: SIGCHLD,
        ..CloneArgs::default()
    };
    if sys::clone3(&args)? == 0 {
        match become_hook(ctx, op, step, &stdin, &output) {
            Ok(()) => sys::exit(255),
            Err(stop) => sys::leave(&stop),
        }
    }
    let child = Fd::own(pidfd as usize);
    let left = sys::left();
    let (how, status) = wait(ctx, &child, timeout, left.is_some())?;
    if let Some(stop) = left {
        return Err(stop);
    }
    if flags & flag::AS_PROGRAM != 0 {
        // What the copy cost is not what loading the program costs.
        sys::note_faults(sys::minor_faults());
    }
    if (how, status) == (ended::EXITED, 0) {
        return Ok(());
    }
    let mut text = [0u8; OUTPUT];
    text[..4].copy_from_slice(&how.to_ne_bytes());
    text[4..8].copy_from_slice(&status.to_ne_bytes());
    let n = sys::read_start(&output, text.get_mut(8..).unwrap_or(&mut []));
    Err(Stop::detail(Detail::Hook, text.get(..8 + n).unwrap_or(b"")))
}

/// The state of the container as a file. Its middle is what only this process knows: its pid in its own
/// pid namespace.
fn state(before: &[u8], after: &[u8]) -> Result<Fd, Stop> {
    let file = sys::memfd(c"oxrun-state")?;
    let mut digits = [0u8; 10];
    let mut first = digits.len();
    let mut pid = sys::getpid();
    loop {
        first -= 1;
        digits[first] = b'0' + (pid % 10) as u8;
        pid /= 10;
        if pid == 0 || first == 0 {
            break;
        }
    }
    let at = sys::write_at(&file, before, 0)?;
    let at = sys::write_at(&file, digits.get(first..).unwrap_or(b""), at)?;
    sys::write_at(&file, after, at)?;
    Ok(file)
}

/// Waits for the end of a hook, but not longer than it may take, nor longer than the creator lives.
fn wait(ctx: &Ctx, child: &Fd, timeout: u64, failed: bool) -> Result<(u32, u32), Stop> {
    let watch = |fd, events| PollFd { fd, events, revents: 0 };
    // After `created` there is no creator any more, and a number of -1 is not looked at.
    let mut fds = [watch(child.raw(), POLLIN), watch(ctx.control, 0)];
    let polled = if failed { Ok(true) } else { sys::poll(&mut fds, timeout) };
    let in_time = polled.unwrap_or(false);
    let gone = fds[1].revents & POLLHUP != 0;
    if !in_time || gone {
        sys::kill(child);
    }
    let end = sys::wait(child)?;
    // Nobody would have ended it in time.
    if let Err(e) = polled {
        return Err(Stop::explained(e, Detail::Text, b"ppoll"));
    }
    match (in_time, gone) {
        (false, _) => Ok((ended::TIMEOUT, timeout as u32)),
        (_, true) => Err(Stop::detail(Detail::HostGone, b"")),
        _ => Ok(end),
    }
}

/// Turns this copy into the hook. Comes back only with a failure.
fn become_hook(ctx: &Ctx, op: &Op<'static>, step: u32, stdin: &Fd, output: &Fd) -> Result<(), Stop> {
    let Op::Hook { path, argv, envp, flags, .. } = *op else {
        return Ok(());
    };
    let at = program::map(program::words(argv, envp))?;
    let (argv, own) = program::vectors(at, argv, envp, None);
    let envp = match flags & flag::INHERIT != 0 && ctx.envp != 0 {
        true => ctx.envp,
        false => own,
    };
    // A hook does not outlive the container that it belongs to.
    sys::prctl(PR_SET_PDEATHSIG, SIGKILL as usize, 0)?;
    for (from, to) in [(stdin, 0), (output, 1), (output, 2)] {
        sys::dup3(from.raw(), to, 0)?;
    }
    if flags & flag::AS_PROGRAM == 0 {
        sys::chdir(ctx.root()?)?;
        sys::umask(0o022);
    }
    // What its filter's listener goes through.
    let socket = ctx.received.as_ref().filter(|_| flags & flag::AS_PROGRAM != 0).map(Fd::raw);
    if let Some(from) = socket.filter(|from| *from != SOCKET) {
        sys::dup3(from, SOCKET, O_CLOEXEC)?;
    }
    sys::close_from(SOCKET as u32 + u32::from(socket.is_some()), 0)?;
    if flags & flag::AS_PROGRAM != 0 {
        as_program(ctx, step)?;
    }
    Err(sys::execve(path, argv, envp).into())
}

/// What is done to the program's process after step `step` is done to this one.
fn as_program(ctx: &Ctx, step: u32) -> Result<(), Stop> {
    let Some(mut script) = Script::open(ctx.script) else {
        return Ok(());
    };
    let mut handover = None;
    while let Some(Some(record)) = script.next() {
        match record.op {
            _ if record.step <= step => {}
            Op::Listener {} => handover = Some(listener::begin(Fd::own(SOCKET as usize), true, whose::HOOK)?),
            Op::Seccomp { flags, filter } => identity::seccomp(flags, filter.0, handover.take())?,
            Op::Caps { effective, permitted, inheritable } => {
                identity::caps(effective, permitted, inheritable)?
            }
            _ => {}
        }
    }
    Ok(())
}
