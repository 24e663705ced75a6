//! Looking at files without opening them, by descriptors that only stand for a place (`O_PATH`); directories by
//! descriptors, one name at a time.

use super::{c_path, check, owned};
use std::ffi::{CStr, CString, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// open(2) of a path of the host as a place, following links.
pub(crate) fn place(path: &Path) -> io::Result<File> {
    let path = c_path(path)?;
    // SAFETY: a NUL-terminated path.
    let fd: OwnedFd = owned(unsafe { libc::open(path.as_ptr(), libc::O_PATH | libc::O_CLOEXEC) }.into())?;
    Ok(File::from(fd))
}

/// openat(2) of one name as a place; a link is opened itself.
pub(crate) fn place_at(dir: impl AsFd, name: &CStr) -> io::Result<File> {
    super::open_at(dir, name, libc::O_PATH, 0).map(File::from)
}

/// openat(2) of a path below a directory, given by its parts, of which empty ones are left out. A link at its end is not
/// followed.
pub(crate) fn open_below(dir: impl AsFd, parts: &[&str], flags: i32) -> io::Result<File> {
    let mut path = Vec::with_capacity(160);
    for part in parts.iter().filter(|part| !part.is_empty()) {
        path.extend_from_slice(part.as_bytes());
        path.push(b'/');
    }
    // In place of the last slash.
    path.pop();
    path.push(0);
    let path = CStr::from_bytes_with_nul(&path).map_err(|_| io::ErrorKind::InvalidInput)?;
    super::open_at(dir, path, flags, 0).map(File::from)
}

/// One read(2) from the beginning of what was just opened, tried again if it is interrupted: how many bytes.
pub(crate) fn read_once(mut file: &File, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match file.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// fstat(2): whether an open file still has a name.
pub(crate) fn has_name(file: &File) -> io::Result<bool> {
    // SAFETY: plain numbers; zeroes are valid.
    let mut st: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: an open descriptor and a valid buffer.
    check(unsafe { libc::fstat(file.as_raw_fd(), &raw mut st) }.into())?;
    Ok(st.st_nlink > 0)
}

/// readlinkat(2) of a place that is a symbolic link.
pub(crate) fn read_link(link: impl AsFd) -> io::Result<OsString> {
    let mut buf = vec![0u8; libc::PATH_MAX as usize];
    let fd = link.as_fd().as_raw_fd();
    // SAFETY: an empty NUL-terminated name and a valid buffer with its length.
    let n = unsafe { libc::readlinkat(fd, c"".as_ptr(), buf.as_mut_ptr().cast(), buf.len()) };
    buf.truncate(check(n as libc::c_long)? as usize);
    Ok(OsString::from_vec(buf))
}

/// The first bytes of a place that is a regular file. Its time of access stays where the caller may ask for that.
pub(crate) fn head(place: &File, buf: &mut [u8]) -> io::Result<usize> {
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    let open = |flags: i32| std::fs::OpenOptions::new().read(true).custom_flags(flags).open(&path);
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = open(flags | libc::O_NOATIME).or_else(|_| open(flags))?;
    let mut used = 0;
    while let Some(rest) = buf.get_mut(used..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            n => used += n,
        }
    }
    Ok(used)
}

/// fstatvfs(3): the flags of the mount that a place is on (`ST_NOEXEC` ...).
pub(crate) fn mount_flags(place: impl AsFd) -> io::Result<u64> {
    // SAFETY: plain numbers; zeroes are valid.
    let mut buf: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: a valid buffer.
    check(unsafe { libc::fstatvfs(place.as_fd().as_raw_fd(), &raw mut buf) }.into())?;
    Ok(buf.f_flag)
}

/// ioctl(2) NS_GET_NSTYPE: the CLONE_NEW* flag of the namespace at a path.
pub(crate) fn namespace_kind(path: &Path) -> io::Result<u64> {
    const NS_GET_NSTYPE: libc::c_ulong = 0xb703;
    // A device or a FIFO under this name would be opened for real.
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    let file = std::fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    // SAFETY: no argument.
    let kind = check(unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE as _) }.into())?;
    Ok(kind as u64)
}

/// faccessat2(2): whether a file or directory may be written with the effective ids.
pub(crate) fn writable(path: &Path) -> bool {
    let Ok(path) = c_path(path) else { return false };
    // SAFETY: a NUL-terminated path.
    let r = unsafe { libc::faccessat(libc::AT_FDCWD, path.as_ptr(), libc::W_OK, libc::AT_EACCESS) };
    r == 0
}

/// getdents64(2): the names of the directories in a directory that was just opened, without `.` and `..`. Only of
/// filesystems that tell the kind with the name, as the kernel's own do.
pub(crate) fn directories(dir: impl AsFd) -> io::Result<Vec<CString>> {
    /// d_ino, d_off, d_reclen, d_type (getdents(2)); the name ends with NUL.
    const HEAD: usize = 19;
    let mut names = Vec::new();
    let mut buf = vec![0u8; 32 << 10];
    loop {
        let fd = dir.as_fd().as_raw_fd();
        // SAFETY: a valid buffer with its length.
        let n = unsafe { libc::syscall(libc::SYS_getdents64, fd, buf.as_mut_ptr(), buf.len()) };
        let mut rest = buf.get(..check(n)? as usize).unwrap_or_default();
        if rest.is_empty() {
            return Ok(names);
        }
        while let Some([low, high, kind]) = rest.get(HEAD - 3..HEAD) {
            let (entry, next) =
                rest.split_at_checked(u16::from_ne_bytes([*low, *high]).into()).unwrap_or((rest, &[]));
            let name = entry.get(HEAD..).and_then(|name| CStr::from_bytes_until_nul(name).ok());
            if let Some(name) = name.filter(|n| *kind == libc::DT_DIR && *n != c"." && *n != c"..") {
                names.push(name.to_owned());
            }
            rest = next;
        }
    }
}

/// fchownat(2) of one name, of the directory itself without one; links are not followed, the group stays.
pub(crate) fn give_at(dir: impl AsFd, name: &CStr, uid: u32) -> io::Result<()> {
    let flags = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH;
    // SAFETY: a NUL-terminated name.
    check(unsafe { libc::fchownat(dir.as_fd().as_raw_fd(), name.as_ptr(), uid, u32::MAX, flags) }.into())
        .map(drop)
}

/// unlinkat(2) of one name that is an empty directory.
pub(crate) fn remove_dir_at(dir: impl AsFd, name: &CStr) -> io::Result<()> {
    // SAFETY: a NUL-terminated name.
    check(unsafe { libc::unlinkat(dir.as_fd().as_raw_fd(), name.as_ptr(), libc::AT_REMOVEDIR) }.into())
        .map(drop)
}
