//! Entering and making namespaces and cgroups.
//!
//! This process was executed outside and owns a few pages. It joins what exists, then clones once:
//! the clone is born in the new namespaces and in its v2 cgroup, and is the container's process.

use crate::boot::Ctx;
use crate::fault::Detail;
use crate::kernel::*;
use crate::script::Strs;
use crate::sys::{self, Errno, Fd, Stop};
use core::ffi::CStr;

/// Moves this process, which has one thread, into v1 cgroups. `tasks` and not `cgroup.procs`:
/// the latter waits for an RCU grace period in each hierarchy.
pub fn tasks(files: Strs<'_>) -> Result<(), Stop> {
    for file in files.iter() {
        let fd = sys::open_host(file, O_WRONLY)?;
        sys::write(&fd, b"0").map_err(|e| Stop::explained(e, Detail::Text, file.to_bytes()))?;
    }
    Ok(())
}

/// Opens a `tasks` file: the rights of whoever opens it are those that count.
pub fn open_tasks(ctx: &mut Ctx, path: &CStr) -> Result<(), Stop> {
    ctx.tasks = Some(sys::open_host(path, O_WRONLY)?);
    Ok(())
}

/// Moves this process into the cgroup of the file that was opened.
pub fn join_opened(ctx: &mut Ctx) -> Result<(), Stop> {
    if let Some(file) = ctx.tasks.take() {
        sys::write(&file, b"0")?;
    }
    Ok(())
}

/// Sets the OOM score, before this process becomes untraceable and its /proc files root's.
pub fn oom_score_adj(value: &CStr) -> Result<(), Stop> {
    let fd = sys::open_host(c"/proc/self/oom_score_adj", O_WRONLY)?;
    sys::write(&fd, value.to_bytes())?;
    Ok(())
}

/// Enters an existing namespace. Whoever lives there may trace what has the same rights; but this process still
/// sees the host's files, and the files of its /proc are not needed any more.
pub fn setns(ctx: &mut Ctx, path: &CStr, kind: u32) -> Result<(), Stop> {
    ctx.never_dumpable();
    let fd = sys::open_host(path, O_RDONLY)?;
    if kind == CLONE_NEWNS as u32 && is_hosts(&fd)? {
        return Err(Stop::detail(Detail::HostMounts, path.to_bytes()));
    }
    sys::setns(&fd, kind).map_err(|e| Stop::explained(e, Detail::Text, path.to_bytes()))?;
    Ok(())
}

/// Whether a mount namespace is that of the caller or of the host's first process, whose root must never be
/// changed.
fn is_hosts(fd: &Fd) -> Result<bool, Stop> {
    let inode = sys::stat(fd.raw())?.inode;
    // Who may not look at the first process may not enter its namespaces either.
    let first = sys::stat_path(c"/proc/1/ns/mnt").is_ok_and(|s| s.inode == inode);
    Ok(first || sys::stat_path(c"/proc/self/ns/mnt")?.inode == inode)
}

/// Makes a user namespace. This process has all capabilities in it until the next exec.
pub fn new_user() -> Result<(), Stop> {
    Ok(sys::unshare(CLONE_NEWUSER)?)
}

/// Becomes root of the user namespace, once the host has written the maps.
pub fn become_root(ctx: &Ctx, drop_groups: bool) -> Result<(), Stop> {
    if drop_groups {
        sys::setgroups(&[])?;
    }
    sys::setgid(0)?;
    sys::setuid(0)?;
    ctx.set_dumpable();
    Ok(())
}

/// Clones the container's process. `CLONE_PARENT` makes it a child of the host's process, not of
/// this one, which tells its pid and hands over its pidfd, and is done. With `CLONE_VM` among the flags the clone
/// has this one's memory, which then is not copied.
pub fn clone(ctx: &mut Ctx, flags: u64, cgroup: &CStr, step: u32) -> Result<(), Stop> {
    let mut pidfd = -1i32;
    let dir = match cgroup.is_empty() {
        true => ctx.cgroup.take(),
        false => Some(sys::open_host(cgroup, O_PATH | O_DIRECTORY)?),
    };
    let mut args = CloneArgs {
        flags: flags | CLONE_PARENT | CLONE_PIDFD,
        pidfd: (&raw mut pidfd) as u64,
        ..CloneArgs::default()
    };
    if let Some(dir) = &dir {
        args.flags |= CLONE_INTO_CGROUP;
        args.cgroup = dir.raw() as u64;
    }
    if flags & CLONE_VM != 0 {
        let aside = ctx.aside.take();
        sys::clone_sharing(args, aside.as_ref().map_or(ctx.control, Fd::raw), step)?;
        ctx.later_if(aside);
        return Ok(());
    }
    let pid = sys::clone3(&args)?;
    if pid != 0 {
        // The page is the clone's from now on, which may already have more to say.
        sys::forget_page();
        let fd = Fd::own(pidfd as usize);
        let told = ctx.tell(step, pid as u32, Some(&fd));
        sys::exit(if told.is_ok() { 0 } else { 250 });
    }
    Ok(())
}

/// Opens a cgroup for the clone: once the mount namespace is joined its path leads nowhere.
pub fn open_cgroup(ctx: &mut Ctx, path: &CStr) -> Result<(), Stop> {
    ctx.cgroup = Some(sys::open_host(path, O_PATH | O_DIRECTORY)?);
    Ok(())
}

/// Enters namespaces of a container, all at once. Its processes may not trace this one.
pub fn enter(ctx: &mut Ctx, flags: u32) -> Result<(), Stop> {
    ctx.never_dumpable();
    Ok(sys::setns_raw(ctx.fifo, flags)?)
}

/// Makes namespaces for this process itself.
pub fn unshare(flags: u32) -> Result<(), Stop> {
    Ok(sys::unshare(u64::from(flags))?)
}

/// Leads a session of its own, with a session keyring of its own.
pub fn session(keyring: &CStr) -> Result<(), Stop> {
    sys::setsid()?;
    if !keyring.is_empty() {
        match sys::join_keyring(keyring) {
            // A kernel without keyrings has nothing to keep apart.
            Err(Errno(ENOSYS)) => {}
            r => r?,
        }
    }
    Ok(())
}

/// The host name.
pub fn hostname(name: &CStr) -> Result<(), Stop> {
    Ok(sys::sethostname(name)?)
}

/// The NIS domain name.
pub fn domainname(name: &CStr) -> Result<(), Stop> {
    Ok(sys::setdomainname(name)?)
}

/// Sets `lo` up.
pub fn loopback(ctx: &mut Ctx) -> Result<(), Stop> {
    let socket = sys::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC)?;
    let mut req = IfReq { name: [0; 16], flags: IFF_UP, pad: [0; 22] };
    req.name[..2].copy_from_slice(b"lo");
    sys::ioctl(&socket, SIOCSIFFLAGS, &mut req)?;
    ctx.later(socket);
    Ok(())
}
