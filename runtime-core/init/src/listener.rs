//! Handing the listener of a filter to the host, from where it goes to the agent.
//!
//! What must hold: no call of this process waits for an agent that does not have the listener yet; and nothing that
//! the handing over takes can be denied by the filter, or be the agent's to decide about.
//!
//! Under the filter any call may be the agent's but write(2), which a profile is not allowed to leave to it. So a thread
//! of this process that is not under the filter does the rest: it shares the descriptors and sends the listener. A
//! thread leaves no zombie behind, and being as untraceable as its process it lends nobody a way around the filter.
//!
//! ```text
//!   process: pipe of one page -> thread ... seccomp(2) -> write(2) of more than the pipe holds ... -> [capset] -> execve
//!   thread:                        \-> read the number -> [accept] -> send listener -> "go" -> read the rest, exit
//! ```

use crate::boot::{self, Ctx};
use crate::fault::Detail;
use crate::script::listener as script;
use crate::sys::{self, Fd, Stop};
use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Number of bytes that go through the pipe, the listener's number in front: more than its one page. The largest page is
/// 64 KiB but on x86-64.
const HANDOVER: usize = if cfg!(target_arch = "x86_64") { 2 << 12 } else { 2 << 16 };

/// The size of the thread's stack. It calls three functions deep.
const STACK: usize = 16 << 10;

/// What the thread works with. There is never more than one in a process.
static PIPE: AtomicI32 = AtomicI32::new(0);
static SOCKET: AtomicI32 = AtomicI32::new(0);
static LISTENS: AtomicI32 = AtomicI32::new(0);
static WHOSE: AtomicI32 = AtomicI32::new(0);

/// The pipe's writing end and what goes through it.
pub type Handover = (Fd, &'static mut [u8]);

/// Makes ready for it, as long as no filter is in the way: with the socket that came with the last "go".
pub fn prepare(ctx: &mut Ctx) -> Result<(), Stop> {
    let Some(socket) = ctx.received.take() else {
        return Err(Stop::detail(Detail::BadScript, b"no socket for the listener"));
    };
    // Who starts the first process is not who created it, and connects; who executes a further one is there.
    let listens = ctx.control < 0;
    ctx.handover = Some(begin(socket, listens, script::PROGRAM)?);
    sys::note_faults(sys::minor_faults());
    Ok(())
}

/// Starts the thread. `whose` is one of [`script`].
pub fn begin(socket: Fd, listens: bool, whose: u32) -> Result<Handover, Stop> {
    let (out, pipe) = sys::pipe()?;
    sys::smallest_pipe(&pipe)?;
    let buffer = sys::buffer(HANDOVER)?;
    // All of its pages are there before the last note: what follows is to be as little as without it.
    buffer.fill(0);
    PIPE.store(out.raw(), Relaxed);
    SOCKET.store(socket.raw(), Relaxed);
    LISTENS.store(i32::from(listens), Relaxed);
    WHOSE.store(whose as i32, Relaxed);
    // The execve closes them.
    core::mem::forget((out, socket));
    sys::thread(sys::buffer(STACK)?, pass_on)?;
    Ok((pipe, buffer))
}

/// Waits, under the filter, until the agent has its listener.
pub fn wait(handover: Handover, listener: usize) {
    let (pipe, buffer) = handover;
    for (byte, digit) in buffer.iter_mut().zip((listener as u32).to_le_bytes()) {
        *byte = digit;
    }
    let mut rest: &[u8] = buffer;
    while !rest.is_empty() {
        // Less than everything if it was frozen meanwhile.
        match sys::write(&pipe, rest) {
            Ok(n) => rest = rest.get(n..).unwrap_or(b""),
            Err(e) => sys::break_down(&e.into()),
        }
    }
    // Closing it is another call; the execve does that.
    core::mem::forget(pipe);
}

/// The thread.
extern "C" fn pass_on() -> ! {
    match send() {
        Ok(()) => sys::end_thread(),
        Err(stop) => sys::die(&stop),
    }
}

fn send() -> Result<(), Stop> {
    let pipe = PIPE.load(Relaxed);
    let mut number = [0u8; 4];
    let mut used = 0;
    while let Some(rest) = number.get_mut(used..).filter(|rest| !rest.is_empty()) {
        match sys::read_late(pipe, rest)? {
            0 => return Err(Stop::detail(Detail::BadScript, b"no listener")),
            n => used += n,
        }
    }
    let listener = i32::from_le_bytes(number);
    let mut socket = SOCKET.load(Relaxed);
    if LISTENS.load(Relaxed) != 0 {
        socket = sys::accept_late(socket)?;
    }
    boot::send_late(socket, &mut WHOSE.load(Relaxed).to_le_bytes(), listener)?;
    // The end of the stream: whoever was to give it to the agent is gone.
    if sys::read_late(socket, &mut number)? == 0 {
        return Err(Stop::detail(Detail::HostGone, b""));
    }
    let mut left = HANDOVER - number.len();
    let mut buf = [0u8; 512];
    while left > 0 {
        left -= sys::read_late(pipe, &mut buf)?.min(left);
    }
    Ok(())
}
