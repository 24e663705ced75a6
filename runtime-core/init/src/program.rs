//! The end: HOME, the program's file, the wait for `start`, the last execve.

use crate::boot::Ctx;
use crate::fault::{Detail, Phase};
use crate::kernel::*;
use crate::script::Strs;
use crate::sys::{self, Errno, Stop};
use core::ffi::CStr;
use core::sync::atomic::AtomicUsize;

/// Most of a passwd file that is read, in bytes: the image may make it endless.
const PASSWD: usize = 1 << 20;

/// Finds the user's home in the container's passwd file; `/` where there is none.
pub fn home(ctx: &mut Ctx, uid: u32) -> Result<(), Stop> {
    set_home(&mut ctx.home, b"/");
    let flags = O_RDONLY | O_NOCTTY | O_NONBLOCK;
    let Ok(file) = sys::openat2(AT_FDCWD, c"/etc/passwd", flags, 0, RESOLVE_NO_MAGICLINKS) else {
        return Ok(());
    };
    // A FIFO or a device under this name is not a passwd file.
    if sys::stat(file.raw())?.mode & S_IFMT != S_IFREG {
        return Ok(());
    }
    let mut line = [0u8; 512];
    let mut used = 0;
    let mut left = PASSWD;
    let mut buf = [0u8; 1024];
    loop {
        let n = sys::read(file.raw(), &mut buf).unwrap_or(0);
        for &byte in buf.get(..n).unwrap_or(b"").iter().chain((n == 0).then_some(&b'\n')) {
            if byte != b'\n' {
                if let Some(slot) = line.get_mut(used) {
                    *slot = byte;
                }
                used += 1;
                continue;
            }
            // A line that does not fit is nobody's.
            let whole = line.get(..used).unwrap_or(b"");
            if home_of(whole, uid).is_some_and(|dir| set_home(&mut ctx.home, dir)) {
                return Ok(());
            }
            used = 0;
        }
        left = left.saturating_sub(n);
        if n == 0 || left == 0 {
            return Ok(());
        }
    }
}

/// The sixth field, if the third is this number.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|&b| b == b':');
    let id = fields.nth(2)?;
    let mut n = 0u32;
    for &d in id {
        n = n.checked_mul(10)?.checked_add((d as char).to_digit(10)?)?;
    }
    (n == uid && !id.is_empty()).then(|| fields.nth(2))?.filter(|dir| !dir.is_empty())
}

fn set_home(slot: &mut [u8; 256], dir: &[u8]) -> bool {
    let end = 5 + dir.len();
    if end >= slot.len() {
        return false;
    }
    slot[..5].copy_from_slice(b"HOME=");
    slot[5..end].copy_from_slice(dir);
    slot[end] = 0;
    true
}

/// Finds the program among the candidates: an absolute path, or one for each directory of PATH.
/// Runs as the process's user.
pub fn lookup(ctx: &mut Ctx, candidates: Strs<'static>) -> Result<(), Stop> {
    let mut last = Errno(ENOENT);
    for path in candidates.iter() {
        let tried = sys::stat_path(path).and_then(|s| match s.mode & S_IFMT {
            S_IFDIR => Err(Errno(EACCES)),
            // Root may execute only what has some x bit; the kernel says so.
            _ => sys::may_execute(path),
        });
        match tried {
            Ok(()) => {
                ctx.program = Some(path);
                return Ok(());
            }
            Err(e) => last = e,
        }
    }
    let detail = match last {
        Errno(EACCES) => Detail::NotExecutable,
        _ => Detail::NotFound,
    };
    Err(Stop::explained(last, detail, b""))
}

/// Everything is set up. The host is told, lets go, and a byte of the fifo starts the program; one that begins `at_once`
/// goes on as soon as the host, which then is told nothing, has let go.
pub fn created(ctx: &mut Ctx, step: u32, at_once: bool) -> Result<(), Stop> {
    if at_once {
        ctx.sweep()?;
        ctx.wait_for_go()?;
    } else {
        ctx.barrier(step)?;
    }
    ctx.proc = None;
    ctx.private_proc = None;
    let control = sys::Fd::own(ctx.control as usize);
    ctx.control = -1;
    if at_once {
        // The end of it tells that the program runs.
        control.leave();
    } else {
        drop(control);
        sys::enter(Phase::Waiting, step);
        let mut byte = [0u8; 1];
        sys::read(ctx.fifo, &mut byte)?;
        sys::enter(Phase::Running, step);
    }
    sys::note_faults(sys::minor_faults());
    // The fifo, or the control socket, is closed by the execve: its other end learns from that that the program runs.
    Ok(sys::close_from(ctx.first_private, CLOSE_RANGE_CLOEXEC)?)
}

/// A further process of a container is set up. The host is told and lets go; that the program runs it learns
/// from the end of the control socket, which the execve closes.
pub fn ready(ctx: &mut Ctx, step: u32) -> Result<(), Stop> {
    ctx.barrier(step)?;
    sys::note_faults(sys::minor_faults());
    Ok(sys::close_from(ctx.first_private, CLOSE_RANGE_CLOEXEC)?)
}

/// Lays out the vectors of execve. HOME, if it was looked up, ends the environment.
pub fn arguments(ctx: &mut Ctx, argv: Strs<'static>, envp: Strs<'static>) -> Result<(), Stop> {
    let home = (ctx.home[0] != 0).then_some(ctx.home.as_ptr() as usize);
    let at = match words(argv, envp) <= ROOM.len() {
        true => ROOM.as_ptr() as usize,
        false => map(words(argv, envp))?,
    };
    (ctx.argv, ctx.envp) = vectors(at, argv, envp, home);
    Ok(())
}

/// Room for the vectors of most programs. Those of a hook never lie here: it may get the program's environment.
static ROOM: [AtomicUsize; 128] = [const { AtomicUsize::new(0) }; 128];

/// How many words two vectors take, each with a null at its end, and one string more.
pub fn words(argv: Strs<'static>, envp: Strs<'static>) -> usize {
    argv.count as usize + envp.count as usize + 3
}

/// Memory for so many words.
pub fn map(words: usize) -> Result<usize, Errno> {
    sys::mmap(words * 8, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1)
}

/// Two arrays of pointers, each with a null at its end; `last` is one more string of the second. `at` is [`ROOM`] or
/// has just been mapped, with [`words`] words at least.
pub fn vectors(at: usize, argv: Strs<'static>, envp: Strs<'static>, last: Option<usize>) -> (usize, usize) {
    // SAFETY: writable memory of that many words, aligned, which nobody else uses meanwhile and is never unmapped.
    let words = unsafe { core::slice::from_raw_parts_mut(at as *mut usize, words(argv, envp)) };
    let all = argv.iter().map(Some).chain([None]).chain(envp.iter().map(Some));
    let mut used = 0;
    for (slot, s) in words.iter_mut().zip(all) {
        *slot = s.map_or(0, |s: &CStr| s.as_ptr() as usize);
        used += 1;
    }
    if let (Some(last), Some(slot)) = (last, words.get_mut(used)) {
        *slot = last;
    }
    (at, at + (argv.count as usize + 1) * 8)
}

/// Becomes the program.
pub fn exec(ctx: &Ctx, step: u32) -> Result<(), Stop> {
    sys::enter(Phase::Exec, step);
    match ctx.program {
        Some(program) if ctx.argv != 0 => Err(sys::execve(program, ctx.argv, ctx.envp).into()),
        _ => Err(Stop::detail(Detail::BadScript, b"no program")),
    }
}
