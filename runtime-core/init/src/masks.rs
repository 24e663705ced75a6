//! Masked and read-only paths.
//!
//! What must hold: nothing of the container is a source (CVE-2025-31133), a path below /proc and /sys is looked up
//! below what was mounted there, and a path that cannot be covered is an error unless it does not exist.

use crate::boot::Ctx;
use crate::fault::Detail;
use crate::files;
use crate::kernel::*;
use crate::mounts::{attach, change, configure, said};
use crate::script::Strs;
use crate::sys::{self, Errno, Fd, Stop};
use core::ffi::CStr;

/// What a path that is to be covered leads to; nothing if nothing is there. Below /proc and /sys it is looked up
/// below their mounts: whoever writes to the image may take the directory that they are mounted on
/// out of the path for a moment, and nothing would be covered.
fn coverable(ctx: &Ctx, path: &CStr) -> Result<Option<Fd>, Stop> {
    let bytes = path.to_bytes_with_nul();
    let proc = if ctx.proc.is_some() { &ctx.proc } else { &ctx.bound_proc };
    let sys = if ctx.sys.is_some() { &ctx.sys } else { &ctx.bound_sys };
    let below = |mount: &'_ Option<Fd>, name: &[u8]| match bytes.strip_prefix(name) {
        Some(rest @ [b'/', ..]) if mount.is_some() => CStr::from_bytes_with_nul(rest).ok(),
        _ => None,
    };
    let (top, path) = match (below(proc, b"/proc"), below(sys, b"/sys")) {
        (Some(rest), _) => (proc.as_ref(), rest),
        (_, Some(rest)) => (sys.as_ref(), rest),
        _ => (None, path),
    };
    let top = match top {
        Some(mount) => mount,
        None => ctx.root()?,
    };
    match files::resolve(top, path) {
        Err(Errno(ENOENT | ENOTDIR)) => Ok(None),
        r => Ok(Some(r?)),
    }
}

/// What is to be masked.
struct Spot {
    /// What was opened; nothing where a name is enough.
    file: Option<Fd>,
    is_dir: bool,
}

/// The filesystem that was mounted here on /proc or /sys, and the one name in it that a path leads to. Nobody puts a
/// link in the place of a name there.
fn named<'a>(ctx: &'a Ctx, path: &'a CStr) -> Option<(&'a Fd, &'a CStr)> {
    let below = |mount: &'a Option<Fd>, dir: &[u8]| Some((mount.as_ref()?, files::name_below(path, dir)?));
    below(&ctx.proc, b"/proc/").or_else(|| below(&ctx.sys, b"/sys/"))
}

/// Finds what is to be masked. Of what has a name one look tells whether it is there and what it is.
fn spot(ctx: &Ctx, path: &CStr) -> Result<Option<Spot>, Stop> {
    let is_dir = |mode: u32| mode & S_IFMT == S_IFDIR;
    if let Some((top, name)) = named(ctx, path) {
        match sys::stat_name(top, name) {
            Err(Errno(ENOENT)) => return Ok(None),
            Ok(there) if there.mode & S_IFMT == S_IFLNK => {}
            there => return Ok(Some(Spot { file: None, is_dir: is_dir(there?.mode) })),
        }
    }
    let Some(file) = coverable(ctx, path)? else {
        return Ok(None);
    };
    let is_dir = is_dir(sys::stat(file.raw())?.mode);
    Ok(Some(Spot { file: Some(file), is_dir }))
}

/// Covers a path so that nothing can be read from it. A file gets the host's null device, a directory an empty
/// tree; the first of each is cloned for the others.
pub fn mask(ctx: &mut Ctx, path: &CStr, data: Strs<'_>) -> Result<(), Stop> {
    let Some(Spot { file, is_dir }) = spot(ctx, path)? else {
        return Ok(());
    };
    let known = if is_dir { &ctx.empty } else { &ctx.null };
    let is_first = known.is_none();
    let cover = match known {
        // It was checked and got its attributes when it was made, and its clone has them.
        Some(first) => sys::open_tree(first.raw(), c"", OPEN_TREE_CLONE | AT_EMPTY_PATH)?,
        None if is_dir => empty(ctx, data)?,
        None => null()?,
    };
    let Some((place, name)) = file.as_ref().map(|file| (file, c"")).or_else(|| named(ctx, path)) else {
        return Err(Stop::detail(Detail::BadScript, b"mask"));
    };
    attach(&cover, place, name, path)?;
    match (is_first, is_dir) {
        (true, true) => ctx.empty = Some(cover),
        (true, false) => ctx.null = Some(cover),
        _ => ctx.later(cover),
    }
    ctx.later_if(file);
    Ok(())
}

/// A clone of the host's null device.
fn null() -> Result<Fd, Stop> {
    let null = sys::open_tree(AT_FDCWD, c"/dev/null", OPEN_TREE_CLONE)?;
    let there = sys::stat(null.raw())?;
    if there.mode & S_IFMT != S_IFCHR || there.rdev != makedev(1, 3) {
        return Err(Stop::detail(Detail::BadNull, b"/dev/null"));
    }
    let attr = MountAttr {
        // Read-only keeps mode, owner and times of the host's device; it can be written to as ever.
        set: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
        propagation: MS_PRIVATE,
        ..MountAttr::default()
    };
    change(&null, &attr)?;
    Ok(null)
}

/// An empty tree.
fn empty(ctx: &mut Ctx, data: Strs<'_>) -> Result<Fd, Stop> {
    let fs = sys::fsopen(c"tmpfs")?;
    configure(&fs, c"", data)?;
    for (key, value) in [(c"source", c"tmpfs"), (c"mode", c"0555"), (c"size", c"0k"), (c"nr_inodes", c"1")] {
        sys::fsconfig(&fs, key, Some(value)).map_err(|e| said(&fs, e))?;
    }
    sys::fscreate(&fs)?;
    let attr = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    let empty = sys::fsmount(&fs, attr)?;
    ctx.later(fs);
    Ok(empty)
}

/// What is never a link in a procfs: the usual read-only paths.
fn usual<'a>(ctx: &'a Ctx, path: &'a CStr) -> Option<(&'a Fd, &'a CStr)> {
    let name = files::name_below(path, b"/proc/")?;
    let known = matches!(name.to_bytes(), b"bus" | b"fs" | b"irq" | b"sys" | b"sysrq-trigger");
    ctx.proc.as_ref().filter(|_| known).map(|proc| (proc, name))
}

/// Puts a read-only clone of a path over itself.
pub fn readonly(ctx: &mut Ctx, path: &CStr) -> Result<(), Stop> {
    let read_only = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    if let Some((proc, name)) = usual(ctx, path) {
        let flags = OPEN_TREE_CLONE | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW;
        let clone = match sys::open_tree(proc.raw(), name, flags) {
            Err(Errno(ENOENT)) => return Ok(()),
            clone => clone?,
        };
        change(&clone, &read_only)?;
        attach(&clone, proc, name, path)?;
        ctx.later(clone);
        return Ok(());
    }
    let Some(target) = coverable(ctx, path)? else {
        return Ok(());
    };
    let clone = sys::open_tree(target.raw(), c"", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH)?;
    change(&clone, &read_only)?;
    attach(&clone, &target, c"", path)?;
    ctx.later(clone);
    ctx.later(target);
    Ok(())
}
