//! Mounts: made detached, given their attributes, then attached by descriptor.
//!
//! What must hold: no source comes from inside the container (CVE-2025-31133, CVE-2025-52565), and no
//! clone stays a peer of the host's mount.

use crate::boot::Ctx;
use crate::conceal;
use crate::copyup;
use crate::fault::Detail;
use crate::files::{self, Leaf};
use crate::kernel::*;
use crate::script::{Op, Strs, bind as flag, require as need};
use crate::sys::{self, Errno, Fd, Stop};
use core::ffi::CStr;

/// Changes the propagation of a host path.
pub fn propagation(path: &CStr, flags: u64) -> Result<(), Stop> {
    let attr = MountAttr { propagation: flags & !MS_REC, ..MountAttr::default() };
    Ok(sys::mount_setattr(AT_FDCWD, path, flags & MS_REC != 0, &attr)?)
}

/// Clones the root's tree and attaches the clone where it lies, so that hooks which enter this
/// mount namespace find it there, and nothing is ever attached to the original.
pub fn root(ctx: &mut Ctx, path: &CStr, alone: bool) -> Result<(), Stop> {
    if path.is_empty() {
        ctx.root = ctx.received.take();
        return Ok(());
    }
    let tree = sys::open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | AT_RECURSIVE)?;
    if alone {
        conceal::below(path)?;
    }
    sys::attach_host(&tree, path)?;
    ctx.root = Some(tree);
    Ok(())
}

/// Makes a mount namespace for the set-up of a container that has none of its own.
pub fn hide(ctx: &mut Ctx) -> Result<(), Stop> {
    ctx.mounts = Some(sys::open_host(c"/proc/self/ns/mnt", O_RDONLY)?);
    Ok(sys::unshare(CLONE_NEWNS)?)
}

/// Goes back to the mount namespace of the caller. The root is a clone of everything that was mounted, which is in
/// no mount namespace: nobody sees it but through this process, and it ends with the last process that has it as
/// its root. The descriptor is closed by the execve; until then the clone's attributes can be changed.
pub fn leave(ctx: &mut Ctx) -> Result<(), Stop> {
    let Some(home) = ctx.mounts.take() else {
        return Err(Stop::detail(Detail::BadScript, b"mounts"));
    };
    let tree = sys::open_tree(AT_FDCWD, c"/", OPEN_TREE_CLONE | AT_RECURSIVE)?;
    sys::setns(&home, CLONE_NEWNS as u32)?;
    sys::chdir(&tree)?;
    sys::chroot_here()?;
    sys::chdir_root()?;
    ctx.mounts = Some(tree);
    Ok(())
}

/// Makes the root of the container's first process the root.
pub fn enter_root(ctx: &mut Ctx) -> Result<(), Stop> {
    let Some(root) = ctx.received.take() else {
        return Err(Stop::detail(Detail::BadScript, b"root"));
    };
    sys::chdir(&root)?;
    sys::chroot_here()?;
    Ok(sys::chdir_root()?)
}

/// A new filesystem.
pub fn mount(ctx: &mut Ctx, op: &Op<'_>) -> Result<(), Stop> {
    let Op::Mount { fstype, source, dest, attr, propagation, require, data, label } = *op else {
        return Ok(());
    };
    let target = target(ctx, dest, require)?;
    let fs = sys::fsopen(fstype)?;
    configure(&fs, source, data)?;
    if require & need::MODE_OF_TARGET != 0 && !target.made {
        inherit_mode(&fs, &target.file)?;
    }
    sys::fscreate(&fs).map_err(|e| said(&fs, e))?;
    let mount = sys::fsmount(&fs, attr)?;
    place(ctx, mount, target, &Made { fstype, dest, propagation, label, require })?;
    ctx.later(fs);
    Ok(())
}

/// What is done with a new filesystem, however it was mounted.
struct Made<'a> {
    fstype: &'a CStr,
    dest: &'a CStr,
    propagation: u64,
    label: &'a CStr,
    require: u32,
}

fn place(ctx: &mut Ctx, mount: Fd, target: Target<'_>, made: &Made<'_>) -> Result<(), Stop> {
    let Made { fstype, dest, propagation, label, require } = *made;
    if !label.is_empty() {
        let root = sys::openat2(mount.raw(), c".", O_RDONLY | O_DIRECTORY, 0, RESOLVE_BENEATH)?;
        sys::set_xattr(&root, c"security.selinux", label)?;
    }
    if propagation != 0 {
        change(&mount, &MountAttr { propagation: propagation & !MS_REC, ..MountAttr::default() })?;
    }
    if require & need::COPY_UP != 0 && !target.made {
        copyup::copy(&target.file, &mount)?;
    }
    if require & need::REMEMBER != 0 {
        remember(ctx, &mount)?;
    }
    attach(&mount, &target.file, target.name, dest)?;
    let beside = match dest.to_bytes() {
        b"/proc" | b"/sys" => require & need::ORDINARY != 0,
        b"/sys/fs/cgroup" => ctx.sys.is_some(),
        _ => false,
    };
    match target.name.is_empty() {
        true => ctx.later(target.file),
        false => ctx.dev = Some(target.file),
    }
    if target.name.is_empty() && !beside {
        // A link of the image may have led it over /dev.
        let dev = ctx.dev.take();
        ctx.later_if(dev);
    }
    let before = match (fstype.to_bytes(), dest.to_bytes()) {
        (b"tmpfs", b"/dev") => ctx.dev.replace(mount),
        (b"proc", b"/proc") => {
            ctx.bound_proc = None;
            ctx.proc.replace(mount)
        }
        (b"sysfs", b"/sys") => {
            ctx.bound_sys = None;
            ctx.sys.replace(mount)
        }
        (b"devpts", b"/dev/pts") => ctx.devpts.replace(mount),
        _ => Some(mount),
    };
    ctx.later_if(before);
    Ok(())
}

/// A new filesystem whose options are too long for fsconfig(2): 255 bytes. mount(2) takes a page of them, but
/// puts the mount on a path. That path is the root of this process, which nobody inside can change: the
/// mount lies over it, where `/..` leads, until its clone is taken to be attached by descriptor.
pub fn old_mount(ctx: &mut Ctx, op: &Op<'_>) -> Result<(), Stop> {
    let Op::OldMount { fstype, source, dest, flags, propagation, require, data, label } = *op else {
        return Ok(());
    };
    let target = target(ctx, dest, require)?;
    let data = match require & need::MODE_OF_TARGET != 0 && !target.made {
        true => with_mode(data, &target.file)?,
        false => data,
    };
    sys::mount_over_root(source, fstype, flags, data)?;
    let mount = sys::open_tree(AT_FDCWD, c"/..", OPEN_TREE_CLONE)?;
    sys::unmount_over_root()?;
    place(ctx, mount, target, &Made { fstype, dest, propagation, label, require })
}

/// The data of a tmpfs and the mode of what it covers.
fn with_mode<'a>(data: &'a CStr, target: &Fd) -> Result<&'a CStr, Stop> {
    const KEY: &[u8] = b",mode=";
    let (bytes, mode) = (data.to_bytes(), mode_of(target)?);
    let buffer = sys::buffer(bytes.len() + KEY.len() + mode.len())?;
    let all = bytes.iter().chain(KEY).chain(&mode);
    buffer.iter_mut().zip(all).for_each(|(to, from)| *to = *from);
    CStr::from_bytes_until_nul(buffer).map_err(|_| Stop::detail(Detail::BadScript, b"data"))
}

/// Notes that a filesystem is the container's. One too many is only not known as such.
fn remember(ctx: &mut Ctx, mount: &Fd) -> Result<(), Stop> {
    let (devices, count) = &mut ctx.mounted;
    if let Some(slot) = devices.get_mut(*count) {
        *slot = sys::stat(mount.raw())?.device;
        *count += 1;
    }
    Ok(())
}

/// Changes what is mounted on a path: the mount; its filesystem only if it was mounted here. With a link an image
/// leads to a tree of the host, whose filesystem is everybody's.
pub fn remount(ctx: &Ctx, op: &Op<'_>) -> Result<(), Stop> {
    let Op::Remount { dest, filesystem, set, clear, rset, rclear, propagation, data } = *op else {
        return Ok(());
    };
    let mount = files::resolve(ctx.root()?, dest)?;
    if filesystem != 0 {
        let fs = sys::fspick(&mount)?;
        let device = sys::stat(mount.raw())?.device;
        let (devices, count) = &ctx.mounted;
        if !devices.get(..*count).is_some_and(|known| known.contains(&device)) {
            return Err(Stop::detail(Detail::Foreign, dest.to_bytes()));
        }
        configure(&fs, c"", data)?;
        sys::fsreconfigure(&fs).map_err(|e| said(&fs, e))?;
    }
    attributes(&mount, [set, clear, rset, rclear], propagation)
}

/// Gives a mount its attributes: its own, then those of its whole tree, which may say otherwise.
fn attributes(mount: &Fd, [set, clear, rset, rclear]: [u64; 4], propagation: u64) -> Result<(), Stop> {
    if set | clear != 0 {
        change(mount, &MountAttr { set, clear, ..MountAttr::default() })?;
    }
    if rset | rclear != 0 {
        let attr = MountAttr { set: rset, clear: rclear, ..MountAttr::default() };
        sys::mount_setattr(mount.raw(), c"", true, &attr)?;
    }
    if propagation != 0 {
        let attr = MountAttr { propagation: propagation & !MS_REC, ..MountAttr::default() };
        sys::mount_setattr(mount.raw(), c"", propagation & MS_REC != 0, &attr)?;
    }
    Ok(())
}

/// Where a filesystem goes.
struct Target<'a> {
    /// The directory that it covers; with a name the directory of this name in it.
    file: Fd,
    name: &'a CStr,
    /// Whether it was made.
    made: bool,
}

/// The directory a filesystem goes on.
fn target<'a>(ctx: &mut Ctx, dest: &'a CStr, require: u32) -> Result<Target<'a>, Stop> {
    if require & need::ORDINARY == 0 {
        // The filesystem on /dev was made here: what is new in it is what the path leads to.
        if let Some((name, file)) =
            files::name_below(dest, b"/dev/").and_then(|name| Some((name, ctx.dev.take()?)))
        {
            match sys::mkdir(&file, name, 0o755) {
                Ok(()) => return Ok(Target { file, name, made: true }),
                Err(Errno(EEXIST)) => ctx.dev = Some(file),
                Err(e) => return Err(e.into()),
            }
        }
        let (file, made) = files::ensure(ctx.root()?, dest, Leaf::Dir)?;
        return Ok(Target { file, name: c"", made });
    }
    let root = ctx.root()?;
    let mut made = false;
    let found = match ordinary(root, dest) {
        Err(Errno(ENOENT)) => {
            made = files::ensure(root, dest, Leaf::Dir)?.1;
            // Looked up again: what it is now counts.
            ordinary(root, dest)
        }
        found => found,
    };
    match found {
        Ok(file) => Ok(Target { file, name: c"", made }),
        Err(e @ Errno(ELOOP | ENOTDIR)) => Err(Stop::explained(e, Detail::NotOrdinary, dest.to_bytes())),
        Err(e) => Err(e.into()),
    }
}

/// A directory that is reached through no link.
fn ordinary(root: &Fd, dest: &CStr) -> Result<Fd, Errno> {
    let resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    sys::openat2(root.raw(), dest, O_PATH | O_DIRECTORY, 0, resolve)
}

/// Gives a filesystem its source and its data, one by one, so that the kernel names the wrong one.
pub fn configure(fs: &Fd, source: &CStr, data: Strs<'_>) -> Result<(), Stop> {
    if !source.is_empty() {
        sys::fsconfig(fs, c"source", Some(source)).map_err(|e| said(fs, e))?;
    }
    let mut entries = data.iter();
    while let Some(entry) = entries.next() {
        // '=' stands before a key with a value, which is the next entry, '!' before a flag.
        let Ok(key) = CStr::from_bytes_with_nul(entry.to_bytes_with_nul().get(1..).unwrap_or(b"\0")) else {
            return Err(Stop::detail(Detail::BadScript, b"data"));
        };
        let value = if entry.to_bytes().first() == Some(&b'=') { entries.next() } else { None };
        sys::fsconfig(fs, key, value).map_err(|e| said(fs, e))?;
    }
    Ok(())
}

/// A tmpfs over a directory of the image looks like that directory.
fn inherit_mode(fs: &Fd, target: &Fd) -> Result<(), Stop> {
    let text = mode_of(target)?;
    if let Ok(mode) = CStr::from_bytes_with_nul(&text) {
        sys::fsconfig(fs, c"mode", Some(mode)).map_err(|e| said(fs, e))?;
    }
    Ok(())
}

/// The permission bits of a directory, in octal with a NUL.
fn mode_of(target: &Fd) -> Result<[u8; 5], Stop> {
    let mode = sys::stat(target.raw())?.mode & 0o7777;
    let mut text = [0u8; 5];
    for (i, digit) in text.iter_mut().take(4).enumerate() {
        *digit = b'0' + (mode >> (9 - 3 * i) & 7) as u8;
    }
    Ok(text)
}

/// The kernel's own words on a failed configuration, where it has some.
pub fn said(fs: &Fd, e: Errno) -> Stop {
    let mut buf = [0u8; 512];
    match sys::fs_log(fs, &mut buf) {
        0 => e.into(),
        n => Stop::explained(e, Detail::FsLog, buf.get(..n).unwrap_or(b"")),
    }
}

/// Attaches, and says it in plain words where a file would cover a directory or the reverse: the
/// kernel answers EINVAL to that.
pub fn attach(mount: &Fd, target: &Fd, name: &CStr, dest: &CStr) -> Result<(), Stop> {
    sys::attach(mount, target, name).map_err(|e| {
        let is_dir = |fd: &Fd| sys::stat_quietly(fd.raw()).map(|s| s.mode & S_IFMT == S_IFDIR);
        match (e, is_dir(mount), is_dir(target)) {
            // Of a name it is known what it is.
            (Errno(EINVAL | ENOTDIR), Some(a), Some(b)) if a != b && name.is_empty() => {
                Stop::explained(Errno(ENOTDIR), Detail::TypeMismatch, dest.to_bytes())
            }
            _ => e.into(),
        }
    })
}

pub fn change(mount: &Fd, attr: &MountAttr) -> Result<(), Errno> {
    sys::mount_setattr(mount.raw(), c"", false, attr)
}

/// A tree of the host. Its clone is in this mount namespace, whose mounts all are slaves: it
/// sends nothing back. A source to be shared with the host was cloned by the host and was received
/// with the last "go".
pub fn bind(ctx: &mut Ctx, op: &Op<'_>) -> Result<(), Stop> {
    let Op::Bind { source, dest, flags, set, clear, rset, rclear, propagation, device } = *op else {
        return Ok(());
    };
    let recursive = if flags & flag::RECURSIVE != 0 { AT_RECURSIVE } else { 0 };
    let tree = match ctx.received.take() {
        Some(fd) if source.is_empty() => fd,
        _ => sys::open_tree(AT_FDCWD, source, OPEN_TREE_CLONE | recursive)?,
    };
    if flags & flag::PROC != 0 && sys::fs_magic(&tree)? != PROC_MAGIC {
        return Err(Stop::detail(Detail::NotProc, dest.to_bytes()));
    }
    let there = sys::stat(tree.raw())?;
    let node = match flags & (flag::CHAR | flag::BLOCK) {
        0 => None,
        flag::CHAR => Some(S_IFCHR),
        _ => Some(S_IFBLK),
    };
    // The name is the container's: on the host it may be that of another device, or of anything.
    if node.is_some_and(|kind| there.mode & S_IFMT != kind || there.rdev != device) {
        return Err(Stop::detail(Detail::DeviceMismatch, source.to_bytes()));
    }
    let is_dir = there.mode & S_IFMT == S_IFDIR;
    attributes(&tree, [set, clear, rset, rclear], propagation)?;
    let leaf = if is_dir { Leaf::Dir } else { Leaf::File };
    let (target, _) = files::ensure(ctx.root()?, dest, leaf)?;
    attach(&tree, &target, c"", dest)?;
    // What it covers is not what paths lead to any more.
    match dest.to_bytes() {
        b"/proc" => {
            ctx.proc = None;
            ctx.bound_proc = Some(tree);
        }
        b"/sys" => {
            ctx.sys = None;
            ctx.bound_sys = Some(tree);
        }
        _ => ctx.later(tree),
    }
    ctx.later(target);
    Ok(())
}

/// Changes a mount that is there.
pub fn set_attr(
    ctx: &Ctx,
    dest: &CStr,
    set: u64,
    clear: u64,
    recursive: bool,
    propagation: u64,
) -> Result<(), Stop> {
    let target = files::resolve(ctx.root()?, dest)?;
    let attr = MountAttr { set, clear, propagation: propagation & !MS_REC, userns_fd: 0 };
    Ok(sys::mount_setattr(target.raw(), c"", recursive, &attr)?)
}

/// Makes the root mount read-only, when everything that has to be made in it is there. It is the root of this
/// process by now.
pub fn root_readonly() -> Result<(), Stop> {
    let attr = MountAttr { set: MOUNT_ATTR_RDONLY, ..MountAttr::default() };
    Ok(sys::mount_setattr(AT_FDCWD, c"/", false, &attr)?)
}

/// Makes the container's root the root of this mount namespace and lets go of the old one.
pub fn pivot(ctx: &mut Ctx, move_root: bool, flags: u64, proc: bool) -> Result<(), Stop> {
    let root = ctx.root()?;
    sys::chdir(root)?;
    if move_root {
        conceal::beside(ctx, root)?;
        let slash = sys::open_host(c"/", O_PATH | O_DIRECTORY)?;
        sys::attach(root, &slash, c"")?;
        sys::chroot_here()?;
    } else {
        sys::pivot_root_here()?;
        // The old root now lies over the new one. It is a slave: nothing of this reaches the host.
        sys::unmount_here()?;
    }
    sys::chdir_root()?;
    if flags != 0 {
        propagation(c"/", flags)?;
    }
    if !proc {
        for fd in [ctx.proc.take(), ctx.private_proc.take()] {
            ctx.later_if(fd);
        }
    }
    for fd in [
        ctx.root.take(),
        ctx.bound_proc.take(),
        ctx.sys.take(),
        ctx.bound_sys.take(),
        ctx.devpts.take(),
        ctx.empty.take(),
        ctx.null.take(),
    ] {
        ctx.later_if(fd);
    }
    // From here on each descriptor is closed at once.
    ctx.sweep()?;
    ctx.room = 0;
    Ok(())
}
