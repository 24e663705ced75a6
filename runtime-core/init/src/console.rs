//! The container's terminal: the peer comes from our own devpts by TIOCGPTPEER, never from a path
//! of the container (CVE-2025-52565), and it covers only a file of the container's own /dev.

use crate::boot::Ctx;
use crate::fault::Detail;
use crate::files;
use crate::kernel::*;
use crate::script::Op;
use crate::sys::{self, Fd, Stop};

/// Opens the terminal and puts it in place; the controlling side leaves with the next barrier.
pub fn open(ctx: &mut Ctx, op: &Op<'_>) -> Result<(), Stop> {
    let Op::Console { uid, gid: _, width, height, device } = *op else {
        return Ok(());
    };
    if ctx.devpts.is_none() {
        ctx.devpts = joined()?;
    }
    let Some(devpts) = &ctx.devpts else {
        return Err(Stop::detail(Detail::Text, b"a terminal needs a devpts mount on /dev/pts"));
    };
    // What the container has mounted over it may answer to any ioctl as it likes.
    let own = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
    let master = sys::openat2(devpts.raw(), c"ptmx", O_RDWR | O_NOCTTY, 0, own)?;
    sys::ioctl(&master, TIOCSPTLCK, &mut 0i32)?;
    let peer = sys::ioctl_int(&master, TIOCGPTPEER, (O_RDWR | O_NOCTTY) as usize).map(Fd::own)?;
    if uid != 0 {
        sys::chown(peer.raw(), uid, u32::MAX)?;
    }
    if width != 0 || height != 0 {
        let mut size = WinSize { rows: height as u16, cols: width as u16, x: 0, y: 0 };
        sys::ioctl(&peer, TIOCSWINSZ, &mut size)?;
    }
    if device != 0 {
        let target = files::own_file(ctx.root()?, c"/dev/console")?;
        let clone = sys::open_tree(peer.raw(), c"", OPEN_TREE_CLONE | AT_EMPTY_PATH)?;
        sys::attach(&clone, &target, c"")?;
    }
    sys::ioctl_int(&peer, TIOCSCTTY, 0)?;
    for fd in 0..3 {
        sys::dup3(peer.raw(), fd, 0)?;
    }
    ctx.send = Some(master);
    Ok(())
}

/// The devpts of a container that was joined: reached through no link, and really one.
fn joined() -> Result<Option<Fd>, Stop> {
    let resolve = RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    let found = sys::openat2(AT_FDCWD, c"/dev/pts", O_PATH | O_DIRECTORY, 0, resolve);
    let Ok(fd) = found else { return Ok(None) };
    Ok((sys::fs_magic(&fd)? == DEVPTS_MAGIC).then_some(fd))
}
