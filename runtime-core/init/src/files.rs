//! Files of the container: targets, devices, links, sysctls, the working directory.
//!
//! What must hold: a path of the container is resolved by `openat2(RESOLVE_IN_ROOT |
//! RESOLVE_NO_MAGICLINKS)` below the root's descriptor and never otherwise; what is made is made by an
//! `*at` call on an open parent with one component as name (CVE-2024-45310, CVE-2026-41579).

use crate::boot::Ctx;
use crate::fault::Detail;
use crate::kernel::*;
use crate::sys::{self, Errno, Fd, Stop};
use core::ffi::CStr;

const IN_ROOT: u64 = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
/// As many links as the kernel itself follows.
const DEPTH: u32 = 40;

/// What a missing target becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Leaf {
    Dir,
    File,
}

/// An existing path of the container.
pub fn resolve(root: &Fd, path: &CStr) -> Result<Fd, Errno> {
    sys::openat2(root.raw(), path, O_PATH, 0, IN_ROOT)
}

/// A path of the container that is made if it is missing, with its parents. The flag says whether
/// it was made.
pub fn ensure(root: &Fd, path: &CStr, leaf: Leaf) -> Result<(Fd, bool), Errno> {
    ensure_at(root, path.to_bytes(), leaf, DEPTH)
}

fn ensure_at(root: &Fd, path: &[u8], leaf: Leaf, depth: u32) -> Result<(Fd, bool), Errno> {
    let path = trim(path);
    match with_nul(path, |p| resolve(root, p)) {
        Err(Errno(ENOENT)) if depth > 0 => make(root, path, leaf, depth),
        r => r.map(|fd| (fd, false)),
    }
}

/// Makes the last component of a path that does not exist.
#[inline(never)]
fn make(root: &Fd, path: &[u8], leaf: Leaf, depth: u32) -> Result<(Fd, bool), Errno> {
    let cut = path.iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
    let (dir, name) = path.split_at_checked(cut).ok_or(Errno(ENOENT))?;
    let (parent, _) = ensure_at(root, dir, Leaf::Dir, depth - 1)?;
    // `..` behind a directory that was just made is the kernel's to resolve, below the root. As a name
    // in a parent it would lead out of the root, whose parent is the host's directory.
    if !sys::is_component(name) {
        drop(parent);
        return with_nul(path, |p| resolve(root, p)).map(|fd| (fd, false));
    }
    with_nul(name, |name| {
        let made = match leaf {
            Leaf::Dir => sys::mkdir(&parent, name, 0o755),
            Leaf::File => sys::mknod(&parent, name, S_IFREG | 0o644, 0),
        };
        match made {
            // It did not resolve, yet it is there: a dangling link. Its target is made instead.
            Err(Errno(EEXIST)) => through_link(root, &parent, dir, name, leaf, depth),
            r => r.and_then(|()| sys::open_name(&parent, name, O_PATH)).map(|fd| (fd, true)),
        }
    })
}

/// Makes what a dangling link points to. The target is taken relative to the link's directory and
/// resolved by the kernel again, below the root.
#[inline(never)]
fn through_link(
    root: &Fd,
    parent: &Fd,
    dir: &[u8],
    name: &CStr,
    leaf: Leaf,
    depth: u32,
) -> Result<(Fd, bool), Errno> {
    let mut buf = [0u8; 4096];
    let mut at = 0;
    let mut link = [0u8; 2048];
    let n = match sys::readlink(parent, name, &mut link) {
        // Not a link: somebody else made it in between.
        Err(Errno(EINVAL)) => return sys::open_name(parent, name, O_PATH).map(|fd| (fd, false)),
        r => r?,
    };
    let link = link.get(..n).filter(|_| n < 2048).ok_or(Errno(ENAMETOOLONG))?;
    if link.first() != Some(&b'/') {
        at = dir.len();
        buf.get_mut(..at).ok_or(Errno(ENAMETOOLONG))?.copy_from_slice(dir);
    }
    let end = at + link.len();
    buf.get_mut(at..end).ok_or(Errno(ENAMETOOLONG))?.copy_from_slice(link);
    ensure_at(root, buf.get(..end).ok_or(Errno(ENAMETOOLONG))?, leaf, depth - 1)
}

/// Without slashes at the end; the root is ".".
fn trim(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b != b'/').map_or(0, |i| i + 1);
    match path.get(..end) {
        Some(p) if !p.is_empty() => p,
        _ => b".",
    }
}

/// Lends a NUL-terminated copy.
fn with_nul<T>(bytes: &[u8], f: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
    if bytes.len() < 256 {
        let mut buf = [0u8; 256];
        return copied(&mut buf, bytes, f);
    }
    long(bytes, f)
}

#[inline(never)]
fn long<T>(bytes: &[u8], f: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
    let mut buf = [0u8; 4096];
    copied(&mut buf, bytes, f)
}

fn copied<T>(buf: &mut [u8], bytes: &[u8], f: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
    buf.get_mut(..bytes.len()).ok_or(Errno(ENAMETOOLONG))?.copy_from_slice(bytes);
    f(CStr::from_bytes_until_nul(buf).map_err(|_| Errno(ENAMETOOLONG))?)
}

/// Splits a path into its parent and its last component.
fn split(path: &CStr) -> Result<(&[u8], &CStr), Errno> {
    let bytes = trim(path.to_bytes());
    let cut = bytes.iter().rposition(|&b| b == b'/').map_or(0, |i| i + 1);
    let name = path.to_bytes_with_nul().get(cut..).unwrap_or(b"\0");
    let name = CStr::from_bytes_until_nul(name).map_err(|_| Errno(ENOENT))?;
    Ok((bytes.get(..cut).unwrap_or(b""), name))
}

/// The one name that a path has behind a directory.
pub fn name_below<'a>(path: &'a CStr, dir: &[u8]) -> Option<&'a CStr> {
    let name = path.to_bytes_with_nul().strip_prefix(dir)?;
    CStr::from_bytes_with_nul(name).ok().filter(|name| sys::is_component(name.to_bytes()))
}

/// The parent of a device or a link, made if missing. Most of them have the same one, which nothing is mounted over
/// between them.
fn parent<'a>(ctx: &'a mut Ctx, dir: &'static [u8]) -> Result<&'a Fd, Stop> {
    if dir == b"/dev/" && ctx.dev.is_some() {
        ctx.parent = ctx.dev.take().map(|fd| (dir, fd));
    }
    if ctx.parent.as_ref().is_none_or(|(known, _)| *known != dir) {
        let (fd, _) = ensure_at(ctx.root()?, dir, Leaf::Dir, DEPTH)?;
        ctx.parent = Some((dir, fd));
    }
    match &ctx.parent {
        Some((_, fd)) => Ok(fd),
        None => Err(Errno(ENOENT).into()),
    }
}

/// A device node, a FIFO or a plain socket of the config. One that is there already must be the
/// same device; the filesystem's idea of it is not followed through a link.
pub fn device(
    ctx: &mut Ctx,
    path: &'static CStr,
    mode: u32,
    dev: u64,
    uid: u32,
    gid: u32,
) -> Result<(), Stop> {
    let (dir, name) = split(path)?;
    let parent = parent(ctx, dir)?;
    match sys::mknod(parent, name, mode, dev) {
        Err(Errno(EEXIST)) => {
            let there = sys::stat(sys::open_name(parent, name, O_PATH)?.raw())?;
            let same =
                there.mode & S_IFMT == mode & S_IFMT && (there.rdev == dev || mode & S_IFMT == 0o10_000);
            if !same {
                return Err(Stop::detail(Detail::DeviceMismatch, path.to_bytes()));
            }
        }
        r => r?,
    }
    if uid != 0 || gid != 0 {
        sys::chown_name(parent, name, uid, gid)?;
    }
    Ok(())
}

/// A plain file to be covered, made if it is missing. A link in its place would lead elsewhere.
pub fn own_file(root: &Fd, path: &CStr) -> Result<Fd, Stop> {
    let (dir, name) = split(path)?;
    let (parent, _) = ensure_at(root, dir, Leaf::Dir, DEPTH)?;
    match sys::mknod(&parent, name, S_IFREG | 0o600, 0) {
        Ok(()) | Err(Errno(EEXIST)) => {}
        Err(e) => return Err(e.into()),
    }
    let file = sys::open_name(&parent, name, O_PATH)?;
    match sys::stat(file.raw())?.mode & S_IFMT {
        S_IFREG | S_IFCHR => Ok(file),
        _ => Err(Stop::detail(Detail::DeviceMismatch, path.to_bytes())),
    }
}

/// A symbolic link. One that is there already stays, as do a file and a directory.
pub fn symlink(ctx: &mut Ctx, target: &CStr, path: &'static CStr) -> Result<(), Stop> {
    let (dir, name) = split(path)?;
    match sys::symlink(target, parent(ctx, dir)?, name) {
        Err(Errno(EEXIST)) => Ok(()),
        r => Ok(r?),
    }
}

/// Writes to a file of our own procfs, over whose files nothing may be mounted.
fn write_proc(ctx: &mut Ctx, path: &CStr, value: &CStr) -> Result<Result<(), Errno>, Stop> {
    if ctx.proc.is_none() && ctx.private_proc.is_none() {
        let fs = sys::fsopen(c"proc")?;
        sys::fscreate(&fs)?;
        let attr = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
        ctx.private_proc = Some(sys::fsmount(&fs, attr)?);
    }
    let Some(proc) = ctx.proc.as_ref().or(ctx.private_proc.as_ref()) else {
        return Ok(Ok(()));
    };
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_XDEV | RESOLVE_NO_SYMLINKS;
    let file = sys::openat2(proc.raw(), path, O_WRONLY, 0, resolve)?;
    Ok(sys::write(&file, value.to_bytes()).map(drop))
}

/// Writes a sysctl.
pub fn sysctl(ctx: &mut Ctx, key: &CStr, value: &CStr) -> Result<(), Stop> {
    write_proc(ctx, key, value)?.map_err(|e| Stop::explained(e, Detail::Text, key.to_bytes()))
}

/// Sets the security label of the next execve. The files are named by number: `self` is a link.
pub fn program_label(ctx: &mut Ctx, file: &CStr, label: &CStr) -> Result<(), Stop> {
    let mut path = [0u8; 64];
    let mut pid = sys::getpid();
    let mut at = 10;
    path[at] = b'/';
    while pid > 0 && at > 0 {
        at -= 1;
        path[at] = b'0' + (pid % 10) as u8;
        pid /= 10;
    }
    let name = file.to_bytes();
    let end = 11 + name.len();
    path.get_mut(11..end).ok_or(Errno(ENAMETOOLONG))?.copy_from_slice(name);
    let path = CStr::from_bytes_until_nul(path.get(at..).unwrap_or(b"")).map_err(|_| Errno(EINVAL))?;
    Ok(write_proc(ctx, path, label)??)
}

/// Goes to the working directory by descriptor, so that a link to an open descriptor cannot lead
/// outside (CVE-2024-21626). Where only the user may enter, it is tried again as the user.
pub fn cwd(ctx: &mut Ctx, path: &'static CStr, create: bool, uid: u32, gid: u32) -> Result<(), Stop> {
    match enter(path) {
        Err(Errno(ENOENT)) if create => {
            let here = sys::openat2(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0, 0)?;
            let (fd, made) = ensure(&here, path, Leaf::Dir)?;
            if made && (uid != 0 || gid != 0) {
                // Best effort, as the mode of what is made: the directory is there.
                let _ = sys::chown_path(&fd, uid, gid);
            }
            Ok(sys::chdir(&fd)?)
        }
        Err(Errno(EACCES)) => {
            ctx.pending_cwd = Some(path);
            Ok(())
        }
        r => Ok(r?),
    }
}

/// Opens and enters a directory of the container, whose root is now this process's root.
pub fn enter(path: &CStr) -> Result<(), Errno> {
    // Where nothing is looked up no link can lead elsewhere.
    if path == c"/" {
        return sys::chdir_root();
    }
    let fd = sys::openat2(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0, RESOLVE_NO_MAGICLINKS)?;
    sys::chdir(&fd)
}
