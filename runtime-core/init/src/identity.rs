//! What the process may do: limits, its share of the machine, ids, capabilities, filter.

use crate::boot::Ctx;
use crate::files;
use crate::kernel::*;
use crate::listener::{self, Handover};
use crate::sys::{self, Errno, Stop};

/// A resource limit.
pub fn rlimit(resource: u32, soft: u64, hard: u64) -> Result<(), Stop> {
    Ok(sys::setrlimit(resource, soft, hard)?)
}

/// No execve may gain privileges from now on.
pub fn no_new_privs() -> Result<(), Stop> {
    sys::prctl(PR_SET_NO_NEW_PRIVS, 1, 0)?;
    Ok(())
}

/// The processors that it runs on.
pub fn affinity(mask: &[u8]) -> Result<(), Stop> {
    Ok(sys::sched_setaffinity(mask)?)
}

/// The scheduler, a `struct sched_attr`.
pub fn scheduler(attr: &[u8]) -> Result<(), Stop> {
    Ok(sys::sched_setattr(attr)?)
}

/// Class and level of I/O priority.
pub fn io_priority(value: u32) -> Result<(), Stop> {
    Ok(sys::ioprio_set(value)?)
}

/// From which memory nodes it gets its pages.
pub fn memory_policy(mode: u32, nodes: &[u8]) -> Result<(), Stop> {
    Ok(sys::set_mempolicy(mode, nodes)?)
}

/// The execution domain.
pub fn personality(domain: u32) -> Result<(), Stop> {
    sys::personality(domain)?;
    Ok(())
}

/// The file mode creation mask.
pub fn umask(mask: u32) -> Result<(), Stop> {
    sys::umask(mask);
    Ok(())
}

/// Drops everything but `keep` from the bounding set, while CAP_SETPCAP is still there.
pub fn bounding(keep: u64, last: u32) -> Result<(), Stop> {
    for cap in 0..=last {
        if keep & (1 << cap) == 0 {
            sys::prctl(PR_CAPBSET_DROP, cap as usize, 0)?;
        }
    }
    Ok(())
}

/// Becomes the user. The permitted set stays: [`caps`] decides about it.
pub fn identity(ctx: &mut Ctx, uid: u32, gid: u32, keep_groups: bool, groups: &[u8]) -> Result<(), Stop> {
    if uid != 0 {
        own_stdio(uid)?;
        sys::prctl(PR_SET_KEEPCAPS, 1, 0)?;
    }
    if !keep_groups {
        sys::setgroups(groups)?;
    }
    sys::setgid(gid)?;
    sys::setuid(uid)?;
    ctx.set_dumpable();
    if let Some(path) = ctx.pending_cwd.take() {
        files::enter(path)?;
    }
    Ok(())
}

/// Lets the user reopen its own stdio: a pipe or terminal of somebody else would refuse it. The null
/// device is everybody's and stays as it is; files that refuse a change of owner stay too.
fn own_stdio(uid: u32) -> Result<(), Stop> {
    for fd in 0..3 {
        let there = sys::stat(fd)?;
        let null = there.mode & S_IFMT == S_IFCHR && there.rdev == makedev(1, 3);
        if !null && there.uid != uid {
            match sys::chown(fd, uid, u32::MAX) {
                // EINVAL: the owner has no number here; EPERM: a socket or a foreign filesystem; EROFS.
                Ok(()) | Err(Errno(EPERM | EINVAL | 30)) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
    Ok(())
}

/// The three sets of `capset`.
pub fn caps(effective: u64, permitted: u64, inheritable: u64) -> Result<(), Stop> {
    let half = |shift: u32| CapData {
        effective: (effective >> shift) as u32,
        permitted: (permitted >> shift) as u32,
        inheritable: (inheritable >> shift) as u32,
    };
    Ok(sys::capset(&[half(0), half(32)])?)
}

/// The ambient set: emptied, then raised one by one.
pub fn ambient(set: u64) -> Result<(), Stop> {
    sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0)?;
    for cap in 0..64 {
        if set & (1 << cap) != 0 {
            sys::prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap)?;
        }
    }
    Ok(())
}

/// Loads the filter. From here on only capset and execve are called, and write(2), which no filter may hand to an
/// agent, where the filter has a listener: its end says that the agent has got it.
pub fn seccomp(flags: u32, filter: &[u8], handover: Option<Handover>) -> Result<(), Stop> {
    let listener = sys::seccomp(flags, filter)?;
    if let Some(handover) = handover {
        listener::wait(handover, listener);
    }
    Ok(())
}
