//! Init's executable: embedded, copied once into a sealed memfd, executed from there by every launch.
//!
//! What must hold: nobody can change it, not even through /proc/PID/exe of a container's process
//! (CVE-2019-5736), and nothing of the host's own binary is in reach of a container.

use crate::error::{Error, Result};
use crate::sys;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

static BYTES: &[u8] = include_bytes!(env!("OXRUN_INIT"));

/// Size of the embedded executable in bytes.
#[must_use]
pub fn size() -> usize {
    BYTES.len()
}

/// The sealed executable.
pub(super) fn image() -> Result<BorrowedFd<'static>> {
    static IMAGE: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(fd) = IMAGE.get() {
        return Ok(fd.as_fd());
    }
    let fd = make().map_err(|e| Error::io("memfd_create(\"oxrun-init\")", &e))?;
    Ok(IMAGE.get_or_init(|| fd).as_fd())
}

fn make() -> std::io::Result<OwnedFd> {
    let mut seals = libc::F_SEAL_WRITE | libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // The flag is known from 6.3 on; before, every memfd is executable.
    let (fd, exec) = match sys::memfd(c"oxrun-init", libc::MFD_EXEC) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => (sys::memfd(c"oxrun-init", 0)?, false),
        made => (made?, true),
    };
    // Its number is not one that the child gives to something else.
    let mut file = File::from(sys::above_streams(fd)?);
    file.write_all(BYTES)?;
    // A file that its user may not read makes the process undumpable and its /proc files root's: for root
    // that is wanted, another user could not write the maps of its own namespaces.
    sys::fchmod(&file, if sys::effective_user() == 0 { 0o111 } else { 0o555 })?;
    if exec {
        seals |= libc::F_SEAL_EXEC;
    }
    sys::seal(&file, seals)?;
    Ok(file.into())
}

#[cfg(test)]
#[path = "image_tests.rs"]
mod image_tests;
