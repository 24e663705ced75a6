//! Files of /proc on a host that has nothing mounted there, read in a procfs that nobody else sees.

use super::{check, owned};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const PROC_SUPER_MAGIC: libc::__fsword_t = 0x9fa0;

/// Opens a file of /proc that could not be opened because of `e`, if there is no procfs at all; else the failure
/// stays what it is.
pub(super) fn open_instead(path: &Path, e: io::Error) -> io::Result<File> {
    let missing = e.raw_os_error() == Some(libc::ENOENT);
    let Some(rest) = path.strip_prefix("/proc").ok().filter(|_| missing) else {
        return Err(e);
    };
    if super::is_of_type(Path::new("/proc"), PROC_SUPER_MAGIC)? {
        return Err(e);
    }
    let name = CString::new(rest.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Where it may not be mounted the first failure is the one that counts.
    let Ok(own) = mount() else { return Err(e) };
    super::open_at(own, &name, libc::O_RDONLY, 0).map(File::from)
}

/// fsopen(2), fsmount(2): a procfs of the caller's pid namespace that is attached nowhere.
fn mount() -> io::Result<OwnedFd> {
    const FSOPEN_CLOEXEC: u32 = 1;
    const FSCONFIG_CMD_CREATE: u32 = 6;
    const FSMOUNT_CLOEXEC: u32 = 1;
    /// MOUNT_ATTR_RDONLY, NOSUID, NODEV, NOEXEC.
    const ATTRIBUTES: u32 = 0xf;
    let kind: &CStr = c"proc";
    // SAFETY: a NUL-terminated name.
    let fs = owned(unsafe { libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC) })?;
    let fd = fs.as_fd().as_raw_fd();
    let none = std::ptr::null::<u8>();
    // SAFETY: this command takes no key and no value.
    check(unsafe { libc::syscall(libc::SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, none, none, 0) })?;
    // SAFETY: numbers only.
    owned(unsafe { libc::syscall(libc::SYS_fsmount, fd, FSMOUNT_CLOEXEC, ATTRIBUTES) })
}
