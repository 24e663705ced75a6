//! The mount API: trees and filesystems are made detached and attached by descriptor.

use super::*;

/// `open_tree(2)`.
pub fn open_tree(dir: i32, path: &CStr, flags: u32) -> Result<Fd, Errno> {
    sc!(nr::OPEN_TREE, dir, path.as_ptr(), flags | OPEN_TREE_CLOEXEC).map(Fd::own)
}

/// `move_mount(2)` of a detached mount onto an open file, or onto one name in it, never following a link.
pub fn attach(mount: &Fd, target: &Fd, name: &CStr) -> Result<(), Errno> {
    let flags = match name.is_empty() {
        true => MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH,
        false => component(name).map(|()| MOVE_MOUNT_F_EMPTY_PATH)?,
    };
    sc!(nr::MOVE_MOUNT, mount.0, c"".as_ptr(), target.0, name.as_ptr(), flags).map(drop)
}

/// `move_mount(2)` onto a host path.
pub fn attach_host(mount: &Fd, path: &CStr) -> Result<(), Errno> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS;
    sc!(nr::MOVE_MOUNT, mount.0, c"".as_ptr(), AT_FDCWD, path.as_ptr(), flags).map(drop)
}

/// `mount_setattr(2)`. An empty path means the mount of the descriptor itself.
pub fn mount_setattr(dir: i32, path: &CStr, recursive: bool, attr: &MountAttr) -> Result<(), Errno> {
    let flags = if path.is_empty() { AT_EMPTY_PATH } else { 0 } | if recursive { AT_RECURSIVE } else { 0 };
    sc!(nr::MOUNT_SETATTR, dir, path.as_ptr(), flags, attr as *const MountAttr, size_of::<MountAttr>())
        .map(drop)
}

/// `fsopen(2)`.
pub fn fsopen(fstype: &CStr) -> Result<Fd, Errno> {
    sc!(nr::FSOPEN, fstype.as_ptr(), FSOPEN_CLOEXEC).map(Fd::own)
}

/// `fsconfig(2)`: a key with a value, or a flag.
pub fn fsconfig(fs: &Fd, key: &CStr, value: Option<&CStr>) -> Result<(), Errno> {
    match value {
        Some(v) => sc!(nr::FSCONFIG, fs.0, FSCONFIG_SET_STRING, key.as_ptr(), v.as_ptr(), 0),
        None => sc!(nr::FSCONFIG, fs.0, FSCONFIG_SET_FLAG, key.as_ptr(), 0, 0),
    }
    .map(drop)
}

/// `fsconfig(2)`: make the superblock.
pub fn fscreate(fs: &Fd) -> Result<(), Errno> {
    sc!(nr::FSCONFIG, fs.0, FSCONFIG_CMD_CREATE, 0, 0, 0).map(drop)
}

/// `fsetxattr(2)` of a text with its NUL, as SELinux stores labels.
pub fn set_xattr(fd: &Fd, name: &CStr, value: &CStr) -> Result<(), Errno> {
    let bytes = value.to_bytes_with_nul();
    sc!(nr::FSETXATTR, fd.0, name.as_ptr(), bytes.as_ptr(), bytes.len(), 0).map(drop)
}

/// `fsconfig(2)`: give the superblock what was configured.
pub fn fsreconfigure(fs: &Fd) -> Result<(), Errno> {
    sc!(nr::FSCONFIG, fs.0, FSCONFIG_CMD_RECONFIGURE, 0, 0, 0).map(drop)
}

/// `fspick(2)`: the superblock of the mount that was opened.
pub fn fspick(mount: &Fd) -> Result<Fd, Errno> {
    sc!(nr::FSPICK, mount.0, c"".as_ptr(), FSPICK_CLOEXEC | FSPICK_EMPTY_PATH).map(Fd::own)
}

/// `mount(2)` over the root of this process, which goes on seeing what lies below.
pub fn mount_over_root(source: &CStr, fstype: &CStr, flags: u64, data: &CStr) -> Result<(), Errno> {
    let at = c"/".as_ptr();
    sc!(nr::MOUNT, source.as_ptr(), at, fstype.as_ptr(), flags, data.as_ptr()).map(drop)
}

/// `fsmount(2)`.
pub fn fsmount(fs: &Fd, attr: u64) -> Result<Fd, Errno> {
    sc!(nr::FSMOUNT, fs.0, FSMOUNT_CLOEXEC, attr).map(Fd::own)
}

/// What the kernel has to say of a failed `fsconfig`. Leaves the note of that call.
pub fn fs_log(fs: &Fd, buf: &mut [u8]) -> usize {
    let args = [fs.0 as usize, buf.as_mut_ptr() as usize, buf.len(), 0, 0, 0];
    unnoted(nr::READ, args).unwrap_or(0).min(buf.len())
}

/// `pivot_root(".", ".")`.
pub fn pivot_root_here() -> Result<(), Errno> {
    sc!(nr::PIVOT_ROOT, c".".as_ptr(), c".".as_ptr()).map(drop)
}

/// `umount2(2)` of a host path, without following a link, and of everything below it.
pub fn unmount(path: &CStr) -> Result<(), Errno> {
    sc!(nr::UMOUNT2, path.as_ptr(), MNT_DETACH | UMOUNT_NOFOLLOW).map(drop)
}

/// `umount2(".", MNT_DETACH)`.
pub fn unmount_here() -> Result<(), Errno> {
    sc!(nr::UMOUNT2, c".".as_ptr(), MNT_DETACH).map(drop)
}

/// The same for what lies over the root.
pub fn unmount_over_root() -> Result<(), Errno> {
    sc!(nr::UMOUNT2, c"/..".as_ptr(), MNT_DETACH).map(drop)
}
