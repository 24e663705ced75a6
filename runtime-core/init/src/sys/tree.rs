//! System calls for walking and copying a directory.

use super::{Errno, Fd, call, component, short};
use crate::kernel::{nr, *};
use core::ffi::CStr;

/// `getdents64(2)`.
pub fn getdents(dir: &Fd, buf: &mut [u8]) -> Result<usize, Errno> {
    sc!(nr::GETDENTS64, dir.raw(), buf.as_mut_ptr(), buf.len()).map(|n| n.min(buf.len()))
}

/// `lseek(2)` of a directory to where an entry said that the next one is.
pub fn seek(dir: &Fd, to: u64) -> Result<(), Errno> {
    sc!(nr::LSEEK, dir.raw(), to, 0).map(drop)
}

/// `openat(2)` of a new file, for writing.
pub fn create(dir: &Fd, name: &CStr) -> Result<Fd, Errno> {
    component(name)?;
    let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    sc!(nr::OPENAT, dir.raw(), name.as_ptr(), flags, 0o600).map(Fd::own)
}

/// `fchmodat(2)` of one name, which follows a link: only for a directory that nobody else can change.
pub fn chmod_name(dir: &Fd, name: &CStr, mode: u32) -> Result<(), Errno> {
    component(name)?;
    sc!(nr::FCHMODAT, dir.raw(), name.as_ptr(), mode).map(drop)
}
